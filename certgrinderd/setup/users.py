"""The names of users that an admin gives."""

from __future__ import annotations

import re

from certgrinderd.errors import UsageError


def require_user(name: str) -> str:
    """Return a user's name that means nothing else to sudoers and sshd_config.

    Raises:
        UsageError: It is no such name.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name, re.ASCII) or name == "ALL":
        raise UsageError(f"{name!r} is not the name of a user")
    return name
