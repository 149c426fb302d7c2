"""Completion of command lines in bash and zsh: shtab makes it from the parser of admins."""

from __future__ import annotations

import argparse

import shtab

from certgrinderd.commandline.parser import parsers
from certgrinderd.settings import kinds
from certgrinderd.settings.table import OPTIONS

_MADE = "# Made by build/make_reference.py from the tables of the program; changes are lost."
# The values of a command's own arguments that are paths.
_FILES = {"FILE", "CONFIG-FILE", "DIR"}


def bash() -> str:
    """Return the script for bash, to be sourced."""
    made = shtab.complete(_parser(), "bash").rstrip()
    both = "complete -o filenames -F _shtab_certgrinderd certgrinderd.pyz"
    return f"# shellcheck shell=bash disable=all\n{_MADE}\n{made}\n{both}\n"


def zsh() -> str:
    """Return the function for zsh, to be put into a folder of its fpath."""
    made = shtab.complete(_parser(), "zsh").rstrip()
    first = f"#compdef certgrinderd certgrinderd.pyz\n{_MADE}"
    return made.replace("#compdef certgrinderd", first, 1) + "\n"


def _parser() -> argparse.ArgumentParser:
    """The parser, with what shtab should offer as the value of each option."""
    made = parsers(client=False)
    for parser in made.values():
        for action in parser._actions:  # noqa: SLF001 - as shtab reads them
            option = OPTIONS.get(action.dest.replace("_", "-"))
            if option is not None and option.kind is kinds.LEVEL:
                action.choices = kinds.LOG_LEVELS
            elif action.metavar in _FILES or (option is not None and option.kind is kinds.PATH):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return made[()]
