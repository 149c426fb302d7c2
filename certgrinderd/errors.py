"""The errors, and the exit status of each.

An error's message is one line for the reader of the log: what is wrong, what was expected and what
was found.
"""

from __future__ import annotations

from typing import ClassVar


class CertgrinderdError(Exception):
    """An error that certgrinderd expects; each type has its exit status."""

    exit_code: ClassVar[int] = 1


class UsageError(CertgrinderdError):
    """The command line is wrong; whoever typed it can correct it."""

    exit_code = 2


class ConfigurationError(CertgrinderdError):
    """A setting is invalid, or what it points at can't be used; the admin can correct it."""

    exit_code = 2


class RequestRefused(CertgrinderdError):
    """The request is refused: asking again will not help."""

    exit_code = 3


class MalformedInput(RequestRefused):
    """The input is invalid: not a CSR, a weak key, a malformed name."""


class NotPermitted(RequestRefused):
    """The request is well formed, but this client may not have it.

    Attributes:
        missing: The names that the nearest domainset lacks, in ASCII form.
        nearest: That domainset's names; empty when no domainset has any of the names.
    """

    def __init__(
        self, message: str, *, missing: tuple[str, ...] = (), nearest: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.missing = missing
        self.nearest = nearest


class WordRefused(RequestRefused):
    """A client's command line has a word that clients may not use."""


class IssuanceError(CertgrinderdError):
    """No certificate was issued: the CA, a challenge, a hook or Certbot failed."""

    exit_code = 4


class HookFailed(IssuanceError):
    """A hook could not be run, failed, or took too long."""


class AcmeError(IssuanceError):
    """The CA refuses (RFC 8555 section 6.7), or its answer is invalid.

    Attributes:
        kind: The type of the problem, without the prefix of those that RFC 8555 defines:
            "rejectedIdentifier"; empty when the CA did not say.
    """

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class UnexpectedChain(IssuanceError):
    """The CA sent something other than a certificate for this request."""


class RevocationError(CertgrinderdError):
    """No revocation status: the certificate or its CA has none, or a responder failed."""

    exit_code = 4


class ResponseInvalid(RevocationError):
    """An OCSP response or CRL is malformed, or its signature is not trusted."""


class ResponseNotCurrent(RevocationError):
    """An OCSP response or CRL is not valid at this time."""


class AddressRefused(RevocationError):
    """A URL points to an address that clients may not make us ask."""


class Temporary(CertgrinderdError):
    """A temporary failure; try again later."""

    exit_code = 5


class LockTimeout(Temporary):
    """Other runs held the lock for longer than `lock-timeout`."""


class Unreachable(Temporary):
    """A server did not answer, or is temporarily unavailable."""


class OutputFailed(Temporary):
    """Standard output could not be written: it is closed, or the disk behind it is full."""


class RateLimited(Unreachable):
    """A server reported a rate limit."""


class Interrupted(BaseException):
    """A signal ended the run, or the client hung up.

    Not an Exception, so that no handler recovers from it.

    Attributes:
        exit_code: 128 plus the number of the signal.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
