"""Command lines in, a command and its options out: one parser for admins, one for clients."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from certgrinderd.config import OPTIONS
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.kinds import Value
from certgrinderd.option import Option

DESCRIPTION = (
    "Gets certificates from an ACME CA for clients that come in over SSH. "
    "See certgrinderd(8) for more."
)


@dataclass(frozen=True)
class Argument:
    """What stands after one command only: an option or an operand.

    Attributes:
        names: Its flags, or the one name of an operand.
        parameters: The rest of what argparse's add_argument() takes.
    """

    names: tuple[str, ...]
    parameters: Mapping[str, Any]


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


_USER = _argument(
    "--user", default="certgrinderd", help="The user that clients log in as. Default: certgrinderd."
)

GROUPS = {
    "check": "Check what belongs to the server besides its configuration.",
    "get": "Get certificates, OCSP responses, CRLs or renewal information.",
    "show": "Show the configuration, the ACME account, what is in a CSR or certificate, or what "
    "belongs into sudoers and authorized_keys.",
}

COMMANDS = (
    Command(
        ("check", "authorized-keys"),
        "Check an authorized_keys file: says nothing and ends with status 0 when each of its "
        "lines lets one client in as it should.",
        arguments=(
            _argument("file", metavar="FILE", help="The file, as sshd reads it."),
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
                default=argparse.SUPPRESS,
                help="The names that the client may have: sets separated by semicolons, names in "
                "a set by commas.",
            ),
            _argument(
                "--from",
                dest="sources",
                help="The addresses or networks (192.0.2.0/24) that the client comes from, "
                "separated by commas.",
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
    Command(
        ("show", "sudoers"),
        "Show the rule for sudo that lets certgrinderd run the configured certbot-command, and "
        "nothing else.",
        arguments=(_USER,),
    ),
    Command(
        ("certbot",),
        "Run the Certbot inside certgrinderd with the words that follow, on the configured "
        "folders: `certbot show_account`, `certbot unregister`.",
        takes_words=True,
    ),
    Command(("help",), "Show this help.", client_may_run=True),
    Command(("ping",), 'Print "pong": the server can be reached.', client_may_run=True),
    Command(("version",), "Print the version.", client_may_run=True),
)


@dataclass(frozen=True)
class Parsed:
    """A command line, read.

    Attributes:
        command: The words of the command; empty when there is none.
        values: The options that it holds.
        rest: The words of a command that takes words.
        arguments: What stood after the command, by argparse's names.
    """

    command: tuple[str, ...]
    values: dict[str, Value]
    rest: tuple[str, ...] = field(default=())
    arguments: Mapping[str, Any] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    """Raises what is wrong, instead of printing and exiting."""

    failure: type[UsageError | WordRefused] = UsageError

    def error(self, message: str) -> NoReturn:
        raise self.failure(f"{message} ({self.prog} --help shows what is possible)")


class _ClientParser(_Parser):
    failure = WordRefused


def parse_admin(words: Sequence[str]) -> Parsed:
    """Read a command line that is the admin's from end to end.

    Raises:
        UsageError: It does not say what to do.
        ConfigurationError: The value of an option is none.
    """
    return _parse(build_parser(), words)


def parse_admin_options(words: Sequence[str]) -> Parsed:
    """Read the admin's part of a forced command: options alone.

    Raises:
        UsageError: There is something else.
        ConfigurationError: The value of an option is none.
    """
    parser = _parser(_Parser)
    _add_options(parser, OPTIONS.values())
    return _parse(parser, words)


def parse_client(words: Sequence[str]) -> Parsed:
    """Read a client's command line: its options and its commands, and nothing else.

    Raises:
        WordRefused: There is something else, or the value of an option is none.
    """
    try:
        return _parse(build_parser(client=True), words)
    except ConfigurationError as error:
        raise WordRefused(str(error)) from error


def build_parser(*, client: bool = False) -> _Parser:
    """Make the parser of a whole command line, with the options and commands for one side."""
    parser = _parser(_ClientParser if client else _Parser)
    options = [option for option in OPTIONS.values() if option.client_may_set or not client]
    _add_options(parser, options)
    parser.add_argument("--version", action="store_true", help="Print the version.")
    commands = [command for command in COMMANDS if command.client_may_run or not client]
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="word0")
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for command in commands:
        place, name = subparsers, command.words[-1]
        for group in command.words[:-1]:
            if group not in groups:
                added = subparsers.add_parser(
                    group, help=GROUPS[group], description=GROUPS[group], allow_abbrev=False
                )
                groups[group] = added.add_subparsers(
                    title="commands", metavar="COMMAND", dest="word1", required=True
                )
            place = groups[group]
        leaf = place.add_parser(
            name,
            help=command.help,
            description=command.help,
            allow_abbrev=False,
            add_help=not command.takes_words,
            prefix_chars="\0" if command.takes_words else "-",
        )
        if command.takes_words:
            leaf.add_argument("rest", nargs="*", metavar="WORD")
        for argument in command.arguments:
            leaf.add_argument(*argument.names, **argument.parameters)
    return parser


def _parser(kind: type[_Parser]) -> _Parser:
    return kind(prog="certgrinderd", description=DESCRIPTION, allow_abbrev=False)


def _add_options(parser: _Parser, options: Iterable[Option]) -> None:
    for option in options:
        text = option.help.replace("%", "%%")
        if option.is_switch:
            parser.add_argument(
                *option.flags, action="store_true", default=argparse.SUPPRESS, help=text
            )
        else:
            parser.add_argument(
                *option.flags,
                metavar=option.name.upper(),
                default=argparse.SUPPRESS,
                help=f"{text} Default: {option.default_text}.".replace("..", "."),
            )


def _require_known_options(parser: _Parser, words: Sequence[str]) -> None:
    """Name an option that doesn't exist; argparse would stumble over the word behind it first."""
    known = {flag for option in OPTIONS.values() for flag in option.flags} | {"--help", "--version"}
    commands = {command.words[0] for command in COMMANDS}
    for word in words:
        if word in commands:
            return
        name = word.partition("=")[0]
        if name.startswith("--") and name != "--" and name not in known:
            import difflib

            near = difflib.get_close_matches(name, known, n=1)
            parser.error(
                f"there is no option {name}" + (f": did you mean {near[0]}?" if near else "")
            )


def _parse(parser: _Parser, words: Sequence[str]) -> Parsed:
    _require_known_options(parser, words)
    found = vars(parser.parse_args(list(words)))
    command = tuple(found[name] for name in ("word0", "word1") if found.get(name))
    if found.get("version"):
        command = ("version",)
    values = {
        option.name: option.parse(found[key], named=f"--{option.name}")
        for option in OPTIONS.values()
        for key in (option.name.replace("-", "_"),)
        if key in found
    }
    known = {"word0", "word1", "version", "rest", *(name.replace("-", "_") for name in values)}
    own = {name: value for name, value in found.items() if name not in known}
    return Parsed(command, values, tuple(found.get("rest") or ()), own)
