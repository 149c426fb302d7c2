"""From a permitted request to a checked chain: one challenge after the other."""

from __future__ import annotations

import dataclasses
import logging
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certgrinderd.errors import (
    ConfigurationError,
    IssuanceError,
    MalformedInput,
    UnexpectedChain,
    Unreachable,
)
from certgrinderd.issuance import engines
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.pki.certificates import parse_chain, require_chain_for
from certgrinderd.pki.names import LONGEST_NAME, Identifier, RequestedNames
from certgrinderd.settings.table import Settings

logger = logging.getLogger(__name__)

_NAMES_SHOWN = 5


def challenges(settings: Settings) -> list[Challenge]:
    """Return the enabled challenges, in the order they are tried."""
    return [challenge for challenge in Challenge if challenge.place(settings) is not None]


def obtain(
    csr: x509.CertificateSigningRequest, requested: RequestedNames, settings: Settings
) -> bytes:
    """Get the certificate for a permitted request.

    Args:
        csr: The request; whether it is permitted was checked before.
        requested: Its names.
        settings: Whom to ask and how.

    Returns:
        The chain in PEM, the leaf first, checked to be an answer to this request.

    Raises:
        ConfigurationError: No challenge is enabled, or a setting can't work.
        UnexpectedChain: What the CA issued is something else.
        IssuanceError: No challenge led to a certificate.
        Temporary: Later there may be one.
    """
    request = Request(csr, requested.names, settings.replaces)
    if engines.chosen(settings).kind is engines.Kind.OTHER_USER:
        with engines.opened(settings) as engine:
            pem, way = engine.issue([], request), "acme-client-command"
    else:
        pem, way = _by_ourselves(request, requested, settings)
    return checked(pem, csr, requested, way=way)


def checked(
    pem: bytes, csr: x509.CertificateSigningRequest, requested: RequestedNames, *, way: str
) -> bytes:
    """Check that a chain is an answer to a request, log it, and return it in PEM.

    Args:
        pem: What the CA or a program sent.
        csr: The request.
        requested: Its names.
        way: How the chain was obtained, for the log.

    Raises:
        UnexpectedChain: It is something else.
    """
    chain = _parsed(pem, csr, requested)
    names = ", ".join(map(str, requested.names))
    logger.info("got a certificate for %s by %s: %s", names, way, _summary(chain))
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)


def _by_ourselves(
    request: Request, requested: RequestedNames, settings: Settings
) -> tuple[bytes, str]:
    """Ask the CA, and the other one if the first can't answer now."""
    # The built-in client does without, but a path that is wrong should not wait for Certbot.
    if settings.temp_dir is not None and not Path(settings.temp_dir).is_dir():
        raise ConfigurationError(f"temp-dir: there is no folder {settings.temp_dir}")
    possible = possible_challenges(requested, settings)
    fallback = _fallback(settings)
    try:
        return _by_first_challenge(possible, request, settings)
    except Unreachable as error:
        if fallback is None:
            raise
        logger.warning("%s: asking %s instead", error, fallback.acme_server_url)
    # The other one does not know the certificate.
    request = dataclasses.replace(request, replaces=None)
    return _by_first_challenge(possible, request, fallback)


def possible_challenges(requested: RequestedNames, settings: Settings) -> list[Challenge]:
    """Return the enabled challenges that can prove all names, in the order they are tried.

    Raises:
        ConfigurationError: No challenge is enabled.
        IssuanceError: None of the enabled challenges can prove all names.
    """
    enabled = challenges(settings)
    if not enabled:
        raise ConfigurationError(
            "neither acme-zone (for DNS-01) nor web-root (for HTTP-01) is set: set one or both"
        )
    return _possible(enabled, requested, zone=settings.acme_zone)


def _fallback(settings: Settings) -> Settings | None:
    """Settings for the second CA, if there is one: its URL and external account, no profile."""
    if settings.acme_fallback_server_url is None:
        return None
    return dataclasses.replace(
        settings,
        acme_server_url=settings.acme_fallback_server_url,
        eab_kid=settings.acme_fallback_eab_kid,
        eab_hmac_key=settings.acme_fallback_eab_hmac_key,
        eab_hmac_key_file=settings.acme_fallback_eab_hmac_key_file,
        acme_profile=None,
    )


def _by_first_challenge(
    possible: list[Challenge], request: Request, settings: Settings
) -> tuple[bytes, str]:
    """Return the chain and how it was got."""
    names = ", ".join(map(str, request.names))
    failures = []
    with engines.opened(settings) as engine:
        for challenge in possible:
            logger.info("trying %s for %s at %s", challenge, names, settings.acme_server_url)
            others = (each for each in possible if each is not challenge)
            try:
                return engine.issue([challenge, *others], request), str(challenge)
            except IssuanceError as error:
                logger.warning("%s failed: %s", challenge, error)
                if challenge is Challenge.DNS_01:
                    _explain_dns_01(request, settings)
                failures.append(f"{challenge}: {error}")
    raise IssuanceError(f"no certificate for {names}: " + "; ".join(failures))


def _explain_dns_01(request: Request, settings: Settings) -> None:
    """Say which records there must be: the CA tells what it found, and not what it should be."""
    for name in sorted({each.without_wildcard for each in request.names})[:_NAMES_SHOWN]:
        logger.info(
            "DNS-01 needs the record: _acme-challenge.%s. CNAME %s.%s.",
            name,
            name,
            (settings.acme_zone or "").rstrip("."),
        )


def _possible(
    enabled: list[Challenge], requested: RequestedNames, *, zone: str | None
) -> list[Challenge]:
    """Leave out what can't work: HTTP-01 for a wildcard, DNS-01 for an address or very long name.

    RFC 8555 sections 8.3 and 8.4, RFC 8738 section 7; the CNAME of a DNS-01 challenge leads to the
    name in our zone.
    """
    wildcards = [name for name in requested.names if name.is_wildcard]
    too_long = [
        name for name in requested.names if _longest_challenge_name(name, zone) > LONGEST_NAME
    ]
    impossible = {Challenge.HTTP_01} if wildcards else set()
    addresses = [name.value for name in requested.names if name.kind == "ip"]
    if too_long or addresses:
        impossible.add(Challenge.DNS_01)
    possible = [each for each in enabled if each not in impossible]
    if not possible and too_long and Challenge.DNS_01 in enabled:
        raise IssuanceError(
            f"{too_long[0]} is too long for DNS-01: with _acme-challenge before it or the zone "
            f"{zone} behind it, it would have over {LONGEST_NAME} characters"
        )
    if not possible and addresses:
        raise IssuanceError(
            f"{addresses[0]} needs HTTP-01, since DNS-01 cannot prove an address; "
            + (f"and {wildcards[0]} needs DNS-01" if wildcards else "this server has no web-root")
        )
    if not possible:
        raise IssuanceError(
            f"{wildcards[0]} needs DNS-01, since HTTP-01 cannot prove a wildcard; "
            "this server has no acme-zone"
        )
    return possible


def _longest_challenge_name(name: Identifier, zone: str | None) -> int:
    base = name.without_wildcard
    return max(len(f"_acme-challenge.{base}"), len(f"{base}.{(zone or '').rstrip('.')}"))


def _parsed(
    pem: bytes, csr: x509.CertificateSigningRequest, requested: RequestedNames
) -> list[x509.Certificate]:
    try:
        chain = parse_chain(pem)
    except MalformedInput as error:
        raise UnexpectedChain(f"the CA's answer: {error}") from error
    require_chain_for(
        chain,
        public_key=csr.public_key(),
        names=requested.names,
        now=datetime.now(timezone.utc),
    )
    return chain


def _summary(chain: list[x509.Certificate]) -> str:
    leaf = chain[0]
    return (
        f"serial {leaf.serial_number:x}, valid until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} "
        f"UTC, {len(chain)} certificates in the chain"
    )
