"""The options that the SSH side hands to the ACME side: one mark in the table says which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd import acme_side
from certgrinderd.commandline.parser import parse_admin
from certgrinderd.errors import UsageError
from certgrinderd.issuance.other_user import words
from certgrinderd.settings.kinds import LOG_LEVELS, URL
from certgrinderd.settings.table import LETS_ENCRYPT, OPTIONS, PASSED_ON, Settings
from certgrinderd.setup.sudo.rule import acme_side_expression

ROLE = Path(__file__).resolve().parents[2] / "ansible/roles/certgrinderd"
SERVER = "https://ca.example/dir"
ACME_SIDE = ["acme-client", "--config-file", "/etc/certgrinderd/acme.conf"]
IDENTIFIER = st.from_regex(r"[A-Za-z0-9_-]{1,9}\.[A-Za-z0-9_-]{1,9}", fullmatch=True)
SETTINGS = st.builds(
    Settings,
    acme_server_url=st.sampled_from([LETS_ENCRYPT, SERVER]),
    chain_length=st.none() | st.integers(1, 10),
    log_level=st.sampled_from(LOG_LEVELS),
    preferred_chain=st.none() | st.sampled_from(["ISRG Root X1", "ISRG_Root_X2"]),
    replaces=st.none() | IDENTIFIER,
    staging=st.booleans(),
)


def test_what_is_passed_on_is_a_clients_business_and_can_be_pinned() -> None:
    """Clients may set it, the ACME side heeds it, and a rule for sudo has a pattern for it."""
    assert [option.name for option in PASSED_ON] == [
        *("staging", "acme-server-url", "preferred-chain", "chain-length", "replaces", "log-level")
    ]
    for option in PASSED_ON:
        assert option.client_may_set
        assert not option.acme_side_only
        assert option.is_switch or option.kind is URL or option.kind.pattern


@given(SETTINGS)
def test_options_that_are_passed_on_fit_the_rule_and_come_out_again(settings: Settings) -> None:
    """What one side writes, sudo's rule allows and the other side reads, and nothing more."""
    given_ = words(settings)
    rule = re.compile(acme_side_expression(ACME_SIDE, servers=[SERVER]))
    assert rule.search(" ".join([*ACME_SIDE, *given_]))
    assert rule.search(" ".join([*ACME_SIDE, *given_, "--show-account"]))
    assert not rule.search(" ".join([*ACME_SIDE, *given_, "--auth-hook", "x"]))

    parsed = parse_admin([*ACME_SIDE, *given_])
    path, options = acme_side.take_apart(parsed.values)
    assert path == ACME_SIDE[2]
    for option in PASSED_ON:
        value = getattr(settings, option.attribute)
        if option.name == "acme-server-url" and settings.staging:
            value = option.default
        if option.name == "preferred-chain" and value is not None:
            value = value.replace(" ", "_")
        assert options.get(option.name, option.default) == value


def test_rule_without_other_servers_has_no_url() -> None:
    """Nobody may choose a CA then; with one server that one alone may be chosen."""
    line = [*ACME_SIDE, "--acme-server-url", SERVER]
    assert not re.search(acme_side_expression(ACME_SIDE, servers=[]), " ".join(line))
    expression = acme_side_expression(ACME_SIDE, servers=[SERVER])
    assert re.search(expression, " ".join(line))
    assert not re.search(expression, " ".join([*ACME_SIDE, "--acme-server-url", f"{SERVER}x"]))


@pytest.mark.parametrize("name", [n for n, option in OPTIONS.items() if option.passed_on is None])
def test_acme_side_refuses_any_other_option(name: str) -> None:
    """Its own configuration file says the rest."""
    if name == "config-file":
        return
    with pytest.raises(UsageError, match=f"--{name} can only be set in the configuration file"):
        acme_side.take_apart({"config-file": "F", name: OPTIONS[name].default})


def test_role_keeps_from_the_ssh_side_what_the_table_says() -> None:
    """Its list is the table's, but for the secrets, which the role wants in files."""
    variables = yaml.safe_load((ROLE / "vars/main.yml").read_text("utf-8"))
    assert variables["__certgrinderd_acme_options"] == [
        name for name, option in OPTIONS.items() if option.acme_side_only and not option.is_secret
    ]
