"""Running Certbot: its command line, one run at a time, and what it prints."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certgrinderd.errors import ConfigurationError, IssuanceError, UsageError
from certgrinderd.issuance.acme.store import own_folder
from certgrinderd.issuance.hooks import Challenge, environment, hook_command
from certgrinderd.onefile import identity
from certgrinderd.settings.table import BUILTIN, SYSTEM_CERTBOT, Settings
from certgrinderd.system import files, locks, process, session
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN
from certgrinderd.text import masked

logger = logging.getLogger(__name__)

_LARGEST_CHAIN = 1024 * 1024
# certbot names its log file and our paths, and how to get help with a certbot: nothing for clients.
_ABOUT_THIS_HOST = re.compile(r"Saving debug log to |See the logfile |saved at: |--config-dir")


@dataclass(frozen=True)
class Paths:
    """Where certbot reads the CSR and writes its answer."""

    csr: str
    fullchain: str
    certificate: str
    chain: str

    @classmethod
    def in_folder(cls, folder: Path) -> Paths:
        """Their names in a private folder."""
        names = ("csr.pem", "fullchain.pem", "certificate.pem", "chain.pem")
        return cls(*(str(folder / name) for name in names))


def missing_programs(settings: Settings) -> list[str]:
    """Return the programs of the default command that are not there; none for another command."""
    if settings.certbot_command != SYSTEM_CERTBOT:
        return []
    return [word for word in SYSTEM_CERTBOT.split() if not os.access(word, os.X_OK)]


def _is_own(settings: Settings) -> bool:
    """Whether no other certbot is configured than the one inside certgrinderd."""
    return settings.certbot_command == BUILTIN or bool(missing_programs(settings))


def _command(settings: Settings) -> list[str]:
    if _is_own(settings):
        return [*own_command(), "certbot"]
    return shlex.split(settings.certbot_command)


def own_command() -> tuple[str, ...]:
    """Return the words that start this very program once more."""
    folder = identity.unpacked_folder()
    if folder is not None:
        # Isolated, as it was started; certgrinderd.pyz itself may be another build by now.
        return sys.executable, "-I", "-S", str(folder)
    return sys.executable, "-m", "certgrinderd"


def _folders(settings: Settings) -> list[str]:
    """The options with certbot's folders; where nothing is said, its defaults are root's."""
    own: dict[str, str] = {}
    if _is_own(settings) and os.geteuid() != 0:
        own = {name: str(own_folder() / name) for name in ("config", "work", "logs")}
    folders = {
        "config": settings.certbot_config_dir,
        "work": settings.certbot_work_dir,
        "logs": settings.certbot_logs_dir,
    }
    return [
        word
        for name, configured in folders.items()
        for folder in (configured or own.get(name),)
        if folder
        for word in (f"--{name}-dir", folder)
    ]


def account_options(settings: Settings) -> list[str]:
    """Return the options that say which account is meant: the CA's URL and certbot's folders."""
    options = ["--server", settings.acme_server_url, *_folders(settings)]
    if settings.skip_acme_server_cert_verify:
        options.append("--no-verify-ssl")
    return options


def certonly_command(settings: Settings, challenge: Challenge, paths: Paths) -> list[str]:
    """Put the command together that gets a certificate for a CSR by one kind of challenge.

    Raises:
        ConfigurationError: A hook can't be found.
    """
    command = [
        *_command(settings),
        *("certonly", "--non-interactive", "--agree-tos", "--manual"),
        *("--preferred-challenges", challenge.value),
        *("--manual-auth-hook", _hook(settings.auth_hook, label="auth-hook")),
        *("--manual-cleanup-hook", _hook(settings.cleanup_hook, label="cleanup-hook")),
        *("--csr", paths.csr, "--fullchain-path", paths.fullchain),
        *("--cert-path", paths.certificate, "--chain-path", paths.chain),
        *account_options(settings),
    ]
    if settings.acme_email is None:
        command.append("--register-unsafely-without-email")
    else:
        command += ["--email", settings.acme_email]
    if settings.acme_profile is not None:
        command.append(f"--required-profile={settings.acme_profile}")
    if settings.preferred_chain is not None:
        # One word, so that no value can become an option of its own.
        command.append(f"--preferred-chain={settings.preferred_chain.replace('_', ' ')}")
    return command


def _hook(command: str, *, label: str) -> str:
    """Return the command line that certbot gives to sh."""
    words = hook_command(command, label=label)
    # certbot looks for the first word by itself, and does not know quotes.
    if len(words[0].split()) != 1:
        raise ConfigurationError(f"{label}: Certbot cannot run a hook with a blank: {words[0]!r}")
    return shlex.join(words)


def run(
    settings: Settings, command: Sequence[str], variables: dict[str, str], *, note: str
) -> list[str]:
    """Run certbot when it is our turn, and return what it prints on standard output.

    Its standard error is logged as it comes. Its standard output is logged for admins only, unless
    it fails: then the CA's reasons are in it.

    Args:
        settings: For the queue and the time limit.
        command: All words.
        variables: All of its environment.
        note: What the run is for, shown to those who wait in the queue.

    Raises:
        ConfigurationError: The queue's file can't be used.
        LockTimeout: Others held the lock for too long.
        process.ProgramFailed: It failed.
    """
    lines: list[str] = []
    complaints: list[str] = []

    def say(level: int, line: str) -> None:
        logger.log(level, "%s", line, extra=FOR_ADMIN if _ABOUT_THIS_HOST.search(line) else None)

    def on_line(line: str) -> None:
        lines.append(line)
        logger.debug("%s", line, extra=FOR_ADMIN)

    def on_error_line(line: str) -> None:
        if not _ABOUT_THIS_HOST.search(line):
            complaints.append(line)
        say(logging.INFO, line)

    with _our_turn(settings, note):
        logger.debug("running %s", masked(shlex.join(command)), extra=FOR_ADMIN)
        try:
            process.run(
                command,
                environment=variables,
                deadline=Deadline(settings.issuance_timeout),
                on_line=on_line,
                on_error_line=on_error_line,
                # If sudo runs it as root, we must be able to read the chain.
                umask=0o022,
            )
        except process.ProgramFailed as error:
            for line in lines:
                say(logging.WARNING, line)
            if not complaints:
                raise
            raise process.ProgramFailed(f"{error}: {complaints[0]}", status=error.status) from error
    return lines


@contextlib.contextmanager
def _our_turn(settings: Settings, note: str) -> Iterator[None]:
    """Wait until no other certbot runs.

    The requests of one client queue on a lock of their own first, so that a client has one place
    in the queue of all clients, however many requests it sends.

    Raises:
        ConfigurationError: A lock file can't be used.
        LockTimeout: Others held a lock for too long.
    """
    files.require_own_side(settings.pid_dir, label="pid-dir")
    deadline = Deadline(settings.lock_timeout)
    client = session.queue_of(os.environ)
    with contextlib.ExitStack() as stack:
        for name in (*((f"certgrinderd.{client}.pid",) if client else ()), "certgrinderd.pid"):
            path = os.path.join(settings.pid_dir, name)  # noqa: PTH118 - a plain word
            stack.enter_context(locks.held(path, note=note, deadline=deadline, label="pid-dir"))
        yield


def issue(
    settings: Settings, challenge: Challenge, *, csr_pem: bytes, folder: Path, note: str
) -> bytes:
    """Get a certificate for a CSR. The answer is not checked.

    Args:
        settings: Whom to ask and how.
        challenge: How to prove the names.
        csr_pem: A CSR whose names this client may have.
        folder: An empty private folder.
        note: See run.

    Returns:
        The chain in PEM, as certbot wrote it.

    Raises:
        IssuanceError: certbot failed, or wrote nothing.
        ConfigurationError, LockTimeout: See run.
    """
    paths = Paths.in_folder(folder)
    try:
        files.write_private(Path(paths.csr), csr_pem)
    except OSError as error:
        raise ConfigurationError(f"temp-dir: cannot write in it: {error.strerror}") from error
    command = certonly_command(settings, challenge, paths)
    run(settings, command, environment(settings, challenge, os.environ), note=note)
    return read_chain(paths.fullchain)


def read_chain(path: str) -> bytes:
    """Read the chain that certbot wrote.

    Raises:
        IssuanceError: It wrote none.
    """
    try:
        return files.read_file(path, limit=_LARGEST_CHAIN, label="the certificate")
    except ConfigurationError as error:
        raise IssuanceError(f"Certbot succeeded but wrote no certificate: {error}") from error


def show_account_command(settings: Settings) -> list[str]:
    """Put the command together that asks about our account."""
    return [*_command(settings), "show_account", *account_options(settings)]


def show_account(settings: Settings) -> str:
    """Ask certbot, and so the CA, about our account.

    Returns:
        Lines for people, among them "  Account URL: " and the URL.

    Raises:
        IssuanceError: There is no account, or it can't be asked for.
        ConfigurationError, LockTimeout: See run.
    """
    command = show_account_command(settings)
    variables = environment(settings, None, os.environ)
    lines = run(settings, command, variables, note="show acmeaccount")
    facts = [line for line in lines if re.match(r"(Account \w+|Email contacts?): ", line)]
    if not any(fact.startswith("Account URL: ") for fact in facts):
        raise IssuanceError("Certbot printed no account URL")
    rows = [f"Account details for server {settings.acme_server_url}:", *(f"  {f}" for f in facts)]
    return "\n".join(rows) + "\n"


def run_own(settings: Settings, words: Sequence[str]) -> str | int | None:
    """Run the certbot inside certgrinderd, in this process, with its own output.

    Args:
        settings: For its folders and the CA; words can say something else.
        words: The command line.

    Returns:
        What certbot's main function does: for sys.exit.

    Raises:
        IssuanceError: It failed.
        UsageError: It asked a question, and nobody is there to answer.
        ConfigurationError: Its folders are another user's, and we are root.
    """
    from acme.errors import Error as AcmeLibraryError
    from certbot.errors import Error as CertbotError
    from certbot.main import main
    from requests import RequestException

    if settings.certbot_config_dir is not None:
        files.require_own_side(settings.certbot_config_dir, label="certbot-config-dir")

    # Whoever called us by sudo must be able to read the chain; certbot protects secrets by itself.
    os.umask(0o022)
    # certbot cleans up by itself when a signal comes.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if settings.acme_ca_file is not None:
        os.environ["REQUESTS_CA_BUNDLE"] = settings.acme_ca_file
    subcommand, *rest = words or ["--help"]
    options = [] if subcommand.startswith("-") else account_options(settings)
    try:
        return main([subcommand, *options, *rest])
    except (AcmeLibraryError, CertbotError, RequestException) as error:
        raise IssuanceError(f"Certbot: {error}") from error
    except EOFError as error:
        raise UsageError(
            "Certbot asked a question, and standard input has no answer: run it in a terminal, or "
            "add -n; what it did before the question stays done"
        ) from error
