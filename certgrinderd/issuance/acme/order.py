"""The embedded ACME client: one order, from the names to the chain (RFC 8555 section 7.4)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from certgrinderd.errors import AcmeError, IssuanceError
from certgrinderd.issuance.acme import chains, jws
from certgrinderd.issuance.acme.account import log_in, register_again
from certgrinderd.issuance.acme.session import Session, json_object, problem_text, retry_after
from certgrinderd.issuance.acme.store import Account
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.issuance.run_hooks import Task, published
from certgrinderd.settings.table import Settings
from certgrinderd.system.parallel import each

logger = logging.getLogger(__name__)

# Requests at a time. Over a long distance eight take as long as one.
_AT_ONCE = 8
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 5.0
# A CA may give two processes the same order for the same names; one of them has to ask again.
_MOST_ORDERS = 5
# base64url (RFC 8555 section 8.1); it becomes the name of a file.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,255}", re.ASCII)
_READY = frozenset({"ready", "processing", "valid"})


@dataclass(frozen=True)
class _Order:
    """An order as the CA last sent it (RFC 8555 section 7.1.3)."""

    url: str
    body: Mapping[str, Any]

    @property
    def status(self) -> str:
        return str(self.body.get("status"))

    def link(self, name: str) -> str:
        found = self.body.get(name)
        if not isinstance(found, str):
            raise AcmeError(f"the CA's order has no {name} URL")
        return found


class _OrderLost(Exception):
    """The CA gave us an order that another process has finalized."""


def issue(
    session: Session, settings: Settings, preferred: Sequence[Challenge], request: Request
) -> bytes:
    """Get a certificate.

    Args:
        session: With the CA; logged in if it isn't yet.
        settings: The account, the hooks and which chain.
        preferred: The challenges that may be used, the best first; for each name the first that
            the CA offers counts.
        request: The CSR and its names.

    Returns:
        The chain in PEM, as the CA sent it.

    Raises:
        IssuanceError: There is none; AcmeError if the CA said no, HookFailed if a hook failed.
        Unreachable: The CA does not answer, or not now.
        ConfigurationError, LockTimeout: See account.log_in and run_hooks.published.
    """
    account = log_in(session, settings)
    for _ in range(_MOST_ORDERS):
        order = _new_order(session, settings, account, request)
        try:
            if order.status in _READY:
                logger.info("the CA has validated every name already")
            else:
                order = _authorize(session, settings, preferred, order, request)
            return _finalize(session, settings, order, request)
        except _OrderLost:
            logger.info("another request got that order; placing a new one")
    raise IssuanceError("the CA keeps returning orders already finalized elsewhere")


def _new_order(session: Session, settings: Settings, account: Account, request: Request) -> _Order:
    payload: dict[str, object] = {"identifiers": request.identifiers}
    if settings.acme_profile is not None:
        payload["profile"] = _profile(session, settings.acme_profile)
    if request.replaces is not None and "renewalInfo" in session.directory:
        payload["replaces"] = request.replaces
    try:
        return _place(session, payload)
    except AcmeError as error:
        if error.kind == "accountDoesNotExist":
            register_again(session, settings, account)
        elif "replaces" in payload:
            # "replaces" is a hint for the CA: a certificate without it is better than none
            # (RFC 9773 section 5).
            logger.warning("ordering again, without the field replaces: %s", error)
            del payload["replaces"]
        else:
            raise
    return _place(session, payload)


def _place(session: Session, payload: Mapping[str, object]) -> _Order:
    url = session.url("newOrder")
    answer = session.post(url, payload)
    place = answer.headers.get("Location")
    if not place:
        raise AcmeError("the ACME server made an order without a Location header")
    return _Order(place, json_object(answer, url))


def _profile(session: Session, name: str) -> str:
    """Require that a CA has a profile (draft-ietf-acme-profiles)."""
    offered = session.meta.get("profiles")
    if not isinstance(offered, dict) or name not in offered:
        names = ", ".join(sorted(map(str, offered))) if isinstance(offered, dict) else "none"
        raise AcmeError(
            f"acme-profile: {session.directory_url} has no profile {name!r}; it offers: {names}"
        )
    return name


# Authorizations.


@dataclass(frozen=True)
class _Pending:
    """A name that needs validation: what to publish, and the URLs of the CA for it."""

    task: Task
    challenge_url: str
    authorization_url: str


def _authorize(
    session: Session,
    settings: Settings,
    preferred: Sequence[Challenge],
    order: _Order,
    request: Request,
) -> _Order:
    """Let the CA validate the names that it has not validated yet, and wait until it has."""
    urls = order.body.get("authorizations")
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise AcmeError("the CA's order has no list of authorizations")
    deadline = session.deadline

    def ask(url: str) -> dict[str, Any]:
        return _authorization(session, url)

    def answer(one: _Pending) -> None:
        try:
            session.post(one.challenge_url, {})
        except AcmeError:
            # A CA may give another process the same authorization, and that may be faster.
            if ask(one.authorization_url).get("status") == "pending":
                raise

    found = each(ask, urls, at_once=_AT_ONCE, deadline=deadline)
    assert session.key is not None  # noqa: S101 - for the type checker
    pending = [
        _pending(url, authorization, preferred, session.key)
        for url, authorization in zip(urls, found, strict=True)
        if authorization.get("status") != "valid"
    ]
    _require_requested([one.task.domain for one in pending], request)
    logger.info("%d of %d names need validation", len(pending), len(found))
    with published([one.task for one in pending], settings, deadline):
        each(answer, pending, at_once=_AT_ONCE, deadline=deadline)
        return _wait(session, order, until=_READY)


def _authorization(session: Session, url: str) -> dict[str, Any]:
    return json_object(session.post(url, None), url)


def _pending(
    authorization_url: str,
    authorization: Mapping[str, Any],
    preferred: Sequence[Challenge],
    key: jws.AccountKey,
) -> _Pending:
    """Choose a challenge (RFC 8555 section 7.1.4)."""
    name = _name(authorization)
    if authorization.get("status") != "pending":
        raise AcmeError(f"the CA's authorization for {name} is {authorization.get('status')}")
    offered = {str(each.get("type")): each for each in _challenges(authorization)}
    for challenge in preferred:
        found = offered.get(challenge.acme_type)
        if found is None:
            continue
        token, url = found.get("token"), found.get("url")
        if not isinstance(token, str) or not isinstance(url, str) or not _TOKEN.fullmatch(token):
            raise AcmeError(f"the CA's {challenge} challenge for {name} has no token or no URL")
        proof = f"{token}.{key.thumbprint}"
        validation = proof if challenge is Challenge.HTTP_01 else jws.digest(proof)
        return _Pending(Task(challenge, name, validation, token), url, authorization_url)
    raise AcmeError(
        f"the CA offers {', '.join(sorted(map(str, offered))) or 'no challenge'} for {name}; "
        f"this server can use {' and '.join(map(str, preferred))}"
    )


def _require_requested(domains: Sequence[str], request: Request) -> None:
    """Require that the CA validates only names that were asked for.

    They go to hooks, which rely on getting only names that passed our policy.

    Raises:
        AcmeError: It asks for another one.
    """
    requested = {name.without_wildcard for name in request.names}
    for domain in domains:
        if domain not in requested:
            raise AcmeError(f"the CA asks to validate {domain!r}, which is not in the request")


def _challenges(authorization: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = authorization.get("challenges")
    return (each for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))


def _name(authorization: Mapping[str, Any]) -> str:
    identifier = authorization.get("identifier")
    value = identifier.get("value") if isinstance(identifier, dict) else None
    if not isinstance(value, str) or not value:
        raise AcmeError("the CA's authorization has no name")
    return value


def _wait(
    session: Session, order: _Order, *, until: frozenset[str], first_pause: float | None = None
) -> _Order:
    """Poll an order until it has one of the statuses.

    The order's status covers all of its authorizations (RFC 8555 section 7.1.6), so one request is
    enough for all names.

    Args:
        session: With the CA.
        order: The order.
        until: The statuses.
        first_pause: Seconds before the first request, if the CA asked for that.

    Raises:
        AcmeError: It is invalid; the message has the reason for each name.
    """
    pause, wanted = _FIRST_PAUSE, first_pause
    while True:
        session.deadline.pause(wanted or pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
        answer = session.post(order.url, None)
        order = _Order(order.url, json_object(answer, order.url))
        if order.status in until:
            return order
        if order.status == "invalid":
            raise _invalid(session, order)
        wanted = retry_after(answer)


def _invalid(session: Session, order: _Order) -> AcmeError:
    """Say why an order failed: the reason for each name, or else that of the order."""
    reasons = []
    urls = order.body.get("authorizations")
    for url in urls if isinstance(urls, list) else ():
        authorization = _authorization(session, str(url))
        status = str(authorization.get("status"))
        if status in {"valid", "pending"}:
            continue
        errors = [
            f"{challenge.get('type')}: {problem_text(challenge.get('error'))}"
            for challenge in _challenges(authorization)
            if challenge.get("error")
        ]
        reasons.append(f"{_name(authorization)}: {'; '.join(errors) or status}")
    if not reasons and order.body.get("error"):
        reasons.append(problem_text(order.body["error"]))
    return AcmeError("the CA refuses: " + ("; ".join(reasons) or "the order is invalid"))


# The certificate.


def _finalize(session: Session, settings: Settings, order: _Order, request: Request) -> bytes:
    wanted = None
    if order.status == "ready":
        url = order.link("finalize")
        try:
            answer = session.post(url, {"csr": jws.b64encode(request.csr_der)})
        except AcmeError as error:
            if error.kind == "orderNotReady":
                raise _OrderLost from error
            raise
        order = _Order(order.url, json_object(answer, url))
        wanted = retry_after(answer)
    if order.status != "valid":
        order = _wait(session, order, until=frozenset({"valid"}), first_pause=wanted)
    pem = chains.download(session, settings, order.link("certificate"))
    if not chains.is_for(pem, request.public_key):
        raise _OrderLost
    return pem
