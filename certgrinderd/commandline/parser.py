"""Read command lines, and make their help, with argparse from the tables of options and commands.

A command line has options, then a command, then that command's own arguments. Clients have a parser
of their own, which knows only the options and commands that are open to them.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from certgrinderd.commandline.commands import COMMANDS, GROUPS, Argument
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.settings.kinds import CERTIFICATE_ID, Value
from certgrinderd.settings.table import OPTIONS, Option

DESCRIPTION = (
    "Gets certificates from an ACME CA for clients that come in over SSH. "
    "See certgrinderd(8) for more."
)


@dataclass(frozen=True)
class Parsed:
    """A command line, read.

    Attributes:
        command: The words of the command; empty if there is none.
        values: The options of the table.
        rest: The words of a command that takes words.
        arguments: The command's own options and operands, by argparse's names. With --help the
            command is help, and `place` has the words of the command that help is wanted for.
    """

    command: tuple[str, ...]
    values: dict[str, Value]
    rest: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse_admin(words: Sequence[str]) -> Parsed:
    """Read a command line of an admin.

    Raises:
        UsageError: An unknown option or command, a missing or a surplus word.
        ConfigurationError: An option's value is invalid.
    """
    return _parse(words, client=False)


def parse_admin_options(words: Sequence[str]) -> Parsed:
    """Read the admin's part of a forced command, which has options only.

    Raises:
        UsageError: An unknown option, a missing value, or a command.
        ConfigurationError: An option's value is invalid.
    """
    parser = _Parser(prog="certgrinderd")
    for option in OPTIONS.values():
        parser.add(_from_table(option))
    return Parsed((), _values(_read(parser, words)))


def parse_client(words: Sequence[str]) -> Parsed:
    """Read a client's command line.

    Raises:
        WordRefused: It has something other than the options and commands that are open to clients,
            or an option's value is invalid.
    """
    try:
        return _parse(words, client=True)
    except ConfigurationError as error:
        raise WordRefused(str(error)) from error


def help_text(words: Sequence[str] = (), *, client: bool = False) -> str:
    """Return the help for a command, a group of commands, or everything.

    Args:
        words: The command, or the first word of a group; none for everything.
        client: Whether to list only what is open to clients.
    """
    return parsers(client=client)[tuple(words)].format_help()


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises what is wrong; it neither prints nor exits."""

    failure: type[UsageError | WordRefused] = UsageError
    takes_words = False

    def __init__(self, **parameters: Any) -> None:  # noqa: ANN401 - as argparse has them
        super().__init__(allow_abbrev=False, add_help=False, **parameters)
        self.color = False  # Python 3.14 would colour the help

    def add(self, argument: Argument) -> None:
        """Accept an option or operand."""
        parameters = {**argument.parameters, "help": argument.parameters["help"].replace("%", "%%")}
        self.add_argument(*argument.names, **parameters)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - as argparse has it
        """Read words; argparse itself can't leave words alone that begin with "-"."""
        if not self.takes_words:
            return super().parse_known_args(args, namespace)
        return argparse.Namespace(rest=tuple(args), command=_place(self)), []

    def fail_unknown(self, word: str) -> NoReturn:
        """Raise that a word is not expected, with the option that may be meant."""
        name = word.partition("=")[0]
        known = list(self._option_string_actions)
        if name in known:
            self.error(f"{name} must come before the command")
        near = difflib.get_close_matches(name, known, n=1) if word.startswith("-") else []
        hint = f": did you mean {near[0]}?" if near else ""
        self.error(f"unexpected argument {word!r}{hint}")

    def error(self, message: str) -> NoReturn:
        """Raise it, with where to find help."""
        raise self.failure(f"{message} ({self.prog} --help shows what is possible)")


class _ClientParser(_Parser):
    failure = WordRefused


class _HelpWanted(Exception):
    """Somebody asked for help: the words that lead to the place."""


class _HelpAction(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _HelpWanted(*_place(parser))


def _place(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    return tuple(parser.prog.split()[1:])


_HELP = Argument(
    ("-h", "--help"),
    {
        "action": _HelpAction,
        "nargs": 0,
        "default": argparse.SUPPRESS,
        "help": "Show this help.",
    },
)
_VERSION = Argument(("--version",), {"action": "store_true", "help": "Print the version."})
_VERBOSE = Argument(
    ("--verbose",),
    {
        "action": "store_true",
        "help": "With --version: print the commit and the versions of all that is inside, too.",
    },
)
_FLAGS = {
    *("--", "--help", "--version", "--verbose"),
    *(flag for option in OPTIONS.values() for flag in option.flags),
    *(name for command in COMMANDS for argument in command.arguments for name in argument.names),
}
_TAKE_WORDS = {command.words[-1] for command in COMMANDS if command.takes_words}
# argparse takes a value that begins with "-" for an option, as one identifier in 64 does.
_MAY_BEGIN_WITH_DASH = {
    f"--{each.name}" for each in OPTIONS.values() if each.kind is CERTIFICATE_ID
}


def _from_table(option: Option) -> Argument:
    parameters: dict[str, Any] = {"default": argparse.SUPPRESS, "help": option.help}
    if option.is_switch:
        parameters["action"] = "store_true"
    else:
        parameters["metavar"] = option.name.upper()
        parameters["help"] += f" Default: {option.default_text}.".replace("..", ".")
    return Argument(option.flags, parameters)


def parsers(
    *, client: bool, words: Sequence[str] | None = None
) -> Mapping[tuple[str, ...], _Parser]:
    """Make the parser of a command line, and those of the groups and commands in it.

    Args:
        client: Whether the line is a client's.
        words: The line: groups that it doesn't name stay empty, which saves a few milliseconds.

    Returns:
        The parsers by the words that lead to them; () leads to that of the whole line.
    """
    kind = _ClientParser if client else _Parser
    top = kind(prog="certgrinderd", description=DESCRIPTION)
    options = [_from_table(each) for each in OPTIONS.values() if each.client_may_set or not client]
    for argument in [_HELP, *options, _VERSION, *([] if client else [_VERBOSE])]:
        top.add(argument)
    made: dict[tuple[str, ...], _Parser] = {(): top}
    following: dict[tuple[str, ...], Any] = {(): _subparsers(top, required=False)}
    for command in COMMANDS:
        if client and not command.client_may_run:
            continue
        *group, name = command.words
        place = tuple(group)
        if place not in made:
            made[place] = _add_parser(following[()], "certgrinderd", group[0], GROUPS[group[0]])
            made[place].add(_HELP)
            following[place] = _subparsers(made[place], required=True)
        if group and words is not None and group[0] not in words:
            continue
        leaf = _add_parser(following[place], made[place].prog, name, command.help)
        leaf.takes_words = command.takes_words
        leaf.set_defaults(command=command.words)
        for argument in (_HELP, *command.arguments):
            leaf.add(argument)
        made[command.words] = leaf
    return made


def _subparsers(parser: _Parser, *, required: bool) -> Any:  # noqa: ANN401 - argparse keeps its name private
    return parser.add_subparsers(
        title="commands", metavar="COMMAND", required=required, prog=parser.prog
    )


def _add_parser(following: Any, prog: str, name: str, text: str) -> _Parser:  # noqa: ANN401 - the same
    plain = text.replace("%", "%%")
    made: _Parser = following.add_parser(name, prog=f"{prog} {name}", description=plain, help=plain)
    return made


def _parse(words: Sequence[str], *, client: bool) -> Parsed:
    top = parsers(client=client, words=words)[()]
    try:
        found = _read(top, words)
    except _HelpWanted as wanted:
        return Parsed(("help",), {}, (), {"place": wanted.args})
    command = found.pop("command", ())
    if found.pop("version"):
        command = ("version",)
    elif found.pop("verbose", False):
        top.error("--verbose goes with --version")
    rest = found.pop("rest", ())
    values = _values(found)
    own = {key: value for key, value in found.items() if _name(key) not in values}
    return Parsed(command, values, rest, own)


def _read(parser: _Parser, words: Sequence[str]) -> dict[str, Any]:
    left = list(words)
    for number, word in reversed(list(enumerate(words[:-1]))):
        if word in _MAY_BEGIN_WITH_DASH:
            left[number : number + 2] = [f"{word}={left[number + 1]}"]
    # argparse would complain about the word after an unknown option first.
    for word in itertools.takewhile(lambda word: word not in _TAKE_WORDS, left):
        if word.startswith("--") and word.partition("=")[0] not in _FLAGS:
            parser.fail_unknown(word)
    found, unknown = parser.parse_known_args(left)
    if unknown:
        parser.fail_unknown(unknown[0])
    return dict(vars(found))


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: OPTIONS[name].parse(value, label=f"--{name}")
        for key, value in found.items()
        for name in (_name(key),)
        if name in OPTIONS
    }


def _name(key: str) -> str:
    return key.replace("_", "-")
