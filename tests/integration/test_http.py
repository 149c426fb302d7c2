"""One HTTP request with bounds, against servers that keep no rule."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509

from certgrinderd.errors import (
    AddressRefused,
    CertgrinderdError,
    Interrupted,
    ResponseInvalid,
    Unreachable,
)
from certgrinderd.revocation import download
from certgrinderd.system.deadline import Deadline
from tests.testbed.authority import Party, issue, make_ca
from tests.testbed.misbehaving import Answer, MisbehavingServer, redirect
from tests.testbed.server import free_port


@dataclass(frozen=True)
class Bounds:
    """What one request may take."""

    timeout: float
    size: int
    public_only: bool


BOUNDS = Bounds(timeout=5, size=1000, public_only=False)
SHORT = Bounds(timeout=0.5, size=1000, public_only=False)
CLIENTS = Bounds(timeout=5, size=1000, public_only=True)


def fetch(
    url: str, bounds: Bounds, *, body: bytes | None = None, content_type: str | None = None
) -> bytes:
    """Fetch within bounds."""
    return download.fetch(
        url,
        Deadline(bounds.timeout, for_client=False),
        size=bounds.size,
        public_only=bounds.public_only,
        body=body,
        content_type=content_type,
    )


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    """A server that answers "right" at /right."""
    with MisbehavingServer() as made:
        made.put("/right", b"right")
        yield made


def refuse(url: str, kind: type[CertgrinderdError], bounds: Bounds = BOUNDS) -> str:
    """Why there is no answer."""
    with pytest.raises(kind) as caught:
        fetch(url, bounds)
    assert type(caught.value) is kind
    return str(caught.value)


def test_get_and_post(server: MisbehavingServer) -> None:
    """A body is POSTed with its type, nothing is a GET; the server is told who asks."""
    url = server.url("/right")
    assert fetch(url, BOUNDS) == b"right"
    assert fetch(url, BOUNDS, body=b"q", content_type="application/x") == b"right"
    get, post = server.requests
    assert (get.method, get.body) == ("GET", b"")
    assert (post.method, post.body, post.headers["Content-Type"]) == ("POST", b"q", "application/x")
    assert get.headers["Host"] == f"127.0.0.1:{server.port}"
    assert get.headers["User-Agent"].startswith("certgrinderd/")
    assert get.headers["Connection"] == "close"


def test_query_reaches_the_server_and_fragment_does_not(server: MisbehavingServer) -> None:
    """What the CA wrote behind the path counts."""
    server.put("/right?a=b%20c", b"query")
    assert fetch(server.url("/right?a=b%20c#fragment"), BOUNDS) == b"query"


def test_proxies_of_the_environment_are_not_used(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a proxy connects to, nobody could look at before."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert fetch(server.url("/right"), BOUNDS) == b"right"


# Size.


def of_said_length(size: int) -> Answer:
    """An answer as most are."""
    return Answer(b"x" * size)


def chunked(size: int) -> Answer:
    """An answer that does not say how long it is."""

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(f"{size:x}\r\n".encode() + b"x" * size + b"\r\n0\r\n\r\n")

    return Answer(send=send)


def until_the_end(size: int) -> Answer:
    """An answer that ends with its connection."""
    return Answer(b"x" * size, headers={"Content-Length": None})


@pytest.mark.parametrize("form", [of_said_length, chunked, until_the_end])
def test_size_is_bounded(server: MisbehavingServer, form: Callable[[int], Answer]) -> None:
    """However the server says, or doesn't, how long its answer is."""
    server.put("/fits", form(1000))
    server.put("/too-long", form(1001))
    assert fetch(server.url("/fits"), BOUNDS) == b"x" * 1000
    assert "1000" in refuse(server.url("/too-long"), ResponseInvalid)


def test_tiny_chunks_take_no_more_memory_than_they_hold(server: MisbehavingServer) -> None:
    """Ten bytes and more of ours for each of theirs would make a small answer a large one."""
    pieces = 300_000

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"2\r\nab\r\n" * pieces + b"0\r\n\r\n")

    url = server.put("/chunks", Answer(send=drip))
    bounds = Bounds(timeout=30, size=2 * pieces, public_only=False)
    sent = 7 * pieces  # by the server, which is in this process: two copies of it at a time
    tracemalloc.start()
    try:
        assert fetch(url, bounds) == b"ab" * pieces
        assert tracemalloc.get_traced_memory()[1] < 2 * sent + 4 * bounds.size
    finally:
        tracemalloc.stop()


def test_endless_answer_is_not_read_to_its_end(server: MisbehavingServer) -> None:
    """What is said to be long is not read at all, what turns out to be is given up."""
    server.put("/said", Answer(b"x", headers={"Content-Length": "999999999999"}))
    assert "999999999999 bytes" in refuse(server.url("/said"), ResponseInvalid)

    def send(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while not server.ended.is_set():
                connection.sendall(b"x" * 100000)

    server.put("/endless", Answer(send=send))
    assert "more than 1000" in refuse(server.url("/endless"), ResponseInvalid)


def test_answer_that_is_cut_off_is_none(server: MisbehavingServer) -> None:
    """Ten bytes were said, five came."""
    server.put("/short", Answer(b"right", headers={"Content-Length": "10"}))
    server.put("/whole", Answer(b"right", headers={"Content-Length": "5"}))
    assert fetch(server.url("/whole"), BOUNDS) == b"right"
    assert "too early" in refuse(server.url("/short"), ResponseInvalid)


# Time.


def slow_body(connection: socket.socket) -> None:
    """A byte now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    with contextlib.suppress(OSError):
        for _ in range(500):
            connection.sendall(b"x")
            time.sleep(0.05)


def slow_head(connection: socket.socket) -> None:
    """A head that never ends."""
    with contextlib.suppress(OSError):
        for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500:
            connection.sendall(bytes([letter]))
            time.sleep(0.05)


@pytest.mark.parametrize("send", [slow_body, slow_head])
def test_answer_that_drips_in_is_given_up(
    server: MisbehavingServer, send: Callable[[socket.socket], None]
) -> None:
    """The limit is for all of it, not for each byte: these would take 25 seconds."""
    server.put("/slow", Answer(send=send))
    assert "0.5 seconds" in refuse(server.url("/slow"), Unreachable, SHORT)


def test_silent_server_is_given_up(server: MisbehavingServer) -> None:
    """It takes the request and says nothing."""

    def send(_connection: socket.socket) -> None:
        server.ended.wait()

    server.put("/silent", Answer(send=send))
    assert "0.5 seconds" in refuse(server.url("/silent"), Unreachable, SHORT)


def test_silent_tls_server_is_given_up() -> None:
    """Also while the connection is being set up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert "0.5 seconds" in refuse(f"https://127.0.0.1:{port}/", Unreachable, SHORT)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_client_that_hangs_up_ends_a_request(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """While TLS is set up, or an answer is waited for."""
    read, write = os.pipe()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        open(write, "wb", buffering=0) as stdout,
    ):
        monkeypatch.setattr(sys, "stdout", stdout)
        threading.Timer(0.5, os.close, (read,)).start()
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(Interrupted, match="the client hung up"):
            download.fetch(url, Deadline(30), size=1000, public_only=False)


def test_slow_name_server_is_given_up(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """getaddrinfo(3) knows no time limit."""

    def wait(*_: object, **__: object) -> NoReturn:
        server.ended.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    assert "0.5 seconds" in refuse("http://slow.test/", Unreachable, SHORT)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_repeats_the_request(server: MisbehavingServer, status: int) -> None:
    """With its body, at an absolute or a relative place."""
    server.put("/absolute", redirect(server.url("/right"), status))
    server.put("/relative", redirect("right", status))
    for path in ("/absolute", "/relative"):
        assert fetch(server.url(path), BOUNDS, body=b"question") == b"right"
    assert [request.body for request in server.requests] == [b"question"] * 4


def test_three_redirects_are_followed_and_no_more(server: MisbehavingServer) -> None:
    """A loop ends."""
    server.put("/1", redirect("/right"))
    server.put("/2", redirect("/1"))
    server.put("/3", redirect("/2"))
    server.put("/4", redirect("/3"))
    server.put("/loop", redirect("/loop"))
    assert fetch(server.url("/3"), BOUNDS) == b"right"
    assert "more than 3 redirects" in refuse(server.url("/4"), ResponseInvalid)
    before = len(server.requests)
    assert "more than 3 redirects" in refuse(server.url("/loop"), ResponseInvalid)
    assert len(server.requests) == before + 4


@pytest.mark.parametrize(
    "place",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://user:password@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://[::1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/" + "x" * 3000,
    ],
)
def test_redirect_to_something_else_is_not_followed(server: MisbehavingServer, place: str) -> None:
    """Http and https only, and nothing that is no URL."""
    server.put("/away", redirect(place))
    refuse(server.url("/away"), ResponseInvalid)
    assert len(server.requests) == 1


def test_redirect_without_a_place_is_an_error(server: MisbehavingServer) -> None:
    """There is nowhere to go."""
    server.put("/nowhere", Answer(status=302))
    assert "without a Location" in refuse(server.url("/nowhere"), ResponseInvalid)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "right",
        "ldap://127.0.0.1/",
        "http://",
        "http:///nowhere",
        "http://127.0.0.1\r\nX: y/",
        "http://a.test/\n",
    ],
)
def test_url_must_be_one(url: str) -> None:
    """A certificate may hold anything."""
    refuse(url, ResponseInvalid)


# What is no answer.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, ResponseInvalid),
        (403, ResponseInvalid),
        (204, ResponseInvalid),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
    ],
)
def test_status_other_than_200(
    server: MisbehavingServer, status: int, kind: type[CertgrinderdError]
) -> None:
    """Some of them may be better later."""
    server.put("/status", Answer(b"", status))
    assert f"HTTP status {status}" in refuse(server.url("/status"), kind)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        pytest.param(b"", Unreachable, id="nothing"),
        pytest.param(b"220 mail.example.test ESMTP\r\n", ResponseInvalid, id="another protocol"),
        pytest.param(b"HTTP/1.1 2x0 OK\r\n\r\n", ResponseInvalid, id="no status"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, ResponseInvalid, id="many headers"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000, ResponseInvalid, id="a long header"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            ResponseInvalid,
            id="no chunk",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx",
            ResponseInvalid,
            id="half a chunk",
        ),
    ],
)
def test_what_is_no_http_is_an_error(
    server: MisbehavingServer, sent: bytes, kind: type[CertgrinderdError]
) -> None:
    """Whatever a server sends, it is one of our errors."""
    server.put("/odd", Answer(send=lambda connection: connection.sendall(sent)))
    refuse(server.url("/odd"), kind)


def test_nobody_there_is_told() -> None:
    """No server, and no such name."""
    assert "refused" in refuse(f"http://127.0.0.1:{free_port()}/", Unreachable)
    assert "name.invalid" in refuse("http://name.invalid/", Unreachable)


# Addresses.


def test_client_is_sent_to_no_private_address(server: MisbehavingServer) -> None:
    """In whatever form; for the admin the same URL works."""
    hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::1]"]  # noqa: S104
    hosts += ["[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "[fe80::1]"]
    for host in hosts:
        assert "no public address" in refuse(f"http://{host}/", AddressRefused, CLIENTS)
    assert fetch(server.url("/right"), BOUNDS) == b"right"


def test_client_does_not_learn_which_names_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a name inside our network and of none at all it hears the same; the admin hears more."""

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        number = {"none.test": socket.EAI_NONAME, "later.test": socket.EAI_AGAIN}.get(host)
        if number is not None:
            raise socket.gaierror(number, "the reason")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    inside = refuse("http://some.test/", AddressRefused, CLIENTS)
    assert "no public address" in inside
    assert refuse("http://none.test/", AddressRefused, CLIENTS) == inside.replace("some", "none")
    assert "the reason" in refuse("http://none.test/", Unreachable)
    assert "the reason" in refuse("http://later.test/", Unreachable, CLIENTS)


def test_client_is_sent_to_the_ports_of_http_only(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service on another port of a public host is none of the client's business."""
    monkeypatch.setattr(download, "is_public", lambda _: True)
    assert f"port {server.port}" in refuse(server.url("/right"), AddressRefused, CLIENTS)
    monkeypatch.setattr(download, "CLIENT_PORTS", (server.port,))
    assert fetch(server.url("/right"), CLIENTS) == b"right"
    assert len(server.requests) == 1


def test_redirect_of_a_client_leads_to_no_private_address(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public server may not send us into our own network."""
    monkeypatch.setattr(download, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setattr(download, "CLIENT_PORTS", (server.port,))
    server.put("/away", redirect(f"http://127.0.0.2:{server.port}/right"))
    server.put("/here", redirect("/right"))
    assert fetch(server.url("/here"), CLIENTS) == b"right"
    assert "no public address" in refuse(server.url("/away"), AddressRefused, CLIENTS)


def test_address_that_was_looked_at_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name server that says something else the second time (DNS rebinding) gains nothing.

    127.0.0.2 plays the public address, 127.0.0.1 the private one with a service that listens.
    """
    asked = []

    def rebinding(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "127.0.0.2" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with MisbehavingServer("127.0.0.2") as public, socket.socket() as private:
        private.bind(("127.0.0.1", public.port))
        private.listen()
        private.settimeout(0)
        public.put("/right", b"public")
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        monkeypatch.setattr(download, "is_public", lambda address: address == "127.0.0.2")
        monkeypatch.setattr(download, "CLIENT_PORTS", (public.port,))
        url = f"http://rebinding.test:{public.port}/right"

        assert fetch(url, CLIENTS) == b"public"
        assert asked == ["rebinding.test"]
        assert public.requests[0].headers["Host"] == f"rebinding.test:{public.port}"
        refuse(url, AddressRefused, CLIENTS)
        with pytest.raises(BlockingIOError):
            private.accept()


def test_private_addresses_among_public_ones_are_passed_over(
    server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with both is asked at a public one; if that doesn't answer, at the next."""
    addresses = ["127.0.0.9", "127.0.0.3", "127.0.0.1"]

    def resolve(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(download, "is_public", lambda address: address != "127.0.0.9")
    monkeypatch.setattr(download, "CLIENT_PORTS", (server.port,))
    with socket.create_server(("127.0.0.9", server.port)) as private:
        private.settimeout(0)
        assert fetch(f"http://many.test:{server.port}/right", CLIENTS) == b"right"
        with pytest.raises(BlockingIOError):
            private.accept()


# TLS.


def serve_tls(party: Party, folder: Path) -> ssl.SSLContext:
    """A server's context with a certificate."""
    chain, key = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(party.pem)
    key.write_bytes(party.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


def test_tls_is_verified_for_the_name_in_the_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: MisbehavingServer
) -> None:
    """By the CAs that this system trusts, also after a redirect from http."""
    ca = make_ca()
    (tmp_path / "ca.pem").write_bytes(ca.pem)
    leaf = issue(ca, "localhost", names=[x509.DNSName("localhost")])
    with MisbehavingServer(tls=serve_tls(leaf, tmp_path)) as secure:
        secure.put("/right", b"secure")
        right = f"https://localhost:{secure.port}/right"
        server.put("/to-https", redirect(right))

        assert "certificate" in refuse(right, ResponseInvalid)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert fetch(right, BOUNDS) == b"secure"
        assert fetch(server.url("/to-https"), BOUNDS) == b"secure"
        assert "mismatch" in refuse(secure.url("/right"), ResponseInvalid)


def test_plain_server_behind_https_is_told(server: MisbehavingServer) -> None:
    """Not a traceback."""
    assert "TLS" in refuse(f"https://127.0.0.1:{server.port}/right", ResponseInvalid)
