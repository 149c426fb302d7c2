"""The command `show sudoers`: which rules the configuration needs, and whether they are safe."""

from __future__ import annotations

import dataclasses
import logging
import os
import pwd
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from certgrinderd.commandline.settings import configuration_for_admin
from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.issuance import certbot, certbot_files, engines
from certgrinderd.issuance.attempts import challenges
from certgrinderd.onefile import identity
from certgrinderd.settings.table import LETS_ENCRYPT, Settings
from certgrinderd.setup.sudo import rule
from certgrinderd.setup.users import require_user
from certgrinderd.system import files

logger = logging.getLogger(__name__)

# The hooks read it, with the rights of the user that runs them.
_HOOKS_CONF = "/etc/certgrinderd/hooks.conf"


def show_sudoers(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Return the file for sudoers.d that lets the user do what certgrinderd does by sudo.

    Raises:
        ConfigurationError: No rule is needed, or none would be safe or work.
        UsageError: There is no such user.
    """
    user = require_user(arguments["user"])
    if settings.acme_client_command is not None:
        return _acme_client_rule(user, settings)
    rules = []
    paths = {_HOOKS_CONF, *_own_configuration(settings), *_challenge_files(settings)}
    for name, command, optional in _certbot_commands(settings):
        parsed = rule.parse_command(command, label="certbot-command")
        if parsed.run_as != "root":
            raise ConfigurationError(
                f"certbot-command runs Certbot as {parsed.run_as}, but only root can enter the "
                "private folder that the request is in: leave -u out"
            )
        words = [word for word in parsed.arguments if rule.FOLDER not in word]
        paths |= {parsed.program, *_hook_paths(words)}
        pattern = rule.expression(
            parsed.arguments, optional=optional, folder=files.PRIVATE_NAME, label=name
        )
        rules.append((parsed, pattern))
    _require_unchangeable(
        user,
        paths,
        folders=certbot_files.paths(settings),
        temp_dir=settings.temp_dir or "/tmp",  # noqa: S108 - see private_directory
    )
    variables = {
        challenge.variable: str(challenge.place(settings)) for challenge in challenges(settings)
    }
    return rule.render(user, rules, variables)


def _acme_client_rule(user: str, settings: Settings) -> str:
    command = shlex.split(settings.acme_client_command or "")
    parsed = rule.parse_command(command, label="acme-client-command")
    if parsed.run_as in ("root", user):
        raise ConfigurationError(
            f"acme-client-command runs as {parsed.run_as}: give sudo a user of its own by -u"
        )
    try:
        pwd.getpwnam(parsed.run_as)
    except KeyError:
        raise ConfigurationError(
            f"acme-client-command runs as {parsed.run_as}: no such user; create it first"
        ) from None
    servers = [url for url in settings.client_servers if url != LETS_ENCRYPT]
    pattern = rule.acme_side_expression(parsed.arguments, servers=servers)
    configuration = parsed.arguments[2]
    paths = {parsed.program, configuration, _HOOKS_CONF, *_own_configuration(settings)}
    paths |= set(_acme_side_paths(parsed.program, configuration))
    _require_unchangeable(user, paths)
    return rule.render(user, [(parsed, pattern)], {})


def _acme_side_paths(program: str, configuration: str) -> Iterator[str]:
    """What the ACME side runs, reads and writes by its configuration.

    Args:
        program: The one that it runs.
        configuration: Its file; if it can't be read, that is said, and nothing found.
    """
    try:
        settings = configuration_for_admin({"config-file": configuration}).settings
    except ConfigurationError as error:
        logger.warning(
            "not checked: what the ACME side runs, reads and writes to: %s: "
            "run this again as root when that file exists",
            error,
        )
        return
    for hook in (settings.auth_hook, settings.cleanup_hook):
        name = shlex.split(hook)[0]
        yield os.path.join(os.path.dirname(os.path.realpath(program)), "hooks", name)  # noqa: PTH118, PTH120 - as text; an absolute name stays
    for path in (
        settings.domainsets_file,
        settings.acme_ca_file,
        settings.eab_hmac_key_file,
        settings.acme_fallback_eab_hmac_key_file,
        settings.certbot_config_dir,
        settings.certbot_work_dir,
        settings.certbot_logs_dir,
    ):
        if path is not None:
            yield path
    yield from _challenge_files(settings)


def _own_configuration(settings: Settings) -> Iterator[str]:
    """The file that says what the rule allows."""
    if settings.config_file is not None:
        yield settings.config_file


def _challenge_files(settings: Settings) -> Iterator[str]:
    """Paths that root's hook writes to: some file stands for each that has the name of a token."""
    if settings.web_root is not None:
        yield os.path.join(settings.web_root, ".well-known", "acme-challenge", "TOKEN")  # noqa: PTH118 - as text


def _hook_paths(words: Iterable[str]) -> set[str]:
    """Paths among words of a command line; a hook is a command line in one word."""
    paths = {part for word in words for part in shlex.split(word) if part.startswith("/")}
    package = Path(__file__).resolve().parents[2]
    if identity.unpacked_folder() and any(Path(path).is_relative_to(package) for path in paths):
        raise ConfigurationError(
            "the hooks inside the program have another path with each build and for each user: "
            "put the folder hooks/ next to the program, or set auth-hook and "
            "cleanup-hook"
        )
    return paths


def _certbot_commands(settings: Settings) -> Iterator[tuple[str, list[str], list[str]]]:
    """All command lines that requests can lead to: what it is, the words, and what may follow.

    What differs between two requests for the same is written as in rule.py.
    """
    engine = engines.chosen(settings)
    if engine.kind is not engines.Kind.CERTBOT:
        raise ConfigurationError(
            f"no rule for sudo is needed: certificates come through {engine.reason}"
        )
    rule.parse_command(shlex.split(settings.certbot_command), label="certbot-command")
    if not challenges(settings):
        raise ConfigurationError("neither acme-zone nor web-root is set: there are no requests")
    folder = Path(settings.temp_dir or "/tmp") / rule.FOLDER  # noqa: S108 - see private_directory
    if not folder.is_absolute():
        raise ConfigurationError(f"temp-dir: a rule for sudo needs an absolute path, not {folder}")
    paths = certbot.Paths.in_folder(folder)
    for server in settings.client_servers:
        plain = dataclasses.replace(settings, acme_server_url=server, preferred_chain=None)
        chosen = dataclasses.replace(plain, preferred_chain=rule.CHAIN)
        for challenge in challenges(settings):
            words = certbot.certonly_command(plain, challenge, paths)
            longer = certbot.certonly_command(chosen, challenge, paths)
            yield f"{challenge} at {server}", words, longer[len(words) :]
        yield f"show acmeaccount at {server}", certbot.show_account_command(plain), []


def _require_unchangeable(
    user: str, paths: Iterable[str], *, folders: Collection[str] = (), temp_dir: str | None = None
) -> None:
    """Require that the user can change nothing that another user runs, reads or writes by the rule.

    Args:
        user: The user.
        paths: Files and folders.
        folders: More of them; what is below a folder counts too.
        temp_dir: Where the user makes private folders, but must not be able to put a link in place
            of one: by that root's Certbot could be led into any other folder.

    Raises:
        ConfigurationError: It could, and would have that user's rights.
        UsageError: There is no such user, or it is root.
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise UsageError(f"there is no user {user}: create it first, or give --user") from None
    if account.pw_uid == 0:
        raise UsageError("root needs no rule: give the user that clients log in as with --user")
    groups = os.getgrouplist(user, account.pw_gid)
    found: dict[Path, str] = {}
    for path in sorted({*paths, *folders}):
        part = files.changeable_part(path, uid=account.pw_uid, gids=groups)
        if part is None and path in folders:
            part = files.changeable_below(path, uid=account.pw_uid, gids=groups)
        if part is not None:
            found.setdefault(part, path)
    reasons = [
        f"{user} can change {part}, and with it what another user does with {path}"
        for part, path in found.items()
    ]
    if reasons:
        reasons[-1] += ": chown it to root, writable by nobody else"
    if temp_dir is not None:
        part = files.changeable_part(temp_dir, uid=account.pw_uid, gids=groups)
        if part is not None:
            reasons.append(
                f"temp-dir: {user} can change {part}, and put a link in the way of another user: "
                "remove temp-dir, or give it root as owner and mode 1777, as /tmp has"
            )
    if reasons:
        raise ConfigurationError("; ".join(reasons))
