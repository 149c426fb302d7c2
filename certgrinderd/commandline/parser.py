"""Read command lines, and print their help, with argparse and from the tables.

A command line has options, then a command, then that command's own arguments. Clients have a parser
of their own, which knows only the options and commands that are open to them.
"""

from __future__ import annotations

import argparse
import difflib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from certgrinderd.commandline.commands import COMMANDS, GROUPS, Argument, Command
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.settings.kinds import Value
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
    return Parsed((), _values(vars(_options_parser().parse_args(words))))


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
    return _parsers(client=client, words=None)[tuple(words)].format_help()


class _Parser(argparse.ArgumentParser):
    """An argparse parser that raises errors as ours: it neither prints, exits nor guesses."""

    def __init__(
        self,
        prog: str = "certgrinderd",
        description: str = "",
        commands: Sequence[Command] = (),
        failure: type[UsageError | WordRefused] = UsageError,
    ) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False, add_help=False)
        self.color = False  # Python 3.14 would colour the help
        self._place = tuple(prog.split()[1:])  # the words of the command so far
        self.set_defaults(place=self._place)
        self._commands = commands
        self._failure = failure
        depth = len(self._place)
        there = [each.words for each in commands if each.words[:depth] == self._place]
        self._names = dict.fromkeys(words[depth] for words in there if len(words) > depth)
        self._known: dict[str, Argument] = {}
        self._following: argparse._SubParsersAction[_Parser] | None = None
        self._takes_words = False

    def add(self, argument: Argument) -> None:
        """Accept an option or operand."""
        self.add_argument(*argument.names, **_with_plain_percent(argument.parameters))
        self._known |= {flag: argument for flag in argument.names if flag.startswith("-")}

    def add_words(self) -> None:
        """Accept any words, also those that look like options."""
        self._takes_words = True
        self.add_argument("rest", nargs="*", metavar="WORD")

    def add_command(self, name: str, text: str) -> _Parser:
        """Accept a command or a group of commands, and return the parser for what follows it."""
        if self._following is None:
            self._following = self.add_subparsers(title="commands", metavar="COMMAND")
        made: _Parser = self._following.add_parser(
            name,
            prog=f"{self.prog} {name}",
            description=text,
            commands=self._commands,
            failure=self._failure,
            **_with_plain_percent({"help": text}),
        )
        return made

    # argparse calls this of each parser for the words that are left for it.
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:  # noqa: ANN401 - as argparse has it
        found, left = super().parse_known_args(self._prepared(args), namespace)
        if left:
            self.error(f"unexpected argument {' '.join(left)!r}")
        if self._place and self._names and found.place == self._place and "help" not in found:
            self.error(f"{self._place[-1]} needs one more word: {', '.join(self._names)}")
        return found, []

    def error(self, message: str) -> NoReturn:
        """Raise an error that says where to find help."""
        raise self._failure(f"{message} ({self.prog} --help shows what is possible)")

    def _prepared(self, words: Sequence[str]) -> list[str]:
        """Rewrite options so that argparse can't misread them: each as one word, `--name=value`.

        argparse rejects a separate value that begins with "-", as one in 64 of the identifiers for
        --replaces does, and Python's versions differ about joined letters (-dl INFO) and "--".
        """
        if self._takes_words:
            return ["--", *words]
        left = list(words)
        ready: list[str] = []
        while left and left[0] != "--":
            if left[0].startswith("-") and left[0] != "-":
                ready += self._option(left)
            elif self._names:
                break
            else:
                ready.append(left.pop(0))
        if left[:1] == ["--"] and (self._names or len(left) == 1):
            del left[0]
        if self._names and left and left[0] not in self._names:
            whole = " ".join((*self._place, left[0]))
            self.error(f"unknown command {whole!r}{_hint(left[0], self._names)}")
        return [*ready, *left]

    def _option(self, left: list[str]) -> Iterator[str]:
        """Take an option and its value from the front of the words."""
        word = left.pop(0)
        is_long = word.startswith("--")
        name = word.partition("=")[0] if is_long else word[:2]
        joint = word[len(name) :]
        argument = self._known.get(name)
        if argument is None:
            self._fail_unknown(name)
        if argument.is_switch and joint:
            if is_long:
                self.error(f"{name} takes no value")
            left.insert(0, f"-{joint}")  # -ds is -d -s
        elif argument.needs_value and not joint:
            joint = f"={left.pop(0) if left else '--'}"
        if joint == "=--":  # argparse before Python 3.13 drops such a value
            self.error(f"{name} needs a value")
        value = "" if argument.is_switch or not joint else f"={joint.removeprefix('=')}"
        yield f"{argument.names[-1]}{value}"

    def _fail_unknown(self, name: str) -> NoReturn:
        if self._place and any(name in option.flags for option in OPTIONS.values()):
            self.error(f"{name} must come before the command")
        self.error(f"unrecognized option {name}{_hint(name, self._known)}")


def _with_plain_percent(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameters, "help": parameters["help"].replace("%", "%%")}


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


_HELP = Argument(
    ("-h", "--help"),
    {"action": "store_true", "default": argparse.SUPPRESS, "help": "Show this help."},
)
_VERSION = Argument(
    ("--version",),
    {"action": "store_true", "default": argparse.SUPPRESS, "help": "Print the version."},
)
_VERBOSE = Argument(
    ("--verbose",),
    {
        "action": "store_true",
        "default": argparse.SUPPRESS,
        "help": "With --version: print the commit and the versions of all that is inside, too.",
    },
)


def _from_table(option: Option) -> Argument:
    parameters: dict[str, Any] = {"default": argparse.SUPPRESS, "help": option.help}
    if option.is_switch:
        parameters["action"] = "store_true"
    else:
        parameters["metavar"] = option.name.upper()
        parameters["help"] += f" Default: {option.default_text}.".replace("..", ".")
    return Argument(option.flags, parameters)


@functools.cache
def _options_parser() -> _Parser:
    made = _Parser()
    for option in OPTIONS.values():
        made.add(_from_table(option))
    return made


def _parsers(*, client: bool, words: Sequence[str] | None) -> Mapping[tuple[str, ...], _Parser]:
    """Make the parser for a command line, and those for the groups and commands in it.

    Args:
        client: Whether the line is a client's.
        words: The line. Commands that it can't contain get no parser, which saves a few
            milliseconds; None makes all.

    Returns:
        The parsers by the words that lead to them; () leads to that of the whole line.
    """
    commands = [each for each in COMMANDS if each.client_may_run or not client]
    failure = WordRefused if client else UsageError
    top = _Parser(description=DESCRIPTION, commands=commands, failure=failure)
    top.add(_HELP)
    for option in OPTIONS.values():
        if option.client_may_set or not client:
            top.add(_from_table(option))
    for argument in [_VERSION] if client else [_VERSION, _VERBOSE]:
        top.add(argument)
    made: dict[tuple[str, ...], _Parser] = {(): top}
    for command in commands:
        for depth in range(1, len(command.words) + 1):
            place = command.words[:depth]
            if place not in made and (words is None or set(place) <= set(words)):
                made[place] = _add(made[place[:-1]], place, command)
    return made


def _add(parent: _Parser, place: tuple[str, ...], command: Command) -> _Parser:
    """Make the parser for a command, or for the group that it is in."""
    if place != command.words:
        group = parent.add_command(place[-1], GROUPS[place[-1]])
        group.add(_HELP)
        return group
    made = parent.add_command(place[-1], command.help)
    if command.takes_words:
        made.add_words()
        return made
    for argument in (_HELP, *command.arguments):
        made.add(argument)
    return made


def _parse(words: Sequence[str], *, client: bool) -> Parsed:
    top = _parsers(client=client, words=words)[()]
    found = vars(top.parse_args(list(words)))
    command = found.pop("place")
    if found.pop("help", False):
        return Parsed(("help",), {}, (), {"place": command})
    if found.pop("version", False):
        command = ("version",)
    elif found.pop("verbose", False):
        top.error("--verbose goes with --version")
    rest = tuple(found.pop("rest", ()))
    values = _values(found)
    own = {key: value for key, value in found.items() if _name(key) not in values}
    return Parsed(command, values, rest, own)


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: OPTIONS[name].parse(value, label=f"--{name}")
        for key, value in found.items()
        for name in (_name(key),)
        if name in OPTIONS
    }


def _name(key: str) -> str:
    return key.replace("_", "-")
