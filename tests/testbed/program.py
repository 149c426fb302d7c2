"""certgrinderd from the checkout, run as an admin or as sshd runs it for a client."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.testbed.server import clean_environment

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str, client: Sequence[str] | None = None) -> list[str]:
    """The command line: the admin's words, and the client's when there is one."""
    return [sys.executable, "-m", "certgrinderd", *words, *(client or ())]


def environment(
    *, client: Sequence[str] | None = None, domainsets: str | None = None, **extra: str
) -> dict[str, str]:
    """The environment, as sshd makes it when there is a client."""
    if client is not None:
        extra["SSH_ORIGINAL_COMMAND"] = shlex.join(client)
    if domainsets is not None:
        extra["CERTGRINDERD_DOMAINSETS"] = domainsets
    return clean_environment(PYTHONPATH=str(ROOT), **extra)


def run(
    *words: str,
    stdin: bytes = b"",
    client: Sequence[str] | None = None,
    domainsets: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run certgrinderd to its end.

    Args:
        words: The admin's words.
        stdin: What it reads.
        client: The client's words; None when the admin runs it.
        domainsets: CERTGRINDERD_DOMAINSETS.
        variables: More of the environment.
    """
    return subprocess.run(
        command(*words, client=client),
        input=stdin,
        env=environment(client=client, domainsets=domainsets, **(variables or {})),
        capture_output=True,
        timeout=60,
        check=False,
    )
