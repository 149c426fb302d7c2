"""Is a file certgrinderd.pyz, which build is it, and does this program run from one?"""

from __future__ import annotations

import re
from pathlib import Path

from certgrinderd.errors import UsageError

# As build/make_pyz.py begins it, in any version; the line with the build came later.
_HEAD = re.compile(
    rb"#!/bin/sh\n# certgrinderd \S{1,40}\. A zip file follows: [^\n]*\n"
    rb"(?:# build ([0-9a-f]{64})\n)?"
)


def is_program(data: bytes) -> bool:
    """Tell by its first bytes whether a file is certgrinderd.pyz, in whatever version."""
    return _HEAD.match(data) is not None


def is_build_in(data: bytes, unpacked: Path) -> bool:
    """Tell whether a file is the certgrinderd.pyz that is unpacked in a folder."""
    head = _HEAD.match(data)
    if head is None or head[1] is None:
        return False
    return unpacked.name.startswith(f"{head[1][:16].decode()}-")


def unpacked_folder() -> Path | None:
    """Return where certgrinderd.pyz is unpacked, if this program runs from there."""
    folder = Path(__file__).resolve().parents[2]
    return folder if (folder / "__main__.py").is_file() else None


def require_unpacked() -> Path:
    """Return the folder that this program runs from.

    Raises:
        UsageError: It was installed in another way, and there is none.
    """
    folder = unpacked_folder()
    if folder is None:
        raise UsageError("this certgrinderd is installed as a package, not as certgrinderd.pyz")
    return folder
