"""`show authorized-keys` and `check authorized-keys`: what they add to lines and findings."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from certgrinderd.errors import ConfigurationError, MalformedInput, UsageError
from certgrinderd.settings.table import Settings
from certgrinderd.setup.clients import check, findings
from certgrinderd.setup.clients.show import show_authorized_keys, show_sshd_config

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk c.example"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A public key."""
    path = tmp_path / "key.pub"
    path.write_text(f"{KEY}\n", "utf-8")
    return path


def show(key_file: Path, settings: Settings | None = None, **given: Any) -> str:  # noqa: ANN401
    """Run `show authorized-keys` with one domainset."""
    arguments = {
        "file": str(key_file),
        "clients": None,
        "with_config_file": None,
        "sources": None,
        "environment": False,
        "pass_words": False,
        "program": "/usr/local/bin/certgrinderd.pyz",
        **given,
    }
    return show_authorized_keys(settings or Settings(domainsets="a.example"), arguments)


def test_line_for_a_client(key_file: Path) -> None:
    """Both places for the domainsets, both ways for the client's words, and a source."""
    program = "/usr/local/bin/certgrinderd.pyz"
    assert show(key_file) == f'restrict,command="{program} --domainsets a.example" {KEY}\n'
    assert show(key_file, sources=" 192.0.2.0/24,2001:DB8::1").startswith(
        f'restrict,from="192.0.2.0/24,2001:db8::1",command="{program} --domainsets a.example" '
    )
    assert show(key_file, environment=True, pass_words=True) == (
        'restrict,environment="CERTGRINDERD_DOMAINSETS=a.example",'
        f'command="set -f; {program} $SSH_ORIGINAL_COMMAND" {KEY}\n'
    )
    assert show(key_file, with_config_file="/etc/c") == (
        f'restrict,command="{program} --config-file /etc/c --domainsets a.example" {KEY}\n'
    )
    configured = Settings(domainsets="b.example; A.example,pølse.example", config_file="/etc/a b")
    assert show(key_file, configured) == (
        f"restrict,command=\"{program} --config-file '/etc/a b' --domainsets "
        f"'b.example;a.example,xn--plse-gra.example'\" {KEY}\n"
    )


@pytest.mark.parametrize(
    "domainsets", [None, "", ";,", "a.example;b_c.example", 'a"b', "a.example b"]
)
def test_domainsets_that_the_policy_would_ignore(key_file: Path, domainsets: str | None) -> None:
    """A name that permits nothing, and no name at all."""
    with pytest.raises(UsageError, match="domainsets"):
        show(key_file, Settings(domainsets=domainsets))
    assert show(key_file)


@pytest.mark.parametrize("sources", ["", ",", "*", "192.0.2.1/24", "host.example", "::1,", '::1"'])
def test_source_is_an_address_or_a_network(key_file: Path, sources: str) -> None:
    """No pattern, no name, and no network with host bits, which sshd takes for nobody."""
    with pytest.raises(UsageError, match="--from: expected addresses"):
        show(key_file, sources=sources)
    assert "from=" not in show(key_file)
    assert 'from="::1"' in show(key_file, sources="::1")


def test_settings_of_sshd_are_for_one_user() -> None:
    """Whose name means nothing else in sshd_config, where `!a` or `*` would be a pattern."""
    arguments = {"user": "cert-grinder_d", "no_environment": True}
    assert "Match User cert-grinder_d\n" in show_sshd_config(Settings(), arguments)
    for user in ("*", "a,b", "!a", "a b", "a\nPermitRootLogin yes", ""):
        with pytest.raises(UsageError, match="not the name of a user"):
            show_sshd_config(Settings(), {**arguments, "user": user})


@pytest.mark.parametrize("path", ["/etc/a\\b", "/etc/a\nb", "/etc/\x1b"])
def test_path_that_sshd_would_misread(key_file: Path, path: str) -> None:
    """A backslash, a control character; quotes and blanks are no trouble."""
    with pytest.raises(MalformedInput, match="command= cannot hold"):
        show(key_file, Settings(domainsets="a.example", config_file=path))
    line = show(key_file, Settings(domainsets="a.example", config_file='/etc/it\'s "a" $b;c'))
    assert findings.check(line).findings == ()


def test_line_that_no_program_could_be_started_with(key_file: Path) -> None:
    """The limit of the system is that of one value."""
    many = ",".join(f"www{number:05}.example" for number in range(9000))
    with pytest.raises(MalformedInput, match="131071 are possible"):
        show(key_file, Settings(domainsets=many))
    short = show(key_file, Settings(domainsets=many[:100000], config_file="/c"))
    assert findings.check(short).findings == ()


def test_line_without_a_configuration_is_warned_about(
    key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client would get nothing by it, as the check says too."""
    assert show(key_file)
    assert "no --config-file" in caplog.text
    caplog.clear()
    assert show(key_file, Settings(domainsets="a.example", config_file="/c"))
    assert caplog.text == ""


def test_program_is_a_path(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs, links as they are, unless another one is named; one that can be run."""
    link = key_file.parent / "certgrinderd"
    link.symlink_to("/bin/sh")
    monkeypatch.setattr(sys, "argv", [str(link)])
    assert f'command="{link} --domainsets' in show(key_file, program=None)
    monkeypatch.setattr(sys, "argv", [str(key_file)])
    with pytest.raises(UsageError, match="not executable"):
        show(key_file, program=None)
    with pytest.raises(UsageError, match="absolute path"):
        show(key_file, program="certgrinderd")
    with pytest.raises(UsageError, match="absolute path"):
        show(key_file, program="")


def test_key_is_bounded_and_plain(key_file: Path) -> None:
    """Not more than max-input-size, and a file."""
    with pytest.raises(ConfigurationError, match="larger than 10 bytes"):
        show(key_file, Settings(domainsets="a.example", max_input_size=10))
    with pytest.raises(ConfigurationError, match="not a plain file"):
        show(Path(os.devnull))


def test_findings_are_logged_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And counted in the end; bytes that are no UTF-8 are a name that is none."""
    monkeypatch.setattr(check, "_ask_sshd", lambda _user: None)
    file = tmp_path / "keys"
    line = b'restrict,command="/c --domainsets a.example%s" ' + KEY.encode()
    file.write_bytes(b"garbage\n" + line % b",\xff.example")
    arguments = {"file": str(file), "user": "certgrinderd"}
    with caplog.at_level(logging.ERROR), pytest.raises(ConfigurationError, match="2 findings"):
        check.check_authorized_keys(Settings(), arguments)
    first, second = caplog.messages
    assert first == f"{file}: line 1: sshd ignores this line: there is no key"
    assert second.startswith(f"{file}: line 2 (c.example): in the domainsets: ")

    file.write_bytes(line % b"")
    assert check.check_authorized_keys(Settings(), arguments) == ""


def test_thousands_of_clients_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own key and names; the one that is wrong is found among them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    monkeypatch.setattr(check, "_ask_sshd", lambda _user: None)
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    lines = [
        f"restrict,command=\"/c --domainsets 'a{number}.example;b{number}.example'\" "
        + Ed25519PrivateKey.generate().public_key().public_bytes(*form).decode()
        for number in range(2000)
    ]
    file = tmp_path / "keys"
    file.write_text("\n".join(lines), "utf-8")
    arguments = {"file": str(file), "user": "certgrinderd"}
    assert check.check_authorized_keys(Settings(), arguments) == ""
    lines[1500] = lines[1500].replace("restrict,", "")
    (found,) = findings.check("\n".join(lines)).findings
    assert found.line == 1501
