"""Care for the folder that certgrinderd.pyz unpacks itself into."""

from __future__ import annotations

import compileall
import errno
import os
import shutil
from pathlib import Path

from certgrinderd.errors import CertgrinderdError, ConfigurationError, Temporary
from certgrinderd.onefile import unpacking

_ENTER = 0o555
_WRITE_BY_OTHERS = 0o022


def describe(entry: Path) -> str:
    """Return lines about the builds that are unpacked beside the one in use."""
    others = [f"{other}\n" for other in unpacking.builds(entry.parent) if other != entry]
    return "".join([f"{entry}  # in use\n", *others])


def prepare(entry: Path, folder: Path) -> str:
    """Unpack and compile a build for all users, who can then only read it.

    Args:
        entry: Where it is unpacked now.
        folder: Where it is to be; made if it isn't there.

    Returns:
        A line that says where it is.

    Raises:
        ConfigurationError: It can't be written there, or is no place for that.
        Temporary: Another process is at it, or the disk is full.
    """
    target = folder.resolve() / entry.name
    try:
        _make(folder)
        with unpacking.locked(folder):
            if target.is_dir():
                _finish(target, target)
            else:
                with unpacking.making(folder, entry.name) as unfinished:
                    ignore = shutil.ignore_patterns("__pycache__")
                    shutil.copytree(entry, unfinished, ignore=ignore)
                    _finish(unfinished, target)
    except OSError as error:
        raise _foreseen(error, folder) from error
    return f"{target}\n"


def _make(folder: Path) -> None:
    """Make a folder that all can enter and nobody else can write to, or require that it is one."""
    before = os.umask(0o022)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    finally:
        os.umask(before)
    mode = folder.stat().st_mode
    if mode & _WRITE_BY_OTHERS:
        raise ConfigurationError(
            f"cache: others can write to {folder}, and so change what all users run: name another"
        )
    if mode & _ENTER == _ENTER:
        return
    if unpacking.has_other_things(folder):
        raise ConfigurationError(
            f"cache: not all users can enter {folder}, and it holds other things than unpacked "
            f"builds: chmod go+rx {folder}, or name another"
        )
    folder.chmod(0o755)


def clean(entry: Path) -> str:
    """Remove the builds beside this one that no process runs from, prepared ones as well.

    Returns:
        A line for each that is gone.

    Raises:
        ConfigurationError, Temporary: See prepare.
    """
    try:
        with unpacking.locked(entry.parent):
            gone = unpacking.remove_unused(entry.parent, keep=entry.name, older_than_seconds=0)
    except OSError as error:
        raise _foreseen(error, entry.parent) from error
    return "".join(f"removed {entry.parent / name}\n" for name in gone)


def _finish(place: Path, label: Path) -> None:
    """Compile all, and let others read it; the folder itself comes last, so that it is whole then.

    Args:
        place: Where it is.
        label: Where it will be, for tracebacks.
    """
    # What can't be compiled is source for other Pythons, which this one would not load either.
    compileall.compile_dir(place, ddir=str(label), quiet=2, workers=1)
    for parent, folders, files in os.walk(place):
        for name in folders:
            Path(parent, name).chmod(0o755)
        for name in files:
            Path(parent, name).chmod(0o644)
    place.chmod(0o755)


def _foreseen(error: OSError, folder: Path) -> CertgrinderdError:
    later = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT)
    kind = Temporary if later else ConfigurationError
    return kind(f"cache: cannot write in {folder}: {error.strerror}")
