"""Talking to an ACME server: nonces, signed requests, retries and problem documents (RFC 8555)."""

from __future__ import annotations

import json
import logging
import threading
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from certgrinderd.errors import AcmeError, RateLimited, Unreachable
from certgrinderd.issuance.acme import jws
from certgrinderd.issuance.acme.connection import Answer, Client
from certgrinderd.system import http
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

_ERROR_PREFIX = "urn:ietf:params:acme:error:"
_LONGEST_TEXT = 1000
_MOST_SUBPROBLEMS = 100

# RFC 8555 section 6.5: try again with the nonce that came along. Half of all nonces may be bad.
_MOST_BAD_NONCES = 40
_MOST_FAILURES = 4
_FIRST_PAUSE = 0.25
# For a longer wait the run ends: the client tries again by itself.
_LONGEST_RETRY_AFTER = 10.0
# More makes no sense, and could not be shown as a date.
_LONGEST_WAIT = 366 * 86400.0


class Session:
    """A server, and our account there once we have one.

    Safe to use from several threads.

    Attributes:
        directory_url: The server's.
        deadline: For the task in hand.
        key: The account's key.
        account_url: The account; None as long as there is none.
    """

    def __init__(self, directory_url: str, client: Client, deadline: Deadline) -> None:
        self.directory_url = directory_url
        self.deadline = deadline
        self.key: jws.AccountKey | None = None
        self.account_url: str | None = None
        self._client = client
        self._nonces: deque[str] = deque(maxlen=64)
        self._directory: Mapping[str, Any] | None = None
        self._origins = {_origin(directory_url)}
        self._lock = threading.Lock()

    @property
    def directory(self) -> Mapping[str, Any]:
        """The server's directory (RFC 8555 section 7.1.1), which is fetched once.

        Raises:
            AcmeError, Unreachable: See get.
        """
        with self._lock:
            if self._directory is None:
                found = json_object(self.get(self.directory_url), self.directory_url)
                if not isinstance(found.get("newOrder"), str):
                    raise AcmeError(f"{self.directory_url} is not the directory of an ACME server")
                self._origins |= {_origin(url) for url in found.values() if isinstance(url, str)}
                self._directory = found
            return self._directory

    def url(self, name: str) -> str:
        """Return an entry of the directory, such as "newOrder".

        Raises:
            AcmeError: There is none.
        """
        found = self.directory.get(name)
        if not isinstance(found, str):
            raise AcmeError(f"the ACME server {self.directory_url} offers no {name}")
        return found

    @property
    def meta(self) -> Mapping[str, Any]:
        """The directory's "meta" object; empty if there is none."""
        found = self.directory.get("meta")
        return found if isinstance(found, dict) else {}

    def get(self, url: str) -> Answer:
        """Make a request without a signature.

        Raises:
            AcmeError, Unreachable: See post.
        """
        return self._ask("GET", url)

    def post(self, url: str, payload: object, *, by_key: bool = False) -> Answer:
        """Send a signed request.

        Args:
            url: Where to.
            payload: What JSON can say; None for POST-as-GET.
            by_key: Whether to send the public key instead of the account's URL (for newAccount).

        Raises:
            AcmeError: The server refuses.
            Unreachable: It does not answer, or can't now; RateLimited if we ask too often.
        """
        return self._ask("POST", url, payload, by_key=by_key)

    def _ask(
        self, method: str, url: str, payload: object = None, *, by_key: bool = False
    ) -> Answer:
        bad_nonces = failures = 0
        while True:
            self.deadline.check()
            answer, is_limit = None, False
            try:
                answer = self._once(method, url, payload, by_key=by_key)
            except http.NotTrusted as error:
                raise AcmeError(
                    f"cannot trust the ACME server: {error}; for a private CA set acme-ca-file"
                ) from error
            except http.Failed as error:
                reason = f"cannot reach the ACME server: {error}"
            if answer is not None:
                if answer.status < 300:  # noqa: PLR2004 - HTTP
                    return answer
                problem = _problem(answer, url)
                if problem.kind == "badNonce" and bad_nonces < _MOST_BAD_NONCES:
                    bad_nonces += 1
                    continue
                is_limit = answer.status == 429 or problem.kind == "rateLimited"  # noqa: PLR2004
                if answer.status < 500 and not is_limit:  # noqa: PLR2004 - HTTP
                    raise problem
                reason = str(problem)
            failures += 1
            wanted = retry_after(answer) if answer is not None else None
            self._pause(wanted, failures, reason, is_limit=is_limit)

    def _pause(self, wanted: float | None, failures: int, reason: str, *, is_limit: bool) -> None:
        """Wait before the next attempt.

        Raises:
            Unreachable, RateLimited: It was the last attempt, or the server wants a longer pause.
        """
        kind = RateLimited if is_limit else Unreachable
        if wanted is not None and wanted > _LONGEST_RETRY_AFTER:
            until = datetime.now(timezone.utc) + timedelta(seconds=wanted)
            raise kind(f"{reason}; try again after {until:%Y-%m-%d %H:%M:%S} UTC")
        if failures > _MOST_FAILURES or (is_limit and wanted is None):
            raise kind(f"{reason}; try again later")
        pause = wanted if wanted is not None else _FIRST_PAUSE * 2 ** (failures - 1)
        logger.warning("%s; trying again in %g seconds", reason, pause)
        self.deadline.pause(pause)

    def _once(self, method: str, url: str, payload: object, *, by_key: bool) -> Answer:
        if _origin(url) not in self._origins - {""}:
            # It could lead to a server inside our network.
            raise AcmeError(
                f"the ACME server refers to {url[:200]!r}, a host that its directory does not name"
            )
        if method != "POST":
            answer = self._client.request(method, url, deadline=self.deadline)
        else:
            assert self.key is not None  # noqa: S101 - for the type checker
            body = jws.request(
                self.key,
                payload,
                url=url,
                nonce=self._nonce(),
                account_url=None if by_key else self.account_url,
            )
            headers = {"Content-Type": "application/jose+json"}
            answer = self._client.request(
                "POST", url, body=body, headers=headers, deadline=self.deadline
            )
        nonce = answer.headers.get("Replay-Nonce")
        if nonce:
            self._nonces.append(nonce)
        logger.debug("%s %s: %d, %d bytes", method, url, answer.status, len(answer.body))
        return answer

    def _nonce(self) -> str:
        try:
            return self._nonces.pop()
        except IndexError:
            answer = self._client.request("HEAD", self.url("newNonce"), deadline=self.deadline)
        nonce = answer.headers.get("Replay-Nonce")
        if not nonce:
            raise http.Failed(f"no nonce came (HTTP status {answer.status})")
        return nonce


def _origin(url: str) -> str:
    """The scheme, host and port of a URL (RFC 6454); empty for one that can't be used."""
    try:
        place = http.parse_url(url)
    except http.Invalid:
        return ""
    return f"{'https' if place.secure else 'http'}://{place.authority}"


def json_object(answer: Answer, url: str) -> dict[str, Any]:
    """Read an answer as a JSON object.

    Raises:
        AcmeError: It is none.
    """
    found = _json_object(answer.body)
    if found is None:
        raise AcmeError(f"the answer of the ACME server for {url} is not a JSON object")
    return found


def _json_object(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that a server asks us to wait (RFC 9110 section 10.2.3), if it does."""
    text = answer.headers.get("Retry-After")
    if text is None:
        return None
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text.strip()[:9]), _LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    wanted = (when - datetime.now(timezone.utc)).total_seconds()
    return min(max(0.0, wanted), _LONGEST_WAIT)


def _problem(answer: Answer, url: str) -> AcmeError:
    found = _json_object(answer.body)
    if found is None or not isinstance(found.get("type", ""), str):
        logger.info("the body of that answer: %r", answer.body[:200], extra=FOR_ADMIN)
        return AcmeError(f"the ACME server answers {url} with status {answer.status}")
    return AcmeError(f"the ACME server says {problem_text(found)}", kind=_kind(found))


def problem_text(problem: object) -> str:
    """Return a problem document (RFC 7807, RFC 8555 section 6.7) as one line for people."""
    if not isinstance(problem, dict):
        return "that something failed, without a reason"
    found = problem.get("subproblems")
    subproblems = found[:_MOST_SUBPROBLEMS] if isinstance(found, list) else []
    return "; ".join(
        [
            _one_problem(problem),
            *(f"{_identifier(sub)}: {_one_problem(sub)}" for sub in subproblems if _is_object(sub)),
        ]
    )


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _one_problem(problem: Mapping[str, Any]) -> str:
    detail = problem.get("detail")
    text = detail if isinstance(detail, str) and detail else "no further detail"
    return f"{_kind(problem) or 'error'}: {text[:_LONGEST_TEXT]}"


def _identifier(problem: Mapping[str, Any]) -> str:
    identifier = problem.get("identifier")
    value = identifier.get("value") if isinstance(identifier, dict) else None
    return str(value)[:_LONGEST_TEXT] if value else "(no name)"


def _kind(problem: Mapping[str, Any]) -> str:
    return str(problem.get("type") or "")[:_LONGEST_TEXT].removeprefix(_ERROR_PREFIX)
