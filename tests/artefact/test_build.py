"""The pyz, the package and the locks: what is built, from what, and what a failed build leaves."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from build.make_pyz import require_modules

ROOT = Path(__file__).resolve().parents[2]
LOCKS = (
    "build/requirements.txt",
    "build/tools.txt",
    "docs/requirements.txt",
    "tests/requirements.txt",
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with nothing but PATH and the given variables in its environment."""
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=300,
    )


def locked_versions(lock: str) -> list[tuple[Requirement, int]]:
    """Read a lock: each requirement, and how many hashes it has."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    requirements = text.replace("\\\n", " ").splitlines()
    return [
        (Requirement(line.partition("--hash")[0].strip()), line.count("--hash=sha256:"))
        for line in requirements
    ]


@pytest.mark.thorough
def test_pip_install_gives_the_command(tmp_path: Path) -> None:
    """`pip install .` makes a command that answers, and brings the hooks along."""
    venv = tmp_path / "venv"
    pip = (venv / "bin/python", "-I", "-m", "pip", "--disable-pip-version-check", "install")
    home = os.environ.get("HOME", "/")
    for command in (
        (sys.executable, "-I", "-m", "venv", venv),
        (*pip, "--require-hashes", "-r", ROOT / "build/requirements.txt"),
        (*pip, "--no-deps", ROOT),
    ):
        done = run(*command, HOME=home)
        assert done.returncode == 0, done.stderr.decode()
    done = run(venv / "bin/certgrinderd", "ping", HOME=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, b"pong\n"), done.stderr.decode()

    (package,) = venv.glob("lib/python3*/site-packages/certgrinderd")
    hooks = {path.name: path.read_bytes() for path in package.glob("hooks/*.sh")}
    assert hooks == {path.name: path.read_bytes() for path in ROOT.glob("hooks/*.sh")}
    assert "manual-auth-hook.sh" in hooks


def test_build_without_python_says_so(tmp_path: Path) -> None:
    """On a machine without python3 the build says what to install, in one line."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "cat", "mktemp", "rm"):
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    done = run(ROOT / "build_pyz.sh", PATH=str(tools))
    assert done.returncode == 1
    assert done.stdout == b""
    assert re.fullmatch(rb"build_pyz\.sh: no python3 found: .*python3-venv.*\n", done.stderr)


@pytest.mark.parametrize(
    ("lacking", "says"),
    [
        pytest.param("version_info", rb".* is not Python 3\.10 or newer: .*\n", id="too old"),
        pytest.param("ensurepip", rb".* lacks its venv module: .*python3-venv.*\n", id="no venv"),
    ],
)
def test_build_with_an_unfit_python_says_so(tmp_path: Path, lacking: str, says: bytes) -> None:
    """A python3 that can't do it gets one line, and nothing is left behind."""
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *{lacking}*) echo no >&2; exit 1 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    temp = tmp_path / "temp"
    temp.mkdir()
    done = run(ROOT / "build_pyz.sh", PYTHON=str(python), TMPDIR=str(temp))
    assert done.returncode == 1
    assert done.stdout == b""
    assert re.fullmatch(rb"build_pyz\.sh: " + says, done.stderr)
    assert list(temp.iterdir()) == []


def test_build_for_an_unknown_platform_is_refused(tmp_path: Path) -> None:
    """A platform that nothing is known about gets the usage, before anything is fetched."""
    done = run(ROOT / "build_pyz.sh", "--platform", "linux-m68k", TMPDIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"linux-aarch64" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_failed_build_keeps_the_old_file(tmp_path: Path) -> None:
    """A package that isn't the locked one stops the build; the previous pyz stays as it was."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "build", checkout / "build")
    shutil.copy(ROOT / "build_pyz.sh", checkout)
    old = checkout / "dist/certgrinderd.pyz"
    old.parent.mkdir()
    old.write_text("the previous one")
    tools = checkout / "build/tools.txt"
    tools.write_text(re.sub(r"sha256:.{8}", "sha256:00000000", tools.read_text()))
    temp = tmp_path / "temp"
    temp.mkdir()

    done = run(
        checkout / "build_pyz.sh",
        PYTHON=sys.executable,
        TMPDIR=str(temp),
        HOME=os.environ.get("HOME", "/"),
    )

    assert done.returncode == 1
    assert b"DO NOT MATCH THE HASHES" in done.stderr
    assert [path.name for path in old.parent.iterdir()] == [old.name]
    assert old.read_text() == "the previous one"
    assert list(temp.iterdir()) == []


def test_file_is_small_and_its_contents_accounted_for(pyz: Path) -> None:
    """It has ten megabytes at most, and the page about dependencies names what is in it."""
    assert pyz.stat().st_size < 10_000_000
    with zipfile.ZipFile(pyz) as archive:
        paths = "\n".join(archive.namelist())
    inside = re.findall(r"/([\w.]+)-[\w.]+\.dist-info/METADATA$", paths, re.MULTILINE)
    page = (ROOT / "docs/dependencies.md").read_text()
    header, _, *rows = re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE)
    assert header == "package"
    listed = re.sub(r"\(.*?\)", "", ",".join(rows)).split(",")
    named = {canonicalize_name(name.strip()) for name in listed}
    assert named == {canonicalize_name(name) for name in inside} - {"certgrinderd"}


def test_shiv_describes_it(pyz_as_built: Path) -> None:
    """It is an archive as shiv lays one out, with the hash of each file in it."""
    shiv_info = Path(sys.executable).with_name("shiv-info")
    done = run(shiv_info, "--json", pyz_as_built)
    assert done.returncode == 0, done.stderr.decode()
    described = json.loads(done.stdout)
    assert described["entry_point"] == "certgrinderd.cli:main"
    assert f"# build {described['build_id']}\n".encode() in pyz_as_built.read_bytes()[:200]
    with zipfile.ZipFile(pyz_as_built) as archive:
        names = archive.namelist()
        hashes = {
            name.removeprefix("site-packages/"): hashlib.sha256(archive.read(name)).hexdigest()
            for name in names
            if name.startswith("site-packages/")
        }
    assert described["hashes"] == hashes
    assert {name.partition("/")[0] for name in names} == {
        *("_bootstrap", "site-packages"),
        *("__main__.py", "environment.json", "start.py"),
    }


@pytest.mark.parametrize("minor", range(10, 15))
def test_each_python_gets_all_that_its_packages_ask_for(pyz: Path, minor: int) -> None:
    """The lock is made for the oldest Python: no other one asks for more, or for other versions."""
    inside, asked = {}, []
    with zipfile.ZipFile(pyz) as archive:
        for name in archive.namelist():
            if name.endswith(".dist-info/METADATA"):
                metadata = HeaderParser().parsestr(archive.read(name).decode())
                inside[canonicalize_name(metadata["Name"])] = metadata["Version"]
                asked += metadata.get_all("Requires-Dist", [])
                fitting = SpecifierSet(metadata.get("Requires-Python", ""))
                assert fitting.contains(f"3.{minor}.0"), name
    # What cffi and shiv need at work is theirs alone: the former compiles, the latter packs.
    absent = {"pycparser", "click", "pip", "setuptools"}
    environment = {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "extra": "",
    }
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if name in absent or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        assert requirement.specifier.contains(inside[name]), requirement


def test_module_for_some_pythons_alone_stops_the_build(tmp_path: Path) -> None:
    """What is compiled for one Python is there for each, or the build ends."""
    (tmp_path / "package").mkdir()
    for name in ("_a.abi3.so", "package/_b.cpython-310-x.so", "package/_b.cpython-311-x.so"):
        (tmp_path / name).touch()
    require_modules(tmp_path, "3.10 3.11")
    with pytest.raises(ValueError, match=r"no sister package/_b\.cpython-312-x\.so"):
        require_modules(tmp_path, "3.10 3.11 3.12")


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_complete_and_names_no_index(lock: str) -> None:
    """Every version is one version with its hashes, and no place to fetch it from is named."""
    locked = locked_versions(lock)
    assert locked
    for requirement, hashes in locked:
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert requirement.url is None, requirement
        assert hashes, requirement
    text = (ROOT / lock).read_text()
    assert not re.search(r"://|index|find-links|trusted-host|(^| )/", text)


def test_dependencies_are_locked() -> None:
    """pyproject.toml, the list that is locked and the lock agree."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = project["dependencies"]
    listed = (ROOT / "build/requirements.in").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == declared
    locked = {
        canonicalize_name(requirement.name): str(requirement.specifier).removeprefix("==")
        for requirement, _ in locked_versions("build/requirements.txt")
    }
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])
