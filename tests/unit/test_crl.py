"""Which CRLs are trusted: RFC 5280 section 6.3.3, for complete ones by the certificate's issuer."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import (
    CertgrinderdError,
    ResponseInvalid,
    ResponseNotCurrent,
    RevocationError,
)
from certgrinderd.revocation import crl
from certgrinderd.revocation.status import Status
from tests.testbed.authority import DAY, Party, crl_by_sha1, issue, make_ca, make_crl, new_key, now

MINUTE = dt.timedelta(minutes=1)
URL = "http://crl.test/ca.crl"

CA = make_ca()
LEAF = issue(CA, crl_points=[URL])
NAMESAKE = make_ca()
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")

Extensions = list[tuple[x509.ExtensionType, bool]]


def verify(data: bytes, *, issuer: Party = CA, leaf: Party = LEAF) -> Status:
    """What a CRL says, if it is trusted now."""
    return crl.verify(
        crl.parse(data), certificate=leaf.certificate, issuer=issuer.certificate, now=now()
    )


def refuse(data: bytes, kind: type[CertgrinderdError] = ResponseInvalid) -> str:
    """Why a CRL is not trusted."""
    with pytest.raises(kind) as caught:
        verify(data)
    assert type(caught.value) is kind
    return str(caught.value)


def scope(**changes: Any) -> tuple[x509.ExtensionType, bool]:  # noqa: ANN401 - as the class
    """The extension that says what a CRL is about."""
    nothing: dict[str, Any] = {
        "full_name": None,
        "relative_name": None,
        "only_contains_user_certs": False,
        "only_contains_ca_certs": False,
        "only_some_reasons": None,
        "indirect_crl": False,
        "only_contains_attribute_certs": False,
    }
    return x509.IssuingDistributionPoint(**{**nothing, **changes}), True


def test_certificate_on_the_crl_is_revoked_and_others_are_not() -> None:
    """By its serial number, with date and reason."""
    serial_number = LEAF.certificate.serial_number
    for key in ("rsa", "ecdsa", "ed25519", "ed448"):
        ca = make_ca(key=new_key(key))
        leaf = issue(ca, serial_number=serial_number)
        status = verify(make_crl(ca, [1, serial_number]), issuer=ca, leaf=leaf)
        assert (status.kind, status.reason) == ("revoked", "keyCompromise")
        assert status.revoked_at is not None
        assert verify(make_crl(ca, [1, serial_number + 1]), issuer=ca, leaf=leaf).kind == "good"
        assert verify(make_crl(ca), issuer=ca, leaf=leaf).kind == "good"


@pytest.mark.parametrize(
    ("extensions", "accepted"),
    [
        pytest.param([(x509.CRLNumber(7), False)], True, id="a number"),
        pytest.param([(UNKNOWN, False)], True, id="an unknown extension"),
        pytest.param([(UNKNOWN, True)], False, id="an unknown critical extension"),
        pytest.param([(x509.DeltaCRLIndicator(7), True)], False, id="delta CRL"),
        pytest.param([scope(only_contains_user_certs=True)], True, id="about leaves"),
        pytest.param([scope(only_contains_ca_certs=True)], False, id="about CAs"),
        pytest.param([scope(only_contains_attribute_certs=True)], False, id="about attributes"),
        pytest.param([scope(indirect_crl=True)], False, id="indirect CRL"),
        pytest.param(
            [scope(only_some_reasons=frozenset([x509.ReasonFlags.key_compromise]))],
            False,
            id="for some reasons only",
        ),
        pytest.param(
            [
                scope(
                    full_name=[
                        x509.UniformResourceIdentifier("http://b.test/"),
                        x509.UniformResourceIdentifier(URL),
                    ]
                )
            ],
            True,
            id="of its distribution point",
        ),
        pytest.param(
            [scope(full_name=[x509.UniformResourceIdentifier("http://b.test/")])],
            False,
            id="of another distribution point",
        ),
    ],
)
def test_crl_must_cover_the_certificate(extensions: Extensions, *, accepted: bool) -> None:
    """A part of what is revoked is not the answer whether a certificate is."""
    data = make_crl(CA, [LEAF.certificate.serial_number], extensions=extensions)
    if accepted:
        assert verify(data).kind == "revoked"
    else:
        refuse(data)


def test_indirect_and_delta_crls_are_named() -> None:
    """Who has one learns the word to look for."""
    assert "indirect CRL" in refuse(make_crl(CA, extensions=[scope(indirect_crl=True)]))
    assert "delta CRL" in refuse(make_crl(CA, extensions=[(x509.DeltaCRLIndicator(1), True)]))
    by_another = make_ca("CRL issuer")
    assert "indirect CRL" in refuse(make_crl(by_another))


def test_crl_about_leaves_says_nothing_about_a_ca() -> None:
    """The other side of the scope."""
    below = make_ca("Below")
    about_cas = make_crl(below, extensions=[scope(only_contains_ca_certs=True)])
    assert verify(about_cas, issuer=below, leaf=below).kind == "good"
    about_leaves = make_crl(below, extensions=[scope(only_contains_user_certs=True)])
    with pytest.raises(ResponseInvalid, match="another kind"):
        verify(about_leaves, issuer=below, leaf=below)


@pytest.mark.parametrize("critical", [False, True])
def test_entry_with_a_critical_extension_spoils_the_crl(*, critical: bool) -> None:
    """RFC 5280 section 5.3: it could mean that the entry is about another issuer's certificate."""
    data = make_crl(CA, [1], entry_extensions=[(UNKNOWN, critical)])
    if critical:
        assert "critical extension" in refuse(data)
    else:
        assert verify(data).kind == "good"


def test_signature_must_be_the_issuers() -> None:
    """A CA of the same name is another one."""
    assert verify(make_crl(CA)).kind == "good"
    assert "signature" in refuse(make_crl(NAMESAKE))


def test_weak_signature_is_refused() -> None:
    """SHA-1 can be made to collide."""
    ca = make_ca(key=new_key("rsa"))
    leaf = issue(ca)
    data = make_crl(ca)
    assert verify(data, issuer=ca, leaf=leaf).kind == "good"
    with pytest.raises(ResponseInvalid, match="too weak"):
        verify(crl_by_sha1(data, ca), issuer=ca, leaf=leaf)


def test_issuer_may_not_sign_crls() -> None:
    """Its key usage says what its key is for."""
    ca = make_ca(crl_sign=False)
    with pytest.raises(ResponseInvalid, match="key usage"):
        verify(make_crl(ca), issuer=ca, leaf=issue(ca))


@pytest.mark.parametrize(
    ("first", "last", "current"),
    [
        pytest.param(4 * MINUTE, DAY, True, id="future, within the tolerance"),
        pytest.param(6 * MINUTE, DAY, False, id="future"),
        pytest.param(-DAY, -4 * MINUTE, True, id="over, within the tolerance"),
        pytest.param(-DAY, -6 * MINUTE, False, id="over"),
    ],
)
def test_crl_holds_now(first: dt.timedelta, last: dt.timedelta, *, current: bool) -> None:
    """ThisUpdate and nextUpdate, with 5 minutes for clocks that differ."""
    data = make_crl(CA, valid=(now() + first, now() + last))
    if current:
        assert verify(data).kind == "good"
    else:
        refuse(data, ResponseNotCurrent)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([URL, "https://b.test/"], [URL, "https://b.test/"], id="in order"),
        pytest.param(["ldap://a.test/", URL], [URL], id="LDAP is passed over"),
        pytest.param(
            [
                x509.DistributionPoint(
                    [x509.UniformResourceIdentifier("http://some.test/")],
                    None,
                    frozenset([x509.ReasonFlags.key_compromise]),
                    None,
                ),
                URL,
            ],
            [URL],
            id="some reasons are passed over",
        ),
    ],
)
def test_distribution_points(
    points: list[str | x509.DistributionPoint], expected: list[str]
) -> None:
    """Where the whole CRL is."""
    assert crl.distribution_urls(issue(CA, crl_points=points).certificate) == expected


def test_certificate_without_a_crl_says_so() -> None:
    """And one whose CRL is by another issuer says that."""
    with pytest.raises(RevocationError, match="names no CRL"):
        crl.distribution_urls(issue(CA).certificate)
    elsewhere = x509.DistributionPoint(
        [x509.UniformResourceIdentifier(URL)],
        None,
        None,
        [x509.DirectoryName(NAMESAKE.certificate.subject)],
    )
    with pytest.raises(RevocationError, match="indirect CRL"):
        crl.distribution_urls(issue(CA, crl_points=[elsewhere]).certificate)


SIGNED = make_crl(CA, [LEAF.certificate.serial_number, 5])


def test_no_flipped_bit_yields_another_status() -> None:
    """Each bit of a CRL: it is refused, or what it says is what was signed."""
    expected = verify(SIGNED)
    for place in range(len(SIGNED)):
        for bit in range(8):
            changed = bytearray(SIGNED)
            changed[place] ^= 1 << bit
            with contextlib.suppress(CertgrinderdError):
                assert verify(bytes(changed)) == expected


@given(st.integers(0, len(SIGNED) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_any_change_yields_the_same_or_our_error(place: int, put: bytes, removed: int) -> None:
    """Whatever comes, nothing but our own errors comes out."""
    with contextlib.suppress(CertgrinderdError):
        assert verify(SIGNED[:place] + put + SIGNED[place + removed :]) == verify(SIGNED)


@given(st.binary(max_size=300))
def test_any_bytes_yield_our_error(data: bytes) -> None:
    """No CRL is no traceback."""
    with pytest.raises(CertgrinderdError):
        verify(data)
