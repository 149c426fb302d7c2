"""A client's machine without Python: contrib/certgrinder.sh under a given shell."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tests.testbed.server import clean_environment, find_program
from tests.testbed.sshd import Client

SCRIPT = Path(__file__).resolve().parents[2] / "contrib" / "certgrinder.sh"

Shell = Literal["dash", "busybox"]
SHELLS: tuple[Shell, ...] = ("dash", "busybox")


@dataclass
class Machine:
    """One that keeps its files in a folder.

    Attributes:
        folder: Where they are.
        client: How it reaches the server.
        interpreter: The shell.
        path: Where programs are found.
        options: The first words of each run: of several values for ssh the first one counts.
    """

    folder: Path
    client: Client
    interpreter: str
    path: str
    options: list[str] = field(default_factory=list)

    def command(self, *words: str) -> list[str]:
        """The command line of a run."""
        *arguments, server = self.client.command()[1:-1]
        ssh_options = []
        for option, value in pairwise(arguments):
            name = {"-p": "Port=", "-i": "IdentityFile=", "-o": ""}.get(option)
            if name is not None:
                ssh_options += ["--ssh-option", name + value]
        place = ["--server", server, "--directory", str(self.folder), *ssh_options]
        return [self.interpreter, str(SCRIPT), *self.options, *place, *words]

    def environment(self) -> dict[str, str]:
        """The environment of a run."""
        return {**clean_environment(), "PATH": self.path}

    def run(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        return subprocess.run(
            self.command(*words),
            stdin=subprocess.DEVNULL,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def popen(self, *words: str) -> subprocess.Popen[bytes]:
        """Start the script. It hears SIGHUP, which no shell can trap where nohup ignores it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [find_program("env"), "--default-signal=HUP", *self.command(*words)],
            stdin=subprocess.DEVNULL,
            env=self.environment(),
            stdout=pipe,
            stderr=pipe,
        )

    def files(self) -> dict[str, bytes]:
        """All that lies in its folder."""
        found = (path for path in self.folder.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}

    def write(self, name: str, content: bytes) -> Path:
        """Write a file there."""
        path = self.folder / name
        path.write_bytes(content)
        return path


def path_of(shell: Shell, folder: Path) -> tuple[str, str]:
    """The shell, and a PATH with what a machine with this shell has.

    Args:
        shell: dash has the machine's programs, busybox its own, ssh and openssl.
        folder: An empty one, for the latter.
    """
    if shell == "dash":
        return find_program("dash"), clean_environment()["PATH"]
    subprocess.run([find_program("busybox"), "--install", "-s", str(folder)], check=True)
    for name in ("ssh", "openssl"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(find_program(name))
    return str(folder / "sh"), str(folder)
