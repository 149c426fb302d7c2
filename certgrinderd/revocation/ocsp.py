"""OCSP (RFC 6960, RFC 5019): building a request, and deciding whether a response can be trusted.

`verify` makes all checks of RFC 6960 section 3.2, under their numbers there:

1. The response is about the certificate of the request: require_match.
2. Its signature is valid: require_authorized_signature, as 3 and 4.
3. The signer is who the response says: its ResponderID.
4. The signer may speak for the issuer of that certificate (section 4.2.2.2).
5. thisUpdate is recent enough: status.require_current, as 6.
6. nextUpdate, which must be there (RFC 5019 section 4), is not over.

Before them the responseStatus (section 4.2.1), and with them the nonce (section 4.4.1) and critical
extensions (section 4.4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.ocsp import (
    OCSPCertStatus,
    OCSPRequest,
    OCSPRequestBuilder,
    OCSPResponse,
    OCSPResponseStatus,
    OCSPSingleResponse,
    load_der_ocsp_response,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from certgrinderd.errors import ResponseInvalid, RevocationError, Unreachable
from certgrinderd.pki import der
from certgrinderd.pki.certificates import CLOCK_TOLERANCE, is_signed_by
from certgrinderd.revocation import signature
from certgrinderd.revocation.status import Kind, Status, reading, require_current, require_strong

_GENERALIZED_TIME = 0x18
_KINDS: dict[OCSPCertStatus, Kind] = {
    OCSPCertStatus.GOOD: "good",
    OCSPCertStatus.REVOKED: "revoked",
    OCSPCertStatus.UNKNOWN: "unknown",
}


def responder_urls(certificate: x509.Certificate) -> list[str]:
    """Return the http and https URLs of the certificate's OCSP responders, in their order.

    Raises:
        RevocationError: There is none.
    """
    with reading("the certificate's extensions"):
        try:
            found = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
        except x509.ExtensionNotFound:
            descriptions: list[x509.AccessDescription] = []
        else:
            descriptions = list(found.value)
    urls = [
        description.access_location.value
        for description in descriptions
        if description.access_method == AuthorityInformationAccessOID.OCSP
        and isinstance(description.access_location, x509.UniformResourceIdentifier)
        and description.access_location.value.lower().startswith(("http://", "https://"))
    ]
    if not urls:
        raise RevocationError(
            "the certificate names no OCSP responder: its CA offers no OCSP, so there is nothing "
            "to staple"
        )
    return urls


def build_request(certificate: x509.Certificate, issuer: x509.Certificate) -> OCSPRequest:
    """Build a request about one certificate.

    The hash in its CertID identifies and protects nothing, and SHA-1 is the one that every
    responder knows (RFC 5019 section 2.1.1). It has no nonce: responses made in advance have none
    either, and nextUpdate bounds how long an old one can be replayed.
    """
    builder = OCSPRequestBuilder()
    return builder.add_certificate(certificate, issuer, hashes.SHA1()).build()  # noqa: S303 - see above


def parse_response(data: bytes) -> OCSPResponse:
    """Read a response in DER, of whatever responseStatus; nothing in it is verified here.

    Raises:
        ResponseInvalid: It is none.
    """
    with reading("the OCSP response"):
        return load_der_ocsp_response(data)


def verify(
    request: OCSPRequest,
    response: OCSPResponse,
    *,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
) -> Status:
    """Require that a response is to be trusted, and return what it says, whatever that is.

    Args:
        request: What was asked.
        response: The answer; all in it is untrusted.
        certificate: What the request is about.
        issuer: Whose signature on it was verified.
        now: Aware, UTC.

    Raises:
        ResponseInvalid: It is not for this request, or the signature is not to be trusted.
        ResponseNotCurrent: It is for another time.
        Unreachable: The responder says that it can't answer now.
    """
    require_successful(response)
    with reading("the OCSP response"):
        _require_request_about(request, certificate, issuer)
        single = require_match(request, response)  # 1
        _require_known_extensions(request, response)
        require_authorized_signature(response, [issuer], now=now)  # 2, 3, 4
        require_current(single.this_update_utc, single.next_update_utc, now=now)  # 5, 6
        return _status(single)


def require_successful(response: OCSPResponse) -> None:
    """Require that the responder gave an answer at all (RFC 6960 section 2.3).

    Raises:
        Unreachable: It says that it can't now.
        ResponseInvalid: It will not.
    """
    status = response.response_status
    if status is OCSPResponseStatus.SUCCESSFUL:
        return
    if status in {OCSPResponseStatus.TRY_LATER, OCSPResponseStatus.INTERNAL_ERROR}:
        raise Unreachable(f"the OCSP responder says {status.name}")
    hint = ""
    if status is OCSPResponseStatus.UNAUTHORIZED:
        hint = ": it does not know the certificate or its CA (RFC 5019 section 2.2.3)"
    raise ResponseInvalid(f"the OCSP responder says {status.name}{hint}")


def _require_request_about(
    request: OCSPRequest, certificate: x509.Certificate, issuer: x509.Certificate
) -> None:
    builder = OCSPRequestBuilder()
    same = builder.add_certificate(certificate, issuer, request.hash_algorithm).build()
    if _identifies(request) != _identifies(same):
        raise ResponseInvalid("the OCSP request is about another certificate")


def require_match(request: OCSPRequest, response: OCSPResponse) -> OCSPSingleResponse:
    """Require that one SingleResponse has exactly the request's CertID, and return it.

    Others may stand next to it (RFC 6960 section 4.2.1). Two with the same CertID could say two
    different things, and those whom the response is stapled to might read the other one.

    Raises:
        ResponseInvalid: There is none, or more than one.
        ValueError: It can't be read.
    """
    wanted = _identifies(request)
    matching = [each for each in response.responses if _identifies(each) == wanted]
    if len(matching) != 1:
        found = "more than one answer" if matching else "no answer"
        raise ResponseInvalid(
            f"it has {found} about this certificate: expected one for the serial number "
            f"{request.serial_number:x} of this issuer"
        )
    return matching[0]


def _identifies(holder: OCSPRequest | OCSPSingleResponse) -> tuple[str, bytes, bytes, int]:
    """All four parts of a CertID (RFC 6960 section 4.1.1)."""
    return (
        holder.hash_algorithm.name,
        holder.issuer_name_hash,
        holder.issuer_key_hash,
        holder.serial_number,
    )


def _require_known_extensions(request: OCSPRequest, response: OCSPResponse) -> None:
    """Require the request's nonce, if a nonce comes back, and nothing critical that we don't know.

    A response to a request with a nonce may have none: it was made in advance (RFC 9654).
    """
    for extension in response.extensions:
        if not isinstance(extension.value, x509.OCSPNonce):
            if extension.critical:
                raise ResponseInvalid(_unknown_extension(extension.oid.dotted_string))
            continue
        for sent in request.extensions:
            if isinstance(sent.value, x509.OCSPNonce) and sent.value != extension.value:
                raise ResponseInvalid("its nonce is not that of the request")
    for content in _single_extensions(response):
        if any(tag == der.BOOLEAN and value != b"\0" for tag, value in der.elements(content)):
            raise ResponseInvalid(_unknown_extension("of a SingleResponse"))


def _unknown_extension(which: str) -> str:
    return f"it has a critical extension that is not known here: {which}"


def _single_extensions(response: OCSPResponse) -> Iterator[bytes]:
    """The content of each singleExtension; `cryptography` shows those of a lone SingleResponse."""
    data = der.elements(der.single(response.tbs_response_bytes, der.SEQUENCE))
    (responses,) = (content for tag, content in data if tag == der.SEQUENCE)
    for _, single in der.elements(responses):
        parts = list(der.elements(single))
        # [1] is the tag of "revoked" as well, which comes before thisUpdate.
        after = [tag for tag, _ in parts].index(_GENERALIZED_TIME)
        for tag, extensions in parts[after:]:
            if tag == der.context(1):
                for _, extension in der.elements(der.single(extensions, der.SEQUENCE)):
                    yield extension


def require_authorized_signature(
    response: OCSPResponse, issuers: Sequence[x509.Certificate], *, now: datetime
) -> None:
    """Require a signature by one of the issuers, or by somebody whom it made its delegate.

    That a delegate is not revoked itself is not looked at: RFC 6960 section 4.2.2.2.1 leaves that
    to local policy, and delegates are short-lived.

    Args:
        response: A successful response.
        issuers: Any of which may have issued the certificate that the response is about.
        now: Aware, UTC; for the validity of a delegate.

    Raises:
        ResponseInvalid: There is none.
        ValueError: Something can't be read.
    """
    candidates = [each for each in (*issuers, *response.certificates) if _is_named(response, each)]
    if not candidates:
        raise ResponseInvalid(
            "its ResponderID is not that of the issuer or of a certificate in the response"
        )
    signers = [each for each in candidates if signature.is_signed_by(response, each.public_key())]
    if not signers:
        raise ResponseInvalid("its signature is wrong")
    failures = []
    for signer in signers:  # of one key, but perhaps not all in their time
        try:
            _require_authorized(signer, issuers, now=now)
        except ResponseInvalid as error:  # noqa: PERF203 - a signature is dearer
            failures.append(error)
        else:
            return
    raise failures[0]


def _require_authorized(
    signer: x509.Certificate, issuers: Sequence[x509.Certificate], *, now: datetime
) -> None:
    if any(signer.public_key() == issuer.public_key() for issuer in issuers):
        return
    name = repr(signer.subject.rfc4514_string())
    require_strong(signer.signature_hash_algorithm, what=f"the certificate of {name}")
    if not any(is_signed_by(signer, issuer) for issuer in issuers):
        raise ResponseInvalid(
            f"it is signed by {name}, which was not issued by the key of the certificate's issuer"
        )
    _require_delegate(signer, now=now)


def _is_named(response: OCSPResponse, signer: x509.Certificate) -> bool:
    """Whether the ResponderID is that of a certificate: by its name, or by the hash of its key."""
    if response.responder_name is not None:
        return response.responder_name == signer.subject
    identifier = x509.SubjectKeyIdentifier.from_public_key(signer.public_key())  # SHA-1, as asked
    return response.responder_key_hash == identifier.digest


def _require_delegate(signer: x509.Certificate, *, now: datetime) -> None:
    """Require that a certificate, whose issuer was verified, lets its key sign responses now."""
    name = repr(signer.subject.rfc4514_string())
    first, last = signer.not_valid_before_utc, signer.not_valid_after_utc
    if not first - CLOCK_TOLERANCE <= now <= last + CLOCK_TOLERANCE:
        raise ResponseInvalid(
            f"it is signed by {name}, which is valid from {first:%Y-%m-%d %H:%M} to "
            f"{last:%Y-%m-%d %H:%M} UTC: the time here is {now:%Y-%m-%d %H:%M}"
        )
    may_sign = False
    for extension in signer.extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            may_sign = ExtendedKeyUsageOID.OCSP_SIGNING in value
        elif isinstance(value, x509.KeyUsage):
            if not (value.digital_signature or value.content_commitment):
                raise ResponseInvalid(f"it is signed by {name}, whose key usage excludes that")
        elif extension.critical and isinstance(value, x509.UnrecognizedExtension):
            raise ResponseInvalid(_unknown_extension(f"{value.oid.dotted_string} of {name}"))
    if not may_sign:
        raise ResponseInvalid(
            f"it is signed by {name}, which may not sign OCSP responses: "
            "its certificate lacks the extended key usage OCSPSigning"
        )


def _status(single: OCSPSingleResponse) -> Status:
    next_update = single.next_update_utc
    if next_update is None:  # require_current saw it
        raise ResponseInvalid("there is no nextUpdate")
    reason = single.revocation_reason
    return Status(
        kind=_KINDS[single.certificate_status],
        this_update=single.this_update_utc,
        next_update=next_update,
        revoked_at=single.revocation_time_utc,
        reason=reason.value if reason is not None else None,
    )
