"""What the servers of the test bed have in common: a port, a folder, a process and its log."""

from __future__ import annotations

import abc
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

# Below the range from which Linux takes ports for outgoing connections: a server that is stopped
# for an outage test finds its port free when it comes back.
_LOWEST_PORT, _HIGHEST_PORT = 10000, 31999
# pytest-xdist's workers run at the same time: each has ports of its own.
_WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = range(_LOWEST_PORT + _WORKER, _HIGHEST_PORT + 1, _WORKERS)
_given: set[int] = set()


class MissingProgramError(Exception):
    """A server program is not installed on this machine."""


class ServerError(Exception):
    """A server did not start, or died; the text ends with its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses for TCP or UDP and that was not given out before."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise ServerError("no free port found")


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def find_program(name: str) -> str:
    """The absolute path of a program; servers often live outside an ordinary user's PATH.

    Raises:
        MissingProgramError: It is nowhere.
    """
    places = [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise MissingProgramError(f"{name} is not installed")
    return found


def clean_environment(**extra: str) -> dict[str, str]:
    """An environment without proxies and the user's locale, plus what is given."""
    return {
        "PATH": os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/sbin",
        "HOME": os.environ.get("HOME", "/"),
        "LC_ALL": "C.UTF-8",
        **extra,
    }


def wait_until(answers: Callable[[], object], *, timeout: float, what: str) -> None:
    """Ask again and again until the answer is true.

    Raises:
        TimeoutError: It was not within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} seconds")
        time.sleep(0.02)


def _ends_with_us(signal_name: str) -> list[str]:
    """The words before a command that let the kernel end it when the tests are killed (Linux)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, "--"] if setpriv else []


class Server(abc.ABC):
    """One server process with its own folder; a context manager that starts and stops it.

    Attributes:
        directory: The server's own folder, removed at the end.
        program: The absolute path of the server program.
        death_signal: What ends it when the tests are killed.
    """

    program_name: str
    start_timeout = 20.0
    death_signal = "TERM"

    def __init__(self) -> None:
        """Find the program and make the folder; nothing runs yet.

        Raises:
            MissingProgramError: The program is not installed.
        """
        self.program = find_program(self.program_name)
        self.directory = Path(tempfile.mkdtemp(prefix=f"testbed-{self.program_name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def configure(self) -> None:
        """Write the configuration; called once, before the first start."""

    @abc.abstractmethod
    def command(self) -> Sequence[str]:
        """The command line that runs the server in the foreground."""

    @abc.abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers as it should; asked until it does."""

    def environment(self) -> Mapping[str, str]:
        """The server's whole environment."""
        return clean_environment()

    def start(self) -> None:
        """Start the process and wait until it answers.

        Call it in a thread that lasts: on Linux the server ends with the thread that started it.

        Raises:
            ServerError: It died, or did not answer in time.
        """
        with self._log_path.open("ab") as log:
            self._process = process = subprocess.Popen(
                [*_ends_with_us(self.death_signal), *self.command()],
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(
                lambda: process.poll() is not None or self.is_ready(),
                timeout=self.start_timeout,
                what=f"{self.program_name} answers",
            )
        except TimeoutError as error:
            self.stop()
            raise ServerError(self._with_log(str(error))) from error
        except BaseException:
            self.stop()
            raise
        if process.poll() is not None:
            self.stop()
            raise ServerError(self._with_log(f"{self.program_name} ended: {process.returncode}"))

    def stop(self) -> None:
        """End the process and all that it started; harmless when nothing runs."""
        process, self._process = self._process, None
        if process is None:
            return
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, ending)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)

    def cpu_seconds(self) -> float:
        """What it and all that it started have used so far; 0 when nothing runs (Linux)."""
        if self._process is None:
            return 0.0
        ticks = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                # From the state on, as proc(5) counts: 3 state, 6 session, 14 utime, 15 stime.
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
                if int(fields[3]) == self._process.pid:
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """What the server has said since its first start."""
        if not self._log_path.exists():
            return ""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.directory / "log"

    def _with_log(self, message: str) -> str:
        return f"{message}\n--- log of {self.program_name}\n{self.log()}"

    def __enter__(self) -> Self:
        """Configure and start."""
        try:
            self.configure()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and remove the folder."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
