"""Getting OCSP responses and CRLs: which URLs, in which order, from the cache or fetched."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPRequest

from certgrinderd.errors import RevocationError, Temporary, Unreachable
from certgrinderd.revocation import crl, download, ocsp
from certgrinderd.revocation.cache import Entry
from certgrinderd.revocation.status import Status
from certgrinderd.settings.table import Settings
from certgrinderd.system.deadline import Deadline

logger = logging.getLogger(__name__)

LARGEST_RESPONSE = 65536
# A certificate may name any number of URLs; the rest is not tried.
MOST_URLS = 8


@dataclass(frozen=True)
class Answer:
    """A verified OCSP response or CRL.

    Attributes:
        der: The response or CRL, unchanged.
        status: What it says about the certificate.
        source: Where it came from, for people.
    """

    der: bytes
    status: Status
    source: str


@dataclass(frozen=True)
class Question:
    """Whose status is asked for, and by whom.

    Attributes:
        certificate: The leaf.
        issuer: Whose signature on it was verified.
        settings: Limits, and where responses are kept.
        for_client: Whether it is a client who asks, for whom not every address is reached.
    """

    certificate: x509.Certificate
    issuer: x509.Certificate
    settings: Settings
    for_client: bool

    @property
    def public_only(self) -> bool:
        """Whether requests may go to public addresses alone."""
        return self.for_client and not self.settings.ocsp_allow_private

    def deadline(self, seconds: float) -> Deadline:
        """A time limit; a client that hangs up ends the run."""
        return Deadline(seconds, for_client=self.for_client)


def everything(question: Question) -> list[tuple[str, str]]:
    """Ask for the OCSP response and the CRL; return the name and the result or error of each."""
    answers = []
    ways = (("OCSP", ocsp_response), ("CRL", certificate_revocation_list))
    for name, ask in ways:
        try:
            said = str(ask(question).status)
        except (RevocationError, Temporary) as error:
            said = f"not known: {error}"
        answers.append((name, said))
    return answers


def ocsp_response(question: Question) -> Answer:
    """Return a response that passes all checks, kept from before or fetched.

    Raises:
        RevocationError: There is none; the log has the cause for each responder.
        Unreachable: No responder answered.
        ConfigurationError: The setting `cache-dir` can't be used.
        LockTimeout: Another process fetches the same response, and takes too long.
    """
    urls = ocsp.responder_urls(question.certificate)[:MOST_URLS]
    entry = _cache_entry(question)
    if entry is None:
        return _fetched_response(question, urls)
    kept = _kept_response(question, entry.read(LARGEST_RESPONSE))
    if kept is not None:
        return kept
    with entry.locked(question.deadline(question.settings.ocsp_timeout * (len(urls) + 1))):
        # Another process may have fetched it while we waited.
        kept = _kept_response(question, entry.read(LARGEST_RESPONSE))
        if kept is None:
            kept = _fetched_response(question, urls)
            entry.write(kept.der)
    return kept


def _cache_entry(question: Question) -> Entry | None:
    folder = question.settings.cache_dir
    if folder is None:
        return None
    entry = Entry(folder, question.certificate, question.issuer)
    if not entry.is_ours():
        logger.info("not using the cache: its folder belongs to another user")
        return None
    return entry


def _kept_response(question: Question, data: bytes | None) -> Answer | None:
    """Return a response from the cache if it still passes all checks and is in its first half."""
    if data is None:
        return None
    request = ocsp.build_request(question.certificate, question.issuer)
    try:
        answer = _verified_response(question, request, data, source="the cache")
    except (RevocationError, Unreachable) as error:
        logger.info("not using the OCSP response in the cache: %s", error)
        return None
    return answer if _now() < answer.status.half_time else None


def _fetched_response(question: Question, urls: Sequence[str]) -> Answer:
    request = ocsp.build_request(question.certificate, question.issuer)
    settings = question.settings

    def ask(url: str) -> Answer:
        # POST is what every responder takes (RFC 6960 appendix A.1), and no cache between us and
        # the responder answers it with an older response.
        data = download.fetch(
            url,
            question.deadline(settings.ocsp_timeout),
            size=LARGEST_RESPONSE,
            public_only=question.public_only,
            body=request.public_bytes(Encoding.DER),
            content_type="application/ocsp-request",
        )
        return _verified_response(question, request, data, source=url)

    return _first(urls, ask, what="OCSP response")


def _verified_response(
    question: Question, request: OCSPRequest, data: bytes, *, source: str
) -> Answer:
    status = ocsp.verify(
        request,
        ocsp.parse_response(data),
        certificate=question.certificate,
        issuer=question.issuer,
        now=_now(),
    )
    return Answer(data, status, source)


def certificate_revocation_list(question: Question) -> Answer:
    """Fetch the CRL that covers the certificate.

    Raises:
        RevocationError: There is none that passes all checks; the log has the cause for each URL.
    """
    urls = crl.distribution_urls(question.certificate)[:MOST_URLS]
    settings = question.settings

    def ask(url: str) -> Answer:
        data = download.fetch(
            url,
            question.deadline(settings.crl_timeout),
            size=settings.max_crl_size,
            public_only=question.public_only,
        )
        status = crl.verify(
            crl.parse(data),
            certificate=question.certificate,
            issuer=question.issuer,
            now=_now(),
        )
        return Answer(data, status, url)

    try:
        return _first(urls, ask, what="CRL")
    except Unreachable as error:
        # A CRL is a file on a web server: if there is no answer, the CA has to fix it.
        raise RevocationError(str(error)) from error


def _first(urls: Sequence[str], ask: Callable[[str], Answer], *, what: str) -> Answer:
    """The first answer that passes all checks.

    Raises:
        Unreachable: There is none, and nobody answered.
        RevocationError: There is none.
    """
    failures: list[RevocationError | Unreachable] = []
    for url in urls:
        try:
            return ask(url)
        except (RevocationError, Unreachable) as error:  # noqa: PERF203 - a request is dearer
            failures.append(error)
            if len(urls) > 1:
                logger.warning("the %s from %r: %s", what, url, error)
    if len(failures) == 1:
        raise type(failures[0])(f"the {what} from {urls[0]!r}: {failures[0]}") from failures[0]
    temporary = all(isinstance(failure, Unreachable) for failure in failures)
    kind = Unreachable if temporary else RevocationError
    raise kind(f"no {what} from any of the {len(urls)} URLs in the certificate, as logged above")


def _now() -> datetime:
    return datetime.now(timezone.utc)
