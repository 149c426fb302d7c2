"""Private folders, bounded reads, and files that no symlink can lead astray."""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from certgrinderd.errors import ConfigurationError, MalformedInput
from certgrinderd.system.deadline import Deadline, TimeUp

_CHUNK = 65536

# As Linux: path_resolution(7).
_MOST_LINKS = 40

# The name of a folder that private_directory() makes, as a regular expression.
PRIVATE_NAME = "certgrinderd-[0-9a-f]{16}"


def read_input(descriptor: int, *, limit: int, timeout: float, what: str) -> bytes:
    """Read a stream to its end, within bounds of size and time.

    Args:
        descriptor: A pipe, socket, terminal or file.
        limit: The most bytes.
        timeout: Seconds for all of it, however it drips in.
        what: What should come, for messages: "a certificate signing request".

    Raises:
        MalformedInput: There is more, it took longer, or it can't be read.
    """
    deadline = Deadline(timeout, for_client=False)
    data = bytearray()
    while True:
        try:
            deadline.wait_for(descriptor, select.POLLIN)
            chunk = os.read(descriptor, min(_CHUNK, limit + 1 - len(data)))
        except TimeUp as error:
            raise MalformedInput(
                f"standard input did not end within {timeout:g} seconds: expected {what}"
            ) from error
        except BlockingIOError:
            continue
        except OSError as error:
            raise MalformedInput(f"cannot read standard input: {error.strerror}") from error
        if not chunk:
            return bytes(data)
        data += chunk
        if len(data) > limit:
            raise MalformedInput(f"more than {limit} bytes on standard input: expected {what}")


def read_file(path: str, *, limit: int, label: str) -> bytes:
    """Read a plain file that the admin named.

    Args:
        path: Symlinks are followed; a FIFO, device or folder is an error and is not waited for.
        limit: The most bytes.
        label: How the admin calls it, for messages: "config-file".

    Raises:
        ConfigurationError: It isn't there, can't be read, is no plain file or is too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigurationError(f"{label}: {path} is not a plain file")
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{label}: cannot read {path}: {reason}") from error
    if len(data) > limit:
        raise ConfigurationError(f"{label}: {path} is larger than {limit} bytes")
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read; one that exists, or a symlink, is an error."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def require_own_side(folder: str, *, label: str) -> None:
    """Require that root leaves nothing in a folder that another user works in.

    That user could not read it, and each request from then on would fail.

    Args:
        folder: One that isn't there yet is taken for that of the user who has the one above it.
        label: The setting's name, for messages.

    Raises:
        ConfigurationError: We are root, and the folder is another user's.
    """
    if os.geteuid() != 0:
        return
    owner = 0
    for place in (Path(folder), *Path(folder).parents):
        with contextlib.suppress(OSError, ValueError):
            owner = place.stat().st_uid
            break
    if owner != 0:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise ConfigurationError(
            f"{label}: {folder} belongs to {name}, and this is root: run it as that user "
            f"(su {name} -c …)"
        )


@contextlib.contextmanager
def private_directory(parent: str | None) -> Iterator[Path]:
    """Make a folder that only we can enter, and remove it with all that is in it.

    Args:
        parent: Where (the setting `temp-dir`); None is TMPDIR or /tmp.

    Raises:
        ConfigurationError: It can't be made there.
    """
    folder = Path(parent or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108 - a private folder in it
    path = folder / f"certgrinderd-{os.urandom(8).hex()}"
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"temp-dir: cannot make a folder in {folder}: {error.strerror}"
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def changeable_part(path: str, *, uid: int, gids: Collection[int]) -> Path | None:
    """Find what a user could change or replace on the way to a file.

    Access control lists are not looked at.

    Args:
        path: A path; what isn't there yet counts by the folder that it would be in.
        uid: The user; not root.
        gids: All of the user's groups.

    Returns:
        The first such folder, link or file; None if there is none.

    Raises:
        ConfigurationError: We may not look.
    """
    for part in parts(path):
        try:
            found = part.lstat()
        except (FileNotFoundError, NotADirectoryError):
            # Not even a folder like /tmp keeps the user from being the first to make it.
            folder = part.parent
            if folder.is_dir() and _may_write(folder.stat(), gids):
                return folder
            continue
        except OSError as error:
            raise ConfigurationError(f"cannot look at {part}: {error.strerror}") from error
        # Nobody replaces what belongs to others in a folder like /tmp; a link's mode says nothing.
        like_tmp = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        exempt = stat.S_ISLNK(found.st_mode) or like_tmp
        if found.st_uid == uid or (_may_write(found, gids) and not exempt):
            return part
    return None


def changeable_below(folder: str, *, uid: int, gids: Collection[int]) -> Path | None:
    """Find what a user could change or add below a folder, also one like /tmp.

    Args:
        folder: It need not be there, nor be a folder.
        uid: The user; not root.
        gids: All of the user's groups.

    Returns:
        The first such folder, link or file; None if there is none.

    Raises:
        ConfigurationError: We may not look.
    """

    def fail(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise ConfigurationError(f"cannot look at {error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=fail):
        if _may_write(os.stat(place), gids):  # noqa: PTH116 - as os.walk gives it
            return Path(place)
        for name in sorted((*folders, *names)):
            path = os.path.join(place, name)  # noqa: PTH118 - as os.walk gives it
            part = changeable_part(path, uid=uid, gids=gids)
            if part is not None:
                return part
    return None


def _may_write(found: os.stat_result, gids: Collection[int]) -> bool:
    by_group = found.st_gid in gids and found.st_mode & stat.S_IWGRP
    return bool(found.st_mode & stat.S_IWOTH or by_group)


def parts(path: str) -> Iterator[Path]:
    """Everything that leads to a file, as the kernel walks it: from the root on, link by link.

    Raises:
        ConfigurationError: There are too many links.
    """
    current = Path("/")
    yield current
    left = [*reversed((Path.cwd() / path).parts[1:])]
    links = 0
    while left:
        name = left.pop()
        part = current.parent if name == ".." else current / name
        yield part
        try:
            target = part.readlink()
        except OSError:  # no link, or nothing
            current = part
            continue
        links += 1
        if links > _MOST_LINKS:
            raise ConfigurationError(f"cannot look at {path}: too many symbolic links")
        if target.is_absolute():
            current = Path("/")
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
