"""What `check authorized-keys` finds, and what it has nothing against."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.setup.clients.findings import Report, _shell_words, check
from certgrinderd.setup.clients.line import LONGEST_VALUE

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk c.example"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICt6equbFdS5Pdd9L7jEekIRIgGBwCxNSVRy0LYKjHhp"
PROGRAM = "/usr/local/bin/certgrinderd.pyz --config-file /etc/certgrinderd/certgrinderd.conf"
ENVIRONMENT = 'environment="CERTGRINDERD_DOMAINSETS=a.example"'

GOOD = [
    pytest.param(f'restrict,{ENVIRONMENT},command="{PROGRAM}"', id="environment"),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="set -f; {PROGRAM} $SSH_ORIGINAL_COMMAND"',
        id="words passed on",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="set -f;{PROGRAM} ${{SSH_ORIGINAL_COMMAND}} "',
        id="in braces",
    ),
    pytest.param(
        f'restrict,command="{PROGRAM} --domainsets \\"a.example;*.b.example,pølse.example\\""',
        id="in the command",
    ),
    pytest.param(
        f"restrict,command=\"{PROGRAM} --domainsets='a.example;b.example'\"", id="single quotes"
    ),
    pytest.param(
        f'restrict,command="CERTGRINDERD_DOMAINSETS=a.example {PROGRAM}"', id="an assignment"
    ),
    pytest.param(
        f'{ENVIRONMENT},from="192.0.2.0/24,!192.0.2.7,2001:db8::1,host.example",RESTRICT,'
        f'command="{PROGRAM}",no-pty,expiry-time="20991231"',
        id="from, time and more",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="/opt/python3 -m certgrinderd -d -c /etc/c.conf"',
        id="by python3",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="set -f; /opt/certgrinderd-1.2.pyz -z acme.example '
        '$SSH_ORIGINAL_COMMAND"',
        id="all settings in the command",
    ),
    pytest.param(f'restrict,{ENVIRONMENT},command="/opt/wrapper get x"', id="another program"),
]  # fmt: skip


@pytest.mark.parametrize("options", GOOD)
def test_line_is_as_it_should_be(options: str) -> None:
    """Every documented form."""
    text = f"{options} {KEY}"
    assert check(f"# clients\n\n{text}\n").findings == ()
    assert check(text).clients == 1
    assert check(text).needs_environment == (1 if "environment=" in options else None)


COMMAND = f'command="{PROGRAM}"'
BAD = [
    pytest.param(f"{ENVIRONMENT},{COMMAND}", "restrict is missing", id="no restrict"),
    pytest.param(
        f"no-pty,no-port-forwarding,{ENVIRONMENT},{COMMAND}", "restrict is missing", id="in parts"
    ),
    pytest.param(f"restrict,{ENVIRONMENT}", "command= is missing", id="no command"),
    pytest.param(f"restrict,{COMMAND}", "domainsets are missing", id="no domainsets"),
    *(
        pytest.param(f"restrict,{option},{ENVIRONMENT},{COMMAND}", f"{name} gives back", id=name)
        for option, name in [
            ("pty", "pty"),
            ("port-forwarding", "port-forwarding"),
            ("Agent-Forwarding", "agent-forwarding"),
            ("X11-forwarding", "x11-forwarding"),
            ("user-rc", "user-rc"),
            ('tunnel="0"', "tunnel"),
        ]
    ),
    pytest.param(f"restrict,cert-authority,{ENVIRONMENT},{COMMAND}", "every key", id="a CA"),
    pytest.param(
        f'restrict,{ENVIRONMENT},environment="LD_PRELOAD=x",{COMMAND}', "LD_PRELOAD", id="more"
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} --domainsets b.example"',
        "in one place only",
        id="domainsets in both",
    ),
    pytest.param(f"restrict,{ENVIRONMENT},{ENVIRONMENT},{COMMAND}", "twice", id="twice"),
    pytest.param(
        f'restrict,command="{PROGRAM} --domainsets a.example --domainsets=b.example"',
        "twice",
        id="twice in the command",
    ),
    pytest.param(
        f'restrict,environment="CERTGRINDERD_DOMAINSETS=a.example;b_c.example",{COMMAND}',
        "'b_c.example' is not a host name",
        id="a name that is none",
    ),
    pytest.param(
        f'restrict,environment="CERTGRINDERD_DOMAINSETS=a.example b.example",{COMMAND}',
        "is not a host name",
        id="a blank between names",
    ),
    pytest.param(
        f'restrict,environment="CERTGRINDERD_DOMAINSETS=;,",{COMMAND}', "are empty", id="no name"
    ),
    pytest.param('restrict,command="/opt/wrapper --domainsets"', "are empty", id="no value"),
    pytest.param(
        f'restrict,command="{PROGRAM} --domainsets a.example;b.example"', "interpret ';'", id="a ;"
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} `id`"', "interpret '`'", id="a backquote"
    ),
    pytest.param(f'restrict,{ENVIRONMENT},command="{PROGRAM} $(id)"', r"interpret '\('", id="a ("),
    pytest.param(f"restrict,{ENVIRONMENT},command=\"{PROGRAM} 'x\"", "not closed", id="a quote"),
    pytest.param(f'restrict,{ENVIRONMENT},command="{PROGRAM} # x"', "comment", id="a comment"),
    pytest.param(
        f'restrict,command="{PROGRAM} --domainsets *.example"', "pattern of file names", id="a glob"
    ),
    pytest.param(f'restrict,{ENVIRONMENT},command="certgrinderd"', "absolute path", id="no path"),
    *(
        pytest.param(
            f'restrict,{ENVIRONMENT},command="{PROGRAM} {words}"',
            rf"no command of its own: .*{reason}",
            id=f"{words} in the command",
        )
        for words, reason in [
            ("get certificate", "unexpected argument 'get'"),
            ("ping", "unexpected argument 'ping'"),
            ("--help", "unexpected argument '--help'"),
            ("-dh", "explicit argument 'h'"),
            ("--version", "unexpected argument '--version'"),
            ("--web-rot /x", "unexpected argument '--web-rot': did you mean --web-root"),
            ("--web-root", "--web-root: expected one argument"),
        ]
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} --lock-timeout soon"',
        "--lock-timeout: expected",
        id="a value that is none",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="/usr/local/bin/certgrinderd.pyz -d"',
        "--config-file is missing",
        id="no configuration",
    ),
    pytest.param(f'restrict,{ENVIRONMENT},command=""', "absolute path", id="an empty command"),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="$SSH_ORIGINAL_COMMAND"', "absolute path", id="any command"
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="/bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\""',
        "could run anything",
        id="a shell",
    ),
    *(
        pytest.param(
            f'restrict,{ENVIRONMENT},command="{program} $SSH_ORIGINAL_COMMAND"',
            "only certgrinderd may get",
            id=f"the client's words for {program}",
        )
        for program in ("/usr/bin/env", "/usr/bin/env sh -c", "/bin/busybox sh -c")
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="eval $SSH_ORIGINAL_COMMAND"',
        "could run anything",
        id="eval",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} \\"$SSH_ORIGINAL_COMMAND\\""',
        "without quotes",
        id="quoted words",
    ),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} $SSH_ORIGINAL_COMMAND -d"',
        "must be the last word",
        id="words in the middle",
    ),
    *(
        pytest.param(
            f'restrict,{ENVIRONMENT},command="{start}{PROGRAM} $SSH_ORIGINAL_COMMAND"',
            reason,
            id=f"patterns with {start!r}",
        )
        for start, reason in (
            ("", "must begin with 'set -f;'"),
            ("set +f; ", "the shell would interpret ';'"),
            ("set -f && ", "the shell would interpret '&'"),
            ("noglob ", "must begin with the absolute path"),
        )
    ),
    pytest.param(f'restrict,from="*",{ENVIRONMENT},{COMMAND}', r"wildcard '\*'", id="everybody"),
    pytest.param(
        f'restrict,from="192.0.2.?,::1",{ENVIRONMENT},{COMMAND}', "wildcard", id="a pattern"
    ),
    pytest.param(
        f'restrict,from="192.0.2.1/24",{ENVIRONMENT},{COMMAND}', "lets nobody in", id="host bits"
    ),
    pytest.param(f'restrict,from="::1, ::2",{ENVIRONMENT},{COMMAND}', "blank", id="a blank"),
    pytest.param(f'restrict,from="",{ENVIRONMENT},{COMMAND}', "empty part", id="from nobody"),
    pytest.param(
        f'restrict,{ENVIRONMENT},command="{PROGRAM} -z {"x" * LONGEST_VALUE}"', "longer", id="long"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("options", "reason"), BAD)
def test_line_is_not_as_it_should_be(options: str, reason: str) -> None:
    """Found on its own line, for its own client; the line before it is not blamed."""
    (found,) = check(
        f"# clients\nrestrict,{ENVIRONMENT},{COMMAND} {OTHER} first\n{options} {KEY}\n"
    ).findings
    assert (found.line, found.client) == (3, "c.example")
    assert re.search(reason, found.reason)
    assert str(found).startswith("line 3 (c.example): ")


def test_line_that_sshd_ignores_is_found() -> None:
    """Nobody gets in by it, and sshd does not say why."""
    (found,) = check(f"restrict;pty {KEY}").findings
    assert str(found) == "line 1: sshd ignores this line: expected a comma after restrict, not ';'"


def test_key_of_two_clients_is_found() -> None:
    """The first line whose from= fits decides; a comment makes no other key."""
    line = f"restrict,{ENVIRONMENT},{COMMAND}"
    (found,) = check(f"{line} {KEY}\n{line} {KEY.replace('c.example', 'd.example')}").findings
    assert (found.line, found.client) == (2, "d.example")
    assert "also on line 1 (c.example)" in found.reason
    assert check(f"{line} {KEY}\n{line} {OTHER}").findings == ()


def test_client_without_a_comment_has_its_fingerprint() -> None:
    """So that each finding names somebody."""
    (found,) = check(f"restrict,{ENVIRONMENT} {OTHER}").findings
    assert found.client.startswith("SHA256:")


@pytest.mark.parametrize("text", ["", "\n\n", "# nobody\n", "# nobody"])
def test_file_without_clients_is_as_it_should_be(text: str) -> None:
    """The last client may go."""
    assert check(text) == Report((), 0, None, None)


@given(st.text())
def test_any_file_is_checked(text: str) -> None:
    """No text ends in anything but findings, and each is on a line that exists."""
    for file in (text, f'restrict,command="{text}" {KEY}', f"{text} {KEY}"):
        for found in check(file).findings:
            assert 1 <= found.line <= file.count("\n") + 1


PLAIN = st.text(st.sampled_from('ab=./-\'" \t\\\\"x;'), max_size=30)


@given(PLAIN)
def test_words_are_those_of_a_shell(text: str) -> None:
    """As Python's shlex splits them, where no other than a quote or blank means anything."""
    words, reason = _shell_words(text)
    if reason:
        assert reason == "a quote is not closed" or ";" in text or "\\" in text
        return
    assert words == shlex.split(text.replace("\n", " "))
