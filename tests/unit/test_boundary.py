"""The boundary: whose word is it?"""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.commandline.boundary import (
    LONGEST_COMMAND,
    original_command,
    require_client_options,
    require_plain,
    separate,
)
from certgrinderd.errors import WordRefused
from certgrinderd.settings.table import OPTIONS

WORD = st.text(alphabet="abc019_./:=+@%,-", min_size=1, max_size=8)
WORDS = st.lists(WORD, max_size=5)
BLANKS = st.text(alphabet=" \t\n", min_size=1, max_size=3)


def test_without_the_variable_all_words_are_the_admins() -> None:
    """No SSH_ORIGINAL_COMMAND, no client; even with words that no client could say."""
    words = separate(["--auth-hook", "x; y", "ping"], None)
    assert words.admin == ("--auth-hook", "x; y", "ping")
    assert words.client is None


@given(WORDS, st.lists(WORD, min_size=1, max_size=5))
def test_passed_on_words_are_the_clients(admin: list[str], client: list[str]) -> None:
    """When the command line ends with them, what stands before them is the admin's."""
    words = separate([*admin, *client], " ".join(client))
    assert words.client == tuple(client)
    assert words.admin == tuple(admin)


@given(WORDS, st.lists(WORD, min_size=1, max_size=5))
def test_words_that_were_not_passed_on_come_from_the_variable(
    admin: list[str], client: list[str]
) -> None:
    """When the command line doesn't end with them, all of it is the admin's."""
    words = separate([*admin, "end"], " ".join([*client, "other"]))
    assert words.client == (*client, "other")
    assert words.admin == (*admin, "end")


@given(st.lists(WORD, min_size=1, max_size=5), BLANKS, BLANKS)
def test_words_are_split_as_sh_splits_them(client: list[str], blank: str, ends: str) -> None:
    """Space, tab and newline separate; nothing else does."""
    command = ends + blank.join(client) + ends
    assert separate([], command).client == tuple(client)


def test_split_is_that_of_the_real_shell() -> None:
    """Dash and our own splitting see the same words."""
    command = " a\tb\n c  d/e,f=%g@h "
    shell = subprocess.run(
        ["/bin/sh", "-c", 'printf "%s|" $SSH_ORIGINAL_COMMAND'],
        env={"SSH_ORIGINAL_COMMAND": command},
        capture_output=True,
        text=True,
        check=True,
    )
    words = tuple(shell.stdout.split("|")[:-1])
    assert separate([], command).client == words
    assert separate(["--debug", *words], command).admin == ("--debug",)


@pytest.mark.parametrize(
    "character",
    [*"\"'`$\\;&|<>(){}[]*?~#!^\r\v\f\0\x1b\x7f", "\x85", "\xa0", "\u2028", "ø", "\ud800"],
)
def test_character_that_is_not_plain_is_refused(character: str) -> None:
    """Whatever a shell could expand, quote or run, or a terminal obey; and all beyond ASCII."""
    for command in (f"get certificate{character}", character, f"ping {character}x"):
        with pytest.raises(WordRefused):
            require_plain(command.split(" "))
    require_plain(["ping"])


def test_length_is_bounded() -> None:
    """A command line longer than any real one is refused before it is looked at."""
    with pytest.raises(WordRefused, match="longer than"):
        require_plain(["a", "a" * LONGEST_COMMAND])
    require_plain(["a" * LONGEST_COMMAND])


@given(st.text(max_size=50), st.lists(st.text(max_size=10), max_size=4))
def test_any_command_is_separated(command: str, argv: list[str]) -> None:
    """Nothing gets lost and nothing is made up: the words are those of argv or of the variable."""
    words = separate(argv, command)
    assert words.client is not None
    assert words.admin == tuple(argv) or (*words.admin, *words.client) == tuple(argv)


@pytest.mark.parametrize("name", [name for name in OPTIONS if not OPTIONS[name].client_may_set])
def test_option_of_the_admin_is_refused_by_name(name: str) -> None:
    """Every option that the table doesn't open to clients, in every form."""
    for flag in OPTIONS[name].flags:
        for words in ([flag, "x"], [f"{flag}=x"], ["--debug", flag], ["get", flag, "certificate"]):
            with pytest.raises(WordRefused, match=f"--{name} is for the server's admin"):
                require_client_options(words)
    for flag in OPTIONS[name].short:
        with pytest.raises(WordRefused, match=f"--{name} is for"):
            require_client_options([f"{flag}x"])


def test_options_for_clients() -> None:
    """The list of what clients may set is short, and a change of it is seen here."""
    opened = {name for name, option in OPTIONS.items() if option.client_may_set}
    assert opened == {
        *("acme-server-url", "chain-length", "debug", "log-level", "preferred-chain"),
        *("replaces", "staging"),
    }
    require_client_options([flag for name in opened for flag in OPTIONS[name].flags])


@pytest.mark.parametrize(
    ("argv", "variables", "said"),
    [
        (["ping"], {"SSH_ORIGINAL_COMMAND": "ping", "SSH_CONNECTION": "x"}, "ping"),
        (["ping"], {"SSH_ORIGINAL_COMMAND": ""}, ""),
        (["--domainsets", "a.example"], {"SSH_CONNECTION": "x"}, ""),
        (["--domainsets=a.example", "show", "csr"], {"SSH_CONNECTION": "x"}, ""),
        (["show", "csr"], {"SSH_CONNECTION": "x", "CERTGRINDERD_DOMAINSETS": ""}, ""),
        (["show", "csr"], {"SSH_CONNECTION": "x"}, None),
        (["show", "csr"], {"CERTGRINDERD_DOMAINSETS": "a.example"}, None),
        (["--domainsets", "a.example", "show", "csr"], {}, None),
        (["show", "authorized-keys", "--domainsets", "a"], {"SSH_CONNECTION": "x"}, None),
    ],
)
def test_client_that_asks_for_a_shell(
    argv: list[str], variables: dict[str, str], said: str | None
) -> None:
    """It has an empty command; an admin who came by ssh has none."""
    assert original_command(argv, variables) == said
