"""The plan of an install or uninstall, from what there should be, what there is, and the receipt.

Files and folders that existed before, or were edited since, are kept and listed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from certgrinderd.onefile import identity
from certgrinderd.setup.install import layout
from certgrinderd.setup.install.layout import File, Folder
from certgrinderd.setup.install.model import (
    Found,
    Host,
    MakeFolder,
    MakeUser,
    Plan,
    PrepareCache,
    Remove,
    RemoveFolder,
    RemoveUser,
    Step,
    WriteFile,
    WriteReceipt,
)
from certgrinderd.setup.install.receipt import Receipt


def install(folders: Sequence[Folder], files: Sequence[File], host: Host, receipt: Receipt) -> Plan:
    """Plan an install.

    Args:
        folders: Each after the one that it is in.
        files: In the order in which to write them.
        host: What there is.
        receipt: What was made before.
    """
    left: dict[str, str] = {}
    making = [folder for folder in folders if _is_missing(folder, host, left)]
    writing: list[Step] = []
    for file in files:
        writing += _writing(file, host, receipt, left)
        writing += _removing_former(file, host, receipt, left)
    ours = {
        file.path: _digests(file, host, receipt)
        for file in files
        if file.path not in left
        # An edited file keeps its old entry, or has none: uninstall won't remove it.
        if not (file.is_admins and file.path in host.found)
    }
    after = Receipt(
        {**receipt.files, **ours},
        {
            **receipt.folders,
            **{folder.path: folder.is_cache for folder in making},
            # The cache is created when the program starts, SHARE before the receipt in it.
            layout.CACHE: True,
            layout.SHARE: False,
        },
        receipt.user if host.has_user else layout.USER,
    )
    steps: list[Step] = [] if host.has_user else [MakeUser()]
    steps += map(MakeFolder, making)
    if not host.is_prepared:
        steps.append(PrepareCache())
    steps += writing
    if after != receipt:
        first = [MakeFolder(folder) for folder in making if folder.path == layout.SHARE]
        steps = [*first, WriteReceipt(after), *(step for step in steps if step not in first)]
    return Plan(tuple(steps), left)


def _digests(file: File, host: Host, receipt: Receipt) -> tuple[str, ...]:
    """The hashes to record for a file: while it is being replaced, the old content's as well."""
    wanted, noted = sha256(file), receipt.files.get(file.path, ())
    found = host.found.get(file.path)
    if found is not None and found.sha256 == wanted and wanted in noted:
        return noted
    if found is not None and found.sha256 != wanted and found.sha256 in noted:
        return (wanted, found.sha256)
    return (wanted,)


def _is_missing(folder: Folder, host: Host, left: dict[str, str]) -> bool:
    found = host.found.get(folder.path)
    if found is None:
        return True
    if found.kind != "folder":
        left[folder.path] = f"it is a {found.kind}, and should be a folder"
    elif not _is_well(folder, found):
        left[folder.path] = (
            f"its owner and mode are {found}: chown {folder.owner}: {folder.path} && "
            f"chmod {folder.mode:o} {folder.path}"
        )
    return False


def _is_well(folder: Folder, found: Found) -> bool:
    """Whether only the owner can write to it, and those who need it can enter."""
    if not layout.is_own(folder.path):
        return True  # on some systems /usr/local belongs to a group
    can_enter = folder.owner != "root" or found.mode & 0o011
    return bool(found.owner == folder.owner and not found.mode & 0o022 and can_enter)


def _writing(file: File, host: Host, receipt: Receipt, left: dict[str, str]) -> Iterator[WriteFile]:
    found = host.found.get(file.path)
    if found is None:
        yield WriteFile(file, replaces=False)
    elif found.kind != "file":
        left[file.path] = f"it is a {found.kind}, and should be a file"
    elif file.is_admins:
        return
    elif found.sha256 == sha256(file):
        if (found.owner, found.mode) != ("root", file.mode):
            yield WriteFile(file, replaces=True)
    elif found.sha256 is None:
        left[file.path] = "it cannot be read"
    elif found.sha256 in receipt.files.get(file.path, ()) or _both_programs(file, found):
        yield WriteFile(file, replaces=True)
    else:
        left[file.path] = "it was edited, or install didn't write it"


def _removing_former(
    file: File, host: Host, receipt: Receipt, left: dict[str, str]
) -> Iterator[Remove]:
    """After the file is written, remove the one at its former path, unless that was edited."""
    found = host.found.get(file.former or "")
    if file.former is None or found is None or file.path in left:
        return
    if found.kind == "file" and found.sha256 in receipt.files.get(file.former, ()):
        yield Remove(file.former)
    else:
        left[file.former] = f"it was edited, and {file.path} takes its place: remove it"


def _both_programs(file: File, found: Found) -> bool:
    return found.is_program and identity.is_program(file.content)


def uninstall(files: Collection[File], host: Host, receipt: Receipt) -> Plan:
    """Plan an uninstall.

    Args:
        files: What this version would write.
        host: What there is.
        receipt: What was made before.
    """
    left: dict[str, str] = {}
    own = {file.path: sha256(file) for file in files if not file.is_admins}
    gone = {layout.RECEIPT}
    steps: list[Step] = []
    # First what lets clients in.
    for path in sorted(receipt.files, key=lambda path: (not path.startswith("/etc/"), path)):
        found = host.found.get(path)
        if found is None:
            continue
        digests = (*receipt.files[path], own.get(path))
        if found.kind == "file" and (found.sha256 in digests or found.is_program):
            steps.append(Remove(path))
            gone.add(path)
        else:
            left[path] = "it was edited"
    removed = list(_removable_folders(host, receipt, gone, left))
    # These come last: SHARE holds the receipt, and this program runs from the cache.
    share = [folder for folder in removed if folder.path == layout.SHARE]
    cache = [folder for folder in removed if folder.path == layout.CACHE]
    steps += (folder for folder in removed if folder not in (*share, *cache))
    if left:
        if receipt.user:
            left[f"the user {receipt.user}"] = "it may own files"
        return Plan((*steps, *_rest(receipt, left), *cache), left)
    if receipt.user and host.has_user:
        steps.append(RemoveUser(receipt.user))
    if layout.RECEIPT in host.found:
        steps.append(Remove(layout.RECEIPT))
    return Plan((*steps, *share, *cache), left)


def _removable_folders(
    host: Host, receipt: Receipt, gone: set[str], left: dict[str, str]
) -> Iterator[RemoveFolder]:
    """The folders that are caches or will be empty, each before its parent."""
    for path in sorted(receipt.folders, reverse=True):
        found = host.found.get(path)
        if found is None:
            continue
        is_cache = receipt.folders[path]
        entries = None if found.entries is None else [f"{path}/{name}" for name in found.entries]
        if found.kind != "folder":
            left[path] = f"it is a {found.kind} now"
        elif is_cache or (entries is not None and gone.issuperset(entries)):
            gone.add(path)
            yield RemoveFolder(path, with_contents=is_cache)
        elif layout.is_own(path) or any(other.startswith(f"{path}/") for other in left):
            left[path] = "it is not empty"
        # Otherwise other programs use it: it stays, without a word.


def _rest(receipt: Receipt, left: Mapping[str, str]) -> Iterator[WriteReceipt]:
    """The receipt of what is kept, for a later uninstall."""
    after = replace(
        receipt,
        files={path: digests for path, digests in receipt.files.items() if path in left},
        folders={
            path: cache
            for path, cache in receipt.folders.items()
            if path in left or path == layout.SHARE
        },
    )
    if after != receipt:
        yield WriteReceipt(after)


def sha256(file: File) -> str:
    """Return the SHA-256 of what should be in a file."""
    return hashlib.sha256(file.content).hexdigest()
