"""Command lines of admins and of clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.arguments import build_parser, parse_admin, parse_client
from certgrinderd.commands import COMMANDS
from certgrinderd.config import OPTIONS
from certgrinderd.errors import CertgrinderdError, ConfigurationError, UsageError, WordRefused

# The usage text of the functional description: the short options.
DOCUMENTED_SHORT = {
    "-z": "acme-zone",
    "-A": "auth-hook",
    "-C": "cleanup-hook",
    "-c": "config-file",
    "-f": "config-file",
    "-d": "debug",
    "-l": "log-level",
    "-p": "pid-dir",
    "-s": "staging",
    "-t": "temp-dir",
    "-w": "web-root",
}
# What a command does not do without.
OPERANDS: dict[tuple[str, ...], tuple[str, ...]] = {("check", "authorized-keys"): ("FILE",)}
FOR_CLIENTS = [command.words for command in COMMANDS if command.client_may_run]
FOR_ADMINS = [command.words for command in COMMANDS if not command.client_may_run]


def test_short_options_are_the_documented_ones() -> None:
    """No more and no fewer, each for its option."""
    found = {flag: option.name for option in OPTIONS.values() for flag in option.short}
    assert found == DOCUMENTED_SHORT


@pytest.mark.parametrize("words", [command.words for command in COMMANDS])
def test_every_command_is_parsed_with_options_before_it(words: tuple[str, ...]) -> None:
    """`certgrinderd -d COMMAND`."""
    operands = OPERANDS.get(words, ())
    assert parse_admin([*words, *operands]).command == words
    parsed = parse_admin(["-d", "--acme-zone", "a.example", *words, *operands])
    assert parsed.command == words
    assert parsed.values == {"debug": True, "acme-zone": "a.example"}


def test_both_letters_for_the_configuration_file() -> None:
    """The description has -f in one place and -c in another."""
    for flag in ("-f", "-c", "--config-file"):
        assert parse_admin([flag, "F", "ping"]).values == {"config-file": "F"}


def test_words_after_certbot_are_its_own() -> None:
    """Options of Certbot are not taken for ours."""
    parsed = parse_admin(["-f", "F", "certbot", "show_account", "--server", "x", "-d", "--help"])
    assert parsed.command == ("certbot",)
    assert parsed.rest == ("show_account", "--server", "x", "-d", "--help")
    assert parsed.values == {"config-file": "F"}


def test_switch_belongs_to_its_command() -> None:
    """`show certificate --check-revocation`, for admins and clients, and nowhere else."""
    words = ["show", "certificate", "--check-revocation"]
    for parse in (parse_admin, parse_client):
        assert parse(words).arguments == {"check_revocation": True}
        assert parse(words[:2]).arguments == {"check_revocation": False}
        for others in (
            ["show", "csr", words[2]],
            [words[2], *words[:2]],
            ["show", "certificate", "--check"],
        ):
            with pytest.raises((UsageError, WordRefused)):
                parse(others)


def test_what_belongs_to_one_command_stands_after_it() -> None:
    """Each with its name and its default; an option of the table may stand on both sides."""
    parsed = parse_admin(["show", "sudoers", "--user", "u"])
    assert (parsed.arguments, parsed.values) == ({"user": "u"}, {})
    assert parse_admin(["show", "sudoers"]).arguments == {"user": "certgrinderd"}
    assert parse_admin(["ping"]).arguments == {}
    with pytest.raises(UsageError):
        parse_admin(["--user", "u", "show", "sudoers"])
    after = parse_admin(["show", "authorized-keys", "--domainsets", "a.example", "F"])
    before = parse_admin(["--domainsets", "a.example", "show", "authorized-keys", "F"])
    assert after == before
    assert after.values == {"domainsets": "a.example"}
    assert "domainsets" not in after.arguments


def test_version_is_a_command_and_an_option() -> None:
    """Both forms that people try."""
    assert parse_admin(["--version"]).command == ("version",)
    assert parse_client(["version"]).command == ("version",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["pong"], "invalid choice: 'pong'", id="no such command"),
        pytest.param(["get"], "required", id="half a command"),
        pytest.param(["get", "cert"], "invalid choice", id="abbreviated command"),
        pytest.param(["--acme-z", "x", "ping"], "did you mean --acme-zone?", id="abbreviated"),
        pytest.param(["--qqq", "ping"], "there is no option --qqq (", id="no such option"),
        pytest.param(["-q", "ping"], "-q", id="no such letter"),
        pytest.param(["--acme-zone"], "expected one argument", id="value missing"),
        pytest.param(["--debug=1", "ping"], "ignored explicit argument", id="value too many"),
        pytest.param(["ping", "more"], "unrecognized arguments: more", id="word too many"),
        pytest.param(["get", "certificate", "--staging"], "--staging", id="option behind"),
    ],
)
def test_command_line_that_says_nothing(words: list[str], message: str) -> None:
    """For an admin a usage error, for a client a refusal; both say where help is."""
    with pytest.raises(UsageError, match="--help shows what is possible") as caught:
        parse_admin(words)
    assert message in str(caught.value)
    with pytest.raises(WordRefused):
        parse_client(words)


def test_value_that_is_none_names_the_option() -> None:
    """As in the file, with the option as it stands on the command line."""
    with pytest.raises(ConfigurationError, match="--lock-timeout: expected a whole number"):
        parse_admin(["--lock-timeout", "soon", "ping"])
    with pytest.raises(WordRefused, match="--log-level: expected one of DEBUG"):
        parse_client(["--log-level", "loud", "ping"])


@pytest.mark.parametrize("words", FOR_CLIENTS)
def test_client_may_give_its_commands(words: tuple[str, ...]) -> None:
    """With the options that are open to clients."""
    options = ["--log-level", "debug", "--preferred-chain", "ISRG_Root_X1", "--staging", "-d"]
    parsed = parse_client([*options, *words])
    assert parsed.command == words
    assert parsed.values == {
        "log-level": "DEBUG",
        "preferred-chain": "ISRG_Root_X1",
        "staging": True,
        "debug": True,
    }


@pytest.mark.parametrize("words", FOR_ADMINS)
def test_client_may_not_give_the_admins_commands(words: tuple[str, ...]) -> None:
    """A command is closed to clients unless the table says otherwise."""
    with pytest.raises(WordRefused):
        parse_client([*words, *OPERANDS.get(words, ())])
    assert parse_admin([*words, *OPERANDS.get(words, ())]).command == words


@pytest.mark.parametrize("name", [name for name in OPTIONS if not OPTIONS[name].client_may_set])
def test_client_parser_does_not_know_the_admins_options(name: str) -> None:
    """Even without the boundary's own check there is no way to set them."""
    for flag in OPTIONS[name].flags:
        for words in ([flag, "x", "ping"], [f"{flag}=x", "ping"], [f"{flag}x", "ping"]):
            with pytest.raises(WordRefused):
                parse_client(words)


@given(
    st.lists(st.one_of(st.sampled_from(["get", "show", "-d", "--", "-l"]), st.text()), max_size=5)
)
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    """A client's words never end the process or print anything by themselves."""
    if {"-h", "--help"} & set(words):
        return
    try:
        parsed = parse_client(words)
    except CertgrinderdError:
        return
    assert parsed.command in [(), *FOR_CLIENTS]


def test_help_lists_what_the_reader_may_use() -> None:
    """An admin's help has every option and command, a client's has the client's."""
    everything, some = build_parser().format_help(), build_parser(client=True).format_help()
    for option in OPTIONS.values():
        assert f"--{option.name}" in everything
        assert (f"--{option.name}" in some) == option.client_may_set
    assert "certbot" in everything
    assert "certbot" not in some
