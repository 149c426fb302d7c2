"""sshd's settings for the clients' user: those that there should be, and those in force."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping

from certgrinderd.policy import DOMAINSETS_VARIABLE

# What a client must not be able to send: its policy, where our program and hooks look for things,
# what makes programs run other code, and whom they trust.
_NEVER_ACCEPTED = (
    *(DOMAINSETS_VARIABLE, "CERTGRINDERD_CACHE", "CERTGRINDERD_HOOKS_CONF"),
    *("BASH_ENV", "ENV", "HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "PYTHONPATH"),
    *("HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
)

_HEAD = """\
# Printed by certgrinderd.pyz show sshd-config; docs/ssh.md gives the reasons.
"""
_FOR_ALL = f"""\
# For lines with environment=. Never "yes", which would let a line set LD_PRELOAD.
PermitUserEnvironment {DOMAINSETS_VARIABLE}
"""
_FOR_USER = """
Match User {user}
    AuthorizedKeysFile {keys_file}
    AuthenticationMethods publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
    ExposeAuthInfo yes
"""

Settings = Mapping[str, list[str]]


def render(user: str, keys_file: str, *, environment: bool = True) -> str:
    """Write the settings that there should be, as a file for sshd_config.d.

    Args:
        user: Whom clients log in as.
        keys_file: The file with their lines.
        environment: Whether lines may have environment=; that setting is for the whole server.
    """
    for_user = _FOR_USER.format(user=user, keys_file=keys_file)
    return f"{_HEAD}{_FOR_ALL if environment else ''}{for_user}"


def question(user: str) -> tuple[str, ...]:
    """Return the command that prints sshd's settings for a user."""
    return ("sshd", "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1")


def parse(effective: str) -> Settings:
    """Read what `sshd -T -C user=…` prints: names in lower case, each with its values."""
    settings: dict[str, list[str]] = {}
    for line in effective.splitlines():
        name, _, value = line.partition(" ")
        settings.setdefault(name.lower(), []).append(value)
    return settings


def keys_files(settings: Settings, *, user: str, home: str, uid: int) -> list[str]:
    """Return the paths of the files that hold the user's keys: AuthorizedKeysFile, expanded."""
    tokens = {"%%": "%", "%h": home, "%u": user, "%U": str(uid)}
    found = []
    for pattern in settings.get("authorizedkeysfile", [""])[0].split():
        if pattern.lower() == "none":
            continue
        path = re.sub("%.", lambda token: tokens.get(token[0], token[0]), pattern)
        found.append(path if path.startswith("/") else f"{home}/{path}")
    return found


def takes_environment(settings: Settings) -> bool:
    """Whether sshd accepts environment=, and ~/.ssh/environment, which overrides it."""
    permitted = settings.get("permituserenvironment", ["no"])[0]
    return permitted.lower() == "yes" or _matches(DOMAINSETS_VARIABLE, permitted.split(","))


def reasons(settings: Settings, needs_environment: int | None) -> Iterator[str]:
    """Say what is wrong with the settings, one by one.

    Args:
        settings: Those for the user that clients log in as.
        needs_environment: See findings.Report.
    """
    permitted = settings.get("permituserenvironment", ["no"])[0]
    if permitted.lower() == "yes":
        yield (
            "PermitUserEnvironment is yes, so that lines and ~/.ssh/environment may set any "
            f"variable: set it to {DOMAINSETS_VARIABLE}"
        )
    elif needs_environment is not None and not takes_environment(settings):
        yield (
            f"line {needs_environment} uses environment=, which sshd ignores since "
            f"PermitUserEnvironment is {permitted}: set it to {DOMAINSETS_VARIABLE}"
        )
    for value in settings.get("setenv", []):
        if value.startswith(f"{DOMAINSETS_VARIABLE}="):
            yield f"SetEnv {DOMAINSETS_VARIABLE} gives all clients the same domainsets"
    accepted = [pattern for value in settings.get("acceptenv", []) for pattern in value.split()]
    too_many = [name for name in _NEVER_ACCEPTED if _matches(name, accepted)]
    if too_many:
        yield f"AcceptEnv lets clients set {', '.join(too_many)}"
    command = settings.get("forcecommand", ["none"])[0]
    if command.lower() != "none":
        yield "ForceCommand overrides each line's command="


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
