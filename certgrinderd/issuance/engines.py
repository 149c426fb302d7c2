"""What gets a certificate: our own ACME client, Certbot, or a program that runs as another user."""

from __future__ import annotations

import contextlib
import enum
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from certgrinderd.issuance import certbot, other_user
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.settings.table import BUILTIN, Settings
from certgrinderd.system import files


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
    # With HTTP and TLS, which the other engines do without.
    from certgrinderd.issuance import builtin

    with builtin.session_for(settings) as session:
        yield builtin.Builtin(settings, session)


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
