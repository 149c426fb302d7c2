"""Hostile requests: what is around the CSR, and how it is written down."""

from __future__ import annotations

import base64
import functools

from cryptography.hazmat.primitives import serialization

from tests.testbed import der, forge
from tests.testbed.forge import csr, pem
from tests.testbed.hostile import Case, good

PRIVATE = "holds a private key, which should never leave its machine"
OTHER = "and no other block"


@functools.cache
def private_key(
    form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8, *, secret: bytes = b""
) -> bytes:
    """The private key of the usual request, in PEM."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if secret:
        encryption = serialization.BestAvailableEncryption(secret)
    return forge.p256_private().private_bytes(serialization.Encoding.PEM, form, encryption)


def inside(block: bytes) -> bytes:
    """The base64 of a PEM block."""
    return b"\n".join(block.splitlines()[1:-1])


def relabelled(block: bytes, label: bytes = b"CERTIFICATE REQUEST") -> bytes:
    """A PEM block with another label."""
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, inside(block), label)


def leak(title: str, key: bytes) -> Case:
    """A good CSR with a private key behind it."""
    return Case(f"private key: {title}", lambda: good() + key, PRIVATE, explained)


def explained() -> bytes:
    """A CSR with a text that speaks of keys."""
    return b"Made with: openssl req -newkey rsa:2048 -keyout private.key\r\n" + good()


def bytes_of(title: str, data: bytes, reason: str, honest: bytes = b"") -> Case:
    """Any bytes."""
    return Case(title, lambda: data, reason, lambda: honest or good())


def too_long(title: str, data: bytes, honest: bytes) -> Case:
    """More than is read."""
    return Case(title, lambda: data, "more than 65536 bytes", lambda: honest, "input")


def longer_length() -> bytes:
    """A CSR whose outermost length has a zero too many: BER."""
    content = csr()
    assert content[1] == 0x82
    return b"\x30\x83\x00" + content[2:]


def indefinite() -> bytes:
    """A CSR whose outermost length is indefinite: BER."""
    return b"\x30\x80" + csr()[4:] + b"\0\0"


def nested() -> bytes:
    """Sequences in sequences, too deep for a reader that calls itself."""
    element = b""
    for _ in range(9000):
        element = der.sequence(element)
    return element


PKCS8 = private_key()
OPENSSH = private_key(serialization.PrivateFormat.OpenSSH)
SEC1 = private_key(serialization.PrivateFormat.TraditionalOpenSSL)
ENCRYPTED = private_key(secret=b"secret")
CRLF = good().replace(b"\n", b"\r\n")

CASES = [
    leak("PKCS #8", PKCS8),
    leak("SEC 1", SEC1),
    leak("PKCS #8, encrypted", ENCRYPTED),
    leak("OpenSSH", OPENSSH),
    leak("lower case", PKCS8.lower()),
    leak("broken markers", PKCS8.replace(b"-----", b"---")),
    leak("markers with underscores", PKCS8.replace(b"PRIVATE KEY", b"PRIVATE_KEY")),
    leak("markers across lines", PKCS8.replace(b"PRIVATE KEY", b"PRIVATE\nKEY")),
    leak("begin alone", b"-----BEGIN RSA PRIVATE KEY"),
    leak("end alone", b"-----END EC PRIVATE KEY-----"),
    leak("quoted", b"".join(b"> " + line for line in PKCS8.splitlines(keepends=True))),
    leak("PGP", b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n"),
    leak("PuTTY", b"PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nEncryption: none\n"),
    leak("labelled as a certificate", relabelled(PKCS8, b"CERTIFICATE")),
    leak("OpenSSH, labelled as data", relabelled(OPENSSH, b"DATA")),
    leak("UTF-16", PKCS8.decode().encode("utf-16")),
    bytes_of("private key: labelled as a CSR", relabelled(PKCS8), PRIVATE),
    bytes_of("private key: SEC 1 as a CSR", relabelled(SEC1), PRIVATE),
    bytes_of("private key: encrypted as a CSR", relabelled(ENCRYPTED), PRIVATE),
    bytes_of("private key: DER", base64.b64decode(inside(PKCS8)), PRIVATE),
    bytes_of("private key: base64 alone", inside(SEC1), PRIVATE),
    bytes_of("nothing", b"", "the input is empty"),
    bytes_of("white space", b" \r\n\t\n", "the input is empty"),
    bytes_of("NULs", b"\0" * 1000, "found no PEM block"),
    bytes_of("DER", csr(), "looks like DER: .* -inform DER"),
    bytes_of("base64 without markers", inside(good()), "found no PEM block"),
    bytes_of("UTF-16", good().decode().encode("utf-16"), "is UTF-16"),
    bytes_of("lower case markers", good().lower(), "found no PEM block"),
    bytes_of("two CSRs", good() + good(), OTHER),
    bytes_of("CSR and certificate", good() + pem(csr(), label="CERTIFICATE"), OTHER),
    bytes_of("a block inside", good().replace(b"\n", b"\n" + good(), 1), OTHER),
    bytes_of("a broken block before", b"-----BEGIN X\n" + good(), OTHER, b"----- X\n" + good()),
    bytes_of(
        "label of a certificate", pem(csr(), label="CERTIFICATE"), "found the block CERTIFICATE"
    ),
    bytes_of("label of a public key", pem(csr(), label="PUBLIC KEY"), "found the block PUBLIC KEY"),
    bytes_of(
        "another END",
        pem(csr(), end="NEW CERTIFICATE REQUEST"),
        "not whole",
        pem(csr(), label="NEW CERTIFICATE REQUEST"),
    ),
    bytes_of("no END", good().partition(b"-----END")[0], "END line is missing"),
    bytes_of("cut in the middle", good()[:300], "END line is missing"),
    bytes_of("END before BEGIN", b"\n".join(good().splitlines()[::-1]), "not whole"),
    bytes_of("dashes inside", good().replace(b"\n", b"\n-----\n", 2), "not base64", CRLF),
    bytes_of("headers inside", good().replace(b"\n", b"\nProc-Type: 4\n\n", 1), "not base64"),
    bytes_of("a letter too few", good().replace(b"\n-----END", b"\b-----END"), "not base64"),
    bytes_of("NUL inside", good().replace(b"\n", b"\0\n", 3), "not base64", CRLF),
    bytes_of("nothing inside", pem(b""), "holds no valid CSR"),
    bytes_of("octets after the DER", pem(csr() + b"\0"), "holds no valid CSR"),
    bytes_of("two CSRs in one block", pem(csr() + csr()), "holds no valid CSR"),
    bytes_of("indefinite length", pem(indefinite()), "holds no valid CSR"),
    bytes_of("length with a zero", pem(longer_length()), "holds no valid CSR"),
    bytes_of("cut DER", pem(csr()[:-1]), "holds no valid CSR"),
    bytes_of("another version", pem(csr(version=2)), "2 is not a valid CSR version"),
    bytes_of("nested sequences", pem(nested()), "holds no valid CSR"),
    too_long("more than 64 KiB", b" " * 66000 + good(), b" " * 60000 + good()),
    # Once each of these took our patterns a time that grew with the square of the length.
    bytes_of(
        "blanks without an end", b"-----BEGIN CERTIFICATE REQUEST-----" + b" " * 65000, "END line"
    ),
    bytes_of("BEGIN, again and again", b"-----BEGIN " * 5900, "found 5900 blocks"),
    bytes_of("a label without an end", b"-----BEGIN " + b"A " * 32000, "a broken BEGIN line"),
]
