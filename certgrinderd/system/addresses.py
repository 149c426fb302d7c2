"""Which addresses are the Internet's, and which lead into somebody's own network."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

# The IANA registries of special-purpose addresses (RFC 6890), and multicast. Python's is_global
# follows them too, but each version another edition.
_IPV4_SPECIAL = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local; metadata services of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, like 198.51.100.0 and 203.0.113.0
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved; broadcast
        ),
    )
)
# Everything outside (loopback, link-local, unique local, site-local, multicast, IPv4-mapped …) is
# special; inside it, these are.
_IPV6_GLOBAL_UNICAST = IPv6Network("2000::/3")
_IPV6_SPECIAL = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo
            "2001:db8::/32",  # documentation, like 3fff::
            "2002::/16",  # 6to4 holds an IPv4 address
            "3fff::/20",
        ),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(text: str) -> bool:
    """Whether an address is one that every host of the Internet reaches as the same host.

    Args:
        text: An IPv4 or IPv6 address, perhaps with a zone; anything else is not public.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return _is_public_ipv6(address)
    return not any(address in network for network in _IPV4_SPECIAL)


def _is_public_ipv6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(str(IPv4Address(int(address) & 0xFFFFFFFF)))
    return address in _IPV6_GLOBAL_UNICAST and not any(
        address in network for network in _IPV6_SPECIAL
    )
