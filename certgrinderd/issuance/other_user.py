"""The ACME client as another user: a program that reads a CSR and writes the chain.

The contract of `acme-client-command`: CSR in PEM on standard input, chain in PEM on standard
output, log lines on standard error, exit statuses of certgrinderd.errors. It should clean up and
end on SIGTERM, and when nobody reads its standard output any more.
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
from certgrinderd.settings.table import PASSED_ON, Settings
from certgrinderd.system import process
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

SHOW_ACCOUNT = "--show-account"
_LOG_LINE = re.compile(rf"\S+ \S+ \S+ certgrinderd ({'|'.join(LOG_LEVELS)}) (.*)")
_FAILURES = {2: ConfigurationError, 3: RequestRefused, 4: IssuanceError, 5: Temporary}
_FIRST_SIGNAL = 128


def words(settings: Settings) -> list[str]:
    """Return the options that are passed on: those that differ from their defaults, in order."""
    given: list[str] = []
    for option in PASSED_ON:
        value = getattr(settings, option.attribute)
        # --staging says it already.
        is_said = option.name == "acme-server-url" and settings.staging
        if value == option.default or is_said:
            continue
        given.append(f"--{option.name}")
        if not option.is_switch:
            # The name of a chain: a rule for sudo could not tell a blank from the next option.
            given.append(str(value).replace(" ", "_"))
    return given


def issue(settings: Settings, csr_pem: bytes) -> bytes:
    """Get a certificate from the other side.

    Args:
        settings: The command, and the options to pass on.
        csr_pem: The CSR; the other side checks it again.

    Returns:
        Its output, not checked.

    Raises:
        CertgrinderdError: It failed; the type follows its exit status, the message is its own.
        Interrupted: A signal ended it.
    """
    return _run(settings, words(settings), csr_pem)


def describe_account(settings: Settings) -> str:
    """Get the other side's lines about its ACME account.

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
            # The other side limits each attempt at each CA.
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
    """The error for an exit status of the other side."""
    message = reason if reason is not None else str(error)
    status = error.status
    if status is not None and (status < 0 or status > _FIRST_SIGNAL):
        return Interrupted(message, -status if status < 0 else status - _FIRST_SIGNAL)
    return _FAILURES.get(status or 0, IssuanceError)(message)


class _Log:
    """Passes log lines on, but holds the last error back: it becomes our own."""

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
