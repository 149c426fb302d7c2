"""Command lines of admins and of clients."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certgrinderd.commandline.commands import COMMANDS
from certgrinderd.commandline.parser import Parsed, parse_admin, parse_admin_options, parse_client
from certgrinderd.commandline.usage import help_text, parsers
from certgrinderd.errors import CertgrinderdError, ConfigurationError, UsageError, WordRefused
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
        pytest.param(["pong"], "no command 'pong': did you mean ping?", id="no such command"),
        pytest.param([""], "there is no command ''", id="empty word"),
        pytest.param(["get"], "get needs one more word: certificate, crl", id="half a command"),
        pytest.param(["get", "cert"], "there is no command 'get cert'", id="abbreviated command"),
        pytest.param(["--acme-z", "x", "ping"], "did you mean --acme-zone?", id="abbreviated"),
        pytest.param(["--qqq", "ping"], "there is no option --qqq (", id="no such option"),
        pytest.param(["-q", "ping"], "there is no option -q", id="no such letter"),
        pytest.param(["-dq", "ping"], "there is no option -q", id="no such second letter"),
        pytest.param(["--log-level"], "--log-level needs a value", id="value missing"),
        pytest.param(["-d", "-l"], "-l needs a value", id="letter's value missing"),
        pytest.param(["--debug=1", "ping"], "--debug takes no value", id="value too many"),
        pytest.param(["--debug=", "ping"], "--debug takes no value", id="empty value"),
        pytest.param(["ping", "more"], "the word 'more' is one too many", id="word too many"),
        pytest.param(
            ["get", "certificate", "-s"], "-s must stand before the command", id="option behind"
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


@given(
    st.lists(st.one_of(st.sampled_from(["get", "show", "-d", "--", "-l"]), st.text()), max_size=5)
)
def test_any_words_are_parsed_or_refused(words: list[str]) -> None:
    """A client's words never end the process or print anything by themselves."""
    try:
        parsed = parse_client(words)
    except CertgrinderdError:
        return
    assert parsed.command in [(), *FOR_CLIENTS]


def test_words_are_read_as_getopt_reads_them() -> None:
    """Joined letters, joined and empty values, the end of the options; the last value counts."""
    for words in (
        ["-d", "-l", "INFO", "ping"],
        ["-dlINFO", "ping"],
        ["-dl=INFO", "ping"],
        ["-l", "debug", "--debug", "--log-level=INFO", "--", "ping", "--"],
    ):
        assert parse_admin(words) == Parsed(("ping",), {"debug": True, "log-level": "INFO"}, (), {})
    assert parse_client(["--replaces", "-oGi.-Idl", "ping"]).values == {"replaces": "-oGi.-Idl"}
    for value in ("-d", "--", "--debug", "ping"):
        assert parse_admin(["-c", value, "ping"]).values == {"config-file": value}
    with pytest.raises(ConfigurationError, match="--acme-zone: expected text"):
        parse_admin(["--acme-zone=", "ping"])
    assert parse_admin(["cache", "--prepare"]).arguments["prepare"] == "/var/cache/certgrinderd"
    assert parse_admin(["cache", "--prepare", "DIR"]).arguments["prepare"] == "DIR"
    assert parse_admin(["show", "authorized-keys", "--", "-F"]).arguments["file"] == "-F"
    assert parse_admin(["show", "authorized-keys", "-"]).arguments["file"] == "-"


def test_help_is_asked_for_at_any_place() -> None:
    """It says where; what stands before it must be right, what stands after it is not read."""
    for words, place in (
        (["--help"], ()),
        (["-dh", "--qqq"], ()),
        (["show", "-h"], ("show",)),
        (["show", "certificate", "more", "--help", "--qqq"], ("show", "certificate")),
    ):
        for parse in (parse_admin, parse_client):
            assert parse(words) == Parsed(("help",), {}, (), {"place": place})
            assert help_text(place).startswith(f"usage: {' '.join(('certgrinderd', *place))} ")
            with pytest.raises((UsageError, WordRefused)):
                parse(["--qqq", *words])
    assert parse_admin(["certbot", "--help"]).rest == ("--help",)
    with pytest.raises(UsageError):
        parse_admin_options(["--help"])


TABLE = [*OPTIONS.values()]
SWITCHES = sorted({flag for option in TABLE if option.is_switch for flag in option.flags})
VALUED = sorted({flag for option in TABLE if not option.is_switch for flag in option.flags})
PARTS = sorted({word for command in COMMANDS for word in command.words} - {"certbot"})
OWN = [argument for command in COMMANDS for argument in command.arguments]
OWN_SWITCHES = sorted({name for each in OWN if each.is_switch for name in each.names})
OWN_VALUED = sorted({name for each in OWN if not each.is_switch for name in each.names})
# Of a value that looks like an option argparse thinks otherwise than getopt.
VALUES = st.sampled_from(["INFO", "5", "https://a.example/", "word", "-", ""])


def with_value(flags: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """An option that wants a value, with one."""
    return st.tuples(st.sampled_from(flags), VALUES)


def alone(words: list[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """One of the words."""
    return st.tuples(st.sampled_from(words))


LINES = st.tuples(
    st.lists(
        alone([*SWITCHES, "--version", "--verbose", "-ds", "-lINFO"]) | with_value(VALUED),
        max_size=2,
    ),
    st.one_of(
        st.sampled_from([command.words for command in COMMANDS if command.words != ("certbot",)]),
        st.lists(st.sampled_from(PARTS), max_size=3).map(tuple),
    ).map(lambda words: [words]),
    st.lists(
        alone([*SWITCHES, *OWN_SWITCHES, "word", "--user=u", "-", "--prepare"])
        | with_value([*VALUED, *OWN_VALUED]),
        max_size=3,
    ),
).map(lambda parts: [word for part in parts for words in part for word in words])


@functools.cache
def top_parser(*, client: bool) -> argparse.ArgumentParser:
    """What makes the help, all of it."""
    return parsers(client=client)[()]


def by_argparse(words: list[str], *, client: bool) -> dict[str, object] | None:
    """What it finds in a command line, by its own names; None if it refuses the line."""
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            found = vars(top_parser(client=client).parse_args(words))
        except SystemExit:
            return None
    if found.pop("version"):
        return {**found, "word0": "version", "word1": None, "verbose": None}
    return None if found.get("verbose") else found


@given(
    LINES | LINES.map(lambda words: words[:-1]),
    st.booleans().map(lambda client: {"client": client}),
)
@settings(max_examples=300, deadline=None)
def test_help_describes_what_is_read(words: list[str], side: dict[str, bool]) -> None:
    """The parser behind the help takes and refuses the same command lines, and finds the same."""
    expected = by_argparse(words, **side)
    try:
        parsed = (parse_client if side["client"] else parse_admin)(words)
    except CertgrinderdError as error:
        # Of values argparse knows nothing.
        assert expected is None or re.match(r"--\S+: expected ", str(error))  # noqa: PT017
        return
    assert expected is not None
    command = [expected.pop(name, None) for name in ("word0", "word1")]
    assert parsed.command == tuple(word for word in command if word)
    given = {name for name in expected if name.replace("_", "-") in OPTIONS}
    assert {name.replace("_", "-") for name in given} == set(parsed.values)
    own = {name: value for name, value in expected.items() if name not in {*given, "verbose"}}
    assert {**parsed.arguments, "verbose": None} == {**own, "verbose": None}


def test_help_lists_what_the_reader_may_use() -> None:
    """An admin's help has every option and command, a client's has the client's."""
    everything, some = help_text(), help_text(client=True)
    for option in OPTIONS.values():
        assert f"--{option.name}" in everything
        assert (f"--{option.name}" in some) == option.client_may_set
    assert "certbot" in everything
    assert "certbot" not in some
