"""PEM chains in and out, and whether a chain is what was asked for."""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.utils import CryptographyDeprecationWarning

from certgrinderd.errors import MalformedInput, UnexpectedChain
from certgrinderd.pki.names import Identifier, MalformedName
from certgrinderd.pki.pem import require_no_private_key
from certgrinderd.text import cut, printable

EXPECTED = "a certificate chain in PEM, the leaf first"

# How far our clock and the CA's may be apart.
CLOCK_TOLERANCE = timedelta(minutes=5)

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


def split_pem(data: bytes) -> list[bytes]:
    """Return each PEM block labelled CERTIFICATE, with a newline; other text is dropped."""
    return [block + b"\n" for block in _BLOCK.findall(data)]


def parse_certificate(pem: bytes) -> x509.Certificate:
    """Read one certificate in PEM, so far that all its parts but the extensions can be read.

    Raises:
        MalformedInput: It is none.
    """
    try:
        with warnings.catch_warnings():
            # Of a serial number that is 0 or negative; who asks us can't do anything about it.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_pem_x509_certificate(pem)
            serial = certificate.serial_number
        # These are read when they are asked for, which is too late for an error.
        certificate.public_key()
        _ = certificate.subject, certificate.issuer
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        reason = cut(printable(str(error)), longest=200)
        raise MalformedInput(f"a PEM block holds no valid certificate: {reason}") from error
    if serial < 0:
        raise MalformedInput("a PEM block holds no valid certificate: a negative serial number")
    return certificate


def parse_chain(data: bytes) -> list[x509.Certificate]:
    """Read all certificates of a PEM text, in their order.

    Raises:
        MalformedInput: There is none, one that can't be read, or a private key.
    """
    require_no_private_key(data, expected=EXPECTED)
    blocks = split_pem(data)
    if not blocks:
        found = "nothing" if not data.strip() else "no PEM block labelled CERTIFICATE"
        raise MalformedInput(f"expected {EXPECTED}; found {found}")
    return [parse_certificate(block) for block in blocks]


def label_of_chain(data: bytes) -> str:
    """Name a chain by the serial number of its leaf, for messages; also one that can't be read."""
    try:
        serial = parse_chain(data)[0].serial_number
    except MalformedInput:
        return "a certificate chain"
    return f"the chain of the certificate with the serial number {serial:x}"


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the subject alternative names, of whatever kind.

    Raises:
        ValueError: The extensions can't be read.
    """
    for extension in extensions_of(certificate):
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return list(extension.value)
    return []


def extensions_of(certificate: x509.Certificate) -> x509.Extensions:
    """Return all extensions.

    Raises:
        ValueError: They can't be read.
    """
    try:
        return certificate.extensions
    except KeyError as error:
        raise ValueError("unknown TLS feature") from error
    except (TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from error


def host_names_of(certificate: x509.Certificate) -> list[Identifier]:
    """Return the names that a certificate is for; a CN next to them is not looked at.

    Raises:
        MalformedInput: It has names of another kind, or some that can't be read.
    """
    try:
        names = names_of(certificate)
    except ValueError as error:
        raise MalformedInput(f"the certificate's names cannot be read: {error}") from error
    found = []
    for name in names:
        known = _name(name)
        if known is None:
            raise MalformedInput(
                f"the certificate has a name of the kind {type(name).__name__}: expected host "
                "names (DNSName) and IP addresses alone"
            )
        found.append(known)
    return found


def is_signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's name and key are those that signed the certificate.

    Dates, key usage and constraints of the issuer are not looked at.
    """
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def find_issuer(chain: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the certificate whose key signed the leaf.

    Args:
        chain: The leaf first, the others in any order.

    Raises:
        MalformedInput: It is not there.
    """
    leaf, *others = chain
    for candidate in others:
        if is_signed_by(leaf, candidate):
            return candidate
    namesake = any(candidate.subject == leaf.issuer for candidate in others)
    raise MalformedInput(
        f"the certificate of the issuer, {leaf.issuer.rfc4514_string()!r}, is missing"
        + (" (one of that name is there, but it did not sign the leaf)" if namesake else "")
        + ": send the whole chain, the leaf first"
    )


def require_chain_for(
    chain: Sequence[x509.Certificate],
    *,
    public_key: CertificatePublicKeyTypes,
    names: Sequence[Identifier],
    now: datetime,
) -> None:
    """Require that a CA's answer is the certificate that was asked for.

    Its length is left to the CA. That the last certificate leads to a root somebody trusts is left
    to those who use it.

    Args:
        chain: The leaf first.
        public_key: Of the CSR.
        names: Of the CSR.
        now: Aware, UTC.

    Raises:
        UnexpectedChain: The leaf is for another key, has other names, or is not valid now; or a
            certificate is not signed by the next.
    """
    if not chain:
        raise UnexpectedChain("the CA's answer holds no certificate")
    leaf = chain[0]
    if spki(leaf.public_key()) != spki(public_key):
        raise UnexpectedChain("the CA's certificate is for another key than the request's")
    _require_names(leaf, names)
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not first - CLOCK_TOLERANCE <= now <= last:
        raise UnexpectedChain(
            f"the CA's certificate is valid from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} "
            f"UTC, and here it is {now:%Y-%m-%d %H:%M}: is this machine's clock right?"
        )
    for number, (certificate, issuer) in enumerate(pairwise(chain), start=1):
        if not is_signed_by(certificate, issuer):
            raise UnexpectedChain(
                f"in the CA's chain, certificate {number} is not signed by certificate {number + 1}"
            )


def _require_names(leaf: x509.Certificate, names: Sequence[Identifier]) -> None:
    try:
        found = names_of(leaf)
        known = [name for name in map(_name, found) if name is not None]
    except (ValueError, MalformedName) as error:
        raise UnexpectedChain(
            f"the CA's certificate has names that can't be read: {error}"
        ) from error
    others = [type(name).__name__ for name in found if _name(name) is None]
    if set(known) != set(names) or others:
        shown = ", ".join([*sorted(map(str, set(known))), *others]) or "no names"
        raise UnexpectedChain(
            f"the CA's certificate is for {shown}, which is not what was requested"
        )


def _name(name: x509.GeneralName) -> Identifier | None:
    """A name as we handle it, or None for one of another kind.

    Raises:
        MalformedName: It is a domain name, and not a valid one.
    """
    if isinstance(name, x509.DNSName):
        return Identifier.parse_dns(name.value)
    if isinstance(name, x509.IPAddress) and isinstance(
        name.value, (ipaddress.IPv4Address, ipaddress.IPv6Address)
    ):
        return Identifier.of_address(name.value)
    return None


def spki(key: CertificatePublicKeyTypes) -> bytes:
    """Return the SubjectPublicKeyInfo in DER: equal for equal keys."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
