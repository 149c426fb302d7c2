"""The documented methods of Certgrinderd that read CSRs, certificates and signatures."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NoReturn

from certgrinderd.config import Settings
from certgrinderd.errors import CertgrinderdError
from certgrinderd.system.given import read_given

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

logger = logging.getLogger(__name__)


class PkiMethods:
    """They need no configuration, and answer as documented: False, or the end of the process."""

    @staticmethod
    def parse_csr(csrstring: str = "") -> x509.CertificateSigningRequest:
        """Read a CSR.

        Args:
            csrstring: The CSR in PEM; taken from standard input if it is empty.

        Raises:
            SystemExit: With status 1, when it is none.
        """
        from certgrinderd.pki import csr

        try:
            data = csrstring.encode() or read_given(None, Settings(), named="", what=csr.EXPECTED)
            return csr.parse_csr(data)
        except CertgrinderdError as error:
            PkiMethods._exit(error)

    @staticmethod
    def check_csr(csr: x509.CertificateSigningRequest) -> bool:
        """Whether a CSR is well formed, and CERTGRINDERD_DOMAINSETS permits its names.

        Args:
            csr: The CSR.
        """
        from certgrinderd import policy
        from certgrinderd.pki.csr import requested_names

        try:
            domainsets = policy.parse_domainsets(os.environ.get(policy.DOMAINSETS_VARIABLE, ""))
            policy.require_permitted(requested_names(csr), domainsets)
        except CertgrinderdError as error:
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback
            return False
        return True

    @staticmethod
    def save_csr(csr: x509.CertificateSigningRequest, path: str) -> None:
        """Write a CSR in PEM to a file that only its owner can read, in place of what was there.

        Args:
            csr: The CSR.
            path: The path of the file.
        """
        from pathlib import Path

        from cryptography.hazmat.primitives import serialization

        from certgrinderd.system.files import write_private

        Path(path).unlink(missing_ok=True)
        write_private(Path(path), csr.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def split_pem_chain(pem_chain_bytes: bytes) -> list[bytes]:
        """Split a PEM text into its certificates.

        Args:
            pem_chain_bytes: The whole text.

        Returns:
            A PEM block for each certificate, in their order; none if there is none.
        """
        from certgrinderd.pki.certificates import split_pem

        return split_pem(pem_chain_bytes)

    @classmethod
    def parse_certificate(cls, certificate_bytes: bytes) -> x509.Certificate:
        """Read one certificate.

        Args:
            certificate_bytes: The certificate in PEM.

        Raises:
            SystemExit: With status 1, when it is none.
        """
        from certgrinderd.pki import certificates

        try:
            return certificates.parse_certificate(certificate_bytes)
        except CertgrinderdError as error:
            cls._exit(error)

    @classmethod
    def parse_certificate_chain(
        cls, certpath: str | None, expected_length: int | None = None
    ) -> list[x509.Certificate]:
        """Read a certificate chain.

        Args:
            certpath: The path of the PEM file; standard input if it is None.
            expected_length: How many certificates there must be; any number if it is None.

        Raises:
            SystemExit: With status 1, when it is none, or one of another length.
        """
        from certgrinderd.errors import MalformedInput
        from certgrinderd.pki import certificates

        try:
            data = read_given(
                certpath, Settings(), named="certificate-file", what=certificates.EXPECTED
            )
            chain = certificates.parse_chain(data)
            if expected_length is not None and len(chain) != expected_length:
                raise MalformedInput(
                    f"expected a chain of {expected_length} certificates, not of {len(chain)}"
                )
        except CertgrinderdError as error:
            cls._exit(error)
        return chain

    @staticmethod
    def verify_signature(
        pubkey: CertificatePublicKeyTypes,
        signature: bytes,
        payload: bytes,
        hashalgo: hashes.HashAlgorithm,
    ) -> bool:
        """Whether a signature on a payload is right.

        Args:
            pubkey: An RSA (PKCS #1 v1.5), elliptic curve, Ed25519 or Ed448 key.
            signature: The signature.
            payload: What was signed.
            hashalgo: The hash algorithm of the signature; the Edwards curves bring their own.
        """
        from certgrinderd.pki.signatures import is_signature_valid

        return is_signature_valid(pubkey, signature, payload, hashalgo)

    @staticmethod
    def _exit(error: CertgrinderdError) -> NoReturn:
        logger.error("%s", error)
        raise SystemExit(1) from error
