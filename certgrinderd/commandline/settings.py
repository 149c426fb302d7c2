"""The settings of a request: the admin's file and options, and the client's options."""

from __future__ import annotations

from collections.abc import Mapping

from certgrinderd.errors import ConfigurationError, WordRefused
from certgrinderd.policy import joined_domainsets
from certgrinderd.settings import sources
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.sources import Configuration, Source
from certgrinderd.system.files import read_file

_LARGEST_CONFIGURATION = 65536
# Thousands of clients with many names each.
_LARGEST_DOMAINSETS = 16 * 1024 * 1024


def configuration_for_admin(line: Mapping[str, Value]) -> Configuration:
    """Merge the admin's configuration file and command line.

    Args:
        line: The options of the command line, which may include config-file.

    Raises:
        ConfigurationError: A file can't be read, or holds an unknown option or invalid value.
    """
    path = line.get("config-file")
    files = [] if path is None else [_configuration_file(str(path))]
    return _with_domainsets(sources.merge(*files, Source("command line", line)))


def configuration_for_client(admins: Configuration, options: Mapping[str, Value]) -> Configuration:
    """Merge the admin's settings with a client's options.

    Args:
        admins: The admin's settings.
        options: The client's options; the caller has checked that clients may set them.

    Raises:
        WordRefused: The client chooses an ACME server that the admin did not list.
    """
    settings = admins.settings
    url = options.get("acme-server-url", settings.acme_server_url)
    if url not in settings.client_servers:
        raise WordRefused(f"--acme-server-url: clients may not choose {url}")
    return sources.override(admins, Source("client", options))


def _configuration_file(path: str) -> Source:
    data = read_file(path, limit=_LARGEST_CONFIGURATION, label="config-file")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"config-file: {path} is not UTF-8: {error.reason}") from error
    return sources.from_yaml(text, path=path)


def _with_domainsets(configuration: Configuration) -> Configuration:
    """Replace the option domainsets by the contents of domainsets-file."""
    settings = configuration.settings
    path = settings.domainsets_file
    if path is None:
        return configuration
    if settings.domainsets is not None:
        raise ConfigurationError(
            "both domainsets and domainsets-file are set: set one of them only"
        )
    data = read_file(path, limit=_LARGEST_DOMAINSETS, label="domainsets-file")
    found = {"domainsets": joined_domainsets(data.decode("utf-8", "replace"))}
    return sources.override(configuration, Source(path, found))
