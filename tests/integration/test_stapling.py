"""The worked example of docs/ocsp.md: a real CA and responder, sshd, nginx, openssl s_client."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from certgrinderd import Certgrinderd
from certgrinderd.revocation import ocsp
from tests.testbed.authority import Party, make_delegate
from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.openssl import OpensslResponder
from tests.testbed.pebble import Pebble
from tests.testbed.server import Server, clean_environment, find_program, free_port, wait_until
from tests.testbed.service import Service, log_levels
from tests.testbed.sshd import Client, Sshd

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "ocsp.md"
NAME = "stapled.example.test"

# As the public client 0.18.1 asks.
ASK = "--log-level INFO --preferred-chain DST_Root_CA_X3 get ocsp"


def example(language: str) -> str:
    """The one code block of a language in the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(block)


class Site(Server):
    """nginx with the server block of the document: folder, name and port are the test's."""

    program_name = "nginx"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self.folder = self.directory / "site"
        self.folder.mkdir()

    def configure(self) -> None:
        """Write nginx.conf around the example."""
        block = example("nginx")
        for documented, ours in (
            ("listen 443 ", f"listen 127.0.0.1:{self.port} "),
            ("www.example.com;", f"{NAME};"),
            ("/etc/nginx/www.example.com/", f"{self.folder}/"),
        ):
            assert documented in block
            block = block.replace(documented, ours)
        paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{path}_temp_path temporary;\n" for path in paths)
        (self.directory / "nginx.conf").write_text(
            "daemon off;\npid nginx.pid;\nerror_log stderr notice;\nevents {}\n"
            f"http {{\naccess_log off;\n{temporary}{block}}}\n",
            encoding="utf-8",
        )

    def command(self) -> Sequence[str]:
        """Run nginx in the foreground."""
        return self.control()

    def control(self, *words: str) -> list[str]:
        """The nginx command for this site."""
        folder = str(self.directory)
        return [self.program, "-p", folder, "-c", f"{folder}/nginx.conf", "-e", "stderr", *words]

    def is_ready(self) -> bool:
        """Whether it shows its certificate."""
        return NAME in self.handshake()

    def handshake(self) -> str:
        """What the document's openssl command shows."""
        place = ("-connect", f"127.0.0.1:{self.port}", "-servername", NAME)
        done = subprocess.run(
            [find_program("openssl"), "s_client", *place, "-status"],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.stdout.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def responder() -> Iterator[OpensslResponder]:
    """A responder that is not started yet: its CA is made after its URL."""
    made = OpensslResponder()
    yield made
    made.__exit__()


@pytest.fixture(scope="module")
def ca(named: Named, nginx: Nginx, responder: OpensslResponder) -> Iterator[Pebble]:
    """A CA whose certificates name the responder, and the responder with its key."""
    env = {"PEBBLE_WFE_NONCEREJECT": "0"}
    with Pebble(
        dns_server=named.address, http_port=nginx.port, env=env, ocsp_url=responder.url
    ) as pebble:
        responder.sign_for(pebble.intermediate(), pebble.intermediate_key())
        responder.configure()
        responder.start()
        yield pebble


@pytest.fixture(scope="module")
def service(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path,
    sshd: Sshd,
    ca: Pebble,
    named: Named,
    nginx: Nginx,
    tmp_path_factory: pytest.TempPathFactory,
) -> Service:
    """An installation whose clients may ask a responder on this host."""
    made = Service(pyz, sshd, ca, named, nginx, tmp_path_factory.mktemp("service"))
    made.configure(ocsp_allow_private=True)
    return made


class Machine:
    """A client with its certificate from the CA."""

    def __init__(self, service: Service, named: Named) -> None:
        named.delegate(NAME)
        request = make_csr([NAME])
        self.ssh: Client = service.add_client(NAME)
        done = self.ssh.run("get certificate", stdin=request.pem)
        assert done.returncode == 0, done.stderr.decode()
        self.chain = done.stdout
        self.certificates = x509.load_pem_x509_certificates(self.chain)
        self.key = request.key

    def require_response(self, data: bytes) -> str:
        """The response is good by our checks and by OpenSSL's; return its status."""
        leaf, issuer = self.certificates[:2]
        response = ocsp.parse_response(data)
        request = Certgrinderd.create_ocsp_request(leaf, issuer)
        assert Certgrinderd.check_ocsp_response(request, response, leaf, issuer)
        return response.certificate_status.name


def openssl_says(data: bytes, certificates: Sequence[x509.Certificate], folder: Path) -> str:
    """What `openssl ocsp` thinks of a response."""
    paths = []
    for name, certificate in zip(("leaf", "issuer"), certificates, strict=False):
        path = folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(Encoding.PEM))
        paths.append(str(path))
    (folder / "response.der").write_bytes(data)
    leaf, issuer = paths
    # OpenSSL believes a self-signed certificate only, unless it is told who may sign.
    words = ("-respin", str(folder / "response.der"), "-issuer", issuer, "-cert", leaf)
    done = subprocess.run(
        [find_program("openssl"), "ocsp", *words, "-CAfile", issuer, "-partial_chain"],
        env=clean_environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    return (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def machine(service: Service, named: Named) -> Machine:
    """A client with a certificate."""
    return Machine(service, named)


def test_ocsp_response_in_the_public_clients_form(
    machine: Machine, responder: OpensslResponder, ca: Pebble, tmp_path: Path
) -> None:
    """Its command line, chain on standard input: DER on standard output, log lines on the other."""
    leaf = machine.certificates[0]
    responder.know(leaf)
    done = machine.ssh.run(ASK, stdin=machine.chain)
    assert done.returncode == 0, done.stderr.decode()
    assert machine.require_response(done.stdout) == "GOOD"
    assert set(log_levels(done.stderr)) == {"INFO"}
    said = openssl_says(done.stdout, machine.certificates, tmp_path)
    assert "Response verify OK" in said
    assert "leaf.pem: good" in said

    responder.know(leaf, "revoked")
    done = machine.ssh.run(ASK, stdin=machine.chain)
    assert done.returncode == 0, done.stderr.decode()
    assert machine.require_response(done.stdout) == "REVOKED"
    assert "WARNING" in log_levels(done.stderr)
    assert ca.certificate_status(leaf.serial_number)["Status"] == "Valid"  # another list


def test_responder_that_does_not_know_the_certificate(
    machine: Machine, responder: OpensslResponder
) -> None:
    """Its "unknown" is signed and current: printed, with a warning."""
    responder.know(machine.certificates[0], "unknown")
    done = machine.ssh.run(ASK, stdin=machine.chain)
    assert done.returncode == 0, done.stderr.decode()
    assert machine.require_response(done.stdout) == "UNKNOWN"
    assert "WARNING" in log_levels(done.stderr)


def test_another_clients_certificate_is_refused(
    service: Service, machine: Machine, responder: OpensslResponder
) -> None:
    """Through sshd, and nobody is asked."""
    responder.know(machine.certificates[0])
    asked = responder.questions()
    done = service.add_client("other.example.test").run(ASK, stdin=machine.chain)
    assert (done.returncode, done.stdout) == (3, b"")
    assert responder.questions() == asked
    assert machine.ssh.run(ASK, stdin=machine.chain).returncode == 0
    assert responder.questions() == asked + 1


def test_responder_on_this_host_is_refused_by_default(
    service: Service, machine: Machine, responder: OpensslResponder
) -> None:
    """Until the admin sets ocsp-allow-private."""
    responder.know(machine.certificates[0])
    asked = responder.questions()
    service.configure(ocsp_allow_private=None)
    done = machine.ssh.run(ASK, stdin=machine.chain)
    assert (done.returncode, done.stdout) == (4, b"")
    assert responder.questions() == asked
    service.configure(ocsp_allow_private=True)
    assert machine.ssh.run(ASK, stdin=machine.chain).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "delegated"),
    [
        pytest.param(("-rsigopt", "rsa_padding_mode:pss"), False, id="RSASSA-PSS"),
        pytest.param(("-resp_key_id",), False, id="ResponderID by key"),
        pytest.param(("-rmd", "sha512"), True, id="delegate"),
    ],
)
def test_responders_of_other_kinds(
    machine: Machine,
    responder: OpensslResponder,
    ca: Pebble,
    arguments: tuple[str, ...],
    *,
    delegated: bool,
) -> None:
    """What else `openssl ocsp` can do with the CA's key is understood too."""
    other = OpensslResponder(responder.port)
    issuer, key = ca.intermediate(), ca.intermediate_key()
    delegate = None
    if delegated:
        ca_key = serialization.load_pem_private_key(key.encode(), None)
        assert isinstance(ca_key, rsa.RSAPrivateKey)
        delegate = make_delegate(Party(x509.load_pem_x509_certificate(issuer.encode()), ca_key))
    other.sign_for(
        issuer,
        delegate.key_pem.decode() if delegate else key,
        signer_pem=delegate.pem.decode() if delegate else "",
        arguments=arguments,
    )
    other.know(machine.certificates[0])
    responder.stop()
    try:
        with other:
            done = machine.ssh.run(ASK, stdin=machine.chain)
    finally:
        responder.start()
    assert done.returncode == 0, done.stderr.decode()
    assert machine.require_response(done.stdout) == "GOOD"


def test_worked_example(machine: Machine, responder: OpensslResponder, tmp_path: Path) -> None:
    """The script of the document fetches, nginx staples, openssl s_client shows the response."""
    responder.know(machine.certificates[0])
    site = Site()
    (site.folder / "chain.pem").write_bytes(machine.chain)
    (site.folder / "key.pem").write_bytes(
        machine.key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    update = Script(machine, site, tmp_path)
    assert update.run() != 0  # nginx does not run yet
    assert (site.folder / "ocsp.der").exists()

    with site:
        shown = site.handshake()
        assert "OCSP Response Status: successful" in shown
        assert "Cert Status: good" in shown

        responder.know(machine.certificates[0], "revoked")
        assert update.run() == 0
        wait_until(
            lambda: "Cert Status: revoked" in site.handshake(), timeout=20, what="nginx reloads"
        )

        responder.stop()
        before = (site.folder / "ocsp.der").read_bytes()
        assert update.run() == 5
        responder.start()
        assert (site.folder / "ocsp.der").read_bytes() == before
        names = {path.name for path in site.folder.iterdir()}
        assert names == {"chain.pem", "key.pem", "ocsp.der"}


class Script:
    """The script of the document: its folder is the test's, `ssh` and `nginx` are led there."""

    def __init__(self, machine: Machine, site: Site, folder: Path) -> None:
        self._path = folder / "update-ocsp-response"
        documented = "folder=/etc/nginx/www.example.com\n"
        text = example("sh")
        assert documented in text
        text = text.replace(documented, f"folder={shlex.quote(str(site.folder))}\n")
        self._write(self._path, text)
        self._programs = folder / "programs"
        self._programs.mkdir()
        # "-T", the server and "--" go; its options and address come from the test bed.
        ssh = shlex.join(machine.ssh.command())
        self._write(self._programs / "ssh", f'#!/bin/sh\nshift 3\nexec {ssh} "$@"\n')
        nginx = shlex.join(site.control())
        self._write(self._programs / "nginx", f'#!/bin/sh\nexec {nginx} "$@"\n')

    def run(self) -> int:
        """Its exit status."""
        environment = clean_environment()
        environment["PATH"] = f"{self._programs}:{environment['PATH']}"
        return subprocess.run(
            [self._path],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
