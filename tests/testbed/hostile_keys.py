"""Hostile requests: keys and signatures."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.testbed import der, forge
from tests.testbed.forge import EC_PUBLIC_KEY, P_256, Key, csr, pem
from tests.testbed.hostile import Case

CURVES = "CAs take P-256, P-384, P-521 and no other"


def odd(bits: int) -> int:
    """A number of so many bits, for a key that is refused before anything is computed with it."""
    return random.Random(bits).getrandbits(bits) | 1 | 1 << (bits - 1)  # noqa: S311 - no secret


@functools.cache
def honest_rsa() -> bytes:
    """A request with an RSA key of 2,048 bits."""
    return pem(csr(key=forge.rsa_of(*forge.primes())))


@functools.cache
def honest_ec() -> bytes:
    """A request with a P-384 key."""
    return on_curve(ec.SECP384R1())


@functools.cache
def rsa_3072() -> bytes:
    """A request with an RSA key of 3,072 bits."""
    return pem(csr(key=forge.rsa_of(*forge.new_primes(3072))))


def on_curve(curve: ec.EllipticCurve) -> bytes:
    """A request with a key on a curve."""
    return pem(csr(key=forge.ec_key(ec.generate_private_key(curve))))


def weak(
    title: str, key: Callable[[], Key], reason: str, honest: Callable[[], bytes] = honest_rsa
) -> Case:
    """A request with such a key."""
    return Case(title, lambda: pem(csr(key=key())), reason, honest)


def point(encoded: bytes, *, parameters: bytes = P_256) -> Key:
    """The usual key with another public key in the request."""
    spki = der.sequence(der.sequence(EC_PUBLIC_KEY, parameters), der.bit_string(encoded))
    return forge.ec_key(forge.p256_private(), spki=spki)


def encoded_point(form: serialization.PublicFormat) -> bytes:
    """The usual public key."""
    return forge.p256_private().public_key().public_bytes(serialization.Encoding.X962, form)


def explicit() -> Key:
    """The usual key, P-256 spelled out by its parameters (RFC 3279 section 2.3.5)."""
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    x = 0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296
    y = 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5
    parameters = der.sequence(
        der.integer(1),
        der.sequence(der.oid("1.2.840.10045.1.1"), der.integer(p)),
        der.sequence(
            der.octet_string((p - 3).to_bytes(32, "big")), der.octet_string(b.to_bytes(32, "big"))
        ),
        der.octet_string(b"\4" + x.to_bytes(32, "big") + y.to_bytes(32, "big")),
        der.integer(n),
        der.integer(1),
    )
    uncompressed = encoded_point(serialization.PublicFormat.UncompressedPoint)
    return point(uncompressed, parameters=parameters)


def pss() -> bytes:
    """A request signed by RSASSA-PSS."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, forge.NAME)])
    request = x509.CertificateSigningRequestBuilder(name).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(forge.NAME)]), critical=False
    )
    key = rsa.generate_private_key(65537, 2048)
    scheme = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signed = request.sign(key, hashes.SHA256(), rsa_padding=scheme)
    return pem(signed.public_bytes(serialization.Encoding.DER))


def without_null() -> Key:
    """An RSA key whose AlgorithmIdentifier lacks its NULL (baseline requirements, 7.1.3.1.1)."""
    key = forge.rsa_of(*forge.primes())
    algorithm = der.sequence(der.oid("1.2.840.113549.1.1.1"))
    first, second = forge.primes()
    numbers = der.sequence(der.integer(first * second), der.integer(65537))
    return Key(der.sequence(algorithm, der.bit_string(numbers)), key.algorithm, key.sign)


def stolen() -> bytes:
    """A request for somebody else's public key."""
    other = forge.ec_key(ec.generate_private_key(ec.SECP256R1()))
    return pem(csr(key=Key(forge.p256().spki, other.algorithm, other.sign)))


def changed() -> bytes:
    """A signed request in which a name was changed afterwards."""
    return pem(csr().replace(b"a.csr.example.test", b"b.csr.example.test"))


def roca() -> Key:
    """A key as chips with CVE-2017-15361 make them."""
    return forge.rsa_of(forge.roca_prime(1), forge.roca_prime(2))


def close() -> Key:
    """A key whose primes share half of their bits (CVE-2022-26320)."""
    first = forge.primes()[0]
    return forge.rsa_of(first, forge.prime_after(first + 2**510))


def square() -> Key:
    """A key whose primes are the same one."""
    prime = forge.primes()[0]
    modulus = prime * prime
    return forge.rsa_key(modulus, private=pow(65537, -1, prime * (prime - 1)))


def small_factor() -> Key:
    """A key with the prime 751 and another one."""
    while True:
        key = forge.rsa_of(751, *forge.new_primes(2039))
        if len(key.sign(b"")) == 256 and len(key.spki) == len(forge.rsa_of(*forge.primes()).spki):
            return key


CASES = [
    weak(
        "RSA of 1024 bits", lambda: forge.rsa_of(*forge.new_primes(1024)), "1024 bits, .* too weak"
    ),
    weak("RSA of 2047 bits", lambda: forge.rsa_key(odd(2047)), "2047 bits, .* too weak"),
    weak("RSA of 2049 bits", lambda: forge.rsa_key(odd(2049)), "2049 bits, no multiple of 8"),
    weak("RSA of 3071 bits", lambda: forge.rsa_key(odd(3071)), "no multiple of 8", rsa_3072),
    weak("RSA of 8200 bits", lambda: forge.rsa_key(odd(8200)), "8200 bits, over 8192"),
    weak("RSA of 16384 bits", lambda: forge.rsa_key(odd(16384)), "16384 bits, over 8192"),
    weak("RSA of 150000 bits", lambda: forge.rsa_key(odd(150000)), "150000 bits, over 8192"),
    weak("RSA exponent 1", lambda: forge.rsa_key(odd(2048), exponent=1), "e must be >= 3"),
    weak("RSA exponent 0", lambda: forge.rsa_key(odd(2048), exponent=0), "e must be >= 3"),
    weak("RSA exponent 65536", lambda: forge.rsa_key(odd(2048), exponent=65536), "e must be odd"),
    weak(
        "RSA exponent of 2047 bits",
        lambda: forge.rsa_key(odd(2048), exponent=odd(2047)),
        "exponent of the RSA key is too large",
        lambda: pem(csr(key=forge.rsa_of(*forge.primes(), exponent=2**32 + 15))),
    ),
    weak(
        "negative RSA modulus",
        lambda: forge.rsa_key(-5),
        "public key of the CSR cannot be read",
    ),
    weak("even RSA modulus", lambda: forge.rsa_key(odd(2048) - 1), "modulus is even"),
    weak("RSA modulus with a small factor", small_factor, "has a small factor"),
    weak("RSA primes close together", close, "close together"),
    weak("square RSA modulus", square, "close together"),
    weak("ROCA", roca, "CVE-2017-15361"),
    weak("RSA without NULL", without_null, "encoded in an unusual way"),
    Case("curve P-224", lambda: on_curve(ec.SECP224R1()), CURVES, honest_ec),
    Case("curve secp256k1", lambda: on_curve(ec.SECP256K1()), CURVES, honest_ec),
    Case(
        "curve brainpoolP256r1",
        lambda: on_curve(ec.BrainpoolP256R1()),
        CURVES,
        lambda: on_curve(ec.SECP521R1()),
    ),
    weak("curve spelled out", explicit, "encoded in an unusual way", honest_ec),
    weak(
        "compressed point",
        lambda: point(encoded_point(serialization.PublicFormat.CompressedPoint)),
        "encoded in an unusual way",
        lambda: pem(csr(key=point(encoded_point(serialization.PublicFormat.UncompressedPoint)))),
    ),
    weak("point off the curve", lambda: point(b"\4" + b"\1" * 64), "cannot be read", honest_ec),
    weak("point at infinity", lambda: point(b"\0"), "cannot be read", honest_ec),
    weak("Ed25519", forge.ed25519_key, "Ed25519, which public CAs refuse", honest_ec),
    weak("Ed448", forge.ed448_key, "Ed448, which public CAs refuse", honest_ec),
    weak("DSA", forge.dsa_key, "DSA, which public CAs refuse", honest_ec),
    weak("SHA-1", forge.sha1, "signed by ecdsa-with-SHA1", honest_ec),
    weak("MD5", lambda: forge.rsa_of(*forge.primes(), digest="md5"), "signed by md5WithRSA"),
    weak(
        "RSA signature by a key on a curve",
        lambda: Key(forge.p256().spki, forge.rsa_key(odd(2048)).algorithm, forge.p256().sign),
        "signature of the CSR cannot be verified|not signed by its own key",
        honest_ec,
    ),
    weak(
        "signature on a curve by an RSA key",
        lambda: Key(forge.rsa_of(*forge.primes()).spki, forge.ECDSA_WITH_SHA256, forge.p256().sign),
        "signature of the CSR cannot be verified|not signed by its own key",
    ),
    weak(
        "Ed25519 signature by a key on a curve",
        lambda: Key(forge.p256().spki, forge.ed25519_key().algorithm, forge.p256().sign),
        "signature of the CSR cannot be verified|not signed by its own key",
        honest_ec,
    ),
    Case("RSASSA-PSS", pss, "signed by rsassaPss", honest_rsa),
    Case("somebody else's key", stolen, "not signed by its own key"),
    Case("changed after signing", changed, "not signed by its own key"),
    weak(
        "signature of nothing",
        lambda: Key(forge.p256().spki, forge.ECDSA_WITH_SHA256, lambda _: b""),
        "not signed by its own key",
        honest_ec,
    ),
]
