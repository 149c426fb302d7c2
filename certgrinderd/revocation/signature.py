"""The signature of an OCSP response, RSASSA-PSS included, which `cryptography` leaves to us."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponse
from cryptography.x509.oid import SignatureAlgorithmOID

from certgrinderd.pki import der
from certgrinderd.pki.signatures import is_signature_valid
from certgrinderd.revocation.status import require_strong

_MGF1 = bytes.fromhex("2a864886f70d010108")  # 1.2.840.113549.1.1.8
_SHA2 = bytes.fromhex("6086480165030402")  # 2.16.840.1.101.3.4.2
_HASHES: dict[bytes, hashes.HashAlgorithm] = {
    _SHA2 + b"\x01": hashes.SHA256(),
    _SHA2 + b"\x02": hashes.SHA384(),
    _SHA2 + b"\x03": hashes.SHA512(),
    _SHA2 + b"\x04": hashes.SHA224(),
}


# Which keys an algorithm is for. With another one the signature could be right under two readings.
_KEYS: dict[x509.ObjectIdentifier, type[CertificatePublicKeyTypes]] = {
    **dict.fromkeys(
        (
            SignatureAlgorithmOID.RSA_WITH_SHA224,
            SignatureAlgorithmOID.RSA_WITH_SHA256,
            SignatureAlgorithmOID.RSA_WITH_SHA384,
            SignatureAlgorithmOID.RSA_WITH_SHA512,
            SignatureAlgorithmOID.RSASSA_PSS,
        ),
        rsa.RSAPublicKey,
    ),
    **dict.fromkeys(
        (
            SignatureAlgorithmOID.ECDSA_WITH_SHA224,
            SignatureAlgorithmOID.ECDSA_WITH_SHA256,
            SignatureAlgorithmOID.ECDSA_WITH_SHA384,
            SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        ),
        ec.EllipticCurvePublicKey,
    ),
    SignatureAlgorithmOID.ED25519: ed25519.Ed25519PublicKey,
    SignatureAlgorithmOID.ED448: ed448.Ed448PublicKey,
}


def is_signed_by(response: OCSPResponse, key: CertificatePublicKeyTypes) -> bool:
    """Whether a key made the signature of a response, by an algorithm that is for such keys.

    `cryptography` looks at that for certificates and CRLs, and leaves it to us here.

    Raises:
        ResponseInvalid: It is one by means of SHA-1 or MD5.
        ValueError: The algorithm can't be read.
        UnsupportedAlgorithm: The algorithm is not known.
    """
    algorithm: hashes.HashAlgorithm | None
    if response.signature_algorithm_oid == SignatureAlgorithmOID.RSASSA_PSS:
        algorithm, pss = _pss(_algorithm_parameters(response))
    else:
        algorithm, pss = response.signature_hash_algorithm, None
    require_strong(algorithm)
    kind = _KEYS.get(response.signature_algorithm_oid)
    if kind is None or not isinstance(key, kind):
        return False
    return is_signature_valid(key, response.signature, response.tbs_response_bytes, algorithm, pss)


def _algorithm_parameters(response: OCSPResponse) -> bytes:
    """The parameters in the AlgorithmIdentifier of a BasicOCSPResponse (RFC 6960 section 4.2.1)."""
    whole = der.single(response.public_bytes(Encoding.DER), der.SEQUENCE)
    _status, (_, response_bytes) = der.elements(whole)
    _kind, (_, basic) = der.elements(der.single(response_bytes, der.SEQUENCE))
    _data, (_, algorithm), *_rest = der.elements(der.single(basic, der.SEQUENCE))
    _oid, (_, parameters) = der.elements(algorithm)
    return parameters


def _pss(parameters: bytes) -> tuple[hashes.HashAlgorithm, padding.PSS]:
    """Hash and padding of RSASSA-PSS-params (RFC 4055 section 3.1).

    What is not there has SHA-1 for its default.
    """
    fields = dict(der.elements(parameters))
    algorithm = _hash(fields.get(der.context(0)))
    mask_hash: hashes.HashAlgorithm = hashes.SHA1()  # noqa: S303 - the default, refused by the caller
    if der.context(1) in fields:
        mask = der.single(fields[der.context(1)], der.SEQUENCE)
        (_, function), (_, mask_algorithm) = der.elements(mask)
        if function != _MGF1:
            raise ValueError("RSASSA-PSS with another mask generation function than MGF1")
        mask_hash = _hash_named(mask_algorithm)
    require_strong(mask_hash)
    salt = 20
    if der.context(2) in fields:
        salt = int.from_bytes(der.single(fields[der.context(2)], der.INTEGER), "big")
    return algorithm, padding.PSS(padding.MGF1(mask_hash), salt)


def _hash(identifier: bytes | None) -> hashes.HashAlgorithm:
    if identifier is None:
        return hashes.SHA1()  # noqa: S303 - the default, refused by the caller
    return _hash_named(der.single(identifier, der.SEQUENCE))


def _hash_named(identifier: bytes) -> hashes.HashAlgorithm:
    """The hash of an AlgorithmIdentifier's content."""
    (_, name), *_parameters = der.elements(identifier)
    if name not in _HASHES:
        raise ValueError("RSASSA-PSS with another hash than SHA-2")
    return _HASHES[name]
