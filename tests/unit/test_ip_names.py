"""IP addresses among names (RFC 8738): permitted by ip:…, and never by a host name."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput, NotPermitted
from certgrinderd.issuance.request import Request
from certgrinderd.pki.csr import requested_names
from certgrinderd.pki.names import Identifier, MalformedName
from certgrinderd.policy import parse_domainsets, require_permitted
from tests.testbed.csr import make_csr


@given(st.ip_addresses())
def test_any_address_is_the_same_in_csr_and_domainset(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """However an address is written, it is one name, and it is sent to the CA in its short form."""
    name = Identifier.of_address(address)
    assert Identifier.parse(f"ip:{address.exploded}") == name
    assert Identifier.parse(f"IP:{str(address).upper()}") == name
    assert (name.kind, name.value) == ("ip", address.compressed)
    assert Identifier.parse(str(name)) == name
    assert name.for_people == str(name) == f"ip:{address.compressed}"
    assert not name.is_wildcard


def test_an_address_and_a_name_of_the_same_text_are_two() -> None:
    """The kind tells them apart, and they are sorted by the text that is printed."""
    address, name = Identifier("ip", "192.0.2.1"), Identifier("dns", "192.0.2.1")
    assert address != name
    names = [Identifier.parse(text) for text in ("z.example", "ip:192.0.2.1", "a.example")]
    assert [str(each) for each in sorted(names)] == ["a.example", "ip:192.0.2.1", "z.example"]


@pytest.mark.parametrize(
    "text", ["ip:", "ip:1.2.3", "ip:1.2.3.256", "ip:fe80::1%eth0", "ip:10.0.0.0/8", "ip:a.example"]
)
def test_no_address_permits_nothing(text: str) -> None:
    """What is no address is reported, and the names next to it stay."""
    with pytest.raises(MalformedName):
        Identifier.parse(text)
    domainsets = parse_domainsets(f"a.example,{text}")
    assert domainsets.sets == (frozenset({Identifier.parse_dns("a.example")}),)
    assert len(domainsets.ignored) == 1


@pytest.mark.parametrize("text", ["ip:192.0.2.1", "192.0.2.1", "ip:2001:db8::1"])
def test_address_in_a_host_name_is_none(text: str) -> None:
    """A dNSName, or the CN, can't pass for an address."""
    with pytest.raises(MalformedName):
        Identifier.parse_dns(text)


@pytest.mark.parametrize("common_names", [[], ["192.0.2.1"]], ids=["no CN", "the address as CN"])
def test_csr_for_an_address(common_names: list[str]) -> None:
    """An address alone needs no CN; the domainset must list it, and lists no other."""
    address = x509.IPAddress(ipaddress.ip_address("192.0.2.1"))
    csr = make_csr([address], common_names=common_names).csr
    requested = requested_names(csr)
    require_permitted(requested, parse_domainsets("ip:192.0.2.1"))
    assert Request(csr, requested.names).identifiers == [{"type": "ip", "value": "192.0.2.1"}]
    for others in ("ip:192.0.2.2", "192.0.2.1", "a.example", ""):
        with pytest.raises(NotPermitted, match=r"ip:192\.0\.2\.1"):
            require_permitted(requested, parse_domainsets(others))


def test_csr_for_an_address_and_a_name_needs_its_cn() -> None:
    """Next to a host name the rule of exactly one CN stands, and both must be permitted."""
    names: list[str | x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
        "a.example",
    ]
    domainsets = parse_domainsets("a.example,ip:2001:db8:0::1")
    with pytest.raises(MalformedInput, match="exactly one CN"):
        require_permitted(requested_names(make_csr(names, common_names=[]).csr), domainsets)
    with pytest.raises(MalformedInput, match="CN"):
        require_permitted(
            requested_names(make_csr(names, common_names=["192.0.2.9"]).csr), domainsets
        )
    require_permitted(requested_names(make_csr(names).csr), domainsets)
