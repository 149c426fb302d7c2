"""What a CSR asks for besides its names: its attributes and the extensions in them."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID

from certgrinderd.errors import MalformedInput
from certgrinderd.text import cut, printable

_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985 section 5.4.2
_MICROSOFT_EXTENSIONS = x509.ObjectIdentifier("1.3.6.1.4.1.311.2.1.14")
_NAMES = {
    AttributeOID.CHALLENGE_PASSWORD: "challengePassword",
    AttributeOID.UNSTRUCTURED_NAME: "unstructuredName",
}

# What a TLS server's certificate may be for (baseline requirements, 7.1.2.7.10).
_USES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
_LIST_SHOWN = 5


def require_harmless(csr: x509.CertificateSigningRequest) -> None:
    """Require that a CSR asks for no more than the certificate of a TLS server.

    ACME CAs make up the extensions by themselves, and heed subjectAltName and TLS feature alone
    (RFC 8555 section 7.4 leaves it to them). A private CA may copy what it finds, so there is a
    list of what may stand in a CSR; anything else is refused, because we can't take it out of what
    the client has signed.

    - subjectAltName: see requested_names.
    - keyUsage: unless it asks for keyCertSign or cRLSign, a CA's powers.
    - extendedKeyUsage: serverAuth and clientAuth.
    - basicConstraints: unless it asks for a CA's certificate.
    - TLS feature: "must staple" (RFC 7633).
    - subjectKeyIdentifier: CAs compute it from the key.

    Raises:
        MalformedInput: There is another one, one twice, or they can't be read.
    """
    _require_one_request(csr)
    for extension in _extensions(csr):
        _require_harmless(extension)


def alternative_names(csr: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    """Return the subject alternative names, of whatever kind.

    Raises:
        MalformedInput: The extensions can't be read.
    """
    for extension in _extensions(csr):
        if isinstance(extension.value, x509.SubjectAlternativeName):
            return list(extension.value)
    return []


def ignored(csr: x509.CertificateSigningRequest) -> list[str]:
    """Name what a CSR holds that no CA heeds; to be logged.

    Args:
        csr: One that passed require_harmless.
    """
    attributes = {each.oid for each in csr.attributes} - {_EXTENSION_REQUEST}
    names = sorted(map(named, attributes))[:_LIST_SHOWN]
    if any(isinstance(each.value, x509.SubjectKeyIdentifier) for each in csr.extensions):
        names.append("subjectKeyIdentifier")
    return names


def named(oid: x509.ObjectIdentifier) -> str:
    """Return an object identifier as people know it, or else its numbers."""
    name = _NAMES.get(oid, oid._name)  # noqa: SLF001 - there is no public way to it
    return cut(oid.dotted_string) if name == "Unknown OID" else name


def _require_one_request(csr: x509.CertificateSigningRequest) -> None:
    """Require that all requested extensions stand where we read them.

    A CA may read a second extensionRequest attribute, or Microsoft's, which the `extensions` of a
    CSR do not show.
    """
    try:
        kinds = [attribute.oid for attribute in csr.attributes]
    except ValueError as error:
        raise MalformedInput(
            f"the attributes of the CSR cannot be read: {cut(printable(str(error)), longest=200)}"
        ) from error
    if _MICROSOFT_EXTENSIONS in kinds or kinds.count(_EXTENSION_REQUEST) > 1:
        raise MalformedInput(
            "the CSR requests extensions in more than one place: put all of them into one "
            "extensionRequest attribute"
        )


def _extensions(csr: x509.CertificateSigningRequest) -> x509.Extensions:
    try:
        return csr.extensions
    except (
        ValueError,
        TypeError,
        KeyError,  # a TLS feature that cryptography does not know
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        reason = "unknown TLS feature" if isinstance(error, KeyError) else str(error)
        raise MalformedInput(
            f"the extensions of the CSR cannot be read: {cut(printable(reason), longest=200)}"
        ) from error


def _require_harmless(extension: x509.Extension[x509.ExtensionType]) -> None:
    value = extension.value
    if isinstance(value, (x509.SubjectAlternativeName, x509.SubjectKeyIdentifier)):
        return
    if isinstance(value, x509.KeyUsage):
        if value.key_cert_sign or value.crl_sign:
            raise MalformedInput(
                "the CSR asks for the key usage of a CA: leave out keyCertSign and cRLSign"
            )
    elif isinstance(value, x509.ExtendedKeyUsage):
        others = [named(use) for use in value if use not in _USES]
        if others:
            raise MalformedInput(
                "the CSR asks for an extended key usage that servers do not have: leave out "
                + ", ".join(others[:_LIST_SHOWN])
            )
    elif isinstance(value, x509.BasicConstraints):
        if value.ca:
            raise MalformedInput(
                "the CSR asks for the certificate of a CA: basicConstraints must say CA:FALSE"
            )
    elif not isinstance(value, x509.TLSFeature):
        raise MalformedInput(
            f"the CSR asks for the extension {named(extension.oid)}, which is not the "
            "requester's to choose: leave it out"
        )
