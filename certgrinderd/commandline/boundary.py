"""Separate the admin's words of a command line from the client's.

sshd runs the admin's forced command with the client's words in SSH_ORIGINAL_COMMAND; a forced
command that ends with $SSH_ORIGINAL_COMMAND puts both into one command line (sshd(8),
AUTHORIZED_KEYS FILE FORMAT). A client that could add any option would own the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from certgrinderd.errors import WordRefused
from certgrinderd.policy import DOMAINSETS_VARIABLE
from certgrinderd.settings.table import OPTIONS, Option

# No character that a shell expands, quotes or splits at, or that a terminal interprets: the words
# arrive as they were sent, whatever shell was in between.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=+@%,-")
LONGEST_COMMAND = 4096


@dataclass(frozen=True)
class Words:
    """The words of a command line.

    Attributes:
        admin: The admin's words.
        client: The client's words; None if there is no client.
    """

    admin: tuple[str, ...]
    client: tuple[str, ...] | None


def original_command(argv: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the client's command line, or None if no client asks.

    sshd sets no SSH_ORIGINAL_COMMAND for a client that asks for a shell: that is an empty one. It
    is told from an admin who logged in by ssh by the domainsets, which only a client has. (With
    `show authorized-keys` they are those of the line to be made.)

    Args:
        argv: The words after the program's name.
        environment: The process's.
    """
    said = environment.get("SSH_ORIGINAL_COMMAND")
    if said is not None or "SSH_CONNECTION" not in environment:
        return said
    options = {word.partition("=")[0] for word in argv}
    has_option = "--domainsets" in options and "authorized-keys" not in options
    return "" if has_option or DOMAINSETS_VARIABLE in environment else None


def separate(argv: Sequence[str], original_command: str | None) -> Words:
    """Separate the admin's words from the client's.

    Args:
        argv: The words after the program's name.
        original_command: What the client said; None if there is no client.

    Returns:
        If argv ends with exactly the client's words, the words before them are the admin's.
        Otherwise all of argv is the admin's, and the caller must refuse a command in it. The
        characters of the client's words are not checked; see require_plain.
    """
    if original_command is None:
        return Words(tuple(argv), None)
    # As sh splits an unquoted variable (IFS is space, tab, newline), not as str.split() does.
    blanks = original_command.replace("\t", " ").replace("\n", " ")
    client = tuple(word for word in blanks.split(" ") if word)
    count = len(client)
    if count and tuple(argv[-count:]) == client:
        return Words(tuple(argv[:-count]), client)
    return Words(tuple(argv), client)


def require_plain(words: Sequence[str]) -> None:
    """Require that no shell can have changed a client's words, and bound their length.

    Raises:
        WordRefused: A word has a character that is not plain, or the words are too long.
    """
    if sum(map(len, words)) > LONGEST_COMMAND:
        raise WordRefused(f"the command is longer than {LONGEST_COMMAND} characters")
    for word in words:
        if not word or not _PLAIN.issuperset(word):
            raise WordRefused(
                f"the word {word!r} has other characters than letters, digits and _./:=+@%,-"
            )


def require_client_options(words: Sequence[str]) -> None:
    """Require that a client's words include no option of the admin's.

    This is for the message only: the clients' parser knows no such option and has refused the words
    already. It tells a forbidden option from an unknown one; a value may look like one.

    Raises:
        WordRefused: There is one.
    """
    closed = {
        flag: option
        for option in OPTIONS.values()
        if not option.client_may_set
        for flag in option.flags
    }
    for word in words:
        option = _named_by(word, closed)
        if option is not None:
            raise WordRefused(f"--{option.name} is for the server's admin, not for clients")


def _named_by(word: str, options: dict[str, Option]) -> Option | None:
    if word.startswith("--"):
        return options.get(word.partition("=")[0])
    return options.get(word[:2]) if word.startswith("-") else None
