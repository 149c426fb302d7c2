"""Start the program in this file.

The file unpacks itself once, into ~/.shiv or SHIV_ROOT. Shiv's own bootstrap sees to that, and
takes 40 ms at each start to find out that it is done; here that is one look. BUILD_ID is filled in
by build_pyz.sh.
"""

# ruff: noqa: PTH111, PTH112, PTH118, PTH119
# (pathlib would be imported for this alone)

from __future__ import annotations

import os
import sys


def unpacked() -> str | None:
    """Return the folder with the unpacked packages, or None if shiv has something to do."""
    if any(name.startswith("SHIV_") and name != "SHIV_ROOT" for name in os.environ):
        return None
    root = os.path.expanduser(os.environ.get("SHIV_ROOT") or "~/.shiv")
    name = os.path.basename(os.path.realpath(sys.argv[0])) + "_BUILD_ID"
    folder = os.path.join(root, name, "site-packages")
    return folder if os.path.isdir(folder) else None


def place_in_path() -> int:
    """Return where packages go in sys.path: after the standard library, before the system's."""
    names = [os.path.basename(path) for path in sys.path]
    system = [names.index(name) for name in ("site-packages", "dist-packages") if name in names]
    return min(system, default=len(names))


folder = unpacked()
if folder is None:
    import _bootstrap  # type: ignore[import-not-found]  # of shiv, inside the file

    _bootstrap.bootstrap()
else:
    # This file is first in the path, and would be asked for each module: slow, and fatal for a
    # module that is imported after an upgrade has replaced the file.
    del sys.path[0]
    sys.path.insert(place_in_path(), folder)
    from certgrinderd.cli import main

    sys.exit(main())
