"""Ways by which a login could lead further than to its command: ports, files, the agent."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.network import NetworkedHost
from tests.testbed.server import clean_environment, free_port

# Every host of the test bed has an sshd of its own, which greets.
SSHD = "127.0.0.1:22"
GREETING = b"SSH-2.0-"


@dataclass(frozen=True)
class Login:
    """A user of a host who may log in.

    Attributes:
        host: The host.
        user: The user.
        key_file: By which private key; root's own if it is None.
    """

    host: NetworkedHost
    user: str = "root"
    key_file: Path | None = None

    def command(
        self, *options: str, words: str = "", settings: Mapping[str, str] | None = None
    ) -> list[str]:
        """The command line of ssh with more options and settings of ssh_config(5)."""
        command = self.host.ssh_command(
            words.split(), user=self.user, key_file=self.key_file, options=settings
        )
        place = command.index(self._target)
        return [*command[:place], *options, *command[place:]]

    def run(self, *options: str, words: str = "") -> tuple[int, bytes]:
        """The status of ssh, and what is printed."""
        done = _run(self.command(*options, words=words))
        return done.returncode, done.stdout

    def heard_through(self, option: str) -> bytes:
        """What the host's sshd says at a local port that leads there by -L, or by -D (SOCKS)."""
        port = free_port()
        forward = f"127.0.0.1:{port}" + (f":{SSHD}" if option == "-L" else "")
        with subprocess.Popen(self.command("-N", option, forward)) as ssh:
            try:
                with _connection(port, ssh) as connection:
                    if option == "-D":
                        address, _, target = SSHD.partition(":")
                        # RFC 1928: no authentication; connect, to an address of four bytes.
                        start = b"\5\1\0\5\1\0\1" + socket.inet_aton(address)
                        connection.sendall(start + int(target).to_bytes(2, "big"))
                    return _heard(connection)
            finally:
                ssh.kill()

    def copy(self, program: Sequence[str], path: str, to: Path) -> bool:
        """Whether sftp or scp gets a file of the host."""
        to.unlink(missing_ok=True)
        command = self.command()
        options = [word for word in command[1 : command.index(self._target)] if word != "-T"]
        _run([*program, "-q", *options, f"{self._target}:{path}", str(to)])
        return to.exists()

    @property
    def _target(self) -> str:
        return f"{self.user}@{self.host.address}"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )


def _connection(port: int, ssh: subprocess.Popen[bytes]) -> socket.socket:
    """A connection to a local port, as soon as ssh listens there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and ssh.poll() is None:
        connection = socket.socket()
        connection.settimeout(30)
        if connection.connect_ex(("127.0.0.1", port)) == 0:
            return connection
        connection.close()
        time.sleep(0.02)
    raise TimeoutError("ssh does not listen")


def _heard(connection: socket.socket) -> bytes:
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while GREETING not in heard and (more := connection.recv(1000)):
            heard += more
    return heard
