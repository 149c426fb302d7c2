"""A small HTTP server that answers as a test tells it to, also as no real server would."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.testbed.server import free_port

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Answer:
    """What goes out.

    Attributes:
        body: Of the answer.
        status: Of the answer.
        headers: Besides Content-Length; one of that name takes its place, None leaves it out.
        send: What to do with the connection instead.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    send: Callable[[socket.socket], None] | None = None


def redirect(place: str, status: int = 302) -> Answer:
    """An answer that sends the client elsewhere."""
    return Answer(status=status, headers={"Location": place})


class MisbehavingServer:
    """An HTTP server in a thread; a context manager.

    Attributes:
        answers: What to answer at which path; a callable is asked each time.
        otherwise: What to answer elsewhere.
        requests: What was asked.
        ended: Set at the end, for answers that wait.
    """

    def __init__(self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None) -> None:
        """Prepare a server on a free port."""
        self.answers: dict[str, Answer | Callable[[Request], Answer]] = {}
        self.otherwise: Answer | Callable[[Request], Answer] = Answer(b"nothing here", 404)
        self.requests: list[Request] = []
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.command, self.path, dict(self.headers), body)
                outer.requests.append(request)
                found = outer.answers.get(self.path, outer.otherwise)
                answer = found(request) if callable(found) else found
                self.close_connection = True
                if answer.send is not None:
                    answer.send(self.connection)
                    return
                self.send_response(answer.status)
                headers = {"Content-Length": str(len(answer.body)), **answer.headers}
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_HEAD = do_POST = _answer  # noqa: N815 - the names are the class's

            def log_message(self, *_: object) -> None:
                """Nothing on standard error: `requests` has it all."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """A client that hangs up is part of the test."""

        self.port = free_port()
        self._server = Quiet((host, self.port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.origin = f"{scheme}://{host}:{self.port}"

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"{self.origin}{path}"

    def put(self, path: str, answer: bytes | Answer | Callable[[Request], Answer]) -> str:
        """Answer at a path, and return its URL."""
        self.answers[path] = Answer(answer) if isinstance(answer, bytes) else answer
        return self.url(path)

    def __enter__(self) -> Self:
        """Start."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, without waiting for answers that wait."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
