"""One at a time: a queue on a PID file, with a time limit; the log says who holds the lock."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator

from certgrinderd.errors import ConfigurationError, LockTimeout
from certgrinderd.system.deadline import Deadline, TimeUp

logger = logging.getLogger(__name__)

_LONGEST_NOTE = 500


@contextlib.contextmanager
def held(path: str, *, note: str, deadline: Deadline, label: str) -> Iterator[None]:
    """Hold the lock (flock(2)) on a PID file.

    While we hold it, the file contains our process ID and, on a second line, a note. The file is
    kept afterwards: if it were removed, two processes could each lock a file of that name.

    Args:
        path: The file, which is made if it does not exist. In a folder that others can write to,
            such as /tmp, it must be ours: a symlink or another user's file is an error.
        note: What we do, for those who wait.
        deadline: How long to wait for others.
        label: The setting that the path comes from, for messages.

    Raises:
        ConfigurationError: The file can't be made or locked, or is not ours.
        LockTimeout: Others held it for too long.
        Interrupted: The client hung up while we waited.
    """
    descriptor = _open(path, label=label)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        try:
            if not _try(descriptor):
                _wait(descriptor, path, deadline)
        except OSError as error:
            raise ConfigurationError(f"{label}: cannot lock {path}: {error.strerror}") from error
        stack.callback(_write_note, descriptor, "")
        _write_note(descriptor, f"{os.getpid()}\n{note[:_LONGEST_NOTE]}\n")
        yield


def _open(path: str, *, label: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{label}: cannot open {path}: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink != 1:
        os.close(descriptor)
        raise ConfigurationError(
            f"{label}: {path} is not a plain file of this user: remove it, or set {label}"
        )
    return descriptor


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_note(descriptor: int, note: str) -> None:
    """Replace the content of the file; the lock holds even if the disk is full."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)


def _holder(descriptor: int) -> str:
    lines = os.pread(descriptor, _LONGEST_NOTE + 20, 0).decode("utf-8", "replace").splitlines()
    process, note = (*lines, "", "")[:2]
    return f"process {process or 'unknown'}" + (f" ({note})" if note else "")


def _wait(descriptor: int, path: str, deadline: Deadline) -> None:
    """Wait for the lock in a thread: flock(2) serves those who block in it in their order.

    Raises:
        LockTimeout: It took too long.
        OSError: The file system has no locks, or no more of them.
    """
    # The thread may get the lock after we gave up. It has a descriptor of its own, and closing the
    # last one releases the lock; as long as we keep ours, the lock is ours.
    duplicate = os.dup(descriptor)

    def block() -> None:
        try:
            fcntl.flock(duplicate, fcntl.LOCK_EX)
        finally:
            os.close(duplicate)

    start = time.monotonic()
    logger.info("waiting for %s, for %.0f seconds at most", _holder(descriptor), deadline.left)
    try:
        deadline.call(block)
    except TimeUp as error:
        raise LockTimeout(
            f"waited {deadline.seconds:g} seconds for {_holder(descriptor)}, which holds {path}: "
            "try again later"
        ) from error
    logger.info("waited %.1f seconds", time.monotonic() - start)
