"""Requests to the CA: HTTPS, on connections that are kept open, through a proxy if there is one."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPMessage

from certgrinderd.errors import ConfigurationError
from certgrinderd.system import http
from certgrinderd.system.deadline import Deadline, TimeUp

LARGEST_BODY = 1024 * 1024
_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 45.0
_PROXY_PORT = 8080


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: The HTTP status.
        headers: Found by their names in upper or lower case.
        body: All of it.
    """

    status: int
    headers: HTTPMessage
    body: bytes


def trust(*, ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """Say which servers to trust.

    Args:
        ca_file: A PEM file of CA certificates, instead of the system's.
        verify: False trusts any server.

    Raises:
        ConfigurationError: The file can't be used.
    """
    if not verify:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusted.check_hostname = False
        trusted.verify_mode = ssl.CERT_NONE
        return trusted
    try:
        return http.trust(ca_file)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(f"acme-ca-file: cannot use {ca_file}: {reason}") from error


class Client:
    """Makes requests, and keeps the connections; may be used by several threads at once."""

    def __init__(self, trusted: ssl.SSLContext, environment: Mapping[str, str]) -> None:
        """Prepare; nothing is connected yet.

        Args:
            trusted: See trust.
            environment: For HTTPS_PROXY and NO_PROXY, in upper or lower case.
        """
        self._trusted = trusted
        self._environment = environment
        self._lock = threading.Lock()
        self._idle: defaultdict[str, list[socket.socket]] = defaultdict(list)

    def request(
        self,
        method: str,
        url: str,
        *,
        deadline: Deadline,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one request. Redirects are not followed.

        Args:
            method: Of HTTP.
            url: It must start with https://.
            deadline: For the whole task; one answer is waited for 45 seconds at most.
            body: What to send.
            headers: To be added to our own.

        Raises:
            http.Failed: There is no answer.
            TimeUp, Interrupted, Stopped: See Deadline.
        """
        place = http.parse_url(url)
        if not place.secure:
            raise http.Invalid(f"{url[:200]!r} does not start with https://")
        while True:
            used = self._take(place.authority)
            try:
                return self._exchange(
                    used, method, place, deadline, body=body, headers=headers or {}
                )
            except TimeUp as error:
                deadline.check()  # raises if the time for the whole task is over
                raise http.Failed(f"{place.authority} did not answer in time") from error
            except http.Failed as error:
                # A server may close an idle connection at any moment: that is no failure.
                if used and isinstance(error.__cause__, (ConnectionError, ssl.SSLEOFError)):
                    continue
                raise

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connections in self._idle.values():
                for connected in connections:
                    connected.close()
            self._idle.clear()

    def _take(self, authority: str) -> socket.socket | None:
        with self._lock:
            connections = self._idle[authority]
            return connections.pop() if connections else None

    def _exchange(
        self,
        used: socket.socket | None,
        method: str,
        place: http.Url,
        deadline: Deadline,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        with http.failures(place.authority), contextlib.ExitStack() as stack:
            connected = used or self._connect(place, deadline.within(_CONNECT_SECONDS))
            stack.callback(connected.close)
            part = deadline.within(_ANSWER_SECONDS)
            response = http.ask(connected, method, place, deadline=part, headers=headers, body=body)
            data = http.read_body(response, LARGEST_BODY)
            if not response.will_close:
                stack.pop_all()
                with self._lock:
                    self._idle[place.authority].append(connected)
        return Answer(response.status, response.headers, data)

    def _connect(self, place: http.Url, deadline: Deadline) -> ssl.SSLSocket:
        proxy = proxy_for(place.host, self._environment)
        first = proxy or place
        connected = http.connect(http.resolve(first.host, first.port, deadline), deadline)
        try:
            if proxy is not None:
                _tunnel(connected, place, deadline)
        except BaseException:
            connected.close()
            raise
        return http.secure(connected, place.host, self._trusted, deadline)


def _tunnel(connected: socket.socket, place: http.Url, deadline: Deadline) -> None:
    """Let a proxy connect us (RFC 9110 section 9.3.6)."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    target = http.Url(secure=False, host=place.host, port=place.port, path=f"{host}:{place.port}")
    response = http.ask(connected, "CONNECT", target, deadline=deadline, headers={})
    if response.status // 100 != 2:  # noqa: PLR2004 - HTTP
        raise http.Failed(f"the proxy refuses: HTTP status {response.status}")


def proxy_for(host: str, environment: Mapping[str, str]) -> http.Url | None:
    """Return the proxy for a host, as curl and certbot understand the variables.

    Raises:
        http.Failed: The variable has no URL of a proxy that we can use.
    """
    text = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
    if not text:
        return None
    excepted = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    for name in (name.strip().lstrip(".").lower() for name in excepted.split(",")):
        if name == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return None
    try:
        proxy = http.parse_url(text if "//" in text else f"http://{text}", port=_PROXY_PORT)
    except http.Invalid:
        proxy = None
    if proxy is None or proxy.secure:
        # The value is not shown: it may hold a password.
        raise http.Failed("HTTPS_PROXY: expected http://HOST:PORT, without a user name") from None
    return proxy
