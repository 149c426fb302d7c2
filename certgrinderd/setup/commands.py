"""What an admin asks for to set a server up: rules for sudo, and lines for authorized_keys."""

from __future__ import annotations

import dataclasses
import logging
import os
import pwd
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from certgrinderd.errors import ConfigurationError, MalformedInput, UsageError
from certgrinderd.settings.table import LETS_ENCRYPT, Settings
from certgrinderd.system import files
from certgrinderd.system.input import read_request

if TYPE_CHECKING:
    from certgrinderd.setup.clients.line import Line, PublicKey

logger = logging.getLogger(__name__)

# The hooks read it, with the rights of the user that runs them.
_HOOKS_CONF = "/etc/certgrinderd/hooks.conf"
# Thousands of clients with thousands of names each.
_LARGEST_TABLE = 64 * 1024 * 1024


def show_sudoers(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Return the file for sudoers.d that lets the user do what certgrinderd does by sudo.

    Raises:
        ConfigurationError: No rule is needed, or none would be safe or work.
        UsageError: There is no such user.
    """
    from certgrinderd.issuance import certbot_files
    from certgrinderd.issuance.attempts import challenges
    from certgrinderd.setup import sudo

    user = sudo.require_user(arguments["user"])
    if settings.acme_client_command is not None:
        return _acme_client_rule(user, settings)
    rules = []
    paths = {_HOOKS_CONF, *_own_configuration(settings), *_challenge_files(settings)}
    for name, command, optional in _certbot_commands(settings):
        parsed = sudo.parse_command(command, label="certbot-command")
        if parsed.run_as != "root":
            raise ConfigurationError(
                f"certbot-command runs Certbot as {parsed.run_as}, but only root can enter the "
                "private folder that the request is in: leave -u out"
            )
        words = [word for word in parsed.arguments if sudo.FOLDER not in word]
        paths |= {parsed.program, *_hook_paths(words)}
        pattern = sudo.expression(
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
    return sudo.render(user, rules, variables)


def _acme_client_rule(user: str, settings: Settings) -> str:
    from certgrinderd.setup import sudo

    command = shlex.split(settings.acme_client_command or "")
    parsed = sudo.parse_command(command, label="acme-client-command")
    if parsed.run_as in ("root", user):
        raise ConfigurationError(
            f"acme-client-command runs as {parsed.run_as}: give sudo a user of its own by -u"
        )
    try:
        pwd.getpwnam(parsed.run_as)
    except KeyError:
        raise ConfigurationError(
            f"acme-client-command runs as {parsed.run_as}, and there is no such user: make it first"
        ) from None
    servers = [url for url in settings.client_servers if url != LETS_ENCRYPT]
    pattern = sudo.acme_side_expression(parsed.arguments, servers=servers)
    configuration = parsed.arguments[2]
    paths = {parsed.program, configuration, _HOOKS_CONF, *_own_configuration(settings)}
    paths |= set(_acme_side_paths(parsed.program, configuration))
    _require_unchangeable(user, paths)
    return sudo.render(user, [(parsed, pattern)], {})


def _acme_side_paths(program: str, configuration: str) -> Iterator[str]:
    """What the ACME side is made to run, read and write to by its configuration.

    Args:
        program: The one that it runs.
        configuration: Its file; if it can't be read, that is said, and nothing found.
    """
    from certgrinderd.commandline.settings import configuration_for_admin

    try:
        settings = configuration_for_admin({"config-file": configuration}).settings
    except ConfigurationError as error:
        logger.warning(
            "what the ACME side runs, reads and writes to was not looked at: %s: "
            "run this again, as root, when it is there",
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
    from certgrinderd.onefile import identity

    paths = {part for word in words for part in shlex.split(word) if part.startswith("/")}
    package = Path(__file__).resolve().parents[1]
    if identity.unpacked_folder() and any(Path(path).is_relative_to(package) for path in paths):
        raise ConfigurationError(
            "the hooks are those inside the program, which are elsewhere with each build, and for "
            "each user: put the folder hooks/ next to the program, or set auth-hook and "
            "cleanup-hook"
        )
    return paths


def _certbot_commands(settings: Settings) -> Iterator[tuple[str, list[str], list[str]]]:
    """All command lines that requests can lead to: what it is, the words, and what may follow.

    What differs between two requests for the same is written as in certgrinderd.setup.sudo.
    """
    from certgrinderd.issuance import certbot, engines
    from certgrinderd.issuance.attempts import challenges
    from certgrinderd.setup import sudo

    engine = engines.chosen(settings)
    if engine.kind is not engines.Kind.CERTBOT:
        raise ConfigurationError(
            f"no rule for sudo is needed: certificates come through {engine.reason}"
        )
    sudo.parse_command(shlex.split(settings.certbot_command), label="certbot-command")
    if not challenges(settings):
        raise ConfigurationError("neither acme-zone nor web-root is set: there are no requests")
    folder = Path(settings.temp_dir or "/tmp") / sudo.FOLDER  # noqa: S108 - see private_directory
    if not folder.is_absolute():
        raise ConfigurationError(f"temp-dir: a rule for sudo needs an absolute path, not {folder}")
    paths = certbot.Paths.in_folder(folder)
    for server in settings.client_servers:
        plain = dataclasses.replace(settings, acme_server_url=server, preferred_chain=None)
        chosen = dataclasses.replace(plain, preferred_chain=sudo.CHAIN)
        for challenge in challenges(settings):
            words = certbot.certonly_command(plain, challenge, paths)
            longer = certbot.certonly_command(chosen, challenge, paths)
            yield f"{challenge} at {server}", words, longer[len(words) :]
        yield f"show acmeaccount at {server}", certbot.show_account_command(plain), []


def _require_unchangeable(
    user: str, paths: Iterable[str], *, folders: Collection[str] = (), temp_dir: str | None = None
) -> None:
    """Require that the user can change nothing of what another user is made to run, read or write.

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
        raise UsageError(f"there is no user {user}: make it first, or name it by --user") from None
    if account.pw_uid == 0:
        raise UsageError("root needs no rule: name the user that clients log in as by --user")
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
        reasons[-1] += ": let it belong to root, with no right to write for others"
    if temp_dir is not None:
        part = files.changeable_part(temp_dir, uid=account.pw_uid, gids=groups)
        if part is not None:
            reasons.append(
                f"temp-dir: {user} can change {part}, and lead another user elsewhere by a link: "
                "leave temp-dir out, or make it like /tmp, root's and of mode 1777"
            )
    if reasons:
        raise ConfigurationError("; ".join(reasons))


def show_authorized_keys(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Return the line for a client, made from its public key, or those for a table of clients.

    Raises:
        UsageError: Something is missing or wrong on the command line.
        MalformedInput: What was read is no public key, or what sshd would misread.
        ConfigurationError: Something is wrong in the table; each thing is logged.
    """
    if arguments["clients"] is not None:
        return _lines_for_clients(settings, arguments)
    if settings.domainsets is None:
        raise UsageError("--domainsets is missing: the names that the client may have")
    domainsets = _checked_domainsets(settings.domainsets)
    sources = None if arguments["sources"] is None else _checked_sources(arguments["sources"])
    key = _read_public_key(settings, arguments["file"])
    return f"{_line(settings, arguments, domainsets, sources, key)}\n"


def _line(
    settings: Settings,
    arguments: Mapping[str, Any],
    domainsets: str,
    sources: str | None,
    key: PublicKey,
) -> Line:
    from certgrinderd.policy import DOMAINSETS_VARIABLE
    from certgrinderd.setup.clients.line import Line

    program = _own_program() if arguments["program"] is None else [arguments["program"]]
    if not program[0].startswith("/"):
        raise UsageError(f"--program: expected an absolute path, not {program[0]!r}")
    command = list(program)
    config_file = arguments["with_config_file"] or settings.config_file
    if config_file is None:
        logger.warning(
            "the line has no --config-file, and without one the client gets no certificate: "
            "certgrinderd.pyz --config-file FILE show authorized-keys …"
        )
    else:
        command += ["--config-file", os.path.abspath(config_file)]  # noqa: PTH100 - as text
    options: list[tuple[str, str | None]] = [("restrict", None)]
    if sources is not None:
        options.append(("from", sources))
    if arguments["environment"]:
        options.append(("environment", f"{DOMAINSETS_VARIABLE}={domainsets}"))
    else:
        command += ["--domainsets", domainsets]
    last = " $SSH_ORIGINAL_COMMAND" if arguments["pass_words"] else ""
    options.append(("command", shlex.join(command) + last))
    return Line(tuple(options), key)


def _lines_for_clients(settings: Settings, arguments: Mapping[str, Any]) -> str:
    from certgrinderd.setup.clients.line import PublicKey
    from certgrinderd.setup.clients.table import parse_clients

    path = arguments["clients"]
    if arguments["file"] is not None or arguments["sources"] is not None:
        raise UsageError("--clients has the keys and addresses of all clients: give no others")
    data = read_request(
        None if path == "-" else path,
        dataclasses.replace(settings, max_input_size=_LARGEST_TABLE),
        label="--clients",
        what="a list of clients in JSON",
    )
    clients, findings = parse_clients(data.decode("utf-8", "replace"))
    lines = []
    for client in clients:
        for key in client.keys:
            named = PublicKey(key.type, key.data, client.name)
            try:
                line = _line(settings, arguments, str(client.domainsets), client.sources, named)
                lines.append(f"{line}\n")
            except MalformedInput as error:
                findings += (f"client {client.name!r}: {error}",)
    for finding in findings:
        logger.error("%s", finding)
    if findings:
        raise ConfigurationError(f"clients: findings: {len(findings)}, see above")
    return "".join(lines)


def _checked_domainsets(text: str) -> str:
    from certgrinderd.policy import parse_domainsets

    domainsets = parse_domainsets(text)
    if domainsets.ignored:
        raise UsageError("; ".join(domainsets.ignored))
    if not domainsets.sets:
        raise UsageError("--domainsets has no name: the client would get no certificate")
    return str(domainsets)


def _checked_sources(text: str) -> str:
    from certgrinderd.setup.clients.table import parse_sources

    try:
        return parse_sources([word.strip() for word in text.split(",")], label="--from")
    except ValueError as error:
        raise UsageError(str(error)) from error


def _own_program() -> list[str]:
    from certgrinderd.issuance import certbot

    # As it was called, links included: a link outlives the version that it points to.
    program = os.path.abspath(sys.argv[0])  # noqa: PTH100 - links stay as they are
    if os.path.basename(program) == "__main__.py":  # noqa: PTH119 - only a name
        return list(certbot.own_command())
    if not os.access(program, os.X_OK):
        raise UsageError(f"{program} is not executable: chmod +x makes it so, or give --program")
    return [program]


def _read_public_key(settings: Settings, path: str | None) -> Any:  # noqa: ANN401
    from certgrinderd.setup.clients.line import parse_public_key

    data = read_request(path, settings, label="the public key", what="a public key")
    return parse_public_key(data.decode("utf-8", "replace"))


def _check_authorized_keys(settings: Settings, arguments: Mapping[str, Any]) -> str:
    from certgrinderd.setup.clients import check

    return check.check_authorized_keys(settings, arguments)


COMMANDS: Mapping[tuple[str, ...], Callable[[Settings, Mapping[str, Any]], str]] = {
    ("check", "authorized-keys"): _check_authorized_keys,
    ("show", "authorized-keys"): show_authorized_keys,
    ("show", "sudoers"): show_sudoers,
}
