"""Which challenges are tried for which names."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from certgrinderd.errors import ConfigurationError, IssuanceError
from certgrinderd.issuance import engines
from certgrinderd.issuance.attempts import _possible, obtain
from certgrinderd.issuance.hooks import Challenge
from certgrinderd.pki.csr import requested_names
from certgrinderd.pki.names import Identifier, RequestedNames
from certgrinderd.settings.table import Settings
from tests.testbed.csr import make_csr

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


def test_temp_dir_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is an error also for the built-in client, which puts nothing into it."""

    @contextlib.contextmanager
    def opened(_: Settings) -> Iterator[engines.Engine]:
        raise IssuanceError("the CA was asked")
        yield

    monkeypatch.setattr(engines, "opened", opened)
    csr = make_csr(["a.example"]).csr
    settings = Settings(certbot_command="builtin", acme_zone="z.example", temp_dir=str(tmp_path))
    with pytest.raises(IssuanceError, match="the CA was asked"):
        obtain(csr, requested_names(csr), settings)
    missing = dataclasses.replace(settings, temp_dir=str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="temp-dir: there is no folder"):
        obtain(csr, requested_names(csr), missing)
