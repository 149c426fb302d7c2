"""A table of clients: what is in it, and that a mistake is found and named."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import ConfigurationError, MalformedInput, UsageError
from certgrinderd.settings.table import Settings
from certgrinderd.setup.clients import findings
from certgrinderd.setup.clients.line import parse_line
from certgrinderd.setup.clients.show import show_authorized_keys
from certgrinderd.setup.clients.table import parse_clients

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEkIDJTu0SxlMxtH33cLGqeZHR5Gf1LFOHBUe0zPYp7i"
WWW = {
    "name": "www",
    "keys": [f"{KEY} root@www"],
    "domainsets": [["example.net"], ["example.com", "*.example.com", "pølse.example"]],
    "from": ["192.0.2.0/24", "2001:DB8::1"],
    "state": "present",
}
PROGRAM = "/usr/local/bin/certgrinderd.pyz"


def show(path: Path, **given: Any) -> str:  # noqa: ANN401 - as argparse has it
    """Run `show authorized-keys --clients`."""
    arguments = {
        "clients": str(path),
        "with_config_file": None,
        "file": None,
        "sources": None,
        "environment": False,
        "pass_words": False,
        "program": PROGRAM,
        **given,
    }
    return show_authorized_keys(Settings(config_file="/etc/c.conf"), arguments)


def write(folder: Path, *clients: object) -> Path:
    """Write a table."""
    path = folder / "clients.json"
    path.write_text(json.dumps(clients), "utf-8")
    return path


def test_lines_for_all_clients(tmp_path: Path) -> None:
    """Each key has a line with the names of its client, whose name is the comment."""
    mail = {"name": "mail server", "keys": [OTHER_KEY + "\n"], "domainsets": [["mail.example"]]}
    text = show(write(tmp_path, WWW, mail))
    assert text == (
        'restrict,from="192.0.2.0/24,2001:db8::1",'
        f'command="{PROGRAM} --config-file /etc/c.conf --domainsets '
        f"'example.net;*.example.com,example.com,xn--plse-gra.example'\" {KEY} www\n"
        f'restrict,command="{PROGRAM} --config-file /etc/c.conf --domainsets mail.example" '
        f"{OTHER_KEY} mail server\n"
    )
    assert findings.check(text).findings == ()
    text = show(write(tmp_path, WWW), environment=True, pass_words=True)
    assert 'environment="CERTGRINDERD_DOMAINSETS=example.net;' in text
    assert findings.check(text).findings == ()


def test_several_keys_of_one_client(tmp_path: Path) -> None:
    """A line for each, and one for a key that is there twice."""
    text = show(write(tmp_path, {**WWW, "keys": [KEY, OTHER_KEY, KEY + " again"]}))
    lines = [parse_line(line) for line in text.splitlines()]
    assert [str(line.key) for line in lines if line] == [f"{KEY} www", f"{OTHER_KEY} www"]


def test_absent_clients_have_no_line(tmp_path: Path) -> None:
    """Nor need they have anything but a name; without clients the answer is empty."""
    assert show(write(tmp_path)) == ""
    gone = [{"name": "gone", "state": "absent"}, {**WWW, "state": "absent"}]
    assert show(write(tmp_path, *gone)) == ""
    assert show(write(tmp_path, {"name": "gone", "state": "absent"}, WWW)).count("\n") == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"domainsets": None}, "domainsets: expected a list", id="no domainset"),
        pytest.param({"domainsets": []}, "domainsets: expected a list", id="no domainset at all"),
        pytest.param({"domainsets": [[]]}, "one of the lists is empty", id="an empty domainset"),
        pytest.param({"domainsets": "a.example"}, "expected a list of lists", id="a string"),
        pytest.param({"domainsets": ["a.example"]}, "expected a list of lists", id="a flat list"),
        pytest.param({"domainsets": [["a.example", 1]]}, "expected a list of", id="a number"),
        pytest.param({"domainsets": [["a.example", "b_c"]]}, "'b_c'", id="no host name"),
        pytest.param({"domainsets": [["a.example,b.example"]]}, "not one name", id="two names"),
        pytest.param({"domainsets": [["a.example;b.example"]]}, "not one name", id="two sets"),
        pytest.param({"domainsets": [["a.example", " "]]}, "not one name", id="an empty name"),
        pytest.param({"domainsets": [["*.*.example"]]}, "permits nothing", id="two stars"),
        pytest.param({"domainsets": [['a.example"']]}, "permits nothing", id="a quote"),
        pytest.param({"keys": None}, "keys: expected a list", id="no key"),
        pytest.param({"keys": []}, "keys: the list is empty", id="an empty list of keys"),
        pytest.param({"keys": KEY}, "keys: expected a list", id="a key that is no list"),
        pytest.param({"keys": [f"{KEY}\n{OTHER_KEY}"]}, "line break", id="two keys in one"),
        pytest.param({"keys": [f"{KEY}\nfoo"]}, "line break", id="a line after a key"),
        pytest.param({"keys": [KEY.replace(" ", "\n")]}, "line break", id="a key in two lines"),
        pytest.param({"keys": [f"pty {KEY}"]}, "expected a public key", id="an option"),
        pytest.param({"keys": [KEY[:-1]]}, "expected a public key", id="a damaged key"),
        pytest.param({"keys": [f"{KEY} a\x1bb"]}, "control", id="an escape in the comment"),
        pytest.param({"from": []}, "from: the list is empty", id="from nowhere"),
        pytest.param({"from": "192.0.2.1"}, "from: expected a list", id="from a string"),
        pytest.param({"from": ["192.0.2.1/24"]}, "host bits", id="a network with host bits"),
        pytest.param({"from": ["*"]}, "from: expected addresses", id="from a wildcard"),
        pytest.param({"from": ['::1"']}, "from: expected addresses", id="a quote in from"),
        pytest.param({"from": ["fe80::1%x,*"]}, "without a zone", id="a wildcard in a zone"),
        pytest.param({"from": ["fe80::%x,*/64"]}, "without a zone", id="a zone in a network"),
        pytest.param({"state": "gone"}, "state: expected present or absent", id="a state"),
        pytest.param({"options": "pty"}, "unknown field options", id="an option that widens"),
        pytest.param({"command": "/bin/sh"}, "unknown field command", id="a command"),
        pytest.param({"name": "a\nb"}, "name: expected", id="a line break in the name"),
        pytest.param({"name": ""}, "name: expected text", id="no name"),
        pytest.param({"name": ["www"]}, "name: expected text", id="a name that is a list"),
    ],
)
def test_mistake_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any], reason: str
) -> None:
    """Nothing is printed, and the message names the client."""
    with caplog.at_level(logging.ERROR), pytest.raises(ConfigurationError, match="findings: 1"):
        show(write(tmp_path, {**WWW, **change}))
    (message,) = caplog.messages
    assert reason in message
    assert message.startswith(f"client {change.get('name', 'www')!r}: ")
    assert show(write(tmp_path, WWW))


def test_key_and_name_are_one_clients(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a key on two lines sshd would take the first."""
    second = {"name": "mail", "keys": [OTHER_KEY, f"{KEY} b"], "domainsets": [["mail.example"]]}
    with pytest.raises(ConfigurationError, match="findings: 1"):
        show(write(tmp_path, WWW, second))
    assert "client 'mail': keys: SHA256:" in caplog.text
    assert "is also the key of client 'www'" in caplog.text
    caplog.clear()
    with pytest.raises(ConfigurationError, match="findings: 1"):
        show(write(tmp_path, WWW, {**second, "name": "www", "keys": [OTHER_KEY]}))
    assert "client 'www': another client has this name" in caplog.text
    assert show(write(tmp_path, {**WWW, "state": "absent"}, second)).count("\n") == 2


def test_all_mistakes_are_told_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of one client and of all."""
    bad = {"name": "bad", "keys": [], "domainsets": "x"}
    with pytest.raises(ConfigurationError, match="findings: 4"):
        show(
            write(tmp_path, bad, WWW, "word", {"keys": [OTHER_KEY], "domainsets": [["a.example"]]})
        )
    assert [message[:30] for message in caplog.messages] == [
        "client 'bad': keys: the list i",
        "client 'bad': domainsets: expe",
        "client number 3: expected a ma",
        "client 'number 4': name: expec",
    ]


def test_value_that_no_program_can_be_started_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More names than one argument may hold."""
    names = [f"n{number}.{'a' * 60}.example" for number in range(2000)]
    with pytest.raises(ConfigurationError):
        show(write(tmp_path, {**WWW, "domainsets": [names]}))
    assert "client 'www': command= would be" in caplog.text
    assert show(write(tmp_path, {**WWW, "domainsets": [names[:1500]]}))


@pytest.mark.parametrize("text", ["", "{}", "[", "null", "[" * 100_000])
def test_what_is_no_table(text: str) -> None:
    """Another type, half of one, and nothing."""
    with pytest.raises(MalformedInput, match="list of clients"):
        parse_clients(text)
    assert parse_clients("[]") == ((), ())


def test_options_that_do_not_go_with_a_table(tmp_path: Path) -> None:
    """It has the keys and addresses."""
    path = write(tmp_path, WWW)
    for given_too in ({"file": "key.pub"}, {"sources": "::1"}):
        with pytest.raises(UsageError, match="--clients"):
            show(path, **given_too)
    assert show(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = {
    "name": st.just("www") | JSON,
    "keys": st.just([KEY]) | st.lists(st.text()) | JSON,
    "domainsets": st.just([["a.example"]]) | st.lists(st.lists(st.text())) | JSON,
    "from": st.just(["::1"]) | st.lists(st.text()) | JSON,
    "state": st.just("present") | JSON,
}


@given(st.lists(st.fixed_dictionaries({}, optional=FIELDS) | JSON, max_size=4))
def test_any_table_is_read_or_refused(table: list[object]) -> None:
    """And of what is read, each line is as `check authorized-keys` wants it."""
    clients, findings = parse_clients(json.dumps(table))
    assert len(clients) <= len(table)
    if not findings:
        for client in clients:
            assert client.keys
            assert client.domainsets.sets
