"""The kinds of option values, and how they are read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
KEY_TYPES = ("rsa", "ecdsa", "ed25519")

Value = str | int | bool | tuple[str, ...] | None


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        expects: For error messages: "a whole number of seconds".
        parse: From a word of the command line or a value of a YAML file to a value; ValueError
            when it is invalid, with the reason if there is more to say.
        pattern: Of a value in a rule for sudo: a POSIX extended regular expression that matches one
            word and nothing that could be an option; empty where no rule holds such a value.
        is_private: Whether a value may hold a secret or a command line, which no message quotes:
            clients read messages too.
    """

    expects: str
    parse: Callable[[object], Value]
    pattern: str = ""
    is_private: bool = False


def _fullmatch(pattern: str, text: str) -> bool:
    return re.fullmatch(pattern, text, re.ASCII) is not None


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError
    return value


def _command(value: object) -> str:
    text = _text(value)
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"not valid for a shell: {error}") from error
    if not words or not words[0]:
        raise ValueError
    return text


def _url(value: object) -> str:
    text = _text(value)
    if not _fullmatch(r"https://[A-Za-z0-9.:\[\]_-]+(/[!-~]*)?", text):
        raise ValueError
    return text


def _urls(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError
    return tuple(_url(item.strip() if isinstance(item, str) else item) for item in items)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _level(value: object) -> str:
    level = _text(value).upper()
    if level not in LOG_LEVELS:
        raise ValueError
    return level


def _key_types(value: object) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not items:
        raise ValueError
    names = tuple(_text(item).strip().lower() for item in items)
    if not set(names) <= set(KEY_TYPES):
        raise ValueError
    return names


def _number(smallest: int, largest: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and _fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError
        if not smallest <= value <= largest:
            raise ValueError
        return value

    return parse


def _chain_name(value: object) -> str:
    text = _text(value)
    # It becomes an argument of another program, and must not look like an option.
    if not _fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._()'-]{0,99}", text):
        raise ValueError
    return text


def _word(value: object) -> str:
    text = _text(value)
    if not _fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError
    return text


_CERTIFICATE_ID_PATTERN = r"[A-Za-z0-9_-]{1,100}\.[A-Za-z0-9_-]{1,100}"


def _certificate_id(value: object) -> str:
    text = _text(value)
    if not _fullmatch(_CERTIFICATE_ID_PATTERN, text):
        raise ValueError
    return text


def _facility(value: object) -> str:
    text = _text(value).upper()
    if not _fullmatch(r"LOG_[A-Z0-9]+", text):
        raise ValueError
    return text


def number(unit: str, smallest: int, largest: int) -> Kind:
    """A whole number of a unit, such as "bytes", within bounds."""
    return Kind(
        f"a whole number of {unit} from {smallest} to {largest}",
        _number(smallest, largest),
        f"[0-9]{{1,{len(str(largest))}}}",
    )


def seconds(smallest: int) -> Kind:
    """A number of seconds, at most a day."""
    return number("seconds", smallest, 86400)


TEXT = Kind("text, in quotes where YAML would take it for something else", _text)
PATH = Kind("a path", _text)
COMMAND = Kind("a command as a shell would read it", _command, is_private=True)
URL = Kind("a URL that starts with https://", _url)
URLS = Kind("a list of URLs that start with https://", _urls)
FLAG = Kind("true or false", _flag)
LEVEL = Kind("one of " + ", ".join(LOG_LEVELS), _level, "[A-Z]{4,8}")
KEYS = Kind("a list of " + ", ".join(KEY_TYPES), _key_types)
CHAIN = Kind(
    "the name of a chain, such as ISRG_Root_X1", _chain_name, "[A-Za-z0-9][A-Za-z0-9._()'-]*"
)
SECRET = Kind("a secret in one line", _text, is_private=True)
CERTIFICATE_ID = Kind(
    "two words in base64url with a dot between them", _certificate_id, _CERTIFICATE_ID_PATTERN
)
WORD = Kind("a word of letters, digits and ._-", _word)
FACILITY = Kind("a facility of syslog, such as LOG_USER or LOG_LOCAL0", _facility)
