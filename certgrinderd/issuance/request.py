"""A permitted request, as the engines see it."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certgrinderd.pki.names import Identifier


@dataclass(frozen=True)
class Request:
    """What a client may have.

    Attributes:
        csr: Its CSR.
        names: Each name once, in the order of the CSR.
        replaces: The identifier (RFC 9773 section 4.1) of the certificate that the new one is to
            replace, if the client named one.
    """

    csr: x509.CertificateSigningRequest
    names: tuple[Identifier, ...]
    replaces: str | None = None

    @property
    def csr_pem(self) -> bytes:
        """The CSR in PEM."""
        return self.csr.public_bytes(serialization.Encoding.PEM)

    @property
    def csr_der(self) -> bytes:
        """The CSR in DER."""
        return self.csr.public_bytes(serialization.Encoding.DER)

    @property
    def public_key(self) -> CertificatePublicKeyTypes:
        """The key that the certificate is to be for."""
        return self.csr.public_key()

    @property
    def identifiers(self) -> list[dict[str, str]]:
        """The names as an order has them (RFC 8555 section 7.1.3)."""
        return [{"type": name.kind, "value": name.value} for name in self.names]
