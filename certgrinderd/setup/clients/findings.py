"""What is wrong with the lines of an authorized_keys file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from certgrinderd.commandline.parser import parse_admin_options
from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.policy import DOMAINSETS_VARIABLE, parse_domainsets
from certgrinderd.setup.clients.line import LONGEST_VALUE, Line, LineIgnored, parse_line

_WIDENING = ("port-forwarding", "agent-forwarding", "x11-forwarding", "pty", "user-rc", "tunnel")
# What a forced command with $SSH_ORIGINAL_COMMAND begins with. Otherwise the login shell expands
# patterns in the client's words, and a short one such as /*/../*/../*/../* takes gigabytes.
NO_PATTERNS = "set -f;"
_ORIGINAL_COMMAND = re.compile(r"\$\{?SSH_ORIGINAL_COMMAND\b\}?")
_PROGRAM = re.compile(r"(?:^|/)certgrinderd(?:\.pyz|-[^/]*)?\Z")
# Options without any of which there is no way to a certificate.
_WAYS = frozenset({"config-file", "acme-zone", "web-root", "acme-client-command"})
_SHELLS = frozenset({"sh", "ash", "bash", "csh", "dash", "fish", "ksh", "tcsh", "zsh", "eval"})
_SHELL_PART = re.compile(
    r"""(?P<blank>[ \t]+)
    | '(?P<single>[^']*)'
    | "(?P<double>(?:[^"\\]|\\.)*)"
    | \\(?P<escaped>.)
    | (?P<plain>[^ \t\n'"\\;&|<>()`]+)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        line: The number of the line, counted from 1.
        client: Whose line it is: the comment of its key, else the key's fingerprint; empty when
            the line can't be read.
        reason: What is wrong, for people.
    """

    line: int
    client: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}{f' ({self.client})' if self.client else ''}: {self.reason}"


@dataclass(frozen=True)
class Report:
    """The result of checking a file.

    Attributes:
        findings: What is wrong; empty if nothing is.
        clients: How many lines let somebody in.
        needs_environment: The number of the first line that needs PermitUserEnvironment, if any.
        needs_bourne_shell: The number of the first line with $SSH_ORIGINAL_COMMAND, if any.
    """

    findings: tuple[Finding, ...]
    clients: int
    needs_environment: int | None
    needs_bourne_shell: int | None


def check(text: str) -> Report:
    """Check a whole file; a file without clients is fine.

    Args:
        text: The file, in UTF-8; bytes that are not come as surrogates.
    """
    findings: list[Finding] = []
    seen: dict[bytes, tuple[int, str]] = {}
    needs_environment = needs_bourne_shell = None
    for number, written in enumerate(text.split("\n"), start=1):
        try:
            line = parse_line(written)
        except LineIgnored as error:
            findings.append(Finding(number, "", f"sshd ignores this line: {error}"))
            continue
        if line is None:
            continue
        client = line.key.comment or line.key.fingerprint
        findings += (Finding(number, client, reason) for reason in _reasons(line))
        first = seen.setdefault(line.key.data, (number, client))
        if first[0] != number:
            reason = f"the key is also on line {first[0]} ({first[1]}): each client needs its own"
            findings.append(Finding(number, client, reason))
        if needs_environment is None and _from_environment(line):
            needs_environment = number
        if needs_bourne_shell is None and any(
            map(_ORIGINAL_COMMAND.search, line.values("command"))
        ):
            needs_bourne_shell = number
    return Report(tuple(findings), len(seen), needs_environment, needs_bourne_shell)


def _from_environment(line: Line) -> list[str]:
    prefix = f"{DOMAINSETS_VARIABLE}="
    values = line.values("environment")
    return [value.removeprefix(prefix) for value in values if value.startswith(prefix)]


def _reasons(line: Line) -> Iterator[str]:
    yield from _reasons_in_rights(line)
    for name in ("command", "environment"):
        if any(_length(value) > LONGEST_VALUE for value in line.values(name)):
            yield f"{name}= is longer than {LONGEST_VALUE} bytes: no program can be started with it"
    for value in line.values("from"):
        yield from _reasons_in_from(value)
    words: list[str] = []
    for command in line.values("command"):  # one at most
        words, reason = _shell_words(command.removeprefix(NO_PATTERNS))
        if reason:
            yield f"command=: {reason}"
            return  # what its domainsets are, nobody knows
        yield from _reasons_in_command(command, words)
    yield from _reasons_in_domainsets(_from_environment(line), _from_command(words))


def _reasons_in_rights(line: Line) -> Iterator[str]:
    if not line.has("restrict"):
        yield "restrict is missing: the client may forward ports and more"
    if not line.has("command"):
        yield "command= is missing: the client may run any program"
    for name in _WIDENING:
        if line.has(name):
            yield f"{name} gives back what restrict takes away"
    if line.has("cert-authority"):
        yield "cert-authority lets in every key that this one signs"
    for value in line.values("environment"):
        name = value.partition("=")[0]
        if name != DOMAINSETS_VARIABLE:
            yield f"environment= sets {name}: only {DOMAINSETS_VARIABLE} may be set"


def _length(value: str) -> int:
    return len(value.encode("utf-8", "surrogateescape"))


def _reasons_in_from(value: str) -> Iterator[str]:
    for pattern in value.split(","):
        address = pattern.removeprefix("!")
        if any(character in address for character in "*?"):
            yield f"from= has the wildcard {pattern!r}: give addresses or networks"
        elif "/" in address:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                yield f"from=: sshd lets nobody in, since {error}"
        elif not address or re.search(r"\s", address):
            yield f"from= has an empty part, or a blank: {value!r}"


def _shell_words(command: str) -> tuple[list[str], str]:
    """Split a command as sh does; the second value is what sh would do besides, or empty."""
    words: list[str] = []
    inside = False
    position = 0
    while position < len(command):
        found = _SHELL_PART.match(command, position)
        if found is None:
            character = command[position]
            if character in "'\"":
                return words, "a quote is not closed"
            return words, f"the shell would interpret {character!r}: quote it"
        position = found.end()
        if found.lastgroup == "blank":
            inside = False
            continue
        text = found[found.lastgroup or 0]
        if found.lastgroup == "double":
            text = re.sub(r'\\([\\"$`])', r"\1", text)
        elif found.lastgroup == "plain" and text.startswith("#") and not inside:
            return words, "what follows # is a comment to the shell"
        elif found.lastgroup == "plain" and re.search(r"[*?[]", text):
            return words, f"the shell may take {text[:80]!r} for a pattern of file names: quote it"
        if inside:
            words[-1] += text
        else:
            words.append(text)
        inside = True
    return words, ""


def _without_assignments(words: list[str]) -> list[str]:
    for index, word in enumerate(words):
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*=", word):
            return words[index:]
    return []


def _reasons_in_command(command: str, words: list[str]) -> Iterator[str]:
    program = (*_without_assignments(words), "")[0]
    if program.rpartition("/")[2] in _SHELLS:
        yield f"command= begins with {program}, which could run anything"
    elif not program.startswith("/"):
        yield f"command= must begin with the absolute path of a program, not with {program!r}"
    else:
        yield from _reasons_in_original_command(command, words)
        yield from _reasons_in_options(words)


def _reasons_in_original_command(command: str, words: list[str]) -> Iterator[str]:
    mentions = _ORIGINAL_COMMAND.findall(command)
    is_last = re.search(rf"[ \t]{_ORIGINAL_COMMAND.pattern}[ \t]*\Z", command)
    if len(mentions) > 1 or (mentions and not is_last):
        yield "$SSH_ORIGINAL_COMMAND must be the last word of command=, once and without quotes"
    elif mentions and not any(map(_PROGRAM.search, words)):
        # env, sudo or an interpreter would run what the client says.
        yield "only certgrinderd may get $SSH_ORIGINAL_COMMAND: others would run it"
    elif mentions and not command.startswith(NO_PATTERNS):
        yield (
            f"command= must begin with {NO_PATTERNS!r}, or the shell expands patterns in "
            "$SSH_ORIGINAL_COMMAND: the client can exhaust the memory"
        )


def _reasons_in_options(words: list[str]) -> Iterator[str]:
    """Parse the words after certgrinderd as it does itself; those of other programs are unknown."""
    place = next((place for place, word in enumerate(words) if _PROGRAM.search(word)), None)
    if place is None:
        return
    rest = [word for word in words[place + 1 :] if not _ORIGINAL_COMMAND.fullmatch(word)]
    try:
        given = parse_admin_options(rest).values
    except UsageError as error:
        reason = str(error)[:200]
        yield f"command=: expected certgrinderd's options and no command of its own: {reason}"
    except ConfigurationError as error:
        yield f"command=: {error}"
    else:
        if not given.keys() & _WAYS:
            yield "--config-file is missing in command=: the client gets no certificate"


def _from_command(words: list[str]) -> list[str]:
    """The values of --domainsets, and of an assignment in front of the program."""
    values = []
    for index, word in enumerate(words):
        if word == "--domainsets":
            values += words[index + 1 : index + 2] or [""]
        elif word.startswith(("--domainsets=", f"{DOMAINSETS_VARIABLE}=")):
            values.append(word.partition("=")[2])
    return values


def _reasons_in_domainsets(environment: list[str], command: list[str]) -> Iterator[str]:
    if environment and command:
        yield "the domainsets are in environment= and in command=: put them in one place only"
    elif len(environment) + len(command) > 1:
        yield "the domainsets are given twice"
    elif not environment and not command:
        yield "the domainsets are missing: the client gets no certificate"
    for value in (*environment, *command):
        domainsets = parse_domainsets(value)
        yield from domainsets.ignored
        if not domainsets.sets and not domainsets.ignored:
            yield "the domainsets are empty: the client gets no certificate"
