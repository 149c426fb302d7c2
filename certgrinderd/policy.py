"""May this client have these names? Decided on plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certgrinderd.errors import MalformedInput, NotPermitted
from certgrinderd.pki.names import Identifier, MalformedName, RequestedNames

# Where a client's domainsets are, set by its line of authorized_keys.
DOMAINSETS_VARIABLE = "CERTGRINDERD_DOMAINSETS"
# As many as Let's Encrypt puts into one certificate.
MAX_NAMES = 100
_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Domainsets:
    """What a client may have: any names that stand together in one of the sets.

    Attributes:
        sets: Each set's names, none of them empty.
        ignored: Why parts of the text permit nothing, a line each; to be logged.
    """

    sets: tuple[frozenset[Identifier], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[Identifier]:
        """All names of all sets."""
        return frozenset().union(*self.sets)

    def __str__(self) -> str:
        return ";".join(_listed(names) for names in self.sets)


def parse_domainsets(text: str) -> Domainsets:
    """Read "example.net;example.com,www.example.com".

    Sets are separated by semicolons, the names of a set by commas; an IP address is written
    "ip:192.0.2.1" or "ip:2001:db8::1". White space around names, empty
    names and empty sets are passed over. A name that is none permits nothing and is reported; it
    takes nothing away from the names next to it.

    Args:
        text: The admin's text; any string is read.
    """
    sets = []
    ignored = []
    for part in text.split(";"):
        names = set()
        for word in (word.strip() for word in part.split(",")):
            if not word:
                continue
            try:
                names.add(Identifier.parse(word))
            except MalformedName as error:
                ignored.append(f"in the domainsets: {error}; it permits nothing")
        if names:
            sets.append(frozenset(names))
    return Domainsets(tuple(sets), tuple(ignored))


def joined_domainsets(lines: str) -> str:
    """Return what parse_domainsets reads, from a text with a domainset on each line."""
    # Not splitlines(): what follows a form feed or U+2028 in a comment is a comment too.
    sets = (line.strip() for line in lines.split("\n"))
    return ";".join(line for line in sets if line and not line.startswith("#"))


def require_well_formed(requested: RequestedNames, *, max_names: int = MAX_NAMES) -> None:
    """Require exactly one CN that is one of the subject alternative names.

    What the names look like was checked when they became an Identifier.

    Args:
        requested: The names.
        max_names: The most of them, duplicates not counted.

    Raises:
        MalformedInput: It is not so.
    """
    if not requested.subject_alternative_names:
        raise MalformedInput("the CSR has no subject alternative name: put every name there")
    if len(requested.names) > max_names:
        raise MalformedInput(
            f"the CSR asks for {len(requested.names)} names: {max_names} are allowed"
        )
    addresses = [name.value for name in requested.names if name.kind == "ip"]
    if len(addresses) == len(requested.names) and not requested.common_names:
        return  # a CN holds a domain name, as a rule
    if len(requested.common_names) != 1:
        found = ", ".join(repr(name) for name in requested.common_names) or "none"
        raise MalformedInput(f"the CSR must have exactly one CN; it has {found}")
    (common_name,) = requested.common_names
    if common_name in addresses:
        return
    try:
        name = Identifier.parse_dns(common_name)
    except MalformedName as error:
        raise MalformedInput(f"the CN of the CSR: {error}") from error
    if name not in requested.subject_alternative_names:
        raise MalformedInput(
            f"the CN {name} is not among the subject alternative names: add it there"
        )


def require_permitted(
    requested: RequestedNames, domainsets: Domainsets, *, max_names: int = MAX_NAMES
) -> frozenset[Identifier]:
    """Require that one domainset has all the names, and return that set.

    A wildcard is a name like any other: it is permitted where it stands in the set itself.

    Raises:
        MalformedInput: See require_well_formed.
        NotPermitted: No set has all of them.
    """
    require_well_formed(requested, max_names=max_names)
    return require_names(requested.subject_alternative_names, domainsets)


def require_names(names: Iterable[Identifier], domainsets: Domainsets) -> frozenset[Identifier]:
    """Require that one domainset has all of some names, and return that set.

    Args:
        names: At least one: of nothing at all, nobody can say whose it is.
        domainsets: What the client may have.

    Raises:
        MalformedInput: There is no name.
        NotPermitted: No set has all of them.
    """
    wanted = frozenset(names)
    if not wanted:
        raise MalformedInput("there is no name that could be permitted")
    for permitted in domainsets.sets:
        if wanted <= permitted:
            return permitted
    if not domainsets.sets:
        raise NotPermitted(
            f"this client has no domainsets, so it may not have {_some(wanted)}",
            missing=tuple(map(str, sorted(wanted))),
        )
    nearest = max(domainsets.sets, key=lambda names: (len(wanted & names), -len(names)))
    missing = wanted - nearest
    message = f"this client may not have {_some(missing)}"
    if missing <= domainsets.names:
        message += (
            f" together with {_some(wanted & nearest)}: all names of a certificate must be in "
            "one domainset"
        )
    elif any(name.is_wildcard for name in missing):
        message += ": a wildcard must be listed in a domainset itself"
    if not wanted & nearest:
        nearest = frozenset()
    raise NotPermitted(
        message,
        missing=tuple(map(str, sorted(missing))),
        nearest=tuple(map(str, sorted(nearest))),
    )


def _some(names: Iterable[Identifier]) -> str:
    """List names for a message; of many, the first ones."""
    shown = sorted(names)
    more = len(shown) - _NAMES_SHOWN
    return _listed(shown[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _listed(names: Iterable[Identifier]) -> str:
    return ",".join(map(str, sorted(names)))
