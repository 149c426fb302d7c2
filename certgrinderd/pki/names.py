"""Names in one form only, so that equal names are equal values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from certgrinderd.errors import MalformedInput
from certgrinderd.text import cut, printable, quoted

LONGEST_NAME = 253
LONGEST_LABEL = 63

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_IPV4_LIKE = re.compile(r"([0-9]+|0x[0-9a-f]*)", re.ASCII)


class MalformedName(MalformedInput):
    """Not a name that a public CA could certify."""


_ADDRESS = "ip:"


@dataclass(frozen=True)
class Identifier:
    """What a certificate is for (RFC 8555 section 7.1.4, RFC 8738): a domain name or an IP address.

    Made by parse, parse_dns or of_address, which normalise: equal names are equal values. As text
    it is written as in a domainset: "www.example.com", "*.example.com", "ip:192.0.2.1".

    Attributes:
        kind: Its type in the ACME protocol.
        value: A domain name in A-labels, in lower case, without a trailing dot
            ("xn--plse-gra.example", "*.example.com"); or an address in its shortest form.
    """

    kind: Literal["dns", "ip"]
    value: str

    def __str__(self) -> str:
        return self.value if self.kind == "dns" else f"{_ADDRESS}{self.value}"

    def __lt__(self, other: Identifier) -> bool:
        return str(self) < str(other)

    @classmethod
    def of_address(cls, address: IPv4Address | IPv6Address) -> Identifier:
        """Name an IP address."""
        return cls("ip", address.compressed)

    @classmethod
    def parse(cls, text: str) -> Identifier:
        """Read a name of a domainset: like parse_dns, and "ip:192.0.2.1" or "ip:2001:db8::1" too.

        Raises:
            MalformedName: It is no such name.
        """
        if text[: len(_ADDRESS)].lower() != _ADDRESS:
            return cls.parse_dns(text)
        try:
            address = ip_address(text[len(_ADDRESS) :])
        except ValueError:
            raise MalformedName(f"{quoted(text)} is not an IP address") from None
        if getattr(address, "scope_id", None) is not None:
            raise MalformedName(f"{quoted(text)} has a zone, which no certificate can name")
        return cls.of_address(address)

    @classmethod
    def parse_dns(cls, text: str) -> Identifier:
        """Read a domain name in ASCII or Unicode form, in any case.

        Labels are letters, digits and hyphens (RFC 1123 section 2.1; the CA/Browser Forum baseline
        requirements, 7.1.4.2.1, allow no underscore); other letters go through UTS #46,
        non-transitional, and IDNA 2008 (RFC 5891). A wildcard is "*" alone as the first label
        (RFC 6125 section 6.4.3).

        Args:
            text: The name, with nothing around it.

        Raises:
            MalformedName: It is not such a name; the message says why.
        """
        wildcard, rest = (True, text[2:]) if text.startswith("*.") else (False, text)
        name = _to_ascii(rest, shown=text)
        _require_host_name(name, shown=text)
        name = f"*.{name}" if wildcard else name
        if len(name) > LONGEST_NAME:
            raise MalformedName(f"{quoted(text)} is longer than {LONGEST_NAME} characters")
        return cls("dns", name)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all names one level below another."""
        return self.value.startswith("*.")

    @property
    def without_wildcard(self) -> str:
        """The value without "*.": what is proved to the CA, and what an authorization is for."""
        return self.value.removeprefix("*.")

    @property
    def unicode(self) -> str:
        """The name as people write it: "pølse.example"."""
        if "xn--" not in self.value:
            return str(self)
        import idna  # as in _to_ascii

        return f"{'*.' if self.is_wildcard else ''}{idna.decode(self.without_wildcard)}"

    @property
    def for_people(self) -> str:
        """Both forms where they differ: "xn--plse-gra.example (pølse.example)"."""
        return str(self) if str(self) == self.unicode else f"{self} ({self.unicode})"


def _to_ascii(text: str, *, shown: str) -> str:
    lowered = text.lower() if text.isascii() else text
    if lowered.isascii() and "xn--" not in lowered:
        return lowered
    import idna  # its tables take 9 ms, and hardly any request needs them

    if len(text) > LONGEST_NAME:  # before work that grows with the length
        raise MalformedName(f"a name of {len(text)} characters: {LONGEST_NAME} are allowed")
    try:
        name = idna.encode(lowered, uts46=True, std3_rules=True).decode("ascii")
        # An A-label goes through encode() as it is; decode() looks at what it stands for.
        idna.decode(name)
    except (idna.IDNAError, UnicodeError) as error:
        reason = cut(printable(str(error)), longest=120)  # it may quote all of the name
        raise MalformedName(f"{quoted(shown)} is not valid under IDNA 2008: {reason}") from error
    return name


def _require_host_name(name: str, *, shown: str) -> None:
    if not name:
        raise MalformedName("a name is empty" if not shown else f"{quoted(shown)} has no name")
    shown = quoted(shown)
    if name.endswith("."):
        raise MalformedName(f"{shown} ends with a dot: leave it out")
    labels = name.split(".")
    for label in labels:
        if not label:
            raise MalformedName(f"{shown} has an empty label")
        if len(label) > LONGEST_LABEL:
            raise MalformedName(f"{shown} has a label longer than {LONGEST_LABEL} characters")
        if not _LABEL.fullmatch(label):
            reason = "letters, digits and inner hyphens make a label"
            if "*" in label:
                reason = 'a wildcard is "*." before a name and nowhere else'
            raise MalformedName(f"{shown} is not a host name: {reason}")
        # Only A-labels may look like this (RFC 5890 section 2.3.1; baseline requirements, P-Label).
        if label[2:4] == "--" and not label.startswith("xn--"):
            raise MalformedName(f"{shown} has the reserved label {label!r}")
    if _IPV4_LIKE.fullmatch(labels[-1]):
        raise MalformedName(f"{shown} ends with a number: it is an address or no name at all")


@dataclass(frozen=True)
class RequestedNames:
    """What a CSR asks for, as plain values.

    Attributes:
        common_names: The values of all commonName attributes of the subject, as they stand there.
        subject_alternative_names: The names, in their order, duplicates included.
    """

    common_names: tuple[str, ...]
    subject_alternative_names: tuple[Identifier, ...]

    @property
    def names(self) -> tuple[Identifier, ...]:
        """Each name once, in the order of the request."""
        return tuple(dict.fromkeys(self.subject_alternative_names))
