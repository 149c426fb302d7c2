"""Requests to the ACME server, when it keeps us waiting."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from certgrinderd.issuance.acme import connection
from certgrinderd.system import http
from certgrinderd.system.deadline import Deadline, Stopped, TimeUp
from tests.testbed.authority import issue, make_ca
from tests.testbed.misbehaving import Answer, MisbehavingServer


def make_client() -> connection.Client:
    """A client that trusts any server."""
    return connection.Client(connection.trust(ca_file=None, verify=False), {})


def deadline(seconds: float) -> Deadline:
    """A deadline of a test, which has no client."""
    return Deadline(seconds, for_client=False)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MisbehavingServer]:
    """A server that speaks TLS."""
    party = issue(make_ca(), "localhost")
    path = tmp_path / "server.pem"
    key = party.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path.write_bytes(key + party.certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with MisbehavingServer(tls=context) as made:
        yield made


def drips(server: MisbehavingServer, beginning: bytes, drop: bytes) -> str:
    """The URL of an answer that never stops coming."""

    def send(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while not server.ended.wait(0.05):
            connection.sendall(drop)

    return server.put("/drips", Answer(send=send))


@pytest.mark.parametrize("where", ["body", "head"])
def test_answer_that_drips_in_is_looked_after(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Our limit holds for all of an answer, and all the while somebody may call it off."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n"
    beginning = head + b"\r\n" if where == "body" else head + b"X-Drip: "
    url = drips(server, beginning, b"x")
    client = make_client()
    server.put("/right", b"right")
    assert client.request("GET", server.url("/right"), deadline=deadline(30)).body == b"right"
    with pytest.raises(TimeUp):
        client.request("GET", url, deadline=deadline(1))
    stopped = deadline(30)
    threading.Timer(0.5, stopped.stop).start()
    with pytest.raises(Stopped):
        client.request("GET", url, deadline=stopped)
    monkeypatch.setattr(connection, "_ANSWER_SECONDS", 1.0)
    with pytest.raises(http.Failed, match="did not answer in time"):
        client.request("GET", url, deadline=deadline(30))


@pytest.mark.parametrize("host", ["a" * 64 + ".example", ".example"])
def test_host_that_is_none_is_not_reached(host: str) -> None:
    """A CA may name any URL for what comes next."""
    with pytest.raises(http.Failed):
        make_client().request("GET", f"https://{host}/", deadline=deadline(30))
