"""How the one file starts: on which Python, from where, and what it does not trust."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from build.make_pyz import pack
from tests.testbed.pythons import interpreters, is_supported
from tests.testbed.server import wait_until

LOG_LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} certgrinderd ERROR "
PYTHONS = interpreters()


def start(
    *words: str | Path,
    cache: Path,
    python: Path = Path(sys.executable),
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run words with `python3` meaning a certain Python, and its cache in a certain place."""
    tools = cache.parent / "bin"
    tools.mkdir(exist_ok=True)
    link = tools / "python3"
    # Not a link: from one, Python would not find its own library everywhere.
    script = f'#!/bin/sh\nexec {python} "$@"\n'
    if not link.exists() or link.read_text() != script:
        link.write_text(script)
        link.chmod(0o755)
    variables = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "CERTGRINDERD_CACHE": str(cache),
        "HOME": str(cache.parent),
        **(more or {}),
    }
    return subprocess.run(
        words,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )


def assert_pong(done: subprocess.CompletedProcess[bytes]) -> None:
    """It answered, and said nothing else."""
    assert (done.returncode, done.stdout, done.stderr) == (0, b"pong\n", b"")


def assert_refused(
    done: subprocess.CompletedProcess[bytes], pattern: str, *, status: int = 2
) -> None:
    """It said in one line why not, and nothing on standard output."""
    assert re.fullmatch(f"{LOG_LINE}{pattern}\n", done.stderr.decode()), done.stderr.decode()
    assert (done.returncode, done.stdout) == (status, b"")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where it unpacks itself; not there yet."""
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "python",
    [
        pytest.param(
            python,
            id=str(python),
            marks=pytest.mark.thorough
            if is_supported(version) and version != sys.version_info[:2]
            else (),
        )
        for python, version in PYTHONS.items()
    ],
)
def test_each_python_runs_it_or_is_told_why_not(
    pyz_as_built: Path, cache: Path, python: Path
) -> None:
    """CPython 3.10 to 3.14 run the same file, any other one gets a line."""
    pyz = pyz_as_built
    if not is_supported(PYTHONS[python]):
        done = start(pyz, "ping", cache=cache, python=python)
        assert_refused(done, r"certgrinderd\.pyz needs CPython 3\.10, .*3\.14, and this is .*")
        assert start(python, pyz, "ping", cache=cache).returncode == 2
        return
    assert_pong(start(pyz, "ping", cache=cache, python=python))
    assert_pong(start(pyz, "ping", cache=cache, python=python))
    shown = start(pyz, "show", "configuration", cache=cache, python=python)
    assert b"acme-server-url: https://" in shown.stdout


def test_every_way_to_call_it_works(pyz: Path, cache: Path) -> None:
    """By an absolute or relative path, a link, PATH, sh, and a Python that is not isolated."""
    link = cache.parent / "grind"
    link.symlink_to(pyz)
    relative = os.path.relpath(pyz)
    for words in ([pyz], [relative], [link], ["sh", relative], [sys.executable, relative]):
        assert_pong(start(*words, "ping", cache=cache))
    path = f"{link.parent}:/usr/bin:/bin"
    assert_pong(start("env", link.name, "ping", cache=cache, more={"PATH": path}))


@pytest.mark.parametrize("words", [[], [sys.executable]], ids=["by itself", "by python3"])
def test_nothing_of_the_surroundings_is_imported(
    pyz: Path, cache: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules in the current folder, in PYTHONPATH and the user's own packages are not loaded.

    A Python that is not isolated does load them.
    """
    home = cache.parent / "home"
    version = ".".join(map(str, sys.version_info[:2]))
    users = home / f".local/lib/python{version}/site-packages"
    folders = [cache.parent / "here", cache.parent / "path", users]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("yaml", "logging", "certgrinderd"):
            (folder / f"{name}.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(folders[0])
    variables = {
        "HOME": str(home),
        "PYTHONPATH": str(folders[1]),
        "PYTHONSTARTUP": str(folders[1] / "yaml.py"),
    }
    assert b"planted" in start("python3", "-c", "import yaml", cache=cache, more=variables).stderr
    for _ in range(2):
        done = start(*words, pyz, "show", "configuration", cache=cache, more=variables)
        assert done.returncode == 0, done.stderr.decode()
        assert b"acme-server-url:" in done.stdout


def test_variables_of_shiv_and_python_change_nothing(pyz: Path, cache: Path) -> None:
    """Variables that choose code in other one-file programs, or in Python, are not looked at."""
    evil = cache.parent / "evil"
    evil.mkdir()
    variables = {
        "SHIV_ROOT": str(evil),
        "SHIV_INTERPRETER": "1",
        "SHIV_ENTRY_POINT": "os:abort",
        "SHIV_MODULE": "this",
        "SHIV_CONSOLE_SCRIPT": "certbot",
        "SHIV_FORCE_EXTRACT": "1",
        "PYTHONHOME": str(evil),
        "PYTHONINSPECT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPYCACHEPREFIX": str(evil),
    }
    assert_pong(start(pyz, "ping", cache=cache, more=variables))
    words = {name: value for name, value in variables.items() if name.startswith("SHIV_")}
    assert_pong(start(sys.executable, pyz, "ping", cache=cache, more=words))
    assert list(evil.iterdir()) == []
    compiled = {path.name.partition(".")[0] for path in cache.rglob("certgrinderd/**/*.pyc")}
    assert {"cli", "boundary"} <= compiled


def test_sixteen_first_starts_unpack_once(pyz: Path, cache: Path) -> None:
    """Whoever is not first waits, and all get their answer; nothing unfinished stays."""
    start("true", cache=cache)  # the `python3` for all of them
    with ThreadPoolExecutor(16) as pool:
        for done in pool.map(lambda _: start(pyz, "ping", cache=cache), range(16)):
            assert_pong(done)
    (entry,) = (path for path in cache.iterdir() if path.name != "lock")
    assert (entry / "certgrinderd/cli.py").is_file()


def test_killed_while_unpacking_is_mended_by_the_next(pyz: Path, cache: Path) -> None:
    """SIGKILL leaves something unfinished that nobody uses; the next start puts it right."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", pyz, "ping"], env={"CERTGRINDERD_CACHE": str(cache)}
    )
    wait_until(lambda: any(cache.glob(".unfinished-*/*")), timeout=30, what="it unpacks")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(cache.glob(".unfinished-*"))
    assert_pong(start(pyz, "ping", cache=cache))
    assert sorted(path.name for path in cache.iterdir())[1:] == ["lock"]


def test_interrupted_while_unpacking_leaves_nothing(pyz: Path, cache: Path) -> None:
    """Ctrl-C ends it with status 130, without a traceback and without half a build."""
    process = subprocess.Popen(
        # What a shell started in the background has SIGINT ignored.
        ["/usr/bin/env", "--default-signal=INT", sys.executable, "-I", "-S", pyz, "ping"],
        env={"CERTGRINDERD_CACHE": str(cache)},
        stderr=subprocess.PIPE,
    )
    wait_until(lambda: any(cache.glob(".unfinished-*/*")), timeout=30, what="it unpacks")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
    assert [path.name for path in cache.iterdir()] == ["lock"]


def copied(pyz: Path, target: Path) -> Path:
    """Copy the file, to do something to it."""
    return Path(shutil.copy(pyz, target))


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def offset_of(pyz: Path, member: str) -> int:
    """Return where the content of a member lies in the file."""
    with zipfile.ZipFile(pyz) as archive:
        return archive.getinfo(member).header_offset + 30 + len(member) + 20


def another_build(
    pyz: Path, target: Path, *, platform: str | None = None, whole: bool = False
) -> Path:
    """Write a sound file that differs in one module, or is for another kind of machine.

    It has only what a ping needs, if it isn't to be whole: compressing the rest takes seconds.
    """
    folder = target.with_name(f"{target.name} unpacked")
    wanted = "site-packages/" if whole else "site-packages/certgrinderd/"
    with zipfile.ZipFile(pyz) as archive:
        names = [name for name in archive.namelist() if name.startswith(wanted)]
        archive.extractall(folder, names)
    site = folder / "site-packages"
    with (site / "certgrinderd/cli.py").open("a") as file:
        file.write("\n# another build\n")
    python = "{}.{}".format(*sys.version_info)
    multiarch = platform or str(getattr(sys.implementation, "_multiarch", ""))
    pack(site, target, version="0", multiarch=multiarch, pythons=python)
    return target


@pytest.mark.parametrize(
    "member",
    [
        "start.py",
        "environment.json",
        "_bootstrap/__init__.py",
        "site-packages/certgrinderd/onefile/unpacking.py",
        "site-packages/certgrinderd/cli.py",
        "site-packages/cryptography/hazmat/bindings/_rust.abi3.so",
    ],
)
def test_flipped_bit_is_found_at_the_first_start(pyz: Path, cache: Path, member: str) -> None:
    """A file that is not what was built is not run, and leaves nothing unpacked."""
    copy = copied(pyz, cache.parent / "certgrinderd.pyz")
    assert_pong(start(copy, "ping", cache=cache.with_name("other")))
    flip(copy, offset_of(pyz, member))
    assert_refused(start(copy, "ping", cache=cache), r"\S+ is damaged.*: copy it again")
    assert not cache.exists() or {path.name for path in cache.iterdir()} <= {"lock"}


def test_exchanged_module_is_found_though_the_zip_is_sound(pyz: Path, cache: Path) -> None:
    """The hash in the first code decides, not the check sums that whoever writes a zip makes."""
    copy = cache.parent / "certgrinderd.pyz"
    with zipfile.ZipFile(pyz) as old, zipfile.ZipFile(copy, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "site-packages/certgrinderd/cli.py":
                data += b"\n# exchanged\n"
            new.writestr(info, data)
    # Not by its first lines, which would look for the first code in another place.
    done = start(sys.executable, copy, "ping", cache=cache)
    assert_refused(done, r"\S+ is damaged.*not the contents of this build.*")


def test_library_missing_in_the_directory_is_found(pyz: Path, cache: Path) -> None:
    """The directory of the zip file, which says what is unpacked, is held against the hashes."""
    library = "site-packages/cryptography/hazmat/bindings/_rust.abi3.so"
    copy = copied(pyz, cache.parent / "certgrinderd.pyz")
    with zipfile.ZipFile(copy, "a") as archive:
        archive.comment = b"Written anew."
    assert_pong(start(copy, "ping", cache=cache.with_name("other")))
    with zipfile.ZipFile(copy, "a") as archive:
        archive.filelist.remove(archive.getinfo(library))
        archive.comment = b""
    assert_refused(start(copy, "ping", cache=cache), r"\S+ is damaged.*_rust\.abi3\.so has an.*")
    assert {path.name for path in cache.iterdir()} == {"lock"}


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999], ids=["start", "half", "end"])
def test_truncated_file_says_so(pyz: Path, cache: Path, part: float) -> None:
    """A copy that broke off is told from a good one."""
    copy = copied(pyz, cache.parent / "certgrinderd.pyz")
    os.truncate(copy, int(copy.stat().st_size * part))
    assert_refused(start(copy, "ping", cache=cache), r"\S+ is damaged.*: copy it again")


def test_replaced_while_it_runs(pyz: Path, cache: Path) -> None:
    """A request that runs goes on as what it started as: nothing is read from the file any more.

    It has not yet loaded what reads CSRs when the file is replaced, as the unpacked folder shows.
    """
    copy = copied(pyz, cache.parent / "certgrinderd.pyz")
    assert_pong(start(copy, "ping", cache=cache))
    assert not list(cache.rglob("csr.*.pyc"))
    running = subprocess.Popen(
        [copy, "show", "csr"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "CERTGRINDERD_CACHE": str(cache)},
    )
    held = f"{cache.resolve()}/"
    wait_until(lambda: _holds(running.pid, held), timeout=30, what="it runs from the cache")
    new = cache.parent / "new"
    new.write_text("something else")
    new.replace(copy)
    _, errors = running.communicate(b"no CSR", timeout=30)
    assert running.returncode == 3, errors
    assert re.fullmatch(rf"{LOG_LINE}.*\n", errors.decode())


def test_replaced_after_the_shell_has_read_it(pyz_as_built: Path, cache: Path) -> None:
    """Replaced while Python starts, it answers as the new file; a broken one is found still."""
    pyz = pyz_as_built
    copy = copied(pyz, cache.parent / "certgrinderd.pyz")
    new = another_build(pyz, cache.parent / "new")
    assert_pong(start(copy, "ping", cache=cache))
    python = cache.parent / "bin/python3"
    interpreter = python.read_text()
    for replacement, is_sound in ((new, True), (copied(pyz, cache.parent / "broken"), False)):
        if not is_sound:
            flip(replacement, offset_of(replacement, "start.py"))
        moves = f"#!/bin/sh\n[ ! -e {replacement} ] || mv {replacement} {copy}\n"
        python.write_text(moves + interpreter.partition("\n")[2])
        tools = {"PATH": f"{python.parent}:/usr/bin:/bin", "CERTGRINDERD_CACHE": str(cache)}
        done = subprocess.run([copy, "ping"], env=tools, capture_output=True, check=False)
        if is_sound:
            assert_pong(done)
        else:
            assert_refused(done, r"\S+ is damaged: copy it again")
        assert not replacement.exists()
    assert len(list(cache.glob("*/certgrinderd"))) == 2


def _holds(pid: int, prefix: str) -> bool:
    """Whether a process has something below a folder open."""
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            links.append(str(descriptor.readlink()))
    return any(link.startswith(prefix) for link in links)


def test_cache_that_others_can_write_to_is_refused(pyz: Path, cache: Path) -> None:
    """Where others could put code, nothing is run from; after the advice is followed, it is."""
    cache.mkdir()
    cache.chmod(0o777)
    done = start(pyz, "ping", cache=cache)
    assert_refused(done, rf"others can write to {cache}, .*: chmod go-w {cache}")
    cache.chmod(0o755)
    assert_pong(start(pyz, "ping", cache=cache))
    cache.parent.chmod(0o777)
    assert_refused(start(pyz, "ping", cache=cache), rf"others can write to {cache.parent}, .*")
    cache.parent.chmod(0o1777)
    assert_pong(start(pyz, "ping", cache=cache))
    (entry,) = (path for path in cache.iterdir() if path.name != "lock")
    entry.chmod(0o775)
    assert_refused(start(pyz, "ping", cache=cache), rf"others can write to {entry}, .*")


def test_two_builds_live_side_by_side(pyz: Path, cache: Path) -> None:
    """Each build runs what is its own, in turns and from the same cache."""
    other = another_build(pyz, cache.parent / "other.pyz")
    for _ in range(2):
        assert_pong(start(pyz, "ping", cache=cache))
        assert_pong(start(other, "ping", cache=cache))
    endings = [path.read_bytes()[-16:] for path in cache.glob("*/certgrinderd/cli.py")]
    assert sorted(ending == b"# another build\n" for ending in endings) == [False, True]


def test_file_for_another_machine_says_so(pyz: Path, cache: Path) -> None:
    """Libraries for another processor are not unpacked, and the line names both."""
    other = another_build(pyz, cache.parent / "other.pyz", platform="m68k-linux-gnu")
    pattern = r"this certgrinderd\.pyz is for m68k-linux-gnu, and this Python for \S+: .*"
    assert_refused(start(other, "ping", cache=cache), pattern)
    assert not cache.exists()
