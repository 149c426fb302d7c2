"""From argv to an exit status: who asks, for what, with which settings, and how it ends."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certgrinderd import __version__
from certgrinderd.commandline import boundary, parser
from certgrinderd.errors import (
    CertgrinderdError,
    Interrupted,
    RequestRefused,
    UsageError,
    WordRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from certgrinderd.settings.sources import Configuration


@dataclass(frozen=True)
class _Request:
    """What a command line amounts to.

    Attributes:
        parsed: The command, with the options of the one who gave it.
        admin: The admin's options in a forced command; None when there is no client.
    """

    parsed: parser.Parsed
    admin: parser.Parsed | None

    @property
    def is_client(self) -> bool:
        return self.admin is not None


def main(argv: Sequence[str] | None = None) -> int:
    """Run certgrinderd.

    Args:
        argv: The words after the program's name; those of the process if it is None.

    Returns:
        The exit status: see certgrinderd.errors, and 128 plus its number for a signal.
    """
    os.umask(0o077)
    words = boundary.separate(
        sys.argv[1:] if argv is None else argv, os.environ.get("SSH_ORIGINAL_COMMAND")
    )
    try:
        _run(_read(words))
    except CertgrinderdError as error:
        _log_end(words, "ERROR", str(error), refused=isinstance(error, RequestRefused))
        return error.exit_code
    except Interrupted as error:
        _log_end(words, "ERROR", str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + 2  # SIGINT, before there is something to clean up: see _end_on_signals
    except BrokenPipeError:
        # Nobody reads our answer. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + 13  # SIGPIPE
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback
        _log_unforeseen(words, error)
        return 1
    return 0


def _end_on_signals() -> None:
    """From here on a signal ends us with what is begun taken away again; before, nothing is."""
    import signal

    def end(number: int, _frame: object) -> None:
        raise Interrupted(f"ended by {signal.Signals(number).name}", number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)


def _read(words: boundary.Words) -> _Request:
    if words.client is None:
        return _Request(parser.parse_admin(words.admin), None)
    boundary.require_plain(words.client)
    parsed = _read_client(words.client)
    try:
        admin = parser.parse_admin_options(words.admin)
    except UsageError as error:
        # A command of its own, or half of what the client said: not a form that we know.
        raise WordRefused(
            "the forced command and the client's words do not fit together: it must end with its "
            "own options, or with $SSH_ORIGINAL_COMMAND"
        ) from error
    return _Request(parsed, admin)


def _read_client(words: Sequence[str]) -> parser.Parsed:
    try:
        return parser.parse_client(words)
    except WordRefused:
        boundary.require_client_options(words)
        raise


def _run(request: _Request) -> None:
    command = request.parsed.command
    if command == ("ping",):
        print("pong", flush=True)  # noqa: T201 - the answer
    elif command == ("version",):
        print(_version(request), end="", flush=True)  # noqa: T201 - the answer
    elif command == ("help",):
        print(_help(request), end="", flush=True)  # noqa: T201 - the answer
    elif command in (("cache",), ("show", "licenses")):
        _end_on_signals()
        print(_about_one_file(request.parsed), end="", flush=True)  # noqa: T201 - the answer
    elif command in (("install",), ("uninstall",)):
        _end_on_signals()
        _run_installation(request.parsed)
    elif not command:
        raise (WordRefused if request.is_client else UsageError)(
            "there is no command, such as get certificate (--help shows them all)"
        )
    else:
        _end_on_signals()
        _run_configured(request)


def _help(request: _Request) -> str:
    from certgrinderd.commandline import usage

    return usage.help_text(request.parsed.arguments.get("place", ()), client=request.is_client)


def _version(request: _Request) -> str:
    if not request.parsed.arguments.get("verbose"):
        return f"certgrinderd {__version__}\n"
    from certgrinderd.onefile import about

    return about.versions()


def _about_one_file(parsed: parser.Parsed) -> str:
    from pathlib import Path

    from certgrinderd.onefile import about, cache

    folder = cache.require_unpacked()
    if parsed.command == ("show", "licenses"):
        return about.licences(folder)
    answer = ""
    if parsed.arguments["prepare"] is not None:
        answer += cache.prepare(folder, Path(parsed.arguments["prepare"]))
    if parsed.arguments["clean"]:
        answer += cache.clean(folder)
    return answer or cache.describe(folder)


def _run_installation(parsed: parser.Parsed) -> None:
    from certgrinderd.setup.install import command

    given = parsed.arguments
    lines = command.uninstall(yes=given["yes"])
    if parsed.command == ("install",):
        with_sshd, with_sudo = given["sshd"], given["sudo"]
        lines = command.install(
            yes=given["yes"], with_sshd=with_sshd, with_sudo=with_sudo, rule=_installed_rule
        )
    for line in lines:
        print(line, flush=True)  # noqa: T201 - the answer


def _installed_rule() -> str:
    """The rule for sudo that the installed program needs, wherever this one was started from."""
    from certgrinderd.commandline.settings import configuration_for_admin
    from certgrinderd.setup.install import layout
    from certgrinderd.setup.sudo.command import show_sudoers

    sys.argv[0] = layout.PROGRAM  # where hooks are looked for
    settings = configuration_for_admin({"config-file": layout.CONFIGURATION}).settings
    return show_sudoers(settings, {"user": layout.USER})


def _run_configured(request: _Request) -> None:
    import logging

    from certgrinderd.certgrinderd import Certgrinderd

    logging.captureWarnings(True)  # noqa: FBT003 - its only argument; to stderr they go unformatted
    configuration = _configuration(request)
    command = request.parsed.command
    is_client = request.is_client or command == ("acme-client",)
    server = Certgrinderd.for_request(configuration, is_client=is_client)
    if request.is_client:
        _log_request(command)
    if command == ("certbot",):
        _run_certbot(configuration, request.parsed.rest)
        return
    if command == ("acme-client",):
        _run_acme_side(configuration, **request.parsed.arguments)
        return
    commands: dict[tuple[str, ...], Callable[..., None]] = {
        ("get", "certificate"): Certgrinderd.get_certificate_command,
        ("get", "crl"): Certgrinderd.get_crl_command,
        ("get", "ocsp"): Certgrinderd.get_ocsp_command,
        ("get", "renewal-info"): Certgrinderd.get_renewal_info_command,
        ("show", "acmeaccount"): Certgrinderd.show_acmeaccount_command,
        ("show", "certificate"): Certgrinderd.show_certificate_command,
        ("show", "configuration"): Certgrinderd.show_configuration_command,
        ("show", "csr"): Certgrinderd.show_csr_command,
    }
    if command in commands:
        commands[command](server, **request.parsed.arguments)
        return
    from certgrinderd.setup.commands import COMMANDS

    text = COMMANDS[command](configuration.settings, request.parsed.arguments)
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def _log_request(command: tuple[str, ...]) -> None:
    import logging

    from certgrinderd.system.session import client_of

    logger = logging.getLogger("certgrinderd")
    logger.info("%s asks: %s", client_of(os.environ), " ".join(command))


def _configuration(request: _Request) -> Configuration:
    from certgrinderd.commandline.settings import (
        configuration_for_admin,
        configuration_for_client,
    )

    given = request.parsed.values
    if request.parsed.command == ("acme-client",):
        from certgrinderd import acme_side

        path, options = acme_side.take_apart(given)
        return configuration_for_client(configuration_for_admin({"config-file": path}), options)
    if request.admin is None:
        return configuration_for_admin(given)
    admins = configuration_for_admin(request.admin.values)
    # A client that could choose this too would decide what the server keeps about it.
    return dataclasses.replace(
        configuration_for_client(admins, given), syslog_level=admins.settings.log_level
    )


def _run_certbot(configuration: Configuration, words: Sequence[str]) -> None:
    from certgrinderd.issuance import certbot

    status = certbot.run_own(configuration.settings, words)
    if status:
        raise SystemExit(status)


def _run_acme_side(configuration: Configuration, *, show_account: bool) -> None:
    from certgrinderd import acme_side

    acme_side.clean_environment(os.environ)
    if show_account:
        answer = acme_side.describe_account(configuration.settings).encode()
    else:
        answer = acme_side.chain_for_request(configuration.settings, sys.stdin.fileno())
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def _log_end(words: boundary.Words, level: str, message: str, *, refused: bool = False) -> None:
    """Log how a run ended, which may have been before its settings were known."""
    import logging
    import signal

    from certgrinderd.system import log

    # What there was to take away is gone, and who reads this line is waited for only so long.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

    if not log.is_configured():
        _configure_log(words)
    if refused and words.client is not None:
        from certgrinderd.system.session import client_of

        message = f"{message} ({client_of(os.environ)})"
    logging.getLogger("certgrinderd").log(logging.getLevelName(level), "%s", message)


def _configure_log(words: boundary.Words) -> None:
    """Log as the admin's settings say, so that refusals get to syslog; else to standard error."""
    from certgrinderd.commandline.settings import configuration_for_admin
    from certgrinderd.settings.table import Settings
    from certgrinderd.system import log

    is_client = words.client is not None
    try:
        parse = parser.parse_admin_options if is_client else parser.parse_admin
        settings = configuration_for_admin(parse(words.admin).values).settings
        log.configure(settings, client=is_client)
    except CertgrinderdError:
        log.configure(Settings(), client=is_client)


def _log_unforeseen(words: boundary.Words, error: Exception) -> None:
    import traceback

    from certgrinderd.system.log import FOR_ADMIN

    name = type(error).__name__
    _log_end(words, "CRITICAL", f"unforeseen {name}: {error} (please report this)")
    import logging

    for line in "".join(traceback.format_exception(error)).splitlines():
        logging.getLogger("certgrinderd").debug("%s", line, extra=FOR_ADMIN)
