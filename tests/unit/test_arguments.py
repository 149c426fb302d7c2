"""Command lines of admins and of clients."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certgrinderd.commandline.commands import COMMANDS
from certgrinderd.commandline.parser import (
    Parsed,
    help_text,
    parse_admin,
    parse_admin_options,
    parse_client,
)
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.settings.table import OPTIONS

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
PLACES_FOR_CLIENTS = [(), *FOR_CLIENTS, *{words[:1] for words in FOR_CLIENTS}]
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
        pytest.param([""], "invalid choice: ''", id="empty word"),
        pytest.param(["get"], "arguments are required: COMMAND", id="half a command"),
        pytest.param(["get", "cert"], "invalid choice: 'cert'", id="abbreviated command"),
        pytest.param(
            ["--log-l", "INFO", "ping"], "did you mean --log-level?", id="abbreviated option"
        ),
        pytest.param(["--qqq", "ping"], "unexpected argument '--qqq' (", id="no such option"),
        pytest.param(["-q", "ping"], "unexpected argument '-q'", id="no such letter"),
        pytest.param(["-dq", "ping"], "explicit argument 'q'", id="no such second letter"),
        pytest.param(["--log-level"], "--log-level: expected one arg", id="value missing"),
        pytest.param(["-d", "-l"], "-l/--log-level: expected one", id="letter's value missing"),
        pytest.param(
            ["-l", "--", "ping"], "expected one argument", id="end of options for a value"
        ),
        pytest.param(["--debug=1", "ping"], "explicit argument '1'", id="value too many"),
        pytest.param(["ping", "more"], "unexpected argument 'more'", id="word too many"),
        pytest.param(
            ["get", "certificate", "-s"], "-s must come before the command", id="option behind"
        ),
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


FLAGS = [flag for option in OPTIONS.values() for flag in option.flags]
OWN = [name for command in COMMANDS for each in command.arguments for name in each.names]
ANY_WORD = st.one_of(
    st.sampled_from([word for command in COMMANDS for word in command.words]),
    st.sampled_from([*FLAGS, *OWN, "--", "-", "-h", "--help", "--version", "--verbose"]),
    st.builds("{}{}{}".format, st.sampled_from(FLAGS), st.sampled_from(["=", ""]), st.text()),
    st.builds("-{}{}".format, st.sampled_from("dslh"), st.sampled_from("dslhfczACptw")),
    st.sampled_from(["INFO", "3", "https://a.example/", "-a.-b", "@/etc/passwd", "-1"]),
    st.text(),
)


@given(st.lists(ANY_WORD, max_size=6))
@settings(max_examples=1000)
def test_any_words_of_a_client_are_its_own_or_refused(words: list[str]) -> None:
    """A client gets its options and commands or WordRefused: no exit, no output, nothing else."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            parsed = parse_client(words)
        except WordRefused as error:
            assert str(error)  # noqa: PT017 - it may be raised or not
        else:
            assert parsed.command in [(), *FOR_CLIENTS]
            assert all(OPTIONS[name].client_may_set for name in parsed.values)
            assert set(parsed.arguments) <= {"check_revocation", "place"}
            assert parsed.rest == ()
            assert parsed.arguments.get("place", ()) in PLACES_FOR_CLIENTS
    assert output.getvalue() == ""


@given(st.lists(ANY_WORD, max_size=6))
def test_any_words_of_an_admin_are_read_or_an_error(words: list[str]) -> None:
    """The admin's parsers neither exit nor print; the part of a forced command has options only."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        for parse in (parse_admin, parse_admin_options):
            try:
                parsed = parse(words)
            except (UsageError, ConfigurationError):
                continue
            assert set(parsed.values) <= set(OPTIONS)
            assert parse is parse_admin or parsed == Parsed((), parsed.values)
    assert output.getvalue() == ""


@given(
    st.lists(st.sampled_from(["--staging", "-d", "-ds", "--log-level=INFO"]), max_size=3),
    st.text("abcAZ09_-", min_size=1, max_size=9),
    st.sampled_from(FOR_CLIENTS),
)
def test_value_of_a_client_is_never_taken_for_an_option(
    options: list[str], begin: str, command: tuple[str, ...]
) -> None:
    """`--replaces -f.x` holds a certificate's identifier, in either form, and no -f."""
    for given_ in (["--replaces", f"{begin}.x"], [f"--replaces={begin}.x"]):
        parsed = parse_client([*options, *given_, *command])
        assert parsed.command == command
        assert parsed.values["replaces"] == f"{begin}.x"
        assert set(parsed.values) <= {"replaces", "staging", "debug", "log-level"}


def test_forms_of_options() -> None:
    """Joined letters, joined and empty values; the last value counts."""
    for words in (
        ["-d", "-l", "INFO", "ping"],
        ["-dlINFO", "ping"],
        ["-dl", "INFO", "ping"],
        ["-l", "debug", "--debug", "--log-level=INFO", "ping"],
    ):
        assert parse_admin(words) == Parsed(("ping",), {"debug": True, "log-level": "INFO"}, (), {})
    for value in ("-", "ping"):
        assert parse_admin(["-c", value, "ping"]).values == {"config-file": value}
    for unset in (["--acme-zone="], ["--acme-zone", ""], ["-z", ""], ["-dz", ""]):
        values = parse_admin(["-z", "a.example", *unset, "ping"]).values
        assert values["acme-zone"] is None
    assert parse_admin(["cache", "--prepare"]).arguments["prepare"] == "/var/cache/certgrinderd"
    assert parse_admin(["cache", "--prepare", "DIR"]).arguments["prepare"] == "DIR"
    assert parse_admin(["show", "authorized-keys", "--", "-F"]).arguments["file"] == "-F"
    assert parse_admin(["show", "authorized-keys", "-"]).arguments["file"] == "-"


def test_help_is_asked_for_at_any_place() -> None:
    """It says where, and what is open to the reader."""
    for words, place in (
        (["--help"], ()),
        (["-dh"], ()),
        (["show", "-h"], ("show",)),
        (["show", "certificate", "--check-revocation", "--help"], ("show", "certificate")),
    ):
        for parse in (parse_admin, parse_client):
            assert parse(words) == Parsed(("help",), {}, (), {"place": place})
            assert help_text(place).startswith(f"usage: {' '.join(('certgrinderd', *place))} ")
            with pytest.raises((UsageError, WordRefused)):
                parse(["--qqq", *words])
    assert parse_admin(["certbot", "--help"]).rest == ("--help",)
    with pytest.raises(UsageError):
        parse_admin_options(["--help"])


def test_help_is_plain_text_with_its_percent_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14 would colour it where it can, and argparse reads % as the start of a field."""
    for name, value in (("FORCE_COLOR", "1"), ("TERM", "xterm"), ("COLUMNS", "80")):
        monkeypatch.setenv(name, value)
    for place in [(), *(command.words for command in COMMANDS)]:
        assert "\x1b" not in help_text(place)
        assert "%%" not in help_text(place)


def test_help_lists_what_the_reader_may_use() -> None:
    """An admin's help has every option and command, a client's has the client's."""
    everything, some = help_text(), help_text(client=True)
    for option in OPTIONS.values():
        assert f"--{option.name}" in everything
        assert (f"--{option.name}" in some) == option.client_may_set
    assert "certbot" in everything
    assert "certbot" not in some
