"""The sources of settings - a YAML text, a command line, a caller - and how they are merged."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.table import LETS_ENCRYPT_STAGING, OPTIONS, Option, Settings


@dataclass(frozen=True)
class Source:
    """Option values that come from one place.

    Attributes:
        name: Its name in `show configuration`: "command line".
        values: Option names and parsed values.
    """

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True)
class Configuration:
    """The settings in force and their sources.

    Attributes:
        settings: The values.
        origins: For each option the name of its source, or "default".
        syslog_level: The lowest level for syslog, if it differs from that for standard error.
    """

    settings: Settings
    origins: Mapping[str, str]
    syslog_level: str | None = None


def merge(*sources: Source) -> Configuration:
    """Merge sources: later ones override earlier ones, and all of them the defaults."""
    merged = Configuration(Settings(), dict.fromkeys(OPTIONS, "default"))
    for source in sources:
        merged = override(merged, source)
    return merged


def override(configuration: Configuration, source: Source) -> Configuration:
    """Override a configuration by a source.

    `staging` and `debug` stand for values of `acme-server-url` and `log-level`: within one source
    they win, and a later source's URL or level overrides them. The fallback server belongs to the
    URL that it was set with, and is dropped when another source sets another URL.
    """
    values = configuration.settings.values()
    given = dict(source.values)
    for switch, target, meaning in (
        ("staging", "acme-server-url", LETS_ENCRYPT_STAGING),
        ("debug", "log-level", "DEBUG"),
    ):
        if given.get(switch):
            given[target] = meaning
        elif target in given and values[switch]:
            given[switch] = False
    url, fallback = values["acme-server-url"], values["acme-fallback-server-url"]
    if fallback is not None and given.get("acme-server-url", url) != url:
        given.setdefault("acme-fallback-server-url", None)
    return Configuration(
        Settings.from_values({**values, **given}),
        {**configuration.origins, **dict.fromkeys(given, source.name)},
    )


def option_named(name: object, *, where: str) -> Option:
    """Return an option by its name.

    Args:
        name: The name as given.
        where: Where it was given, for the message: "FILE".

    Raises:
        ConfigurationError: There is no such option; the message suggests the nearest one.
    """
    if isinstance(name, str) and name in OPTIONS:
        return OPTIONS[name]
    near = difflib.get_close_matches(str(name).replace("_", "-").lower(), OPTIONS, n=1)
    hint = f": did you mean {near[0]!r}?" if near else ""
    raise ConfigurationError(f"{where}: there is no option {str(name)[:80]!r}{hint}")


def from_mapping(given: Mapping[str, object], *, name: str) -> Source:
    """Read the values of a Python caller.

    Raises:
        ConfigurationError: An unknown name or a value of the wrong kind.
    """
    return Source(
        name,
        {
            option.name: option.parse(value, label=f"{name}: {option.name}")
            for key, value in given.items()
            for option in (option_named(key, where=name),)
        },
    )


def from_yaml(text: str, *, path: str) -> Source:
    """Read the text of a configuration file: a mapping of option names to values.

    Anchors and aliases are refused: the file needs none, and they can expand without end.

    Args:
        text: The whole file; it may be empty.
        path: Its name, for messages.

    Raises:
        ConfigurationError: It is invalid; the message names the file, and the line or the key.
    """
    values = {}
    for key, value, line in _yaml_items(text, path=path):
        where = f"{path}, line {line}"
        option = option_named(key, where=where)
        if not option.in_file:
            raise ConfigurationError(f"{where}: {option.name} belongs on the command line only")
        if option.name in values:
            raise ConfigurationError(f"{where}: {option.name} is set twice")
        values[option.name] = option.parse(value, label=f"{where}: {option.name}")
    return Source("configuration file", values)


def _yaml_items(text: str, *, path: str) -> Iterator[tuple[object, object, int]]:
    """Each key with its value and line number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            if getattr(event, "anchor", None) is not None:
                raise yaml.MarkedYAMLError(
                    problem="anchors (&) and aliases (*) are not allowed; quote text that has them",
                    problem_mark=event.start_mark,
                )
            return super().compose_node(parent, index)  # type: ignore[arg-type]

    loader = None
    try:
        loader = Loader(text)
        root = loader.get_single_node()
        if root is None or root.tag == "tag:yaml.org,2002:null":
            return
        if not isinstance(root, yaml.MappingNode):
            raise ConfigurationError(
                f"{path}: expected lines of the form 'option: value', not {_shape(root)}"
            )
        for key, value in root.value:
            yield (
                loader.construct_object(key, deep=True),
                loader.construct_object(value, deep=True),
                key.start_mark.line + 1,
            )
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        # A tag may be a secret that begins with "!".
        problem = re.sub("'[^']{4,}'", "'…'", str(error.problem))
        raise ConfigurationError(f"{path}{line}: not YAML: {problem}") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: not YAML: {reason}") from None
    except (ValueError, RecursionError):  # it may quote the value
        raise ConfigurationError(f"{path}: not YAML: a value is malformed or too deep") from None
    finally:
        if loader is not None:
            loader.dispose()


def _shape(node: object) -> str:
    return {"SequenceNode": "a list", "ScalarNode": "a single value"}[type(node).__name__]
