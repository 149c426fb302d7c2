"""The hook contract: which program is called, and with which environment.

What cleanup hooks do and when they run: docs/acme.md, "What the cleanup hook does".
"""

from __future__ import annotations

import enum
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings.table import Settings

# What hooks, and the programs that call them, get of our environment. Not what it happens to hold:
# where programs and homes are, how to reach and trust servers, and the settings of our own hooks.
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("CERTGRINDERD_HOOKS_CONF", "CERTGRINDERD_NSUPDATE", "CERTGRINDERD_NSUPDATE_KEY"),
    *("CERTGRINDERD_NSUPDATE_SERVER", "CERTGRINDERD_NSUPDATE_PORT"),
    *("CERTGRINDERD_NSUPDATE_TTL", "CERTGRINDERD_DNS_DELAY"),
)


class Challenge(enum.Enum):
    """A way to prove that a name is ours (RFC 8555 section 8), in the order they are tried."""

    DNS_01 = "dns"
    HTTP_01 = "http"

    def __str__(self) -> str:
        return f"{self.value.upper()}-01"

    @property
    def acme_type(self) -> str:
        """Its name in the protocol: "dns-01"."""
        return f"{self.value}-01"

    def place(self, settings: Settings) -> str | None:
        """The zone or folder that challenges go to; None when this way is disabled."""
        return settings.acme_zone if self is Challenge.DNS_01 else settings.web_root

    @property
    def variable(self) -> str:
        """The environment variable that tells hooks the place."""
        return "ACMEZONE" if self is Challenge.DNS_01 else "WEBROOT"


def environment(
    settings: Settings, challenge: Challenge | None, ours: Mapping[str, str]
) -> dict[str, str]:
    """Build the environment of certbot, and so of the hooks, up from what they need.

    Args:
        settings: For the zone or the web root.
        challenge: The one that is to be tried, if any.
        ours: Our own environment.
    """
    built = {name: ours[name] for name in _PASSED_ON if name in ours}
    built["LC_ALL"] = "C.UTF-8"
    if settings.acme_ca_file is not None:
        built["REQUESTS_CA_BUNDLE"] = settings.acme_ca_file
    if challenge is not None:
        built[challenge.variable] = challenge.place(settings) or ""
    return built


def hook_command(command: str, *, label: str) -> list[str]:
    """Find a hook, and return its program and its arguments.

    A hook named by a relative path is looked for in the folder hooks/ next to the program, then
    among those that came inside the program, then, if it is a bare name, in PATH.

    Args:
        command: The setting: a path or name, and arguments if the hook needs any.
        label: The setting's name, for messages.

    Raises:
        ConfigurationError: It isn't there, or can't be run.
    """
    program, *arguments = shlex.split(command)
    return [*_find(program, label=label), *arguments]


def _find(program: str, *, label: str) -> list[str]:
    if program.startswith("/"):
        return [_executable(Path(program), label=label)]
    installed = Path(os.path.realpath(sys.argv[0])).parent / "hooks" / program
    if installed.is_file():
        return [_executable(installed, label=label)]
    for folder in _shipped_folders():
        shipped = folder / program
        if shipped.is_file():
            # Unpacked from the one file it has no executable bit.
            return ["/bin/sh", str(shipped)]
    found = None if "/" in program else shutil.which(program)
    if found is None:
        raise ConfigurationError(
            f"{label}: {program} is neither in {installed.parent}, nor inside the program, "
            "nor in PATH: give its absolute path"
        )
    return [found]


def _shipped_folders() -> tuple[Path, Path]:
    """Inside the package, as it is installed, or in the checkout next to it."""
    package = Path(__file__).resolve().parent.parent
    return package / "hooks", package.parent / "hooks"


def _executable(path: Path, *, label: str) -> str:
    if not path.is_file():
        raise ConfigurationError(f"{label}: there is no file {path}")
    if not os.access(path, os.X_OK):
        raise ConfigurationError(f"{label}: {path} is not executable: chmod +x makes it so")
    return str(path)
