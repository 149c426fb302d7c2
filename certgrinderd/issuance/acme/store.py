"""ACME accounts on disk, where and as certbot keeps them.

CONFIG-DIR/accounts/HOST/PATH/ID/ holds private_key.json (a JWK), regr.json (the account's URL) and
meta.json; ID is the MD5 of the public key. Either of the two works with the other's accounts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization

from certgrinderd.errors import ConfigurationError
from certgrinderd.issuance.acme.jws import AccountKey
from certgrinderd.settings.table import Settings
from certgrinderd.system import files

_KEY, _URL, _META = "private_key.json", "regr.json", "meta.json"
# Ours: the contact that the CA was told last. certbot passes over it.
_CONTACT = "certgrinderd-contact.json"
_LARGEST_FILE = 65536
_OPTION = "certbot-config-dir"


@dataclass(frozen=True)
class Account:
    """An account that is on disk.

    Attributes:
        key: Its private key.
        url: Its name at the CA ("kid").
        folder: Where it is.
    """

    key: AccountKey
    url: str
    folder: Path


def config_dir(settings: Settings) -> Path:
    """Return the folder with the accounts: certbot's own for root, one of ours for others.

    Raises:
        ConfigurationError: It is another user's, and we are root.
    """
    if settings.certbot_config_dir is not None:
        files.require_own_side(settings.certbot_config_dir, label=_OPTION)
        return Path(settings.certbot_config_dir)
    if os.geteuid() == 0:
        return Path("/etc/letsencrypt")
    return own_folder() / "config"


def own_folder() -> Path:
    """Where certbot's folders are when it runs as ourselves and we are not root."""
    home = Path(os.environ.get("HOME") or "/")
    return home / ".local" / "share" / "certgrinderd" / "certbot"


def folder_for(config_dir: Path, directory_url: str) -> Path:
    """Return the folder that holds the accounts for a CA."""
    place = urlsplit(directory_url)
    # The path of a URL may be anything, and must not lead out of here.
    parts = [part for part in place.path.split("/") if part not in {"", ".", ".."}]
    return Path(config_dir, "accounts", place.netloc, *parts)


def find(folder: Path) -> Account | None:
    """Return the account in the folder for a CA, or None if there is none.

    Raises:
        ConfigurationError: There are several, or one that can't be read.
    """
    try:
        candidates = sorted(
            path
            for path in folder.iterdir()
            # A hidden one is in the making (see save), or was when its process was killed.
            if not path.name.startswith(".") and (path / _URL).is_file()
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _cannot("read", folder, error) from error
    if len(candidates) > 1:
        names = ", ".join(path.name for path in candidates)
        raise ConfigurationError(
            f"{_OPTION}: in {folder} there are several accounts ({names}): keep one"
        )
    return _read(candidates[0]) if candidates else None


def _read(folder: Path) -> Account:
    url = _read_json(folder / _URL).get("uri")
    if not isinstance(url, str):
        raise ConfigurationError(f"{_OPTION}: {folder / _URL} holds no account URL")
    try:
        key = AccountKey.from_jwk(_read_json(folder / _KEY))
    except ValueError as error:
        raise ConfigurationError(f"{_OPTION}: {folder / _KEY}: {error}") from error
    return Account(key, url, folder)


def _read_json(path: Path) -> dict[str, Any]:
    data = files.read_file(str(path), limit=_LARGEST_FILE, label=_OPTION)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{_OPTION}: {path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{_OPTION}: {path} is not a JSON object")
    return found


def save(folder: Path, key: AccountKey, url: str) -> Account:
    """Store a new account; others see the whole of it or nothing. Only one may do it at a time.

    Args:
        folder: For the CA; made if it isn't there.
        key: Its private key.
        url: Its name at the CA.

    Raises:
        ConfigurationError: It can't be written.
    """
    pem = key.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    name = hashlib.md5(pem, usedforsecurity=False).hexdigest()
    now = datetime.now(timezone.utc)
    meta = {"creation_dt": f"{now:%Y-%m-%dT%H:%M:%SZ}", "creation_host": socket.gethostname()}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in folder.glob(f".{'[0-9a-f]' * 32}.*"):
            shutil.rmtree(leftover, ignore_errors=True)  # of a process that was killed
        with _new_folder(folder / f".{name}.{os.getpid()}") as new:
            for file, content in ((_KEY, key.to_jwk()), (_URL, _regr(url)), (_META, meta)):
                files.write_private(new / file, json.dumps(content).encode("ascii"))
            (new / _KEY).chmod(0o400)
            new.rename(folder / name)
    except OSError as error:
        raise _cannot("write in", folder, error) from error
    return Account(key, url, folder / name)


@contextlib.contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def save_url(account: Account, url: str) -> Account:
    """Store that an account has a new URL.

    Raises:
        ConfigurationError: It can't be written.
    """
    _replace(account.folder / _URL, _regr(url))
    return Account(account.key, url, account.folder)


def contact(account: Account) -> list[str] | None:
    """Return the contact that the CA was told last, or None if we don't know.

    Raises:
        ConfigurationError: It is there and can't be read.
    """
    path = account.folder / _CONTACT
    found = _read_json(path).get("contact") if path.is_file() else None
    return [str(each) for each in found] if isinstance(found, list) else None


def save_contact(account: Account, contact: list[str]) -> None:
    """Store what the CA was told.

    Raises:
        ConfigurationError: It can't be written.
    """
    _replace(account.folder / _CONTACT, {"contact": contact})


def _regr(url: str) -> dict[str, object]:
    return {"body": {}, "uri": url}


def _replace(path: Path, content: object) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            files.write_private(new, json.dumps(content).encode("ascii"))
            new.rename(path)
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot("write", path, error) from error


def _cannot(what: str, path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{_OPTION}: cannot {what} {path}: {error.strerror}")
