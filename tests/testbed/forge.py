"""Certificate signing requests in which every part can be wrong, correctly signed all the same."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tests.testbed import der

COMMON_NAME = "2.5.4.3"
ORGANIZATION = "2.5.4.10"
EMAIL_ADDRESS = "1.2.840.113549.1.9.1"
EXTENSION_REQUEST = "1.2.840.113549.1.9.14"
MICROSOFT_EXTENSIONS = "1.3.6.1.4.1.311.2.1.14"
CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"
SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
ECDSA_WITH_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))
ECDSA_WITH_SHA1 = der.sequence(der.oid("1.2.840.10045.4.1"))
RSA_ENCRYPTION = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL)
EC_PUBLIC_KEY = der.oid("1.2.840.10045.2.1")
P_256 = der.oid("1.2.840.10045.3.1.7")

NAME = "a.csr.example.test"


@dataclass(frozen=True)
class Key:
    """A key that signs requests.

    Attributes:
        spki: Its SubjectPublicKeyInfo.
        algorithm: The AlgorithmIdentifier of its signatures.
        sign: Makes the signature of what is to be signed.
    """

    spki: bytes
    algorithm: bytes
    sign: Callable[[bytes], bytes]


def csr(
    *names: str | bytes,
    key: Key | None = None,
    common_name: str | None = None,
    subject: bytes | None = None,
    extensions: Sequence[bytes] = (),
    attributes: Sequence[bytes] | None = None,
    version: int = 0,
) -> bytes:
    """Sign a request, and return it in DER.

    Args:
        names: The subject alternative names: dNSNames, or whole elements. NAME alone, if there are
            none.
        key: A P-256 key if it is None.
        common_name: The first name if it is None.
        subject: All of the subject, in place of a CN.
        extensions: More of them.
        attributes: All of them, in place of names and extensions.
        version: 0 is the one there is.
    """
    key = key or p256()
    names = names or (NAME,)
    if subject is None:
        first = next((name for name in names if isinstance(name, str)), NAME)
        subject = distinguished_name(text(common_name or first))
    if attributes is None:
        attributes = [extension_request(alternative_names(*names), *extensions)]
    signed = der.sequence(
        der.integer(version), subject, key.spki, der.tlv(0xA0, *sorted(attributes))
    )
    return der.sequence(signed, key.algorithm, der.bit_string(key.sign(signed)))


def certificate(
    *extensions: bytes,
    name: bytes | None = None,
    serial: bytes = b"\x01",
    begin: bytes | None = None,
) -> bytes:
    """A certificate of the usual key, signed by itself, in DER.

    Args:
        extensions: All of them.
        name: Of subject and issuer.
        serial: The content of the INTEGER.
        begin: The time notBefore.
    """
    name = name or distinguished_name(text(NAME))
    key = p256()
    signed = der.sequence(
        der.tlv(0xA0, der.integer(2)),
        der.tlv(0x02, serial),
        key.algorithm,
        name,
        der.sequence(
            begin or der.tlv(der.UTC_TIME, b"260101000000Z"),
            der.tlv(der.UTC_TIME, b"270101000000Z"),
        ),
        name,
        key.spki,
        der.tlv(0xA3, der.sequence(*extensions)) if extensions else b"",
    )
    return der.sequence(signed, key.algorithm, der.bit_string(key.sign(signed)))


def pem(content: bytes, *, label: str = "CERTIFICATE REQUEST", end: str | None = None) -> bytes:
    """Wrap DER in a PEM block."""
    lines = textwrap.wrap(base64.b64encode(content).decode(), 64)
    return "\n".join(
        [f"-----BEGIN {label}-----", *lines, f"-----END {end or label}-----", ""]
    ).encode()


def text(value: str, *, tag: int = der.UTF8_STRING, oid: str = COMMON_NAME) -> bytes:
    """An attribute of a distinguished name."""
    return der.sequence(der.oid(oid), der.tlv(tag, value.encode()))


def distinguished_name(*attributes: bytes) -> bytes:
    """A Name whose attributes stand in one RDN each."""
    return der.sequence(*(der.set_of(attribute) for attribute in attributes))


def attribute(oid: str, *values: bytes) -> bytes:
    """An attribute of a request."""
    return der.sequence(der.oid(oid), der.set_of(*values))


def extension_request(*extensions: bytes) -> bytes:
    """The attribute with all requested extensions."""
    return attribute(EXTENSION_REQUEST, der.sequence(*extensions))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension."""
    return der.sequence(der.oid(oid), der.TRUE if critical else b"", der.octet_string(value))


def alternative_names(*names: str | bytes) -> bytes:
    """The extension with the names: dNSNames, or whole elements."""
    elements = (der.tlv(0x82, name.encode()) if isinstance(name, str) else name for name in names)
    return extension(SUBJECT_ALTERNATIVE_NAME, der.sequence(*elements))


def ec_key(private: ec.EllipticCurvePrivateKey, *, spki: bytes | None = None) -> Key:
    """An ECDSA key, with another encoding of it if one is given."""
    return Key(
        spki or _spki(private.public_key()),
        ECDSA_WITH_SHA256,
        lambda data: private.sign(data, ec.ECDSA(hashes.SHA256())),
    )


@functools.cache
def p256_private() -> ec.EllipticCurvePrivateKey:
    """The key of most requests."""
    return ec.generate_private_key(ec.SECP256R1())


def p256() -> Key:
    """The key of most requests, to sign with."""
    return ec_key(p256_private())


def sha1() -> Key:
    """The same key, with SHA-1 signatures."""
    return Key(
        p256().spki,
        ECDSA_WITH_SHA1,
        lambda data: p256_private().sign(data, ec.ECDSA(hashes.SHA1())),  # noqa: S303 - to be refused
    )


def ed25519_key() -> Key:
    """An Ed25519 key."""
    private = ed25519.Ed25519PrivateKey.generate()
    return Key(
        _spki(private.public_key()),
        der.sequence(der.oid("1.3.101.112")),
        private.sign,
    )


def ed448_key() -> Key:
    """An Ed448 key, which says that it signs like Ed25519: with its own mark it gets no further."""
    private = ed448.Ed448PrivateKey.generate()
    return Key(
        _spki(private.public_key()),
        der.sequence(der.oid("1.3.101.113")),
        private.sign,
    )


def dsa_key() -> Key:
    """A DSA key, whose numbers are of the right sizes and no more: that would take a second."""
    p, q, g, y = (1 << 2047 | 1, 1 << 255 | 1, 2, 3)
    parameters = der.sequence(*map(der.integer, (p, q, g)))
    algorithm = der.sequence(der.oid("1.2.840.10040.4.1"), parameters)
    spki = der.sequence(algorithm, der.bit_string(der.integer(y)))
    return Key(spki, der.sequence(der.oid("2.16.840.1.101.3.4.3.2")), lambda _: b"")


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """The SubjectPublicKeyInfo of any two numbers."""
    numbers = der.sequence(der.integer(modulus), der.integer(exponent))
    return der.sequence(RSA_ENCRYPTION, der.bit_string(numbers))


def rsa_key(
    modulus: int, *, exponent: int = 65537, private: int = 1, digest: str = "sha256"
) -> Key:
    """An RSA key of any numbers, however wrong; signatures as RFC 8017 section 8.2.1 has them."""
    oids = {"sha256": ("2.16.840.1.101.3.4.2.1", 11), "md5": ("1.2.840.113549.2.5", 4)}
    hash_oid, last_arc = oids[digest]

    def sign(data: bytes) -> bytes:
        info = der.sequence(
            der.sequence(der.oid(hash_oid), der.NULL),
            der.octet_string(hashlib.new(digest, data).digest()),
        )
        if modulus < 0:
            return b""
        length = (modulus.bit_length() + 7) // 8
        padded = b"\0\1" + b"\xff" * (length - len(info) - 3) + b"\0" + info
        return pow(int.from_bytes(padded, "big"), private, modulus).to_bytes(length, "big")

    algorithm = der.sequence(der.oid(f"1.2.840.113549.1.1.{last_arc}"), der.NULL)
    return Key(rsa_spki(modulus, exponent), algorithm, sign)


def rsa_of(*primes: int, exponent: int = 65537, digest: str = "sha256") -> Key:
    """The RSA key of some primes."""
    private = pow(exponent, -1, math.lcm(*(prime - 1 for prime in primes)))
    return rsa_key(math.prod(primes), exponent=exponent, private=private, digest=digest)


def new_primes(bits: int) -> tuple[int, int]:
    """Two primes, for a modulus of that size."""
    numbers = rsa.generate_private_key(65537, bits).private_numbers()
    return numbers.p, numbers.q


@functools.cache
def primes() -> tuple[int, int]:
    """Two primes for a modulus of 2,048 bits, the same ones at each call."""
    return new_primes(2048)


def is_prime(number: int) -> bool:
    """Whether it is, with a certainty that is enough for tests."""
    return all(number % small for small in range(3, 2000, 2)) and pow(2, number - 1, number) == 1


def prime_after(number: int) -> int:
    """The next odd prime."""
    number += 1 + number % 2
    while not is_prime(number):
        number += 2
    return number


@functools.cache
def roca_prime(seed: int) -> int:
    """A prime of 1,024 bits as the library of CVE-2017-15361 makes them."""
    rng = random.Random(seed)  # noqa: S311 - nothing is protected
    small = [n for n in range(2, 702) if all(n % divisor for divisor in range(2, n))]
    assert len(small) == 126
    product = math.prod(small)
    lowest = (3 << 1022) // product + 1
    highest = (1 << 1024) // product - 1
    while True:
        candidate = rng.randint(lowest, highest) * product + pow(
            65537, rng.getrandbits(64), product
        )
        if is_prime(candidate):
            return candidate


def _spki(public: object) -> bytes:
    encoded: bytes = public.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded
