"""Running another program: bounded, in a session of its own, and never left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from certgrinderd.errors import IssuanceError, Temporary
from certgrinderd.system.deadline import Deadline, TimeUp

LONGEST_LINE = 4096
MOST_LINES = 2000
MOST_BYTES = 1024 * 1024
# How long a program may take to clean up after SIGTERM: for certbot, all its cleanup hooks.
GRACE_SECONDS = 60.0
# Reads of what is left in the pipes; something that the program started may go on writing for ever.
_MOST_LAST_WORDS = 64


class ProgramFailed(IssuanceError):
    """A program could not be started, took too long, or ended with another status than 0.

    Attributes:
        status: Its exit status, negative for a signal; None if it did not start or was ended by us.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    deadline: Deadline,
    on_line: Callable[[str], None] | bytearray,
    on_error_line: Callable[[str], None],
    umask: int = 0o077,
    stdin: bytes = b"",
    hang_up: bool = False,
) -> None:
    """Run a program, without a shell, until it ends.

    It gets SIGTERM, and time to clean up, when it takes too long, when a signal asks us to end, and
    when our client hangs up.

    Args:
        command: The program and its arguments.
        environment: All of its environment.
        deadline: When it must have ended.
        on_line: Called with each line that it prints on standard output, as it comes; lines are cut
            at 4096 bytes, and at most 2000 are passed on. A bytearray gets standard output as it
            is, at most one mebibyte.
        on_error_line: The same for standard error.
        umask: Its file mode creation mask.
        stdin: What it can read on standard input.
        hang_up: Whether to close its standard output if we may not send it a signal; for a program
            that ends when nobody reads its output.

    Raises:
        ProgramFailed: See there.
        Temporary: There is no space for what it should read.
        Interrupted, Stopped: See Deadline.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 - a word, not yet a path
    process = _start(command, environment, umask=umask, stdin=stdin)
    with contextlib.closing(_Relay()) as relay:
        relay.add(process.stdout, on_line)
        relay.add(process.stderr, on_error_line)
        try:
            relay.until(lambda: process.poll() is not None, deadline)
        except BaseException as error:
            _end(process, relay, hang_up=hang_up)
            if isinstance(error, TimeUp):
                message = f"{name} exceeded the time limit of {deadline.seconds:g} seconds"
                raise ProgramFailed(message) from error
            raise
    if process.returncode:
        status = process.returncode
        raise ProgramFailed(f"{name} ended with {_status(status)}", status=status)


def _start(
    command: Sequence[str], environment: Mapping[str, str], *, umask: int, stdin: bytes
) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as stack:
        source: int | IO[bytes] = subprocess.DEVNULL
        if stdin:
            source = stack.enter_context(_file_with(stdin))
        try:
            return subprocess.Popen(  # noqa: S603 - the admin named the program; there is no shell
                command,
                env=dict(environment),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                umask=umask,
            )
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOEXEC:
                # As execvp(3) does: a script without a first line "#!…" is one for sh.
                return _start(["/bin/sh", *command], environment, umask=umask, stdin=stdin)
            reason = getattr(error, "strerror", None) or str(error)
            raise ProgramFailed(f"cannot run {command[0]}: {reason}") from error


def _file_with(content: bytes) -> IO[bytes]:
    """A file to read from; with a pipe we would have to wait until the program has read it all.

    Raises:
        Temporary: There is no space for it.
    """
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        file.write(content)
        file.seek(0)
    except OSError as error:
        raise Temporary(f"cannot write a temporary file: {error.strerror}") from error
    return file


def _status(code: int) -> str:
    return f"exit status {code}" if code > 0 else signal.Signals(-code).name


class _Lines:
    """Bytes in, whole lines out, within bounds."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self._count = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none at the end."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if not data or len(self._rest) > LONGEST_LINE:
            whole.append(self._rest)
            self._rest = b""
        for line in whole:
            text = line[:LONGEST_LINE].decode("utf-8", "backslashreplace").strip()
            if text and self._count < MOST_LINES:
                self._count += 1
                self._on_line(text)


class _Bytes:
    """Bytes in, the same out, within bounds."""

    def __init__(self, taken: bytearray) -> None:
        self._taken = taken

    def feed(self, data: bytes) -> None:
        """Take the next bytes; none at the end."""
        self._taken += data[: MOST_BYTES - len(self._taken)]


class _Relay:
    """Passes on what comes through the pipes from a program."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._streams: list[IO[bytes]] = []

    def close(self) -> None:
        for stream in self._streams:
            stream.close()
        self._selector.close()

    def add(self, stream: IO[bytes] | None, to: Callable[[str], None] | bytearray) -> None:
        if stream is not None:
            self._streams.append(stream)
            sink = _Bytes(to) if isinstance(to, bytearray) else _Lines(to)
            self._selector.register(stream, selectors.EVENT_READ, sink)

    def drop(self, stream: IO[bytes] | None) -> None:
        """Close a pipe: its program notices."""
        if stream is not None and stream in self._streams:
            with contextlib.suppress(KeyError):
                self._selector.unregister(stream)
            self._streams.remove(stream)
            stream.close()

    def until(self, has_ended: Callable[[], bool], deadline: Deadline) -> None:
        """Pass on what comes until the program has ended and nothing more is in the pipes.

        What it started may keep the pipes open after its end; that is not waited for.

        Raises:
            TimeUp, Interrupted, Stopped: See Deadline.
        """
        while not has_ended():
            longest = deadline.check()
            if self._selector.get_map():
                self.pass_on(longest)
            else:
                time.sleep(0.001)  # it closed its ends and is about to end
        self.pass_on_last_words()

    def pass_on_last_words(self) -> None:
        """Pass on what is in the pipes of a program that has ended."""
        for _ in range(_MOST_LAST_WORDS):
            if not self.pass_on(0):
                return

    def pass_on(self, wait: float) -> bool:
        """Pass on what comes within some seconds, and tell whether anything did."""
        ready = self._selector.select(wait)
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            key.data.feed(data)
            if not data:
                self._selector.unregister(key.fileobj)
        return bool(ready)


def _end(process: subprocess.Popen[bytes], relay: _Relay, *, hang_up: bool) -> None:
    """Ask the program to end, give it time, and then kill all that it started.

    A second signal to us cuts the time short.
    """
    # Only the program gets the signal: it must end its children by itself. We may not signal one
    # that runs as another user (sudo): it gets the same time to notice, clean up and end.
    with contextlib.suppress(ProcessLookupError):
        try:
            process.send_signal(signal.SIGTERM)
        except PermissionError:
            if hang_up:
                relay.drop(process.stdout)
    grace = Deadline(GRACE_SECONDS)
    try:
        while process.poll() is None and grace.left:
            if not relay.pass_on(0.05):
                time.sleep(0.01)
        relay.pass_on_last_words()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
