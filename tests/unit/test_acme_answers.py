"""What a CA says about an order is believed only as far as it answers what was asked."""

from __future__ import annotations

import json
from http.client import HTTPMessage
from pathlib import Path
from typing import Any, cast

import pytest

from certgrinderd.errors import AcmeError
from certgrinderd.issuance.acme import order as order_module
from certgrinderd.issuance.acme import store
from certgrinderd.issuance.acme.connection import Answer
from certgrinderd.issuance.acme.jws import AccountKey
from certgrinderd.issuance.acme.session import Session
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.issuance.request import Request
from certgrinderd.pki.csr import requested_names
from certgrinderd.settings.table import Settings
from certgrinderd.system.deadline import Deadline
from tests.testbed.csr import make_csr

CA = "https://ca.example"
CHALLENGE = {"type": "http-01", "url": f"{CA}/challenge", "token": "good-token_1"}


class FakeSession:
    """A CA that answers as the test says: no real one lies on demand."""

    directory_url = f"{CA}/directory"

    def __init__(self, authorization: dict[str, Any]) -> None:
        self.deadline = Deadline(20, for_client=False)
        self.key: AccountKey | None = None
        self.account_url: str | None = None
        self.directory: dict[str, str] = {}
        self._answers: dict[str, dict[str, Any]] = {
            f"{CA}/newOrder": {"status": "pending", "authorizations": [f"{CA}/authorization"]},
            f"{CA}/authorization": authorization,
            # Whoever comes as far as this has run the hooks.
            f"{CA}/challenge": {},
            f"{CA}/order": {"status": "invalid", "error": {"detail": "the hooks have run"}},
        }

    def url(self, name: str) -> str:
        """An entry of the directory."""
        return f"{CA}/{name}"

    def post(self, url: str, _payload: object) -> Answer:
        """What it has for a URL."""
        headers = HTTPMessage()
        headers["Location"] = f"{CA}/order"
        return Answer(200, headers, json.dumps(self._answers[url]).encode())


class Client:
    """One that asks for a.example and *.b.example, and whose hooks leave a trace."""

    def __init__(self, folder: Path) -> None:
        hook = folder / "hook"
        self.trace = folder / "trace"
        hook.write_text(f'#!/bin/sh\necho "$CERTBOT_DOMAIN" >>{self.trace}\n')
        hook.chmod(0o755)
        self.settings = Settings(
            web_root=str(folder),
            auth_hook=str(hook),
            cleanup_hook="/bin/true",
            certbot_config_dir=str(folder / "config"),
        )
        place = store.folder_for(folder / "config", FakeSession.directory_url)
        store.save(place, AccountKey.generate(), f"{CA}/account")
        csr = make_csr(["a.example", "*.b.example"]).csr
        self.request = Request(csr, requested_names(csr).names)

    def ask(self, authorization: dict[str, Any]) -> str:
        """Ask, and return how it failed."""
        session = cast("Session", FakeSession(authorization))
        with pytest.raises(AcmeError) as caught:
            order_module.issue(session, self.settings, [Challenge.HTTP_01], self.request)
        return str(caught.value)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client."""
    return Client(tmp_path)


def authorization(name: object, **challenge: object) -> dict[str, Any]:
    """An authorization for a name, with one challenge."""
    return {
        "status": "pending",
        "identifier": {"type": "dns", "value": name},
        "challenges": [{**CHALLENGE, **challenge}],
    }


@pytest.mark.parametrize("name", ["a.example", "b.example"])
def test_requested_name_is_proved(client: Client, name: str) -> None:
    """The hooks run for names of the request, a wildcard's without its star (RFC 8555, 7.1.4)."""
    assert "the hooks have run" in client.ask(authorization(name))
    assert client.trace.read_text() == f"{name}\n"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("c.example", "to validate 'c.example', which is not in the request"),
        ("x.b.example", "which is not in the request"),
        ("a.example;id", "which is not in the request"),
        ("../../etc", "which is not in the request"),
        ("A.example", "which is not in the request"),
        ("", "has no name"),
        (7, "has no name"),
        (None, "has no name"),
    ],
)
def test_other_name_reaches_no_hook(client: Client, name: object, said: str) -> None:
    """A CA can't have hooks run for names that did not pass the policy."""
    assert said in client.ask(authorization(name))
    assert not client.trace.exists()


@pytest.mark.parametrize(
    "token", ["", "../../../etc/cron.d/x", "a/b", "a b", "a\n", "a.b", "ø", "a" * 256, 7, None]
)
def test_token_that_is_no_base64url_reaches_no_hook(client: Client, token: object) -> None:
    """It becomes the name of a file in the web root (RFC 8555 section 8.3)."""
    assert "has no token or no URL" in client.ask(authorization("a.example", token=token))
    assert not client.trace.exists()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        pytest.param({"challenges": []}, "the CA offers no challenge for a.example", id="none"),
        pytest.param({"challenges": "x"}, "the CA offers no challenge for", id="no list"),
        pytest.param({"challenges": [7]}, "the CA offers no challenge for", id="no object"),
        pytest.param({"status": "revoked"}, "is revoked", id="status"),
        pytest.param({"identifier": "x"}, "has no name", id="identifier"),
    ],
)
def test_authorization_that_makes_no_sense(
    client: Client, broken: dict[str, object], said: str
) -> None:
    """One line, and no hook has run."""
    assert said in client.ask({**authorization("a.example"), **broken})
    assert not client.trace.exists()


@pytest.mark.parametrize("status", [None, [], {}])
def test_reason_without_a_status_is_still_a_reason(status: object) -> None:
    """An order that failed, by an authorization that does not say what it is."""
    session = FakeSession({"status": status, "identifier": {"type": "dns", "value": "a.example"}})
    order = order_module._Order("u", {"authorizations": [f"{CA}/authorization"]})
    error = order_module._invalid(cast("Session", session), order)
    assert str(error).startswith("the CA refuses: a.example: ")
