"""Chains: read, checked against what was asked for, and described."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import (
    CertgrinderdError,
    MalformedInput,
    NotPermitted,
    RevocationError,
    UnexpectedChain,
)
from certgrinderd.pki import describe
from certgrinderd.pki.certificates import (
    host_names_of,
    is_signed_by,
    parse_chain,
    require_chain_for,
    split_pem,
)
from certgrinderd.pki.names import Identifier
from certgrinderd.revocation import crl, ocsp
from tests.testbed.csr import make_csr

NOW = dt.datetime(2030, 6, 15, 12, tzinfo=dt.timezone.utc)
DAY = dt.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def make_certificate(
    subject: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    names: tuple[str | x509.GeneralName, ...] = (),
    valid: tuple[dt.datetime, dt.datetime] = (NOW - DAY, NOW + 90 * DAY),
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> x509.Certificate:
    """Sign a certificate."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(0x1234)
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
    )
    general = [x509.DNSName(name) if isinstance(name, str) else name for name in names]
    for extension in (*([x509.SubjectAlternativeName(general)] if general else []), *extensions):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Ca:
    """A root and an intermediate, and chains by them."""

    def __init__(self) -> None:
        self.root_key, self.key, self.leaf_key = new_key(), new_key(), new_key()
        self.root = make_certificate("root", self.root_key, "root", self.root_key)
        self.intermediate = make_certificate("ca", self.key, "root", self.root_key)

    def chain(
        self,
        *names: str | x509.GeneralName,
        key: Key | None = None,
        valid: tuple[dt.datetime, dt.datetime] = (NOW - DAY, NOW + 90 * DAY),
    ) -> list[x509.Certificate]:
        """Leaf and intermediate."""
        leaf = make_certificate(
            "leaf", key or self.leaf_key, "ca", self.key, names=names, valid=valid
        )
        return [leaf, self.intermediate]


@pytest.fixture(scope="module")
def ca() -> Ca:
    """A CA."""
    return Ca()


def require(ca: Ca, chain: list[x509.Certificate], *names: str) -> None:
    """Check a chain as an answer to a request for names with the CA's leaf key."""
    require_chain_for(
        chain,
        public_key=ca.leaf_key.public_key(),
        names=[Identifier.parse_dns(name) for name in names],
        now=NOW,
    )


def test_right_chain_is_accepted_at_any_length(ca: Ca) -> None:
    """The length is the CA's to choose: leaf alone, with intermediate, with the root."""
    chain = [*ca.chain("a.example", "*.b.example"), ca.root]
    for length in (1, 2, 3):
        require(ca, chain[:length], "*.b.example", "A.example")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        pytest.param(lambda _: [], "holds no certificate", id="empty"),
        pytest.param(
            lambda ca: ca.chain("a.example", key=new_key()), "for another key", id="another key"
        ),
        pytest.param(
            lambda ca: ca.chain("b.example"), "is for b.example, which", id="another name"
        ),
        pytest.param(lambda ca: ca.chain(), "is for no names, which", id="no name"),
        pytest.param(
            lambda ca: ca.chain("a.example", "b.example"), "is for a.example, b.ex", id="more names"
        ),
        pytest.param(
            lambda ca: ca.chain("a.example", x509.RFC822Name("a@a.example")),
            "a.example, RFC822Name",
            id="another kind of name",
        ),
        pytest.param(
            lambda ca: ca.chain("a.example", "a_b.example"), "not a host name", id="bad name"
        ),
        pytest.param(
            lambda ca: ca.chain("a.example", valid=(NOW - 9 * DAY, NOW - DAY)),
            "is this machine's clock right",
            id="expired",
        ),
        pytest.param(
            lambda ca: ca.chain("a.example", valid=(NOW + DAY, NOW + 9 * DAY)),
            "valid from 2030-06-16 12:00",
            id="not yet valid",
        ),
        pytest.param(
            lambda ca: [*ca.chain("a.example")[:1], ca.root],
            "certificate 1 is not signed by certificate 2",
            id="intermediate missing",
        ),
        pytest.param(
            lambda ca: [*ca.chain("a.example"), ca.intermediate],
            "certificate 2 is not signed by certificate 3",
            id="wrong issuer above",
        ),
        pytest.param(lambda ca: ca.chain("a.example")[::-1], "for another key", id="issuer first"),
        pytest.param(
            lambda ca: [
                ca.chain("a.example")[0],
                make_certificate("ca", new_key(), "root", ca.root_key),
            ],
            "not signed by",
            id="issuer of the same name with another key",
        ),
    ],
)
def test_answer_to_another_question_is_refused(
    ca: Ca, make: Callable[[Ca], list[x509.Certificate]], reason: str
) -> None:
    """A CA that lies, errs or is somebody else; next to it, what is right passes."""
    with pytest.raises(UnexpectedChain, match=reason):
        require(ca, make(ca), "a.example")
    require(ca, ca.chain("a.example"), "a.example")


def test_clock_may_be_a_little_slow(ca: Ca) -> None:
    """A certificate that becomes valid within five minutes is valid."""
    for seconds, good in ((299, True), (301, False)):
        start = NOW + dt.timedelta(seconds=seconds)
        chain = ca.chain("a.example", valid=(start, start + DAY))
        if good:
            require(ca, chain, "a.example")
        else:
            with pytest.raises(UnexpectedChain):
                require(ca, chain, "a.example")


def pem(*certificates: x509.Certificate) -> bytes:
    """PEM blocks."""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def test_chain_is_read_among_other_text(ca: Ca) -> None:
    """Text around the blocks and CRLF are tolerated; the order is kept."""
    text = b"subject: x\n" + pem(ca.intermediate) + b"\nnoise\n" + pem(ca.root)
    for data in (text, text.replace(b"\n", b"\r\n")):
        assert parse_chain(data) == [ca.intermediate, ca.root]
        assert len(split_pem(data)) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "found nothing", id="empty"),
        pytest.param(b"hello", "no PEM block labelled CERTIFICATE", id="text"),
        pytest.param(make_csr(["a.example"]).pem, "no PEM block labelled CERTIFICATE", id="a CSR"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "holds no valid certificate",
            id="no certificate inside",
        ),
    ],
)
def test_what_is_no_chain_is_refused(data: bytes, reason: str) -> None:
    """One line says what was found."""
    with pytest.raises(MalformedInput, match=reason):
        parse_chain(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_chain_or_refused(data: bytes) -> None:
    """Also between the lines that begin and end a block."""
    for text in (
        data,
        b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----",
    ):
        with pytest.raises(CertgrinderdError):
            parse_chain(text)


def test_signature_is_by_name_and_key(ca: Ca) -> None:
    """An issuer is who has the name and the key."""
    assert is_signed_by(ca.intermediate, ca.root)
    assert is_signed_by(ca.root, ca.root)
    assert not is_signed_by(ca.root, ca.intermediate)
    assert not is_signed_by(
        ca.intermediate, make_certificate("other", ca.root_key, "other", ca.root_key)
    )


def test_certificate_is_described(ca: Ca) -> None:
    """Everything that an admin looks for, with names in both forms."""
    places = (
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    AuthorityInformationAccessOID.OCSP,
                    x509.UniformResourceIdentifier("http://ocsp.example/"),
                )
            ]
        ),
        x509.CRLDistributionPoints(
            [
                x509.DistributionPoint(
                    [x509.UniformResourceIdentifier("http://crl.example/1")], None, None, None
                )
            ]
        ),
    )
    leaf = make_certificate(
        "leaf",
        ca.leaf_key,
        "ca",
        ca.key,
        names=("xn--plse-gra.example", x509.RFC822Name("a@b.example")),
        extensions=places,
    )
    text = describe.chain([leaf, ca.intermediate, ca.root], now=NOW)
    rows = [line.partition(": ") for line in text.splitlines()]
    facts = {name: value.strip() for name, _, value in reversed(rows)}
    assert text.splitlines()[0] == "Certificate 1 of 3"
    assert facts["Subject"] == "CN=leaf"
    assert "xn--plse-gra.example (pølse.example)" in text
    assert "RFC822Name: a@b.example" in text
    assert facts["Key"] == "ECDSA, secp256r1"
    assert facts["Serial number"] == "1234"
    assert facts["Issuer"] == "CN=ca"
    assert facts["Valid until"] == "2030-09-13 12:00:00 UTC (90 days left)"
    assert facts["Signature algorithm"] == "ecdsa-with-SHA256"
    assert facts["SHA-256 fingerprint"] == leaf.fingerprint(hashes.SHA256()).hex(":").upper()
    assert facts["OCSP"] == "http://ocsp.example/"
    assert facts["CRL"] == "http://crl.example/1"
    assert [value.strip() for name, _, value in rows if name == "Signed by"] == [
        "certificate 2",
        "certificate 3",
        "itself: a root",
    ]


@pytest.mark.parametrize("feature", ["300302017f", "3000"], ids=["unknown", "empty"])
def test_extensions_that_cannot_be_read_are_no_accident(feature: str) -> None:
    """A certificate with a TLS feature that is none is described as such, and has no names."""
    for value, is_read in (("3003020105", True), (feature, False)):
        oid = x509.TLSFeature.oid
        extension = x509.UnrecognizedExtension(oid, bytes.fromhex(value))
        leaf = make_certificate(
            "x", new_key(), "CA", new_key(), names=("a.example",), extensions=(extension,)
        )
        assert ("cannot be read" in describe.chain([leaf], now=NOW)) != is_read
        if is_read:
            assert host_names_of(leaf) == [Identifier("dns", "a.example")]
            continue
        with pytest.raises(MalformedInput, match="names cannot be read"):
            host_names_of(leaf)
        for urls in (ocsp.responder_urls, crl.distribution_urls):
            with pytest.raises(RevocationError, match="cannot be read"):
                urls(leaf)


def test_chain_that_does_not_fit_is_described_as_such(ca: Ca) -> None:
    """Out of order, expired, not yet valid, an issuer that is missing."""
    old = ca.chain("a.example", valid=(NOW - 9 * DAY, NOW - DAY))[0]
    new = ca.chain("a.example", valid=(NOW + DAY, NOW + 9 * DAY))[0]
    text = describe.chain([old, ca.root, new], now=NOW)
    assert "(expired)" in text
    assert "(not yet)" in text
    assert "NOT by certificate 2" in text
    assert "a certificate that is not here" in text


def test_csr_is_described() -> None:
    """Subject, names, key, signature, fingerprints; with control characters made visible."""
    request = make_csr(["xn--plse-gra.example", "b.example"], key="rsa")
    text = describe.csr(request.csr)
    assert "CN=xn--plse-gra.example" in text
    assert "xn--plse-gra.example (pølse.example)" in text
    assert "RSA, 2048 bits" in text
    assert "sha256WithRSAEncryption" in text
    assert "SPKI pin (SHA-256):" in text
    hostile = make_csr(["a.example"], common_names=["a\x1b[2J\nb"])
    assert "\x1b" not in describe.csr(hostile.csr)
    assert all(line.isprintable() for line in describe.csr(hostile.csr).splitlines())


def test_permission_is_described() -> None:
    """Yes and by which set, or no and what is missing where."""
    names = [Identifier.parse_dns("b.example"), Identifier.parse_dns("a.example")]
    assert describe.permission(names).endswith("yes, by the domainset a.example,b.example\n")
    error = NotPermitted("because", missing=("c.example",), nearest=("a.example",))
    lines = describe.refusal(error).splitlines()
    assert [line.split(": ", 1)[1].strip() for line in lines] == [
        "no, because",
        "a.example",
        "c.example",
    ]
