"""sshd: logs the tests' own user in, by key only, and runs what the key's line says."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.server import Server, clean_environment, find_program, free_port

_CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
PermitRootLogin prohibit-password
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitUserEnvironment CERTGRINDERD_DOMAINSETS
ExposeAuthInfo yes
PrintMotd no
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
"""


@dataclass(frozen=True)
class Client:
    """A machine that may log in with a key of its own.

    Attributes:
        key_file: Its private key.
    """

    key_file: Path
    _arguments: tuple[str, ...]

    def run(
        self, words: Sequence[str] | str = (), *, stdin: bytes = b"", timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run ssh with these words for the server, and wait for it.

        Args:
            words: SSH_ORIGINAL_COMMAND: a string as it is, a list joined by blanks as ssh does.
            stdin: What the forced command reads.
            timeout: In seconds; after it subprocess.TimeoutExpired.
        """
        return subprocess.run(
            self.command(words),
            input=stdin,
            env=clean_environment(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def popen(self, words: Sequence[str] | str = ()) -> subprocess.Popen[bytes]:
        """Start ssh with pipes on all three ends, in a process group of its own, for a hang-up."""
        return subprocess.Popen(
            self.command(words),
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def command(self, words: Sequence[str] | str = ()) -> list[str]:
        """The whole ssh command line."""
        sent = [words] if isinstance(words, str) else list(words)
        return [*self._arguments, "--", *sent]


class Sshd(Server):
    """An ssh server on 127.0.0.1 whose clients all log in as the user who runs the tests.

    Attributes:
        port: Where it listens.
    """

    program_name = "sshd"

    def __init__(self) -> None:
        """Prepare a server on a free port."""
        self._ssh = find_program("ssh")
        self._keygen = find_program("ssh-keygen")
        super().__init__()
        self.port = free_port()
        self._user = pwd.getpwuid(os.getuid()).pw_name
        self._clients = 0

    def configure(self) -> None:
        """Write the host key, the client's view of it, and sshd_config."""
        public_key = self._make_key(self.directory / "host_key")
        self._write("known_hosts", f"[127.0.0.1]:{self.port} {public_key}\n")
        self._write("authorized_keys", "")
        text = _CONFIGURATION.format(port=self.port, directory=self.directory)
        self._write("sshd_config", text)
        if os.geteuid() == 0:
            # sshd refuses to run as root without it; Debian's service makes it at boot.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # From OpenSSH 9.8 on a refused client makes sshd shut out its address, ours.
        if self._understands("PerSourcePenalties no"):
            self._write("sshd_config", text + "PerSourcePenalties no\n")

    def command(self) -> Sequence[str]:
        """Run sshd in the foreground, logging to stderr."""
        return [self.program, "-D", "-e", "-f", str(self.directory / "sshd_config")]

    def is_ready(self) -> bool:
        """Whether the port answers with our host key; any answer to a stranger's key will do."""
        probe = subprocess.run(
            [*self._ssh_arguments(self.directory / "host_key"), "--", "true"],
            env=clean_environment(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return b"Permission denied" in probe.stderr

    def add_client(
        self, *, command: str, domainsets: str | None = None, options: str = "restrict"
    ) -> Client:
        """Let one more client in.

        Args:
            command: The forced command, run by the user's shell.
            domainsets: The key's CERTGRINDERD_DOMAINSETS; None leaves it out.
            options: Further options of the authorized_keys line.
        """
        key_file, public_key = self._new_key()
        fields = [options] if options else []
        if domainsets is not None:
            fields.append(f"environment={_quoted('CERTGRINDERD_DOMAINSETS=' + domainsets)}")
        fields.append(f"command={_quoted(command)}")
        with (self.directory / "authorized_keys").open("a", encoding="utf-8") as file:
            file.write(f"{','.join(fields)} {public_key}\n")
        return Client(key_file, self._ssh_arguments(key_file))

    def stranger(self) -> Client:
        """A client whose key the server does not know."""
        key_file, _ = self._new_key()
        return Client(key_file, self._ssh_arguments(key_file))

    def _ssh_arguments(self, key_file: Path) -> tuple[str, ...]:
        settings = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "PreferredAuthentications": "publickey",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.directory / "known_hosts"),
            "GlobalKnownHostsFile": os.devnull,
            "ConnectTimeout": "10",
            "LogLevel": "ERROR",
        }
        return (
            *(self._ssh, "-F", "none", "-T", "-p", str(self.port), "-i", str(key_file)),
            *(word for name, value in settings.items() for word in ("-o", f"{name}={value}")),
            f"{self._user}@127.0.0.1",
        )

    def _new_key(self) -> tuple[Path, str]:
        self._clients += 1
        key_file = self.directory / f"client_{self._clients}"
        return key_file, self._make_key(key_file)

    def _make_key(self, path: Path) -> str:
        subprocess.run(
            [self._keygen, "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)],
            env=clean_environment(),
            capture_output=True,
            check=True,
        )
        return path.with_suffix(".pub").read_text(encoding="utf-8").strip()

    def _understands(self, setting: str) -> bool:
        configuration = str(self.directory / "sshd_config")
        test = subprocess.run(
            [self.program, "-t", "-f", configuration, "-o", setting],
            env=clean_environment(),
            capture_output=True,
            check=False,
        )
        return test.returncode == 0

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="utf-8")


def _quoted(text: str) -> str:
    """A value of an authorized_keys option; sshd unescapes quotes and nothing else."""
    return '"' + text.replace('"', '\\"') + '"'
