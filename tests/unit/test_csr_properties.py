"""Whatever bytes come in, a reader of CSRs or certificates returns a value or refuses."""

from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from certgrinderd.errors import CertgrinderdError
from certgrinderd.pki import certificates, describe
from certgrinderd.pki.csr import parse_csr, requested_names
from certgrinderd.pki.extensions import ignored
from certgrinderd.policy import Domainsets, parse_domainsets, require_permitted
from tests.testbed import der, forge

EVERYTHING = parse_domainsets("a.example,b.example,*.example")
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)

PIECES = st.sampled_from(
    [
        b"-----BEGIN ",
        b"-----END ",
        b"CERTIFICATE REQUEST",
        b"CERTIFICATE",
        b"PRIVATE KEY",
        b"-----",
        b"\r\n",
        b"\0",
        b"MIIB",
        forge.pem(forge.csr("a.example")),
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12).map(b"".join)

TAGS = st.one_of(
    st.sampled_from([2, 3, 4, 5, 6, 12, 19, 22, 30, 48, 49, 0x82, 0xA0]), st.integers(0, 255)
)
ELEMENTS = st.recursive(
    st.builds(der.tlv, TAGS, st.binary(max_size=12)),
    lambda inner: st.builds(
        lambda tag, parts: der.tlv(tag, *parts), TAGS, st.lists(inner, max_size=4)
    ),
    max_leaves=8,
)
OIDS = st.one_of(
    st.sampled_from(
        [
            *(f"2.5.29.{arc}" for arc in (14, 15, 17, 18, 19, 30, 31, 32, 35, 36, 37, 46, 54)),
            *("1.3.6.1.5.5.7.1.1", "1.3.6.1.5.5.7.1.24", "1.3.6.1.4.1.11129.2.4.2", "1.2.3"),
        ]
    ),
    st.integers(0, 2**70).map(lambda arc: f"1.2.{arc}"),
)
EXTENSIONS = st.builds(
    forge.extension, OIDS, st.one_of(ELEMENTS, st.binary(max_size=30)), critical=st.booleans()
)
NAMES_IN = st.one_of(st.just(forge.distinguished_name(forge.text("a.example"))), ELEMENTS)
NAMES = st.one_of(
    st.sampled_from(["a.example", "b.example", "*.example", "A.example"]),
    st.text(max_size=20),
    ELEMENTS,
)


def require_line(error: CertgrinderdError) -> str:
    """An error is one line that any terminal can show."""
    message = str(error)
    assert message.isprintable()
    assert len(message) < 1000
    return message


def outcome(pem: bytes, domainsets: Domainsets = EVERYTHING) -> str:
    """Do all that is done with a CSR; "permitted", or why not."""
    try:
        csr = parse_csr(pem)
        assert describe.csr(csr)
        requested = requested_names(csr)
        require_permitted(requested, domainsets)
        ignored(csr)
    except CertgrinderdError as error:
        return require_line(error)
    # What is permitted is what the CA will read: nothing in the names is up to interpretation.
    assert {str(name) for name in requested.names} <= {str(name) for name in domainsets.names}
    return "permitted"


def test_the_honest_one_is_permitted() -> None:
    """So that the properties below are not about refusals alone."""
    assert outcome(forge.pem(forge.csr("a.example", "*.example"))) == "permitted"


@given(TEXTS)
def test_any_text_is_read_or_refused(text: bytes) -> None:
    """PEM and what looks like it."""
    outcome(text)


@given(st.binary(max_size=200))
def test_any_der_is_read_or_refused(content: bytes) -> None:
    """Behind good PEM."""
    assert outcome(forge.pem(content)) != "permitted"


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_any_changed_octet_is_refused(place: int, octet: int) -> None:
    """What the key has not signed is not taken."""
    content = forge.csr("a.example")
    place %= len(content)
    changed = content[:place] + bytes([octet]) + content[place + 1 :]
    assert changed == content or outcome(forge.pem(changed)) != "permitted"


@given(st.lists(NAMES, min_size=1, max_size=4), st.lists(EXTENSIONS, max_size=3))
@example(["a.example", "a.example"], [])
def test_any_signed_extensions_are_read_or_refused(
    names: list[str | bytes], extensions: list[bytes]
) -> None:
    """What the key has signed can be anything."""
    try:
        content = forge.csr(*names, common_name="a.example", extensions=extensions)
    except UnicodeEncodeError:
        return
    outcome(forge.pem(content))


@given(st.lists(ELEMENTS, max_size=3), ELEMENTS)
def test_any_signed_subject_and_attributes_are_read_or_refused(
    attributes: list[bytes], subject: bytes
) -> None:
    """Not even a Name or an attribute needs to be one."""
    assert outcome(forge.pem(forge.csr(subject=subject))) != "permitted"
    assert outcome(forge.pem(forge.csr(attributes=attributes))) != "permitted"


@given(ELEMENTS)
def test_any_key_is_read_or_refused(spki: bytes) -> None:
    """Nor a key."""
    key = forge.ec_key(forge.p256_private(), spki=spki)
    assert outcome(forge.pem(forge.csr("a.example", key=key))) != "permitted"


@given(st.integers(0, 2**2100), st.integers(0, 2**70))
def test_any_rsa_numbers_are_read_or_refused(modulus: int, exponent: int) -> None:
    """Nobody has the private key to any two numbers."""
    key = forge.rsa_key(modulus | 1 << 20, exponent=exponent)
    assert outcome(forge.pem(forge.csr("a.example", key=key))) != "permitted"


@given(st.lists(NAMES, max_size=3), NAMES)
def test_one_more_name_never_makes_a_no_a_yes(names: list[str | bytes], more: str | bytes) -> None:
    """The policy is about every name of the CSR."""
    domainsets = parse_domainsets("a.example,b.example")
    try:
        fewer = forge.pem(forge.csr("a.example", *names))
        all_of_them = forge.pem(forge.csr("a.example", *names, more))
    except UnicodeEncodeError:
        return
    if outcome(all_of_them, domainsets) == "permitted":
        assert outcome(fewer, domainsets) == "permitted"


def read_certificates(text: bytes) -> None:
    """Do all that is done with a chain that somebody sends."""
    try:
        chain = certificates.parse_chain(text)
    except CertgrinderdError as error:
        require_line(error)
        return
    assert describe.chain(chain, now=NOW)


@given(st.data())
def test_any_changed_certificate_is_read_or_refused(data: st.DataObject) -> None:
    """Nobody looks at the signature of the last one, so a change anywhere can get in."""
    content = bytearray(
        forge.certificate(*(data.draw(st.lists(EXTENSIONS, max_size=3))), name=data.draw(NAMES_IN))
    )
    for _ in range(data.draw(st.integers(0, 2))):
        content[data.draw(st.integers(0, 10**6)) % len(content)] = data.draw(st.integers(0, 255))
    read_certificates(forge.pem(bytes(content), label="CERTIFICATE") * 2)


@given(TEXTS)
def test_any_text_is_a_chain_or_refused(text: bytes) -> None:
    """The same for certificates."""
    read_certificates(text)


@given(st.binary(max_size=200))
def test_any_der_is_a_certificate_or_refused(content: bytes) -> None:
    """Behind good PEM."""
    read_certificates(forge.pem(content, label="CERTIFICATE"))
