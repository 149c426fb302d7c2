"""Signatures by the keys that certificates have."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


def is_signature_valid(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    payload: bytes,
    algorithm: hashes.HashAlgorithm | None,
    pss: padding.PSS | None = None,
) -> bool:
    """Whether a signature on a payload is right.

    Args:
        key: RSA, elliptic curve, Ed25519 or Ed448; other kinds are never right.
        signature: The signature.
        payload: What was signed.
        algorithm: The hash algorithm; None for the Edwards curves, which bring their own.
        pss: The padding of an RSA key's signature; None for PKCS #1 v1.5.
    """
    try:
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            key.verify(signature, payload)
        elif algorithm is None:
            return False
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, payload, pss or padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, payload, ec.ECDSA(algorithm))
        else:
            return False
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True
