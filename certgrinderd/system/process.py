"""Running another program: bounded, in a process group of its own, and not left behind."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from certgrinderd.errors import CertgrinderdError, IssuanceError
from certgrinderd.system.hangup import require_client

LONGEST_LINE = 4096
MOST_LINES = 2000
# How long a program may take to clean up after SIGTERM: for certbot, all its cleanup hooks.
GRACE_SECONDS = 60.0
_LAST_WORDS = 5


class ProgramFailed(IssuanceError):
    """A program could not be started, took too long, or ended with another status than 0.

    Attributes:
        status: Its exit status; negative for a signal, None if it did not start or end.
        last_lines: What it said in the end.
    """

    def __init__(
        self, message: str, *, status: int | None = None, last_lines: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.last_lines = tuple(last_lines)


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout: float,
    on_line: Callable[[str], None],
    umask: int = 0o077,
) -> None:
    """Run a program, without a shell and without standard input, until it ends.

    It is ended, with SIGTERM and time to clean up, when it takes too long, when a signal asks us to
    end, and when our client hangs up.

    Args:
        command: The program and its arguments.
        environment: All of its environment.
        timeout: In seconds.
        umask: Its file mode creation mask.
        on_line: Called with each line that it prints, on standard output or error, as it comes;
            lines are cut at 4096 bytes and their number at 2000.

    Raises:
        ProgramFailed: See there.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 - a word, not yet a path
    try:
        process = subprocess.Popen(  # noqa: S603 - the admin named the program; there is no shell
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=umask,
        )
    except OSError as error:
        raise ProgramFailed(f"cannot run {command[0]}: {error.strerror}") from error
    assert process.stdout is not None  # noqa: S101 - for the type checker
    lines = _Lines(on_line)
    try:
        _relay(process.stdout, lines, deadline=time.monotonic() + timeout)
        status = process.wait(max(1.0, timeout))
    except (TimeoutError, subprocess.TimeoutExpired):
        _end(process, lines)
        raise ProgramFailed(
            f"{name} took longer than {timeout:g} seconds", last_lines=lines.last
        ) from None
    except BaseException:
        _end(process, lines)
        raise
    finally:
        process.stdout.close()
    if status:
        how = f"with status {status}" if status > 0 else f"by signal {-status}"
        raise ProgramFailed(f"{name} ended {how}", status=status, last_lines=lines.last)


class _Lines:
    """Bytes in, whole lines out, within bounds."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self._count = 0
        self.last: list[str] = []

    def feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._say(line)
        if len(self._rest) > LONGEST_LINE:
            self._say(self._rest)
            self._rest = b""

    def finish(self) -> None:
        if self._rest:
            self._say(self._rest)
            self._rest = b""

    def _say(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "backslashreplace").strip()
        if not text:
            return
        self.last = [*self.last, text][-_LAST_WORDS:]
        self._count += 1
        if self._count <= MOST_LINES:
            self._on_line(text)


def _relay(stream: IO[bytes], lines: _Lines, *, deadline: float) -> None:
    """Pass on what comes until the program has closed its end.

    Raises:
        TimeoutError: It has not by the deadline.
    """
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        require_client()
        if not select.select([stream], [], [], min(left, 0.5))[0]:
            continue
        data = os.read(stream.fileno(), 65536)
        if not data:
            lines.finish()
            return
        lines.feed(data)


def _end(process: subprocess.Popen[bytes], lines: _Lines) -> None:
    """Ask the program to end, wait, and then end its whole group."""
    # The program alone: it knows best what to do with those that it started. For one that another
    # user runs (sudo) there may be no permission; it ends by itself and cleans up then.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    assert process.stdout is not None  # noqa: S101 - for the type checker
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.05)[0]:
            with contextlib.suppress(OSError, CertgrinderdError):
                lines.feed(os.read(process.stdout.fileno(), 65536))
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
