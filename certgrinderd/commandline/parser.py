"""Command lines in, a command and its options out: admins' and clients' by the same rules.

The words are read from left to right, options first, then a command, then what is the command's
own. As with getopt_long(3) an option's value is the next word, whatever it begins with, or joined
to it, single letters may be joined, and `--` ends the options; names can't be abbreviated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from certgrinderd.commandline.commands import COMMANDS, SUPPRESS, Argument, Command
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.settings.table import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, NoReturn

    from certgrinderd.settings.kinds import Value
    from certgrinderd.settings.table import Option

_HELP = Argument(("-h", "--help"), {"action": "store_true"})


@dataclass(frozen=True)
class Parsed:
    """A command line, read.

    Attributes:
        command: The words of the command; empty when there is none.
        values: The options that it holds.
        rest: The words of a command that takes words.
        arguments: What stood after the command, by argparse's names. For a --help, `place` has the
            words of the command that it stood behind.
    """

    command: tuple[str, ...]
    values: dict[str, Value]
    rest: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)


def parse_admin(words: Sequence[str]) -> Parsed:
    """Read a command line that is the admin's from end to end.

    Raises:
        UsageError: It does not say what to do.
        ConfigurationError: The value of an option is none.
    """
    return _parse(_Line(words, UsageError), client=False)


def parse_admin_options(words: Sequence[str]) -> Parsed:
    """Read the admin's part of a forced command: options alone.

    Raises:
        UsageError: There is something else.
        ConfigurationError: The value of an option is none.
    """
    line = _Line(words, UsageError)
    found = line.take_options(_TABLE.values(), None)
    left = line.take_all()
    if left:
        line.fail(f"a forced command holds options alone, not {' '.join(left)!r}")
    return Parsed((), _values(found))


def parse_client(words: Sequence[str]) -> Parsed:
    """Read a client's command line: its options and its commands, and nothing else.

    Raises:
        WordRefused: There is something else, or the value of an option is none.
    """
    try:
        return _parse(_Line(words, WordRefused), client=True)
    except ConfigurationError as error:
        raise WordRefused(str(error)) from error


def known_options(*, client: bool) -> list[Argument]:
    """Return what may stand before the command, for admins or for clients."""
    text = "With --version: print the commit and the versions of all that is inside, too."
    known = [_TABLE[name] for name in OPTIONS if OPTIONS[name].client_may_set or not client]
    known.append(Argument(("--version",), {"action": "store_true", "help": "Print the version."}))
    if not client:
        known.append(Argument(("--verbose",), {"action": "store_true", "help": text}))
    return known


def _from_table(option: Option) -> Argument:
    parameters: dict[str, Any] = {"default": SUPPRESS, "help": option.help}
    if option.is_switch:
        parameters["action"] = "store_true"
    else:
        parameters["metavar"] = option.name.upper()
        parameters["help"] += f" Default: {option.default_text}.".replace("..", ".")
    return Argument(option.flags, parameters)


_TABLE = {name: _from_table(option) for name, option in OPTIONS.items()}


class _HelpWanted(Exception):
    """There is a --help; what comes after it does not count."""


class _Line:
    """A command line that is taken apart from its front.

    Attributes:
        place: The words of the command so far.
    """

    def __init__(self, words: Sequence[str], failure: type[UsageError | WordRefused]) -> None:
        self._left = list(words)
        self._failure = failure
        self.place: tuple[str, ...] = ()

    def fail(self, message: str) -> NoReturn:
        """Raise what is wrong, with where help is to be found."""
        place = " ".join(("certgrinderd", *self.place))
        raise self._failure(f"{message} ({place} --help shows what is possible)")

    def take_all(self) -> tuple[str, ...]:
        """Take what is left, whatever it is."""
        words, self._left = tuple(self._left), []
        return words

    def take_options(self, known: Iterable[Argument], others: list[str] | None) -> dict[str, Any]:
        """Take options from the front.

        Args:
            known: What may stand there.
            others: What takes up all words that are no options; if None, the first one is the end.

        Returns:
            What the options say, by argparse's names.
        """
        flags = {flag: each for each in known for flag in each.names if flag.startswith("-")}
        found: dict[str, Any] = {}
        while self._left:
            word = self._left[0]
            if word == "--":
                del self._left[0]
                if others is not None:
                    others += self.take_all()
                break
            if _is_option(word):
                self._take_option(flags, found)
            elif others is None:
                break
            else:
                others.append(self._left.pop(0))
        return found

    def _take_option(self, flags: Mapping[str, Argument], found: dict[str, Any]) -> None:
        word = self._left.pop(0)
        is_long = word.startswith("--")
        name, joint = word[:2], word[2:]
        if is_long:
            name = word.partition("=")[0]
            joint = word.removeprefix(name)
        argument = flags.get(name)
        if argument is None:
            self._fail_unknown(name, flags)
        if argument is _HELP:
            raise _HelpWanted
        if argument.is_switch:
            if joint and is_long:
                self.fail(f"{name} takes no value")
            if joint:  # the next letter
                self._left.insert(0, f"-{joint}")
            found[argument.key] = True
        elif joint:
            found[argument.key] = joint.removeprefix("=")
        elif argument.may_lack_value and (not self._left or _is_option(self._left[0])):
            found[argument.key] = argument.parameters["const"]
        elif self._left:
            found[argument.key] = self._left.pop(0)
        else:
            self.fail(f"{name} needs a value")

    def _fail_unknown(self, name: str, flags: Mapping[str, Argument]) -> NoReturn:
        if self.place and any(name in option.flags for option in OPTIONS.values()):
            self.fail(f"{name} must stand before the command")
        self.fail(f"there is no option {name}{_hint(name, flags)}")

    def take_command(self, commands: Sequence[Command]) -> Command | None:
        """Take the words of a command; None if there are no words."""
        while self._left or self.place:
            depth = len(self.place)
            there = [each.words for each in commands if each.words[:depth] == self.place]
            names = dict.fromkeys(words[depth] for words in there)
            if not self._left:
                self.fail(f"{' '.join(self.place)} needs one more word: {', '.join(names)}")
            name = self._left.pop(0)
            if name not in names:
                whole = " ".join((*self.place, name))
                self.fail(f"there is no command {whole!r}{_hint(name, names)}")
            self.place = (*self.place, name)
            for command in commands:
                if command.words == self.place:
                    return command
            self.take_options([_HELP], None)
        return None


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _hint(name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]}?" if near else ""


def _parse(line: _Line, *, client: bool) -> Parsed:
    try:
        found = line.take_options([*known_options(client=client), _HELP], None)
        commands = [each for each in COMMANDS if each.client_may_run or not client]
        command = line.take_command(commands)
        rest: tuple[str, ...] = ()
        if command is not None and command.takes_words:
            rest = line.take_all()
        elif command is not None:
            found |= _take_arguments(line, command)
    except _HelpWanted:
        return Parsed(("help",), {}, (), {"place": line.place})
    words = command.words if command is not None else ()
    if found.pop("version", False):
        words = ("version",)
    elif found.pop("verbose", False):
        line.fail("--verbose goes with --version")
    values = _values(found)
    own = {key: value for key, value in found.items() if _name(key) not in values}
    return Parsed(words, values, rest, own)


def _take_arguments(line: _Line, command: Command) -> dict[str, Any]:
    """Take what belongs to a command: its options and operands, in any order."""
    words: list[str] = []
    found = line.take_options([*command.arguments, _HELP], words)
    for argument in command.arguments:
        if argument.is_operand and words:
            found[argument.key] = words.pop(0)
        elif argument.is_operand and not argument.may_lack_value:
            line.fail(f"{argument.parameters['metavar']} is missing")
        elif argument.default != SUPPRESS:
            found.setdefault(argument.key, argument.default)
    if words:
        line.fail(f"the word {words[0]!r} is one too many")
    return found


def _values(found: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name: OPTIONS[name].parse(value, label=f"--{name}")
        for key, value in found.items()
        for name in (_name(key),)
        if name in OPTIONS
    }


def _name(key: str) -> str:
    return key.replace("_", "-")
