"""The class for other programs: the documented methods, thin layers over the modules below."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from certgrinderd import policy
from certgrinderd.errors import (
    CertgrinderdError,
    ConfigurationError,
    IssuanceError,
    MalformedInput,
    NotPermitted,
)
from certgrinderd.issuance import attempts, certbot, engines
from certgrinderd.issuance.hooks import Challenge, environment
from certgrinderd.pki import certificates, describe
from certgrinderd.pki.csr import EXPECTED as EXPECTED_CSR
from certgrinderd.pki.csr import parse_csr, requested_names
from certgrinderd.pki.extensions import ignored
from certgrinderd.pki.signatures import is_signature_valid
from certgrinderd.policy import Domainsets
from certgrinderd.settings import show, sources
from certgrinderd.settings.conf import Conf
from certgrinderd.settings.kinds import Value
from certgrinderd.settings.sources import Configuration
from certgrinderd.settings.table import Settings
from certgrinderd.system import log
from certgrinderd.system.files import private_directory, write_private
from certgrinderd.system.input import read_domainsets, read_request
from certgrinderd.system.output import write_answer
from certgrinderd.text import printable

# What looks at revocation, with HTTP and TLS, is loaded where it is used: a certificate needs none.
if TYPE_CHECKING:
    from cryptography.x509.ocsp import OCSPRequest, OCSPResponse

    from certgrinderd.revocation.fetch import Question
    from certgrinderd.revocation.status import Status

logger = logging.getLogger(__name__)

# The settings that parse_csr() and check_csr() go by, which are static as documented: those of the
# instance that calls them, else the defaults.
_IN_FORCE: ContextVar[Settings] = ContextVar("_IN_FORCE", default=Settings())  # noqa: B039 - frozen


class Certgrinderd:
    """A certgrinderd server: one configuration, and what can be done with it.

    The methods whose names end in `_command` are the commands of the command line. They write their
    result to standard output, or raise a CertgrinderdError. Several of the other methods log an
    error and return False, or exit with status 1, as documented.

    Attributes:
        conf: The values of all options by their names. Setting one checks the value, and counts
            for what is called then; logging stays as it was configured.
    """

    def __init__(self, userconfig: Mapping[str, str | bool | None] | None = None) -> None:
        """Merge userconfig with the defaults, and configure logging.

        Args:
            userconfig: Option names and values.

        Raises:
            ConfigurationError: An unknown name, an invalid value, or syslog can't be reached.
        """
        given = sources.from_mapping(userconfig or {}, name="userconfig")
        self._use(sources.merge(given), is_client=False)

    @classmethod
    def for_request(cls, configuration: Configuration, *, is_client: bool) -> Certgrinderd:
        """Make an instance from a configuration that was merged from several sources.

        Args:
            configuration: The settings and their sources.
            is_client: Whether a client makes the request, and reads the log.

        Raises:
            ConfigurationError: Syslog can't be reached.
        """
        made = cls.__new__(cls)
        made._use(configuration, is_client=is_client)  # noqa: SLF001 - our own
        return made

    def _use(self, configuration: Configuration, *, is_client: bool) -> None:
        self._conf = Conf(configuration)
        self._expected: x509.CertificateSigningRequest | None = None
        self._failure: CertgrinderdError | None = None
        self._is_client = is_client
        log.configure(
            configuration.settings, client=is_client, syslog_level=configuration.syslog_level
        )

    @property
    def conf(self) -> MutableMapping[str, Value]:
        """The values of all options by their names."""
        return self._conf

    @property
    def _settings(self) -> Settings:
        return self._conf.configuration.settings

    def _domainsets(self) -> Domainsets:
        return read_domainsets(self._settings)

    # Certificates.

    def get_certificate_command(self) -> None:
        """Read a CSR, and print the certificate chain for it."""
        self._write_chain(self._chain_for(self._read_csr(self._settings.csr_file)))

    def _read_csr(self, path: str | None) -> x509.CertificateSigningRequest:
        data = self._read(path or None, label="csr-file", what=EXPECTED_CSR)
        return parse_csr(data, key_types=self._settings.allow_key_types)

    def _chain_for(self, csr: x509.CertificateSigningRequest) -> bytes:
        settings = self._settings
        requested = requested_names(csr)
        policy.require_permitted(requested, self._domainsets(), max_names=settings.max_names)
        if type(self).check_csr is not Certgrinderd.check_csr:
            with _in_force(settings):
                if not self.check_csr(csr):
                    raise NotPermitted("check_csr() of a subclass refuses the request")
        _log_ignored(csr)
        return attempts.obtain(csr, requested, settings)

    def process_csr(self, csrpath: str = "") -> None:
        """Read a CSR, check it, and print a certificate for it.

        Calls self.parse_csr(), self.check_csr(), and self.get_certificate() with the path of a copy
        of the CSR, which is removed afterwards.

        Args:
            csrpath: The path of the CSR; standard input if it is empty.

        Raises:
            SystemExit: With status 1, if there is no certificate; the log has the reason.
        """
        settings = self._settings
        self._failure = None
        try:
            data = self._read(csrpath or None, label="csr-file", what=EXPECTED_CSR)
            with _in_force(settings):
                # Without a character it would read standard input.
                csr = self.parse_csr(data.decode("utf-8", "surrogateescape") or "\n")
                if not self.check_csr(csr):
                    raise SystemExit(1)
            _log_ignored(csr)
            with private_directory(settings.temp_dir) as folder:
                path = str(folder / "csr.pem")
                self._save_csr(csr, path)
                self.get_certificate(path)
        except CertgrinderdError as error:
            self._exit(error)
        if self._failure is not None:
            raise SystemExit(1) from self._failure

    def get_certificate(self, csrpath: str) -> None:
        """Print a certificate for a CSR that was checked before: by DNS-01, else by HTTP-01.

        With Certbot, this calls self.run_certbot() with self.get_certbot_command() for each
        challenge. The built-in ACME client and acme-client-command call neither.

        If there is no certificate, it logs an error and returns.

        Args:
            csrpath: The path of the CSR.
        """
        try:
            csr = self._read_csr(csrpath)
            if engines.chosen(self._settings).kind is engines.Kind.CERTBOT:
                self._get_by_certbot(csr)
            else:
                self._write_chain(attempts.obtain(csr, requested_names(csr), self._settings))
        except CertgrinderdError as error:
            self._failure = error
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback

    def _get_by_certbot(self, csr: x509.CertificateSigningRequest) -> None:
        settings = self._settings
        requested = requested_names(csr)
        self._expected = csr
        try:
            for challenge in attempts.possible_challenges(requested, settings):
                with private_directory(settings.temp_dir) as folder:
                    paths = certbot.Paths.in_folder(folder)
                    self._save_csr(csr, paths.csr)
                    command = self.get_certbot_command(
                        challenge.value, paths.csr, paths.fullchain, paths.certificate, paths.chain
                    )
                    variables = environment(settings, challenge, os.environ)
                    if self.run_certbot(command, variables, paths.fullchain):
                        return
        finally:
            self._expected = None
        raise IssuanceError(f"no certificate for {', '.join(map(str, requested.names))}")

    def _save_csr(self, csr: x509.CertificateSigningRequest, path: str) -> None:
        try:
            self.save_csr(csr, path)
        except OSError as error:
            raise ConfigurationError(f"temp-dir: cannot write in it: {error.strerror}") from error

    def get_certbot_command(
        self, challengetype: str, csrpath: str, fullchainpath: str, certpath: str, chainpath: str
    ) -> list[str]:
        """Return the Certbot command line.

        Args:
            challengetype: "dns" or "http".
            csrpath: The path of the CSR.
            fullchainpath: Where to put certificate and issuers.
            certpath: Where to put the certificate alone.
            chainpath: Where to put the issuers alone.

        Raises:
            ConfigurationError: A hook can't be found.
            ValueError: challengetype is something else.
        """
        paths = certbot.Paths(csrpath, fullchainpath, certpath, chainpath)
        return certbot.certonly_command(self._settings, Challenge(challengetype), paths)

    def run_certbot(self, command: list[str], env: dict[str, str], fullchainpath: str) -> bool:
        """Wait for other runs of Certbot, run it, and print the chain that it wrote.

        Args:
            command: The command line.
            env: Its whole environment.
            fullchainpath: The file that it writes the chain to.

        Returns:
            Whether it exited with status 0 and wrote a chain, within get_certificate() one for its
            CSR; if not, the log has the reason.
        """
        try:
            certbot.run(self._settings, command, env, note="run_certbot")
            chain = certbot.read_chain(fullchainpath)
            csr = self._expected
            if csr is not None:
                chain = attempts.checked(chain, csr, requested_names(csr), way="Certbot")
            self._write_chain(chain)
        except CertgrinderdError as error:
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback
            return False
        return True

    # Revocation.

    def get_ocsp_command(self) -> None:
        """Read a certificate chain, and print the OCSP response for the leaf in DER."""
        from certgrinderd.revocation import fetch

        answer = fetch.ocsp_response(self._question(self._read_chain()))
        self._tell(answer.status, f"the OCSP response from {answer.source!r}")
        write_answer(answer.der)

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
        write_answer(answer.der)

    def get_ocsp_response(self, certpath: str | None) -> OCSPResponse:
        """Read a certificate chain, and return a verified OCSP response.

        Args:
            certpath: The path of the PEM file; standard input if it is None.

        Raises:
            SystemExit: With status 1, if there is none; the log has the reason.
        """
        from certgrinderd.revocation import fetch, ocsp

        try:
            answer = fetch.ocsp_response(self._question(self.parse_chain(certpath)))
            return ocsp.parse_response(answer.der)
        except CertgrinderdError as error:
            self._exit(error)

    def _question(self, chain: list[x509.Certificate]) -> Question:
        """Return what to ask about the leaf, if this client may ask.

        Raises:
            NotPermitted: The certificate has names that are not in the client's domainsets.
            MalformedInput: The issuer is missing, or a client's certificate has names other than
                host names.
        """
        from certgrinderd.revocation.fetch import Question

        self._require_own(chain[0])
        issuer = certificates.find_issuer(chain)
        return Question(chain[0], issuer, self._settings, for_client=self._is_client)

    def _require_own(self, certificate: x509.Certificate) -> None:
        """Require that a certificate about which a client asks has names of that client only.

        Raises:
            NotPermitted, MalformedInput: See _question.
        """
        if self._is_client:
            policy.require_names(certificates.host_names_of(certificate), self._domainsets())

    @staticmethod
    def _tell(status: Status, what: str) -> None:
        level = logging.INFO if status.kind == "good" else logging.WARNING
        logger.log(level, "%s: %s", what, status)

    def get_renewal_info_command(self) -> None:
        """Read a certificate chain, and print when the CA wants the leaf to be renewed."""
        from certgrinderd.issuance import builtin

        certificate = self._read_chain()[0]
        self._require_own(certificate)
        write_answer(builtin.renewal_info(self._settings, certificate).encode())

    # Commands that show something.

    def show_acmeaccount_command(self) -> None:
        """Print the CA's information about the ACME account."""
        with engines.opened(self._settings) as engine:
            write_answer(engine.describe_account().encode())

    def show_configuration_command(self) -> None:
        """Print the settings in force; for a client, those that concern it."""
        settings = self._settings
        if self._is_client:
            # With an ACME side of its own, that side alone knows its challenges.
            enabled = None if settings.acme_client_command else attempts.challenges(settings)
            text = show.for_client(
                settings,
                domainsets=[",".join(sorted(map(str, names))) for names in self._domainsets().sets],
                challenges=None if enabled is None else map(str, enabled),
            )
        else:
            engine = engines.chosen(settings).reason
            text = show.for_admin(self._conf.configuration, engine=engine)
        write_answer(text.encode())

    def show_csr_command(self) -> None:
        """Read a CSR, and print its contents and whether this client may have the certificate.

        Names that are not permitted are part of the output, not an error.
        """
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
        write_answer(text.encode())

    def show_certificate_command(self, *, check_revocation: bool = False) -> None:
        """Read a certificate chain, and print its contents.

        Args:
            check_revocation: Whether to ask the CA if the leaf is revoked, and print its answers.
        """
        chain = self._read_chain()
        text = describe.chain(chain, now=datetime.now(timezone.utc))
        if check_revocation:
            from certgrinderd.revocation import fetch

            text += "\n" + describe.revocation(fetch.everything(self._question(chain)))
        write_answer(text.encode())

    @staticmethod
    def ping_command() -> None:
        """Print "pong"."""
        write_answer(b"pong\n")

    # CSRs, certificates and signatures.

    @staticmethod
    def parse_csr(csrstring: str = "") -> x509.CertificateSigningRequest:
        """Read a CSR.

        Args:
            csrstring: The CSR in PEM; taken from standard input if it is empty.

        Raises:
            SystemExit: With status 1, if the input is invalid; the log has the reason.
        """
        try:
            settings = _IN_FORCE.get()
            data = csrstring.encode("utf-8", "surrogateescape")
            data = data or read_request(None, settings, label="", what=EXPECTED_CSR)
            return parse_csr(data, key_types=settings.allow_key_types)
        except CertgrinderdError as error:
            Certgrinderd._exit(error)

    @staticmethod
    def check_csr(csr: x509.CertificateSigningRequest) -> bool:
        """Whether a CSR is well formed, and CERTGRINDERD_DOMAINSETS permits its names.

        Within process_csr() the options domainsets and max-names count too.

        Args:
            csr: The CSR.
        """
        try:
            settings = _IN_FORCE.get()
            policy.require_permitted(
                requested_names(csr), read_domainsets(settings), max_names=settings.max_names
            )
        except CertgrinderdError as error:
            logger.error("%s", error)  # noqa: TRY400 - for people, who get no traceback
            return False
        return True

    @staticmethod
    def save_csr(csr: x509.CertificateSigningRequest, path: str) -> None:
        """Write a CSR in PEM to a file that only its owner can read; an existing file is replaced.

        Args:
            csr: The CSR.
            path: The path of the file.
        """
        Path(path).unlink(missing_ok=True)
        write_private(Path(path), csr.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def split_pem_chain(pem_chain_bytes: bytes) -> list[bytes]:
        """Split a PEM text into its certificates.

        Args:
            pem_chain_bytes: The whole text.

        Returns:
            A PEM block for each certificate, in their order.
        """
        return certificates.split_pem(pem_chain_bytes)

    @classmethod
    def parse_certificate(cls, certificate_bytes: bytes) -> x509.Certificate:
        """Read one certificate.

        Args:
            certificate_bytes: The certificate in PEM.

        Raises:
            SystemExit: With status 1, if the input is invalid; the log has the reason.
        """
        try:
            return certificates.parse_certificate(certificate_bytes)
        except CertgrinderdError as error:
            cls._exit(error)

    @classmethod
    def parse_certificate_chain(
        cls, certpath: str | None, expected_length: int | None = None
    ) -> list[x509.Certificate]:
        """Read a certificate chain.

        Args:
            certpath: The path of the PEM file; standard input if it is None.
            expected_length: How many certificates there must be; any number if it is None.

        Raises:
            SystemExit: With status 1, if the input is invalid or the chain has another length.
        """
        try:
            data = read_request(
                certpath, Settings(), label="certificate-file", what=certificates.EXPECTED
            )
            chain = certificates.parse_chain(data)
            if expected_length is not None and len(chain) != expected_length:
                raise MalformedInput(
                    f"expected a chain of {expected_length} certificates, not of {len(chain)}"
                )
        except CertgrinderdError as error:
            cls._exit(error)
        return chain

    @staticmethod
    def verify_signature(
        pubkey: CertificatePublicKeyTypes,
        signature: bytes,
        payload: bytes,
        hashalgo: hashes.HashAlgorithm,
    ) -> bool:
        """Whether the signature of a payload is valid.

        Args:
            pubkey: An RSA (PKCS #1 v1.5), elliptic curve, Ed25519 or Ed448 key.
            signature: The signature.
            payload: What was signed.
            hashalgo: The hash algorithm of the signature; the Edwards curves bring their own.
        """
        return is_signature_valid(pubkey, signature, payload, hashalgo)

    def _read_chain(self) -> list[x509.Certificate]:
        return self.parse_chain(self._settings.certificate_file)

    def parse_chain(self, certpath: str | None) -> list[x509.Certificate]:
        """Read a certificate chain.

        Args:
            certpath: The path of the PEM file; standard input if it is None.

        Raises:
            MalformedInput: The input is not a certificate chain.
        """
        data = self._read(certpath, label="certificate-file", what=certificates.EXPECTED)
        return certificates.parse_chain(data)

    # OCSP, in steps.

    @classmethod
    def create_ocsp_request(
        cls, certificate: x509.Certificate, issuer: x509.Certificate
    ) -> OCSPRequest:
        """Make an OCSP request about one certificate.

        Args:
            certificate: The certificate.
            issuer: Its issuer.
        """
        from certgrinderd.revocation import ocsp

        return ocsp.build_request(certificate, issuer)

    @classmethod
    def check_ocsp_response(
        cls,
        ocsp_request: OCSPRequest,
        ocsp_response: OCSPResponse,
        certificate: x509.Certificate,
        issuer: x509.Certificate,
    ) -> bool:
        """Whether a response passes all checks of RFC 6960 section 3.2, revoked or not.

        Args:
            ocsp_request: The request.
            ocsp_response: The response to it.
            certificate: The certificate that the request is about.
            issuer: The issuer of the certificate.
        """
        from certgrinderd.revocation import ocsp

        return _passes(
            lambda: ocsp.verify(
                ocsp_request, ocsp_response, certificate=certificate, issuer=issuer, now=_now()
            )
        )

    @staticmethod
    def check_ocsp_response_issuer(ocsp_request: OCSPRequest, ocsp_response: OCSPResponse) -> bool:
        """Whether a response is about the certificate of the request, by the same issuer.

        Args:
            ocsp_request: The request.
            ocsp_response: The response to it.
        """
        from certgrinderd.revocation import ocsp

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            ocsp.require_match(ocsp_request, ocsp_response)

        return _passes(check)

    @staticmethod
    def check_ocsp_response_timing(ocsp_response: OCSPResponse) -> bool:
        """Whether a response is current: each of its answers is valid now.

        Args:
            ocsp_response: The response.
        """
        from certgrinderd.revocation import ocsp
        from certgrinderd.revocation.status import require_current

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            now = _now()
            for single in ocsp_response.responses:
                require_current(single.this_update_utc, single.next_update_utc, now=now)

        return _passes(check)

    @classmethod
    def check_ocsp_response_signature(
        cls, ocsp_response: OCSPResponse, issuers: list[x509.Certificate]
    ) -> bool:
        """Whether a response is signed by one of the issuers, or by a delegate of one.

        Args:
            ocsp_response: The response.
            issuers: The certificates of those who may have issued the certificate in question.
        """
        from certgrinderd.revocation import ocsp

        def check() -> None:
            ocsp.require_successful(ocsp_response)
            ocsp.require_authorized_signature(ocsp_response, issuers, now=_now())

        return _passes(check)

    # Input, output and the end.

    def _read(self, path: str | None, *, label: str, what: str) -> bytes:
        return read_request(path, self._settings, label=label, what=what)

    @staticmethod
    def _write_chain(chain: bytes) -> None:
        write_answer(chain, label=certificates.label_of_chain(chain))

    @staticmethod
    def _exit(error: CertgrinderdError) -> NoReturn:
        logger.error("%s", error)
        raise SystemExit(1) from error


@contextlib.contextmanager
def _in_force(settings: Settings) -> Iterator[None]:
    """Let parse_csr() and check_csr() go by these settings."""
    token = _IN_FORCE.set(settings)
    try:
        yield
    finally:
        _IN_FORCE.reset(token)


def _log_ignored(csr: x509.CertificateSigningRequest) -> None:
    if found := ignored(csr):
        logger.info("CAs do not heed this part of the CSR: %s", ", ".join(found))


def _passes(check: Callable[[], object]) -> bool:
    from certgrinderd.revocation.status import reading

    try:
        with reading("the OCSP response"):
            check()
    except CertgrinderdError as error:
        logger.error("the OCSP response: %s", error)  # noqa: TRY400 - for people, who get no traceback
        return False
    return True


def _now() -> datetime:
    return datetime.now(timezone.utc)
