"""The input of a command: a file or standard input, and the client's domainsets."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

from certgrinderd import policy
from certgrinderd.errors import ConfigurationError, MalformedInput
from certgrinderd.settings.table import Settings
from certgrinderd.system import files

logger = logging.getLogger(__name__)


def read_request(path: str | None, settings: Settings, *, label: str, what: str) -> bytes:
    """Read it, within the bounds that the settings have.

    Args:
        path: The file; standard input if it is None.
        settings: The bounds.
        label: How the one who named the file calls it, for messages: "csr-file".
        what: What should come, for messages: "a certificate signing request".

    Raises:
        MalformedInput: Standard input is closed, too long or too slow.
        ConfigurationError: The file can't be read or is too large.
    """
    if path is not None:
        return files.read_file(path, limit=settings.max_input_size, label=label)
    if sys.stdin is None or sys.stdin.closed:
        raise MalformedInput(f"standard input is closed: expected {what}")
    limit = settings.max_input_size
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        data = _read_text(sys.stdin, limit)  # as io.StringIO, of a program that uses the class
    else:
        later = files.read_input(descriptor, limit=limit, timeout=settings.input_timeout, what=what)
        # What Python had read ahead, if that program has read a part of standard input before.
        data = (b"" if sys.stdin.isatty() else _read_text(sys.stdin, limit)) + later
    if len(data) > limit:
        raise MalformedInput(f"more than {limit} bytes on standard input: expected {what}")
    return data


def _read_text(stream: TextIO, limit: int) -> bytes:
    try:
        return stream.read(limit + 1).encode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        raise MalformedInput(f"cannot read standard input: {error}") from error


def read_domainsets(settings: Settings) -> policy.Domainsets:
    """Return what the client may have, by the option or the environment.

    Raises:
        ConfigurationError: Both say something.
    """
    text = os.environ.get(policy.DOMAINSETS_VARIABLE)
    if settings.domainsets is not None:
        if text is not None:
            raise ConfigurationError(
                "both the option domainsets and CERTGRINDERD_DOMAINSETS are set: "
                "which names the client may have must stand in one place"
            )
        text = settings.domainsets
    domainsets = policy.parse_domainsets(text or "")
    for reason in domainsets.ignored:
        logger.warning("%s", reason)
    return domainsets
