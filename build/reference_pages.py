"""The pages of the documentation that are made from the tables: options and commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from certgrinderd.commandline.commands import COMMANDS, Argument, Command
from certgrinderd.errors import CertgrinderdError
from certgrinderd.settings.table import OPTIONS, Option


def options() -> Iterator[str]:
    """Make a section for each option."""
    return map(_option, OPTIONS.values())


def commands(*, for_clients: bool) -> Iterator[str]:
    """Make a section for each command that clients may give, or for each of the others."""
    return (_command(each) for each in COMMANDS if each.client_may_run == for_clients)


def exit_statuses() -> Iterator[str]:
    """Make a row for each kind of error."""
    causes: dict[int, list[str]] = {}
    for error in CertgrinderdError.__subclasses__():
        summary = (error.__doc__ or "").partition("\n")[0]
        causes.setdefault(error.exit_code, []).append(summary)
    for status, summaries in sorted(causes.items()):
        yield f"| {status} | {' '.join(summaries)} |"


def _option(option: Option) -> str:
    value = "" if option.is_switch else f" {option.name.upper()}"
    default = option.default_text.lower() if option.is_switch else option.default_text
    facts = [f"Default: {'none' if default == 'none' else _code(default)}."]
    if option.client_may_set:
        facts.append("Clients may set it.")
    if not option.in_file:
        facts.append("Not in the configuration file.")
    flags = ", ".join(_code(flag + value) for flag in option.flags)
    return f"## {option.name}\n\n{flags}\n\n{_text(option.help)}\n\n{' '.join(facts)}\n"


def _command(command: Command) -> str:
    words = " ".join(command.words)
    rest = " [word …]" if command.takes_words else ""
    usage = "".join(f" [{_usage(argument)}]" for argument in command.arguments)
    return f"### {words}\n\n{_code(words + rest + usage)}\n\n{_text(command.help)}\n" + _arguments(
        command.arguments
    )


def _arguments(arguments: Iterable[Argument]) -> str:
    rows = [
        f"- {_code(argument.names[-1])}: {_text(argument.parameters['help'])}\n"
        for argument in arguments
    ]
    return "\n" + "".join(rows) if rows else ""


def _usage(argument: Argument) -> str:
    """How it stands after a command: an option with its value, in brackets if that may lack."""
    name, parameters = argument.names[-1], argument.parameters
    value = str(parameters.get("metavar", name.lstrip("-"))).upper()
    if not name.startswith("-"):
        return value
    if argument.is_switch:
        return name
    return f"{name} [{value}]" if parameters.get("nargs") == "?" else f"{name} {value}"


def _code(text: str) -> str:
    return f"`{text}`"


def _text(text: str) -> str:
    """Running text: what is in backquotes there is in Markdown, too."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("*", r"\*").replace("<", r"\<") for piece in pieces[::2]]
    return "`".join(pieces)
