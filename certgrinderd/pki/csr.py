"""From the bytes of a request to what it asks for."""

from __future__ import annotations

import ipaddress
import warnings
from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from certgrinderd.errors import MalformedInput
from certgrinderd.pki import extensions, keys, pem
from certgrinderd.pki.names import Identifier, RequestedNames
from certgrinderd.text import cut, printable, quoted

EXPECTED = "a certificate signing request in PEM"

_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
_FROM_DER = "openssl req -inform DER -in FILE -outform PEM"
_VERSION_1 = b"\x02\x01\x00"

# RFC 5280 section 4.1.2.4 wants the first two; CAs read the others in more than one way.
_UTF8_STRING, _PRINTABLE_STRING, _IA5_STRING = 0x0C, 0x13, 0x16


def parse_csr(
    data: bytes, *, key_types: Collection[str] = keys.DEFAULT_TYPES
) -> x509.CertificateSigningRequest:
    """Read exactly one CSR in PEM that a careful CA could sign, whatever its names are.

    It is in DER to the letter, so that nobody reads it in another way; its key and signature are of
    kinds that CAs take; it is signed by its own key (RFC 2986 section 3, note 2); and it asks for
    no extension but the harmless ones, see extensions.require_harmless. Cheap checks come first.
    Its names are not looked at here; see requested_names.

    Args:
        data: What a client sent.
        key_types: The kinds of keys it may have: "rsa", "ecdsa", "ed25519".

    Raises:
        MalformedInput: It is something else; the message says what would be right.
    """
    der = pem.read_block(data, labels=_LABELS, expected=EXPECTED, from_der=_FROM_DER)
    try:
        csr = x509.load_der_x509_csr(der)
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise MalformedInput(
            f"the PEM block holds no valid CSR, or a damaged one: {_reason(error)}"
        ) from error
    key = _public_key(csr)
    keys.require_type(key, key_types)
    keys.require_signature_algorithm(csr.signature_algorithm_oid)
    keys.require_sound(key)
    try:
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedInput(
            f"the signature of the CSR cannot be verified: {_reason(error)}"
        ) from error
    if not valid:
        raise MalformedInput("the CSR is not signed by its own key: make it again with that key")
    _require_plain_encoding(csr, der)
    extensions.require_harmless(csr)
    return csr


def _public_key(csr: x509.CertificateSigningRequest) -> CertificatePublicKeyTypes:
    try:
        return csr.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedInput(
            f"the public key of the CSR cannot be read or is not valid: {_reason(error)}: "
            "make a new one"
        ) from error


def _require_plain_encoding(csr: x509.CertificateSigningRequest, der: bytes) -> None:
    """Require the one encoding of subject and key that all CAs read alike.

    cryptography reads more than they do: a curve spelled out by its parameters, a compressed point
    (RFC 5480 section 2.1.1 and 2.2; baseline requirements, 7.1.3.1).
    """
    subject = _subject(csr).public_bytes()
    key = csr.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    tbs = csr.tbs_certrequest_bytes
    header = 2 if tbs[1] < 0x80 else 2 + (tbs[1] & 0x7F)  # noqa: PLR2004 - X.690 section 8.1.3
    if csr.public_bytes(serialization.Encoding.DER) != der or not tbs[header:].startswith(
        _VERSION_1 + subject
    ):
        raise MalformedInput("the CSR is not in DER: make it again with other software")
    if not tbs[header:].startswith(_VERSION_1 + subject + key):
        raise MalformedInput(
            "the public key of the CSR is encoded in an unusual way, which CAs do not take: make "
            "it again with other software (on a curve: name the curve, do not compress the point)"
        )


def requested_names(csr: x509.CertificateSigningRequest) -> RequestedNames:
    """Return the names that a CSR asks for.

    Args:
        csr: What parse_csr returned.

    Raises:
        MalformedInput: A name is of a kind or form that we do not handle: it must not reach the CA
            unseen.
    """
    return RequestedNames(tuple(_common_names(csr)), tuple(_alternative_names(csr)))


def _subject(csr: x509.CertificateSigningRequest) -> x509.Name:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return csr.subject
    except UserWarning as error:  # RFC 5280 appendix A.1, ub-common-name and the like
        raise MalformedInput(
            "a value in the subject of the CSR is empty or too long: a CN may have 64 characters; "
            "put a shorter one of the names there"
        ) from error
    except (ValueError, TypeError) as error:
        raise MalformedInput(f"the subject of the CSR cannot be read: {_reason(error)}") from error


def _common_names(csr: x509.CertificateSigningRequest) -> list[str]:
    """Return the values of all CNs, in a form that every CA reads alike.

    Anything else in a subject is refused: public CAs vouch for no more than the names, and a
    private one might copy what nobody has checked (an organization that some program takes for a
    group, an email address).
    """
    subject = _subject(csr)
    others = [each for each in subject if each.oid != NameOID.COMMON_NAME]
    if others:
        shown = ", ".join(extensions.named(each.oid) for each in others[:5])
        raise MalformedInput(
            f"the subject of the CSR holds more than a CN: leave out {shown} "
            "(openssl req -new -subj /CN=NAME)"
        )
    values = []
    for attribute in subject:
        value = attribute.value
        if not isinstance(value, str) or not value.isascii():
            raise MalformedInput(_not_ascii(str(value), what="CN"))
        values.append(value)
    if len(values) == 1:
        _require_plain_string(subject.public_bytes(), values[0].encode())
    return values


def _require_plain_string(subject: bytes, value: bytes) -> None:
    """Require that the last string of a subject is of a type whose bytes are its characters."""
    if not any(
        subject.endswith(bytes([tag, len(value)]) + value)
        for tag in (_UTF8_STRING, _PRINTABLE_STRING, _IA5_STRING)
    ):
        raise MalformedInput(
            "the CN is neither a UTF8String nor a PrintableString: make the CSR again with "
            "other software (RFC 5280 section 4.1.2.4)"
        )


def _alternative_names(csr: x509.CertificateSigningRequest) -> list[Identifier]:
    names = []
    for name in extensions.alternative_names(csr):
        if isinstance(name, x509.IPAddress) and isinstance(
            name.value, (ipaddress.IPv4Address, ipaddress.IPv6Address)
        ):
            names.append(Identifier.of_address(name.value))
            continue
        if not isinstance(name, x509.DNSName):
            raise MalformedInput(
                f"the CSR asks for a subject alternative name of the kind {type(name).__name__}: "
                "only host names (DNSName) and IP addresses are possible"
            )
        if not name.value.isascii():
            raise MalformedInput(_not_ascii(name.value, what="name"))
        names.append(Identifier.parse_dns(name.value))
    return names


def _not_ascii(value: str, *, what: str) -> str:
    return f"the {what} {quoted(value)} of the CSR is not ASCII: write it in its xn-- form"


def _reason(error: Exception) -> str:
    return cut(printable(str(error)), longest=200)
