"""Which OCSP responses are trusted: RFC 6960 sections 3.2 and 4.2.2.2, RFC 5019, check by check."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as x509_ocsp
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.certgrinderd import Certgrinderd
from certgrinderd.errors import (
    CertgrinderdError,
    ResponseInvalid,
    ResponseNotCurrent,
    RevocationError,
    Unreachable,
)
from certgrinderd.revocation import ocsp
from certgrinderd.revocation.status import Status
from tests.testbed import authority
from tests.testbed.authority import (
    DAY,
    HOUR,
    NONCE,
    Algorithm,
    Party,
    Response,
    Single,
    extension,
    issue,
    key_usage,
    make_ca,
    make_delegate,
    new_key,
    now,
    tlv,
)

MINUTE = dt.timedelta(minutes=1)

CA = make_ca()
LEAF = issue(CA)
OTHER_LEAF = issue(CA, "other.example.test")
# Same name, another key; same key, another name.
NAMESAKE = make_ca()
RENAMED = make_ca("Renamed CA", key=CA.key)
DELEGATE = make_delegate(CA)


def good(**changes: object) -> Response:
    """A response that is trusted, or one that differs from it."""
    return Response([Single(LEAF.certificate, CA)], CA).but(**changes)


def single(
    certificate: x509.Certificate = LEAF.certificate, issuer: Party = CA, /, **changes: object
) -> Single:
    """An answer about the leaf, or one that differs from it."""
    return Single(certificate, issuer, **changes)  # type: ignore[arg-type] # as Single itself


def verify(response: Response | bytes, *, issuer: Party = CA, leaf: Party = LEAF) -> Status:
    """What a response says, if it is trusted now."""
    data = response if isinstance(response, bytes) else response.der
    return ocsp.verify(
        ocsp.build_request(leaf.certificate, issuer.certificate),
        ocsp.parse_response(data),
        certificate=leaf.certificate,
        issuer=issuer.certificate,
        now=now(),
    )


def refuse(response: Response | bytes, kind: type[CertgrinderdError] = ResponseInvalid) -> str:
    """Why a response is not trusted; the one that differs in nothing but this is."""
    assert verify(good()).kind == "good"
    with pytest.raises(kind) as caught:
        verify(response)
    assert type(caught.value) is kind
    return str(caught.value)


# What is asked.


def test_request_is_about_one_certificate_by_sha_1_without_a_nonce() -> None:
    """Every responder can answer it, also with what it has ready."""
    request = Certgrinderd.create_ocsp_request(LEAF.certificate, CA.certificate)
    assert request.serial_number == LEAF.certificate.serial_number
    assert isinstance(request.hash_algorithm, hashes.SHA1)
    assert len(request.issuer_name_hash) == len(request.issuer_key_hash) == 20
    assert list(request.extensions) == []


def test_all_http_urls_are_asked_in_order() -> None:
    """CaIssuers entries are no responders, and LDAP is passed over."""
    urls = ["http://a.test/", "ldap://b.test/", "HTTPS://c.test/x"]
    leaf = issue(CA, ocsp_urls=urls, issuer_urls=["http://ca.test/issuer.der"])
    assert ocsp.responder_urls(leaf.certificate) == ["http://a.test/", "HTTPS://c.test/x"]


@pytest.mark.parametrize(
    "leaf",
    [
        pytest.param(LEAF, id="no AIA extension"),
        pytest.param(issue(CA, issuer_urls=["http://ca.test/"]), id="caIssuers alone"),
        pytest.param(issue(CA, ocsp_urls=["ldap://a.test/"]), id="LDAP alone"),
    ],
)
def test_certificate_without_a_responder_says_so(leaf: Party) -> None:
    """Today's Let's Encrypt certificates: one clear error, of its own exit status."""
    with pytest.raises(RevocationError, match="names no OCSP responder") as caught:
        ocsp.responder_urls(leaf.certificate)
    assert caught.value.exit_code == 4


# 0. Is it an answer?


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(1, ResponseInvalid, id="malformedRequest"),
        pytest.param(2, Unreachable, id="internalError"),
        pytest.param(3, Unreachable, id="tryLater"),
        pytest.param(5, ResponseInvalid, id="sigRequired"),
        pytest.param(6, ResponseInvalid, id="unauthorized"),
        pytest.param(4, ResponseInvalid, id="not used"),
    ],
)
def test_only_a_successful_response_is_one(status: int, kind: type[CertgrinderdError]) -> None:
    """A responder that can't now is told from one that will not."""
    refuse(authority.refusal(status), kind)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>not found</html>", id="a web page"),
        pytest.param(good().der[:-1], id="cut off"),
        pytest.param(good().der + b"\0", id="something after it"),
    ],
)
def test_other_bytes_are_no_response(data: bytes) -> None:
    """Bytes that are not exactly one response are refused as such."""
    refuse(data)


# 1. Is it about this certificate?


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(single(serial_number=4711), id="another serial number"),
        pytest.param(single(OTHER_LEAF.certificate), id="another certificate"),
        pytest.param(single(LEAF.certificate, RENAMED), id="an issuer of another name"),
        pytest.param(single(LEAF.certificate, NAMESAKE), id="an issuer with another key"),
        pytest.param(single(hash_name="sha256"), id="another hash algorithm"),
        pytest.param(single(named_hash="sha256"), id="another name of the hash algorithm"),
    ],
)
def test_answer_about_something_else_is_refused(answer: Single) -> None:
    """All four parts of the CertID must be those of the request."""
    assert "no answer about this certificate" in refuse(good(singles=[answer]))
    assert not Certgrinderd.check_ocsp_response_issuer(
        ocsp.build_request(LEAF.certificate, CA.certificate),
        ocsp.parse_response(good(singles=[answer]).der),
    )


@pytest.mark.parametrize("status", ["good", "revoked", "unknown"])
def test_several_answers_are_legal(status: str) -> None:
    """The one about our certificate counts, wherever it stands."""
    ours = single(status=status)
    others = [single(OTHER_LEAF.certificate, status="revoked"), single(serial_number=7)]
    for singles in ([ours, *others], [*others, ours], [others[0], ours, others[1]]):
        assert verify(good(singles=singles)).kind == status


def test_two_answers_about_one_certificate_are_refused() -> None:
    """Whoever the response is stapled to might read the other one."""
    both = [single(), single(status="revoked")]
    assert "more than one answer" in refuse(good(singles=both))


def test_request_about_another_certificate_is_refused() -> None:
    """A response that fits the request, when the request doesn't fit the certificate."""
    request = ocsp.build_request(OTHER_LEAF.certificate, CA.certificate)
    response = ocsp.parse_response(good(singles=[single(OTHER_LEAF.certificate)]).der)

    def check(leaf: Party) -> bool:
        return Certgrinderd.check_ocsp_response(request, response, leaf.certificate, CA.certificate)

    assert check(OTHER_LEAF)
    assert not check(LEAF)


def test_sha_256_cert_id_is_answered_by_the_same() -> None:
    """A caller may ask with another hash; the answer must have it too."""
    builder = x509_ocsp.OCSPRequestBuilder()
    builder = builder.add_certificate(LEAF.certificate, CA.certificate, hashes.SHA256())
    request = builder.build()
    for name, expected in (("sha256", True), ("sha1", False)):
        response = ocsp.parse_response(good(singles=[single(hash_name=name)]).der)
        checked = Certgrinderd.check_ocsp_response(
            request, response, LEAF.certificate, CA.certificate
        )
        assert checked is expected


# 2. Is the signature valid?


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [
        ("rsa", "rsa-sha256"),
        ("rsa", "rsa-pss-sha256"),
        ("rsa", "rsa-pss-sha384"),
        ("ecdsa", "ecdsa-sha256"),
        ("ecdsa", "ecdsa-sha384"),
        ("ed25519", "ed25519"),
        ("ed448", "ed448"),
    ],
)
def test_signature_algorithms(kind: str, algorithm: Algorithm) -> None:
    """Each is accepted, and with another key of its kind refused."""
    ca = make_ca(key=new_key(kind))  # type: ignore[arg-type] # one of its words
    leaf = issue(ca)
    response = Response([Single(leaf.certificate, ca)], ca, algorithm)
    assert verify(response, issuer=ca, leaf=leaf).kind == "good"

    namesake = make_ca(key=new_key(kind))  # type: ignore[arg-type] # one of its words
    with pytest.raises(ResponseInvalid, match="signature is wrong"):
        verify(response.but(signer=namesake, responder=ca), issuer=ca, leaf=leaf)


@pytest.mark.parametrize(
    ("kind", "weak", "strong"),
    [
        ("rsa", "rsa-md5", "rsa-sha256"),
        ("rsa", "rsa-sha1", "rsa-sha256"),
        ("rsa", "rsa-pss-sha1", "rsa-pss-sha256"),
        ("rsa", "rsa-pss-mgf1-by-sha1-sha256", "rsa-pss-sha256"),
        ("ecdsa", "ecdsa-sha1", "ecdsa-sha256"),
    ],
)
def test_weak_signatures_are_refused(kind: str, weak: Algorithm, strong: Algorithm) -> None:
    """Nobody but the CA could have made them yet, but SHA-1 and MD5 can be made to collide."""
    ca = make_ca(key=new_key(kind))  # type: ignore[arg-type] # one of its words
    leaf = issue(ca)
    response = Response([Single(leaf.certificate, ca)], ca, strong)
    assert verify(response, issuer=ca, leaf=leaf).kind == "good"
    with pytest.raises(ResponseInvalid, match="too weak"):
        verify(response.but(algorithm=weak), issuer=ca, leaf=leaf)


@pytest.mark.parametrize(
    ("kind", "named", "right"),
    [("ecdsa", "rsa-sha256", "ecdsa-sha256"), ("rsa", "ecdsa-sha256", "rsa-sha256")],
)
def test_algorithm_for_another_kind_of_key_is_refused(
    kind: str, named: Algorithm, right: Algorithm
) -> None:
    """The signature is the key's, by the hash that is named, and the name is of other keys."""
    ca = make_ca(key=new_key(kind))  # type: ignore[arg-type] # one of its words
    leaf = issue(ca)
    response = Response([Single(leaf.certificate, ca)], ca, right)
    assert verify(response, issuer=ca, leaf=leaf).kind == "good"
    with pytest.raises(ResponseInvalid):
        verify(response.but(algorithm=named), issuer=ca, leaf=leaf)


# 3. Is the signer who the response says?


@pytest.mark.parametrize("by", ["name", "key"])
@pytest.mark.parametrize(
    ("signer", "certificates"),
    [pytest.param(CA, [], id="issuer"), pytest.param(DELEGATE, [DELEGATE], id="delegate")],
)
def test_responder_id_names_the_signer(by: str, signer: Party, certificates: list[Party]) -> None:
    """By name or by key; if it names another one, nobody else's signature counts."""
    response = good(signer=signer, certificates=certificates, by=by)
    assert verify(response).kind == "good"
    stranger = make_ca("Somebody else")
    assert "ResponderID" in refuse(response.but(responder=stranger))
    assert "signature is wrong" in refuse(
        response.but(responder=stranger, certificates=[*certificates, stranger])
    )


# 4. May the signer speak for the issuer?


def test_delegate_may_sign() -> None:
    """A delegate of the issuer, wherever its certificate stands in the response."""
    for certificates in ([DELEGATE], [OTHER_LEAF, DELEGATE], [DELEGATE, CA]):
        assert verify(good(signer=DELEGATE, certificates=certificates)).kind == "good"


def test_delegate_with_a_renewed_certificate_may_sign() -> None:
    """Of two certificates for one key and name, one that is valid now is enough."""
    expired = make_delegate(CA, key=DELEGATE.key, valid=(now() - 9 * DAY, now() - DAY))
    for certificates in ([expired, DELEGATE], [DELEGATE, expired]):
        assert verify(good(signer=DELEGATE, certificates=certificates)).kind == "good"
    assert "is valid from" in refuse(good(signer=expired, certificates=[expired]))


@pytest.mark.parametrize(
    ("delegate", "reason"),
    [
        pytest.param(make_delegate(CA, ocsp_signing=False), "may not sign", id="without the EKU"),
        pytest.param(issue(CA, "responder"), "may not sign", id="without any EKU"),
        pytest.param(
            make_delegate(CA, valid=(now() - 9 * DAY, now() - HOUR)), "is valid from", id="expired"
        ),
        pytest.param(
            make_delegate(CA, valid=(now() + HOUR, now() + DAY)),
            "is valid from",
            id="not yet valid",
        ),
        pytest.param(make_delegate(NAMESAKE), "not issued by the key", id="by a CA of that name"),
        pytest.param(make_delegate(RENAMED), "not issued by the key", id="by a CA of that key"),
        pytest.param(make_delegate(DELEGATE), "not issued by the key", id="by another delegate"),
        pytest.param(
            make_delegate(CA, extensions=[(key_usage(), True)]), "key usage", id="other key usage"
        ),
        pytest.param(
            make_delegate(
                CA,
                extensions=[
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)
                ],
            ),
            "critical extension",
            id="a critical extension",
        ),
    ],
)
def test_others_may_not_sign(delegate: Party, reason: str) -> None:
    """A delegate needs the issuer's own signature, the EKU, and to be valid now."""
    assert reason in refuse(good(signer=delegate, certificates=[delegate]))
    assert verify(good(signer=DELEGATE, certificates=[DELEGATE])).kind == "good"


@pytest.mark.parametrize(
    "extensions",
    [
        pytest.param([(key_usage(digital_signature=True), True)], id="digitalSignature"),
        pytest.param([(x509.OCSPNoCheck(), False)], id="ocsp-nocheck"),
        pytest.param(
            [(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), False)],
            id="an unknown extension that is not critical",
        ),
    ],
)
def test_usual_extensions_of_delegates_do_no_harm(
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> None:
    """The nearest delegates to those above."""
    delegate = make_delegate(CA, extensions=extensions)
    assert verify(good(signer=delegate, certificates=[delegate])).kind == "good"


def test_delegate_by_sha_1_is_refused() -> None:
    """The certificate of a delegate is a signature as well, and could be made to collide."""
    ca = make_ca(key=new_key("rsa"))
    leaf = issue(ca)
    delegate = make_delegate(ca)
    response = Response([Single(leaf.certificate, ca)], delegate, certificates=[delegate])
    assert verify(response, issuer=ca, leaf=leaf).kind == "good"

    weak = authority.certificate_by_sha1(delegate, ca)
    with pytest.raises(ResponseInvalid, match="too weak"):
        verify(response.but(signer=weak, certificates=[weak]), issuer=ca, leaf=leaf)


def test_delegate_whose_certificate_is_missing_is_refused() -> None:
    """Without it nobody knows whose signature this is."""
    assert "ResponderID" in refuse(good(signer=DELEGATE))


def test_the_leaf_itself_may_not_sign() -> None:
    """Whoever has its key would decide whether it is revoked."""
    assert "may not sign" in refuse(good(signer=LEAF, certificates=[LEAF]))


def test_any_of_several_issuers_may_sign() -> None:
    """The documented method takes a list; whoever stands in it counts, and nobody else."""
    response = ocsp.parse_response(good().der)
    check = Certgrinderd.check_ocsp_response_signature
    assert check(response, [NAMESAKE.certificate, CA.certificate])
    assert check(
        ocsp.parse_response(good(signer=DELEGATE, certificates=[DELEGATE]).der), [CA.certificate]
    )
    assert not check(response, [NAMESAKE.certificate])
    assert not check(response, [])


# 5 and 6. Does it hold now?


@pytest.mark.parametrize(
    ("this_update", "next_update", "current"),
    [
        pytest.param(-HOUR, DAY, True, id="now"),
        pytest.param(4 * MINUTE, DAY, True, id="future, within the tolerance"),
        pytest.param(6 * MINUTE, DAY, False, id="future"),
        pytest.param(-DAY, -4 * MINUTE, True, id="over, within the tolerance"),
        pytest.param(-DAY, -6 * MINUTE, False, id="over"),
        pytest.param(-HOUR, None, False, id="without nextUpdate"),
        pytest.param(4 * MINUTE, 3 * MINUTE, False, id="over before it began"),
    ],
)
def test_response_holds_now(
    this_update: dt.timedelta, next_update: dt.timedelta | None, *, current: bool
) -> None:
    """ThisUpdate and nextUpdate, with 5 minutes for clocks that differ."""
    answer = single(
        this_update=now() + this_update,
        next_update=None if next_update is None else now() + next_update,
    )
    response = good(singles=[answer])
    if current:
        assert verify(response).kind == "good"
    else:
        refuse(response, ResponseNotCurrent)
    parsed = ocsp.parse_response(response.der)
    assert Certgrinderd.check_ocsp_response_timing(parsed) is current


def test_time_of_another_answer_does_not_matter() -> None:
    """An old answer about another certificate takes nothing away from ours."""
    old = single(OTHER_LEAF.certificate, this_update=now() - 3 * DAY, next_update=now() - DAY)
    assert verify(good(singles=[old, single()])).kind == "good"


# Nonce and critical extensions.


@pytest.mark.parametrize(
    ("sent", "echoed", "accepted"),
    [
        pytest.param(b"n" * 32, b"n" * 32, True, id="echoed"),
        pytest.param(b"n" * 32, None, True, id="a response made in advance"),
        pytest.param(None, b"n" * 32, True, id="not asked for"),
        pytest.param(b"n" * 32, b"m" * 32, False, id="another one"),
    ],
)
def test_nonce_is_compared_if_it_comes_back(
    sent: bytes | None, echoed: bytes | None, *, accepted: bool
) -> None:
    """A nonce shows that the response was made for this request; not to have one is legal."""
    builder = x509_ocsp.OCSPRequestBuilder()
    builder = builder.add_certificate(LEAF.certificate, CA.certificate, hashes.SHA1())  # noqa: S303
    if sent is not None:
        builder = builder.add_extension(x509.OCSPNonce(sent), critical=False)
    extensions = [] if echoed is None else [extension(NONCE, tlv(0x04, echoed))]
    response = ocsp.parse_response(good(extensions=extensions).der)
    checked = Certgrinderd.check_ocsp_response(
        builder.build(), response, LEAF.certificate, CA.certificate
    )
    assert checked is accepted


@pytest.mark.parametrize("critical", [False, True])
@pytest.mark.parametrize("place", ["response", "our answer", "the answer next to it"])
def test_unknown_critical_extension_is_refused(place: str, *, critical: bool) -> None:
    """RFC 6960 section 4.4: ignored unless critical."""
    added = [extension("1.2.3.4", b"\5\0", critical=critical)]
    ours = single(extensions=added if place == "our answer" else ())
    other = single(
        OTHER_LEAF.certificate,
        status="revoked",
        extensions=added if place == "the answer next to it" else (),
    )
    response = good(singles=[ours, other], extensions=added if place == "response" else ())
    if critical:
        assert "critical extension" in refuse(response)
    else:
        assert verify(response).kind == "good"


# What a good response says.


def test_revoked_response_is_good() -> None:
    """Good is whether it can be trusted; what it says comes with it."""
    answer = single(status="revoked")
    status = verify(good(singles=[answer]))
    assert (status.kind, status.reason) == ("revoked", "keyCompromise")
    assert status.revoked_at == answer.this_update
    assert (status.this_update, status.next_update) == (answer.this_update, answer.next_update)
    assert status.half_time == answer.this_update + (DAY + HOUR) / 2


def test_documented_methods_agree_on_a_good_response() -> None:
    """Each of them says yes to it."""
    request = Certgrinderd.create_ocsp_request(LEAF.certificate, CA.certificate)
    response = ocsp.parse_response(good(singles=[single(status="revoked")]).der)
    assert Certgrinderd.check_ocsp_response_issuer(request, response)
    assert Certgrinderd.check_ocsp_response_timing(response)
    assert Certgrinderd.check_ocsp_response_signature(response, [CA.certificate])
    assert Certgrinderd.check_ocsp_response(request, response, LEAF.certificate, CA.certificate)


@pytest.mark.parametrize("status", [1, 3, 6])
def test_documented_methods_say_no_to_a_refusal(status: int) -> None:
    """A response without an answer has none of the fields; that is no traceback."""
    request = Certgrinderd.create_ocsp_request(LEAF.certificate, CA.certificate)
    response = ocsp.parse_response(authority.refusal(status))
    assert not Certgrinderd.check_ocsp_response_issuer(request, response)
    assert not Certgrinderd.check_ocsp_response_timing(response)
    assert not Certgrinderd.check_ocsp_response_signature(response, [CA.certificate])
    assert not Certgrinderd.check_ocsp_response(request, response, LEAF.certificate, CA.certificate)


# No byte of it can be changed.

PSS_CA = make_ca(key=new_key("rsa"))
PSS_LEAF = issue(PSS_CA)


def _flip_cases() -> list[tuple[str, Response, Party, Party]]:
    return [
        ("issuer", good(), CA, LEAF),
        ("delegate", good(signer=DELEGATE, certificates=[DELEGATE], by="name"), CA, LEAF),
        (
            "two answers",
            good(singles=[single(OTHER_LEAF.certificate, status="revoked"), single()]),
            CA,
            LEAF,
        ),
        ("revoked", good(singles=[single(status="revoked")]), CA, LEAF),
        (
            "RSASSA-PSS",
            Response([Single(PSS_LEAF.certificate, PSS_CA)], PSS_CA, "rsa-pss-sha256"),
            PSS_CA,
            PSS_LEAF,
        ),
    ]


def _require_no_change(verified: Callable[[bytes], Status], data: bytes, changed: bytes) -> bool:
    """Require that the changed bytes are refused or say the same; whether they are refused."""
    try:
        status = verified(changed)
    except CertgrinderdError:
        return True
    assert status == verified(data)
    return False


@pytest.mark.parametrize(
    ("response", "ca", "leaf"),
    [pytest.param(*case[1:], id=case[0]) for case in _flip_cases()],
)
def test_no_flipped_bit_yields_another_status(response: Response, ca: Party, leaf: Party) -> None:
    """Each bit of a response: it is refused, or what it says is what was signed."""
    data = response.der

    def verified(changed: bytes) -> Status:
        return verify(changed, issuer=ca, leaf=leaf)

    assert _require_no_change(verified, data, data) is False
    refused = 0
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            refused += _require_no_change(verified, data, bytes(changed))
    # Nearly all: what may be changed is the certificate of a signer, which is not signed by it.
    assert refused > 0.9 * 8 * len(data)


SIGNED = good(signer=DELEGATE, certificates=[DELEGATE]).der


@given(st.integers(0, len(SIGNED) - 1), st.integers(0, 255), st.integers(0, 3))
def test_no_other_byte_yields_another_status(place: int, value: int, removed: int) -> None:
    """Any byte in the place of any other, or of none, or of several."""
    changed = SIGNED[:place] + bytes([value]) + SIGNED[place + removed :]
    _require_no_change(verify, SIGNED, changed)


@given(st.binary(max_size=300))
def test_any_bytes_yield_a_value_or_our_error(data: bytes) -> None:
    """Whatever a responder sends, nothing but our own errors comes out."""
    with pytest.raises(CertgrinderdError):
        verify(data)


def test_response_by_cryptographys_builder_is_good() -> None:
    """Our own encoder of test responses is not the only one that is understood."""
    builder = x509_ocsp.OCSPResponseBuilder().add_response(
        cert=LEAF.certificate,
        issuer=CA.certificate,
        algorithm=hashes.SHA1(),  # noqa: S303 - a CertID
        cert_status=x509_ocsp.OCSPCertStatus.UNKNOWN,
        this_update=now() - HOUR,
        next_update=now() + DAY,
        revocation_time=None,
        revocation_reason=None,
    )
    builder = builder.responder_id(x509_ocsp.OCSPResponderEncoding.NAME, CA.certificate)
    response = builder.sign(CA.key, hashes.SHA256())
    assert verify(response.public_bytes(Encoding.DER)).kind == "unknown"
