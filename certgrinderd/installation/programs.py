"""Running the system's own programs: useradd, sshd, sudo."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from certgrinderd.errors import ConfigurationError, IssuanceError

_SECONDS = 60.0
# A user's PATH has no /usr/sbin.
_WHERE = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def run(command: Sequence[str]) -> list[str]:
    """Run a program to its end.

    Args:
        command: The name of a program of the system, and its arguments.

    Returns:
        The lines that it prints.

    Raises:
        ConfigurationError: It is missing or fails; with what it says about that.
    """
    from certgrinderd.system import process

    path = os.pathsep.join(_WHERE)
    program = shutil.which(command[0], path=path)
    if program is None:
        raise ConfigurationError(f"there is no {command[0]} on this host")
    lines: list[str] = []
    errors: list[str] = []
    try:
        process.run(
            [program, *command[1:]],
            environment={"PATH": path, "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            on_line=lines.append,
            on_error_line=errors.append,
            umask=0o022,
        )
    except IssuanceError as error:
        said = "; ".join((*errors, *lines)[:5])
        raise ConfigurationError(f"{error}{f': {said}' if said else ''}") from error
    return lines
