"""One at a time: a queue on a PID file, with a limit and a word about whom it waits for."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator

from certgrinderd.errors import ConfigurationError, LockTimeout
from certgrinderd.system.hangup import require_client

logger = logging.getLogger(__name__)

_LONGEST_NOTE = 500


@contextlib.contextmanager
def held(path: str, *, note: str, timeout: float, label: str) -> Iterator[None]:
    """Hold the lock (flock(2)) on a PID file.

    The file holds our process ID and, on a second line, a note, as long as we hold it. It stays
    there afterwards: removing it would let two hold "the" lock.

    Args:
        path: The file; made if it isn't there. In a folder that others can write to, such as /tmp,
            it must be ours: a symlink or another user's file is an error.
        note: What we do, for those who wait.
        timeout: Seconds to wait for others.
        label: The setting that the path comes from, for messages.

    Raises:
        ConfigurationError: The file can't be made or locked, or is not ours.
        LockTimeout: Others held it for too long.
    """
    descriptor = _open(path, label=label)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        try:
            if not _try(descriptor):
                # A copy for the thread that waits: after a timeout it may get the lock any time,
                # and closing its copy is what gives the lock up again.
                _wait(os.dup(descriptor), path=path, timeout=timeout)
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
    """Replace what stands in the file; on a full disk there is nothing, and the lock holds."""
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)


def _holder(descriptor: int) -> str:
    lines = os.pread(descriptor, _LONGEST_NOTE + 20, 0).decode("utf-8", "replace").splitlines()
    process, note = (*lines, "", "")[:2]
    return f"process {process or 'unknown'}" + (f" ({note})" if note else "")


def _wait(descriptor: int, *, path: str, timeout: float) -> None:
    """Wait for the lock in a thread: the kernel serves those who block in flock(2) in their order.

    Raises:
        LockTimeout: It took too long.
        OSError: The file system has no locks, or no more of them.
    """
    lock = threading.Lock()
    failures: list[OSError] = []
    done = threading.Event()
    given_up = threading.Event()

    def block() -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            failures.append(error)
        with lock:
            done.set()
            if given_up.is_set():
                os.close(descriptor)

    start = time.monotonic()
    logger.info("waiting for %s, for %g seconds at most", _holder(descriptor), timeout)
    threading.Thread(target=block, daemon=True).start()
    try:
        while not done.wait(0.2):
            require_client()
            _require_time(start + timeout, descriptor, path=path, timeout=timeout)
    finally:
        with lock:
            given_up.set()
            if done.is_set():
                os.close(descriptor)
    if failures:
        raise failures[0]
    logger.info("waited %.1f seconds", time.monotonic() - start)


def _require_time(deadline: float, descriptor: int, *, path: str, timeout: float) -> None:
    if time.monotonic() >= deadline:
        raise LockTimeout(
            f"waited {timeout:g} seconds for {_holder(descriptor)}, which holds {path}: "
            "try again later"
        )
