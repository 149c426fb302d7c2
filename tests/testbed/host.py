"""A throw-away host: this machine's files below a RAM overlay, with its own users and /etc."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testbed.server import MissingProgramError, Server

# Run as root in fresh mount, PID, UTS and IPC namespaces, with the server's folder and the host's
# name as its arguments. Its mounts are seen in there only and go when its process 1 goes, also
# after a kill -9. The old root is detached, so that nothing inside can reach the real files. The
# network is the machine's: the other servers of the test bed are at their usual addresses.
_START = r"""
set -eu
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir upper work root
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay root
cd root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/sshd
hostname "$2"
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$2" >etc/hosts
: >etc/resolv.conf # sudo may ask for its host's name: nothing waits for a name server
rm -rf etc/certgrinder* etc/letsencrypt etc/sudoers.d/* etc/ssh/sshd_config.d/*
rm -rf usr/local/bin/certgrinder* usr/local/bin/hooks var/lib/certgrinder* var/cache/certgrinder*
for user in certgrinderd certgrinderd-acme certgrinder; do userdel $user 2>/dev/null || :; done
{prepare}
mkdir .old
pivot_root . .old
exec chroot . /bin/sh -c 'trap exit TERM; umount -l /.old && rmdir /.old
    {boot}
    : >/run/throw-away-host
    while :; do sleep 1000 & wait; done' # a shell that waits takes care of orphans
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Host(Server):
    """A host that needs root to start; whatever is changed in it is gone at the end.

    Attributes:
        name: Its host name.
    """

    program_name = "unshare"
    # SIGTERM is ignored by an unshare that waits for process 1.
    death_signal = "KILL"
    name = "throw-away"
    namespaces: tuple[str, ...] = ("mount", "pid", "uts", "ipc")
    # Lines of sh: for root outside of the new root, and for process 1 in it.
    prepare = ""
    boot = ""

    def __init__(self) -> None:
        """Find the programs.

        Raises:
            MissingProgramError: One is not installed, or this is not Linux with root's rights.
        """
        super().__init__()
        probe = subprocess.run(
            [self.program, "--mount", "--pid", "--fork", "true"], capture_output=True, check=False
        )
        if os.geteuid() != 0 or probe.returncode:
            self.__exit__()
            raise MissingProgramError("a throw-away host needs root, and Linux namespaces")

    def configure(self) -> None:
        """There is nothing to configure from outside."""

    def command(self) -> Sequence[str]:
        """Start process 1 of the host; it ends with the program that made its namespaces."""
        namespaces = [f"--{name}" for name in self.namespaces]
        script = _START.replace("{prepare}", self.prepare).replace("{boot}", self.boot)
        start = ("/bin/sh", "-c", script, "sh", str(self.directory / "overlay"), self.name)
        (self.directory / "overlay").mkdir(exist_ok=True)
        options = ("--propagation=private", "--fork", "--kill-child")
        return [self.program, *namespaces, *options, *start]

    def is_ready(self) -> bool:
        """Whether process 1 has left the old root."""
        return self.run(["test", "-e", "/run/throw-away-host"]).returncode == 0

    def run(
        self,
        words: Sequence[str],
        *,
        user: str | None = None,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program in the host and wait for it.

        Args:
            words: The program and its arguments.
            user: Who runs it: one of the host's users; root if it is None.
            stdin: What it reads.
            env: What it has in its environment besides PATH and HOME.
            timeout: In seconds; after it subprocess.TimeoutExpired.
        """
        return subprocess.run(
            self._command(words, user, env or {}),
            input=stdin,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def popen(
        self, words: Sequence[str], *, user: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in the host, as run() does, with pipes on all three ends."""
        pipe = subprocess.PIPE
        command = self._command(words, user, env or {})
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)

    def _command(self, words: Sequence[str], user: str | None, env: Mapping[str, str]) -> list[str]:
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"]
        variables = {"PATH": PATH, "HOME": f"/home/{user}" if user else "/root", **env}
        return [
            *("nsenter", f"--target={self._init()}", *(f"--{name}" for name in self.namespaces)),
            *("--root", "--", "/usr/bin/env", "-i", "--chdir=/"),
            *(f"{name}={value}" for name, value in variables.items()),
            *(as_user if user else []),
            *words,
        ]

    def check(self, words: Sequence[str], *, stdin: bytes = b"") -> str:
        """Run a program as root that must not fail; return what it prints."""
        done = self.run(words, stdin=stdin)
        if done.returncode:
            raise AssertionError(f"{words} ended with status {done.returncode}: {done.stderr!r}")
        return done.stdout.decode()

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file of root's, and the folders above it."""
        data = content.encode() if isinstance(content, str) else content
        script = 'mkdir -p -- "$(dirname -- "$1")" && cat >"$1" && chmod -- "$2" "$1"'
        self.check(["sh", "-c", script, "sh", path, f"{mode:o}"], stdin=data)

    def add_user(self, name: str) -> None:
        """Make an ordinary user, with a shell and a home."""
        self.check(["useradd", "--create-home", "--shell=/bin/sh", "--password=*", name])

    def _init(self) -> str:
        """The process ID, outside, of process 1."""
        assert self._process is not None
        started = self._process.pid
        children = Path(f"/proc/{started}/task/{started}/children").read_text(encoding="ascii")
        return children.split()[0] if children.split() else "0"
