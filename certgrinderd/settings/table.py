"""The one table of options: parser, configuration file, --help, manual page and completion."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings import kinds
from certgrinderd.settings.kinds import COMMAND, FLAG, PATH, SECRET, TEXT, URL, Kind, Value
from certgrinderd.text import cut

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"
BUILTIN = "builtin"
SYSTEM_CERTBOT = "/usr/local/bin/sudo /usr/local/bin/certbot"


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: As on the command line without the dashes, and as a key of the configuration file.
        help: What it does, in one or more sentences; the default is added where it is shown.
        default: The value if nobody sets it.
        kind: What the value may be.
        short: The short forms, with their dash.
        client_may_set: Whether clients may set it; no unless the entry says so.
        in_file: Whether the configuration file may set it.
        passed_on: Its place among the options that the SSH side passes to the ACME side if they are
            two users; None if it is not passed on. A sudo rule pins the order.
        acme_side_only: Whether only the ACME side uses it if they are two users.
    """

    name: str
    help: str
    default: Value
    kind: Kind
    short: tuple[str, ...] = ()
    client_may_set: bool = False
    in_file: bool = True
    passed_on: int | None = None
    acme_side_only: bool = False

    @property
    def attribute(self) -> str:
        """The attribute of Settings that holds its value."""
        return self.name.replace("-", "_")

    @property
    def flags(self) -> tuple[str, ...]:
        """The words that name it on a command line, short ones first."""
        return (*self.short, f"--{self.name}")

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value on the command line."""
        return self.kind is FLAG

    @property
    def is_secret(self) -> bool:
        """Whether its value is a secret."""
        return self.kind is SECRET

    @property
    def default_text(self) -> str:
        """The default, for people."""
        if self.default in (None, ()):
            return "none"
        if isinstance(self.default, tuple):
            return ",".join(self.default)
        return str(self.default)

    def parse(self, value: object, *, label: str) -> Value:
        """Read a value.

        Args:
            value: A word of a command line or a value from YAML; None or blank text unsets the
                option, which has its default then.
            label: What its source calls it, for messages: "--lock-timeout", "FILE: lock-timeout".

        Raises:
            ConfigurationError: The value is invalid.
        """
        if value is None or (isinstance(value, str) and not value.strip()):
            return self.default
        try:
            return self.kind.parse(value)
        except ValueError as error:
            shown = "" if self.kind.is_private else f", not {cut(repr(value))}"
            reason = f" ({error})" if str(error) else ""
            # Without the cause, which may quote the value.
            raise ConfigurationError(
                f"{label}: expected {self.kind.expects}{shown}{reason}"
            ) from None


def _option(
    help: str,  # noqa: A002 - argparse's word for it
    default: Value,
    kind: Kind,
    short: tuple[str, ...] = (),
    **marks: bool | int,
) -> Any:  # noqa: ANN401 - as dataclasses.field()
    """Describe an attribute of Settings, which is an option: see Option."""
    facts = {"help": help, "default": default, "kind": kind, "short": short, **marks}
    return dataclasses.field(default=default, metadata=facts)


@dataclass(frozen=True, repr=False)  # a repr would show secrets
class Settings:
    """The values in force, one attribute per option; the order is that of the alphabet."""

    acme_ca_file: str | None = _option(
        "A PEM file with the CA certificates to trust when connecting to the ACME server, "
        "instead of the system's. For a private CA.",
        None,
        PATH,
        acme_side_only=True,
    )
    acme_client_command: str | None = _option(
        "The command that gets certificates as another user, instead of certbot-command: "
        "`certgrinderd.pyz acme-client` by sudo, or any other program that reads a CSR and "
        "prints the chain.",
        None,
        COMMAND,
    )
    acme_email: str | None = _option(
        "The email address for the ACME account; separate several with commas. Certbot uses "
        "it only when it creates the account; the built-in ACME client also tells the CA "
        "about a change.",
        None,
        TEXT,
        acme_side_only=True,
    )
    acme_fallback_eab_hmac_key: str | None = _option(
        "Like eab-hmac-key, for acme-fallback-server-url.", None, SECRET, acme_side_only=True
    )
    acme_fallback_eab_hmac_key_file: str | None = _option(
        "Like eab-hmac-key-file, for acme-fallback-server-url.", None, PATH, acme_side_only=True
    )
    acme_fallback_eab_kid: str | None = _option(
        "Like eab-kid, for acme-fallback-server-url.", None, TEXT, acme_side_only=True
    )
    acme_fallback_server_url: str | None = _option(
        "The directory of a second ACME server, used when the first one does not answer or "
        "reports a rate limit. It is not asked for what the first one refuses, nor when the "
        "command line or the client sets another acme-server-url. Only the built-in ACME "
        "client supports it.",
        None,
        URL,
        acme_side_only=True,
    )
    acme_profile: str | None = _option(
        "The certificate profile to request from the CA, such as shortlived or tlsserver at "
        "Let's Encrypt.",
        None,
        kinds.WORD,
        acme_side_only=True,
    )
    acme_server_url: str = _option(
        "The URL of the ACME server's directory.",
        LETS_ENCRYPT,
        URL,
        client_may_set=True,
        passed_on=2,
    )
    acme_zone: str | None = _option(
        "The DNS zone to pass to the hooks as ACMEZONE, for DNS-01 challenges. Leave it unset to "
        "disable DNS-01.",
        None,
        TEXT,
        ("-z",),
        acme_side_only=True,
    )
    allow_key_types: tuple[str, ...] = _option(
        "The types of keys that clients may get certificates for: rsa, ecdsa, ed25519, as a "
        "YAML list or separated by commas. Public CAs do not sign ed25519 keys.",
        ("rsa", "ecdsa"),
        kinds.KEYS,
    )
    auth_hook: str = _option(
        "The command that publishes a challenge: a path, or the name of a file in the folder "
        "hooks/ next to the program or inside it, with arguments if it needs any.",
        "manual-auth-hook.sh",
        COMMAND,
        ("-A",),
        acme_side_only=True,
    )
    cache_dir: str | None = _option(
        "The folder in which OCSP responses are kept for half of their validity; they are "
        "verified each time they are used. If it is unset, each request asks the CA.",
        None,
        PATH,
    )
    certbot_command: str = _option(
        "The command that runs Certbot, or the word builtin for the ACME client inside "
        "certgrinderd, which needs no sudo and serves any number of clients at once. If it is "
        "the default and one of the two programs is missing, builtin is used.",
        SYSTEM_CERTBOT,
        COMMAND,
        acme_side_only=True,
    )
    certbot_config_dir: str | None = _option(
        "The path to pass to Certbot as --config-dir.", None, PATH, acme_side_only=True
    )
    certbot_logs_dir: str | None = _option(
        "The path to pass to Certbot as --logs-dir.", None, PATH, acme_side_only=True
    )
    certbot_work_dir: str | None = _option(
        "The path to pass to Certbot as --work-dir.", None, PATH, acme_side_only=True
    )
    certificate_file: str | None = _option(
        "The PEM file to read the certificate chain from, instead of standard input.",
        None,
        PATH,
    )
    cleanup_hook: str = _option(
        "The command that removes a challenge; found like auth-hook.",
        "manual-cleanup-hook.sh",
        COMMAND,
        ("-C",),
        acme_side_only=True,
    )
    chain_length: int | None = _option(
        "The number of certificates that the chain should have. If the CA offers several "
        "chains, one of this length is chosen, if there is one. Only the built-in ACME client "
        "supports it.",
        None,
        kinds.number("certificates", 1, 10),
        client_may_set=True,
        passed_on=4,
    )
    client_acme_servers: tuple[str, ...] = _option(
        "ACME servers that a client may choose with --acme-server-url, besides "
        "acme-server-url and the staging server of Let's Encrypt: a YAML list, or separated "
        "by commas.",
        (),
        kinds.URLS,
    )
    config_file: str | None = _option(
        "The configuration file, in YAML.", None, PATH, ("-f", "-c"), in_file=False
    )
    crl_timeout: int = _option(
        "How many seconds fetching a CRL from one URL may take.", 60, kinds.seconds(1)
    )
    csr_file: str | None = _option(
        "The PEM file to read the certificate signing request from, instead of standard input.",
        None,
        PATH,
    )
    debug: bool = _option(
        "Log everything: the same as log-level DEBUG.",
        default=False,
        kind=FLAG,
        short=("-d",),
        client_may_set=True,
    )
    domainsets: str | None = _option(
        "The names that the client may have: sets separated by semicolons, names in a set by "
        "commas. It replaces the environment variable CERTGRINDERD_DOMAINSETS; setting both "
        "is an error.",
        None,
        TEXT,
    )
    domainsets_file: str | None = _option(
        "A file with the domainsets, instead of the option domainsets: one set on each line; "
        "lines that begin with # are comments.",
        None,
        PATH,
    )
    eab_hmac_key: str | None = _option(
        "The HMAC key that the CA issued with eab-kid, in base64url. It is safer in a file of "
        "its own: see eab-hmac-key-file.",
        None,
        SECRET,
        acme_side_only=True,
    )
    eab_hmac_key_file: str | None = _option(
        "The file with the HMAC key that the CA issued with eab-kid.",
        None,
        PATH,
        acme_side_only=True,
    )
    eab_kid: str | None = _option(
        "The key ID of your existing account with the CA, for CAs that create ACME accounts "
        "for their customers only (external account binding).",
        None,
        TEXT,
        acme_side_only=True,
    )
    hook_concurrency: int = _option(
        "How many hooks the built-in ACME client runs at the same time. Set it to 1 for hooks "
        "that can't run in parallel, or that do all work in the last call.",
        8,
        kinds.number("hooks", 1, 64),
        acme_side_only=True,
    )
    input_timeout: int = _option(
        "How many seconds a client may take to send its request.", 30, kinds.seconds(1)
    )
    issuance_timeout: int = _option(
        "How many seconds one attempt to get a certificate may take, including all hooks.",
        900,
        kinds.seconds(1),
    )
    lock_timeout: int = _option(
        "How many seconds to wait for other runs of Certbot: two can't run at once.",
        300,
        kinds.seconds(0),
    )
    log_level: str = _option(
        "The lowest level to log, on standard error and to syslog: one of "
        + ", ".join(kinds.LOG_LEVELS)
        + ".",
        "INFO",
        kinds.LEVEL,
        ("-l",),
        client_may_set=True,
        passed_on=6,
    )
    max_crl_size: int = _option(
        "The largest CRL that is accepted, in bytes.",
        33554432,
        kinds.number("bytes", 1024, 536870912),
    )
    max_input_size: int = _option(
        "The most that is read from standard input, in bytes.",
        65536,
        kinds.number("bytes", 1024, 16777216),
    )
    max_names: int = _option(
        "The most names that one certificate may have.",
        100,
        kinds.number("names", 1, 1000),
    )
    ocsp_allow_private: bool = _option(
        "Allow clients' requests for OCSP responses and CRLs to go to private addresses, "
        "including this host, and to any port: for a private CA. Requests that the admin "
        "makes may always go there.",
        default=False,
        kind=FLAG,
    )
    ocsp_timeout: int = _option(
        "How many seconds one OCSP responder may take to answer.", 10, kinds.seconds(1)
    )
    pid_dir: str = _option(
        "The folder of the PID files, which are the locks that runs of Certbot wait for: one "
        "file for all clients, and one for each.",
        "/tmp",  # noqa: S108 - as documented; the file in it is opened with care
        PATH,
        ("-p",),
    )
    preferred_chain: str | None = _option(
        "The name of the root to prefer if the CA offers several chains, with underscores for "
        "spaces: ISRG_Root_X1. If no chain has it, the CA's default chain is used.",
        None,
        kinds.CHAIN,
        client_may_set=True,
        passed_on=3,
    )
    replaces: str | None = _option(
        "The certificate that the new one replaces, for the CA's planning (ARI): its "
        "certificate-id as get renewal-info prints it. Only the built-in ACME client supports "
        "it.",
        None,
        kinds.CERTIFICATE_ID,
        client_may_set=True,
        in_file=False,
        passed_on=5,
    )
    skip_acme_server_cert_verify: bool = _option(
        "Do not verify the ACME server's TLS certificate. For tests only.",
        default=False,
        kind=FLAG,
        acme_side_only=True,
    )
    staging: bool = _option(
        "Use the staging server of Let's Encrypt: the same as acme-server-url "
        + LETS_ENCRYPT_STAGING
        + ".",
        default=False,
        kind=FLAG,
        short=("-s",),
        client_may_set=True,
        passed_on=1,
    )
    syslog_facility: str | None = _option(
        "The syslog facility, such as LOG_USER or LOG_LOCAL0. Requires syslog-socket.",
        None,
        kinds.FACILITY,
    )
    syslog_socket: str | None = _option(
        "Where syslog listens: the path of a socket, such as /dev/log, or HOST:PORT for UDP. "
        "Requires syslog-facility.",
        None,
        TEXT,
    )
    temp_dir: str | None = _option(
        "The folder in which each run of Certbot gets a private folder, which is removed "
        "afterwards. The built-in ACME client needs none. If it is unset, the system's folder "
        "is used.",
        None,
        PATH,
        ("-t",),
    )
    web_root: str | None = _option(
        "The path to pass to the hooks as WEBROOT, for HTTP-01 challenges. Leave it unset to "
        "disable HTTP-01.",
        None,
        PATH,
        ("-w",),
        acme_side_only=True,
    )

    @classmethod
    def from_values(cls, values: Mapping[str, Value]) -> Settings:
        """Make settings from option names and parsed values; the others have their defaults."""
        given: dict[str, Any] = {OPTIONS[name].attribute: each for name, each in values.items()}
        return cls(**given)

    @property
    def client_servers(self) -> tuple[str, ...]:
        """The ACME servers that clients may choose, each once, the configured one first."""
        servers = (self.acme_server_url, LETS_ENCRYPT_STAGING, *self.client_acme_servers)
        return tuple(dict.fromkeys(servers))

    def values(self) -> dict[str, Value]:
        """Option names and values, in the order of the table."""
        return {name: getattr(self, option.attribute) for name, option in OPTIONS.items()}


OPTIONS: Mapping[str, Option] = {
    option.name: option
    for field in dataclasses.fields(Settings)
    for option in (Option(name=field.name.replace("_", "-"), **field.metadata),)
}

# The options that the SSH side passes to the ACME side, in their order.
PASSED_ON: tuple[Option, ...] = tuple(
    sorted(
        (option for option in OPTIONS.values() if option.passed_on is not None),
        key=lambda option: option.passed_on or 0,
    )
)
