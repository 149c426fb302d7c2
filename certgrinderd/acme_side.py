"""The command `acme-client`: the ACME side of a server whose SSH side is another user.

What comes from the SSH side is a stranger's: its CSR, its few options, its environment. Our own
configuration file alone says what there is, and up to where names go.
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
    """Tell the path of our configuration from the options of the SSH side.

    Args:
        values: All options of the command line.

    Raises:
        UsageError: There is no configuration file, or an option that is not for this.
    """
    options = dict(values)
    path = options.pop("config-file", None)
    if path is None:
        raise UsageError("acme-client needs --config-file, with the configuration of the ACME side")
    for name in options:
        if OPTIONS[name].passed_on is None:
            raise UsageError(f"--{name} is for the configuration file of the ACME side")
    return str(path), options


def clean_environment(environment: MutableMapping[str, str]) -> None:
    """Drop what the SSH side may have put there, hooks and their settings included.

    That programs may be started with it, sudo's env_reset must see to.
    """
    ours = pwd.getpwuid(os.geteuid())
    kept = {name: environment[name] for name in _KEPT if name in environment}
    environment.clear()
    environment.update(
        kept, PATH=_PATH, HOME=ours.pw_dir, USER=ours.pw_name, LOGNAME=ours.pw_name, SHELL="/bin/sh"
    )


def ceiling(settings: Settings) -> Domainsets:
    """Return the names up to which we issue.

    Raises:
        ConfigurationError: The configuration file has none that can be read.
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
    """Read a CSR from the SSH side, check it as if nobody had, and get the certificate.

    Args:
        settings: Ours, with the SSH side's options.

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
