"""The queue on the PID file."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from certgrinderd.errors import ConfigurationError, LockTimeout
from certgrinderd.system import locks
from certgrinderd.system.deadline import Deadline

HOLD = (
    "import sys, time\n"
    "from certgrinderd.system import locks\n"
    "from certgrinderd.system.deadline import Deadline\n"
    "with locks.held(sys.argv[1], note=sys.argv[2], deadline=Deadline(60), label='pid-dir'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def hold(path: Path, note: str) -> subprocess.Popen[str]:
    """Another process that takes the lock, says so, and holds it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), note],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_file_says_who_holds_it(tmp_path: Path) -> None:
    """Process ID and note while it is held, nothing afterwards; private, and not removed."""
    path = tmp_path / "pid"
    with locks.held(str(path), note="for a.example", deadline=Deadline(0), label="pid-dir"):
        assert path.read_text() == f"{os.getpid()}\nfor a.example\n"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == ""
    with locks.held(str(path), note="again", deadline=Deadline(0), label="pid-dir"):
        pass


def test_second_waits_for_the_first(tmp_path: Path) -> None:
    """It gets the lock when the first one ends, also by SIGKILL."""
    path = tmp_path / "pid"
    with hold(path, "first") as first:
        assert read_line(first) == "held\n"
        with hold(path, "second") as second:
            time.sleep(0.2)
            assert path.read_text().endswith("first\n")
            first.kill()
            assert read_line(second) == "held\n"
            assert path.read_text() == f"{second.pid}\nsecond\n"
            second.communicate("")


def test_those_who_wait_are_served_in_their_order(tmp_path: Path) -> None:
    """First come, first served."""
    path = tmp_path / "pid"
    order: list[str] = []
    with hold(path, "holder") as holder:
        assert read_line(holder) == "held\n"
        waiting = []
        for name in "abcde":
            process = hold(path, name)

            def serve(process: subprocess.Popen[str] = process, name: str = name) -> None:
                if read_line(process) == "held\n":
                    order.append(name)
                process.communicate("")

            thread = threading.Thread(target=serve)
            thread.start()
            waiting.append(thread)
            _wait_until_it_waits(process)
        holder.communicate("")
        for thread in waiting:
            thread.join()
    assert order == list("abcde")


def _wait_until_it_waits(process: subprocess.Popen[str]) -> None:
    """Until one of its threads is blocked in flock(2), as the kernel's list of locks tells."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for line in Path("/proc/locks").read_text().splitlines():
            if "->" in line and f" {process.pid} " in line:
                return
        time.sleep(0.02)
    pytest.fail("it does not wait")


def test_wait_is_limited(tmp_path: Path) -> None:
    """After the limit the error names the holder, and the lock is not taken behind our back."""
    path = tmp_path / "pid"
    with hold(path, "for a.example") as holder:
        assert read_line(holder) == "held\n"
        with (
            pytest.raises(LockTimeout, match=rf"process {holder.pid} \(for a\.example\)"),
            locks.held(str(path), note="mine", deadline=Deadline(0.3), label="pid-dir"),
        ):
            pytest.fail("two hold one lock")
        holder.communicate("")
    with locks.held(str(path), note="mine", deadline=Deadline(5), label="pid-dir"):
        assert path.read_text().endswith("mine\n")


def test_symlink_and_foreign_files_are_refused(tmp_path: Path) -> None:
    """In a folder like /tmp others may have been there before us."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    os.link(target, tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (
        ("link", "cannot open"),
        ("hard", "is not a plain file of this user"),
        ("fifo", "is not a plain file of this user"),
        ("nothing/pid", "No such file or directory"),
    ):
        with (
            pytest.raises(ConfigurationError, match=rf"pid-dir: .*{reason}"),
            locks.held(str(tmp_path / name), note="x", deadline=Deadline(0), label="pid-dir"),
        ):
            pytest.fail("took a file that is not ours")
    assert target.read_text() == "precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_file_of_another_user_is_refused(tmp_path: Path) -> None:
    """Whoever owns the file could hold the lock for ever, or change what it says."""
    path = tmp_path / "pid"
    path.touch()
    os.chown(path, 65534, -1)
    with (
        pytest.raises(ConfigurationError, match="is not a plain file of this user"),
        locks.held(str(path), note="x", deadline=Deadline(0), label="pid-dir"),
    ):
        pytest.fail("took another user's file")


def test_full_disk_takes_the_note_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock needs no space."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "pid"
    monkeypatch.setattr(os, "pwrite", full)
    with locks.held(str(path), note="x", deadline=Deadline(0), label="pid-dir"):
        assert path.read_text() == ""
        with path.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("when", ["at once", "while it waits"])
def test_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """One line, and no thread that breaks off."""

    def no_locks(_: int, how: int) -> None:
        if when == "while it waits" and how & fcntl.LOCK_NB:
            raise BlockingIOError
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.raises(ConfigurationError, match=r"pid-dir: cannot lock .*: No locks available"),
        locks.held(str(tmp_path / "pid"), note="x", deadline=Deadline(5), label="pid-dir"),
    ):
        pass
