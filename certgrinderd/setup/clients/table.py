"""A table of clients, as a program that sets servers up has it, and their lines of authorized_keys.

It is read as a whole or not at all: each thing that is wrong is found, with the client it is about.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from certgrinderd.errors import MalformedInput
from certgrinderd.policy import Domainsets, parse_domainsets
from certgrinderd.setup.clients.line import PublicKey, parse_public_key

_FIELDS = ("name", "keys", "domainsets", "from", "state")
_STATES = ("present", "absent")
_LONGEST_NAME = 100
# What separates names and sets where the domainsets become one text.
_SEPARATORS = ",;\r\n"


@dataclass(frozen=True)
class Client:
    """A client that may log in.

    Attributes:
        name: What it is called; the comment of its keys.
        keys: Its public keys, one at least.
        domainsets: What it may have, one name at least.
        sources: Where it may come from, as `from=` has it; None for anywhere.
    """

    name: str
    keys: tuple[PublicKey, ...]
    domainsets: Domainsets
    sources: str | None


@dataclass
class _Reader:
    """Reads clients one by one, and collects what is wrong."""

    findings: list[str] = field(default_factory=list)
    _owners: dict[bytes, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def client(self, number: int, entry: object) -> Client | None:
        """Read one; None when it is absent or something is wrong with it."""
        if not isinstance(entry, dict):
            self.findings.append(f"client number {number}: expected a mapping, not {entry!r:.60}")
            return None
        shown = entry.get("name", f"number {number}")
        problems: list[str] = []
        name = _checked(_name, entry.get("name"), problems)
        unknown = sorted(str(key) for key in entry if key not in _FIELDS)
        if unknown:
            known = ", ".join(_FIELDS)
            problems.append(f"unknown field {', '.join(unknown)}: a client has {known}")
        state = entry.get("state", "present")
        if state not in _STATES:
            problems.append(f"state: expected present or absent, not {state!r:.60}")
        if name in self._names:
            problems.append("another client has this name")
        self._names.add(name or "")
        client = None
        if state != "absent":
            keys = _checked(_keys, entry.get("keys"), problems) or ()
            domainsets = _checked(_domainsets, entry.get("domainsets"), problems)
            sources = _checked(_sources, entry.get("from"), problems)
            problems += self._used_elsewhere(keys, str(shown))
            if not problems and name and domainsets:
                client = Client(name, keys, domainsets, sources or None)
        self.findings += (f"client {shown!r:.120}: {problem}" for problem in problems)
        return client

    def _used_elsewhere(self, keys: tuple[PublicKey, ...], shown: str) -> Iterator[str]:
        for key in keys:
            owner = self._owners.setdefault(key.data, shown)
            if owner != shown:
                yield f"keys: {key.fingerprint} is also the key of client {owner!r:.120}"


def parse_clients(text: str) -> tuple[tuple[Client, ...], tuple[str, ...]]:
    """Read a table in JSON: a list of objects with the fields of a client.

    `name` is text, `keys` a list of public keys, `domainsets` a list of lists of names, `from` a
    list of addresses and networks, `state` "present" or "absent".

    Returns:
        Those that may log in, and what is wrong, a line each: if anything is, nobody should use
        the former.

    Raises:
        MalformedInput: It is no JSON, or no list.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedInput(f"expected a list of clients in JSON: {error}") from error
    if not isinstance(table, list):
        raise MalformedInput("expected a list of clients in JSON, not another value")
    reader = _Reader()
    read = [reader.client(number, entry) for number, entry in enumerate(table, start=1)]
    return tuple(client for client in read if client), tuple(reader.findings)


def _checked(parse: Callable[[Any], Any], value: object, problems: list[str]) -> Any:  # noqa: ANN401
    try:
        return parse(value)
    except ValueError as error:
        problems.append(str(error))
    return None


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("name: expected text")
    if value != value.strip() or not value.isprintable() or len(value) > _LONGEST_NAME:
        raise ValueError(
            f"name: expected {_LONGEST_NAME} printable characters at most, without blanks around"
        )
    return value


def _texts(value: object, *, label: str, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{label}: expected a list of {what}, not {value!r:.60}")
    return value


def _keys(value: object) -> tuple[PublicKey, ...]:
    texts = _texts(value, label="keys", what="public keys")
    if not texts:
        raise ValueError("keys: the list is empty; to shut a client out, set its state to absent")
    keys = {}
    for text in texts:
        if "\n" in text.strip():
            raise ValueError("keys: there is a line break inside a key")
        try:
            key = parse_public_key(text)
        except MalformedInput as error:
            raise ValueError(f"keys: {error}") from error
        keys[key.data] = key
    return tuple(keys.values())


def _domainsets(value: object) -> Domainsets:
    if not isinstance(value, list) or not value:
        raise ValueError(f"domainsets: expected a list of lists of names, not {value!r:.60}")
    sets = [_texts(each, label="domainsets", what="lists of names") for each in value]
    if not all(sets):
        raise ValueError("domainsets: one of the lists is empty")
    for name in (name for names in sets for name in names):
        if not name.strip() or any(character in name for character in _SEPARATORS):
            raise ValueError(f"domainsets: {name!r:.80} is not one name")
    domainsets = parse_domainsets(";".join(",".join(names) for names in sets))
    if domainsets.ignored:
        raise ValueError("; ".join(domainsets.ignored))
    return domainsets


def _sources(value: object) -> str:
    if value is None:
        return ""
    texts = _texts(value, label="from", what="addresses and networks")
    if not texts:
        raise ValueError("from: the list is empty; without it the client may come from anywhere")
    return parse_sources(texts, label="from")


def parse_sources(texts: list[str], *, label: str) -> str:
    """Read addresses and networks, and write them as `from=` has them.

    Raises:
        ValueError: One is something else, a network with host bits, or has a zone (RFC 4007).
    """
    # ipaddress takes any text for a zone, also "x,*", which would let everybody in.
    zoned = [text for text in texts if "%" in text]
    if zoned:
        raise ValueError(f"{label}: expected addresses without a zone, not {zoned[0]!r:.80}")
    try:
        read = [ipaddress.ip_network if "/" in text else ipaddress.ip_address for text in texts]
        return ",".join(str(parse(text)) for parse, text in zip(read, texts, strict=True))
    except ValueError as error:
        raise ValueError(
            f"{label}: expected addresses, or networks such as 192.0.2.0/24: {error}"
        ) from error
