"""A short coverage-guided search for CSRs and chains that end in something unforeseen."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.server import clean_environment

ROOT = Path(__file__).resolve().parents[2]
FUZZER = ROOT / "tests" / "fuzz" / "fuzz_csr.py"

# The fuzzer again, with a mistake in the program: a name with two hyphens side by side.
MISTAKEN = """
import runpy, sys
from certgrinderd.pki import names
right = names.Identifier.parse_dns
def wrong(text):
    if "--" in text.removeprefix("xn--"):
        raise ZeroDivisionError
    return right(text)
names.Identifier.parse_dns = wrong
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def fuzz(folder: Path, *words: str, seconds: int) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer for some time."""
    return subprocess.run(
        [sys.executable, *words, str(FUZZER), f"-max_total_time={seconds}", "corpus"],
        cwd=folder,
        env=clean_environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=seconds + 120,
        check=False,
    )


# Elsewhere there is no atheris (tests/requirements.in); the properties in tests/unit remain.
if (
    (3, 11) <= sys.version_info < (3, 14)
    and sys.platform == "linux"
    and platform.machine() == "x86_64"
):

    @pytest.mark.parametrize("seconds", [5, pytest.param(180, marks=pytest.mark.thorough)])
    def test_fuzzer_finds_nothing(tmp_path: Path, seconds: int) -> None:
        """No exception but our own, no message that is not one short line, no input that hangs."""
        done = fuzz(tmp_path, seconds=seconds)
        assert done.returncode == 0, done.stderr[-5000:]
        assert "Done " in done.stderr
        assert not [path for path in tmp_path.iterdir() if path.name != "corpus"]

    @pytest.mark.thorough
    def test_fuzzer_finds_a_mistake(tmp_path: Path) -> None:
        """It would: a program with one mistake is caught, and the input that shows it is kept."""
        done = fuzz(tmp_path, "-c", MISTAKEN, seconds=60)
        assert done.returncode != 0
        assert "ZeroDivisionError" in done.stderr + done.stdout
        assert list(tmp_path.glob("crash-*"))
