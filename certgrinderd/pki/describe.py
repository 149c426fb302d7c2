"""Text for people about a CSR or a certificate."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import AuthorityInformationAccessOID as AccessMethod

from certgrinderd.errors import MalformedInput, NotPermitted
from certgrinderd.pki.certificates import extensions_of, is_signed_by, names_of
from certgrinderd.pki.names import Identifier
from certgrinderd.text import printable

_WIDTH = 22


def csr(request: x509.CertificateSigningRequest) -> str:
    """Describe a CSR: subject, names, key, signature and fingerprints."""
    der = request.public_bytes(serialization.Encoding.DER)
    rows = [
        ("Subject", request.subject.rfc4514_string() or "(empty)"),
        *(("Name", name) for name in _names(request)),
        *_key_rows(request.public_key()),
        ("Signature algorithm", _signature(request)),
        ("SHA-256 fingerprint", _fingerprint(der)),
    ]
    return _table(rows)


def permission(permitted: Iterable[Identifier]) -> str:
    """Say that a client may have it, and by which domainset."""
    names = ",".join(sorted(map(str, permitted)))
    return _table([("This client may have it", f"yes, by the domainset {names}")])


def refusal(error: NotPermitted) -> str:
    """Say that a client may not have it, and what is missing in which domainset."""
    rows = [("This client may have it", f"no, {error}")]
    if error.nearest:
        rows.append(("Nearest domainset", ",".join(error.nearest)))
    rows.append(("Names missing there", ",".join(error.missing)))
    return _table(rows)


def chain(certificates: Sequence[x509.Certificate], *, now: datetime) -> str:
    """Describe each certificate of a chain, and whether the next one signed it.

    Args:
        certificates: The leaf first.
        now: Aware, UTC; for the days left.
    """
    parts = []
    for number, certificate in enumerate(certificates, start=1):
        issuer = certificates[number] if number < len(certificates) else None
        rows = [
            *_certificate_rows(certificate, now=now),
            ("Signed by", _signer(certificate, issuer, number=number + 1)),
        ]
        parts.append(f"Certificate {number} of {len(certificates)}\n{_table(rows)}")
    return "\n".join(parts)


def revocation(answers: Iterable[tuple[str, str]]) -> str:
    """Say what the CA says about the leaf.

    Args:
        answers: How it was asked, "OCSP" or "CRL", and what it said.
    """
    return f"Revocation of certificate 1\n{_table(answers)}"


def _certificate_rows(certificate: x509.Certificate, *, now: datetime) -> Iterator[tuple[str, str]]:
    yield "Subject", certificate.subject.rfc4514_string() or "(empty)"
    for name in _names(certificate):
        yield "Name", name
    yield from _key_rows(certificate.public_key())
    yield "Serial number", f"{certificate.serial_number:x}"
    yield "Issuer", certificate.issuer.rfc4514_string() or "(empty)"
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    yield "Valid from", f"{first:%Y-%m-%d %H:%M:%S} UTC" + (" (not yet)" if now < first else "")
    days = (last - now).days
    left = f"{days} days left" if now <= last else "expired"
    yield "Valid until", f"{last:%Y-%m-%d %H:%M:%S} UTC ({left})"
    yield "Signature algorithm", _signature(certificate)
    yield "SHA-256 fingerprint", _fingerprint(certificate.public_bytes(serialization.Encoding.DER))
    yield from _places(certificate)


def _signer(certificate: x509.Certificate, issuer: x509.Certificate | None, *, number: int) -> str:
    if issuer is not None:
        if is_signed_by(certificate, issuer):
            return f"certificate {number}"
        return f"NOT by certificate {number}: the chain is out of order or broken"
    if certificate.subject == certificate.issuer and is_signed_by(certificate, certificate):
        return "itself: a root"
    return "a certificate that is not here"


def _names(holder: x509.Certificate | x509.CertificateSigningRequest) -> list[str]:
    try:
        if isinstance(holder, x509.Certificate):
            names = names_of(holder)
        else:
            found = holder.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            names = list(found.value)
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        return [f"(cannot be read: {error})"]
    return [_general_name(name) for name in names]


def _general_name(name: x509.GeneralName) -> str:
    if not isinstance(name, x509.DNSName):
        return f"{type(name).__name__}: {name.value}"
    try:
        return Identifier.parse_dns(name.value).for_people
    except MalformedInput as error:
        return f"{name.value!r} ({error})"


def _key_rows(key: CertificatePublicKeyTypes) -> list[tuple[str, str]]:
    spki = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pin = base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")
    return [("Key", _key(key)), ("SPKI pin (SHA-256)", pin)]


def _key(key: CertificatePublicKeyTypes) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA, {key.curve.name}"
    names = {
        ed25519.Ed25519PublicKey: "Ed25519",
        ed448.Ed448PublicKey: "Ed448",
        dsa.DSAPublicKey: "DSA",
    }
    return next((name for kind, name in names.items() if isinstance(key, kind)), "of another kind")


def _signature(holder: x509.Certificate | x509.CertificateSigningRequest) -> str:
    name = holder.signature_algorithm_oid._name  # noqa: SLF001 - there is no public way to it
    return holder.signature_algorithm_oid.dotted_string if name == "Unknown OID" else name


def _fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).digest().hex(":").upper()


def _places(certificate: x509.Certificate) -> Iterator[tuple[str, str]]:
    """Where the issuer's certificate, OCSP responses and CRLs are (RFC 5280 section 4.2.2.1)."""
    try:
        extensions = extensions_of(certificate)
    except ValueError as error:
        yield "Extensions", f"(cannot be read: {error})"
        return
    for extension in extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            kinds = {AccessMethod.OCSP: "OCSP", AccessMethod.CA_ISSUERS: "Issuer's certificate"}
            for access in extension.value:
                kind = kinds.get(access.access_method)
                if kind:
                    yield kind, str(access.access_location.value)
        if isinstance(extension.value, x509.CRLDistributionPoints):
            for point in extension.value:
                for name in point.full_name or ():
                    yield "CRL", str(name.value)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{f'{name}:':<{_WIDTH + 2}} {printable(text)}\n" for name, text in rows)
