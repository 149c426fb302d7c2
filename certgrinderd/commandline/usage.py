"""What `--help` prints, at each place of a command line: made by argparse from the same tables.

Command lines are read by the parser beside it, since argparse takes longer to load than most of
them to answer; tests hold both to the same command lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from certgrinderd.commandline.commands import COMMANDS, GROUPS, SUPPRESS
from certgrinderd.commandline.parser import known_options

DESCRIPTION = (
    "Gets certificates from an ACME CA for clients that come in over SSH. "
    "See certgrinderd(8) for more."
)


def help_text(words: Sequence[str] = (), *, client: bool = False) -> str:
    """Return the help for a command, for a group of them, or, of no words, for everything.

    Args:
        words: The command, or the beginning of its name.
        client: Whether the reader is one, and gets to see only what clients may say.
    """
    return parsers(client=client)[tuple(words)].format_help()


def _for_argparse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    changed = {"help": parameters["help"].replace("%", "%%")}
    if parameters.get("default") == SUPPRESS:
        changed["default"] = argparse.SUPPRESS
    return {**parameters, **changed}


def parsers(*, client: bool = False) -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """Make a parser of whole command lines, and those for each group and command in it.

    Returns:
        By the words before it; of none, the parser of everything.
    """
    top = argparse.ArgumentParser(prog="certgrinderd", description=DESCRIPTION, allow_abbrev=False)
    for argument in known_options(client=client):
        top.add_argument(*argument.names, **_for_argparse(argument.parameters))
    made: dict[tuple[str, ...], argparse.ArgumentParser] = {(): top}
    groups: dict[tuple[str, ...], Any] = {
        (): top.add_subparsers(title="commands", metavar="COMMAND", dest="word0")
    }
    for command in COMMANDS:
        if client and not command.client_may_run:
            continue
        *group, name = command.words
        place = tuple(group)
        if place not in groups:
            text = GROUPS[group[0]]
            added = groups[()].add_parser(group[0], help=text, description=text, allow_abbrev=False)
            made[place] = added
            groups[place] = added.add_subparsers(
                title="commands", metavar="COMMAND", dest="word1", required=True
            )
        leaf = groups[place].add_parser(
            name, help=command.help, description=command.help, allow_abbrev=False
        )
        made[command.words] = leaf
        if command.takes_words:
            leaf.add_argument("rest", nargs="*", metavar="WORD")
        for argument in command.arguments:
            leaf.add_argument(*argument.names, **_for_argparse(argument.parameters))
    return made
