"""A CA that is overloaded, breaks off, mixes up orders or is not there: what clients get then."""

from __future__ import annotations

import itertools
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
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
from tests.testbed.server import free_port
from tests.testbed.service import Service


@pytest.fixture
def proxy(builtin: Service, calm_pebble: Pebble) -> Iterator[AcmeProxy]:
    """A CA between the installation and Pebble."""
    with AcmeProxy(calm_pebble) as made:
        builtin.configure(acme_server_url=made.directory_url)
        yield made


def first(
    count: int, answer: Answer, *, path: str = "/order-plz"
) -> Callable[[Request], Answer | None]:
    """Give the first requests to a path another answer than Pebble's."""
    numbers = itertools.count()

    def instead(request: Request) -> Answer | None:
        return answer if request.path == path and next(numbers) < count else None

    return instead


def break_off(connection: socket.socket) -> None:
    """Close in the middle of an answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(problem("rateLimited", 429, Retry_After="1"), id="a short pause is asked for"),
        pytest.param(problem("rateLimited", 503, Retry_After="1"), id="the same with 503"),
        pytest.param(problem("serverInternal", 500), id="internal error"),
        pytest.param(Answer(b"<html>Bad gateway", 502), id="no ACME at all"),
        pytest.param(Answer(send=break_off), id="connection breaks"),
        pytest.param(Answer(send=lambda it: it.shutdown(socket.SHUT_RDWR)), id="no answer"),
        pytest.param(problem("badNonce", 400, Replay_Nonce="b2xk"), id="a useless nonce"),
    ],
)
def test_passing_trouble(builtin: Service, proxy: AcmeProxy, named: Named, answer: Answer) -> None:
    """A request that fails for a reason that passes is repeated."""
    names = new_names()
    named.delegate(*names)
    proxy.instead = first(2, answer)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    assert len(proxy.asked("/order-plz")) in {3, 4}, "4 where a useless nonce was left over"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            problem("rateLimited", 429, Retry_After="3600"),
            "rateLimited: the detail of rateLimited; try again after 20",
            id="rate limit",
        ),
        pytest.param(
            problem("rateLimited", 429), "rateLimited: the detail of rateLimited; try", id="no date"
        ),
        pytest.param(
            problem("serverInternal", 503, Retry_After="7200"), "try again after 20", id="at work"
        ),
        pytest.param(Answer(b"<html>", 502), "with status 502", id="for good"),
    ],
)
def test_lasting_trouble_is_temporary(  # noqa: PLR0917 - the parts of the test bed
    builtin: Service, proxy: AcmeProxy, nginx: Nginx, named: Named, answer: Answer, reason: str
) -> None:
    """What does not pass soon ends in exit status 5 and says when to try again."""
    names = new_names()
    proxy.instead = first(99, answer)
    got = get(builtin, make_csr(names))
    assert (got.returncode, got.stdout) == (5, b"")
    assert reason in got.stderr.decode().splitlines()[-1]
    assert "trying HTTP-01" not in got.stderr.decode(), "it would end in the same way"
    require_no_challenge(named, nginx, names)


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        ("/dir", Answer(b"<html>hello"), "not a JSON object"),
        ("/dir", Answer(b"{}"), "is not the directory of an ACME server"),
        ("/dir", Answer(b'{"newOrder": "http://plain.example/"}'), "offers no new"),
        ("/dir", Answer(b'{"x":"' + b"x" * 2**21 + b'"}'), "more than 1048576 bytes"),
        ("/order-plz", Answer(b"[]", 201, {"Location": "https://x"}), "not a JSON object"),
        ("/order-plz", Answer(b"{}", 201), "without a Location header"),
        ("/order-plz", Answer(b"{}", 201, {"Location": "https://x/"}), "no list of authorizations"),
        ("/order-plz", problem("malformed", 400), "malformed: the detail of malformed"),
        ("/order-plz", Answer(b"no", 404), "with status 404"),
        ("/order-plz", Answer(b"", 302, {"Location": "https://x/"}), "with status 302"),
    ],
)
def test_nonsense(
    builtin: Service, proxy: AcmeProxy, path: str, answer: Answer, reason: str
) -> None:
    """A CA that makes no sense is one clear line, and neither a traceback nor a certificate."""
    proxy.instead = first(99, answer, path=path)
    got = get(builtin, make_csr(new_names()))
    assert got.returncode in {4, 5}
    assert got.stdout == b""
    assert reason in got.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in got.stderr
    assert b"CRITICAL" not in got.stderr


def test_one_order_for_two(builtin: Service, proxy: AcmeProxy, named: Named) -> None:
    """A CA that gives our order to another process as well: the one that loses orders anew.

    Boulder gives the same account the same pending order for the same names.
    """
    names = new_names()
    named.delegate(*names)
    theirs, ours = make_csr(names, key="rsa"), make_csr(names)
    orders: list[Answer] = []

    def keep(request: Request, answer: Answer) -> Answer:
        if request.path == "/order-plz":
            orders.append(answer)
        return answer

    proxy.changed = keep
    require_chain(get(builtin, theirs), theirs)

    def repeat(request: Request) -> Answer | None:
        if request.path != "/order-plz" or len(orders) > 1:
            return None
        nonce = proxy.forward(request).headers["Replay-Nonce"]
        orders.append(orders[0])
        body = {**json.loads(orders[0].body), "status": "ready"}
        headers = {**orders[0].headers, "Replay-Nonce": nonce}
        return Answer(json.dumps(body).encode(), 201, headers)

    proxy.instead = repeat
    answer = get(builtin, ours)
    require_chain(answer, ours)
    assert b"another request got that order" in answer.stderr


def test_certificate_of_another_is_not_passed_on(
    builtin: Service, proxy: AcmeProxy, named: Named
) -> None:
    """Whatever the CA does, a chain for another key never gets to a client."""
    names = new_names()
    named.delegate(*names)
    theirs = make_csr(names)
    wrong = require_and_keep(get(builtin, theirs))

    def exchange(request: Request, answer: Answer) -> Answer:
        return Answer(wrong, 200, answer.headers) if "/certZ/" in request.path else answer

    proxy.changed = exchange
    answer = get(builtin, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    proxy.changed = lambda _, answer: answer
    require_chain(get(builtin, theirs), theirs)


def require_and_keep(answer: object) -> bytes:
    """The chain of an answer that has one."""
    stdout = getattr(answer, "stdout", b"")
    assert isinstance(stdout, bytes)
    assert stdout.startswith(b"-----BEGIN CERTIFICATE")
    return stdout


def test_no_look_before_the_time_that_the_ca_asks_for(
    builtin: Service, proxy: AcmeProxy, named: Named
) -> None:
    """Retry-After counts while names are proved, and while the certificate is made.

    The CA says three times that it isn't done yet: for the first look at the order, for the request
    to finalize it, and for the first look after that. By its own clock, nobody comes early.
    """
    names = new_names()
    named.delegate(*names)
    seconds = 2
    closed_until = 0.0
    told: list[tuple[str, str]] = []
    early: list[str] = []

    def not_yet(request: Request, answer: Answer) -> Answer:
        nonlocal closed_until
        kind = request.path.split("/")[1]
        if kind not in {"my-order", "finalize-order"}:
            return answer
        if time.monotonic() < closed_until:
            early.append(kind)
        finalizing = kind == "finalize-order" or ("finalize-order", "processing") in told
        now = (kind, "processing" if finalizing else "pending")
        if now in told:
            return answer
        told.append(now)
        body = {**json.loads(answer.body), "status": now[1]}
        body.pop("certificate", None)
        closed_until = time.monotonic() + seconds
        headers = {**answer.headers, "Retry-After": str(seconds)}
        return Answer(json.dumps(body).encode(), answer.status, headers)

    proxy.changed = not_yet
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    assert told == [
        ("my-order", "pending"),
        ("finalize-order", "processing"),
        ("my-order", "processing"),
    ]
    assert early == []


# A second CA.


@pytest.fixture
def fallback(builtin: Service, start_pebble: StartPebble, calm_pebble: Pebble) -> Pebble:
    """A second CA, which the settings name; both are trusted."""
    first_url = builtin.settings["acme-server-url"]
    pebble = start_pebble(WFE_NONCEREJECT="0")
    bundle = Path(str(builtin.configuration)).with_name("bundle.pem")
    bundle.write_bytes(calm_pebble.ca_file.read_bytes() + pebble.ca_file.read_bytes())
    builtin.environment["REQUESTS_CA_BUNDLE"] = str(bundle)
    builtin.configure(acme_server_url=first_url, acme_fallback_server_url=pebble.directory_url)
    return pebble


def issued_by(pebble: Pebble, chain: list[x509.Certificate]) -> bool:
    """Whether a chain leads to the root of this CA."""
    root = x509.load_pem_x509_certificate(pebble.root().encode())
    return chain[-1].issuer == root.subject


@pytest.mark.parametrize("trouble", ["down", "rate limit"])
def test_second_ca_steps_in(
    builtin: Service, proxy: AcmeProxy, fallback: Pebble, named: Named, trouble: str
) -> None:
    """When the first CA is down or says that we ask too often, the second one issues."""
    names = new_names()
    named.delegate(*names)
    builtin.configure(acme_server_url=proxy.directory_url)
    request = make_csr(names)
    assert not issued_by(fallback, require_chain(get(builtin, request), request))
    if trouble == "down":
        builtin.configure(acme_server_url=f"https://127.0.0.1:{free_port()}/dir")
    else:
        proxy.instead = first(99, problem("rateLimited", 429, Retry_After="3600"))
    answer = get(builtin, request)
    assert issued_by(fallback, require_chain(answer, request))
    assert f"asking {fallback.directory_url} instead" in answer.stderr.decode()


def test_second_ca_is_not_asked_for_what_the_first_refuses(
    builtin: Service, proxy: AcmeProxy, fallback: Pebble, named: Named
) -> None:
    """A no is a no."""
    names = new_names()
    named.delegate(*names)
    builtin.configure(acme_server_url=proxy.directory_url)
    proxy.instead = first(99, problem("rejectedIdentifier", 400))
    answer = get(builtin, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert fallback.requests() == []


def test_second_ca_is_not_for_another_first(
    builtin: Service, fallback: Pebble, named: Named
) -> None:
    """Whoever asks for another CA on the command line does not get the fallback of the first."""
    names = new_names()
    named.delegate(*names)
    other = f"https://127.0.0.1:{free_port()}/dir"
    answer = get(builtin, make_csr(names), "--acme-server-url", other)
    assert (answer.returncode, answer.stdout) == (5, b"")
    assert fallback.requests() == []


# The way there.


@pytest.fixture
def http_proxy() -> Iterator[tuple[int, list[str]]]:
    """A proxy that knows CONNECT: its port, and what it was asked for."""
    asked: list[str] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.rfile.readline().decode().strip())
            while self.rfile.readline().strip():
                pass
            host, port = asked[-1].split(" ")[1].split(":")
            with socket.create_connection((host, int(port))) as server:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, self.connection))
                back.start()
                pump(self.connection, server)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


def test_https_proxy(
    builtin: Service, calm_pebble: Pebble, named: Named, http_proxy: tuple[int, list[str]]
) -> None:
    """HTTPS_PROXY leads to the CA, and NO_PROXY around the proxy."""
    port, asked = http_proxy
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    builtin.environment["HTTPS_PROXY"] = f"http://127.0.0.1:{port}"
    require_chain(get(builtin, request), request)
    assert set(asked) == {f"CONNECT 127.0.0.1:{calm_pebble.port} HTTP/1.1"} or set(asked) == {
        f"CONNECT 127.0.0.1:{calm_pebble.port} HTTP/1.0"
    }
    asked.clear()
    builtin.environment["NO_PROXY"] = "example.com, 127.0.0.1"
    require_chain(get(builtin, request), request)
    assert asked == []
    builtin.environment.update(HTTPS_PROXY="https://user:secret@proxy", NO_PROXY="")
    answer = get(builtin, request)
    assert (answer.returncode, answer.stdout) == (5, b"")
    assert b"HTTPS_PROXY: expected http://HOST:PORT" in answer.stderr
    assert b"secret" not in answer.stderr


def test_private_ca(builtin: Service, calm_pebble: Pebble, named: Named) -> None:
    """A private CA is trusted by acme-ca-file, and only then; the certbot engine goes by it too."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    del builtin.environment["REQUESTS_CA_BUNDLE"]
    answer = get(builtin, request)
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert b"cannot trust the ACME server" in answer.stderr
    assert b"acme-ca-file" in answer.stderr
    builtin.configure(acme_ca_file=str(calm_pebble.ca_file))
    require_chain(get(builtin, request), request)
    builtin.configure(certbot_command=f"{builtin.command()[0]} certbot")
    require_chain(get(builtin, request), request)
    builtin.configure(certbot_command="builtin", acme_ca_file="/nonexistent")
    answer = get(builtin, request)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"acme-ca-file: cannot use /nonexistent: No such file" in answer.stderr
