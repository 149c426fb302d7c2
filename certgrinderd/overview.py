"""What `show configuration` prints: everything to an admin, what concerns it to a client."""

from __future__ import annotations

from certgrinderd import __version__
from certgrinderd.config import OPTIONS, Settings
from certgrinderd.issuance import engines
from certgrinderd.issuance.attempts import challenges
from certgrinderd.kinds import Value
from certgrinderd.policy import Domainsets
from certgrinderd.sources import Configuration
from certgrinderd.text import MASK, masked


def for_admin(configuration: Configuration) -> str:
    """Return YAML that is a configuration file again, with a comment about each value's origin."""
    settings = configuration.settings
    lines = [
        f"# certgrinderd {__version__}",
        f"# Certificates come through {engines.chosen(settings).reason}.",
    ]
    for name, value in settings.values().items():
        shown = MASK if OPTIONS[name].is_secret and value is not None else value
        line = f"{name}: {_yaml(shown)}"
        if not OPTIONS[name].in_file:
            line = f"# {line}"
        lines.append(f"{line}  # {configuration.origins[name]}")
    return "\n".join(lines) + "\n"


def for_client(settings: Settings, domainsets: Domainsets) -> str:
    """Return YAML for a client: no command line, no path, no secret."""
    facts: dict[str, Value] = {"version": __version__, "acme-server-url": settings.acme_server_url}
    if settings.acme_client_command is None:  # else the other side alone knows them
        facts["challenges"] = tuple(str(challenge) for challenge in challenges(settings))
    facts |= {
        "domainsets": tuple(",".join(sorted(map(str, names))) for names in domainsets.sets),
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
