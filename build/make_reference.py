"""Write what repeats the tables inside the program: see FILES.

Run it from the repository's root after a change to options, commands, errors or a template:

    .venv/bin/python build/make_reference.py

What people wrote by hand stands in build/*.in: a line there that is `@NAME@` and nothing else is
replaced by what is made from a table.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import yaml

from build import completion, reference_pages
from certgrinderd.commandline.commands import COMMANDS, Argument, Command
from certgrinderd.errors import CertgrinderdError
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.table import OPTIONS, Option

ROOT = Path(__file__).resolve().parent.parent
CONF_DIST = ROOT / "certgrinderd.conf.dist"
MAN_PAGE = ROOT / "docs" / "certgrinderd.8"
_WIDTH = 80

# mdoc(7) wants each sentence to begin on a line of its own.
_SENTENCE_END = re.compile(r"(?<=\.) (?=[A-Z])")


def conf_dist() -> str:
    """Return an example of a configuration file with every option in it, commented out."""
    options = [option for option in OPTIONS.values() if option.in_file]
    return _filled("certgrinderd.conf.in", {"OPTIONS": _conf_entries(options)})


def man_page() -> str:
    """Return the manual page, in mdoc(7)."""
    parts = {
        "COMMANDS": map(_man_command, COMMANDS),
        "OPTIONS": map(_man_option, OPTIONS.values()),
        "EXIT_STATUS": _man_exit_statuses(),
    }
    return _filled("certgrinderd.8.in", parts)


def options_page() -> str:
    """Return the documentation's page about options, in Markdown."""
    return _filled("options.md.in", {"OPTIONS": reference_pages.options()})


def commands_page() -> str:
    """Return the documentation's page about commands, in Markdown."""
    parts = {
        "CLIENTS": reference_pages.commands(for_clients=True),
        "ADMIN": reference_pages.commands(for_clients=False),
        "EXIT_STATUS": reference_pages.exit_statuses(),
    }
    return _filled("commands.md.in", parts)


FILES: Mapping[Path, Callable[[], str]] = {
    CONF_DIST: conf_dist,
    MAN_PAGE: man_page,
    ROOT / "docs/options.md": options_page,
    ROOT / "docs/commands.md": commands_page,
    ROOT / "contrib/completion/certgrinderd.bash": completion.bash,
    ROOT / "contrib/completion/_certgrinderd": completion.zsh,
}


def main() -> None:
    """Write all files."""
    for path, make in FILES.items():
        path.write_text(make(), encoding="utf-8")


def _filled(template: str, parts: Mapping[str, Iterable[str]]) -> str:
    text = (ROOT / "build" / template).read_text(encoding="utf-8")
    for name, entries in parts.items():
        marker = f"\n@{name}@\n"
        if text.count(marker) != 1:
            raise ValueError(f"build/{template} must have the line @{name}@ once")
        text = text.replace(marker, "\n" + "\n".join(entries) + "\n")
    return text


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)


# The configuration file: prose behind "# ", options behind "#" alone.


def _conf_entries(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        prose = "\n".join(f"# {line}" for line in _wrapped(option.help))
        yield f"\n{prose}\n#{option.name}:{_yaml(option.default)}"


def _yaml(value: Value) -> str:
    if value is None:
        return ""  # YAML for "not set"
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return " " + text.removesuffix("\n").removesuffix("\n...")


# The manual page.


def _man_option(option: Option) -> str:
    value = "" if option.is_switch else f" Ar {option.name}"
    flags = " , ".join(f"Fl {_man_escaped(flag[1:])}" for flag in option.flags)
    default = option.default_text.lower() if option.is_switch else option.default_text
    unbroken = _man_escaped(default).replace("-", "\\-")
    lines = [f".It {flags}{value}", _man_text(option.help), f"Default: {unbroken}."]
    if option.client_may_set:
        lines.append("Clients may set it.")
    if not option.in_file:
        lines.append("Not in the configuration file.")
    return "\n".join(lines)


def _man_command(command: Command) -> str:
    words = " ".join(f"Cm {word}" for word in command.words)
    rest = " Op Ar word ..." if command.takes_words else ""
    rest += "".join(f" Oo {_man_usage(argument)} Oc" for argument in command.arguments)
    lines = [f".It {words}{rest}", _man_text(command.help)]
    for argument in command.arguments:
        lines += [f"{_man_argument(argument)} :", _man_text(argument.parameters["help"])]
    if not command.client_may_run:
        lines.append("Not for clients.")
    return "\n".join(lines)


def _man_argument(argument: Argument) -> str:
    """As a macro: an option, or an operand."""
    name = argument.names[-1]
    return f".Fl {name[1:]}" if name.startswith("-") else f".Ar {name}"


def _man_usage(argument: Argument) -> str:
    """How it stands after a command: an option with its value, in brackets if that may lack."""
    macro = _man_argument(argument)[1:]
    name, parameters = argument.names[-1], argument.parameters
    if not name.startswith("-") or parameters.get("action") == "store_true":
        return macro
    value = f"Ar {str(parameters.get('metavar', name.lstrip('-'))).lower()}"
    return f"{macro} Oo {value} Oc" if parameters.get("nargs") == "?" else f"{macro} {value}"


def _man_exit_statuses() -> Iterator[str]:
    causes: dict[int, list[str]] = {}
    for error in CertgrinderdError.__subclasses__():
        summary = (error.__doc__ or "").partition("\n")[0]
        causes.setdefault(error.exit_code, []).append(_man_text(summary))
    for status, summaries in sorted(causes.items()):
        yield "\n".join([f".It {status}", *summaries])


def _man_text(text: str) -> str:
    """Running text: a sentence on each line, `words between these` as literals."""
    lines: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        for number, piece in enumerate(re.split(r"\s*`([^`]*)`([.,:;)]*)\s*", sentence)):
            if not piece:
                continue
            if number % 3 == 0:
                lines += map(_man_escaped, _wrapped(piece))
            elif number % 3 == 1:
                lines.append(f".Ql {_man_escaped(piece)}")
            else:
                lines[-1] += " " + " ".join(piece)
    return "\n".join(lines)


def _man_escaped(text: str) -> str:
    text = text.replace("\\", "\\e")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    main()
