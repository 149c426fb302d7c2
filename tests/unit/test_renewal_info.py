"""The identifier of a certificate in ARI (RFC 9773 section 4.1)."""

from __future__ import annotations

import datetime as dt

import pytest
from acme.client import _renewal_info_path_component
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput
from certgrinderd.issuance.acme.renewal_info import certificate_id
from tests.testbed import der, forge

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)


def certificate(serial: int, authority: x509.AuthorityKeyIdentifier | None) -> x509.Certificate:
    """A certificate with a serial number and an authority key identifier."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    if authority is not None:
        builder = builder.add_extension(authority, critical=False)
    return builder.sign(KEY, hashes.SHA256())


@given(st.integers(1, 2**159 - 1), st.binary(min_size=1, max_size=32))
def test_identifier_is_certbots(serial: int, key_identifier: bytes) -> None:
    """Any serial number, with its sign bit or without, gives what certbot's library makes."""
    made = certificate(serial, x509.AuthorityKeyIdentifier(key_identifier, None, None))
    assert certificate_id(made) == _renewal_info_path_component(made)


def test_example_of_the_rfc() -> None:
    """Section 4.1 of RFC 9773 works one out."""
    key_identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    made = certificate(0x0087654321, x509.AuthorityKeyIdentifier(key_identifier, None, None))
    assert certificate_id(made) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


def test_certificate_without_authority_key() -> None:
    """Without one there is no identifier."""
    by_name = x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(x509.Name([]))], authority_cert_serial_number=1
    )
    for authority in (None, by_name):
        with pytest.raises(MalformedInput, match="names no authority key"):
            certificate_id(certificate(5, authority))


@pytest.mark.parametrize(
    ("serial", "key_identifier"),
    [(b"\x01" * 21, b"k" * 20), (b"\x05", b"k" * 65), (b"\x05", b"")],
    ids=["serial number", "long key identifier", "empty key identifier"],
)
def test_identifier_that_no_ca_has(serial: bytes, key_identifier: bytes) -> None:
    """It would become a URL of any length; the longest that RFC 5280 knows are taken."""

    def made(serial: bytes, key_identifier: bytes) -> x509.Certificate:
        authority = forge.extension("2.5.29.35", der.sequence(der.tlv(0x80, key_identifier)))
        return x509.load_der_x509_certificate(forge.certificate(authority, serial=serial))

    with pytest.raises(MalformedInput):
        certificate_id(made(serial, key_identifier))
    assert len(certificate_id(made(b"\x01" * 20, b"k" * 64))) < 200
