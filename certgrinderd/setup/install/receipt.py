"""The record of what `install` created, by which `uninstall` removes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from certgrinderd.errors import ConfigurationError

_HEAD = "# What certgrinderd.pyz install created here; uninstall removes it.\n"
_PATH = re.compile(r"(/[A-Za-z0-9_+@%=,.-]+)+")


@dataclass(frozen=True)
class Receipt:
    """What was created.

    Attributes:
        files: The SHA-256 of each file as it was written, by path: two while it is replaced.
        folders: The folders that didn't exist before, and for each whether it is a cache.
        user: The user, unless it existed before.
    """

    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    folders: Mapping[str, bool] = field(default_factory=dict)
    user: str | None = None

    def __bool__(self) -> bool:
        return bool(self.files or self.folders or self.user)


def render(receipt: Receipt) -> str:
    """Write it as text: a line for each thing."""
    lines = [f"user {receipt.user}"] if receipt.user else []
    kinds = {False: "folder", True: "cache"}
    lines += [f"{kinds[cache]} {path}" for path, cache in sorted(receipt.folders.items())]
    for path, digests in sorted(receipt.files.items()):
        lines += [f"file {digest} {path}" for digest in digests]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def parse(text: str, *, path: str) -> Receipt:
    """Read it.

    Args:
        text: What render() made.
        path: Where it stands, for messages.

    Raises:
        ConfigurationError: A line is not one that render() writes.
    """
    files: dict[str, tuple[str, ...]] = {}
    folders: dict[str, bool] = {}
    user = None
    for number, line in enumerate(text.splitlines(), start=1):
        word, _, rest = line.partition(" ")
        digest, _, place = rest.rpartition(" ")
        if word == "#":
            continue
        if word == "user" and re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", rest):
            user = rest
        elif word in ("folder", "cache") and _is_path(rest):
            folders[rest] = word == "cache"
        elif word == "file" and re.fullmatch("[0-9a-f]{64}", digest) and _is_path(place):
            files[place] = (*files.get(place, ()), digest)
        else:
            raise ConfigurationError(
                f"{path}, line {number}: not a line that install writes: {line[:80]!r}"
            )
    return Receipt(files, folders, user)


def _is_path(text: str) -> bool:
    return _PATH.fullmatch(text) is not None and not {".", ".."} & set(text.split("/"))
