"""One HTTP request with bounds on time, size and redirects, to an address that was looked at.

Proxies of the environment are not used: what they connect to could not be looked at.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from certgrinderd import __version__
from certgrinderd.errors import AddressRefused, ResponseInvalid, Unreachable
from certgrinderd.system import https
from certgrinderd.system.addresses import is_public
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

MOST_REDIRECTS = 3
LONGEST_URL = 2048
# Where clients may send us: on other ports of a public host, be it this one, there are services
# that a firewall may shut to the client.
CLIENT_PORTS = (80, 443)
# No such name, or none with an address; not every system has both.
_UNKNOWN = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")} - {None}

_PIECE = 65536
_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Bounds:
    """What one request may take.

    Attributes:
        timeout: Seconds for all of it: names, connections, redirects, and the last byte.
        size: The most bytes of a body.
        public_only: Whether it may go to public addresses and CLIENT_PORTS alone.
    """

    timeout: float
    size: int
    public_only: bool


@dataclass(frozen=True)
class _Target:
    """A URL, taken apart."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class _Deadline:
    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> Unreachable:
        return Unreachable(f"no answer within {self._timeout:g} seconds")


def fetch(
    url: str, bounds: Bounds, *, body: bytes | None = None, content_type: str | None = None
) -> bytes:
    """Make a request and return the body of the answer, whose status was 200.

    Args:
        url: From a stranger; http and https are followed, also across redirects.
        bounds: What it may take.
        body: What to POST; None is a GET. A redirect repeats it at the new place.
        content_type: Of the body.

    Raises:
        Unreachable: No connection, no answer in time, or one that asks to try later.
        AddressRefused: It leads to where it may not go.
        ResponseInvalid: The answer is too large, cut off, no HTTP, an error or one redirect too
            many, the URL is none, or TLS does not show that it is the host's.
    """
    deadline = _Deadline(bounds.timeout)
    for _ in range(1 + MOST_REDIRECTS):
        target = _parse(url)
        with _sent(target, bounds, deadline, body, content_type) as response:
            if response.status not in _REDIRECTS:
                return _body(response, bounds.size)
            place = response.getheader("Location")
        if not place:
            raise ResponseInvalid(f"HTTP status {response.status} without a Location")
        url = _joined(url, place)
        logger.debug("redirected to %r", url)
    raise ResponseInvalid(f"more than {MOST_REDIRECTS} redirects")


def _joined(url: str, place: str) -> str:
    try:
        return urljoin(url, place[: LONGEST_URL + 1])
    except ValueError as error:
        raise ResponseInvalid(f"a redirect to no URL: {place[:200]!r}: {error}") from error


def _parse(url: str) -> _Target:
    shown = repr(url[:200])
    # Other characters, such as line ends, would end up in the request.
    if len(url) > LONGEST_URL or not all("!" <= letter <= "~" for letter in url):
        raise ResponseInvalid(f"not a URL that can be used: {shown}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ResponseInvalid(f"not a URL: {shown}: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise ResponseInvalid(f"expected a URL like http://host/path, not {shown}")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(secure, parts.hostname, port or (443 if secure else 80), path)


@contextlib.contextmanager
def _sent(
    target: _Target,
    bounds: Bounds,
    deadline: _Deadline,
    body: bytes | None,
    content_type: str | None,
) -> Iterator[http.client.HTTPResponse]:
    """Send the request and yield the head of the answer; what fails meanwhile becomes ours."""
    headers = {
        "Host": target.authority,
        "User-Agent": f"certgrinderd/{__version__}",
        "Connection": "close",
    }
    if content_type is not None:
        headers["Content-Type"] = content_type
    try:
        with contextlib.closing(_connected(target, bounds, deadline)) as connected:
            connection = http.client.HTTPConnection(target.host, target.port)
            connection.sock = _Stream(connected, deadline)
            connection.request("GET" if body is None else "POST", target.path, body, headers)
            yield connection.getresponse()
    except TimeoutError as error:
        raise deadline.passed() from error
    except ssl.SSLError as error:
        raise ResponseInvalid(f"TLS with {target.host!r}: {_reason(error)}") from error
    except OSError as error:
        raise Unreachable(f"{target.host!r}: {_reason(error)}") from error
    except (http.client.HTTPException, ValueError) as error:
        raise ResponseInvalid(
            f"not an HTTP answer: {type(error).__name__}: {error!s:.200}"
        ) from error


def _body(response: http.client.HTTPResponse, size: int) -> bytes:
    if response.status != http.HTTPStatus.OK:
        kind = Unreachable if response.status in _TRY_LATER else ResponseInvalid
        raise kind(f"HTTP status {response.status} {response.reason[:80]!r}")
    if response.length is not None and response.length > size:
        raise ResponseInvalid(f"an answer of {response.length} bytes: {size} are allowed")
    # In pieces: of an answer in tiny chunks, read() keeps many times its size until it is whole.
    body = bytearray()
    while part := response.read(min(_PIECE, size + 1 - len(body))):
        body += part
    if len(body) > size:
        raise ResponseInvalid(f"an answer of more than {size} bytes")
    if response.length:
        raise ResponseInvalid(f"the answer ends {response.length} bytes too early")
    return bytes(body)


def _connected(target: _Target, bounds: Bounds, deadline: _Deadline) -> socket.socket:
    """Connect to an address of the host that was looked at, and to no other.

    Raises:
        AddressRefused: It has none that the request may go to.
        OSError: None of them can be reached.
    """
    if bounds.public_only and target.port not in CLIENT_PORTS:
        raise AddressRefused(
            f"port {target.port} of {target.host!r}: for clients the ports are "
            f"{' and '.join(map(str, CLIENT_PORTS))}, unless ocsp-allow-private is set"
        )
    try:
        found = _resolve(target, deadline)
    except Unreachable as error:
        # A name that is not known sounds like one inside our network: which there are is nobody's.
        if not bounds.public_only or getattr(error.__cause__, "errno", None) not in _UNKNOWN:
            raise
        found = []
    addresses = [each for each in found if not bounds.public_only or is_public(each[1][0])]
    if not addresses:
        # Which one, is nothing for a client who may not see our network.
        logger.warning("%r is %s", target.host, found[0][1][0] if found else "-", extra=FOR_ADMIN)
        raise AddressRefused(
            f"{target.host!r} has no public address: for clients no request goes to private ones, "
            "unless ocsp-allow-private is set"
        )
    failure: OSError = OSError("no address")
    for number, (family, address) in enumerate(addresses):
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Not all of the time for the first one: another one may answer.
            connected.settimeout(deadline.left() / (len(addresses) - number))
            connected.connect(address)
            return _secured(connected, target, deadline) if target.secure else connected
        except OSError as error:
            connected.close()
            failure = error
        except BaseException:
            connected.close()
            raise
    raise failure


def _secured(connected: socket.socket, target: _Target, deadline: _Deadline) -> socket.socket:
    """TLS for the name in the URL, whatever the address."""
    context = https.context(ca_file=None, verify=True)
    connected.settimeout(deadline.left())
    return context.wrap_socket(connected, server_hostname=target.host)


def _resolve(target: _Target, deadline: _Deadline) -> list[tuple[int, Any]]:
    """The host's addresses, in a thread: a name server can take its time.

    Raises:
        Unreachable: There is none, or it took too long.
    """
    answers: queue.SimpleQueue[list[tuple[int, Any]] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answers.put([(int(family), address) for family, _, _, _, address in found])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise Unreachable(f"the name {target.host!r} was not resolved in time") from None
    if isinstance(answer, Exception):
        raise Unreachable(f"{target.host!r}: {_reason(answer)}") from answer
    return answer


def _reason(error: Exception) -> str:
    return getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)


class _Stream:
    """As much of a socket as http.client needs, each wait bounded by the deadline."""

    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self._deadline))

    def close(self) -> None:
        """The socket is closed by whom it belongs to."""


class _Reader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: _Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        self._socket.settimeout(self._deadline.left())
        return self._socket.recv_into(buffer)
