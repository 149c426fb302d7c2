"""The command `acme-client`: the ACME side of a server whose SSH side is another user.

The CSR, the options and the environment come from the SSH side and are not trusted. Only this
side's own configuration file decides how certificates are obtained, and for which names.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, MutableMapping

from certgrinderd import policy
from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.issuance import attempts, engines
from certgrinderd.pki import csr
from certgrinderd.policy import Domainsets
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.table import OPTIONS, Settings
from certgrinderd.system.input import read_request

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "TZ")


def take_apart(values: Mapping[str, Value]) -> tuple[str, dict[str, Value]]:
    """Separate the path of our configuration file from the options of the SSH side.

    Args:
        values: All options of the command line.

    Raises:
        UsageError: --config-file is missing, or an option may only be set in that file.
    """
    options = dict(values)
    path = options.pop("config-file", None)
    if path is None:
        raise UsageError("acme-client needs --config-file, with the configuration of the ACME side")
    for name in options:
        if OPTIONS[name].passed_on is None:
            raise UsageError(f"--{name} can only be set in the configuration file of the ACME side")
    return str(path), options


def clean_environment(environment: MutableMapping[str, str]) -> None:
    """Remove variables that the SSH side may have set, such as those of hooks.

    Variables that affect how this program starts are removed by sudo's env_reset.
    """
    ours = pwd.getpwuid(os.geteuid())
    kept = {name: environment[name] for name in _KEPT if name in environment}
    environment.clear()
    environment.update(
        kept, PATH=_PATH, HOME=ours.pw_dir, USER=ours.pw_name, LOGNAME=ours.pw_name, SHELL="/bin/sh"
    )


def ceiling(settings: Settings) -> Domainsets:
    """Return the names that the ACME side may get certificates for.

    Raises:
        ConfigurationError: The configuration file has no domainsets, or a malformed name.
    """
    domainsets = policy.parse_domainsets(settings.domainsets or "")
    if domainsets.ignored:
        raise ConfigurationError("; ".join(domainsets.ignored))
    if not domainsets.sets:
        raise ConfigurationError(
            "domainsets or domainsets-file must be set: the ACME side needs the names that it may "
            "get certificates for"
        )
    return domainsets


def chain_for_request(settings: Settings) -> bytes:
    """Read a CSR from the SSH side, check it again, and get the certificate.

    Args:
        settings: Our settings, with the SSH side's options.

    Returns:
        The chain in PEM.

    Raises:
        CertgrinderdError: See attempts.obtain, policy.require_permitted and csr.parse_csr.
    """
    permitted = ceiling(settings)
    data = read_request(None, settings, label="", what=csr.EXPECTED)
    request = csr.parse_csr(data, key_types=settings.allow_key_types)
    requested = csr.requested_names(request)
    policy.require_permitted(requested, permitted, max_names=settings.max_names)
    return attempts.obtain(request, requested, settings)


def describe_account(settings: Settings) -> str:
    """Ask the CA about our account, and return lines for people.

    Raises:
        CertgrinderdError: See Engine.describe_account.
    """
    with engines.opened(settings) as engine:
        return engine.describe_account()
