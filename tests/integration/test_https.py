"""Requests to the ACME server, when it keeps us waiting."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from certgrinderd.system import https
from tests.testbed.authority import issue, make_ca
from tests.testbed.misbehaving import Answer, MisbehavingServer


class EnoughError(Exception):
    """Nobody waits any more."""


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
    client = https.Client(https.context(ca_file=None, verify=False), {})
    server.put("/right", b"right")
    assert client.request("GET", server.url("/right"), check=lambda: None).body == b"right"
    end = time.monotonic() + 1

    def check() -> None:
        if time.monotonic() > end:
            raise EnoughError

    with pytest.raises(EnoughError):
        client.request("GET", url, check=check)
    monkeypatch.setattr(https, "_ANSWER_SECONDS", 1.0)
    with pytest.raises(https.ConnectionFailed, match="did not answer in time"):
        client.request("GET", url, check=lambda: None)


@pytest.mark.parametrize("host", ["a" * 64 + ".example", ".example"])
def test_host_that_is_none_is_not_reached(host: str) -> None:
    """A CA may name any URL for what comes next."""
    client = https.Client(https.context(ca_file=None, verify=False), {})
    with pytest.raises(https.ConnectionFailed):
        client.request("GET", f"https://{host}/", check=lambda: None)
