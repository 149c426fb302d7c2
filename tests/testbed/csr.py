"""Certificate signing requests, as a client would make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_LONGEST_COMMON_NAME = 64


@dataclass(frozen=True)
class Request:
    """A CSR and the key it was signed with."""

    csr: x509.CertificateSigningRequest
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The CSR as a client sends it."""
        return self.csr.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The CSR's plain bytes."""
        return self.csr.public_bytes(serialization.Encoding.DER)


def make_csr(
    names: Sequence[str | x509.GeneralName],
    *,
    key: Literal["ecdsa", "rsa"] | PrivateKey = "ecdsa",
    common_names: Sequence[str] | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Request:
    """Make a signed CSR.

    Args:
        names: The subject alternative names; a string is a dNSName, in ASCII form. None given, no
            extension.
        key: The kind of a new key (P-256, RSA 2048), or the key to use.
        common_names: By default the first name, when it fits.
        extensions: More requested extensions, not critical.
    """
    general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
    if common_names is None:
        texts = [name for name in names if isinstance(name, str)]
        common_names = [name for name in texts[:1] if len(name) <= _LONGEST_COMMON_NAME]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    private_key = _new_key(key) if isinstance(key, str) else key
    return Request(builder.sign(private_key, hashes.SHA256()), private_key)


def _new_key(kind: Literal["ecdsa", "rsa"]) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())
