"""One option: its name, what it may be, and who may set it."""

from __future__ import annotations

from certgrinderd.errors import ConfigurationError
from certgrinderd.kinds import FLAG, SECRET, Kind, Value
from certgrinderd.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Option(Record):
    """One option, wherever it is given.

    Attributes:
        name: As on the command line without the dashes, and as a key of the configuration file.
        help: What it does, in one or more sentences; the default is added where it is shown.
        default: The value when nobody says anything.
        kind: What the value may be.
        short: The short forms, with their dash.
        client_may_set: Whether a client's command line may hold it; no unless said so.
        in_file: Whether the configuration file may hold it.
    """

    name: str
    help: str
    default: Value
    kind: Kind
    short: tuple[str, ...] = ()
    client_may_set: bool = False
    in_file: bool = True

    @property
    def flags(self) -> tuple[str, ...]:
        """The words that name it on a command line, short ones first."""
        return (*self.short, f"--{self.name}")

    @property
    def is_switch(self) -> bool:
        """Whether it stands alone on the command line, without a value."""
        return self.kind is FLAG

    @property
    def is_secret(self) -> bool:
        """Whether nobody should see its value."""
        return self.kind is SECRET

    @property
    def default_text(self) -> str:
        """The default as people read it."""
        if self.default in (None, ()):
            return "none"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return str(self.default)

    def parse(self, value: object, *, named: str) -> Value:
        """Read a value.

        Args:
            value: A word of a command line or a value from YAML; None means "not set".
            named: How the one who gave it calls it: "--lock-timeout", "FILE: lock-timeout".

        Raises:
            ConfigurationError: It is no such value.
        """
        if value is None:
            return self.default
        try:
            return self.kind.parse(value)
        except ValueError as error:
            shown = repr(value) if len(repr(value)) <= 80 else repr(value)[:80] + "…"  # noqa: PLR2004
            reason = f" ({error})" if str(error) else ""
            raise ConfigurationError(
                f"{named}: expected {self.kind.expects}, not {shown}{reason}"
            ) from error


class _Entry:
    """What stands in the class Settings for an option, where it reads as the default."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __get__(self, instance: object, owner: type) -> Value:
        default: Value = self.facts["default"]
        return default


def option(
    help: str,  # noqa: A002 - argparse's word for it
    default: Value,
    kind: Kind,
    short: tuple[str, ...] = (),
    *,
    client_may_set: bool = False,
    in_file: bool = True,
) -> Any:  # noqa: ANN401 - as dataclasses.field()
    """Describe an attribute of Settings, which is an option: see Option."""
    return _Entry(
        {
            "help": help,
            "default": default,
            "kind": kind,
            "short": short,
            "client_may_set": client_may_set,
            "in_file": in_file,
        }
    )


def options_of(settings: type) -> dict[str, Option]:
    """Return the options that a class has as attributes, by their names."""
    return {
        name: Option(name=name, **entry.facts)
        for attribute, entry in vars(settings).items()
        if isinstance(entry, _Entry)
        for name in (attribute.replace("_", "-"),)
    }
