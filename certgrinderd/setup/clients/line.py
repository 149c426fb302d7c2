"""Lines of an authorized_keys file, read and written as sshd(8) does.

Where sshd passes over a line without a word, which shuts one client out, reading it here says why.
Followed: sshkey_advance_past_options(), sshauthopt_parse() and sshkey_read() of OpenSSH.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from certgrinderd.errors import MalformedInput

# What one environment variable, or the command line that a shell gets, may hold: Linux takes
# 128 KiB with the NUL at its end (MAX_ARG_STRLEN), and execve(2) fails for more.
LONGEST_VALUE = 131071

_FLAGS = frozenset(
    {"restrict", "cert-authority", "touch-required", "verify-required", "port-forwarding"}
    | {"agent-forwarding", "x11-forwarding", "pty", "user-rc"}
)
_NEGATABLE = _FLAGS - {"restrict", "cert-authority"}
_VALUED = frozenset(
    {"command", "environment", "expiry-time", "from", "permitlisten", "permitopen", "principals"}
    | {"tunnel"}
)
_ONCE = frozenset({"command", "from", "principals"})
_OPTION = re.compile(r'([A-Za-z0-9-]+)(?:=("(?:[^"\\]|\\"|\\(?!"))*"|[^, \t]*))?')

# The types that sshd takes in authorized_keys. cryptography also reads DSA keys and certificates,
# which let nobody in there.
_KEY_TYPES = frozenset(
    {"ssh-ed25519", "ssh-rsa"}
    | {"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}
    | {"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"}
)


class LineIgnored(MalformedInput):
    """A line that sshd ignores: it lets nobody in."""


@dataclass(frozen=True)
class PublicKey:
    """A client's public key.

    Attributes:
        type: Its type: "ssh-ed25519".
        data: The key itself (RFC 4253 section 6.6), before base64.
        comment: What follows it on its line.
    """

    type: str
    data: bytes
    comment: str = ""

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen(1) prints it: "SHA256:…"."""
        digest = base64.b64encode(hashlib.sha256(self.data).digest()).decode("ascii")
        return f"SHA256:{digest.rstrip('=')}"

    def __str__(self) -> str:
        return f"{self.type} {base64.b64encode(self.data).decode('ascii')} {self.comment}".rstrip()


@dataclass(frozen=True)
class Line:
    """One line: what a key may do.

    Attributes:
        options: Names in lower case and values, None for those without; in their order.
        key: The key.
    """

    options: tuple[tuple[str, str | None], ...]
    key: PublicKey

    def values(self, name: str) -> list[str]:
        """All values that an option has."""
        return [value for found, value in self.options if found == name and value is not None]

    def has(self, name: str) -> bool:
        """Whether an option is there."""
        return any(found == name for found, _ in self.options)

    def __str__(self) -> str:
        options = ",".join(
            name if value is None else f"{name}={_quoted(name, value)}"
            for name, value in self.options
        )
        return f"{options} {self.key}".lstrip()


def parse_line(text: str) -> Line | None:
    """Read a line; None if it is empty or a comment.

    Args:
        text: The line without its end.

    Raises:
        LineIgnored: sshd passes over it.
    """
    rest = text.strip(" \t\r")
    if not rest or rest.startswith("#"):
        return None
    if "\0" in rest:
        raise LineIgnored("there is a NUL character, and sshd reads no further than that")
    key = _key_at(rest)
    if isinstance(key, PublicKey):
        return Line((), key)
    length = _options_length(rest)
    key_text = rest[length:].lstrip(" \t")
    key = _key_at(key_text)
    if isinstance(key, str):
        cut = key_text and not re.match(r"(sk-)?(ssh|ecdsa)-", key_text)
        hint = ": is there a blank or a missing quote in the options?" if cut else ""
        raise LineIgnored(key + hint)
    return Line(_parse_options(rest[:length]), key)


def parse_public_key(text: str) -> PublicKey:
    """Read a public key alone, as ssh-keygen(1) writes it to a file ending in .pub.

    Raises:
        MalformedInput: It is something else.
    """
    if "PRIVATE KEY-----" in text:
        raise MalformedInput(
            "this is a private key, which must stay where it was made: replace it, "
            "and give the public one (the file that ends in .pub)"
        )
    lines = [line.strip(" \t\r") for line in text.split("\n")]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) != 1:
        raise MalformedInput(f"expected one public key on one line, not {len(lines)} lines")
    key = _key_at(lines[0])
    if isinstance(key, str):
        raise MalformedInput(f"expected a public key, such as ssh-ed25519 AAAA… comment: {key}")
    if not key.comment.isprintable():
        raise MalformedInput(f"the comment {key.comment[:80]!r} has control characters")
    return key


def _quoted(name: str, value: str) -> str:
    # sshd takes \" for a quote and leaves every other backslash: one at the end of a value, or
    # before a quote, would mean something else.
    if "\\" in value or not value.isprintable():
        raise MalformedInput(
            f"{name}= cannot hold {value[:80]!r}: backslashes and control characters are misread"
        )
    if len(value.encode()) > LONGEST_VALUE:
        raise MalformedInput(
            f"{name}= would be {len(value.encode())} bytes long: {LONGEST_VALUE} are possible"
        )
    return '"' + value.replace('"', '\\"') + '"'


def _options_length(text: str) -> int:
    """Where the options end: at the first blank that is not between quotes."""
    quoted = False
    for found in re.finditer(r'\\"|["\t ]', text):
        if found[0] == '"':
            quoted = not quoted
        elif found[0] in " \t" and not quoted:
            return found.start()
    if quoted:
        raise LineIgnored("a quote is not closed")
    return len(text)


def _parse_options(text: str) -> tuple[tuple[str, str | None], ...]:
    options: list[tuple[str, str | None]] = []
    position = 0
    while position < len(text):
        if text[position] == ",":  # one too many is nothing to sshd
            position += 1
            continue
        found = _OPTION.match(text, position)
        if found is None:
            raise LineIgnored(f"expected an option, not {text[position : position + 20]!r}")
        options.append(_option(found[1], found[2], seen={name for name, _ in options}))
        position = found.end()
        if text[position : position + 1] not in ("", ","):
            raise LineIgnored(f"expected a comma after {found[1]}, not {text[position]!r}")
    names = {name for name, _ in options}
    if "principals" in names and "cert-authority" not in names:
        raise LineIgnored("principals= is for certificates: it needs cert-authority")
    return tuple(options)


def _option(written: str, raw: str | None, *, seen: Iterable[str]) -> tuple[str, str | None]:
    name = written.lower()
    if raw is None:
        if name in _FLAGS or name.removeprefix("no-") in _NEGATABLE:
            return name, None
        raise LineIgnored(f"{written} needs a value" if name in _VALUED else _unknown(written))
    if name not in _VALUED:
        raise LineIgnored(f"{written} takes no value" if name in _FLAGS else _unknown(written))
    if not raw.startswith('"'):
        raise LineIgnored(f"the value of {written}= must be in double quotes")
    value = raw[1:-1].replace('\\"', '"')
    if name in _ONCE and name in seen:
        raise LineIgnored(f"{written}= is given twice")
    if name == "environment" and not re.match(r"[A-Za-z0-9_]+=", value):
        raise LineIgnored(f"environment= needs NAME=VALUE, not {value[:40]!r}")
    if name == "expiry-time" and not re.fullmatch(r"[0-9]{8}([0-9]{4}([0-9]{2})?)?Z?", value):
        raise LineIgnored(f"expiry-time= needs YYYYMMDD or YYYYMMDDHHMM, not {value[:40]!r}")
    return name, value


def _unknown(name: str) -> str:
    return f"unknown option {name!r}"


def _key_at(text: str) -> PublicKey | str:
    """Read what should be a key and its comment; returns why it isn't one.

    cryptography reads the key; of a security key it wants an application that begins with "ssh:",
    as all have that ssh-keygen(1) makes. Ours are the type, the comment, which it drops, and base64
    as strict as sshd's, since it skips characters that don't belong there.
    """
    kind, data, comment = (*re.split(r"[ \t]+", text, maxsplit=2), "", "")[:3]
    if kind not in _KEY_TYPES:
        return f"unknown key type {kind[:40]!r}" if kind else "there is no key"
    try:
        decoded = base64.b64decode(data, validate=True)
    except ValueError:
        decoded = b""
    # What decodes to the same bytes in more than one way is refused by sshd.
    if not decoded or base64.b64encode(decoded).decode("ascii") != data:
        return f"what follows {kind} is not a key in base64"
    try:
        load_ssh_public_key(f"{kind} {data}".encode("ascii"))
    except (ValueError, UnsupportedAlgorithm, NotImplementedError):  # the last: compressed points
        return f"what follows {kind} is damaged, or a key of another type"
    return PublicKey(kind, decoded, comment.rstrip())
