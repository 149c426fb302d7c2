"""What a command is given to work on: the file that was named, or standard input."""

from __future__ import annotations

import sys

from certgrinderd.config import Settings
from certgrinderd.errors import MalformedInput
from certgrinderd.system import files


def read_given(path: str | None, settings: Settings, *, named: str, what: str) -> bytes:
    """Read it, within the bounds that the settings have.

    Args:
        path: The file; standard input if it is None.
        settings: The bounds.
        named: How the one who named the file calls it, for messages: "csr-file".
        what: What should come, for messages: "a certificate signing request".

    Raises:
        MalformedInput: Standard input is closed, too long or too slow.
        ConfigurationError: The file can't be read or is too large.
    """
    if path is not None:
        return files.read_file(path, limit=settings.max_input_size, named=named)
    if sys.stdin is None:
        raise MalformedInput(f"standard input is closed: expected {what}")
    return files.read_input(
        sys.stdin.fileno(),
        limit=settings.max_input_size,
        timeout=settings.input_timeout,
        what=what,
    )
