"""A CA of the test's own: certificates, OCSP responses and CRLs, good ones and all others."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)
Algorithm = Literal[
    "rsa-md5",
    "rsa-sha1",
    "rsa-sha256",
    "rsa-pss-sha1",
    "rsa-pss-sha256",
    "rsa-pss-sha384",
    "rsa-pss-mgf1-by-sha1-sha256",
    "ecdsa-sha1",
    "ecdsa-sha256",
    "ecdsa-sha384",
    "ed25519",
    "ed448",
]

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)


def now() -> dt.datetime:
    """The time, as certificates have it: whole seconds, UTC."""
    return dt.datetime.now(dt.timezone.utc).replace(microsecond=0)


@dataclass(frozen=True)
class Party:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key."""
        return self.key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public_key(self) -> bytes:
        """The content of the BIT STRING with the public key, of which OCSP has hashes."""
        spki = self.certificate.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        (content,) = _contents(spki)
        return _contents(content)[1][1:]  # after the number of unused bits


def new_key(kind: Literal["rsa", "ecdsa", "ed25519", "ed448"] = "ecdsa") -> PrivateKey:
    """Make a key: RSA 2048, P-256, Ed25519 or Ed448."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def _hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    return (
        hashes.SHA256()
        if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey))
        else None
    )


def make_ca(
    name: str = "Test CA",
    *,
    key: PrivateKey | None = None,
    crl_sign: bool = True,
    valid: tuple[dt.datetime, dt.datetime] | None = None,
) -> Party:
    """Make a root."""
    key = key or new_key()
    usage = key_usage(key_cert_sign=True, crl_sign=crl_sign, digital_signature=True)
    return _certificate(
        name,
        key,
        None,
        [(x509.BasicConstraints(ca=True, path_length=None), True), (usage, True)],
        valid=valid or (now() - 10 * DAY, now() + 100 * DAY),
    )


def issue(
    ca: Party,
    name: str = "www.example.test",
    *,
    names: Sequence[str | x509.GeneralName] | None = None,
    ocsp_urls: Sequence[str] = (),
    issuer_urls: Sequence[str] = (),
    crl_points: Sequence[str | x509.DistributionPoint] = (),
    key: PrivateKey | None = None,
    serial_number: int | None = None,
    valid: tuple[dt.datetime, dt.datetime] | None = None,
    first_extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Party:
    """Make a leaf.

    Args:
        ca: Who signs it.
        name: Its CN.
        names: Its subject alternative names; by default the CN.
        ocsp_urls: For the AIA extension.
        issuer_urls: The same, before the OCSP URLs.
        crl_points: URLs, or whole distribution points.
        key: By default a new one.
        serial_number: By default a random one.
        valid: From and until when; by default 30 days from now.
        first_extensions: Those that stand before the names.
    """
    general = [
        x509.DNSName(each) if isinstance(each, str) else each
        for each in ([name] if names is None else names)
    ]
    extensions = list(first_extensions)
    if general:
        extensions.append((x509.SubjectAlternativeName(general), False))
    kinds = (
        (AuthorityInformationAccessOID.CA_ISSUERS, issuer_urls),
        (AuthorityInformationAccessOID.OCSP, ocsp_urls),
    )
    access = [
        x509.AccessDescription(kind, x509.UniformResourceIdentifier(url))
        for kind, urls in kinds
        for url in urls
    ]
    if access:
        extensions.append((x509.AuthorityInformationAccess(access), False))
    points = [point(each) if isinstance(each, str) else each for each in crl_points]
    if points:
        extensions.append((x509.CRLDistributionPoints(points), False))
    return _certificate(
        name, key or new_key(), ca, extensions, valid=valid, serial_number=serial_number
    )


def point(url: str) -> x509.DistributionPoint:
    """The distribution point of a whole CRL at a URL."""
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)


def make_delegate(
    ca: Party,
    name: str = "Test responder",
    *,
    ocsp_signing: bool = True,
    valid: tuple[dt.datetime, dt.datetime] | None = None,
    key: PrivateKey | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> Party:
    """Make a certificate that may sign OCSP responses, or one that almost may."""
    purpose = ExtendedKeyUsageOID.OCSP_SIGNING if ocsp_signing else ExtendedKeyUsageOID.SERVER_AUTH
    usage: tuple[x509.ExtensionType, bool] = (x509.ExtendedKeyUsage([purpose]), False)
    return _certificate(name, key or new_key(), ca, [usage, *extensions], valid=valid)


def key_usage(
    *, key_cert_sign: bool = False, crl_sign: bool = False, digital_signature: bool = False
) -> x509.KeyUsage:
    """A key usage with nothing but what is said."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=not (key_cert_sign or digital_signature),
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate(  # noqa: PLR0917 - one place for all of them
    name: str,
    key: PrivateKey,
    issuer: Party | None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
    valid: tuple[dt.datetime, dt.datetime] | None = None,
    serial_number: int | None = None,
) -> Party:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    first, last = valid or (now() - DAY, now() + 30 * DAY)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(serial_number or x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    signer = issuer.key if issuer else key
    return Party(builder.sign(signer, _hash_for(signer)), key)


# DER. cryptography builds responses with one SingleResponse and strong signatures only.


def tlv(tag: int, *contents: bytes) -> bytes:
    """One DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*contents: bytes) -> bytes:
    """A DER SEQUENCE."""
    return tlv(0x30, *contents)


def oid(dotted: str) -> bytes:
    """A DER OBJECT IDENTIFIER."""
    first, second, *rest = map(int, dotted.split("."))
    content = b""
    for number in (40 * first + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        content += bytes(reversed(groups))
    return tlv(0x06, content)


def _integer(number: int) -> bytes:
    return tlv(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))


def _time(moment: dt.datetime) -> bytes:
    return tlv(0x18, moment.strftime("%Y%m%d%H%M%SZ").encode())


def _contents(elements: bytes) -> list[bytes]:
    """The contents of DER elements that stand in a row."""
    found = []
    place = 0
    while place < len(elements):
        size, start = elements[place + 1], place + 2
        if size > 0x80:
            start += size - 0x80
            size = int.from_bytes(elements[place + 2 : start], "big")
        found.append(elements[start : start + size])
        place = start + size
    return found


_HASHES: dict[str, tuple[str, hashes.HashAlgorithm]] = {
    "md5": ("1.2.840.113549.2.5", hashes.MD5()),  # noqa: S303 - to be refused
    "sha1": ("1.3.14.3.2.26", hashes.SHA1()),  # noqa: S303 - in CertIDs, and to be refused
    "sha256": ("2.16.840.1.101.3.4.2.1", hashes.SHA256()),
    "sha384": ("2.16.840.1.101.3.4.2.2", hashes.SHA384()),
}
_SIGNATURES = {
    "rsa-md5": "1.2.840.113549.1.1.4",
    "rsa-sha1": "1.2.840.113549.1.1.5",
    "rsa-sha256": "1.2.840.113549.1.1.11",
    "ecdsa-sha1": "1.2.840.10045.4.1",
    "ecdsa-sha256": "1.2.840.10045.4.3.2",
    "ecdsa-sha384": "1.2.840.10045.4.3.3",
    "ed25519": "1.3.101.112",
    "ed448": "1.3.101.113",
}
_NULL = tlv(0x05)


def _hash_identifier(name: str) -> bytes:
    return sequence(oid(_HASHES[name][0]), _NULL)


def _sign(key: PrivateKey, data: bytes, algorithm: Algorithm) -> tuple[bytes, bytes]:
    """The AlgorithmIdentifier and the signature."""
    hash_name = algorithm.rsplit("-", 1)[-1]
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)):
        return sequence(oid(_SIGNATURES[algorithm])), key.sign(data)
    digest = _HASHES[hash_name][1]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return sequence(oid(_SIGNATURES[algorithm])), key.sign(data, ec.ECDSA(digest))
    if not algorithm.startswith("rsa-pss"):
        identifier = sequence(oid(_SIGNATURES[algorithm]), _NULL)
        return identifier, key.sign(data, padding.PKCS1v15(), digest)
    salt = digest.digest_size
    mask_name = "sha1" if "mgf1-by-sha1" in algorithm else hash_name
    fields = {
        "hash": tlv(0xA0, _hash_identifier(hash_name)),
        "mask": tlv(0xA1, sequence(oid("1.2.840.113549.1.1.8"), _hash_identifier(mask_name))),
        "salt": tlv(0xA2, _integer(salt)),
    }
    # SHA-1 is the default of all fields, and DER leaves defaults out.
    if hash_name == "sha1":
        fields = {}
    elif mask_name == "sha1":
        del fields["mask"]
    parameters = sequence(*fields.values())
    padded = padding.PSS(padding.MGF1(_HASHES[mask_name][1]), salt)
    signature = key.sign(data, padded, digest)
    return sequence(oid("1.2.840.113549.1.1.10"), parameters), signature


def extension(dotted: str, value: bytes, *, critical: bool = False) -> bytes:
    """An extension, for a response or a SingleResponse."""
    flag = tlv(0x01, b"\xff") if critical else b""
    return sequence(oid(dotted), flag, tlv(0x04, value))


NONCE = "1.3.6.1.5.5.7.48.1.2"


@dataclass(frozen=True)
class Single:
    """A SingleResponse.

    Attributes:
        certificate: What it is about.
        issuer: Whose name and key its CertID has.
        status: What it says.
        this_update: By default an hour ago.
        next_update: By default in a day; None leaves it out.
        hash_name: Of the CertID.
        named_hash: What the CertID says instead of hash_name.
        serial_number: By default the certificate's.
        extensions: singleExtensions.
    """

    certificate: x509.Certificate
    issuer: Party
    status: Literal["good", "revoked", "unknown"] = "good"
    this_update: dt.datetime = field(default_factory=lambda: now() - HOUR)
    next_update: dt.datetime | None = field(default_factory=lambda: now() + DAY)
    hash_name: str = "sha1"
    named_hash: str | None = None
    serial_number: int | None = None
    extensions: Sequence[bytes] = ()

    @property
    def der(self) -> bytes:
        """Its encoding."""
        name = self.issuer.certificate.subject.public_bytes()
        new = getattr(hashlib, self.hash_name)
        serial_number = self.serial_number or self.certificate.serial_number
        identifier = sequence(
            _hash_identifier(self.named_hash or self.hash_name),
            tlv(0x04, new(name).digest()),
            tlv(0x04, new(self.issuer.public_key).digest()),
            _integer(serial_number),
        )
        key_compromise = tlv(0xA0, tlv(0x0A, b"\x01"))
        status = {
            "good": tlv(0x80),
            "revoked": tlv(0xA1, _time(self.this_update), key_compromise),
            "unknown": tlv(0x82),
        }[self.status]
        parts = [identifier, status, _time(self.this_update)]
        if self.next_update is not None:
            parts.append(tlv(0xA0, _time(self.next_update)))
        if self.extensions:
            parts.append(tlv(0xA1, sequence(*self.extensions)))
        return sequence(*parts)


@dataclass(frozen=True)
class Response:
    """An OCSP response.

    Attributes:
        singles: Its SingleResponses.
        signer: Whose key signs it.
        algorithm: How.
        responder: Whom its ResponderID names; by default the signer.
        by: How it does so.
        certificates: What comes with it.
        extensions: responseExtensions.
    """

    singles: Sequence[Single]
    signer: Party
    algorithm: Algorithm = "ecdsa-sha256"
    responder: Party | None = None
    by: Literal["name", "key"] = "key"
    certificates: Sequence[Party] = ()
    extensions: Sequence[bytes] = ()

    def but(self, **changes: object) -> Response:
        """The same with changes."""
        return replace(self, **changes)  # type: ignore[arg-type] # as replace() itself

    @property
    def der(self) -> bytes:
        """Its encoding, freshly signed."""
        responder = self.responder or self.signer
        named = (
            tlv(0xA1, responder.certificate.subject.public_bytes())
            if self.by == "name"
            else tlv(0xA2, tlv(0x04, hashlib.sha1(responder.public_key).digest()))  # noqa: S324 - RFC 6960
        )
        parts = [named, _time(now()), sequence(*(single.der for single in self.singles))]
        if self.extensions:
            parts.append(tlv(0xA1, sequence(*self.extensions)))
        data = sequence(*parts)
        identifier, signature = _sign(self.signer.key, data, self.algorithm)
        basic = [data, identifier, tlv(0x03, b"\0", signature)]
        if self.certificates:
            encoded = [each.certificate.public_bytes(Encoding.DER) for each in self.certificates]
            basic.append(tlv(0xA0, sequence(*encoded)))
        response_bytes = sequence(oid("1.3.6.1.5.5.7.48.1.1"), tlv(0x04, sequence(*basic)))
        return sequence(tlv(0x0A, b"\0"), tlv(0xA0, response_bytes))


def refusal(status: int) -> bytes:
    """An OCSP response that is none: tryLater is 3, unauthorized is 6."""
    return sequence(tlv(0x0A, bytes([status])))


def make_crl(
    ca: Party,
    revoked: Sequence[int] = (),
    *,
    valid: tuple[dt.datetime, dt.datetime] | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    entry_extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    name: x509.Name | None = None,
) -> bytes:
    """Make a CRL with these serial numbers.

    Args:
        ca: Whose key signs it.
        revoked: Serial numbers.
        valid: By default from an hour ago for a day.
        extensions: With whether they are critical.
        entry_extensions: The same, for each entry.
        name: The issuer's, by default the CA's.
    """
    first, last = valid or (now() - HOUR, now() + DAY)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name or ca.certificate.subject)
        .last_update(first)
        .next_update(last)
    )
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    for serial_number in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial_number).revocation_date(first)
        for value, critical in (
            (x509.CRLReason(x509.ReasonFlags.key_compromise), False),
            *entry_extensions,
        ):
            entry = entry.add_extension(value, critical=critical)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca.key, _hash_for(ca.key)).public_bytes(Encoding.DER)


def certificate_by_sha1(party: Party, ca: Party) -> Party:
    """The same certificate, signed by the CA's RSA key by means of SHA-1."""
    whole = _signed_by_sha1(party.certificate.tbs_certificate_bytes, ca)
    return Party(x509.load_der_x509_certificate(whole), party.key)


def crl_by_sha1(crl: bytes, ca: Party) -> bytes:
    """The same CRL, signed by the CA's RSA key by means of SHA-1."""
    return _signed_by_sha1(x509.load_der_x509_crl(crl).tbs_certlist_bytes, ca)


def _signed_by_sha1(data: bytes, ca: Party) -> bytes:
    strong, weak = (_sign(ca.key, b"", how)[0] for how in _RSA_BY_SHA2_AND_SHA1)
    # What is signed names the algorithm as well.
    data = data.replace(strong, weak)
    identifier, signature = _sign(ca.key, data, "rsa-sha1")
    return sequence(data, identifier, tlv(0x03, b"\0", signature))


_RSA_BY_SHA2_AND_SHA1: tuple[Algorithm, Algorithm] = ("rsa-sha256", "rsa-sha1")
