"""Unpacking certgrinderd.pyz: all or nothing, once for all who start at the same moment.

build/start.py runs this module out of the file, before there is anything else of certgrinderd. So
it imports the standard library and shiv's part of the file alone, and what goes wrong is an OSError
or a ValueError.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_PATIENCE_SECONDS = 60
KEPT_SECONDS = 30 * 86400
# A name that no build has; what bears it is in the making or in removal, and nobody's in the end.
_UNFINISHED = ".unfinished-"
_LOCK = "lock"
_FOR_OTHERS = 0o077
# What build/start.py names them. The folder may be any that the admin named, with anything in it.
_BUILD = re.compile(r"[0-9a-f]{16}-cpython-[0-9]+-[A-Za-z0-9_.-]+")


def unpack(archive: zipfile.ZipFile, folder: str, name: str) -> None:
    """Unpack the pyz, and remove the user's builds that were not used for 30 days.

    shiv lays the files out. What it doesn't promise is done around it: its lock waits without end
    (so ours is held first), it compares no hash of a library, and it doesn't wait for the disk.

    Args:
        archive: The pyz; what it holds is known to be what was built, its directory isn't.
        folder: Where unpacked builds are, one folder each; it is ours.
        name: That of this build.

    Raises:
        ValueError: The archive is not what its list of hashes says.
        OSError: It can't be written; ETIMEDOUT when another process was at it for too long.
    """
    from _bootstrap import extract_site_packages  # noqa: PLC0415 - shiv's, inside the file alone

    place = Path(folder)
    with locked(place):
        if (place / name).is_dir():
            return
        with making(place, name) as unfinished:
            extract_site_packages(archive, unfinished.parent)
            _require_hashes(unfinished, json.loads(archive.read("environment.json"))["hashes"])
        remove_unused(place, keep=name, older_than_seconds=KEPT_SECONDS)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one who changes a folder of unpacked builds.

    Raises:
        OSError: It can't be locked; ETIMEDOUT when others held the lock for too long.
    """
    path = folder / _LOCK
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    reason = "another process has been at it for a minute"
                    raise OSError(errno.ETIMEDOUT, reason, str(path)) from None
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def making(folder: Path, name: str) -> Iterator[Path]:
    """Give the path of a folder to be made, which is renamed when it is finished, or removed.

    Before it is renamed, all in it is on the disk: after a power cut it is whole or isn't there.
    The folder around it is locked: what others left unfinished is of those who were killed.
    """
    for leftover in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    private = folder / f"{_UNFINISHED}{os.getpid()}"
    private.mkdir(mode=0o700)
    try:
        # As shiv calls it.
        unfinished = private / "build" / "site-packages"
        yield unfinished
        _write_to_disk(unfinished)
        unfinished.rename(folder / name)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def remove_unused(folder: Path, *, keep: str, older_than_seconds: float) -> list[str]:
    """Remove builds that no process runs from; the folder is locked.

    Args:
        folder: Where the builds are.
        keep: The name of the one that stays in any case.
        older_than_seconds: Since they were made. With 0 also those made by `cache --prepare` go,
            which others use without leaving a trace.

    Returns:
        The names of those removed.
    """
    return [
        entry.name
        for entry in builds(folder)
        if entry.name != keep and _remove_if_unused(entry, older_than_seconds)
    ]


def builds(folder: Path) -> list[Path]:
    """Return the unpacked builds in a folder, and nothing else that is there."""
    return [
        entry
        for entry in sorted(folder.iterdir())
        if _BUILD.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink()
    ]


def has_other_things(folder: Path) -> bool:
    """Tell whether there is anything in a folder that this module did not put there."""
    ours = {_LOCK, *(entry.name for entry in builds(folder))}
    return any(
        entry.name not in ours and not entry.name.startswith(_UNFINISHED)
        for entry in folder.iterdir()
    )


def _remove_if_unused(entry: Path, older_than_seconds: float) -> bool:
    try:
        descriptor = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(descriptor)
        age = time.time() - found.st_mtime
        if older_than_seconds and (found.st_mode & _FOR_OTHERS or age < older_than_seconds):
            return False
        # Each process that runs from there holds a shared lock.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        doomed = entry.with_name(f"{_UNFINISHED}{entry.name}")
        entry.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write_to_disk(folder: Path) -> None:
    """Wait until the content of all files is on the disk; their names get there in this order."""

    def write(path: Path) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())

    # One after the other, each waits for the disk anew: a second or more, instead of a tenth.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [path for path in folder.rglob("*") if path.is_file()]))


def _require_hashes(folder: Path, hashes: dict[str, str]) -> None:
    """Require these files, and no others: shiv's own check doesn't see libraries."""
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    if found != hashes:
        place = min(place for place, _ in found.items() ^ hashes.items())
        raise ValueError(f"{place} has another hash than it should")
