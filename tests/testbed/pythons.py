"""The Pythons of this machine, and the one file as each of them runs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

Version = tuple[int, int]
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
_SUPPORTED = ((3, 10), (3, 14))


def interpreters() -> dict[Path, Version]:
    """All Pythons 3 that are found: ours, those of pyenv, and those in PATH and /usr/bin."""
    found = [Path(sys.executable), *_PYENV.glob("3.*/bin/python3")]
    path = f"{os.environ.get('PATH', '')}:/usr/local/bin:/usr/bin"
    names = ["python3", *(f"python3.{minor}" for minor in range(4, 20))]
    found += [Path(program) for name in names if (program := shutil.which(name, path=path))]
    # What pyenv puts into PATH are scripts that ask which version is meant.
    real = {path.resolve() for path in found if ".pyenv/shims" not in str(path)}
    asked = {path: version_of(path) for path in sorted(real)}
    return {path: version for path, version in asked.items() if version is not None}


def version_of(python: Path) -> Version | None:
    """Ask a Python for its version; None if it does not work."""
    script = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", script], capture_output=True, check=False)
    if done.returncode:
        return None
    major, minor = done.stdout.split()
    return int(major), int(minor)


def is_supported(version: Version) -> bool:
    """Whether the one file is for such a Python."""
    low, high = _SUPPORTED
    return low <= version <= high


def for_python(pyz: Path, python: Path, target: Path) -> Path:
    """Write the same file, to be run by a certain Python in place of the `python3` in PATH."""
    data = pyz.read_bytes()
    first, separator, rest = data.partition(b"import sys, binascii\n")
    assert separator
    named = re.sub(rb"exec \S+ -I", b"exec %s -I" % os.fsencode(python), first)
    assert named != first
    (offset,) = re.findall(rb"seek\(([ \d]{9})\)", rest[:200])
    moved = b"%9d" % (int(offset) + len(named) - len(first))
    target.write_bytes(named + separator + rest.replace(offset, moved, 1))
    target.chmod(0o755)
    return target
