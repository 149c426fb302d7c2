"""What an admin asks for to set a server up: rules for sudo."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certgrinderd.config import Settings
from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.system import files

if TYPE_CHECKING:
    from certgrinderd.sudoers import SudoCommand

# The hooks read it, with the rights of the user that runs them.
_HOOKS_CONF = "/etc/certgrinderd/hooks.conf"


def show_sudoers(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Return the file for sudoers.d that lets the user run certbot-command as certgrinderd does.

    Raises:
        ConfigurationError: No rule is needed, or none would be safe or work.
        UsageError: There is no such user.
    """
    from certgrinderd import sudoers
    from certgrinderd.issuance.attempts import challenges

    user = sudoers.require_user(arguments["user"])
    rules = []
    for name, command, optional in _certbot_commands(settings):
        parsed = sudoers.parse_command(command, named="certbot-command")
        if parsed.run_as != "root":
            raise ConfigurationError(
                f"certbot-command runs Certbot as {parsed.run_as}, but only root can enter the "
                "private folder that the request is in: leave -u out"
            )
        _require_unchangeable(user, parsed, settings)
        pattern = sudoers.expression(
            parsed.arguments, optional=optional, folder=files.PRIVATE_NAME, named=name
        )
        rules.append((parsed, pattern))
    variables = {
        challenge.variable: str(challenge.place(settings)) for challenge in challenges(settings)
    }
    return sudoers.render(user, rules, variables)


def _certbot_commands(settings: Settings) -> Iterator[tuple[str, list[str], list[str]]]:
    """All command lines that requests can lead to: what it is, the words, and what may follow.

    What differs between two requests for the same is written as in certgrinderd.sudoers.
    """
    from certgrinderd import sudoers
    from certgrinderd.issuance import certbot, engines
    from certgrinderd.issuance.attempts import challenges

    engine = engines.chosen(settings)
    if engine.kind is not engines.Kind.CERTBOT:
        raise ConfigurationError(
            f"no rule for sudo is needed: certificates come through {engine.reason}"
        )
    sudoers.parse_command(shlex.split(settings.certbot_command), named="certbot-command")
    if not challenges(settings):
        raise ConfigurationError("neither acme-zone nor web-root is set: there are no requests")
    folder = Path(settings.temp_dir or "/tmp") / sudoers.FOLDER  # noqa: S108 - see private_directory
    if not folder.is_absolute():
        raise ConfigurationError(f"temp-dir: a rule for sudo needs an absolute path, not {folder}")
    paths = certbot.Paths.in_folder(folder)
    for server in settings.client_servers:
        plain = dataclasses.replace(settings, acme_server_url=server, preferred_chain=None)
        chosen = dataclasses.replace(plain, preferred_chain=sudoers.CHAIN)
        for challenge in challenges(settings):
            words = certbot.certonly_command(plain, challenge, paths)
            longer = certbot.certonly_command(chosen, challenge, paths)
            yield f"{challenge} at {server}", words, longer[len(words) :]
        yield f"show acmeaccount at {server}", certbot.show_account_command(plain), []


def _require_unchangeable(user: str, command: SudoCommand, settings: Settings) -> None:
    """Require that the user can change nothing of what root is made to run, read or write into.

    Raises:
        ConfigurationError: It could, and would be root by that.
        UsageError: There is no such user, or it is root.
    """
    from certgrinderd import sudoers
    from certgrinderd.issuance import certbot

    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user}: make it first, or name it by --user") from None
    if account.pw_uid == 0:
        raise UsageError("root needs no rule: name the user that clients log in as by --user")
    groups = os.getgrouplist(user, account.pw_gid)
    words = [word for word in command.arguments if sudoers.FOLDER not in word]
    # A hook is a command line in one word.
    paths = {part for word in words for part in shlex.split(word) if part.startswith("/")}
    package = Path(__file__).resolve().parent
    if certbot.own_archive() and any(Path(path).is_relative_to(package) for path in paths):
        raise ConfigurationError(
            "the hooks are those inside the program, which each user unpacks into a folder of its "
            "own: put the folder hooks/ next to the program, or set auth-hook and cleanup-hook"
        )
    paths |= {command.program, _HOOKS_CONF, settings.web_root or "/"}
    for path in sorted(paths):
        part = files.changeable_part(path, uid=account.pw_uid, gids=groups)
        if part is not None:
            raise ConfigurationError(
                f"{user} can change {part}, and with it what root does with {path}: let it belong "
                "to root, with no right to write for others"
            )


COMMANDS: Mapping[tuple[str, ...], Callable[[Settings, Mapping[str, Any]], str]] = {
    ("show", "sudoers"): show_sudoers,
}
