"""Completion of command lines in bash and zsh, from the tables of options and commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from certgrinderd.commandline.commands import COMMANDS, GROUPS, Argument, Command
from certgrinderd.settings import kinds
from certgrinderd.settings.table import OPTIONS, Option

PROGRAMS = "certgrinderd certgrinderd.pyz"
_MADE = "# Made by build/make_reference.py from the tables of the program; changes are lost."
# What stands before a command without being an option of the table.
_SWITCHES = {
    "--help": "Show the options and commands.",
    "--version": "Print the version.",
    "--verbose": "With --version: print more.",
}
# As an argument of a command is shown whose value is the path of a file or folder.
_FILES = {"FILE", "CONFIG-FILE"}

_BASH = """\
# shellcheck shell=bash
@MADE@

_certgrinderd() {
    local current=${COMP_WORDS[COMP_CWORD]} option='' command='' words='' word index
    COMPREPLY=()
    # What stands before: the command, and an option that waits for its value.
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ -n $option ]]; then
            option=''
            continue
        fi
        case $word in
        @WITH_VALUE@) option=$word ;;
        @COMMANDS@) command+=${command:+ }$word ;;
        esac
    done
    case $option in
    '') ;;
    --log-level)
        mapfile -t COMPREPLY < <(compgen -W '@LEVELS@' -- "$current")
        return
        ;;
    @FILES@)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    *) return ;;
    esac
    case $command in
@WORDS@
    esac
    case "$command $current" in
    *' -'*) ;;
    @TAKES_FILE@)
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -o filenames -F _certgrinderd @PROGRAMS@
"""

_ZSH = """\
#compdef @PROGRAMS@
@MADE@

local context state state_descr line command
local -a options found
typeset -A opt_args
options=(
@OPTIONS@
)
found=(
@TOP@
)
_arguments -C $options '1: :->word' '*:: :->rest' && return
if [[ $state == word ]]; then
    _describe -t commands command found
    return
fi
[[ $state == rest ]] || return 1
command=$words[1]
found=()
case $command in
@GROUPS@
esac
if (( $#found )); then
    _arguments -C '1: :->word' '*:: :->rest' && return
    if [[ $state == word ]]; then
        _describe -t commands command found
        return
    fi
    command+=" $words[1]"
fi
case $command in
@COMMANDS@
esac
return 1
"""


def bash() -> str:
    """Return the file for bash: a function, and the programs whose words it completes."""
    words = {"": [*_options(), *_SWITCHES, *_words(())]}
    words |= {group: list(_words((group,))) for group in GROUPS}
    words |= {" ".join(c.words): _own_options(c) for c in COMMANDS if c.arguments}
    with_value = {f for option in OPTIONS.values() if not option.is_switch for f in option.flags}
    with_value |= {a.names[-1] for c in COMMANDS for a in c.arguments if a.needs_value}
    files = {f for option in OPTIONS.values() if option.kind is kinds.PATH for f in option.flags}
    takes_file = [c for c in COMMANDS if any(map(_is_file_operand, c.arguments))]
    parts = {
        "WITH_VALUE": _alternatives(with_value),
        "COMMANDS": _alternatives({word for command in COMMANDS for word in command.words}),
        "LEVELS": " ".join(kinds.LOG_LEVELS),
        "FILES": _alternatives(files),
        "TAKES_FILE": " | ".join(f"{shlex.quote(' '.join(c.words))}' '*" for c in takes_file),
        "WORDS": "\n".join(
            f"    {shlex.quote(line)}) words={shlex.quote(' '.join(there))} ;;"
            for line, there in words.items()
        ),
    }
    return _filled(_BASH, parts)


def zsh() -> str:
    """Return the file for zsh: what it loads as the function _certgrinderd."""
    groups = (
        f"{group})\n    found=(\n{_entries(_words((group,)))}\n    )\n    ;;" for group in GROUPS
    )
    own = (
        f"{shlex.quote(' '.join(c.words))})\n    _arguments \\\n"
        + " \\\n".join(f"        {shlex.quote(line)}" for a in c.arguments for line in _of(a))
        + " && return\n    ;;"
        for c in COMMANDS
        if c.arguments
    )
    options = [line for option in OPTIONS.values() for line in _zsh_option(option)]
    options += [f"{flag}[{_brief(text)}]" for flag, text in _SWITCHES.items()]
    parts = {
        "OPTIONS": "\n".join(f"    {shlex.quote(line)}" for line in options),
        "TOP": _entries(_words(())),
        "GROUPS": "\n".join(groups),
        "COMMANDS": "\n".join(own),
    }
    return _filled(_ZSH, parts)


def _filled(template: str, parts: Mapping[str, str]) -> str:
    parts = {**parts, "MADE": _MADE, "PROGRAMS": PROGRAMS}
    return re.sub("@([A-Z_]+)@", lambda found: parts[found[1]], template)


def _words(before: tuple[str, ...]) -> dict[str, str]:
    """What may follow some words of a command, with what it does."""
    found = {} if before else dict(GROUPS)
    for command in COMMANDS:
        if command.words[:-1] == before:
            found[command.words[-1]] = command.help
    return found


def _options() -> Iterator[str]:
    return (flag for option in OPTIONS.values() for flag in option.flags)


def _own_options(command: Command) -> list[str]:
    return [a.names[-1] for a in command.arguments if a.names[-1].startswith("-")]


def _is_file_operand(argument: Argument) -> bool:
    return argument.parameters.get("metavar") in _FILES and argument.names == ("file",)


def _alternatives(words: Iterable[str]) -> str:
    return " | ".join(sorted(words))


def _brief(text: str) -> str:
    """The first sentence, as it can stand in brackets."""
    sentence = re.split(r"(?<=[a-z)`])[.:;] ", text)[0].rstrip(".")
    return re.sub(r"([\[\]\\:])", r"\\\1", sentence)


def _entries(words: Mapping[str, str]) -> str:
    lines = (f"{word}:{_brief(text)}" for word, text in words.items())
    return "\n".join(f"    {shlex.quote(line)}" for line in lines)


def _zsh_option(option: Option) -> Iterator[str]:
    value = ""
    if option.kind is kinds.PATH:
        value = f":{option.name}:_files"
    elif option.kind is kinds.LEVEL:
        value = f":{option.name}:({' '.join(kinds.LOG_LEVELS)})"
    elif not option.is_switch:
        value = f":{option.name}: "
    for flag in option.flags:
        yield f"({' '.join(option.flags)}){flag}[{_brief(option.help)}]{value}"


def _of(argument: Argument) -> Iterator[str]:
    name = argument.names[-1]
    text = _brief(argument.parameters["help"])
    if _is_file_operand(argument):
        yield f"1:{text}:_files"
    elif argument.needs_value:
        action = "_files" if argument.parameters.get("metavar") in _FILES else " "
        yield f"{name}[{text}]:value:{action}"
    elif argument.parameters.get("nargs") == "?":
        yield f"{name}[{text}]::folder:_files -/"
    else:
        yield f"{name}[{text}]"
