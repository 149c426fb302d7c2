"""Which of the chains that a CA offers for a certificate (RFC 8555 section 7.4.2)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from certgrinderd.errors import AcmeError, MalformedInput, Unreachable
from certgrinderd.issuance.acme.connection import Answer
from certgrinderd.issuance.acme.session import Session
from certgrinderd.pki.certificates import parse_chain, spki
from certgrinderd.settings.table import Settings

logger = logging.getLogger(__name__)

_MOST_ALTERNATES = 10
# RFC 8288 section 3, as CAs write it: <https://…>;rel="alternate".
_ALTERNATE = re.compile(r'<([^<>]+)>\s*;[^,<]*\brel\s*=\s*"?alternate"?', re.IGNORECASE)


def download(session: Session, settings: Settings, url: str) -> bytes:
    """Download a certificate with the chain that the settings ask for.

    If no other chain fits, or it can't be downloaded or parsed, the answer is the CA's default one:
    a certificate that was issued is never dropped because of its chain.

    Args:
        session: With the CA.
        settings: For `preferred-chain` and `chain-length`.
        url: The certificate's.

    Returns:
        The chain in PEM.

    Raises:
        AcmeError, Unreachable: Not even the default chain came.
    """
    answer = session.post(url, None)
    if settings.preferred_chain is None and settings.chain_length is None:
        return answer.body
    others = (_alternate(session, url) for url in alternates(answer))
    chains = [answer.body, *(pem for pem in others if pem is not None)]
    root = (settings.preferred_chain or "").replace("_", " ")
    return choose(chains, root=root, length=settings.chain_length)


def _alternate(session: Session, url: str) -> bytes | None:
    try:
        return session.post(url, None).body
    except (AcmeError, Unreachable) as error:
        logger.warning("an alternate chain is left out: %s", error)
        return None


def alternates(answer: Answer) -> list[str]:
    """Return the URLs of the other chains that a certificate's answer names."""
    links = ", ".join(answer.headers.get_all("Link") or ())
    return _ALTERNATE.findall(links)[:_MOST_ALTERNATES]


def choose(chains: Sequence[bytes], *, root: str, length: int | None) -> bytes:
    """Return the chain that fits best: in its length first, then in its root.

    Args:
        chains: In PEM, the default one first.
        root: The name of the root that the chain should lead to; empty if any will do.
        length: How many certificates it should have; None if any number will do.
    """

    def fitness(pem: bytes) -> tuple[bool, bool]:
        try:
            chain = parse_chain(pem)
        except MalformedInput:
            return False, False
        return len(chain) == length, root in _issuer_names(chain[-1])

    best = max(chains, key=fitness)  # the first of those that are equal
    fits_length, fits_root = fitness(best)
    if length is not None and not fits_length:
        logger.warning("the CA offers no chain of %d certificates", length)
    if root and not fits_root:
        logger.info("the CA offers no such chain that leads to %s", root)
    return best


def _issuer_names(certificate: x509.Certificate) -> Iterator[str]:
    return (
        str(each.value) for each in certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    )


def is_for(pem: bytes, public_key: CertificatePublicKeyTypes) -> bool:
    """Whether the first certificate of a chain has this key; true if it can't be parsed."""
    try:
        leaf = parse_chain(pem)[0]
    except MalformedInput:
        return True  # for the check of the whole answer to complain about
    return spki(leaf.public_key()) == spki(public_key)
