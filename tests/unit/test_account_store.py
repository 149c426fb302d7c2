"""ACME accounts on disk, in certbot's format."""

from __future__ import annotations

import json
import types
from pathlib import Path

import pytest
from certbot._internal import account as certbot_account
from certbot.configuration import NamespaceConfig

from certgrinderd.errors import ConfigurationError
from certgrinderd.issuance.acme import store
from certgrinderd.issuance.acme.jws import AccountKey

URL = "https://ca.example/acme/acct/1"
DIRECTORY = "https://ca.example:14000/a/directory"


def certbots(config_dir: Path) -> certbot_account.AccountFileStorage:
    """What certbot finds in its folder."""
    namespace = types.SimpleNamespace(
        config_dir=str(config_dir),
        work_dir=str(config_dir),
        logs_dir=str(config_dir),
        server=DIRECTORY,
        strict_permissions=False,
        http01_port=80,
        https_port=443,
        domains=[],
    )
    config = NamespaceConfig.__new__(NamespaceConfig)
    object.__setattr__(config, "namespace", namespace)
    return certbot_account.AccountFileStorage(config)


def test_certbot_reads_what_we_write(tmp_path: Path) -> None:
    """Folder, key, URL and ID are those of certbot."""
    key = AccountKey.generate()
    saved = store.save(store.folder_for(tmp_path, DIRECTORY), key, URL)
    (found,) = certbots(tmp_path).find_all()
    assert found.regr.uri == URL
    assert found.id == saved.folder.name
    assert found.key.key.private_numbers() == key.private.private_numbers()


def test_we_read_what_we_write(tmp_path: Path) -> None:
    """An account comes back, with a new URL too, and a contact that is noted."""
    folder = store.folder_for(tmp_path, DIRECTORY)
    assert store.find(folder) is None
    store.save(folder, AccountKey.generate(), URL)
    account = store.find(folder)
    assert account is not None
    assert account.url == URL
    assert store.contact(account) is None
    store.save_contact(account, ["mailto:a@example.com"])
    store.save_url(account, URL + "2")
    again = store.find(folder)
    assert again is not None
    assert (again.url, store.contact(again)) == (URL + "2", ["mailto:a@example.com"])
    assert sorted(path.name for path in folder.iterdir()) == [account.folder.name]
    assert not [path for path in account.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://ca.example/directory", ("ca.example", "directory")),
        ("https://ca.example:14000/a/b/", ("ca.example:14000", "a", "b")),
        ("https://ca.example", ("ca.example",)),
        ("https://ca.example/../../../etc/x", ("ca.example", "etc", "x")),
    ],
)
def test_folder_for_a_ca(url: str, parts: tuple[str, ...]) -> None:
    """Host and path of the URL, and never out of the folder."""
    assert store.folder_for(Path("/c"), url) == Path("/c/accounts", *parts)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("regr.json", "{"),
        ("regr.json", "[]"),
        ("regr.json", '{"uri": 1}'),
        ("private_key.json", "{}"),
        ("private_key.json", '{"kty": "RSA"}'),
        ("private_key.json", None),
    ],
)
def test_broken_account(tmp_path: Path, file: str, content: str | None) -> None:
    """An account that can't be read is an error that names the file: never a second account."""
    folder = store.folder_for(tmp_path, DIRECTORY)
    path = store.save(folder, AccountKey.generate(), URL).folder / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=file):
        store.find(folder)


def test_half_written_account_is_none(tmp_path: Path) -> None:
    """A folder without a URL is not an account yet, and hides no other."""
    folder = store.folder_for(tmp_path, DIRECTORY)
    (folder / "abc").mkdir(parents=True)
    (folder / "abc" / "private_key.json").write_text(json.dumps(AccountKey.generate().to_jwk()))
    assert store.find(folder) is None
    saved = store.save(folder, AccountKey.generate(), URL)
    found = store.find(folder)
    assert found is not None
    assert found.folder == saved.folder


@pytest.mark.parametrize("content", ["", json.dumps({"uri": URL})])
def test_account_in_the_making_is_none(tmp_path: Path, content: str) -> None:
    """What a killed process left hides no account, is not a second one, and goes away."""
    folder = store.folder_for(tmp_path, DIRECTORY)
    leftover = folder / f".{'0f' * 16}.123"
    leftover.mkdir(parents=True)
    (leftover / "regr.json").write_text(content)
    assert store.find(folder) is None
    saved = store.save(folder, AccountKey.generate(), URL)
    assert list(folder.iterdir()) == [saved.folder]
