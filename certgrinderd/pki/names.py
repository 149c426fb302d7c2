"""Names in one form only, so that equal names are equal values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

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
class DnsName:
    """A name as it stands in a certificate: a domain name, made by `parse`, or an IP address.

    Attributes:
        ascii: A-labels in lower case, without a trailing dot: "xn--plse-gra.example" or
            "*.example.com". For an IP address "ip:192.0.2.1", which no domain name can be.
    """

    ascii: str

    def __lt__(self, other: DnsName) -> bool:
        return self.ascii < other.ascii

    @classmethod
    def of_address(cls, address: IPv4Address | IPv6Address) -> DnsName:
        """Name an IP address (RFC 8738)."""
        return cls(f"{_ADDRESS}{address.compressed}")

    @classmethod
    def parse_permitted(cls, text: str) -> DnsName:
        """Read a name of a domainset: like `parse`, and "ip:192.0.2.1" or "ip:2001:db8::1" too.

        Raises:
            MalformedName: It is no such name.
        """
        if text[: len(_ADDRESS)].lower() != _ADDRESS:
            return cls.parse(text)
        try:
            address = ip_address(text[len(_ADDRESS) :])
        except ValueError:
            raise MalformedName(f"{quoted(text)} is not an IP address") from None
        if getattr(address, "scope_id", None) is not None:
            raise MalformedName(f"{quoted(text)} has a zone, which no certificate can name")
        return cls.of_address(address)

    @property
    def address(self) -> str | None:
        """The IP address, or None for a domain name."""
        return self.ascii[len(_ADDRESS) :] if self.ascii.startswith(_ADDRESS) else None

    @classmethod
    def parse(cls, text: str) -> DnsName:
        """Read a name in ASCII or Unicode form, in any case.

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
        return cls(name)

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all names one level below another."""
        return self.ascii.startswith("*.")

    @property
    def unicode(self) -> str:
        """The name as people write it: "pølse.example"."""
        if "xn--" not in self.ascii:
            return self.ascii
        import idna

        prefix, rest = ("*.", self.ascii[2:]) if self.is_wildcard else ("", self.ascii)
        return prefix + idna.decode(rest)

    @property
    def for_people(self) -> str:
        """Both forms where they differ: "xn--plse-gra.example (pølse.example)"."""
        return self.ascii if self.ascii == self.unicode else f"{self.ascii} ({self.unicode})"

    def __str__(self) -> str:
        return self.ascii


def _to_ascii(text: str, *, shown: str) -> str:
    lowered = text.lower() if text.isascii() else text
    if lowered.isascii() and "xn--" not in lowered:
        return lowered
    import idna

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
    subject_alternative_names: tuple[DnsName, ...]

    @property
    def names(self) -> tuple[DnsName, ...]:
        """Each name once, in the order of the request."""
        return tuple(dict.fromkeys(self.subject_alternative_names))
