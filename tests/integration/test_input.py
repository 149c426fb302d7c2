"""Standard input is bounded in size and time, whoever is at its other end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.testbed import forge
from tests.testbed.server import clean_environment

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024
COMMANDS = ["get certificate", "show csr", "show certificate"]

# The program, and at its end the most memory that it ever had (proc(5), VmHWM), in KiB.
MEASURED = """
import pathlib, re, sys
from certgrinderd import cli
status = cli.main(sys.argv[2:])
found = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
pathlib.Path(sys.argv[1]).write_text(found[1])
sys.exit(status)
"""


class Run:
    """One run, with its standard input in our hands."""

    def __init__(self, process: subprocess.Popen[bytes], peak: Path) -> None:
        self.process = process
        self._peak = peak

    def refusal(self) -> str:
        """Wait until it has refused the input, and return its line after the one who asks."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        out, err = self.process.stdout.read(), self.process.stderr.read()
        assert (self.process.wait(), out) == (3, b""), err.decode()
        _, line = err.decode().splitlines()
        return line

    def peak_kib(self) -> int:
        """The most memory that it had."""
        return int(self._peak.read_text(encoding="ascii"))

    def write(self, chunks: Iterator[bytes], *, until: Callable[[], object]) -> None:
        """Write until it no longer listens."""
        assert self.process.stdin is not None
        try:
            for chunk in chunks:
                if until():
                    return
                self.process.stdin.write(chunk)
        except BrokenPipeError:
            pass


@contextmanager
def running(
    folder: Path, command: str, *, stdin: int = subprocess.PIPE, timeout: int = 30
) -> Iterator[Run]:
    """Start a command as a client; it is gone at the end, however that comes."""
    peak = folder / "peak"
    options = ["--input-timeout", str(timeout), "--temp-dir", str(folder)]
    variables = {"SSH_ORIGINAL_COMMAND": command, "CERTGRINDERD_DOMAINSETS": forge.NAME}
    with subprocess.Popen(
        [sys.executable, "-c", MEASURED, str(peak), *options],
        cwd=ROOT,
        env=clean_environment(**variables),
        stdin=stdin,
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield Run(process, peak)
        finally:
            if process.poll() is None:
                process.kill()


def forever(chunk: bytes) -> Iterator[bytes]:
    """The same again and again."""
    while True:
        yield chunk


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(b"\0" * 65536, id="zeros"),
        pytest.param(b"-----BEGIN CERTIFICATE REQUEST-----\n" * 1000, id="PEM without an end"),
        pytest.param(b"\n", id="newlines one by one"),
    ],
)
def test_endless_input_is_cut_off(tmp_path: Path, command: str, chunk: bytes) -> None:
    """At 64 KiB, long before the time is up, and in little memory."""
    with running(tmp_path, command, timeout=600) as run:
        run.write(forever(chunk), until=run.process.poll)
        assert "more than 65536 bytes on standard input: expected a certificate" in run.refusal()
        assert run.peak_kib() < 100 * MIB


@pytest.mark.parametrize("command", COMMANDS)
def test_a_gigabyte_is_not_read(tmp_path: Path, command: str) -> None:
    """Nor held in memory; from a file, so that nothing but us could stop the reading."""
    large = tmp_path / "large"
    with large.open("w+b") as file:
        file.truncate(1024**3)
        with running(tmp_path, command, stdin=file.fileno(), timeout=600) as run:
            assert "more than 65536 bytes" in run.refusal()
            assert run.peak_kib() < 100 * MIB
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) <= 2 * 65536


def test_largest_input_is_read_in_little_memory(tmp_path: Path) -> None:
    """64 KiB of text with a CSR at its end is a request like any other."""
    request = forge.pem(forge.csr())
    with running(tmp_path, "show csr") as run:
        out, err = run.process.communicate(request.rjust(65536), timeout=60)
        assert run.process.returncode == 0, err.decode()
        assert re.search(rb"This client may have it: +yes", out)
        assert run.peak_kib() < 100 * MIB


@pytest.mark.parametrize("command", COMMANDS)
def test_client_that_says_nothing_is_dropped(tmp_path: Path, command: str) -> None:
    """After input-timeout, with a line that says what should have come."""
    with running(tmp_path, command, timeout=1) as run:
        assert "did not end within 1 seconds: expected a certificate" in run.refusal()


def test_client_that_drips_is_dropped(tmp_path: Path) -> None:
    """The time is for all of the input: each byte that comes in buys no more of it."""
    over = threading.Event()
    with running(tmp_path, "get certificate", timeout=3) as run:
        # A byte a second, or less often, as long as it runs.
        writer = threading.Thread(
            target=run.write, args=(forever(b"\n"),), kwargs={"until": lambda: over.wait(1)}
        )
        writer.start()
        try:
            assert "did not end within 3 seconds" in run.refusal()
        finally:
            over.set()
            writer.join()


def test_client_that_never_closes_is_dropped(tmp_path: Path) -> None:
    """A whole CSR is none before its end has come: more could follow. When it comes, it is one."""
    request = forge.pem(forge.csr())
    with running(tmp_path, "show csr", timeout=2) as run:
        assert run.process.stdin is not None
        run.process.stdin.write(request)
        assert "did not end within 2 seconds" in run.refusal()

    with running(tmp_path, "show csr") as run:
        assert run.process.stdin is not None
        for octet in request:
            run.process.stdin.write(bytes([octet]))
        run.process.stdin.close()
        assert run.process.wait() == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        pytest.param("<&-", "standard input is closed", id="closed"),
        pytest.param("0>/dev/null", "cannot read standard input: Bad file", id="write only"),
        pytest.param("</dev/null", "the input is empty|found nothing", id="empty"),
    ],
)
def test_odd_standard_input_is_refused(command: str, redirection: str, reason: str) -> None:
    """What can't be read, or is no stream, is one line as well."""
    answer = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m certgrinderd {command} {redirection}', sys.executable],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (3, b""), answer.stderr.decode()
    (line,) = answer.stderr.decode().splitlines()
    assert re.search(f" ERROR .*({reason})", line)


@pytest.mark.parametrize("command", ["ping", "version", "help", "show configuration"])
def test_command_that_needs_no_input_reads_none(tmp_path: Path, command: str) -> None:
    """It answers while the other end is open and silent."""
    with running(tmp_path, command) as run:
        assert run.process.stdout is not None
        assert run.process.stdout.read() != b""
        assert run.process.wait() == 0
