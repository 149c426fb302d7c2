"""Account keys and signatures, against those of certbot's library."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from acme import challenges
from acme import jws as acme_jws
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwk import JWK, JWKOct
from josepy.jws import JWS

from certgrinderd.issuance.acme import jws
from certgrinderd.issuance.acme.jws import AccountKey

KEYS = {
    "P-256": AccountKey.generate(),
    "P-384": AccountKey(ec.generate_private_key(ec.SECP384R1())),
    "P-521": AccountKey(ec.generate_private_key(ec.SECP521R1())),
    "RSA": AccountKey(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
}
every_key = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)


def theirs(key: AccountKey) -> Any:  # noqa: ANN401 - an RSA or an EC key
    """The same key as an object of josepy."""
    return JWK.from_json(key.to_jwk())


@every_key
def test_key_on_disk(key: AccountKey) -> None:
    """A JWK that we write is one that josepy reads, and the other way round."""
    read = AccountKey.from_jwk(json.loads(theirs(key).json_dumps()))
    assert read.private.private_numbers() == key.private.private_numbers()


@every_key
def test_thumbprint(key: AccountKey) -> None:
    """The thumbprint is what josepy computes, and so is what a challenge publishes."""
    assert key.thumbprint == jws.b64encode(theirs(key).thumbprint())
    token = b"t" * 32
    proof = f"{jws.b64encode(token)}.{key.thumbprint}"
    assert proof == challenges.HTTP01(token=token).validation(theirs(key))
    assert jws.digest(proof) == challenges.DNS01(token=token).validation(theirs(key))


@every_key
@pytest.mark.parametrize("payload", [None, {}, {"a": ["b", 1], "ø": "√"}], ids=repr)
def test_signed_request(key: AccountKey, payload: object) -> None:
    """A request is verified by josepy, and its header says what RFC 8555 section 6.2 asks for."""
    known = jws.request(key, payload, url="https://ca/x", nonce="bm9uY2U", account_url="https://a")
    new = jws.request(key, payload, url="https://ca/x", nonce="bm9uY2U", account_url=None)
    for data, names in (
        (known, {"alg", "kid", "nonce", "url"}),
        (new, {"alg", "jwk", "nonce", "url"}),
    ):
        read = acme_jws.JWS.json_loads(data.decode())
        assert read.verify(theirs(key).public_key())
        expected = b"" if payload is None else json.loads(json.dumps(payload))
        assert (json.loads(read.payload) if read.payload else b"") == expected
        header = json.loads(jws.b64decode(json.loads(data)["protected"]))
        assert set(header) == names
        assert (header["url"], header["nonce"]) == ("https://ca/x", "bm9uY2U")


def test_changed_request_is_not_verified() -> None:
    """The signature covers header and payload."""
    key = KEYS["P-256"]
    data = json.loads(jws.request(key, {}, url="https://ca/x", nonce="bm9uY2U", account_url="a"))
    data["payload"] = jws.b64encode(b'{"x":1}')
    assert not acme_jws.JWS.json_loads(json.dumps(data)).verify(theirs(key).public_key())


def test_external_account_binding() -> None:
    """The binding is a JWS by the CA's secret over our public key (RFC 8555 section 7.3.4)."""
    key = KEYS["P-256"]
    secret = b"s" * 32
    binding = jws.external_account_binding(key, url="https://ca/n", key_id="kid-1", hmac_key=secret)
    read = JWS.json_loads(json.dumps(binding))
    assert read.verify(JWKOct(key=secret))
    assert not read.verify(JWKOct(key=b"x" * 32))
    assert json.loads(read.payload) == key.public_jwk
    header = json.loads(jws.b64decode(binding["protected"]))
    assert header == {"alg": "HS256", "kid": "kid-1", "url": "https://ca/n"}


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA", "d": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "!", "y": "AA", "d": "AA"},
        {"kty": "EC", "crv": "P-256", "x": 1, "y": 2, "d": 3},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {name: value for name, value in KEYS["P-256"].to_jwk().items() if name != "d"},
    ],
)
def test_no_private_key(jwk: dict[str, Any]) -> None:
    """What is no private key is a ValueError, not a surprise later on."""
    with pytest.raises(ValueError, match=r"."):
        AccountKey.from_jwk(jwk)


@given(st.binary(max_size=100))
def test_base64url_there_and_back(data: bytes) -> None:
    """Any bytes come back, with padding or without."""
    text = jws.b64encode(data)
    assert "=" not in text
    assert jws.b64decode(text) == jws.b64decode(text + "=" * (-len(text) % 4)) == data


@given(st.text(max_size=50))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Text is base64url or a ValueError."""
    with suppress(ValueError):
        assert isinstance(jws.b64decode(text), bytes)
