"""The one table of commands. Parser, --help and man page read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from certgrinderd.settings.table import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

# As a default: what isn't given has no value at all. argparse has the same, but is loaded for help
# alone.
SUPPRESS = "suppressed"


@dataclass(frozen=True)
class Argument:
    """What stands after one command only: an option or an operand.

    Attributes:
        names: Its flags, or the one name of an operand.
        parameters: The rest of what argparse's add_argument() takes.
    """

    names: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name of its value, as argparse has it."""
        return str(self.parameters.get("dest") or self.names[-1].lstrip("-").replace("-", "_"))

    @property
    def is_operand(self) -> bool:
        """Whether it is a word without a flag."""
        return not self.names[0].startswith("-")

    @property
    def is_switch(self) -> bool:
        """Whether it is an option without a value."""
        return self.parameters.get("action") == "store_true"

    @property
    def may_lack_value(self) -> bool:
        """Whether an operand may be missing, or an option stand without its value."""
        return self.parameters.get("nargs") == "?"

    @property
    def default(self) -> object:
        """The value when it is not there."""
        return self.parameters.get("default", False if self.is_switch else None)


def _argument(*names: str, **parameters: Any) -> Argument:  # noqa: ANN401 - as add_argument()
    return Argument(names, parameters)


@dataclass(frozen=True)
class Command:
    """A command, and who may give it.

    Attributes:
        words: Its name: ("get", "certificate").
        help: What it does.
        client_may_run: Whether a client's command line may hold it; no unless said so.
        takes_words: Whether all words after it are its own.
        arguments: What may stand after it besides.
    """

    words: tuple[str, ...]
    help: str
    client_may_run: bool = False
    takes_words: bool = False
    arguments: tuple[Argument, ...] = ()


# What the SSH side may say to the ACME side: what a client may set, as far as orders are concerned.
ACME_SIDE_OPTIONS = (
    *("acme-server-url", "chain-length", "log-level", "preferred-chain", "replaces", "staging"),
)

_USER = _argument(
    "--user", default="certgrinderd", help="The user that clients log in as. Default: certgrinderd."
)


def _acme_side_options() -> Iterator[Argument]:
    """Options of the table that stand after acme-client, where a rule for sudo pins them."""
    for name in ("config-file", *ACME_SIDE_OPTIONS):
        option = OPTIONS[name]
        parameters = {"action": "store_true"} if option.is_switch else {"metavar": name.upper()}
        yield _argument(f"--{name}", default=SUPPRESS, help=option.help, **parameters)


_CACHE = (
    _argument(
        "--prepare",
        metavar="DIR",
        nargs="?",
        const="/var/cache/certgrinderd",
        help="Unpack it for all users: to `/var/cache/certgrinderd`, where all look, or to another "
        "folder, which they must name in `CERTGRINDERD_CACHE`.",
    ),
    _argument("--clean", action="store_true", help="Remove the builds there that nobody runs."),
)

_YES = _argument("--yes", action="store_true", help="Do it; without, it is only told.")

GROUPS = {
    "check": "Check what belongs to the server besides its configuration.",
    "get": "Get certificates, OCSP responses, CRLs or renewal information.",
    "show": "Show the configuration, the ACME account, what is in a CSR or certificate, or what "
    "belongs into sudoers, sshd_config and authorized_keys.",
}

COMMANDS = (
    Command(
        ("check", "authorized-keys"),
        "Check an authorized_keys file: ends with status 0 when each of its lines lets one client "
        "in as it should, and as root also when sshd has the right settings and uses the file.",
        arguments=(
            _argument(
                "file",
                nargs="?",
                metavar="FILE",
                help="The file; by default the one that sshd reads. One that sshd does not read is "
                "taken for a copy that is to be put in place: whose it is and its mode do not "
                "count then.",
            ),
            _USER,
        ),
    ),
    Command(
        ("get", "certificate"),
        "Get a new certificate. Reads a CSR in PEM, prints the certificate chain in PEM.",
        client_may_run=True,
    ),
    Command(
        ("get", "crl"),
        "Get the CRL that covers a certificate, and say whether it is on it. Reads the chain in "
        "PEM, the leaf first; prints DER.",
        client_may_run=True,
    ),
    Command(
        ("get", "ocsp"),
        "Get an OCSP response for a certificate. Reads the chain in PEM, the leaf first; prints "
        "DER.",
        client_may_run=True,
    ),
    Command(
        ("get", "renewal-info"),
        "Get the time in which the CA wants a certificate to be renewed (ARI, RFC 9773). Reads the "
        "chain in PEM, the leaf first; prints lines of the form NAME: VALUE.",
        client_may_run=True,
    ),
    Command(
        ("show", "acmeaccount"),
        "Show the ACME account: its URL, key thumbprint and contact.",
        client_may_run=True,
    ),
    Command(
        ("show", "authorized-keys"),
        "Show the line of authorized_keys for a client. Reads the client's public key.",
        arguments=(
            _argument(
                "file",
                nargs="?",
                metavar="FILE",
                help="The file with the public key, instead of standard input.",
            ),
            _argument(
                "--domainsets",
                default=SUPPRESS,
                help="The names that the client may have: sets separated by semicolons, names in "
                "a set by commas.",
            ),
            _argument(
                "--from",
                metavar="ADDRESSES",
                dest="sources",
                help="The addresses or networks (192.0.2.0/24) that the client comes from, "
                "separated by commas.",
            ),
            _argument(
                "--clients",
                metavar="FILE",
                help="Show the lines of all clients in this file, or on standard input if it is "
                "-, instead: a list in JSON, of objects with name, keys, domainsets (a list of "
                "lists of names), and from (a list of addresses) and state (absent leaves a "
                "client out) if need be.",
            ),
            _argument(
                "--environment",
                action="store_true",
                help="Put the domainsets into environment=, as certgrinderd was first documented. "
                "Needs PermitUserEnvironment CERTGRINDERD_DOMAINSETS in sshd_config.",
            ),
            _argument(
                "--pass-words",
                action="store_true",
                help="Let the forced command end with $SSH_ORIGINAL_COMMAND. certgrinderd finds "
                "the client's words without that too, and then no shell has seen them.",
            ),
            _argument(
                "--program",
                help="The path of certgrinderd in the forced command. By default the one that "
                "this command is run by.",
            ),
            _argument(
                "--with-config-file",
                metavar="FILE",
                help="The configuration file in the forced command, which need not be there yet. "
                "By default that of --config-file.",
            ),
        ),
    ),
    Command(
        ("show", "certificate"),
        "Show what is in a certificate chain. Reads PEM, the leaf first.",
        client_may_run=True,
        arguments=(
            _argument(
                "--check-revocation",
                action="store_true",
                help="Ask the CA whether the leaf is revoked: by OCSP and CRL.",
            ),
        ),
    ),
    Command(
        ("show", "configuration"),
        "Show the settings in force as a configuration file, and where each comes from.",
        client_may_run=True,
    ),
    Command(
        ("show", "csr"),
        "Show what is in a CSR, and whether this client may have it. Reads PEM.",
        client_may_run=True,
    ),
    Command(("show", "licenses"), "Show the licences of all that is inside certgrinderd.pyz."),
    Command(
        ("show", "sshd-config"),
        "Show sshd's settings for the user that clients log in as, for a file in sshd_config.d.",
        arguments=(
            _USER,
            _argument(
                "--no-environment",
                action="store_true",
                help="Leave out PermitUserEnvironment, which only lines with environment= need.",
            ),
        ),
    ),
    Command(
        ("show", "sudoers"),
        "Show the rule for sudo that lets certgrinderd run the configured certbot-command, and "
        "nothing else.",
        arguments=(_USER,),
    ),
    Command(
        ("acme-client",),
        "The ACME side of a server whose SSH side is another user: see acme-client-command. Reads "
        "a CSR in PEM, checks it by its own configuration file alone, prints the chain.",
        arguments=(
            *_acme_side_options(),
            _argument(
                "--show-account",
                action="store_true",
                help="Show the ACME account instead.",
            ),
        ),
    ),
    Command(("cache",), "Show where certgrinderd.pyz is unpacked.", arguments=_CACHE),
    Command(
        ("certbot",),
        "Run the Certbot inside certgrinderd with the words that follow, on the configured "
        "folders: `certbot show_account`, `certbot unregister`.",
        takes_words=True,
    ),
    Command(("help",), "Show this help.", client_may_run=True),
    Command(
        ("install",),
        "Set this machine up as a server, with the program in /usr/local/bin, hooks, the manual "
        "page, completion for bash and zsh, the user certgrinderd and its folders, and a "
        "configuration, unless there is one. What was there before, or was changed, is named and "
        "left.",
        arguments=(
            _YES,
            _argument(
                "--sshd",
                action="store_true",
                help="Write sshd's settings for that user too, instead of showing them.",
            ),
            _argument(
                "--sudo",
                action="store_true",
                help="Write the rule for sudo too, if the configuration needs one, instead of "
                "showing it.",
            ),
        ),
    ),
    Command(("ping",), 'Print "pong": the server can be reached.', client_may_run=True),
    Command(
        ("uninstall",),
        "Take back what install has made: nothing that was changed since, and no folder with "
        "something in it, so that configuration, clients and the ACME account stay.",
        arguments=(_YES,),
    ),
    Command(("version",), "Print the version.", client_may_run=True),
)
