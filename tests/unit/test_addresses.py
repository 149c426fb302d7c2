"""Where clients may send us: the Internet, and not into anybody's own network."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.system.addresses import is_public

PRIVATE = [
    ("0.0.0.0", "this host"),  # noqa: S104 - nobody binds to it
    ("0.1.2.3", "this network"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("100.127.255.255", "carrier-grade NAT, the end"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback, the end"),
    ("169.254.169.254", "metadata service"),
    ("172.16.0.1", "private, 172.16"),
    ("172.31.255.255", "private, 172.16, the end"),
    ("192.0.0.8", "protocol assignments"),
    ("192.0.2.1", "documentation"),
    ("192.168.1.1", "private, 192.168"),
    ("198.18.0.1", "benchmarks"),
    ("198.51.100.1", "documentation, 2"),
    ("203.0.113.1", "documentation, 3"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast, the end"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "this host, IPv6"),
    ("::1", "loopback, IPv6"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::ffff:127.0.0.1", "IPv4-mapped"),
    ("::ffff:8.8.8.8", "IPv4-mapped, although public"),
    ("64:ff9b::7f00:1", "NAT64 of loopback"),
    ("64:ff9b::a00:1", "NAT64 of a private address"),
    ("64:ff9b:1::1", "local NAT64"),
    ("100::1", "discard"),
    ("2001::1", "Teredo"),
    ("2001:db8::1", "documentation, IPv6"),
    ("2002:7f00:1::", "6to4 of loopback"),
    ("3fff::1", "documentation, RFC 9637"),
    ("fc00::1", "unique local"),
    ("fd00::1", "unique local, fd"),
    ("fe80::1", "link-local, IPv6"),
    ("fe80::1%eth0", "link-local with a zone"),
    ("2a00::1%eth0", "anything with a zone"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast, IPv6"),
    ("localhost", "no address"),
    ("", "nothing"),
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2a00::1",
    "2606:4700::1111",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", [pytest.param(text, id=name) for text, name in PRIVATE])
def test_private_addresses(address: str) -> None:
    """Loopback, private, link-local, shared, special: also when they hide in another form."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    """Their neighbours are the Internet's."""
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_not_public(address: ipaddress.IPv4Address) -> None:
    """Our table lacks nothing that the standard library has."""
    assert not (is_public(str(address)) and not address.is_global)
    assert not (is_public(str(address)) and address.is_multicast)


@given(st.ip_addresses(v=4))
def test_hidden_ipv4_address_is_judged_by_itself(address: ipaddress.IPv4Address) -> None:
    """NAT64 leads to the IPv4 address; the other forms lead nowhere that is needed."""
    number = int(address)
    assert is_public(f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}") == is_public(str(address))
    assert not is_public(f"::ffff:{address}")
    assert not is_public(f"::{address}")
    assert not is_public(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")


@given(st.ip_addresses(v=6))
def test_ipv6_outside_the_global_range_is_not_public(address: ipaddress.IPv6Address) -> None:
    """2000::/3 is all that is given out."""
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast


@given(st.text(max_size=50))
def test_any_text_has_an_answer(text: str) -> None:
    """No text raises."""
    assert is_public(text) in {True, False}
