"""The documented methods of Certgrinderd that make OCSP requests and check responses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from certgrinderd.errors import CertgrinderdError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.ocsp import OCSPRequest, OCSPResponse

logger = logging.getLogger(__name__)


class OcspMethods:
    """They need no configuration, and answer as documented: log an error and return False."""

    @classmethod
    def create_ocsp_request(
        cls, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> OCSPRequest:
        """Make an OCSP request about one certificate.

        Args:
            certificate: The certificate.
            issuer: Its issuer.
        """
        from certgrinderd.revocation import ocsp

        return ocsp.build_request(certificate, issuer)

    @classmethod
    def check_ocsp_response(
        cls,
        ocsp_request: OCSPRequest,
        ocsp_response: OCSPResponse,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
    ) -> bool:
        """Whether a response passes all checks of RFC 6960 section 3.2, revoked or not.

        Args:
            ocsp_request: The request.
            ocsp_response: The response to it.
            certificate: The certificate that the request is about.
            issuer: The issuer of the certificate.
        """
        from certgrinderd.revocation import ocsp

        return _passes(
            lambda: ocsp.verify(
                ocsp_request, ocsp_response, certificate=certificate, issuer=issuer, now=_now()
            )
        )

    @staticmethod
    def check_ocsp_response_issuer(ocsp_request: OCSPRequest, ocsp_response: OCSPResponse) -> bool:
        """Whether a response is about the certificate of the request, by the same issuer.

        Args:
            ocsp_request: The request.
            ocsp_response: The response to it.
        """
        from certgrinderd.revocation import ocsp

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            ocsp.require_match(ocsp_request, ocsp_response)

        return _passes(check)

    @staticmethod
    def check_ocsp_response_timing(ocsp_response: OCSPResponse) -> bool:
        """Whether all that a response says holds now.

        Args:
            ocsp_response: The response.
        """
        from certgrinderd.revocation import ocsp
        from certgrinderd.revocation.status import require_current

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            now = _now()
            for single in ocsp_response.responses:
                require_current(single.this_update_utc, single.next_update_utc, now=now)

        return _passes(check)

    @classmethod
    def check_ocsp_response_signature(
        cls, ocsp_response: OCSPResponse, issuers: list[x509.Certificate]
    ) -> bool:
        """Whether a response is signed by one of the issuers, or by a delegate of one.

        Args:
            ocsp_response: The response.
            issuers: The certificates of those who may have issued the certificate in question.
        """
        from certgrinderd.revocation import ocsp

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            ocsp.require_authorized_signature(ocsp_response, issuers, now=_now())

        return _passes(check)


def _passes(check: Callable[[], object]) -> bool:
    from certgrinderd.revocation.status import reading

    try:
        with reading("the OCSP response"):
            check()
    except CertgrinderdError as error:
        logger.error("the OCSP response: %s", error)  # noqa: TRY400 - for people, who get no traceback
        return False
    return True


def _now() -> datetime:
    return datetime.now(timezone.utc)
