"""The commands for setting a server up that print text; `install` has its own room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from certgrinderd.settings.table import Settings
from certgrinderd.setup.clients.check import check_authorized_keys
from certgrinderd.setup.clients.show import show_authorized_keys, show_sshd_config
from certgrinderd.setup.sudo.command import show_sudoers

COMMANDS: Mapping[tuple[str, ...], Callable[[Settings, Mapping[str, Any]], str]] = {
    ("check", "authorized-keys"): check_authorized_keys,
    ("show", "authorized-keys"): show_authorized_keys,
    ("show", "sshd-config"): show_sshd_config,
    ("show", "sudoers"): show_sudoers,
}
