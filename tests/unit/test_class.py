"""The class that other programs use, with its documented methods and answers."""

from __future__ import annotations

import inspect
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

import certgrinderd
from certgrinderd import Certgrinderd
from certgrinderd.errors import ConfigurationError, NotPermitted
from certgrinderd.issuance import builtin
from certgrinderd.settings import sources
from certgrinderd.settings.table import LETS_ENCRYPT_STAGING, OPTIONS, Settings
from tests.testbed.authority import issue, make_ca
from tests.testbed.csr import make_csr

PEM = make_csr(["a.example", "b.example"]).pem


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.BufferedWriter]:
    """The other end of standard input."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as ours, os.fdopen(writer, "wb") as theirs:
        monkeypatch.setattr(sys, "stdin", ours)
        yield theirs


def test_class_is_found_at_both_places() -> None:
    """As documented, and where existing code imports it from."""
    from certgrinderd.certgrinderd import Certgrinderd as Same

    assert certgrinderd.Certgrinderd is Same
    with pytest.raises(AttributeError):
        certgrinderd.Nothing  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    ("name", "parameters", "static"),
    [
        ("__init__", ["self", "userconfig"], False),
        ("check_csr", ["csr"], True),
        (
            "check_ocsp_response",
            ["ocsp_request", "ocsp_response", "certificate", "issuer"],
            False,
        ),
        ("check_ocsp_response_issuer", ["ocsp_request", "ocsp_response"], True),
        ("check_ocsp_response_signature", ["ocsp_response", "issuers"], False),
        ("check_ocsp_response_timing", ["ocsp_response"], True),
        ("create_ocsp_request", ["certificate", "issuer"], False),
        ("get_certbot_command", None, False),
        ("get_certificate", ["self", "csrpath"], False),
        ("get_certificate_command", ["self"], False),
        ("get_ocsp_command", ["self"], False),
        ("get_ocsp_response", ["self", "certpath"], False),
        ("parse_certificate", ["certificate_bytes"], False),
        ("parse_certificate_chain", ["certpath", "expected_length"], False),
        ("parse_csr", ["csrstring"], True),
        ("ping_command", [], True),
        ("process_csr", ["self", "csrpath"], False),
        ("run_certbot", ["self", "command", "env", "fullchainpath"], False),
        ("save_csr", ["csr", "path"], True),
        ("split_pem_chain", ["pem_chain_bytes"], True),
        ("verify_signature", ["pubkey", "signature", "payload", "hashalgo"], True),
    ],
)
def test_documented_methods_have_their_signatures(
    name: str, parameters: list[str] | None, *, static: bool
) -> None:
    """Names and order of the arguments are part of the promise."""
    method = getattr(Certgrinderd, name)
    expected = parameters or [
        *("self", "challengetype", "csrpath", "fullchainpath", "certpath", "chainpath")
    ]
    assert list(inspect.signature(method).parameters) == ([] if parameters == [] else expected)
    assert isinstance(inspect.getattr_static(Certgrinderd, name), staticmethod) == static


def test_userconfig_is_merged_with_the_defaults() -> None:
    """Both are in `conf`; an unknown name or a wrong value is an error."""
    server = Certgrinderd({"acme-zone": "acme.example", "debug": True, "web-root": None})
    assert server.conf["acme-zone"] == "acme.example"
    assert server.conf["log-level"] == "DEBUG"
    assert server.conf["web-root"] is None
    assert server.conf["lock-timeout"] == 300
    with pytest.raises(ConfigurationError, match="did you mean 'acme-zone'"):
        Certgrinderd({"acme_zone": "x"})


def test_conf_is_a_dict_of_all_options() -> None:
    """It can be read, copied, compared and iterated over as one."""
    server = Certgrinderd({"acme-zone": "acme.example"})
    assert list(server.conf) == list(OPTIONS)
    assert len(server.conf) == len(OPTIONS)
    assert server.conf == {**Settings().values(), "acme-zone": "acme.example"}
    assert dict(server.conf) == server.conf
    assert server.conf != Settings().values()
    assert server.conf.get("nothing", "else") == "else"
    with pytest.raises(KeyError):
        server.conf["nothing"]


def test_assignment_to_conf_is_checked_and_counts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A value is read as the configuration file's is, and the next method goes by it."""
    server = Certgrinderd()
    server.conf["lock-timeout"] = "7"
    server.conf.update({"web-root": "/x", "staging": True})
    assert server.conf["lock-timeout"] == 7
    assert server.conf["acme-server-url"] == LETS_ENCRYPT_STAGING
    server.show_configuration_command()
    text = capsys.readouterr().out
    assert "lock-timeout: 7  # conf\n" in text
    assert "web-root: /x  # conf\n" in text
    paths = [str(tmp_path / name) for name in ("csr", "fullchain", "cert", "chain")]
    assert "/work" not in server.get_certbot_command("http", *paths)
    server.conf["certbot-work-dir"] = "/work"
    assert "/work" in server.get_certbot_command("http", *paths)

    before = dict(server.conf)
    for name, value, message in (
        ("webroot", "/y", "conf: there is no option 'webroot': did you mean 'web-root'?"),
        ("lock-timeout", "soon", "conf: lock-timeout: expected a whole number of seconds"),
        ("debug", 1, "conf: debug: expected true or false"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(message)):
            server.conf[name] = value
    with pytest.raises(ConfigurationError, match="web-root cannot be removed: set it to None"):
        del server.conf["web-root"]
    with pytest.raises(ConfigurationError, match="cannot be removed: set it to None"):
        server.conf.clear()
    assert server.conf == before
    server.conf["lock-timeout"] = None
    assert server.conf["lock-timeout"] == 300
    server.conf["web-root"] = ""
    assert server.conf["web-root"] is None


def test_text_of_conf_has_no_secret() -> None:
    """Whoever logs it logs no key."""
    text = repr(Certgrinderd({"eab-kid": "key-1", "eab-hmac-key": "c2VjcmV0"}).conf)
    assert "c2VjcmV0" not in text
    assert "'eab-kid': 'key-1'" in text


@pytest.mark.parametrize(
    ("domainsets", "answer"),
    [
        pytest.param("a.example,b.example", True, id="permitted"),
        pytest.param("c.example;B.example,A.example", True, id="another set"),
        pytest.param("a.example;b.example", False, id="two sets"),
        pytest.param("", False, id="empty"),
        pytest.param(None, False, id="not set"),
    ],
)
def test_check_csr_asks_the_environment(
    monkeypatch: pytest.MonkeyPatch, domainsets: str | None, *, answer: bool
) -> None:
    """CERTGRINDERD_DOMAINSETS decides."""
    monkeypatch.delenv("CERTGRINDERD_DOMAINSETS", raising=False)
    if domainsets is not None:
        monkeypatch.setenv("CERTGRINDERD_DOMAINSETS", domainsets)
    assert Certgrinderd.check_csr(Certgrinderd.parse_csr(PEM.decode())) is answer


def test_check_csr_refuses_a_malformed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CN that is not among the names, whatever is permitted."""
    monkeypatch.setenv("CERTGRINDERD_DOMAINSETS", "a.example,b.example")
    csr = make_csr(["a.example"], common_names=["b.example"]).csr
    assert not Certgrinderd.check_csr(csr)


def test_parse_csr_reads_standard_input(stdin: io.BufferedWriter) -> None:
    """Without an argument."""
    stdin.write(PEM)
    stdin.close()
    assert Certgrinderd.parse_csr() == make_parsed()


def make_parsed() -> object:
    """The CSR of PEM."""
    return Certgrinderd.parse_csr(PEM.decode())


def test_what_is_malformed_ends_the_process(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As documented: status 1, and one line in the log."""
    server = Certgrinderd()
    for call in (
        lambda: Certgrinderd.parse_csr("nonsense"),
        lambda: Certgrinderd.parse_certificate(b"nonsense"),
        lambda: Certgrinderd.parse_certificate_chain(str(tmp_path / "nothing")),
        lambda: server.process_csr(str(tmp_path / "nothing")),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            call()
        assert caught.value.code == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert " certgrinderd ERROR " in captured.err


def test_save_csr_writes_a_private_file(tmp_path: Path) -> None:
    """PEM, mode 0600, and what was there before is replaced."""
    path = tmp_path / "csr"
    csr = make_csr(["a.example"])
    Certgrinderd.save_csr(csr.csr, str(path))
    assert path.read_bytes() == csr.pem
    assert path.stat().st_mode & 0o777 == 0o600
    Certgrinderd.save_csr(make_csr(["b.example"]).csr, str(path))
    assert path.read_bytes() != csr.pem


def test_get_certificate_logs_what_is_wrong_and_returns(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As documented; here no challenge is configured."""
    server = Certgrinderd()
    (tmp_path / "csr").write_bytes(PEM)
    server.get_certificate(str(tmp_path / "csr"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "neither acme-zone (for DNS-01) nor web-root (for HTTP-01) is set" in captured.err


def test_run_certbot_answers_whether_it_ended_well(
    capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    """True and the chain on standard output, or False and the reason in the log."""
    server = Certgrinderd({"pid-dir": str(tmp_path)})
    chain = tmp_path / "chain"
    chain.write_bytes(b"the chain\n")
    assert server.run_certbot(["/bin/true"], {}, str(chain))
    assert capsysbinary.readouterr().out == b"the chain\n"
    assert not server.run_certbot(["/bin/false"], {}, str(chain))
    assert not server.run_certbot(["/bin/true"], {}, str(tmp_path / "nothing"))
    captured = capsysbinary.readouterr()
    assert captured.out == b""
    assert b"false ended with exit status 1" in captured.err
    assert b"wrote no certificate" in captured.err


def test_shown_configuration_can_be_fed_back(capsys: pytest.CaptureFixture[str]) -> None:
    """It is YAML with the same values, and says where each comes from."""
    given: dict[str, str | bool | None] = {
        "acme-zone": "acme.example",
        "auth-hook": "/bin/x 'a b: #c'",
        "lock-timeout": "7",
    }
    server = Certgrinderd(given)
    server.show_configuration_command()
    text = capsys.readouterr().out
    assert "acme-zone: acme.example  # userconfig\n" in text
    assert "lock-timeout: 7  # userconfig\n" in text
    assert "pid-dir: /tmp  # default\n" in text
    fed_back = {k: v for k, v in yaml.safe_load(text).items() if v is not None}
    again = Certgrinderd(fed_back)
    assert again.conf == server.conf
    assert json.dumps(dict(again.conf))


def test_shown_configuration_has_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as an option of its own nor inside a command line."""
    Certgrinderd(
        {
            "eab-kid": "key-1",
            "eab-hmac-key": "c2VjcmV0",
            "certbot-command": "/bin/certbot --eab-hmac-key c2VjcmV0 --eab-hmac-key=c2VjcmV0",
        }
    ).show_configuration_command()
    text = capsys.readouterr().out
    assert "c2VjcmV0" not in text
    assert "eab-hmac-key: ********" in text or "eab-hmac-key: '********'" in text
    assert "eab-kid: key-1  # userconfig" in text


def test_verify_signature_knows_the_keys_of_cas() -> None:
    """RSA, elliptic and Edwards curves: the right signature and no other."""
    payload, sha256 = b"payload", hashes.SHA256()
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP384R1())
    signed: list[tuple[CertificatePublicKeyTypes, bytes]] = [
        (rsa_key.public_key(), rsa_key.sign(payload, padding.PKCS1v15(), sha256)),
        (ec_key.public_key(), ec_key.sign(payload, ec.ECDSA(sha256))),
        *(
            (key.public_key(), key.sign(payload))
            for key in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate())
        ),
    ]
    for public, signature in signed:
        assert Certgrinderd.verify_signature(public, signature, payload, sha256)
        assert not Certgrinderd.verify_signature(public, signature, b"other", sha256)
        assert not Certgrinderd.verify_signature(public, signature[:-1], payload, sha256)
        assert not Certgrinderd.verify_signature(public, b"", payload, sha256)


def test_ping_answers_pong(capsys: pytest.CaptureFixture[str]) -> None:
    """And a newline."""
    Certgrinderd.ping_command()
    assert capsys.readouterr().out == "pong\n"


CA = make_ca()
NAMES = ["a.example", "b.example"]
REQUEST = make_csr(NAMES)
LEAF = issue(CA, NAMES[0], names=NAMES, key=REQUEST.key)
OTHER = issue(CA, NAMES[0], names=NAMES)


class Recorder(Certgrinderd):
    """Records which methods are called, as a subclass that tightens one hears of it."""

    calls: ClassVar[list[str]] = []
    permits = True

    @staticmethod
    def parse_csr(csrstring: str = "") -> x509.CertificateSigningRequest:
        """Recorded."""
        Recorder.calls.append("parse_csr")
        return Certgrinderd.parse_csr(csrstring)

    @staticmethod
    def check_csr(csr: x509.CertificateSigningRequest) -> bool:
        """Recorded; it may refuse what is permitted otherwise."""
        Recorder.calls.append("check_csr")
        return Recorder.permits and Certgrinderd.check_csr(csr)

    def get_certificate(self, csrpath: str) -> None:
        """Recorded."""
        Recorder.calls.append("get_certificate")
        assert Path(csrpath).read_bytes() == REQUEST.pem
        super().get_certificate(csrpath)

    def get_certbot_command(self, challengetype: str, *paths: str) -> list[str]:
        """Recorded; a line that a subclass adds gets to the program."""
        Recorder.calls.append(f"get_certbot_command {challengetype}")
        return [*super().get_certbot_command(challengetype, *paths), "--more"]

    def run_certbot(self, command: list[str], env: dict[str, str], fullchainpath: str) -> bool:
        """Recorded."""
        Recorder.calls.append("run_certbot")
        assert command[-1] == "--more"
        return super().run_certbot(command, env, fullchainpath)


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str | bool | None]:
    """A configuration with a program that writes tmp_path/chain as Certbot does, by HTTP-01."""
    program = tmp_path / "certbot"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *"challenges http"*) ;; *) echo "no DNS-01 today" >&2; exit 1 ;; esac\n'
        'while [ "$1" != --fullchain-path ]; do shift; done\n'
        f'cat {tmp_path}/chain >"$2"\n'
    )
    program.chmod(0o755)
    (tmp_path / "csr").write_bytes(REQUEST.pem)
    (tmp_path / "chain").write_bytes(LEAF.pem + CA.pem)
    (tmp_path / "temp").mkdir()
    monkeypatch.delenv("CERTGRINDERD_DOMAINSETS", raising=False)
    monkeypatch.setattr(Recorder, "permits", True)
    Recorder.calls.clear()
    return {
        "acme-zone": "acme.example",
        "auth-hook": "/bin/true",
        "certbot-command": str(program),
        "cleanup-hook": "/bin/true",
        "csr-file": str(tmp_path / "csr"),
        "domainsets": ",".join(NAMES),
        "pid-dir": str(tmp_path),
        "temp-dir": str(tmp_path / "temp"),
        "web-root": str(tmp_path),
    }


def test_methods_are_called_in_the_documented_order(
    capsysbinary: pytest.CaptureFixture[bytes],
    tmp_path: Path,
    certbot: dict[str, str | bool | None],
) -> None:
    """process_csr and get_certificate call the others on self; nothing is left in temp-dir."""
    server = Recorder(certbot)
    server.process_csr(str(tmp_path / "csr"))
    assert Recorder.calls == [
        *("parse_csr", "check_csr", "get_certificate"),
        *("get_certbot_command dns", "run_certbot", "get_certbot_command http", "run_certbot"),
    ]
    assert capsysbinary.readouterr().out == LEAF.pem + CA.pem
    assert list((tmp_path / "temp").iterdir()) == []


def test_check_of_a_subclass_is_heard(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    certbot: dict[str, str | bool | None],
) -> None:
    """What it refuses gets no certificate by any method that checks; nothing is issued."""
    server = Recorder(certbot)
    monkeypatch.setattr(Recorder, "permits", False)
    with pytest.raises(SystemExit) as caught:
        server.process_csr(str(tmp_path / "csr"))
    assert caught.value.code == 1
    with pytest.raises(NotPermitted, match="check_csr"):
        server.get_certificate_command()
    assert capsys.readouterr().out == ""
    assert "run_certbot" not in Recorder.calls
    monkeypatch.setattr(Recorder, "permits", True)
    server.get_certificate_command()
    assert capsys.readouterr().out == (LEAF.pem + CA.pem).decode()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"domainsets": "a.example"}, "b.example"),
        ({"max-names": "1"}, "2 names"),
        ({"temp-dir": "/nonexistent"}, "temp-dir: cannot make a folder in /nonexistent"),
        ({"web-root": ""}, "no certificate for a.example, b.example"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_process_csr_goes_by_the_settings(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certbot: dict[str, str | bool | None],
    changed: dict[str, str],
    message: str,
) -> None:
    """Also within the static methods; without a certificate it ends the process with status 1."""
    server = Certgrinderd({**certbot, **changed})
    with pytest.raises(SystemExit) as caught:
        server.process_csr(str(tmp_path / "csr"))
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert not Certgrinderd.check_csr(REQUEST.csr), "outside the environment alone counts"


def test_chain_of_certbot_is_checked_before_it_is_printed(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certbot: dict[str, str | bool | None],
) -> None:
    """One for another key is not printed; run_certbot() by itself can't know, and prints it."""
    (tmp_path / "chain").write_bytes(OTHER.pem + CA.pem)
    server = Certgrinderd(certbot)
    server.get_certificate(str(tmp_path / "csr"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "no certificate for a.example, b.example" in captured.err
    paths = [str(tmp_path / name) for name in ("csr", "full", "cert", "issuers")]
    assert server.run_certbot(server.get_certbot_command("http", *paths), {}, paths[1])
    assert capsys.readouterr().out == (OTHER.pem + CA.pem).decode()


def test_client_asks_about_renewal_of_its_own_certificates_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As with OCSP: the CA is asked nothing about other names, nor by an endless URL."""
    ca = make_ca("A CA")
    path = tmp_path / "chain.pem"
    monkeypatch.setenv("CERTGRINDERD_DOMAINSETS", "a.example")
    values = {"certificate-file": str(path)}
    configuration = sources.merge(sources.from_mapping(values, name="test"))
    client = Certgrinderd.for_request(configuration, is_client=True)
    asked: list[x509.Certificate] = []

    def ask(_: Settings, certificate: x509.Certificate) -> str:
        asked.append(certificate)
        return ""

    monkeypatch.setattr(builtin, "renewal_info", ask)
    path.write_bytes(issue(ca, "b.example").pem)
    with pytest.raises(NotPermitted):
        client.get_renewal_info_command()
    assert asked == []
    path.write_bytes(issue(ca, "a.example").pem)
    client.get_renewal_info_command()
    assert len(asked) == 1
