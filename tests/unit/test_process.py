"""Programs that certgrinderd runs: bounded, and not left behind."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from certgrinderd.errors import Interrupted
from certgrinderd.system import process
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.process import LONGEST_LINE, MOST_LINES, ProgramFailed
from tests.testbed.server import wait_until


class Heard:
    """What a program said."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []

    def run(self, command: Sequence[str], *, timeout: float = 20, **variables: str) -> None:
        """Run it with nothing but the given variables in its environment."""
        process.run(
            command,
            environment=variables,
            deadline=Deadline(timeout, for_client=False),
            on_line=self.out.append,
            on_error_line=self.err.append,
        )

    def sh(self, script: str, *, timeout: float = 20, **variables: str) -> None:
        """Run a shell script."""
        self.run(["/bin/sh", "-c", script], timeout=timeout, **variables)


@pytest.fixture
def heard() -> Heard:
    """Somebody who listens."""
    return Heard()


def test_lines_are_passed_on(heard: Heard) -> None:
    """Both streams apart, blank lines dropped, the last one also without its newline."""
    heard.sh("echo one; echo; echo two >&2; printf 'three\\n\\nfour'")
    assert heard.out == ["one", "three", "four"]
    assert heard.err == ["two"]


def test_environment_is_only_what_is_given(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours gets in, and standard input is empty."""
    monkeypatch.setenv("OURS", "secret")
    heard.run([sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"], GIVEN="x")
    (line,) = heard.out
    assert "'GIVEN'" in line
    assert "OURS" not in line
    heard.run(["/bin/cat"])
    assert heard.out == [line]


def test_bytes_that_are_no_text_are_shown(heard: Heard) -> None:
    """Whatever a program prints becomes text."""
    heard.sh(r"printf 'a\377\303\270\n'")
    assert heard.out == [r"a\xffø"]


def test_output_is_bounded(heard: Heard) -> None:
    """Endless lines are cut, and endlessly many are not kept."""
    heard.sh("head -c 100000 /dev/zero | tr '\\0' x")
    assert max(map(len, heard.out)) <= LONGEST_LINE
    heard.out.clear()
    heard.sh("seq 100000")
    assert len(heard.out) == MOST_LINES


@pytest.mark.parametrize(
    ("script", "message"),
    [
        pytest.param("echo why >&2; exit 3", "sh ended with exit status 3", id="status"),
        pytest.param("kill -9 $$", "sh ended with SIGKILL", id="signal"),
    ],
)
def test_failure_is_an_error(heard: Heard, script: str, message: str) -> None:
    """It names the program and how it ended."""
    with pytest.raises(ProgramFailed, match=message):
        heard.sh(script)


@pytest.mark.parametrize("program", ["/nonexistent/program", "/etc/passwd", "/", "a\0b"])
def test_program_that_can_not_be_started(heard: Heard, program: str) -> None:
    """Missing, not executable, a folder, no name at all: one error with the reason."""
    with pytest.raises(ProgramFailed, match="cannot run"):
        heard.run([program])


def test_script_without_a_first_line_is_one_for_sh(heard: Heard, tmp_path: Path) -> None:
    """What the kernel can't run by itself, sh does, as for execvp(3)."""
    script = tmp_path / "script"
    script.write_text('echo "$0 $1"; exit 3\n', encoding="ascii")
    script.chmod(0o755)
    with pytest.raises(ProgramFailed, match="script ended with exit status 3"):
        heard.run([str(script), "a b"])
    assert heard.out == [f"{script} a b"]


def test_time_is_limited(heard: Heard) -> None:
    """What takes too long gets SIGTERM and may clean up."""
    script = "trap 'echo cleaned; exit 0' TERM; echo started; while :; do sleep 0.05; done"
    with pytest.raises(ProgramFailed, match="sh exceeded the time limit of 1 seconds"):
        heard.sh(script, timeout=1, PATH=os.environ["PATH"])
    assert heard.out == ["started", "cleaned"]


def test_what_ignores_the_signal_is_killed(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With all that it has started, after a time to clean up."""
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.3)
    pid_file = tmp_path / "pid"
    script = f"trap '' TERM; sleep 600 & echo $! >{pid_file}; wait; wait"
    with pytest.raises(ProgramFailed, match="exceeded the time limit"):
        heard.sh(script, timeout=0.5, PATH=os.environ["PATH"])
    child = pid_file.read_text().strip()
    wait_until(lambda: not is_running(child), timeout=5, what="the child is gone")


def is_running(pid: str) -> bool:
    """Whether a process runs; one that ended and waits for its parent doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_child_that_stays_is_not_waited_for(heard: Heard, tmp_path: Path) -> None:
    """A program that ends but leaves something with its pipes is over, even if that talks on."""
    pid_file = tmp_path / "pid"
    heard.sh(f"sleep 600 & echo $! >{pid_file}; echo done", PATH=os.environ["PATH"])
    assert heard.out == ["done"]
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    heard.sh(f"yes & echo $! >{pid_file}", PATH=os.environ["PATH"])
    wait_until(lambda: not is_running(pid_file.read_text().strip()), timeout=5, what="yes ends")


def test_exception_ends_the_program(heard: Heard) -> None:
    """A signal to us, which becomes an exception wherever we are, ends the program too."""

    def interrupt(*_: object) -> None:
        raise Interrupted("test", signal.SIGALRM)

    old = signal.signal(signal.SIGALRM, interrupt)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGALRM))
    timer.start()
    try:
        with pytest.raises(Interrupted):
            heard.sh(
                "trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.05; done",
                PATH=os.environ["PATH"],
            )
    finally:
        timer.cancel()
        signal.signal(signal.SIGALRM, old)
    assert heard.out == ["cleaned"]
