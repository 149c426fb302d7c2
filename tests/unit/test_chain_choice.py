"""Which of the chains that a CA offers: by length first, then by root, and never none."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certgrinderd.issuance.acme.chains import choose, is_for

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


def pem(subject: str, issuer: str) -> bytes:
    """A certificate; who signed it is not looked at here."""
    of, by = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        for name in (subject, issuer)
    )
    builder = x509.CertificateBuilder(by, of, KEY.public_key(), 1, NOW, NOW)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def chain(*names: str) -> bytes:
    """A chain from a leaf up to, and without, its root."""
    return b"".join(map(pem, names, names[1:]))


# As Let's Encrypt offers them for ECDSA: 4, 3 and 2 certificates.
DEFAULT = chain("leaf", "YE1", "YE", "X2", "ISRG Root X1")
MIDDLE = chain("leaf", "YE1", "YE", "ISRG Root X2")
SHORT = chain("leaf", "YE1", "Root YE")
OFFERED = [DEFAULT, MIDDLE, SHORT]


@pytest.mark.parametrize(
    ("root", "length", "expected"),
    [
        ("", None, DEFAULT),
        ("ISRG Root X1", None, DEFAULT),
        ("ISRG Root X2", None, MIDDLE),
        ("Root YE", None, SHORT),
        ("DST Root CA X3", None, DEFAULT),
        ("", 3, MIDDLE),
        ("", 2, SHORT),
        ("", 9, DEFAULT),
        pytest.param("ISRG Root X1", 2, SHORT, id="the length counts more than the root"),
        pytest.param("Root YE", 9, SHORT, id="without the length the root counts"),
    ],
)
def test_best_chain(root: str, length: int | None, expected: bytes) -> None:
    """The best one is taken; of equals the CA's first."""
    assert choose(OFFERED, root=root, length=length) == expected


def test_chain_that_cannot_be_read_is_no_better() -> None:
    """Rubbish among the alternates is passed over, and never preferred."""
    assert choose([DEFAULT, b"rubbish", SHORT], root="Root YE", length=2) == SHORT
    assert choose([DEFAULT, b"rubbish"], root="Root YE", length=2) == DEFAULT
    assert choose([b"rubbish"], root="", length=None) == b"rubbish"


def test_whose_certificate_it_is() -> None:
    """The first certificate decides; what can't be read is for the check of the whole answer."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert is_for(DEFAULT, KEY.public_key())
    assert not is_for(DEFAULT, other)
    assert is_for(b"rubbish", other)
