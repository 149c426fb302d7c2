"""The one table of commands: the parser, --help, the manual page and completion read it."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from certgrinderd.settings.table import OPTIONS


@dataclass(frozen=True)
class Argument:
    """An option or operand of one command.

    Attributes:
        names: Its flags, or the one name of an operand.
        parameters: The rest of what argparse's add_argument() takes.
    """

    names: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def is_switch(self) -> bool:
        """Whether it is an option without a value."""
        return self.parameters.get("action") == "store_true"

    @property
    def needs_value(self) -> bool:
        """Whether it is an option whose value is the next word, whatever that looks like."""
        is_option = self.names[-1].startswith("-")
        return is_option and not self.is_switch and self.parameters.get("nargs") != "?"


def _argument(*names: str, **parameters: Any) -> Argument:  # noqa: ANN401 - as add_argument()
    return Argument(names, parameters)


@dataclass(frozen=True)
class Command:
    """A command, and who may give it.

    Attributes:
        words: Its name: ("get", "certificate").
        help: What it does.
        client_may_run: Whether clients may give it; no unless the entry says so.
        takes_words: Whether all words after it are its own.
        arguments: Its own options and operands.
    """

    words: tuple[str, ...]
    help: str
    client_may_run: bool = False
    takes_words: bool = False
    arguments: tuple[Argument, ...] = ()


_USER = _argument(
    "--user", default="certgrinderd", help="The user that clients log in as. Default: certgrinderd."
)


def _acme_side_options() -> Iterator[Argument]:
    """Options of the table that come after acme-client, where a sudo rule pins them."""
    passed_on = (option for option in OPTIONS.values() if option.passed_on is not None)
    for option in (OPTIONS["config-file"], *passed_on):
        parameters: dict[str, Any] = {"metavar": option.name.upper()}
        if option.is_switch:
            parameters = {"action": "store_true"}
        yield _argument(f"--{option.name}", default=SUPPRESS, help=option.help, **parameters)


_CACHE = (
    _argument(
        "--prepare",
        metavar="DIR",
        nargs="?",
        const="/var/cache/certgrinderd",
        help="Unpack it for all users: to `/var/cache/certgrinderd`, where it is found, or to "
        "another folder, which users must name in `CERTGRINDERD_CACHE`.",
    ),
    _argument(
        "--clean", action="store_true", help="Remove the unpacked builds that are not in use."
    ),
)

_YES = _argument(
    "--yes", action="store_true", help="Make the changes; without it, they are only listed."
)

GROUPS = {
    "check": "Check parts of the server besides its configuration.",
    "get": "Get certificates, OCSP responses, CRLs or renewal information.",
    "show": "Show the configuration, the ACME account, the contents of a CSR or certificate, or "
    "lines for sudoers, sshd_config and authorized_keys.",
}

COMMANDS = (
    Command(
        ("check", "authorized-keys"),
        "Check an authorized_keys file. The exit status is 0 if each line admits one client with "
        "the right restrictions and, when root runs it, if sshd has the right settings and uses "
        "the file.",
        arguments=(
            _argument(
                "file",
                nargs="?",
                metavar="FILE",
                help="The file; by default the one that sshd reads. A file that sshd does not "
                "read is taken for a draft, whose owner and mode are not checked.",
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
        "Get the CRL that covers a certificate, and log whether the certificate is on it. Reads "
        "the chain in PEM, the leaf first; prints DER.",
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
        "Get the period in which the CA wants a certificate to be renewed (ARI, RFC 9773). Reads "
        "the chain in PEM, the leaf first; prints lines of the form NAME: VALUE.",
        client_may_run=True,
    ),
    Command(
        ("show", "acmeaccount"),
        "Show the ACME account: its URL, key thumbprint and contact.",
        client_may_run=True,
    ),
    Command(
        ("show", "authorized-keys"),
        "Show the authorized_keys line for a client. Reads the client's public key.",
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
                help="Show the lines for all clients in this file instead (- is standard input): a "
                "JSON list of objects with name, keys, domainsets (a list of lists of names) "
                "and, optionally, from (a list of addresses) and state (absent leaves the client "
                "out).",
            ),
            _argument(
                "--environment",
                action="store_true",
                help="Put the domainsets into environment=, as in certgrinderd's first "
                "documentation. Requires PermitUserEnvironment CERTGRINDERD_DOMAINSETS in "
                "sshd_config.",
            ),
            _argument(
                "--pass-words",
                action="store_true",
                help="Begin the forced command with set -f, and end it with $SSH_ORIGINAL_COMMAND. "
                "certgrinderd finds the client's words without it, and then no shell has seen "
                "them.",
            ),
            _argument(
                "--program",
                help="The path of certgrinderd in the forced command. Default: that of the program "
                "that is running.",
            ),
            _argument(
                "--with-config-file",
                metavar="FILE",
                help="The configuration file in the forced command; it need not exist yet. "
                "Default: that of --config-file.",
            ),
        ),
    ),
    Command(
        ("show", "certificate"),
        "Show the contents of a certificate chain. Reads PEM, the leaf first.",
        client_may_run=True,
        arguments=(
            _argument(
                "--check-revocation",
                action="store_true",
                help="Ask the CA whether the leaf is revoked, by OCSP and CRL.",
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
        "Show the contents of a CSR, and whether this client may have the certificate: forbidden "
        "names are reported, and the exit status is 0. Reads PEM.",
        client_may_run=True,
    ),
    Command(("show", "licenses"), "Show the licences of everything inside certgrinderd.pyz."),
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
        "Show the sudo rule that lets certgrinderd run the configured certbot-command or "
        "acme-client-command, and nothing else.",
        arguments=(_USER,),
    ),
    Command(
        ("acme-client",),
        "Be the ACME side of a server whose SSH side runs as another user: see "
        "acme-client-command. Reads a CSR in PEM, checks it against its own configuration file "
        "alone, prints the chain.",
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
        "Run the Certbot inside certgrinderd with the words that follow, in the configured "
        "folders: `certbot show_account`, `certbot unregister`.",
        takes_words=True,
    ),
    Command(("help",), "Show this help.", client_may_run=True),
    Command(
        ("install",),
        "Set this machine up as a server: the program in /usr/local/bin, hooks, the manual page, "
        "completion for bash and zsh, the user certgrinderd and its folders, and a configuration "
        "file if there is none. Existing or edited files are kept and listed.",
        arguments=(
            _YES,
            _argument(
                "--sshd",
                action="store_true",
                help="Also write sshd's settings for that user, instead of showing them.",
            ),
            _argument(
                "--sudo",
                action="store_true",
                help="Also write the sudo rule, if the configuration needs one, instead of "
                "showing it.",
            ),
            _argument(
                "--allowed-signers",
                metavar="FILE",
                help="Refuse to install this program unless the file beside it whose name ends "
                "with .sig is its signature by a key in FILE (see ALLOWED SIGNERS in "
                "ssh-keygen(1)). A program that somebody has changed can skip this: check it by "
                "hand before its first start.",
            ),
        ),
    ),
    Command(("ping",), 'Print "pong": the server can be reached.', client_may_run=True),
    Command(
        ("uninstall",),
        "Remove what install has created, except edited files and folders that are not empty: "
        "the configuration, the clients and the ACME account stay.",
        arguments=(_YES,),
    ),
    Command(("version",), "Print the version.", client_may_run=True),
)
