"""Command lines that a client could send to get further than its domainsets."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from certgrinderd.setup.clients.findings import NO_PATTERNS
from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import clean_environment
from tests.testbed.service import Form, Service
from tests.testbed.sshd import Sshd

NAME = "honest.example.test"

# In each: {canary} is a path that must not come into being, {url} a server that must not be asked,
# {secret} a file that must not be read. Behind it the nearest command line that is accepted.
HOSTILE = [
    # Options that run programs.
    ("--auth-hook={canary}.sh get certificate", "--preferred-chain=x show csr"),
    ("--auth-hook {canary}.sh get certificate", "--preferred-chain x show csr"),
    ("-A {canary}.sh get certificate", "-d show csr"),
    ("-A{canary}.sh get certificate", "-d show csr"),
    ("-dA{canary}.sh get certificate", "-ds show csr"),
    ("--cleanup-hook={canary}.sh get certificate", "--staging show csr"),
    ("-C{canary}.sh get certificate", "-s show csr"),
    ("--certbot-command={canary}.sh get certificate", "--log-level=INFO show csr"),
    ("--certbot-command={canary}.sh show acmeaccount", "show configuration"),
    ("--auth-hoo={canary}.sh get certificate", "--debug show csr"),
    ("certbot certonly --manual-auth-hook {canary}.sh", "show configuration"),
    ("certbot --version", "version"),
    # Options that read or write files.
    ("--config-file={secret} show configuration", "show configuration"),
    ("-f{secret} show configuration", "-d show configuration"),
    ("-c {secret} show configuration", "-l INFO show configuration"),
    ("--csr-file={secret} show csr", "show csr"),
    ("--csr-file /dev/zero show csr", "show csr"),
    ("--certificate-file={secret} show certificate", "show csr"),
    ("--web-root={canary} get certificate", "show csr"),
    ("-w{canary} get certificate", "show csr"),
    ("--temp-dir={canary} get certificate", "show csr"),
    ("-t {canary} get certificate", "show csr"),
    ("--pid-dir={canary} get certificate", "show csr"),
    ("--certbot-config-dir={canary} get certificate", "show csr"),
    ("--certbot-logs-dir={canary} get certificate", "show csr"),
    ("--certbot-work-dir={canary} get certificate", "show csr"),
    # Options that ask servers, or change what may be asked for.
    ("--acme-server-url={url} get certificate", "--staging show csr"),
    ("--acme-server-url {url} show acmeaccount", "--staging show configuration"),
    ("--acme-server-url=file://{secret} get certificate", "--staging show csr"),
    ("--acme-server-url=http://127.0.0.1/ get certificate", "--staging show csr"),
    ("--skip-acme-server-cert-verify get certificate", "--staging show csr"),
    ("--acme-zone=evil.example get certificate", "show csr"),
    ("-zevil.example get certificate", "-s show csr"),
    ("--acme-email=evil@example.org get certificate", "show csr"),
    ("--domainsets=evil.example show csr", "show csr"),
    ("--client-acme-servers={url} --acme-server-url={url} get certificate", "-s show csr"),
    ("--syslog-socket={url} --syslog-facility=LOG_USER ping", "ping"),
    ("--input-timeout=86400 get certificate", "show csr"),
    ("--max-input-size=16777216 show csr", "show csr"),
    ("--max-names=1000 show csr", "show csr"),
    # A value that could become an option of another program.
    ("--preferred-chain=--pre-hook={canary}.sh get certificate", "--preferred-chain=x show csr"),
    ("--preferred-chain=-x show csr", "--preferred-chain=x-y show csr"),
    # For the shell of the forced command.
    ("get certificate;touch {canary}", "show csr"),
    ("ping\n touch\t{canary};", "\nping \t"),
    ("$(touch {canary})", "ping"),
    ("`touch {canary}`", "ping"),
    ("ping|tee {canary}", "ping"),
    ("ping >{canary}", "ping"),
    ("ping && touch {canary}", "ping"),
    ("${{IFS}}ping", "ping"),
    ("show configuration --config-file ~root/.ssh/id_rsa", "show configuration"),
    ("show csr {folder}/*", "show csr"),
    ("{{ping,pong}}", "ping"),
    ("'ping'", "ping"),
    ("p\\ing", "ping"),
    # For terminals and logs.
    ("ping\x1b[2J", "ping"),
    ("p\u202eing", "ping"),
    ("ping\u2028", "ping"),
    # Words that fit nowhere.
    ("", "ping"),
    (" \t", "ping"),
    ("--", "ping"),
    ("-", "ping"),
    ("ping ping", "ping"),
    ("get", "show csr"),
    ("get certificate certificate", "show csr"),
    ("get certificate --staging", "--staging show csr"),
    ("shell", "help"),
    ("/usr/lib/openssh/sftp-server", "help"),
    ("scp -t {canary}", "help"),
    ("rsync --server . {canary}", "help"),
    ("@{secret}", "help"),
    ("--version=x", "--version"),
    ("a" * 5000, "ping"),
]

FORMS: tuple[Form, ...] = ("passed on", "taken from the variable")
# A shell reads the words that are passed on: what is special to one comes in both forms.
FOR_A_SHELL = re.compile(r"""[$`;|>&*{}'"\\\n\t]|^ *$""")


def ways(commands: Sequence[tuple[str, str]]) -> Iterator[object]:
    """Each command in both forms; the second one is thorough where no shell makes a difference."""
    for number, (command, nearest) in enumerate(commands):
        filled = re.sub(r"\{(canary|url|secret|folder)\}", "x", command)
        for turn, form in enumerate(FORMS):
            is_first = turn == number % 2 or FOR_A_SHELL.search(filled)
            yield pytest.param(
                *(command, nearest, form),
                marks=() if is_first else pytest.mark.thorough,
                id=f"{repr(command)[1:41]}-{form}",
            )


# Once is enough for each of the accepted ones.
ACCEPTED: set[tuple[str, Form]] = set()


@dataclass
class Trap:
    """What a hostile command line goes for."""

    service: Service
    pebble: Pebble
    folder: Path
    listener: socket.socket

    def __post_init__(self) -> None:
        self.canary = self.folder / "canary"
        self.secret = self.folder / "secret"
        self.secret.write_text("SECRET-CONTENT: [x\n")
        hook = Path(f"{self.canary}.sh")
        hook.write_text(f"#!/bin/sh\ntouch {self.canary}\n")
        hook.chmod(0o755)

    def fill(self, command: str) -> str:
        """Put this trap's paths into a command line."""
        url = f"https://127.0.0.1:{self.listener.getsockname()[1]}/dir"
        return command.format(canary=self.canary, secret=self.secret, url=url, folder=self.folder)

    def send(self, command: str, form: Form) -> subprocess.CompletedProcess[bytes]:
        """Run the forced command as sshd does, with a CSR that is permitted."""
        words = " $SSH_ORIGINAL_COMMAND" if form == "passed on" else ""
        environment = {
            **self.service.environment,
            "SSH_ORIGINAL_COMMAND": command,
            "SSH_CONNECTION": "192.0.2.7 50022 192.0.2.1 22",
            "CERTGRINDERD_DOMAINSETS": NAME,
        }
        return subprocess.run(
            ["/bin/sh", "-c", f"exec {shlex.join(self.service.command())}{words}"],
            input=make_csr([NAME]).pem,
            env=clean_environment(**environment),
            cwd=self.folder,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def require_untouched(self, answer: subprocess.CompletedProcess[bytes]) -> None:
        """The command was refused in one line, and nothing of it has happened."""
        assert (answer.returncode, answer.stdout) == (3, b"")
        (line,) = answer.stderr.decode("utf-8").splitlines()
        assert line.split(" ")[3:5] == ["certgrinderd", "ERROR"]
        assert line.isprintable()
        assert "SECRET-CONTENT" not in line
        assert "192.0.2.7" in line, "the log tells who it was"
        assert not self.canary.exists()
        assert list(self.service.temp_dir.iterdir()) == []
        with pytest.raises(BlockingIOError):
            self.listener.accept()


@pytest.fixture
def trap(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path, sshd: Sshd, calm_pebble: Pebble, named: Named, nginx: Nginx, tmp_path: Path
) -> Iterator[Trap]:
    """An installation with things to go for."""
    service = Service(pyz, sshd, calm_pebble, named, nginx, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003 - positional only
        yield Trap(service, calm_pebble, tmp_path, listener)


@pytest.mark.parametrize(("command", "nearest", "form"), list(ways(HOSTILE)))
def test_hostile_command_is_refused(trap: Trap, command: str, nearest: str, form: Form) -> None:
    """Refused with one line that tells who and why; nothing ran, was made, read or asked."""
    before = trap.pebble.requests()
    trap.require_untouched(trap.send(trap.fill(command), form))
    assert trap.pebble.requests() == before

    if (nearest, form) not in ACCEPTED:
        accepted = trap.send(nearest, form)
        assert accepted.returncode == 0, accepted.stderr.decode()
        assert accepted.stdout
        ACCEPTED.add((nearest, form))


@pytest.mark.parametrize(
    ("command", "nearest", "form"),
    list(ways([HOSTILE[number] for number in (0, 12, 26, 42, 44, 51, 55, 67)])),
)
def test_hostile_command_by_ssh(trap: Trap, command: str, nearest: str, form: Form) -> None:
    """The same through a real sshd, which runs the forced command by the user's real shell."""
    before = trap.pebble.requests()
    client = trap.service.add_client(NAME, form=form)
    answer = client.run(trap.fill(command), stdin=make_csr([NAME]).pem)
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert len(answer.stderr.splitlines()) == 1
    assert not trap.canary.exists()
    assert trap.pebble.requests() == before

    accepted = client.run(nearest, stdin=make_csr([NAME]).pem)
    assert accepted.returncode == 0, accepted.stderr.decode()


def test_login_shell_expands_nothing(trap: Trap, sshd: Sshd) -> None:
    """The line that we print keeps the shell from it; the documented one of old does not."""
    (trap.folder / "one").touch()
    pattern = f"{trap.folder}/on[e]"
    for start, seen in ((NO_PATTERNS, pattern), ("", f"{trap.folder}/one")):
        echo = sshd.add_client(command=f"{start} printf %s $SSH_ORIGINAL_COMMAND", domainsets=NAME)
        assert echo.run(pattern).stdout.decode() == seen
    client = trap.service.add_client(NAME, form="passed on")
    answer = client.run("/*/../*/../*/../*/../*/../*")
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert b"the word '/*/../*/../*/../*/../*/../*' has other characters" in answer.stderr
    assert client.run("ping").stdout == b"pong\n"


def test_client_may_choose_a_listed_ca(trap: Trap) -> None:
    """The configured URL, staging and those of client-acme-servers; anything else is refused."""
    other = "https://ca.example.test/dir"
    configured = trap.pebble.directory_url
    for url, listed, status in (
        (configured, [], 0),
        ("https://acme-staging-v02.api.letsencrypt.org/directory", [], 0),
        (other, [other], 0),
        (other, [], 3),
        ("https://acme-v02.api.letsencrypt.org/directory", [other], 3),
        (other + "/", [other], 3),
    ):
        trap.service.configure(client_acme_servers=listed)
        answer = trap.send(f"--acme-server-url {url} show configuration", "passed on")
        assert answer.returncode == status, url
        if not status:
            assert f"acme-server-url: {url}\n".encode() in answer.stdout


def test_client_sees_nothing_of_the_host(trap: Trap) -> None:
    """`show configuration` has its domainsets and limits; no path, command line or secret."""
    secret = "hmac-SECRET-VALUE"
    trap.service.configure(
        certbot_command=f"/opt/certbot-dir/certbot --eab-kid k1 --eab-hmac-key {secret}"
    )
    for level in ("INFO", "DEBUG"):
        answer = trap.send(f"--log-level {level} show configuration", "passed on")
        assert answer.returncode == 0
        said = (answer.stdout + answer.stderr).decode()
        assert f"- {NAME}" in said or f"[{NAME}]" in said
        assert "DNS-01" in said
        for hidden in (secret, "/opt", "hook", str(trap.folder)):
            assert hidden not in said, hidden

    admin = trap.service.run("show", "configuration").stdout.decode()
    assert "/opt/certbot-dir/certbot --eab-kid k1 --eab-hmac-key ********" in admin
    assert secret not in admin


def test_forced_command_with_a_command_of_its_own(trap: Trap) -> None:
    """A client can't add to it: its words are refused, unless they are the very same."""
    environment = clean_environment(
        **trap.service.environment, SSH_ORIGINAL_COMMAND="show configuration"
    )
    for words, status in ((["ping"], 3), (["show", "configuration"], 0), (["show"], 3)):
        answer = subprocess.run(
            trap.service.command(*words),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        assert answer.returncode == status, words
        if status:
            assert answer.stdout == b""
            assert b"the forced command and the client's words do not fit together" in answer.stderr
