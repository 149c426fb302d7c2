"""What all folders of tests share: the built file, and no skipping in a CI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from tests.testbed.pythons import for_python

ROOT = Path(__file__).resolve().parent.parent
PYZ_SOURCES = (
    *("build", "build_pyz.sh", "certgrinderd", "certgrinderd.conf.dist", "contrib/completion"),
    *("docs/certgrinderd.8", "hooks", "pyproject.toml", "LICENSE"),
)

# For the properties: `tests/run` tries 100 examples of each, the same ones each time, and
# `tests/run --all` tries new ones. How long one takes says nothing.
settings.register_profile("fast", deadline=None, derandomize=True)
settings.register_profile(
    "thorough",
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fast")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        for child in path.iterdir():
            if child.name != "__pycache__":
                yield from _walk(child)


def _is_current(pyz: Path) -> bool:
    """Tell whether nothing that goes into the pyz, folders included, changed since it was built."""
    if not pyz.exists():
        return False
    built = pyz.stat().st_mtime
    return all(path.stat().st_mtime <= built for name in PYZ_SOURCES for path in _walk(ROOT / name))


@pytest.fixture(scope="session")
def pyz_as_built() -> Path:
    """The program as people install it, built from this checkout if it isn't up to date.

    CERTGRINDERD_PYZ names a finished one that is to be tested instead.
    """
    return Path(os.environ.get("CERTGRINDERD_PYZ") or _built()).resolve(strict=True)


@pytest.fixture(scope="session")
def pyz(pyz_as_built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, run by the Python that CERTGRINDERD_PYTHON names in place of the one in PATH."""
    python = os.environ.get("CERTGRINDERD_PYTHON")
    if not python:
        return pyz_as_built
    folder = tmp_path_factory.mktemp("bin")
    return for_python(pyz_as_built, Path(python).resolve(strict=True), folder / "certgrinderd.pyz")


def _built() -> Path:
    built = ROOT / "dist" / "certgrinderd.pyz"
    if not _is_current(built):
        subprocess.run(
            [ROOT / "build_pyz.sh"], check=True, env={**os.environ, "PYTHON": sys.executable}
        )
    return built


def _refuse_skip(report: Report) -> Report:
    """Turn a skip into a failure when CI is set: there, everything that a test needs is installed.

    An expected failure (xfail) is reported as skipped too and stays what it is.
    """
    if os.environ.get("CI") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure while CI is set: {report.longreprtext}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Look at the report of each test."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Look at the report of each module: one that skips itself runs none of its tests."""
    return _refuse_skip((yield))
