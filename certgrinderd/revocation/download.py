"""Downloads from a URL in a certificate, which may be a stranger's.

For clients only public addresses and the ports of http and https are reached. Proxies of the
environment are not used: nobody could check which address they connect to.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPResponse
from urllib.parse import urljoin

from certgrinderd.errors import AddressRefused, ResponseInvalid, Unreachable
from certgrinderd.system import http
from certgrinderd.system.addresses import is_public
from certgrinderd.system.deadline import Deadline, TimeUp
from certgrinderd.system.log import FOR_ADMIN

logger = logging.getLogger(__name__)

MOST_REDIRECTS = 3
# On other ports of a public host, which may be this one, there are services that a firewall may
# close to the client.
CLIENT_PORTS = (80, 443)
# No such name, or none with an address; not every system has both.
_UNKNOWN = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")} - {None}

_REDIRECTS = (301, 302, 303, 307, 308)
_TRY_LATER = (408, 425, 429, 500, 502, 503, 504)


def fetch(
    url: str,
    deadline: Deadline,
    *,
    size: int,
    public_only: bool,
    body: bytes | None = None,
    content_type: str | None = None,
) -> bytes:
    """Make a request and return the body of the answer, whose status was 200.

    Args:
        url: Of http or https. At most three redirects are followed.
        deadline: For all of it: names, connections, redirects, and the last byte.
        size: The most bytes of a body.
        public_only: Whether it may go to public addresses and CLIENT_PORTS alone.
        body: What to POST; None is a GET. A redirect repeats it at the new place.
        content_type: Of the body.

    Raises:
        Unreachable: No connection, no answer in time, or one that asks to try later.
        AddressRefused: The URL, or a redirect, leads to an address that is not allowed.
        ResponseInvalid: The URL can't be used, there are too many redirects, the answer is too
            large, cut off, not HTTP or an error, or the server's certificate is not trusted.
    """
    headers = {"Connection": "close"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    method = "GET" if body is None else "POST"
    try:
        for _ in range(1 + MOST_REDIRECTS):
            target = http.parse_url(url)
            with _connected(target, deadline, public_only=public_only) as connected:
                response = http.ask(
                    connected, method, target, deadline=deadline, headers=headers, body=body
                )
                if response.status not in _REDIRECTS:
                    return _body(response, size)
            url = _redirected(url, response)
    except TimeUp as error:
        raise Unreachable(f"no answer within {deadline.seconds:g} seconds") from error
    except http.Invalid as error:
        raise ResponseInvalid(str(error)) from error
    except http.Failed as error:
        raise Unreachable(str(error)) from error
    raise ResponseInvalid(f"more than {MOST_REDIRECTS} redirects")


def _redirected(url: str, response: HTTPResponse) -> str:
    place = response.getheader("Location")
    if not place:
        raise ResponseInvalid(f"HTTP status {response.status} without a Location")
    logger.debug("redirected to %r", place)
    try:
        return urljoin(url, place[: http.LONGEST_URL + 1])
    except ValueError as error:
        raise ResponseInvalid(f"a redirect to no URL: {place[:200]!r}: {error}") from error


def _body(response: HTTPResponse, size: int) -> bytes:
    if response.status != HTTPStatus.OK:
        kind = Unreachable if response.status in _TRY_LATER else ResponseInvalid
        raise kind(f"HTTP status {response.status} {response.reason[:80]!r}")
    return http.read_body(response, size)


@contextlib.contextmanager
def _connected(
    target: http.Url, deadline: Deadline, *, public_only: bool
) -> Iterator[socket.socket]:
    """Connect to an address that was checked, and map what fails until the end of the block.

    Raises:
        AddressRefused: There is none that the request may go to.
        http.Failed: See http.failures.
    """
    if public_only and target.port not in CLIENT_PORTS:
        raise AddressRefused(
            f"port {target.port} of {target.host!r}: for clients the ports are "
            f"{' and '.join(map(str, CLIENT_PORTS))}, unless ocsp-allow-private is set"
        )
    with http.failures(repr(target.host)):
        addresses = _addresses(target, deadline, public_only=public_only)
        connected = http.connect(addresses, deadline)
        if target.secure:
            connected = http.secure(connected, target.host, http.trust(), deadline)
        with contextlib.closing(connected):
            yield connected


def _addresses(target: http.Url, deadline: Deadline, *, public_only: bool) -> list[http.Address]:
    """Look the host up, and leave out what must not be connected to."""
    try:
        found = http.resolve(target.host, target.port, deadline)
    except socket.gaierror as error:
        # To clients an unknown name looks like one inside our network: they can't tell which exist.
        if not public_only or error.errno not in _UNKNOWN:
            raise
        found = []
    if not public_only:
        return found
    public = [(family, place) for family, place in found if is_public(place[0])]
    if not public:
        # The client must not learn the address.
        logger.warning("%r is %s", target.host, found[0][1][0] if found else "-", extra=FOR_ADMIN)
        raise AddressRefused(
            f"{target.host!r} has no public address: for clients no request goes to private ones, "
            "unless ocsp-allow-private is set"
        )
    return public
