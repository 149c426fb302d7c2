"""The same commit gives the same bytes, and what stands beside the file fits to it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import PYZ_SOURCES, ROOT

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
NOBODY = 65534


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user can enter, as pytest's own can't be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def build(checkout: Path, home: Path, *, umask: str, as_nobody: bool, **environment: str) -> bytes:
    """Build in a checkout, and return the bytes of what is made."""
    home.mkdir()
    for name in (*PYZ_SOURCES, ".git"):
        # In a worktree .git is a file.
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, checkout / name)
    script = f"umask {umask}; exec ./build_pyz.sh"
    words = ["sh", "-c", script]
    if as_nobody:
        subprocess.run(["chown", "-R", str(NOBODY), checkout, home], check=True)
        words = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", *words]
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHON": PYTHON, **environment}
    done = subprocess.run(
        words, cwd=checkout, env=variables, capture_output=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr.decode()
    return (checkout / "dist/certgrinderd.pyz").read_bytes()


@pytest.mark.thorough
def test_two_builds_give_the_same_bytes(public_folder: Path) -> None:
    """Neither place, umask, user, home, time zone nor locale leaves a trace in the file."""
    with ThreadPoolExecutor() as pool:
        plain = pool.submit(
            build, public_folder / "a", public_folder / "home a", umask="022", as_nobody=False
        )
        odd = pool.submit(
            build,
            public_folder / "somewhere else",
            public_folder / "home b",
            umask="077",
            as_nobody=os.geteuid() == 0,
            TZ="Pacific/Kiritimati",
            LC_ALL="C",
            PYTHONHASHSEED="7",
            SOURCE_DATE_EPOCH="1",
        )
        assert plain.result() == odd.result()
    assert_fits(public_folder / "a/dist/certgrinderd.pyz")


def test_what_stands_beside_the_file_fits(pyz_as_built: Path) -> None:
    """For the build that all tests use."""
    assert_fits(pyz_as_built)


def assert_fits(pyz: Path) -> None:
    """Its digest, its mode and the list of its contents are right."""
    digest, name = pyz.with_name("certgrinderd.pyz.sha256").read_text().split()
    assert (digest, name) == (hashlib.sha256(pyz.read_bytes()).hexdigest(), "certgrinderd.pyz")
    assert pyz.stat().st_mode & 0o777 == 0o755
    assert_lists_its_contents(pyz)


def assert_lists_its_contents(pyz: Path) -> None:
    """The list beside it has each package inside, with the version and hashes of the lock."""
    bill = json.loads(pyz.with_name("certgrinderd.pyz.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    (own,) = bill["metadata"]["component"]["hashes"]
    assert own["content"] == hashlib.sha256(pyz.read_bytes()).hexdigest()
    listed = {(part["name"], part["version"]): part for part in bill["components"]}
    with zipfile.ZipFile(pyz) as archive:
        folders = re.findall(
            r"/([\w.]+)-([\w.]+)\.dist-info/METADATA", "\n".join(archive.namelist())
        )
    inside = {(name.replace("_", "-").lower(), version) for name, version in folders}
    (certgrinderd,) = (pair for pair in inside if pair[0] == "certgrinderd")
    assert inside - {certgrinderd} == set(listed)
    lock = "".join((ROOT / f"build/{name}.txt").read_text() for name in ("requirements", "tools"))
    for part in listed.values():
        assert part["licenses"]
        assert all(f"sha256:{value['content']}" in lock for value in part["hashes"])
    linked = {part["name"] for part in listed[("cryptography", _version(listed))]["components"]}
    assert "openssl" in linked


def _version(listed: dict[tuple[str, str], object]) -> str:
    (version,) = (version for name, version in listed if name == "cryptography")
    return version
