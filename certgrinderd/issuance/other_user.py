"""The ACME client as another user: a program that reads a CSR and writes the chain.

The contract of `acme-client-command`: CSR in PEM on standard input, chain in PEM on standard
output, log lines on standard error, exit statuses of certgrinderd.errors; SIGTERM, or a standard
output that nobody reads any more, means that it should clean up and end.
"""

from __future__ import annotations

import logging
import os
import re
import shlex

from certgrinderd.errors import (
    CertgrinderdError,
    ConfigurationError,
    Interrupted,
    IssuanceError,
    RequestRefused,
    Temporary,
)
from certgrinderd.issuance.hooks import environment
from certgrinderd.settings.kinds import LOG_LEVELS
from certgrinderd.settings.table import LETS_ENCRYPT, Settings
from certgrinderd.system import process
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

SHOW_ACCOUNT = "--show-account"
_LOG_LINE = re.compile(rf"\S+ \S+ \S+ certgrinderd ({'|'.join(LOG_LEVELS)}) (.*)")
_FAILURES = {2: ConfigurationError, 3: RequestRefused, 4: IssuanceError, 5: Temporary}
_FIRST_SIGNAL = 128


def words(settings: Settings) -> list[str]:
    """Return the options that are passed on: what differs from the defaults, in this order."""
    given: list[str] = []
    if settings.staging:
        given.append("--staging")
    elif settings.acme_server_url != LETS_ENCRYPT:
        given += ["--acme-server-url", settings.acme_server_url]
    if settings.preferred_chain is not None:
        given += ["--preferred-chain", settings.preferred_chain.replace(" ", "_")]
    if settings.chain_length is not None:
        given += ["--chain-length", str(settings.chain_length)]
    if settings.replaces is not None:
        given += ["--replaces", settings.replaces]
    if settings.log_level != "INFO":
        given += ["--log-level", settings.log_level]
    return given


def issue(settings: Settings, csr_pem: bytes) -> bytes:
    """Let the other side get a certificate.

    Args:
        settings: The command, and what is passed on.
        csr_pem: The CSR; the other side checks it again.

    Returns:
        What it wrote, not looked at.

    Raises:
        CertgrinderdError: It failed, of the kind that its exit status tells and with its reason.
        Interrupted: A signal ended it.
    """
    return _run(settings, words(settings), csr_pem)


def describe_account(settings: Settings) -> str:
    """Ask the other side about its account.

    Raises:
        CertgrinderdError, Interrupted: See issue.
    """
    return _run(settings, [*words(settings), SHOW_ACCOUNT], b"").decode("utf-8", "replace")


def _run(settings: Settings, options: list[str], stdin: bytes) -> bytes:
    command = [*shlex.split(settings.acme_client_command or ""), *options]
    output = bytearray()
    log = _Log()
    logger.debug("running %s", shlex.join(command), extra=FOR_ADMIN)
    try:
        process.run(
            command,
            environment=environment(settings, None, os.environ),
            # The other side has the same limit for each challenge and CA.
            deadline=Deadline(4 * settings.issuance_timeout),
            on_line=output,
            on_error_line=log.pass_on,
            stdin=stdin,
            hang_up=True,
        )
    except process.ProgramFailed as error:
        raise _failure(error, log.take_failure()) from error
    failure = log.take_failure()
    if failure is not None:
        logger.error("%s", failure)
    return bytes(output)


def _failure(error: process.ProgramFailed, reason: str | None) -> CertgrinderdError | Interrupted:
    """Our error for an exit status of the other side."""
    message = reason if reason is not None else str(error)
    status = error.status
    if status is not None and (status < 0 or status > _FIRST_SIGNAL):
        return Interrupted(message, -status if status < 0 else status - _FIRST_SIGNAL)
    return _FAILURES.get(status or 0, IssuanceError)(message)


class _Log:
    """Passes log lines on, and keeps the last error back: it will be ours."""

    def __init__(self) -> None:
        self._failure: str | None = None

    def pass_on(self, line: str) -> None:
        found = _LOG_LINE.fullmatch(line)
        level, message = (found[1], found[2]) if found else ("INFO", line)
        before = self.take_failure()
        if before is not None:
            logger.error("%s", before)
        if level in {"ERROR", "CRITICAL"}:
            self._failure = message
        else:
            logger.log(getattr(logging, level), "%s", message)

    def take_failure(self) -> str | None:
        failure, self._failure = self._failure, None
        return failure
