"""Everything that can go wrong, and the exit status that it ends in.

The message of each error is one line for the person who reads the log: the thing, what was expected
and what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import ClassVar


class CertgrinderdError(Exception):
    """Anything that certgrinderd foresees; each type has its exit status."""

    exit_code: ClassVar[int] = 1


class UsageError(CertgrinderdError):
    """The command line does not say what to do; whoever typed it can mend it."""

    exit_code = 2


class ConfigurationError(CertgrinderdError):
    """A setting, or what it points at, can't work; the admin can mend it."""

    exit_code = 2


class RequestRefused(CertgrinderdError):
    """The request itself is refused: asking again will not help."""

    exit_code = 3


class MalformedInput(RequestRefused):
    """What came in is not what it should be: no CSR, a weak key, a name that is none."""


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
    """A client's command line holds something that clients may not say."""


class IssuanceError(CertgrinderdError):
    """There is no certificate: the CA, a challenge or a program on the way failed."""

    exit_code = 4


class HookFailed(IssuanceError):
    """A hook could not be run, failed, or took too long."""


class AcmeError(IssuanceError):
    """The CA says no (RFC 8555 section 6.7), or something that makes no sense.

    Attributes:
        kind: The type of the problem, without the prefix of those that RFC 8555 defines:
            "rejectedIdentifier"; empty when the CA did not say.
    """

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class UnexpectedChain(IssuanceError):
    """What the CA sent is not a certificate for this request."""


class RevocationError(CertgrinderdError):
    """There is no revocation status: the certificate, its CA or a responder lacks something."""

    exit_code = 4


class ResponseInvalid(RevocationError):
    """An OCSP response or CRL is not what it should be, or its signature is not to be trusted."""


class ResponseNotCurrent(RevocationError):
    """An OCSP response or CRL is for another time than now."""


class AddressRefused(RevocationError):
    """A URL leads to where we make no requests for clients."""


class Temporary(CertgrinderdError):
    """A temporary failure: try again later."""

    exit_code = 5


class LockTimeout(Temporary):
    """Others were at it for longer than `lock-timeout`."""


class Unreachable(Temporary):
    """A server did not answer, or said that it can't just now."""


class RateLimited(Unreachable):
    """A server said that we asked too often."""


class Interrupted(BaseException):
    """A signal asked us to end, or the client hung up.

    Not an Exception, so that nothing on the way out takes it for an error to recover from.

    Attributes:
        exit_code: 128 plus the number of the signal.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
