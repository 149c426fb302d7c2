"""What root's Certbot reads, runs and writes to besides what its command line names."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import sys
from collections.abc import Iterator

from certgrinderd.settings.table import Settings
from certgrinderd.system import files

_LARGEST_INI = 1024 * 1024
# Where Certbot's folders are if nobody says otherwise: its misc.get_default_folder().
_DEFAULT_FOLDERS = (
    ("/etc/letsencrypt", "/var/lib/letsencrypt", "/var/log/letsencrypt")
    if sys.platform == "linux"
    else ("/usr/local/etc/letsencrypt", "/var/db/letsencrypt", "/var/log/letsencrypt")
)


def paths(settings: Settings) -> set[str]:
    """Return its folders, its files of settings, and the paths that these name.

    Folders hold accounts, which it writes to, and renewal-hooks/, which it may run: what is below
    them counts as well.

    Raises:
        ConfigurationError: A file of settings can't be read.
    """
    configured = (
        settings.certbot_config_dir,
        settings.certbot_work_dir,
        settings.certbot_logs_dir,
    )
    found = {own or default for own, default in zip(configured, _DEFAULT_FOLDERS, strict=True)}
    for ini in _ini_files():
        found |= {ini, *_named_in(ini)}
    return found


def _ini_files() -> Iterator[str]:
    """The files that Certbot reads whatever its folders are; sudo makes HOME root's."""
    home = pwd.getpwuid(0).pw_dir
    for folder in (_DEFAULT_FOLDERS[0], f"{home}/.config/letsencrypt"):
        yield f"{folder}/cli.ini"


def _named_in(ini: str) -> Iterator[str]:
    """Paths in a file of settings: hooks, which are command lines, and folders."""
    if not os.path.lexists(ini):
        return
    data = files.read_file(ini, limit=_LARGEST_INI, label="Certbot's settings")
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        words = line.replace("=", " ", 1).split()
        with contextlib.suppress(ValueError):  # quotes that don't fit: the words are still there
            words = shlex.split(line.replace("=", " ", 1), comments=True)
        yield from (word for word in words if word.startswith("/"))
