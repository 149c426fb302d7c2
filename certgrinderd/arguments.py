"""Command lines in, a command and its options out: one parser for admins, one for clients."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from certgrinderd.commands import COMMANDS, GROUPS
from certgrinderd.config import OPTIONS
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.kinds import Value
from certgrinderd.option import Option

DESCRIPTION = (
    "Gets certificates from an ACME CA for clients that come in over SSH. "
    "See certgrinderd(8) for more."
)


@dataclass(frozen=True)
class Parsed:
    """A command line, read.

    Attributes:
        command: The words of the command; empty when there is none.
        values: The options that it holds.
        rest: The words of a command that takes words.
        arguments: What stood after the command, by argparse's names.
    """

    command: tuple[str, ...]
    values: dict[str, Value]
    rest: tuple[str, ...] = field(default=())
    arguments: Mapping[str, Any] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong, instead of printing and exiting."""

    failure: type[UsageError | WordRefused] = UsageError

    def error(self, message: str) -> NoReturn:
        raise self.failure(f"{message} ({self.prog} --help shows what is possible)")


class _ClientParser(_Parser):
    failure = WordRefused


def parse_admin(words: Sequence[str]) -> Parsed:
    """Read a command line that is the admin's from end to end.

    Raises:
        UsageError: It does not say what to do.
        ConfigurationError: The value of an option is none.
    """
    return _parse(build_parser(), words)


def parse_admin_options(words: Sequence[str]) -> Parsed:
    """Read the admin's part of a forced command: options alone.

    Raises:
        UsageError: There is something else.
        ConfigurationError: The value of an option is none.
    """
    return _parse(_options_parser(), words)


@functools.cache
def _options_parser() -> _Parser:
    # Once: a file of forced commands has thousands. None of them asks for help.
    parser = _parser(_Parser, add_help=False)
    _add_options(parser, OPTIONS.values())
    return parser


def parse_client(words: Sequence[str]) -> Parsed:
    """Read a client's command line: its options and its commands, and nothing else.

    Raises:
        WordRefused: There is something else, or the value of an option is none.
    """
    try:
        return _parse(build_parser(client=True), words)
    except ConfigurationError as error:
        raise WordRefused(str(error)) from error


def build_parser(*, client: bool = False) -> _Parser:
    """Make the parser of a whole command line, with the options and commands for one side."""
    parser = _parser(_ClientParser if client else _Parser)
    options = [option for option in OPTIONS.values() if option.client_may_set or not client]
    _add_options(parser, options)
    parser.add_argument("--version", action="store_true", help="Print the version.")
    if not client:
        text = "With --version: print the commit and the versions of all that is inside, too."
        parser.add_argument("--verbose", action="store_true", help=text)
    commands = [command for command in COMMANDS if command.client_may_run or not client]
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="word0")
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for command in commands:
        place, name = subparsers, command.words[-1]
        for group in command.words[:-1]:
            if group not in groups:
                added = subparsers.add_parser(
                    group, help=GROUPS[group], description=GROUPS[group], allow_abbrev=False
                )
                groups[group] = added.add_subparsers(
                    title="commands", metavar="COMMAND", dest="word1", required=True
                )
            place = groups[group]
        leaf = place.add_parser(
            name,
            help=command.help,
            description=command.help,
            allow_abbrev=False,
            add_help=not command.takes_words,
            prefix_chars="\0" if command.takes_words else "-",
        )
        if command.takes_words:
            leaf.add_argument("rest", nargs="*", metavar="WORD")
        for argument in command.arguments:
            leaf.add_argument(*argument.names, **argument.parameters)
    return parser


def _parser(kind: type[_Parser], *, add_help: bool = True) -> _Parser:
    return kind(prog="certgrinderd", description=DESCRIPTION, allow_abbrev=False, add_help=add_help)


def _add_options(parser: _Parser, options: Iterable[Option]) -> None:
    for option in options:
        text = option.help.replace("%", "%%")
        if option.is_switch:
            parser.add_argument(
                *option.flags, action="store_true", default=argparse.SUPPRESS, help=text
            )
        else:
            parser.add_argument(
                *option.flags,
                metavar=option.name.upper(),
                default=argparse.SUPPRESS,
                help=f"{text} Default: {option.default_text}.".replace("..", "."),
            )


def _require_known_options(parser: _Parser, words: Sequence[str]) -> None:
    """Name an option that doesn't exist; argparse would stumble over the word behind it first."""
    known = {flag for option in OPTIONS.values() for flag in option.flags}
    known |= {"--help", "--version", "--verbose"}
    commands = {command.words[0] for command in COMMANDS}
    for word in words:
        if word in commands:
            return
        name = word.partition("=")[0]
        if name.startswith("--") and name != "--" and name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            parser.error(
                f"there is no option {name}" + (f": did you mean {near[0]}?" if near else "")
            )


def _parse(parser: _Parser, words: Sequence[str]) -> Parsed:
    _require_known_options(parser, words)
    found = vars(parser.parse_args(list(words)))
    command = tuple(found[name] for name in ("word0", "word1") if found.get(name))
    if found.get("version"):
        command = ("version",)
    elif found.pop("verbose", False):
        parser.error("--verbose goes with --version")
    values = {
        option.name: option.parse(found[key], named=f"--{option.name}")
        for option in OPTIONS.values()
        for key in (option.name.replace("-", "_"),)
        if key in found
    }
    known = {"word0", "word1", "version", "rest", *(name.replace("-", "_") for name in values)}
    own = {name: value for name, value in found.items() if name not in known}
    return Parsed(command, values, tuple(found.get("rest") or ()), own)
