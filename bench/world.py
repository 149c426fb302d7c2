"""Where the clients compete: Pebble, BIND, nginx, and a CA that takes its time if it should."""

from __future__ import annotations

import http.server
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import free_port

NAMES = [f"n{number}.example.test" for number in range(100)]
_TXT = 16
# socket(7); the module socket does not have it.
_SO_RCVBUFFORCE = 33


@dataclass(frozen=True)
class World:
    """What a client needs to know.

    Attributes:
        pebble: The CA.
        named: The name server, and its challenge zone.
        nginx: The web server behind HTTP-01.
        folder: For everything that clients keep.
    """

    pebble: Pebble
    named: Named
    nginx: Nginx
    folder: Path

    @property
    def webroot(self) -> Path:
        """The folder for HTTP-01."""
        return self.nginx.webroot

    def ca_seconds(self) -> float:
        """The CPU time that the CA, and the web server that it asks, have used so far."""
        return self.pebble.cpu_seconds() + self.nginx.cpu_seconds()

    def csr(self, names: int, *, first: int = 0) -> Path:
        """The CSR for so many names, made once."""
        path = self.folder / f"request-{first}-{names}.pem"
        if not path.exists():
            path.write_bytes(make_csr(NAMES[first : first + names]).pem)
        return path


@contextmanager
def world(folder: Path, *, delay: float) -> Iterator[World]:
    """Start everything.

    Args:
        folder: An empty one.
        delay: Seconds that the CA waits for each validation: its questions get their answers late.
    """
    with ExitStack() as stack:
        named = stack.enter_context(Named(NAMES))
        nginx = stack.enter_context(Nginx())
        (nginx.webroot / ".well-known/acme-challenge").mkdir(parents=True)
        web = stack.enter_context(_slow_web_server(nginx.webroot, delay)) if delay else nginx.port
        dns = stack.enter_context(_slow_dns(named.port, delay)) if delay else named.port
        env = {"PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
        pebble = Pebble(dns_server=f"127.0.0.1:{dns}", http_port=web, env=env)
        yield World(stack.enter_context(pebble), named, nginx, folder)


@contextmanager
def _slow_web_server(webroot: Path, delay: float) -> Iterator[int]:
    """A web server that answers late; nginx can't."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(delay)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing: it would be part of what is measured."""

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 500

    port = free_port()
    with Server(("127.0.0.1", port), partial(Handler, directory=str(webroot))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield port
        server.shutdown()


@contextmanager
def _slow_dns(port: int, delay: float) -> Iterator[int]:
    """A name server that hands questions on, and answers those for TXT late."""
    ended = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        # All validations of a hundred names begin at once.
        server.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 * 1024 * 1024)
        server.bind(("127.0.0.1", 0))

        def answer(question: bytes, client: tuple[str, int]) -> None:
            if _asks_txt(question):
                time.sleep(delay)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
                ask.settimeout(5)
                ask.sendto(question, ("127.0.0.1", port))
                server.sendto(ask.recv(65535), client)

        def serve() -> None:
            while not ended.is_set():
                if select.select([server], [], [], 0.2)[0]:
                    question, client = server.recvfrom(65535)
                    threading.Thread(target=answer, args=(question, client), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        ended.set()
        thread.join()


def _asks_txt(question: bytes) -> bool:
    """Whether the first question of a DNS message (RFC 1035 section 4.1.2) is for TXT."""
    place = 12
    while question[place]:
        place += question[place] + 1
    return int.from_bytes(question[place + 1 : place + 3], "big") == _TXT
