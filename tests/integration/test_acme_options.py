"""What the CAs of today want to know: external accounts, profiles, old certificates, addresses."""

from __future__ import annotations

import base64
import ipaddress
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.testbed.acme_proxy import AcmeProxy, problem
from tests.testbed.csr import make_csr
from tests.testbed.misbehaving import Answer, Request
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.orders import StartPebble, get, new_names, require_chain, require_no_challenge
from tests.testbed.pebble import Pebble
from tests.testbed.service import Service

PROFILES = {"default": "https://ca/default", "shortlived": "https://ca/shortlived"}
WINDOW = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-03T12:30:00.5+00:00"}


@pytest.fixture
def proxy(builtin: Service, calm_pebble: Pebble) -> Iterator[AcmeProxy]:
    """A CA with profiles and renewal information (Debian's Pebble is too old for both)."""
    with AcmeProxy(calm_pebble) as made:

        def changed(request: Request, answer: Answer) -> Answer:
            if request.path != "/dir":
                return answer
            directory = json.loads(answer.body)
            directory["meta"] = {**directory.get("meta", {}), "profiles": PROFILES}
            directory["renewalInfo"] = made.url("/renewal")
            return Answer(json.dumps(directory).encode(), 200, answer.headers)

        made.changed = changed
        builtin.configure(acme_server_url=made.directory_url)
        yield made


# External accounts.


@pytest.fixture
def secret() -> bytes:
    """The HMAC key that a CA gives its customer."""
    return secrets.token_bytes(32)


@pytest.fixture
def customers_only(start_pebble: StartPebble, secret: bytes) -> Pebble:
    """A CA that makes accounts for its customers only."""
    pebble = start_pebble(WFE_NONCEREJECT="0")
    pebble.stop()
    key = base64.urlsafe_b64encode(secret).decode().rstrip("=")
    pebble.settings.update(
        externalAccountBindingRequired=True, externalAccountMACKeys={"customer-1": key}
    )
    pebble.configure()
    pebble.start()
    return pebble


@pytest.mark.usefixtures("customers_only")
def test_external_account(builtin: Service, named: Named, secret: bytes, tmp_path: Path) -> None:
    """Key ID and HMAC key, from a file or a setting, make the account; it's an error without."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    bare = get(builtin, request)
    assert (bare.returncode, bare.stdout) == (2, b"")
    assert b"set eab-kid and eab-hmac-key-file" in bare.stderr

    builtin.configure(eab_kid="customer-1")
    half = get(builtin, request)
    assert (half.returncode, half.stdout) == (2, b"")
    assert b"an external account needs eab-kid, and one of" in half.stderr

    wrong = base64.urlsafe_b64encode(b"x" * 32).decode()
    builtin.configure(eab_hmac_key=wrong)
    refused = get(builtin, request)
    assert (refused.returncode, refused.stdout) == (4, b"")
    assert wrong.encode() not in refused.stderr

    key_file = tmp_path / "hmac.key"
    key_file.write_text(base64.urlsafe_b64encode(secret).decode().rstrip("=") + "\n")
    builtin.configure(eab_hmac_key=None, eab_hmac_key_file=str(key_file))
    require_chain(get(builtin, request), request)


def test_hmac_key_is_shown_to_nobody(builtin: Service) -> None:
    """The configuration is shown without it, to the admin and to clients."""
    builtin.configure(eab_kid="kid-1", eab_hmac_key="c2VjcmV0LXNlY3JldA")
    ours = builtin.run("show", "configuration")
    theirs = builtin.add_client("a.example.test").run("show configuration")
    assert (ours.returncode, theirs.returncode) == (0, 0)
    assert b"eab-hmac-key: '********'" in ours.stdout
    assert b"c2VjcmV0" not in ours.stdout + theirs.stdout + ours.stderr + theirs.stderr


# Profiles.


def test_profile(builtin: Service, proxy: AcmeProxy, named: Named) -> None:
    """The order names the profile; one that there is not is an error that lists those there are."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    builtin.configure(acme_profile="shortlived")
    require_chain(get(builtin, request), request)
    assert proxy.asked("/order-plz")[-1]["profile"] == "shortlived"
    builtin.configure(acme_profile="longlived")
    answer = get(builtin, request)
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert b"no profile 'longlived'; it offers: default, shortlived" in answer.stderr
    builtin.configure(acme_profile=None)
    require_chain(get(builtin, request), request)
    assert "profile" not in proxy.asked("/order-plz")[-1]


# Renewal information.


def test_renewal_info(builtin: Service, proxy: AcmeProxy, named: Named) -> None:
    """The window that the CA suggests for a certificate is printed, for clients too."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    chain = get(builtin, request).stdout
    (leaf, *_) = x509.load_pem_x509_certificates(chain)
    identifier = expected_id(leaf)
    body = {"suggestedWindow": WINDOW, "explanationURL": "https://ca.example/why"}
    proxy.put(
        f"/renewal/{identifier}", Answer(json.dumps(body).encode(), 200, {"Retry-After": "21600"})
    )
    client = builtin.add_client(names[0])
    for answer in (
        builtin.run("get", "renewal-info", stdin=chain),
        client.run("get renewal-info", stdin=chain),
    ):
        assert answer.returncode == 0, answer.stderr.decode()
        assert answer.stdout.decode() == (
            f"certificate-id: {identifier}\n"
            f"suggested-window-start: {WINDOW['start']}\n"
            f"suggested-window-end: {WINDOW['end']}\n"
            "explanation-url: https://ca.example/why\n"
            "retry-after: 21600\n"
        )


def expected_id(leaf: x509.Certificate) -> str:
    """The identifier as certbot's library makes it."""
    from acme.client import _renewal_info_path_component

    return _renewal_info_path_component(leaf)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"suggestedWindow": []}',
        b'{"suggestedWindow": {"start": "soon", "end": "later"}}',
        json.dumps({"suggestedWindow": {**WINDOW, "start": "2026-12-01T00:00:00Z\nx: y"}}).encode(),
    ],
    ids=repr,
)
def test_renewal_info_that_is_none(
    builtin: Service, proxy: AcmeProxy, calm_pebble: Pebble, body: bytes
) -> None:
    """An answer without a window of two times is an error, and nothing of it is printed."""
    chain = calm_pebble.intermediate().encode()
    (certificate,) = x509.load_pem_x509_certificates(chain)
    path = f"/renewal/{expected_id(certificate)}"
    proxy.put(path, body)
    answer = builtin.run("get", "renewal-info", stdin=chain)
    assert (answer.returncode, answer.stdout) == (4, b"")
    proxy.put(path, json.dumps({"suggestedWindow": WINDOW}).encode())
    assert builtin.run("get", "renewal-info", stdin=chain).returncode == 0


def test_ca_without_renewal_info(builtin: Service, calm_pebble: Pebble) -> None:
    """A CA that has none is an error that says so."""
    answer = builtin.run("get", "renewal-info", stdin=calm_pebble.intermediate().encode())
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert b"offers no renewalInfo" in answer.stderr


def test_order_says_what_it_replaces(builtin: Service, proxy: AcmeProxy, named: Named) -> None:
    """The certificate that a client names stands in the order; a CA that minds gets another one."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    (leaf, *_) = require_chain(get(builtin, request), request)
    identifier = expected_id(leaf)
    client = builtin.add_client(names[0])
    words = ["--replaces", identifier, "get", "certificate"]
    require_chain(client.run(words, stdin=request.pem), request)
    assert proxy.asked("/order-plz")[-1]["replaces"] == identifier

    def minds(asked: Request) -> Answer | None:
        if asked.path == "/order-plz" and "replaces" in proxy.asked("/order-plz")[-1]:
            nonce = proxy.forward(asked).headers["Replay-Nonce"]
            return problem("alreadyReplaced", 409, Replay_Nonce=str(nonce))
        return None

    proxy.instead = minds
    answer = client.run(words, stdin=request.pem)
    require_chain(answer, request)
    assert b"alreadyReplaced" in answer.stderr
    for wrong in ("AAAA", "a.b.c", "a..b", "$(id).x"):
        answer = client.run(["--replaces", wrong, "get", "certificate"], stdin=request.pem)
        assert (answer.returncode in {2, 3}, answer.stdout) == (True, b"")


# Addresses.


def test_ip_address(builtin: Service, named: Named, nginx: Nginx) -> None:
    """An address that stands in a domainset is proved by HTTP-01, next to names or alone."""
    (name,) = new_names()
    named.delegate(name)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    both: list[list[str | x509.GeneralName]] = [[name, address], [address]]
    for names in both:
        request = make_csr(names)
        answer = get(builtin, request)
        chain = require_chain(answer, request)
        found = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.IPAddress) == [address.value]
        assert b"DNS-01" not in answer.stderr
    require_no_challenge(named, nginx, [name])
    foreign = make_csr([x509.IPAddress(ipaddress.ip_address("127.0.0.2"))])
    answer = builtin.run(*("--domainsets", "ip:127.0.0.1", "get", "certificate"), stdin=foreign.pem)
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert b"may not have ip:127.0.0.2" in answer.stderr


def test_ip_address_needs_http_01(builtin: Service) -> None:
    """Without a web-root an address is an error that says so."""
    builtin.configure(web_root=None)
    answer = get(builtin, make_csr([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert b"127.0.0.1 needs HTTP-01" in answer.stderr
