"""Inspecting a host: what is at the paths of an installation, and the record of earlier runs."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from certgrinderd.errors import ConfigurationError
from certgrinderd.onefile import identity
from certgrinderd.setup.clients.check import reasons_in_shell
from certgrinderd.setup.install import layout, receipt
from certgrinderd.setup.install.model import Found, Host
from certgrinderd.system import files

_LARGEST_RECEIPT = 65536
# Several times the size of certgrinderd.pyz.
_LARGEST_FILE = 64 * 1024 * 1024
_HEAD_LENGTH = 200
_FOR_ALL_TO_READ = 0o055


def look(paths: Iterable[str], *, build: str) -> Host:
    """Look at what is there.

    Args:
        paths: Of files and folders.
        build: The name of this build's folder in a cache.
    """
    found = {path: what for path in paths for what in (_at(path),) if what is not None}
    return Host(found, _account() is not None, _is_prepared(build))


def read_receipt() -> receipt.Receipt:
    """Return the record of earlier runs.

    Raises:
        ConfigurationError: It can't be read, or another user could have written it.
    """
    path = Path(layout.RECEIPT)
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return receipt.Receipt()
    except OSError as error:
        raise ConfigurationError(f"cannot look at {path}: {error.strerror}") from error
    if facts.st_uid != 0 or facts.st_mode & 0o022:
        raise ConfigurationError(f"{path} is not root's alone, and says what to remove: look at it")
    data = files.read_file(str(path), limit=_LARGEST_RECEIPT, label="the list of what was made")
    return receipt.parse(data.decode("utf-8", "replace"), path=str(path))


def read_text(path: str) -> str | None:
    """Return the text of a file; None if it doesn't exist or can't be read."""
    try:
        return files.read_file(path, limit=_LARGEST_RECEIPT, label=path).decode("utf-8", "replace")
    except ConfigurationError:
        return None


def user_findings() -> list[str]:
    """List what would keep clients from logging in as the user, or let others set its policy."""
    account = _account()
    if account is None:
        return []
    found = []
    if account.pw_uid == 0:
        found.append(f"the user {layout.USER} is root")
    found += reasons_in_shell(account)
    if account.pw_dir != layout.HOME:
        found.append(
            f"the home of the user {layout.USER} is {account.pw_dir}, and not {layout.HOME}: "
            "it should belong to root, since whoever can write to its .ssh can let anybody in"
        )
    if os.path.lexists(f"{account.pw_dir}/.ssh/environment"):
        found.append(
            f"{account.pw_dir}/.ssh/environment overrides the domainsets in environment=: remove it"
        )
    return found


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(layout.USER)
    except KeyError:
        return None


def _at(path: str) -> Found | None:
    place = Path(path)
    try:
        facts = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if os.geteuid() == 0:
            raise ConfigurationError(f"cannot look at {path}: {error.strerror}") from error
        return None  # root alone can
    mode = stat.S_IMODE(facts.st_mode) & 0o777
    owner = _name_of(facts.st_uid)
    is_link = stat.S_ISLNK(facts.st_mode)
    # A folder of the system may be a link to another one. One of ours may not: whoever has made the
    # link would choose what becomes the user's.
    if place.is_dir() and not (is_link and layout.is_own(path)):
        facts = place.stat()
        mode, owner = stat.S_IMODE(facts.st_mode) & 0o777, _name_of(facts.st_uid)
        return Found("folder", owner, mode, entries=_entries(place))
    if not stat.S_ISREG(facts.st_mode):
        return Found("symbolic link" if is_link else "special file", owner, mode)
    try:
        data = files.read_file(path, limit=_LARGEST_FILE, label=path)
    except ConfigurationError:
        return Found("file", owner, mode)
    is_program = identity.is_program(data[:_HEAD_LENGTH])
    return Found("file", owner, mode, hashlib.sha256(data).hexdigest(), is_program)


def _entries(folder: Path) -> tuple[str, ...] | None:
    try:
        return tuple(sorted(path.name for path in folder.iterdir()))
    except OSError:
        return None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_prepared(build: str) -> bool:
    try:
        modes = [Path(path).stat().st_mode for path in (layout.CACHE, f"{layout.CACHE}/{build}")]
    except OSError:
        return False
    return all(mode & _FOR_ALL_TO_READ == _FOR_ALL_TO_READ for mode in modes)
