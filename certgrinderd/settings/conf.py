"""The documented `conf` of the class: the settings in force, seen as a dict."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings import sources
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.sources import Configuration
from certgrinderd.settings.table import OPTIONS
from certgrinderd.text import MASK


class Conf(MutableMapping[str, Value]):
    """Option names and values; each option is there, and an assigned value is checked.

    Attributes:
        configuration: What it shows; an assignment puts another one in its place.
    """

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration

    def __getitem__(self, name: str) -> Value:
        value: Value = getattr(self.configuration.settings, OPTIONS[name].attribute)
        return value

    def __setitem__(self, name: str, value: object) -> None:
        """Set an option as a line of the configuration file would; None is its default.

        Raises:
            ConfigurationError: There is no such option, or the value is invalid.
        """
        given = sources.from_mapping({name: value}, name="conf")
        self.configuration = sources.override(self.configuration, given)

    def __delitem__(self, name: str) -> None:
        raise ConfigurationError(f"conf: {name} cannot be removed: set it to None for its default")

    def __iter__(self) -> Iterator[str]:
        return iter(OPTIONS)

    def __len__(self) -> int:
        return len(OPTIONS)

    def __repr__(self) -> str:
        shown = {n: MASK if OPTIONS[n].is_secret and v is not None else v for n, v in self.items()}
        return f"{type(self).__name__}({shown!r})"
