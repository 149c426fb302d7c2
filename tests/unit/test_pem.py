"""One PEM block, and no private key next to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput
from certgrinderd.pki.certificates import parse_chain
from certgrinderd.pki.csr import parse_csr
from certgrinderd.pki.extensions import ignored
from certgrinderd.pki.pem import require_no_private_key
from tests.testbed import der, forge
from tests.testbed.hostile import Case, all_cases, good
from tests.testbed.hostile_encodings import ENCRYPTED, OPENSSH, PKCS8, PRIVATE, SEC1

LEAKS = [case for case in all_cases() if case.title.startswith("private key")]
CHAIN = forge.pem(forge.certificate(), label="CERTIFICATE") * 2


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title) for case in LEAKS])
def test_private_key_next_to_a_chain_is_refused(case: Case) -> None:
    """`show certificate` warns too, whatever stands around the key."""
    assert len(parse_chain(b"made by openssl with private.key\n" + CHAIN)) == 2

    for data in (case.hostile(), case.hostile() + CHAIN):
        with pytest.raises(MalformedInput, match=PRIVATE):
            parse_chain(data)


@pytest.mark.parametrize("key", [PKCS8, SEC1, OPENSSH, ENCRYPTED])
@given(before=st.binary(max_size=50), after=st.binary(max_size=50))
def test_private_key_is_found_wherever_it_stands(key: bytes, before: bytes, after: bytes) -> None:
    """With any bytes around it."""
    with pytest.raises(MalformedInput, match=PRIVATE):
        require_no_private_key(before + key + after, expected="a CSR")


def test_message_about_a_private_key_has_nothing_of_it() -> None:
    """The log must not hold what it warns about."""
    with pytest.raises(MalformedInput) as refused:
        parse_csr(good() + PKCS8)
    assert not any(line in str(refused.value) for line in PKCS8.decode().splitlines())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"Certificate Request:\n    Data:\n", b"", id="openssl req -text"),
        pytest.param(b"\xef\xbb\xbf", b"", id="a byte order mark"),
        pytest.param("Zażółć gęślą jaźń ".encode(), "\r\n\u202e".encode(), id="UTF-8"),
        pytest.param(b"\0\xff\x1b[2J", b"\0\0", id="binary"),
        pytest.param(
            b"-----END CERTIFICATE REQUEST-----\n", b"-----\n", id="markers without BEGIN"
        ),
        pytest.param(b"where is my private key?\n", b"begin here\n", id="words about keys"),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r", b" \n\n\t"])
def test_text_around_a_block_is_tolerated(before: bytes, after: bytes, line_end: bytes) -> None:
    """And any line ends. What comes out is the same CSR."""
    request = good()
    read = parse_csr(before + request.replace(b"\n", line_end) + after)
    assert read == parse_csr(request)


def test_what_cas_do_not_heed_is_named() -> None:
    """For the log; a plain CSR has nothing of the kind."""
    attributes = [
        forge.extension_request(
            forge.alternative_names(forge.NAME),
            forge.extension("2.5.29.14", der.octet_string(b"key")),
        ),
        forge.attribute(forge.CHALLENGE_PASSWORD, der.tlv(der.UTF8_STRING, b"secret")),
        forge.attribute("1.3.6.1.4.1.311.13.2.3", der.tlv(der.IA5_STRING, b"10.0")),
    ]
    named = ignored(parse_csr(forge.pem(forge.csr(attributes=attributes))))
    assert named == ["1.3.6.1.4.1.311.13.2.3", "challengePassword", "subjectKeyIdentifier"]
    assert ignored(parse_csr(good())) == []
