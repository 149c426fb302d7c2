"""The class that other programs use, with its documented methods and answers."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

import certgrinderd
from certgrinderd import Certgrinderd
from certgrinderd.errors import ConfigurationError
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
    assert json.dumps(again.conf)


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
