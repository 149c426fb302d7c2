"""Running the steps of a plan in their order; running a step again is harmless."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from certgrinderd.errors import CertgrinderdError, ConfigurationError, Temporary
from certgrinderd.onefile import cache
from certgrinderd.setup.install import layout, receipt
from certgrinderd.setup.install.layout import File, Folder
from certgrinderd.setup.install.model import (
    MakeFolder,
    MakeUser,
    Plan,
    PrepareCache,
    Remove,
    RemoveFolder,
    Step,
    WriteFile,
    WriteReceipt,
)
from certgrinderd.system import programs

# Context managers around the writing of sshd's and sudo's files: they check the file once it is
# written, and put the old one back if that fails.
Guards = Mapping[str, Callable[[File], contextlib.AbstractContextManager[None]]]


def run(plan: Plan, *, unpacked: Path, guards: Guards) -> Iterator[str]:
    """Do all steps.

    Args:
        plan: What to do.
        unpacked: Where this program is unpacked.
        guards: By the path of the file.

    Yields:
        Each step, when it is done.

    Raises:
        ConfigurationError, Temporary: A step can't be done; it says how far it came.
    """
    for number, step in enumerate(plan.steps):
        try:
            _do(step, unpacked, guards)
        except (OSError, CertgrinderdError) as error:
            if isinstance(step, MakeUser):
                _forget_user(plan)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            later = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
            kind = Temporary if later or isinstance(error, Temporary) else ConfigurationError
            done = f"{number} of {len(plan.steps)} steps are done; run it again to go on"
            raise kind(f"cannot {step}: {reason}; {done}") from error
        yield str(step)


def _do(step: Step, unpacked: Path, guards: Guards) -> None:
    if isinstance(step, MakeUser):
        programs.run(layout.USERADD)
    elif isinstance(step, MakeFolder):
        _make_folder(step.folder)
    elif isinstance(step, PrepareCache):
        cache.prepare(unpacked, Path(layout.CACHE))
    elif isinstance(step, WriteReceipt):
        _record(step.receipt)
    elif isinstance(step, WriteFile):
        guard = guards.get(step.file.path)
        with guard(step.file) if guard else contextlib.nullcontext():
            write_file(step.file)
    elif isinstance(step, Remove):
        Path(step.path).unlink(missing_ok=True)
    elif isinstance(step, RemoveFolder):
        _remove_folder(step)
    else:
        programs.run(("userdel", step.name))


def _forget_user(plan: Plan) -> None:
    """Drop the user that couldn't be created from the receipt: somebody else may create it."""
    for step in plan.steps:
        if isinstance(step, WriteReceipt):
            with contextlib.suppress(OSError):
                _record(replace(step.receipt, user=None))


def _record(what: receipt.Receipt) -> None:
    write_file(File(layout.RECEIPT, receipt.render(what).encode()))


def _make_folder(folder: Folder) -> None:
    path = Path(folder.path)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    # Not by its path: who owns the folder above could put a link in its place.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        account = pwd.getpwnam(folder.owner)
        os.fchown(descriptor, account.pw_uid, account.pw_gid)
        os.fchmod(descriptor, folder.mode)
    except KeyError:
        raise ConfigurationError(f"there is no user {folder.owner}") from None
    finally:
        os.close(descriptor)


def _remove_folder(step: RemoveFolder) -> None:
    with contextlib.suppress(FileNotFoundError):
        if step.with_contents:
            shutil.rmtree(step.path)  # follows no link
        else:
            Path(step.path).rmdir()


def write_file(file: File) -> None:
    """Replace a file atomically: readers get the old content or the new one.

    Raises:
        OSError: It can't be written, and no temporary file is left. An admin's file that was
            created in the meantime is not touched.
    """
    path = Path(file.path)
    # Neither sshd nor sudo reads a file whose name begins with a dot. The name is always the same,
    # so that the next run removes what a killed one left.
    unfinished = path.with_name(f".{path.name}.unfinished")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _removed_at_the_end(unfinished):
        unfinished.unlink(missing_ok=True)
        with open(os.open(unfinished, flags, 0o600), "wb") as stream:
            stream.write(file.content)
            stream.flush()
            os.fchmod(stream.fileno(), file.mode)
            os.fsync(stream.fileno())
        if file.is_admins:
            path.hardlink_to(unfinished)
        else:
            unfinished.rename(path)


@contextlib.contextmanager
def _removed_at_the_end(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
