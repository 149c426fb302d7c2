"""Pebble: a real ACME server that is hostile on purpose, with fresh keys at every start."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.testbed.server import Server, clean_environment, free_port

_REQUEST = re.compile(r"(GET|HEAD|POST) (/\S*) -> calling handler")


class Pebble(Server):
    """An ACME server that validates for real and keeps Pebble's hostile defaults.

    By default it rejects 5 % of the good nonces and reuses half of the valid authorizations; only
    its random pause before a validation is off.

    Attributes:
        directory_url: Where ACME clients begin.
        management_url: Pebble's own management interface.
        ca_file: The CA certificate to trust for both.
        settings: More of its configuration file; counts when `configure` is called.
    """

    program_name = "pebble"

    def __init__(
        self,
        *,
        dns_server: str,
        http_port: int,
        env: Mapping[str, str] | None = None,
        ocsp_url: str = "",
        address: str = "127.0.0.1",
    ) -> None:
        """Prepare a CA.

        Args:
            dns_server: "HOST:PORT" of the name server it validates by.
            http_port: The port to which HTTP-01 validations go.
            env: PEBBLE_… settings, in place of the defaults above.
            ocsp_url: The OCSP responder that its certificates name; Pebble itself runs none.
            address: Where its ACME interface listens.
        """
        super().__init__()
        self._dns_server = dns_server
        self._http_port = http_port
        self._ocsp_url = ocsp_url
        self._env = {"PEBBLE_VA_NOSLEEP": "1", **(env or {})}
        self._address = address
        self.port = free_port()
        self.management_port = free_port()
        self.directory_url = f"https://{address}:{self.port}/dir"
        self.management_url = f"https://127.0.0.1:{self.management_port}"
        self.ca_file: Path = self.directory / "ca.pem"
        self.settings: dict[str, object] = {}

    def configure(self) -> None:
        """Write the configuration and the certificate of the API."""
        certificate, key = self._make_api_certificate()
        settings = {
            "listenAddress": f"{self._address}:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": self._http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": self._ocsp_url,
            "externalAccountBindingRequired": False,
            **self.settings,
        }
        path = self.directory / "pebble.json"
        path.write_text(json.dumps({"pebble": settings}), encoding="utf-8")

    def command(self) -> Sequence[str]:
        """Run Pebble with the given name server."""
        configuration = str(self.directory / "pebble.json")
        return [self.program, "-config", configuration, "-dnsserver", self._dns_server]

    def environment(self) -> Mapping[str, str]:
        """The PEBBLE_… settings."""
        return clean_environment(**self._env)

    def is_ready(self) -> bool:
        """Whether both interfaces answer over TLS."""
        try:
            directory = self._get(self.port, "/dir", self._address)
            return "newOrder" in directory and bool(self.root())
        except OSError:
            return False

    def root(self, number: int = 0) -> str:
        """The PEM of a root certificate: 0, or an alternate one (PEBBLE_ALTERNATE_ROOTS)."""
        return self._get(self.management_port, f"/roots/{number}")

    def intermediate(self, number: int = 0) -> str:
        """The PEM of the certificate that signs the leaves under root `number`."""
        return self._get(self.management_port, f"/intermediates/{number}")

    def intermediate_key(self, number: int = 0) -> str:
        """The PEM of that certificate's private key."""
        return self._get(self.management_port, f"/intermediate-keys/{number}")

    def certificate_status(self, serial: int) -> dict[str, object]:
        """What the CA knows about a certificate it issued: Status, Certificate, Reason."""
        path = f"/cert-status-by-serial/{serial:x}"
        answer: dict[str, object] = json.loads(self._get(self.management_port, path))
        return answer

    def requests(self) -> list[str]:
        """The ACME requests since the first start, as "POST /order-plz", without GET /dir.

        The readiness probe reads the directory too, so that path proves nothing.
        """
        found = (f"{method} {path}" for method, path in _REQUEST.findall(self.log()))
        return [request for request in found if request != "GET /dir"]

    def _get(self, port: int, path: str, address: str = "127.0.0.1") -> str:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(address, port, timeout=5, context=context)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode("ascii")
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise LookupError(f"Pebble answers {response.status} to {path}: {body}")
        return body

    def _make_api_certificate(self) -> tuple[Path, Path]:
        """A CA in ca_file and a certificate for its addresses and localhost under it."""
        now = dt.datetime.now(dt.timezone.utc)
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test bed CA")])
        ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())

        def certificate(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> _Builder:
            return (
                x509.CertificateBuilder()
                .issuer_name(ca_name)
                .subject_name(subject)
                .public_key(public_key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - dt.timedelta(hours=1))
                .not_valid_after(now + dt.timedelta(days=1))
            )

        # Python 3.13 checks as strictly as RFC 5280 asks: key usage and key identifiers are needed.
        ca = (
            certificate(ca_name, ca_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(ca_id, critical=False)
            .add_extension(_key_usage(key_cert_sign=True), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        names = [
            x509.DNSName("localhost"),
            *(
                x509.IPAddress(ipaddress.ip_address(address))
                for address in sorted({"127.0.0.1", self._address})
            ),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        leaf = (
            certificate(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id),
                critical=False,
            )
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        leaf_path, key_path = self.directory / "api.pem", self.directory / "api.key"
        self.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        leaf_path.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return leaf_path, key_path


_Builder = x509.CertificateBuilder


def _key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
