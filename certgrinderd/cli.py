"""The entry point: from argv to an exit status."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from certgrinderd import __version__
from certgrinderd.commandline import boundary, parser
from certgrinderd.commandline.settings import configuration_for_admin, configuration_for_client
from certgrinderd.errors import (
    CertgrinderdError,
    Interrupted,
    OutputFailed,
    RequestRefused,
    UsageError,
    WordRefused,
)
from certgrinderd.settings.sources import Configuration
from certgrinderd.settings.table import Settings
from certgrinderd.system import log, output
from certgrinderd.system.session import client_of

# The class, with X.509, and the rooms of an admin's commands are loaded by the commands that need
# them.


@dataclass(frozen=True)
class _Request:
    """A command line, read.

    Attributes:
        parsed: The command, with the options of whoever gave it.
        admin: The admin's options in a forced command; None if there is no client.
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
    argv = sys.argv[1:] if argv is None else argv
    words = boundary.separate(argv, boundary.original_command(argv, os.environ))
    try:
        _run(_read(words))
    except CertgrinderdError as error:
        _log_end(words, "ERROR", str(error), refused=isinstance(error, RequestRefused))
        if isinstance(error, OutputFailed):
            output.give_up()
        return error.exit_code
    except Interrupted as error:
        _log_end(words, "ERROR", str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + 2  # SIGINT before _end_on_signals(): nothing to clean up
    except BrokenPipeError:
        output.give_up()
        return 128 + 13  # SIGPIPE
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback
        _log_unforeseen(words, error)
        return 1
    return 0


def _end_on_signals() -> None:
    """Let signals raise Interrupted from now on, so that what has been started is cleaned up."""

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
        # A command of its own, or only a part of the client's words.
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
        _write("pong\n")
    elif command == ("version",):
        _write(_version(request))
    elif command == ("help",):
        _write(_help(request))
    elif command in (("cache",), ("show", "licenses")):
        _end_on_signals()
        _write(_about_one_file(request.parsed))
    elif command in (("install",), ("uninstall",)):
        _end_on_signals()
        _run_installation(request.parsed)
    elif not command:
        raise (WordRefused if request.is_client else UsageError)(
            "no command given, such as get certificate (--help lists them)"
        )
    else:
        _end_on_signals()
        _run_configured(request)


def _write(text: str) -> None:
    # Paths are shown as they are, whatever bytes they are made of.
    output.write_answer(text.encode("utf-8", "surrogateescape"))


def _help(request: _Request) -> str:
    return parser.help_text(request.parsed.arguments.get("place", ()), client=request.is_client)


def _version(request: _Request) -> str:
    if not request.parsed.arguments.get("verbose"):
        return f"certgrinderd {__version__}\n"
    from certgrinderd.onefile import about

    return about.versions()


def _about_one_file(parsed: parser.Parsed) -> str:
    from certgrinderd.onefile import about, cache, identity

    folder = identity.require_unpacked()
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
            yes=given["yes"],
            with_sshd=with_sshd,
            with_sudo=with_sudo,
            rule=_installed_rule,
            allowed_signers=given["allowed_signers"],
        )
    for line in lines:
        _write(f"{line}\n")


def _installed_rule() -> str:
    """The sudo rule for the installed program, wherever this one was started from."""
    from certgrinderd.setup.install import layout
    from certgrinderd.setup.sudo.command import show_sudoers

    sys.argv[0] = layout.PROGRAM  # hooks are looked for next to it
    settings = configuration_for_admin({"config-file": layout.CONFIGURATION}).settings
    return show_sudoers(settings, {"user": layout.USER})


def _run_configured(request: _Request) -> None:
    from certgrinderd.certgrinderd import Certgrinderd

    logging.captureWarnings(True)  # noqa: FBT003 - its only argument
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

    _write(COMMANDS[command](configuration.settings, request.parsed.arguments))


def _log_request(command: tuple[str, ...]) -> None:
    logger = logging.getLogger("certgrinderd")
    logger.info("%s asks: %s", client_of(os.environ), " ".join(command))


def _configuration(request: _Request) -> Configuration:
    given = request.parsed.values
    if request.parsed.command == ("acme-client",):
        from certgrinderd import acme_side

        path, options = acme_side.take_apart(given)
        return configuration_for_client(configuration_for_admin({"config-file": path}), options)
    if request.admin is None:
        return configuration_for_admin(given)
    admins = configuration_for_admin(request.admin.values)
    # A client must not choose what the server's syslog keeps about it.
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
    from certgrinderd.pki.certificates import label_of_chain

    acme_side.clean_environment(os.environ)
    if show_account:
        _write(acme_side.describe_account(configuration.settings))
        return
    chain = acme_side.chain_for_request(configuration.settings)
    output.write_answer(chain, label=label_of_chain(chain))


def _log_end(words: boundary.Words, level: str, message: str, *, refused: bool = False) -> None:
    """Log how a run ended, even if its settings were not known yet."""
    # Cleanup is done; a second signal must not cut the last line off.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)

    if not log.is_configured():
        _configure_log(words)
    if refused and words.client is not None:
        message = f"{message} ({client_of(os.environ)})"
    logging.getLogger("certgrinderd").log(logging.getLevelName(level), "%s", message)


def _configure_log(words: boundary.Words) -> None:
    """Configure logging by the admin's settings if they can be read: syslog gets refusals too."""
    is_client = words.client is not None
    try:
        parse = parser.parse_admin_options if is_client else parser.parse_admin
        settings = configuration_for_admin(parse(words.admin).values).settings
        log.configure(settings, client=is_client)
    except CertgrinderdError:
        log.configure(Settings(), client=is_client)


def _log_unforeseen(words: boundary.Words, error: Exception) -> None:
    name = type(error).__name__
    _log_end(words, "CRITICAL", f"unforeseen {name}: {error} (please report this)")
    for line in "".join(traceback.format_exception(error)).splitlines():
        logging.getLogger("certgrinderd").debug("%s", line, extra=log.FOR_ADMIN)
