"""Between an ACME client and Pebble: passes everything on, except where a test changes it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable
from typing import Any

from tests.testbed.misbehaving import Answer, MisbehavingServer, Request
from tests.testbed.pebble import Pebble

_KEPT = ("Content-Type", "Link", "Location", "Replay-Nonce", "Retry-After")


class AcmeProxy(MisbehavingServer):
    """An ACME server whose answers are Pebble's, or the test's. It names itself in all URLs.

    Attributes:
        instead: Asked before Pebble is; what it returns, if anything, is the answer.
        changed: Gets Pebble's answer, and returns what the client gets.
        directory_url: Where ACME clients begin.
    """

    def __init__(self, pebble: Pebble) -> None:
        """Prepare one with Pebble's own certificate."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pebble.directory / "api.pem", pebble.directory / "api.key")
        super().__init__(tls=tls)
        self._pebble = pebble
        self.instead: Callable[[Request], Answer | None] = lambda _: None
        self.changed: Callable[[Request, Answer], Answer] = lambda _, answer: answer
        self.directory_url = self.url("/dir")
        self.otherwise = self._answer

    def _answer(self, request: Request) -> Answer:
        return self.instead(request) or self.changed(request, self.forward(request))

    def forward(self, request: Request) -> Answer:
        """What Pebble says."""
        trust = ssl.create_default_context(cafile=str(self._pebble.ca_file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._pebble.port, timeout=20, context=trust
        )
        try:
            # With the client's Host, from which Pebble makes its URLs and checks ours.
            connection.request(request.method, request.path, request.body, dict(request.headers))
            response = connection.getresponse()
            found = {name: response.headers.get_all(name) for name in _KEPT}
            headers = {name: ", ".join(values) for name, values in found.items() if values}
            return Answer(response.read(), response.status, headers)
        finally:
            connection.close()

    def asked(self, path: str) -> list[Any]:
        """The payloads of the POST requests to a path."""
        return [payload_of(each) for each in self.requests if each.path == path and each.body]


def payload_of(request: Request) -> Any:  # noqa: ANN401 - what JSON can say
    """What a signed request says; None for POST-as-GET."""
    text = json.loads(request.body)["payload"]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) if text else None


def problem(kind: str, status: int, **headers: str) -> Answer:
    """A problem document, with headers, _ for -."""
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": f"the detail of {kind}"}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(
        json.dumps(body).encode(), status, {"Content-Type": "application/problem+json", **more}
    )
