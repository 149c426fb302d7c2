"""What gets a certificate: our own ACME client, Certbot, or a program that runs as another user."""

from __future__ import annotations

import contextlib
import enum
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509

from certgrinderd.errors import IssuanceError
from certgrinderd.issuance import certbot, other_user
from certgrinderd.issuance.acme import account, connection, order
from certgrinderd.issuance.acme import renewal_info as ari
from certgrinderd.issuance.acme.session import Session
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.settings.table import BUILTIN, Settings
from certgrinderd.system import files
from certgrinderd.system.deadline import Deadline, TimeUp


class Kind(enum.Enum):
    """The engines there are."""

    BUILTIN = "the ACME client inside certgrinderd"
    CERTBOT = "Certbot"
    OTHER_USER = "a program that runs as another user"


@dataclass(frozen=True)
class Choice:
    """The engine in force.

    Attributes:
        kind: Which one.
        reason: Why it is this one, for people.
    """

    kind: Kind
    reason: str


class Engine(Protocol):
    """Gets certificates from one CA."""

    def issue(self, preferred: Sequence[Challenge], request: Request) -> bytes:
        """Get a certificate in one attempt.

        Args:
            preferred: The challenges that can work, the one to try first.
            request: The CSR and its names.

        Returns:
            The chain in PEM, not checked.

        Raises:
            IssuanceError: It failed.
            Temporary: It may work later; Unreachable if the CA can't answer now.
            ConfigurationError: A setting can't work.
        """

    def describe_account(self) -> str:
        """Ask the CA about our account, and return lines for people.

        Raises:
            IssuanceError, Temporary, ConfigurationError: See issue.
        """


def chosen(settings: Settings) -> Choice:
    """Tell which engine is in force."""
    if settings.acme_client_command is not None:
        program = settings.acme_client_command
        return Choice(Kind.OTHER_USER, f"{program}, as acme-client-command says")
    if settings.certbot_command == BUILTIN:
        return Choice(Kind.BUILTIN, f"{Kind.BUILTIN.value}, as certbot-command says")
    missing = certbot.missing_programs(settings)
    if missing:
        reason = f"{Kind.BUILTIN.value}, since there is no {' and no '.join(missing)}"
        return Choice(Kind.BUILTIN, reason)
    program = shlex.split(settings.certbot_command)[0]
    return Choice(Kind.CERTBOT, f"{program}, as certbot-command says")


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Engine]:
    """Return the engine in force, and close its connections in the end.

    Raises:
        ConfigurationError: A setting can't work.
    """
    kind = chosen(settings).kind
    if kind is not Kind.BUILTIN:
        yield _Certbot(settings) if kind is Kind.CERTBOT else _OtherUser(settings)
        return
    with _session(settings) as session:
        yield _Builtin(settings, session)


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
    with _session(settings) as session, _in_time(session, settings):
        return ari.ask(session, certificate)


@contextlib.contextmanager
def _session(settings: Settings) -> Iterator[Session]:
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


class _Certbot:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def issue(self, preferred: Sequence[Challenge], request: Request) -> bytes:
        challenge = preferred[0]
        with files.private_directory(self._settings.temp_dir) as folder:
            return certbot.issue(
                self._settings,
                challenge,
                csr_pem=request.csr_pem,
                folder=folder,
                note=f"{challenge} for {', '.join(map(str, request.names))}",
            )

    def describe_account(self) -> str:
        return certbot.show_account(self._settings)


class _OtherUser:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def issue(self, preferred: Sequence[Challenge], request: Request) -> bytes:
        del preferred  # the other side decides by its own settings
        return other_user.issue(self._settings, request.csr_pem)

    def describe_account(self) -> str:
        return other_user.describe_account(self._settings)


class _Builtin:
    def __init__(self, settings: Settings, session: Session) -> None:
        self._settings = settings
        self._session = session

    def issue(self, preferred: Sequence[Challenge], request: Request) -> bytes:
        with _in_time(self._session, self._settings):
            return order.issue(self._session, self._settings, preferred, request)

    def describe_account(self) -> str:
        with _in_time(self._session, self._settings):
            found = account.find(self._session, self._settings)
            return account.describe(self._session, found)
