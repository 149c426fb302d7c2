"""Requests over TLS on connections that stay open, bounded in time and size."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import os
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from certgrinderd import __version__
from certgrinderd.errors import ConfigurationError

LARGEST_BODY = 1024 * 1024
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 45.0
_GLANCE_SECONDS = 0.5


class ConnectionFailed(Exception):
    """There was no answer; the text says why."""


class NotTrusted(ConnectionFailed):
    """The server's certificate is not one that we trust."""


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: The HTTP status.
        headers: Any case of the names will do.
        body: All of it.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def context(*, ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """Say whom to trust.

    Args:
        ca_file: A PEM file of CA certificates, in place of the system's.
        verify: False trusts anybody.

    Raises:
        ConfigurationError: The file can't be used.
    """
    if not verify:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made
    try:
        return ssl.create_default_context(cafile=ca_file or _bundle_if_needed())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"acme-ca-file: cannot use {ca_file}: {reason}") from error


def _bundle_if_needed() -> str | None:
    """A bundle of public CAs where the system has none, as a small container may."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and next(os.scandir(paths.capath), None)):
        return None
    import certifi

    return certifi.where()


class Client:
    """Asks servers, and keeps the connections; may be used by several threads at once."""

    def __init__(self, trust: ssl.SSLContext, environment: Mapping[str, str]) -> None:
        """Prepare; nothing is connected yet.

        Args:
            trust: See context.
            environment: For HTTPS_PROXY and NO_PROXY, in either case.
        """
        self._trust = trust
        self._environment = environment
        self._lock = threading.Lock()
        self._idle: defaultdict[str, list[http.client.HTTPSConnection]] = defaultdict(list)

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        check: Callable[[], None],
    ) -> Answer:
        """Ask once. No redirect is followed.

        Args:
            method: Of HTTP.
            url: It must start with https://.
            body: What to send.
            headers: More of them.
            check: Called while we wait; what it raises ends the waiting.

        Raises:
            ConnectionFailed: There is no answer.
        """
        place = _place(url)
        sent = {"User-Agent": f"certgrinderd/{__version__}", **(headers or {})}
        path = place.path or "/"
        path += f"?{place.query}" if place.query else ""
        while True:
            connection, is_used = self._connection(place)
            try:
                answer = _exchange(connection, method, path, body=body, headers=sent, check=check)
            # ValueError: a host that cannot be written in ASCII, as with a label too long.
            except (OSError, ValueError, http.client.HTTPException) as error:
                connection.close()
                # A server may close an idle connection at any moment; that says nothing yet.
                if is_used and isinstance(error, (ConnectionError, ssl.SSLEOFError)):
                    continue
                raise _failure(error, place) from error
            except BaseException:
                connection.close()
                raise
            with self._lock:
                self._idle[place.netloc].append(connection)
            return answer

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _connection(self, place: SplitResult) -> tuple[http.client.HTTPSConnection, bool]:
        with self._lock:
            if self._idle[place.netloc]:
                # One without a socket was closed by its last answer, and connects again.
                connection = self._idle[place.netloc].pop()
                return connection, connection.sock is not None
        host, port = str(place.hostname), place.port or 443
        proxy = _proxy_for(host, self._environment)
        if proxy is None:
            return self._new(host, port), False
        connection = self._new(str(proxy.hostname), proxy.port or 8080)
        connection.set_tunnel(host, port)
        return connection, False

    def _new(self, host: str, port: int) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(
            host, port, timeout=_CONNECT_SECONDS, context=self._trust
        )


def _place(url: str) -> SplitResult:
    try:
        place = urlsplit(url)
        _ = place.port
    except ValueError as error:
        raise ConnectionFailed(f"{url[:200]!r} is no URL: {error}") from error
    if place.scheme != "https" or not place.hostname or not url.isascii() or not url.isprintable():
        raise ConnectionFailed(f"{url[:200]!r} is not a URL that starts with https://")
    return place


def _proxy_for(host: str, environment: Mapping[str, str]) -> SplitResult | None:
    """The proxy for a host, as curl and certbot understand the variables."""
    text = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    if not text:
        return None
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for name in (name.strip().lstrip(".").lower() for name in excepted.split(",")):
        if name == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return None
    try:
        proxy = urlsplit(text if "//" in text else f"//{text}")
        _ = proxy.port
    except ValueError as error:
        # Not what it is: it may hold a password.
        raise ConnectionFailed("HTTPS_PROXY is no URL: expected http://HOST:PORT") from error
    if not proxy.hostname or proxy.scheme == "https" or proxy.username:
        raise ConnectionFailed(f"HTTPS_PROXY: expected http://HOST:PORT, not {proxy.scheme}://…")
    return proxy


def _exchange(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    *,
    body: bytes | None,
    headers: Mapping[str, str],
    check: Callable[[], None],
) -> Answer:
    connection.response_class = functools.partial(_Response, check=check)  # type: ignore[assignment]
    if connection.sock is not None:
        connection.sock.settimeout(_CONNECT_SECONDS)
    connection.request(method, path, body=body, headers=dict(headers))
    response = connection.getresponse()
    data = response.read(LARGEST_BODY + 1)
    if len(data) > LARGEST_BODY:
        raise http.client.HTTPException(f"more than {LARGEST_BODY} bytes")
    if response.length:  # what read() would notice if it had no limit
        raise http.client.IncompleteRead(data, response.length)
    if not response.isclosed():
        response.close()
        connection.close()
    return Answer(response.status, response.headers, data)


class _Response(http.client.HTTPResponse):
    """An answer that is waited for as long as it is worth while, however it drips in."""

    def __init__(
        self,
        sock: socket.socket,
        *arguments: Any,  # noqa: ANN401 - as HTTPResponse()
        check: Callable[[], None],
        **named: Any,  # noqa: ANN401 - as HTTPResponse()
    ) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp = io.BufferedReader(_Reader(sock, self.fp, check))


class _Reader(io.RawIOBase):
    def __init__(
        self, sock: socket.socket, file: io.BufferedIOBase, check: Callable[[], None]
    ) -> None:
        self._socket = sock
        self._file = file  # keeps the socket open as long as we are
        self._check = check
        self._end = time.monotonic() + _ANSWER_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        self._socket.settimeout(_GLANCE_SECONDS)
        while True:
            self._check()
            if time.monotonic() > self._end:
                raise TimeoutError
            try:
                return self._socket.recv_into(buffer)
            except TimeoutError:
                continue

    def close(self) -> None:
        self._file.close()
        super().close()


def _failure(error: Exception, place: SplitResult) -> ConnectionFailed:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(f"the certificate of {place.netloc}: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return ConnectionFailed(f"{place.netloc} did not answer in time")
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ConnectionFailed(f"{place.netloc}: {reason or type(error).__name__}")


@contextlib.contextmanager
def client(
    *, ca_file: str | None, verify: bool, environment: Mapping[str, str]
) -> Iterator[Client]:
    """Make a client, and close its connections in the end.

    Raises:
        ConfigurationError: See context.
    """
    made = Client(context(ca_file=ca_file, verify=verify), environment)
    try:
        yield made
    finally:
        made.close()
