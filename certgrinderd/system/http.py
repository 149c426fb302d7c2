"""HTTP over a connection whose every wait is bounded by a deadline.

The parts of a request: a URL, addresses, a connection, TLS, an answer and its body. Which of them
may be combined how is up to the caller: revocation.download and issuance.acme.connection.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import os
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from certgrinderd import __version__
from certgrinderd.system.deadline import Deadline, TimeUp

Result = TypeVar("Result")

LONGEST_URL = 2048
_PIECE = 65536


class Failed(Exception):
    """There was no answer; the text says why."""


class Invalid(Failed):
    """A URL can't be used, or what came is not TLS, not HTTP, too large or cut off."""


class NotTrusted(Invalid):
    """The server's certificate is not one that we trust."""


@contextlib.contextmanager
def failures(host: str) -> Iterator[None]:
    """Turn whatever goes wrong during a request into one of our errors.

    Args:
        host: Who was asked, for messages.

    Raises:
        Failed: See above; TimeUp, Interrupted and Stopped of a deadline pass.
    """
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise NotTrusted(f"the certificate of {host}: {error.verify_message}") from error
    except ssl.SSLError as error:
        raise Invalid(f"TLS with {host} failed: {error.reason or error}") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that no DNS can hold
        raise Failed(f"{host}: {getattr(error, 'strerror', None) or error}") from error
    except (http.client.HTTPException, ValueError) as error:
        reason = f"{type(error).__name__}: {error!s:.200}"
        raise Invalid(f"{host} does not speak HTTP: {reason}") from error


@dataclass(frozen=True)
class Url:
    """An http or https URL, taken apart.

    Attributes:
        secure: Whether it is one of https.
        host: A name, or an IP address without brackets.
        port: The default one if the URL has none.
        path: With the query, without the fragment.
    """

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header (RFC 9110 section 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_url(text: str, *, port: int | None = None) -> Url:
    """Take a URL apart.

    Args:
        text: The URL.
        port: What to use if the URL has none; None is that of http or https.

    Raises:
        Invalid: It is none of http or https, has a user name or password, is longer than 2048
            characters, or has characters that a URL can't have.
    """
    shown = repr(text[:200])
    # Anything else, such as a line end, would end up in the request.
    if len(text) > LONGEST_URL or not all("!" <= letter <= "~" for letter in text):
        raise Invalid(f"not a URL that can be used: {shown}")
    try:
        parts = urlsplit(text)
        port = parts.port or port
    except ValueError as error:
        raise Invalid(f"not a URL: {shown}: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        raise Invalid(f"expected a URL like https://HOST/PATH, not {shown}")
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(secure, parts.hostname, port or (443 if secure else 80), path)


# Connections.


# AF_INET or AF_INET6, and what connect() takes: the IP address, the port, and more for IPv6.
Address = tuple[int, tuple[Any, ...]]


def resolve(host: str, port: int, deadline: Deadline) -> list[Address]:
    """Return the addresses of a host, at least one.

    Raises:
        OSError, UnicodeError: There is none.
    """
    found = deadline.call(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return [(int(family), place) for family, _, _, _, place in found]


def connect(addresses: Sequence[Address], deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers.

    Returns:
        A socket that never blocks.

    Raises:
        OSError, TimeUp: None does; the reason is that of the last one.
    """
    failure: Exception = OSError("no address")
    for number, (family, place) in enumerate(addresses):
        connected = socket.socket(family, socket.SOCK_STREAM)
        try:
            # Each gets a share of the time: another one may answer.
            share = deadline.within(deadline.left / (len(addresses) - number))
            _connect(connected, place, share)
        except (OSError, TimeUp) as error:
            connected.close()
            failure = error
        except BaseException:
            connected.close()
            raise
        else:
            return connected
    raise failure


def _connect(connected: socket.socket, place: tuple[Any, ...], deadline: Deadline) -> None:
    connected.setblocking(False)  # noqa: FBT003 - its only argument
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number = connected.connect_ex(place)
    if number == errno.EINPROGRESS:
        deadline.wait_for(connected.fileno(), select.POLLOUT)
        number = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        raise OSError(number, os.strerror(number))


def trust(ca_file: str | None = None) -> ssl.SSLContext:
    """Trust the CAs in a PEM file, or those of the system.

    Raises:
        OSError: The file can't be used.
    """
    return ssl.create_default_context(cafile=ca_file or _bundle_if_needed())


def _bundle_if_needed() -> str | None:
    """A bundle of public CAs if the system has none, as in a small container."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and next(os.scandir(paths.capath), None)):
        return None
    import certifi  # 8 ms that few systems need

    return certifi.where()


def secure(
    connected: socket.socket, host: str, trusted: ssl.SSLContext, deadline: Deadline
) -> ssl.SSLSocket:
    """Set up TLS on a connection, which is closed if that fails.

    Args:
        connected: See connect.
        host: The name or IP address that the server's certificate must be for.
        trusted: Whom to trust.
        deadline: For the handshake.

    Raises:
        OSError, ValueError, TimeUp: It failed.
    """
    wrapped = connected
    try:
        wrapped = tls = trusted.wrap_socket(
            connected, server_hostname=host, do_handshake_on_connect=False
        )
        _when_ready(tls, deadline, select.POLLIN, tls.do_handshake)
    except BaseException:
        wrapped.close()
        raise
    return tls


# Requests.


def ask(
    connected: socket.socket,
    method: str,
    url: Url,
    *,
    deadline: Deadline,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> http.client.HTTPResponse:
    """Send a request, and return the head of the answer.

    Raises:
        OSError, HTTPException, ValueError, TimeUp: There is none; see failures.
    """
    connection = http.client.HTTPConnection(url.host, url.port)
    connection.sock = _Stream(connected, deadline)
    own = {"Host": url.authority, "User-Agent": f"certgrinderd/{__version__}"}
    connection.request(method, url.path, body, {**own, **headers})
    return connection.getresponse()


def read_body(response: http.client.HTTPResponse, limit: int) -> bytes:
    """Read the body of an answer, at most so many bytes.

    Raises:
        Invalid: It is larger, or cut off.
        OSError, HTTPException, TimeUp: See failures.
    """
    most = f"not more than {limit} bytes are allowed"
    if response.length is not None and response.length > limit:
        raise Invalid(f"the answer has {response.length} bytes: {most}")
    # In pieces: of an answer in tiny chunks, read() keeps many times its size until it is whole.
    body = bytearray()
    while part := response.read(min(_PIECE, limit + 1 - len(body))):
        body += part
    if len(body) > limit:
        raise Invalid(f"the answer is too large: {most}")
    if response.length:
        raise Invalid(f"the answer ends {response.length} bytes too early")
    return bytes(body)


def _when_ready(
    connected: socket.socket,
    deadline: Deadline,
    event: int,
    operation: Callable[..., Result],
    *arguments: object,
) -> Result:
    """Do something with a socket that never blocks, as soon as it can be done."""
    while True:
        deadline.check()
        try:
            return operation(*arguments)
        except ssl.SSLWantReadError:
            event = select.POLLIN
        except ssl.SSLWantWriteError:
            event = select.POLLOUT
        except BlockingIOError:
            pass
        deadline.wait_for(connected.fileno(), event)


class _Stream:
    """As much of a socket as http.client needs."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            sent = _when_ready(
                self._socket, self._deadline, select.POLLOUT, self._socket.send, rest
            )
            rest = rest[sent:]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self._deadline))

    def close(self) -> None:
        """The owner of the socket closes it."""


class _Reader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        return _when_ready(
            self._socket, self._deadline, select.POLLIN, self._socket.recv_into, buffer
        )
