"""The input of a command: a file or standard input, and the client's domainsets."""

from __future__ import annotations

import logging
import os
import sys

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
    if sys.stdin is None:
        raise MalformedInput(f"standard input is closed: expected {what}")
    return files.read_input(
        sys.stdin.fileno(),
        limit=settings.max_input_size,
        timeout=settings.input_timeout,
        what=what,
    )


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
