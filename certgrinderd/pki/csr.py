"""From the bytes of a request to what it asks for."""

from __future__ import annotations

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from certgrinderd.errors import MalformedInput
from certgrinderd.pki.names import DnsName, RequestedNames

EXPECTED = "a certificate signing request in PEM"

# RFC 7468 section 2. Labels are those of real blocks; the text around blocks may be anything.
_BEGIN = re.compile(rb"-----BEGIN ([!-~]+(?: [!-~]+)*)-----")
_BLOCK = re.compile(
    rb"-----BEGIN ((?:NEW )?CERTIFICATE REQUEST)-----\s*([A-Za-z0-9+/=\s]*)-----END \1-----"
)
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 section 5.4.2
_MICROSOFT_EXTENSIONS = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")


def parse_csr(data: bytes) -> x509.CertificateSigningRequest:
    """Read exactly one CSR in PEM and verify its own signature (RFC 2986 section 3, note 2).

    Text around it and CRLF line ends are tolerated. What it asks for is not looked at here; see
    requested_names.

    Args:
        data: What a client sent.

    Raises:
        MalformedInput: It is something else; the message says what would be right.
    """
    try:
        csr = x509.load_der_x509_csr(_csr_der(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MalformedInput(f"the PEM block holds no valid CSR: {error}") from error
    try:
        valid = csr.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedInput(f"the signature of the CSR cannot be verified: {error}") from error
    if not valid:
        raise MalformedInput("the CSR is not signed by its own key")
    return csr


def _csr_der(data: bytes) -> bytes:
    labels = _BEGIN.findall(data)
    if any(b"PRIVATE KEY" in label for label in labels):
        raise MalformedInput(
            "the input holds a PRIVATE KEY, which should never leave its machine: "
            "make a new key, and send the CSR alone"
        )
    if not data.strip():
        raise MalformedInput(f"the input is empty: expected {EXPECTED}")
    if not labels and data.startswith(b"\x30"):
        raise MalformedInput(
            f"the input looks like DER: expected {EXPECTED} "
            "(openssl req -inform DER -in FILE -outform PEM converts it)"
        )
    blocks = _BLOCK.findall(data)
    if len(labels) != 1 or len(blocks) != 1:
        found = ", ".join(label.decode("ascii") for label in labels[:3]) or "no PEM block"
        if blocks or labels in ([b"CERTIFICATE REQUEST"], [b"NEW CERTIFICATE REQUEST"]):
            found += " that is not whole" if len(labels) == 1 else ""
        raise MalformedInput(f"expected {EXPECTED} and no other block; found {found}")
    try:
        return base64.b64decode(b"".join(blocks[0][1].split()), validate=True)
    except binascii.Error as error:
        raise MalformedInput(f"the PEM block is not base64: {error}") from error


def requested_names(csr: x509.CertificateSigningRequest) -> RequestedNames:
    """Return the names that a CSR asks for.

    Raises:
        MalformedInput: An attribute or extension can't be read, or a name is of a kind or form
            that we do not handle: it must not reach the CA unseen.
    """
    common_names = [
        attribute.value if isinstance(attribute.value, str) else repr(attribute.value)
        for attribute in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    return RequestedNames(tuple(common_names), tuple(_alternative_names(csr)))


def _alternative_names(csr: x509.CertificateSigningRequest) -> list[DnsName]:
    require_one_extension_request(csr)
    try:
        extension = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise MalformedInput(f"the extensions of the CSR cannot be read: {error}") from error
    names = []
    for name in extension.value:
        if not isinstance(name, x509.DNSName):
            raise MalformedInput(
                f"the CSR asks for a subject alternative name of the kind {type(name).__name__}: "
                "only host names (DNSName) are possible"
            )
        names.append(DnsName.parse(name.value))
    return names


def require_one_extension_request(csr: x509.CertificateSigningRequest) -> None:
    """Require that all requested extensions stand where we read them.

    A CA may read a second extensionRequest attribute, or Microsoft's, which the `extensions` of a
    CSR do not show.

    Raises:
        MalformedInput: There is another one, or attributes can't be read.
    """
    try:
        kinds = [attribute.oid for attribute in csr.attributes]
    except ValueError as error:
        raise MalformedInput(f"the attributes of the CSR cannot be read: {error}") from error
    if _MICROSOFT_EXTENSIONS in kinds or kinds.count(_EXTENSION_REQUEST) > 1:
        raise MalformedInput("the CSR requests extensions in more than one way")
