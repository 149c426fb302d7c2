"""CRLs (RFC 5280 section 5): deciding whether one can be trusted, and looking a certificate up.

`verify` makes the checks of RFC 5280 section 6.3.3 that concern a complete CRL by the certificate's
own issuer. Indirect and delta CRLs, and those for some reasons only, are refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes

from certgrinderd.errors import ResponseInvalid, RevocationError
from certgrinderd.revocation.status import Status, reading, require_current, require_strong

_UNDERSTOOD = (x509.IssuingDistributionPoint, x509.AuthorityKeyIdentifier, x509.CRLNumber)


def distribution_urls(certificate: x509.Certificate) -> list[str]:
    """Return the http and https URLs of the CRLs that cover the certificate, in their order.

    Raises:
        RevocationError: There is none.
    """
    urls = []
    indirect = False
    for point in _distribution_points(certificate):
        if point.crl_issuer:
            indirect = True
        elif not point.reasons:
            urls += [
                name.value
                for name in point.full_name or ()
                if isinstance(name, x509.UniformResourceIdentifier)
                and name.value.lower().startswith(("http://", "https://"))
            ]
    if not urls:
        raise RevocationError(
            "the certificate's CRL is by another issuer, an indirect CRL: that is not supported"
            if indirect
            else "the certificate names no CRL: its CA offers none by HTTP"
        )
    return urls


def _distribution_points(certificate: x509.Certificate) -> list[x509.DistributionPoint]:
    with reading("the certificate's extensions"):
        try:
            found = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints)
        except x509.ExtensionNotFound:
            return []
        return list(found.value)


def parse(data: bytes) -> x509.CertificateRevocationList:
    """Read a CRL in DER (RFC 5280 section 4.2.1.13); nothing in it is verified here.

    Raises:
        ResponseInvalid: It is none.
    """
    with reading("the CRL"):
        return x509.load_der_x509_crl(data)


def verify(
    crl: x509.CertificateRevocationList,
    *,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
) -> Status:
    """Require that a CRL is to be trusted, and return what it says about a certificate.

    Args:
        crl: All in it is untrusted.
        certificate: Whose status is asked for.
        issuer: Whose signature on it was verified.
        now: Aware, UTC.

    Raises:
        ResponseInvalid: It is another kind of CRL, does not cover the certificate, or its
            signature is not to be trusted.
        ResponseNotCurrent: It is for another time.
    """
    with reading("the CRL"):
        _require_kind(crl)
        if crl.issuer != certificate.issuer:
            raise ResponseInvalid(
                f"it is by {crl.issuer.rfc4514_string()!r}, not by the certificate's issuer: "
                "an indirect CRL, which is not supported"
            )
        _require_scope(crl, certificate)
        _require_signature(crl, issuer)
        require_current(crl.last_update_utc, crl.next_update_utc, now=now)
        _require_plain_entries(crl)
        return _status(crl, certificate)


def _require_kind(crl: x509.CertificateRevocationList) -> None:
    for extension in crl.extensions:
        if isinstance(extension.value, x509.DeltaCRLIndicator):
            raise ResponseInvalid("it is a delta CRL, which is not supported")
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise ResponseInvalid(
                f"it has a critical extension that is not known here: {extension.oid.dotted_string}"
            )


def _require_scope(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> None:
    """Require that the certificate is one of those that the CRL is about (section 5.2.5)."""
    try:
        scope = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return
    if scope.indirect_crl:
        raise ResponseInvalid("it is an indirect CRL, which is not supported")
    if scope.only_some_reasons:
        raise ResponseInvalid("it is a CRL for some reasons only, which is not supported")
    is_ca = _is_ca(certificate)
    if (
        scope.only_contains_attribute_certs
        or (scope.only_contains_user_certs and is_ca)
        or (scope.only_contains_ca_certs and not is_ca)
    ):
        raise ResponseInvalid("it is a CRL about another kind of certificate")
    names = {name for point in _distribution_points(certificate) for name in point.full_name or ()}
    if scope.relative_name is not None or (
        scope.full_name is not None and not names.intersection(scope.full_name)
    ):
        raise ResponseInvalid("it is the CRL of another distribution point than the certificate's")


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _require_signature(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    require_strong(crl.signature_hash_algorithm)
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        pass
    else:
        if not usage.crl_sign:
            raise ResponseInvalid("the key usage of the certificate's issuer excludes CRLs")
    key = cast("CertificateIssuerPublicKeyTypes", issuer.public_key())  # else TypeError
    if not crl.is_signature_valid(key):
        raise ResponseInvalid("its signature is not by the certificate's issuer")


def _require_plain_entries(crl: x509.CertificateRevocationList) -> None:
    """Require that no entry has a critical extension (section 5.3).

    It would be certificateIssuer, of an indirect CRL, or one that could change what an entry means.
    """
    if any(extension.critical for entry in crl for extension in entry.extensions):
        raise ResponseInvalid("an entry has a critical extension: an indirect CRL, or one unknown")


def _status(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> Status:
    next_update = crl.next_update_utc
    if next_update is None:  # require_current saw it
        raise ResponseInvalid("there is no nextUpdate")
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is None:
        return Status("good", crl.last_update_utc, next_update)
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except x509.ExtensionNotFound:
        reason = None
    return Status("revoked", crl.last_update_utc, next_update, entry.revocation_date_utc, reason)
