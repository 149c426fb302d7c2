"""What an OCSP response or a CRL says about one certificate, and until when it says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from certgrinderd.errors import ResponseInvalid, ResponseNotCurrent
from certgrinderd.pki.certificates import CLOCK_TOLERANCE

_SHORTEST_TRUSTED_DIGEST = 28


Kind = Literal["good", "revoked", "unknown"]


@dataclass(frozen=True)
class Status:
    """What was said, by somebody who may say it.

    Attributes:
        kind: "unknown" is an OCSP responder's word for a certificate that it does not know.
        this_update: When this was right; aware, UTC.
        next_update: When there will be newer information; aware, UTC.
        revoked_at: Since when it is revoked; None unless it is.
        reason: Why, in the words of RFC 5280 section 5.3.1; None when nobody said.
    """

    kind: Kind
    this_update: datetime
    next_update: datetime
    revoked_at: datetime | None = None
    reason: str | None = None

    @property
    def half_time(self) -> datetime:
        """When half of the validity is over."""
        return self.this_update + (self.next_update - self.this_update) / 2

    def __str__(self) -> str:
        said = str(self.kind)
        if self.revoked_at is not None:
            said += f" since {_shown(self.revoked_at)}"
        if self.reason is not None:
            said += f" ({self.reason})"
        return f"{said}, as of {_shown(self.this_update)}, valid until {_shown(self.next_update)}"


def require_current(this_update: datetime, next_update: datetime | None, *, now: datetime) -> None:
    """Require that what was said holds now.

    Args:
        this_update: From the response or CRL, aware, UTC; like next_update.
        next_update: Required (RFC 5019 section 4, RFC 5280 section 5.1.2.5): without it an old
            answer would be good for ever.
        now: Aware, UTC.

    Raises:
        ResponseNotCurrent: It does not; 5 minutes of difference between the clocks are tolerated.
    """
    if this_update > now + CLOCK_TOLERANCE:
        raise ResponseNotCurrent(
            f"its thisUpdate {_shown(this_update)} is in the future: the time here is {_shown(now)}"
        )
    if next_update is None:
        raise ResponseNotCurrent("it has no nextUpdate, so nothing says how long it is valid")
    if next_update < this_update:
        raise ResponseNotCurrent("its nextUpdate comes before its thisUpdate")
    if next_update < now - CLOCK_TOLERANCE:
        raise ResponseNotCurrent(
            f"it was valid until {_shown(next_update)}: the time here is {_shown(now)}"
        )


def require_strong(algorithm: hashes.HashAlgorithm | None, *, what: str = "it") -> None:
    """Require that a signature's hash can't be made to collide: no MD5, no SHA-1.

    Args:
        algorithm: None for Ed25519 and Ed448, which bring their own.
        what: What is signed, for the message.

    Raises:
        ResponseInvalid: It can.
    """
    if algorithm is not None and algorithm.digest_size < _SHORTEST_TRUSTED_DIGEST:
        raise ResponseInvalid(
            f"{what} is signed with {algorithm.name.upper()}, which is too weak: "
            "expected SHA-256 or better"
        )


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn the errors of a parser into ours; `cryptography` parses some fields late.

    Raises:
        ResponseInvalid: Something can't be read.
    """
    try:
        yield
    except (
        ValueError,
        TypeError,
        KeyError,  # a TLS feature that cryptography does not know
        OverflowError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise ResponseInvalid(f"{what} cannot be read: {error}") from error


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
