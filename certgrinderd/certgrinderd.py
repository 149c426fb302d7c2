"""The class that other programs use: the documented methods, thin layers over what does it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from certgrinderd import sources
from certgrinderd.config import Settings
from certgrinderd.errors import CertgrinderdError, NotPermitted
from certgrinderd.kinds import Value
from certgrinderd.ocsp_methods import OcspMethods
from certgrinderd.pki_methods import PkiMethods
from certgrinderd.sources import Configuration
from certgrinderd.system.given import read_domainsets, read_given

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.ocsp import OCSPResponse

    from certgrinderd.policy import Domainsets
    from certgrinderd.revocation.fetch import Question
    from certgrinderd.revocation.status import Status

logger = logging.getLogger(__name__)


class Certgrinderd(PkiMethods, OcspMethods):
    """A certgrinderd server: one configuration, and what can be done with it.

    The methods whose names end in `_command` are the commands of the command line. They write their
    result to standard output and raise a CertgrinderdError when there is none. The others answer as
    documented: several log an error and return False, or end the process with status 1.

    Attributes:
        conf: The values of all options by their names, as the methods use them.
    """

    def __init__(self, userconfig: Mapping[str, str | bool | None] | None = None) -> None:
        """Merge userconfig with the defaults, and configure logging.

        Args:
            userconfig: Option names and values.

        Raises:
            ConfigurationError: A name or value is none, or syslog can't be reached.
        """
        given = sources.from_mapping(userconfig or {}, name="userconfig")
        self._use(sources.merge(given), is_client=False)

    @classmethod
    def for_request(cls, configuration: Configuration, *, is_client: bool) -> Certgrinderd:
        """Make one from a configuration that came from several places.

        Args:
            configuration: The settings, and where each comes from.
            is_client: Whether a client asks, and reads what we say.

        Raises:
            ConfigurationError: Syslog can't be reached.
        """
        made = cls.__new__(cls)
        made._use(configuration, is_client=is_client)  # noqa: SLF001 - our own
        return made

    def _use(self, configuration: Configuration, *, is_client: bool) -> None:
        from certgrinderd.system import log

        settings = configuration.settings
        self.conf: dict[str, Value] = settings.values()
        self._origins = configuration.origins
        self._is_client = is_client
        log.configure(settings, client=is_client, syslog_level=configuration.syslog_level)

    @property
    def _settings(self) -> Settings:
        return Settings.from_values(self.conf)

    def _domainsets(self) -> Domainsets:
        return read_domainsets(self._settings)

    # Certificates.

    def get_certificate_command(self) -> None:
        """Read a CSR, and print the certificate chain for it."""
        self._write(self._chain_for(self._read_csr(self._settings.csr_file)))

    def _read_csr(self, path: str | None) -> x509.CertificateSigningRequest:
        from certgrinderd.pki import csr

        data = self._read(path or None, named="csr-file", what=csr.EXPECTED)
        return csr.parse_csr(data, key_types=self._settings.allow_key_types)

    def _chain_for(self, csr: x509.CertificateSigningRequest) -> bytes:
        from certgrinderd import policy
        from certgrinderd.issuance import attempts
        from certgrinderd.pki.csr import requested_names
        from certgrinderd.pki.extensions import ignored

        settings = self._settings
        requested = requested_names(csr)
        policy.require_permitted(requested, self._domainsets(), max_names=settings.max_names)
        if passed_over := ignored(csr):
            logger.info("CAs do not heed this part of the CSR: %s", ", ".join(passed_over))
        return attempts.obtain(csr, requested, settings)

    def process_csr(self, csrpath: str = "") -> None:
        """Read a CSR, check it, and print a certificate for it.

        Args:
            csrpath: The path of the CSR; standard input if it is empty.

        Raises:
            SystemExit: With status 1, when there is no certificate; the log says why.
        """
        try:
            self._write(self._chain_for(self._read_csr(csrpath)))
        except CertgrinderdError as error:
            self._exit(error)

    def get_certificate(self, csrpath: str) -> None:
        """Print a certificate for a CSR that was checked before: by DNS-01, else by HTTP-01.

        If there is none, that is logged as an error, and the method returns.

        Args:
            csrpath: The path of the CSR.
        """
        from certgrinderd.issuance import attempts
        from certgrinderd.pki.csr import requested_names

        try:
            csr = self._read_csr(csrpath)
            self._write(attempts.obtain(csr, requested_names(csr), self._settings))
        except CertgrinderdError as error:
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback

    def get_certbot_command(
        self, challengetype: str, csrpath: str, fullchainpath: str, certpath: str, chainpath: str
    ) -> list[str]:
        """Put the Certbot command together.

        Args:
            challengetype: "dns" or "http".
            csrpath: The path of the CSR.
            fullchainpath: Where to put certificate and issuers.
            certpath: Where to put the certificate alone.
            chainpath: Where to put the issuers alone.

        Raises:
            ConfigurationError: A hook can't be found.
            ValueError: There is no such challenge.
        """
        from certgrinderd.issuance import certbot
        from certgrinderd.issuance.hooks import Challenge

        paths = certbot.Paths(csrpath, fullchainpath, certpath, chainpath)
        return certbot.certonly_command(self._settings, Challenge(challengetype), paths)

    def run_certbot(self, command: list[str], env: dict[str, str], fullchainpath: str) -> bool:
        """Run Certbot when it is our turn, and print the chain that it wrote.

        Args:
            command: All words.
            env: All of its environment.
            fullchainpath: Where it writes the chain.

        Returns:
            Whether it ended with status 0 and left a chain; otherwise the log says what is wrong.
        """
        from certgrinderd.issuance import certbot

        try:
            certbot.run(self._settings, command, env, note="run_certbot")
            self._write(certbot.read_chain(fullchainpath))
        except CertgrinderdError as error:
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback
            return False
        return True

    # Revocation; the checks of OCSP responses are in OcspMethods.

    def get_ocsp_command(self) -> None:
        """Read a certificate chain, and print the OCSP response for the leaf in DER."""
        from certgrinderd.revocation import fetch

        answer = fetch.ocsp_response(self._question(self._read_chain()))
        self._tell(answer.status, f"the OCSP response from {answer.source!r}")
        self._write(answer.der)

    def get_crl_command(self) -> None:
        """Read a certificate chain, and print the CRL that covers the leaf in DER."""
        from certgrinderd.revocation import fetch

        question = self._question(self._read_chain())
        answer = fetch.certificate_revocation_list(question)
        on_it = "is on it" if answer.status.kind == "revoked" else "is not on it"
        self._tell(
            answer.status,
            f"the CRL from {answer.source!r}: the certificate with the serial number "
            f"{question.certificate.serial_number:x} {on_it}",
        )
        self._write(answer.der)

    def get_ocsp_response(self, certpath: str | None) -> OCSPResponse:
        """Read a certificate chain, and return an OCSP response that was checked.

        Args:
            certpath: The path of the PEM file; standard input if it is None.

        Raises:
            SystemExit: With status 1, when there is none; the log says why.
        """
        from certgrinderd.revocation import fetch, ocsp

        try:
            answer = fetch.ocsp_response(self._question(self.parse_chain(certpath)))
            return ocsp.parse_response(answer.der)
        except CertgrinderdError as error:
            self._exit(error)

    def _question(self, chain: list[x509.Certificate]) -> Question:
        """What to ask about a leaf, if this client may: it is no way to send us to any server.

        Raises:
            NotPermitted: A client asks about a certificate with others' names.
            MalformedInput: The issuer is missing, or a client's certificate has other names than
                those of hosts.
        """
        from certgrinderd.pki import certificates
        from certgrinderd.revocation.fetch import Question

        if self._is_client:
            from certgrinderd import policy

            policy.require_names(certificates.host_names_of(chain[0]), self._domainsets())
        issuer = certificates.find_issuer(chain)
        return Question(chain[0], issuer, self._settings, for_client=self._is_client)

    @staticmethod
    def _tell(status: Status, what: str) -> None:
        level = logging.INFO if status.kind == "good" else logging.WARNING
        logger.log(level, "%s: %s", what, status)

    def get_renewal_info_command(self) -> None:
        """Read a certificate chain, and print when the CA wants the leaf to be renewed."""
        from certgrinderd.issuance import engines

        self._write(engines.renewal_info(self._settings, self._read_chain()[0]).encode())

    # What there is to see.

    def show_acmeaccount_command(self) -> None:
        """Print what the CA knows about our account."""
        from certgrinderd.issuance import engines

        with engines.opened(self._settings) as engine:
            self._write(engine.describe_account().encode())

    def show_configuration_command(self) -> None:
        """Print the settings in force; to a client, those that concern it."""
        from certgrinderd import overview

        settings = self._settings
        if self._is_client:
            text = overview.for_client(settings, self._domainsets())
        else:
            text = overview.for_admin(Configuration(settings, self._origins))
        self._write(text.encode())

    def show_csr_command(self) -> None:
        """Read a CSR, and print what is in it and whether this client may have it."""
        from certgrinderd import policy
        from certgrinderd.pki import describe
        from certgrinderd.pki.csr import requested_names
        from certgrinderd.text import printable

        csr = self._read_csr(self._settings.csr_file)
        text = describe.csr(csr)
        try:
            requested = requested_names(csr)
            permitted = policy.require_permitted(
                requested, self._domainsets(), max_names=self._settings.max_names
            )
            text += describe.permission(permitted)
        except NotPermitted as error:
            text += describe.refusal(error)
        except CertgrinderdError as error:
            text += f"This client may have it: no, {printable(str(error))}\n"
        self._write(text.encode())

    def show_certificate_command(self, *, check_revocation: bool = False) -> None:
        """Read a certificate chain, and print what is in it.

        Args:
            check_revocation: Whether to ask the CA if the leaf is revoked, and print its answers.
        """
        from datetime import datetime, timezone

        from certgrinderd.pki import describe

        chain = self._read_chain()
        text = describe.chain(chain, now=datetime.now(timezone.utc))
        if check_revocation:
            from certgrinderd.revocation import fetch

            text += "\n" + describe.revocation(fetch.everything(self._question(chain)))
        self._write(text.encode())

    @staticmethod
    def ping_command() -> None:
        """Print "pong"."""
        Certgrinderd._write(b"pong\n")

    # PEM and signatures.

    def _read_chain(self) -> list[x509.Certificate]:
        return self.parse_chain(self._settings.certificate_file)

    def parse_chain(self, certpath: str | None) -> list[x509.Certificate]:
        """Read a certificate chain.

        Args:
            certpath: The path of the PEM file; standard input if it is None.

        Raises:
            MalformedInput: It is none.
        """
        from certgrinderd.pki import certificates

        data = self._read(certpath, named="certificate-file", what=certificates.EXPECTED)
        return certificates.parse_chain(data)

    # Input, output and the end.

    def _read(self, path: str | None, *, named: str, what: str) -> bytes:
        return read_given(path, self._settings, named=named, what=what)

    @staticmethod
    def _write(data: bytes) -> None:
        """Write the result to standard output, whole."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
