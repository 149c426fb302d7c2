"""Which challenges are tried for which names."""

from __future__ import annotations

import pytest

from certgrinderd.errors import IssuanceError
from certgrinderd.issuance.attempts import _possible
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.pki.names import Identifier, RequestedNames

BOTH = [Challenge.DNS_01, Challenge.HTTP_01]


def name_of(length: int) -> str:
    """A name of so many characters."""
    whole, rest = divmod(length - len("example"), 50)
    labels = ["a" * 49] * whole + (["b" * (rest - 1)] if rest > 1 else [])
    name = ".".join([*labels, "example"])
    assert len(name) == length
    return name


def possible(name: str, *, zone: str, enabled: list[Challenge] = BOTH) -> list[Challenge]:
    """The challenges for a name."""
    parsed = Identifier.parse_dns(name)
    return _possible(enabled, RequestedNames((name,), (parsed,)), zone=zone)


@pytest.mark.parametrize(
    ("zone", "longest"),
    [
        pytest.param("z.example", 253 - len("_acme-challenge."), id="_acme-challenge is longer"),
        pytest.param("acme.zone.of.some.example.", 253 - 26, id="the zone is longer"),
    ],
)
def test_name_too_long_for_dns_01_is_left_to_http_01(zone: str, longest: int) -> None:
    """Neither the CA's question nor the name in our zone may have over 253 characters."""
    assert possible(name_of(longest), zone=zone) == BOTH
    assert possible(name_of(longest + 1), zone=zone) == [Challenge.HTTP_01]
    with pytest.raises(IssuanceError, match=r"is too long for DNS-01: .* over 253 characters"):
        possible(name_of(longest + 1), zone=zone, enabled=[Challenge.DNS_01])


def test_wildcard_is_left_to_dns_01() -> None:
    """Its challenge is at the name without the asterisk, so it may be two characters longer."""
    longest = f"*.{name_of(237)}"
    assert possible(longest, zone="z.example") == [Challenge.DNS_01]
    with pytest.raises(IssuanceError, match="HTTP-01 cannot prove a wildcard"):
        possible("*.a.example", zone="z.example", enabled=[Challenge.HTTP_01])
    with pytest.raises(IssuanceError, match="is too long for DNS-01"):
        possible(f"*.{name_of(238)}", zone="z.example")
