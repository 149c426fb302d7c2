"""Running programs of the system that an admin needs: useradd, sshd, sudo, ssh-keygen."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from certgrinderd.errors import ConfigurationError, IssuanceError
from certgrinderd.system import process
from certgrinderd.system.deadline import Deadline

_SECONDS = 60.0
# A user's PATH has no /usr/sbin.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(name: str) -> str | None:
    """Return the path of a program; None if it is not on this host."""
    return shutil.which(name, path=_PATH)


def run(command: Sequence[str], *, stdin: bytes = b"") -> list[str]:
    """Run a program to its end.

    Args:
        command: The name of a program of the system, and its arguments.
        stdin: What it can read on standard input.

    Returns:
        The lines that it prints.

    Raises:
        ConfigurationError: It is missing or fails; the message has its output.
    """
    program = find(command[0])
    if program is None:
        raise ConfigurationError(f"there is no {command[0]} on this host")
    lines: list[str] = []
    errors: list[str] = []
    try:
        process.run(
            [program, *command[1:]],
            environment={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
            deadline=Deadline(_SECONDS),
            on_line=lines.append,
            on_error_line=errors.append,
            umask=0o022,
            stdin=stdin,
        )
    except IssuanceError as error:
        said = "; ".join((*errors, *lines)[:5])
        raise ConfigurationError(f"{error}{f': {said}' if said else ''}") from error
    return lines
