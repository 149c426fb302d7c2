"""The folders and files of an installation: paths, owners, modes and contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from certgrinderd.settings.table import OPTIONS
from certgrinderd.setup.clients import sshd

USER = "certgrinderd"
PROGRAM = "/usr/local/bin/certgrinderd.pyz"
HOOKS = "/usr/local/bin/hooks"
SHARE = "/usr/local/share/certgrinderd"
RECEIPT = f"{SHARE}/installed"
CONF_DIST = f"{SHARE}/certgrinderd.conf.dist"
ETC = "/etc/certgrinderd"
CONFIGURATION = f"{ETC}/certgrinderd.conf"
AUTHORIZED_KEYS = f"{ETC}/authorized_keys"
HOME = "/var/lib/certgrinderd"
CACHE = "/var/cache/certgrinderd"
# 00-: of several values the first one that sshd reads is in force.
SSHD = "/etc/ssh/sshd_config.d/00-certgrinderd.conf"
# Where older versions of install wrote it.
FORMER_SSHD = "/etc/ssh/sshd_config.d/10-certgrinderd.conf"
SUDOERS = "/etc/sudoers.d/certgrinderd"

# A real shell: sshd runs the forced command by it. A password that fits nothing: of those that
# don't, sshd without PAM takes the ones with ! for a locked account.
USERADD = (
    *("useradd", "--system", "--user-group", "--shell", "/bin/sh", "--password", "*"),
    *("--home-dir", HOME, "--no-create-home", USER),
)

_SSHD_TEXT = f"""\
# Written by certgrinderd.pyz install. docs/ssh.md gives the reasons.
# For lines with environment=. Never "yes", which would let a line set LD_PRELOAD.
PermitUserEnvironment CERTGRINDERD_DOMAINSETS

Match User {USER}
    AuthorizedKeysFile {AUTHORIZED_KEYS}
    AuthenticationMethods publickey
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    DisableForwarding yes
    PermitTTY no
    PermitUserRC no
    ExposeAuthInfo yes
"""
_KEYS_TEXT = f"""\
# A line for each client, which certgrinderd.pyz show authorized-keys makes.
# Check them with: certgrinderd.pyz check authorized-keys {AUTHORIZED_KEYS}
"""


@dataclass(frozen=True)
class Folder:
    """A folder that an installation needs.

    Attributes:
        path: Where.
        owner: The user that it belongs to, with that user's group.
        mode: Its permissions.
        is_cache: Whether its contents can be recreated.
    """

    path: str
    owner: str = "root"
    mode: int = 0o755
    is_cache: bool = False

    def __str__(self) -> str:
        return f"the folder {self.path} ({self.owner}, {self.mode:04o})"


@dataclass(frozen=True)
class File:
    """A file of root's that an installation needs.

    Attributes:
        path: Where.
        content: What is in it.
        mode: Its permissions.
        is_admins: Whether admins edit it; then it is written once and never replaced.
        former: The path that an older version wrote it to.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    is_admins: bool = False
    former: str | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.mode:04o})"


def is_own(path: str) -> bool:
    """Whether only certgrinderd uses a path; other folders, such as man8, are shared."""
    return path.startswith((CACHE, ETC, HOME, HOOKS, SHARE))


def folders() -> tuple[Folder, ...]:
    """Return all folders, each after its parent.

    /usr/local/bin and /usr/local/share are there (FHS 4.9.2).
    """
    paths = (
        *(HOOKS, SHARE),
        *("/usr/local/share/man", "/usr/local/share/man/man8"),
        "/usr/local/share/bash-completion",
        "/usr/local/share/bash-completion/completions",
        *("/usr/local/share/zsh", "/usr/local/share/zsh/site-functions"),
        # The home as well: whoever can write to its .ssh can let anybody in.
        *(ETC, HOME),
    )
    return (
        *map(Folder, paths),
        Folder(f"{HOME}/.cache", USER, 0o700, is_cache=True),
        Folder(f"{HOME}/certbot", USER, 0o700),
    )


def files(inside: Mapping[str, bytes], program: bytes) -> tuple[File, ...]:
    """Return all files except those of sshd and sudo.

    Args:
        inside: Content by name, of the files that the program brings along.
        program: The program itself; it is written last.
    """
    dist = inside["certgrinderd.conf.dist"]
    hooks = [name for name in inside if name.endswith(".sh")]
    return (
        *(File(f"{HOOKS}/{name}", inside[name], 0o755) for name in sorted(hooks)),
        File("/usr/local/share/man/man8/certgrinderd.8", inside["certgrinderd.8"]),
        File(
            "/usr/local/share/bash-completion/completions/certgrinderd.pyz",
            inside["certgrinderd.bash"],
        ),
        File("/usr/local/share/zsh/site-functions/_certgrinderd", inside["_certgrinderd"]),
        File(CONF_DIST, dist),
        File(CONFIGURATION, first_configuration(dist.decode()).encode(), is_admins=True),
        File(AUTHORIZED_KEYS, _KEYS_TEXT.encode(), is_admins=True),
        File(PROGRAM, program, 0o755),
    )


def sshd_file() -> File:
    """Return the settings of sshd for the user that clients log in as."""
    return File(SSHD, sshd.render(USER, AUTHORIZED_KEYS).encode(), former=FORMER_SSHD)


def sudoers_file(rule: str) -> File:
    """Return the file with a rule for sudo."""
    return File(SUDOERS, rule.encode(), 0o440)


def first_configuration(conf_dist: str) -> str:
    """Return the example of a configuration with what an installation needs filled in."""
    values = {"certbot-command": "builtin"}
    for name in ("config", "work", "logs"):
        values[f"certbot-{name}-dir"] = f"{HOME}/certbot/{name}"
    for name, value in values.items():
        pattern = re.compile(rf"^#{name}:.*$", re.MULTILINE)
        conf_dist, found = pattern.subn(f"{name}: {value}", conf_dist)
        if found != 1:
            raise ValueError(f"certgrinderd.conf.dist must have the line #{name}: once")
    return conf_dist


def unmentioned(configuration: str) -> list[str]:
    """Return the options that a configuration file doesn't mention, not even in a comment."""
    mentioned = set(re.findall(r"^\s*#?\s*([a-z][a-z-]*)\s*:", configuration, re.MULTILINE))
    return sorted(o.name for o in OPTIONS.values() if o.in_file and o.name not in mentioned)
