"""Is a public key one that a CA may certify?

The baseline requirements of the CA/Browser Forum say what CAs must refuse: 6.1.1.3 (keys that are
known to be weak), 6.1.5 (sizes) and 6.1.6 (parameters). Each check here takes milliseconds at most.
Left to the CA: keys of Debian's flawed OpenSSL of 2008 and other keys that leaked, for they are
known by lists of many megabytes; and whether a modulus is the product of exactly two primes.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import SignatureAlgorithmOID

from certgrinderd.errors import MalformedInput
from certgrinderd.text import cut

# What public CAs sign; Ed25519 is for an admin whose CA signs it.
DEFAULT_TYPES = ("rsa", "ecdsa")

SMALLEST_RSA = 2048
LARGEST_RSA = 8192
# More than this OpenSSL does not verify with a modulus of over 3,072 bits; CAs written in Go stop
# at 31 bits.
_LONGEST_EXPONENT = 64
CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}

_TYPES = {
    rsa.RSAPublicKey: "RSA",
    ec.EllipticCurvePublicKey: "ECDSA",
    ed25519.Ed25519PublicKey: "Ed25519",
    ed448.Ed448PublicKey: "Ed448",
    dsa.DSAPublicKey: "DSA",
}
_SIGNATURES = {
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    SignatureAlgorithmOID.ED25519,
}

# 6.1.6, by way of NIST SP 800-89 section 5.3.3: no factor smaller than 752.
_SMALL_PRIMES = [n for n in range(3, 752, 2) if all(n % d for d in range(3, 28, 2) if d < n)]
_PRIMORIAL = math.prod(_SMALL_PRIMES)

_FERMAT_ROUNDS = 100

# CVE-2017-15361: the library's primes are k * M + (65537 ** a mod M), M the product of the first
# primes, 39 of them at least. So the modulus is a power of 65537 modulo each of these primes; of
# other moduli one in 2 ** 60 or so is (Nemec et al., The Return of Coppersmith's Attack, 2017).
_ROCA_POWERS = {
    prime: {pow(65537, exponent, prime) for exponent in range(prime)}
    for prime in _SMALL_PRIMES
    if prime <= 167  # noqa: PLR2004 - the 39th prime
}


def require_type(key: CertificatePublicKeyTypes, permitted: Collection[str]) -> None:
    """Require that a key is of a permitted type.

    Args:
        key: The key.
        permitted: Of "rsa", "ecdsa" and "ed25519".

    Raises:
        MalformedInput: It is not.
    """
    name = next((name for kind, name in _TYPES.items() if isinstance(key, kind)), "unknown")
    if name.lower() in permitted:
        return
    reason = "this server does not permit" if name.lower() in DEFAULT_TYPES else "public CAs refuse"
    possible = " or ".join(each for each in _TYPES.values() if each.lower() in permitted)
    raise MalformedInput(f"the CSR has a key of the type {name}, which {reason}: use {possible}")


def require_signature_algorithm(oid: x509.ObjectIdentifier) -> None:
    """Require that a CSR is signed with SHA-2, by an algorithm that public CAs verify.

    Raises:
        MalformedInput: It is signed with SHA-1, MD5, RSASSA-PSS or something else.
    """
    if oid not in _SIGNATURES:
        name = oid._name  # noqa: SLF001 - there is no public way to it
        shown = cut(oid.dotted_string) if name == "Unknown OID" else name
        raise MalformedInput(
            f"the CSR is signed by {shown}, which CAs do not take: "
            "sign it with SHA-256 (openssl req -new -sha256)"
        )


def require_sound(key: CertificatePublicKeyTypes) -> None:
    """Require that a key has a size and parameters that CAs take, and no weakness that is known.

    That a point is on its curve, cryptography has checked when it read the key.

    Args:
        key: Of a type that require_type has let pass.

    Raises:
        MalformedInput: It is not so; the message says why.
    """
    if isinstance(key, rsa.RSAPublicKey):
        require_rsa_size(key.key_size)
        numbers = key.public_numbers()
        require_rsa(numbers.n, numbers.e)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in CURVES:
        raise MalformedInput(
            f"the key is on the curve {key.curve.name}: "
            f"CAs take {', '.join(CURVES.values())} and no other"
        )


def require_rsa_size(bits: int) -> None:
    """Require that an RSA modulus has a length that CAs take."""
    advice = "make one of 2048, 3072 or 4096 bits"
    if bits < SMALLEST_RSA:
        raise MalformedInput(f"the RSA key has {bits} bits, which is too weak: {advice}")
    if bits > LARGEST_RSA:
        raise MalformedInput(f"the RSA key has {bits} bits, over {LARGEST_RSA}: {advice}")
    if bits % 8:
        raise MalformedInput(f"the RSA key has {bits} bits, no multiple of 8: {advice}")


def require_rsa(modulus: int, exponent: int) -> None:
    """Require that an RSA key of a good size has no flaw that gives its private key away.

    Raises:
        MalformedInput: It has; the message says which.
    """
    if exponent % 2 == 0 or not 3 <= exponent < 2**_LONGEST_EXPONENT:  # noqa: PLR2004 - 6.1.6
        shown = exponent if exponent.bit_length() <= _LONGEST_EXPONENT else "too large"
        raise MalformedInput(
            f"the public exponent of the RSA key is {shown}: make a key with the usual 65537"
        )
    flaw = _flaw(modulus)
    if flaw:
        raise MalformedInput(
            f"the RSA key is worthless, since {flaw}: anybody can compute its private key; "
            "make a new one with other software or on another device"
        )


def _flaw(modulus: int) -> str:
    if modulus % 2 == 0:
        return "its modulus is even"
    if math.gcd(modulus, _PRIMORIAL) != 1:
        return "its modulus has a small factor"
    if all(modulus % prime in powers for prime, powers in _ROCA_POWERS.items()):
        return "it was made by a library with the ROCA flaw (CVE-2017-15361)"
    if _has_close_primes(modulus):
        return "its primes are close together (CVE-2022-26320)"
    return ""


def _has_close_primes(modulus: int) -> bool:
    """Fermat's method, as far as 6.1.1.3 asks for: modulus = (a + b) * (a - b) for an a near."""
    a = math.isqrt(modulus - 1) + 1
    for _ in range(_FERMAT_ROUNDS + 1):
        square = a * a - modulus
        # Squares end in few ways; this spares us nearly all roots.
        if square & 0xF in (0, 1, 4, 9) and math.isqrt(square) ** 2 == square:
            return True
        a += 1
    return False
