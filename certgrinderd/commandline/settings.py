"""Which settings a request gets: the admin's, from a file and a command line, and the client's."""

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
    """Merge what the admin says in a file and on the command line.

    Args:
        line: The options of the command line, which may name the file.

    Raises:
        ConfigurationError: A file can't be read, or what it says is none.
    """
    path = line.get("config-file")
    files = [] if path is None else [_configuration_file(str(path))]
    return _with_domainsets(sources.merge(*files, Source("command line", line)))


def configuration_for_client(admins: Configuration, options: Mapping[str, Value]) -> Configuration:
    """Merge the admin's settings with what a client says.

    Args:
        admins: The admin's.
        options: The client's, which are all open to clients.

    Raises:
        WordRefused: It chooses an ACME server that the admin does not know.
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
    """Put what the file with the domainsets holds in the place of that option."""
    settings = configuration.settings
    path = settings.domainsets_file
    if path is None:
        return configuration
    if settings.domainsets is not None:
        raise ConfigurationError(
            "both domainsets and domainsets-file are set: which names the client may have must "
            "stand in one place"
        )
    data = read_file(path, limit=_LARGEST_DOMAINSETS, label="domainsets-file")
    found = {"domainsets": joined_domainsets(data.decode("utf-8", "replace"))}
    return sources.override(configuration, Source(path, found))
