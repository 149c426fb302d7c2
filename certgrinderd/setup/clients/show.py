"""The commands `show authorized-keys`, for one client or many, and `show sshd-config`."""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from certgrinderd.errors import ConfigurationError, MalformedInput, UsageError
from certgrinderd.issuance import certbot
from certgrinderd.policy import DOMAINSETS_VARIABLE, parse_domainsets
from certgrinderd.settings.table import Settings
from certgrinderd.setup.clients import sshd
from certgrinderd.setup.clients.findings import NO_PATTERNS
from certgrinderd.setup.clients.line import Line, PublicKey, parse_public_key
from certgrinderd.setup.clients.table import parse_clients, parse_sources
from certgrinderd.setup.install import layout
from certgrinderd.setup.users import require_user
from certgrinderd.system.input import read_request

logger = logging.getLogger(__name__)

# Thousands of clients with thousands of names each.
_LARGEST_TABLE = 64 * 1024 * 1024


def show_sshd_config(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Return sshd's settings for the user that clients log in as.

    Raises:
        UsageError: That is no name of a user.
    """
    del settings
    user, environment = require_user(arguments["user"]), not arguments["no_environment"]
    return sshd.render(user, layout.AUTHORIZED_KEYS, environment=environment)


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
    text = shlex.join(command)
    if arguments["pass_words"]:
        text = f"{NO_PATTERNS} {text} $SSH_ORIGINAL_COMMAND"
    options.append(("command", text))
    return Line(tuple(options), key)


def _lines_for_clients(settings: Settings, arguments: Mapping[str, Any]) -> str:
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
    domainsets = parse_domainsets(text)
    if domainsets.ignored:
        raise UsageError("; ".join(domainsets.ignored))
    if not domainsets.sets:
        raise UsageError("--domainsets has no name: the client would get no certificate")
    return str(domainsets)


def _checked_sources(text: str) -> str:
    try:
        return parse_sources([word.strip() for word in text.split(",")], label="--from")
    except ValueError as error:
        raise UsageError(str(error)) from error


def _own_program() -> list[str]:
    # As it was called, links included: a link outlives the version that it points to.
    program = os.path.abspath(sys.argv[0])  # noqa: PTH100 - links stay as they are
    if os.path.basename(program) == "__main__.py":  # noqa: PTH119 - only a name
        return list(certbot.own_command())
    if not os.access(program, os.X_OK):
        raise UsageError(f"{program} is not executable: chmod +x makes it so, or give --program")
    return [program]


def _read_public_key(settings: Settings, path: str | None) -> PublicKey:
    data = read_request(path, settings, label="the public key", what="a public key")
    return parse_public_key(data.decode("utf-8", "replace"))
