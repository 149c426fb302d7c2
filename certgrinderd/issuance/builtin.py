"""The ACME client inside certgrinderd as an engine: a session with the CA, limited in time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from cryptography import x509

from certgrinderd.errors import IssuanceError
from certgrinderd.issuance.acme import account, connection, order
from certgrinderd.issuance.acme import renewal_info as ari
from certgrinderd.issuance.acme.session import Session
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.settings.table import Settings
from certgrinderd.system.deadline import Deadline, TimeUp


class Builtin:
    """See certgrinderd.issuance.engines.Engine."""

    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings = settings
        self._session = session

    def issue(self, preferred: Sequence[Challenge], request: Request) -> bytes:
        """Get a certificate in one attempt; see Engine.issue."""
        with _in_time(self._session, self._settings):
            return order.issue(self._session, self._settings, preferred, request)

    def describe_account(self) -> str:
        """Ask the CA about our account; see Engine.describe_account."""
        with _in_time(self._session, self._settings):
            found = account.find(self._session, self._settings)
            return account.describe(self._session, found)


def renewal_info(settings: Settings, certificate: x509.Certificate) -> str:
    """Ask the CA when a certificate should be renewed, whatever engine is in force.

    Returns:
        Lines for people and programs; see renewal_info.ask.

    Raises:
        IssuanceError: The CA has no renewal information.
        Unreachable: The CA does not answer.
        ConfigurationError: A setting can't work.
        MalformedInput: The certificate does not name its issuer's key.
    """
    with session_for(settings) as session, _in_time(session, settings):
        return ari.ask(session, certificate)


@contextlib.contextmanager
def session_for(settings: Settings) -> Iterator[Session]:
    """Open a session with the CA that is configured, and close it in the end."""
    trusted = connection.trust(
        # certbot uses the same variable.
        ca_file=settings.acme_ca_file or os.environ.get("REQUESTS_CA_BUNDLE"),
        verify=not settings.skip_acme_server_cert_verify,
    )
    with contextlib.closing(connection.Client(trusted, os.environ)) as client:
        yield Session(settings.acme_server_url, client, Deadline(settings.issuance_timeout))


@contextlib.contextmanager
def _in_time(session: Session, settings: Settings) -> Iterator[None]:
    """Give a task all of issuance-timeout, from now on."""
    session.deadline = Deadline(settings.issuance_timeout)
    try:
        yield
    except TimeUp as error:
        raise IssuanceError(
            f"issuance-timeout is over: it took longer than {settings.issuance_timeout} seconds"
        ) from error
