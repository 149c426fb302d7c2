"""The ACME account: found on disk, or registered, once (RFC 8555 section 7.3)."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from pathlib import Path

from certgrinderd.errors import AcmeError, ConfigurationError
from certgrinderd.issuance.acme import jws, store
from certgrinderd.issuance.acme.session import Session, json_object
from certgrinderd.issuance.acme.store import Account, config_dir
from certgrinderd.settings.table import Settings
from certgrinderd.system import files, locks
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

_LARGEST_KEY = 4096


def log_in(session: Session, settings: Settings) -> Account:
    """Give a session the account for its server, made now if there is none.

    Args:
        session: It gets the account's key and URL.
        settings: For the folder, the contact and the binding to an external account.

    Raises:
        ConfigurationError: What is on disk, or a setting, can't be used.
        LockTimeout: Others held the lock for too long.
        AcmeError, Unreachable: The CA refuses, or does not answer.
    """
    folder = store.folder_for(config_dir(settings), session.directory_url)
    account = store.find(folder)
    if account is None:
        with _lock(settings):
            account = store.find(folder) or _register(session, settings, folder)
    _use(session, account)
    _tell_contact(session, settings, account)
    return account


def find(session: Session, settings: Settings) -> Account:
    """Give a session the account for its server, which must be there.

    Raises:
        AcmeError: There is none.
        ConfigurationError: What is on disk can't be used.
    """
    folder = store.folder_for(config_dir(settings), session.directory_url)
    account = store.find(folder)
    if account is None:
        raise AcmeError(
            f"there is no account at {session.directory_url} yet: "
            "the first certificate request makes one"
        )
    _use(session, account)
    return account


def register_again(session: Session, settings: Settings, account: Account) -> Account:
    """Register the key of an account that the CA no longer knows.

    Raises:
        ConfigurationError, LockTimeout, AcmeError, Unreachable: See log_in.
    """
    with _lock(settings):
        current = store.find(account.folder.parent)
        if current is not None and current.url != account.url:
            account = current  # another process was faster
        else:
            logger.warning("the CA does not know the account %s: registering it", account.url)
            url = _new_account(session, settings, account.key)
            account = store.save_url(account, url)
    _use(session, account)
    return account


def describe(session: Session, account: Account) -> str:
    """Ask the CA about an account, and return lines for people like those of certbot.

    Raises:
        AcmeError, Unreachable: The CA does not know it, or does not answer.
    """
    found = json_object(session.post(account.url, None), account.url)
    contact = found.get("contact")
    emails = [
        each.removeprefix("mailto:")
        for each in (contact if isinstance(contact, list) else ())
        if isinstance(each, str)
    ]
    return (
        f"Account details for server {session.directory_url}:\n"
        f"  Account URL: {account.url}\n"
        f"  Account Thumbprint: {account.key.thumbprint}\n"
        f"  Email contact{'s' if len(emails) > 1 else ''}: {', '.join(emails) or 'none'}\n"
    )


def _lock(settings: Settings) -> AbstractContextManager[None]:
    folder = config_dir(settings)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"certbot-config-dir: cannot make {folder}: {error.strerror}"
        ) from error
    return locks.held(
        str(folder / ".certgrinderd-account.lock"),
        note="registering an ACME account",
        deadline=Deadline(settings.lock_timeout),
        label="certbot-config-dir",
    )


def _use(session: Session, account: Account) -> None:
    session.key, session.account_url = account.key, account.url


def _register(session: Session, settings: Settings, folder: Path) -> Account:
    key = jws.AccountKey.generate()
    url = _new_account(session, settings, key)
    account = store.save(folder, key, url)
    store.save_contact(account, _contact(settings) or [])
    logger.info("registered the ACME account %s", url)
    logger.info("its key is in %s", account.folder, extra=FOR_ADMIN)
    return account


def _new_account(session: Session, settings: Settings, key: jws.AccountKey) -> str:
    payload: dict[str, object] = {"termsOfServiceAgreed": True}
    if _contact(settings):
        payload["contact"] = _contact(settings)
    binding = external_account(settings)
    if binding is not None:
        payload["externalAccountBinding"] = jws.external_account_binding(
            key, url=session.url("newAccount"), key_id=binding[0], hmac_key=binding[1]
        )
    elif session.meta.get("externalAccountRequired") is True:
        raise ConfigurationError(
            f"{session.directory_url} requires an external account: set eab-kid and "
            "eab-hmac-key-file to the values that you got from the CA"
        )
    session.key = key
    answer = session.post(session.url("newAccount"), payload, by_key=True)
    url = answer.headers.get("Location")
    if not url:
        raise AcmeError("the ACME server made an account without a Location header")
    return url


def _contact(settings: Settings) -> list[str] | None:
    if settings.acme_email is None:
        return None
    return [f"mailto:{address.strip()}" for address in settings.acme_email.split(",")]


def _tell_contact(session: Session, settings: Settings, account: Account) -> None:
    """Send the CA a new email address; without one in the settings, leave the old one."""
    wanted = _contact(settings)
    if wanted is None or wanted == store.contact(account):
        return
    try:
        session.post(account.url, {"contact": wanted})
        store.save_contact(account, wanted)
    except (AcmeError, ConfigurationError) as error:
        # Certificates need no contact.
        logger.warning("cannot change the contact of the ACME account: %s", error)
    else:
        logger.info(
            "changed the contact of the ACME account to %s", settings.acme_email, extra=FOR_ADMIN
        )


def external_account(settings: Settings) -> tuple[str, bytes] | None:
    """Return the key ID and the HMAC key that the CA gave, if any.

    Raises:
        ConfigurationError: Half of it is missing, or the key is not base64url.
    """
    text, path = settings.eab_hmac_key, settings.eab_hmac_key_file
    if settings.eab_kid is None and text is None and path is None:
        return None
    if settings.eab_kid is None or (text is None) == (path is None):
        raise ConfigurationError(
            "an external account needs eab-kid, and one of eab-hmac-key and eab-hmac-key-file"
        )
    if path is not None:
        data = files.read_file(path, limit=_LARGEST_KEY, label="eab-hmac-key-file")
        text = data.decode("ascii", "replace").strip()
    try:
        key = jws.b64decode(text or "")
    except ValueError as error:
        raise ConfigurationError("the HMAC key of the external account is not base64url") from error
    return settings.eab_kid, key
