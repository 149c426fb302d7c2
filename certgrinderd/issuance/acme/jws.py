"""Account keys, and the signatures by which an ACME server knows us (RFC 7515, RFC 8555 section 6).

Not done by josepy, which needs 0.2 s and more to read an RSA key: see docs/notes/0001.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# RFC 7518 section 3.4: curve, JWS algorithm, hash, bytes of a coordinate.
_CURVES: dict[str, tuple[type[ec.EllipticCurve], str, type[hashes.HashAlgorithm], int]] = {
    "P-256": (ec.SECP256R1, "ES256", hashes.SHA256, 32),
    "P-384": (ec.SECP384R1, "ES384", hashes.SHA384, 48),
    "P-521": (ec.SECP521R1, "ES512", hashes.SHA512, 66),
}
# RFC 7518 section 6.3.2, in the order that RSAPrivateNumbers wants.
_RSA_MEMBERS = ("p", "q", "d", "dp", "dq", "qi")


def b64encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def b64decode(text: str) -> bytes:
    """Read base64url, with or without padding.

    Raises:
        ValueError: It is something else.
    """
    try:
        data = text.encode("ascii")
        return base64.b64decode(data + b"=" * (-len(data) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise ValueError("not base64url") from error


def digest(text: str) -> str:
    """SHA-256 in base64url, as a DNS-01 challenge publishes it (RFC 8555 section 8.4)."""
    return b64encode(hashlib.sha256(text.encode("ascii")).digest())


@dataclass(frozen=True)
class AccountKey:
    """The private key of an ACME account, P-256 if we made it.

    Attributes:
        private: The key.
    """

    private: PrivateKey

    @classmethod
    def generate(cls) -> AccountKey:
        """Make a new one."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> AccountKey:
        """Read a private JWK (RFC 7517): EC or RSA.

        Raises:
            ValueError: It is none.
        """
        try:
            if jwk["kty"] == "EC":
                curve = _CURVES[jwk["crv"]][0]()
                public = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve)
                numbers = ec.EllipticCurvePrivateNumbers(_number(jwk["d"]), public)
                return cls(numbers.private_key())
            if jwk["kty"] == "RSA":
                p, q, d, dmp1, dmq1, iqmp = (_number(jwk[name]) for name in _RSA_MEMBERS)
                rsa_public = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"]))
                # Checking that p and q are prime takes 0.2 s (2048 bits) to 2.4 s (4096 bits).
                rsa_numbers = rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, iqmp, rsa_public)
                return cls(rsa_numbers.private_key(unsafe_skip_rsa_key_validation=True))
        except (KeyError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"no private key in JWK form: {error!r}") from error
        raise ValueError(f"a key of the kind {jwk['kty']!r}")

    def to_jwk(self) -> dict[str, str]:
        """The private key as certbot stores it."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.private_numbers()
            values = (
                *(numbers.p, numbers.q, numbers.d),
                *(numbers.dmp1, numbers.dmq1, numbers.iqmp),
            )
            secret = {name: _text(value) for name, value in zip(_RSA_MEMBERS, values, strict=True)}
        else:
            size = _CURVES[self._curve][3]
            secret = {"d": _text(self.private.private_numbers().private_value, size)}
        return {**self.public_jwk, **secret}

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public key, with the required members alone (RFC 7638 section 3.2)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = self.private.public_key().public_numbers()
            return {"e": _text(public.e), "kty": "RSA", "n": _text(public.n)}
        size = _CURVES[self._curve][3]
        point = self.private.public_key().public_numbers()
        x, y = _text(point.x, size), _text(point.y, size)
        return {"crv": self._curve, "kty": "EC", "x": x, "y": y}

    @property
    def thumbprint(self) -> str:
        """The SHA-256 thumbprint of the public key (RFC 7638), in base64url."""
        text = json.dumps(self.public_jwk, sort_keys=True, separators=(",", ":"))
        return digest(text)

    @property
    def _curve(self) -> str:
        assert isinstance(self.private, ec.EllipticCurvePrivateKey)  # noqa: S101 - for the type checker
        return f"P-{self.private.key_size}"

    @property
    def algorithm(self) -> str:
        """The JWS algorithm: "ES256", or "RS256" for RSA."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return "RS256"
        return _CURVES[self._curve][1]

    def sign(self, data: bytes) -> bytes:
        """Return a signature in JWS form (RFC 7518 sections 3.3 and 3.4)."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        _, _, hash_algorithm, size = _CURVES[self._curve]
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hash_algorithm())))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _number(text: str) -> int:
    return int.from_bytes(b64decode(text), "big")


def _text(number: int, size: int | None = None) -> str:
    return b64encode(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def request(
    key: AccountKey, payload: object, *, url: str, nonce: str, account_url: str | None
) -> bytes:
    """Sign the body of a POST request (RFC 8555 section 6.2).

    Args:
        key: The account's.
        payload: What JSON can say; None for POST-as-GET (section 6.3).
        url: Where it goes.
        nonce: One that the server gave and nobody has used.
        account_url: The account; None as long as there is none, and the key names itself.
    """
    header: dict[str, object] = {"alg": key.algorithm, "nonce": nonce, "url": url}
    header.update({"kid": account_url} if account_url else {"jwk": key.public_jwk})
    body = b"" if payload is None else _json(payload)
    return _json(_flattened(header, body, key.sign))


def external_account_binding(
    key: AccountKey, *, url: str, key_id: str, hmac_key: bytes
) -> dict[str, str]:
    """Bind a new account to one that the CA knows already (RFC 8555 section 7.3.4).

    Args:
        key: Of the new account.
        url: The newAccount URL.
        key_id: The CA's name for the other account.
        hmac_key: The secret that the CA gave with it.
    """
    header = {"alg": "HS256", "kid": key_id, "url": url}

    def sign(data: bytes) -> bytes:
        return hmac.digest(hmac_key, data, "sha256")

    return _flattened(header, _json(key.public_jwk), sign)


def _flattened(header: Mapping[str, object], body: bytes, sign: Any) -> dict[str, str]:  # noqa: ANN401 - bytes in, bytes out
    """RFC 7515 section 7.2.2."""
    protected, payload = b64encode(_json(header)), b64encode(body)
    signature = sign(f"{protected}.{payload}".encode("ascii"))
    return {"protected": protected, "payload": payload, "signature": b64encode(signature)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
