"""The output of `show configuration`: all settings for an admin, a few facts for a client."""

from __future__ import annotations

from collections.abc import Iterable

from certgrinderd import __version__
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.sources import Configuration
from certgrinderd.settings.table import OPTIONS, Settings
from certgrinderd.text import MASK, masked


def for_admin(configuration: Configuration, *, engine: str) -> str:
    """Return a configuration file in YAML, with a comment on the origin of each value.

    Args:
        configuration: The settings in force and their sources.
        engine: The engine in force and the reason, for people.
    """
    settings = configuration.settings
    lines = [
        f"# certgrinderd {__version__}",
        f"# Certificates come through {engine}.",
    ]
    for name, value in settings.values().items():
        shown = MASK if OPTIONS[name].is_secret and value is not None else value
        line = f"{name}: {_yaml(shown)}"
        if not OPTIONS[name].in_file:
            line = f"# {line}"
        lines.append(f"{line}  # {configuration.origins[name]}")
    return "\n".join(lines) + "\n"


def for_client(
    settings: Settings, *, domainsets: Iterable[str], challenges: Iterable[str] | None
) -> str:
    """Return YAML for a client, without command lines, paths or secrets.

    Args:
        settings: The settings in force.
        domainsets: The client's domainsets, each with its names separated by commas.
        challenges: The enabled challenges; None if only the ACME side's user knows them.
    """
    facts: dict[str, Value] = {"version": __version__, "acme-server-url": settings.acme_server_url}
    if challenges is not None:
        facts["challenges"] = tuple(challenges)
    facts |= {
        "domainsets": tuple(domainsets),
        "max-names": settings.max_names,
        "max-input-size": settings.max_input_size,
        "input-timeout": settings.input_timeout,
        "lock-timeout": settings.lock_timeout,
        "issuance-timeout": settings.issuance_timeout,
    }
    return "".join(f"{name}: {_yaml(value)}\n" for name, value in facts.items())


def _yaml(value: Value) -> str:
    import yaml

    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, str):
        plain = masked(plain)
    text = yaml.safe_dump(
        plain, default_flow_style=True, width=float("inf"), allow_unicode=True, explicit_end=False
    )
    return text.removesuffix("\n").removesuffix("\n...")
