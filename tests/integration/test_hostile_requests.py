"""No hostile CSR gets past the command line to the CA; each honest one next to it does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.testbed import forge
from tests.testbed.hostile import DOMAINSETS, Case, all_cases
from tests.testbed.hostile_keys import honest_ec, honest_rsa
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.replay import Answer, replay
from tests.testbed.server import clean_environment
from tests.testbed.sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]

CLIENT = {
    "SSH_ORIGINAL_COMMAND": "get certificate",
    "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22",
    "CERTGRINDERD_DOMAINSETS": DOMAINSETS,
}
LOG_LINE = re.compile(r"\S+ \S+ [+-]\d{4} certgrinderd (DEBUG|INFO|WARNING|ERROR) \S.*")


class Place:
    """Where runs happen, and all that they could leave behind."""

    def __init__(self, folder: Path) -> None:
        self.temp = folder / "temp"
        self.asked = folder / "asked"
        self.runs = folder / "runs"
        self._folder = folder
        for path in (self.temp, self.asked, self.runs):
            path.mkdir()

    def configuration(self, **settings: str) -> list[str]:
        """Write a configuration, and return the options that name it."""
        common = {"temp-dir": str(self.temp), "pid-dir": str(self._folder)}
        path = self._folder / "certgrinderd.conf"
        given = {name.replace("_", "-"): value for name, value in settings.items()}
        path.write_text(yaml.safe_dump({**common, **given}), encoding="utf-8")
        return ["--config-file", str(path)]

    def canary(self) -> str:
        """A certbot that notes that it was asked, and fails."""
        path = self._folder / "certbot"
        path.write_text(f"#!/bin/sh\n: >{self.asked}/$$\nexit 1\n", encoding="ascii")
        path.chmod(0o755)
        return shlex.quote(str(path))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Empty folders."""
    return Place(tmp_path)


def require_refusal(case: Case, answer: Answer) -> None:
    """Nothing on standard output; on standard error, who asks for what, and one line why not."""
    text = answer.stderr.decode()
    assert (answer.status, answer.stdout) == (3, b""), f"{case.title}: {text}"
    asks, refusal = text.splitlines()
    assert LOG_LINE.fullmatch(asks)
    assert " INFO client 192.0.2.1 asks: " in asks
    assert LOG_LINE.fullmatch(refusal), case.title
    assert refusal.isprintable(), case.title
    assert re.search(f" ERROR .*{case.reason}", refusal), f"{case.title}: {text}"


def test_no_hostile_csr_reaches_the_ca(
    place: Place, calm_pebble: Pebble, named: Named, nginx: Nginx, tmp_path: Path
) -> None:
    """All of them, as a client sends them: the CA gets no request. It answers an honest client."""
    options = place.configuration(
        acme_server_url=calm_pebble.directory_url,
        acme_zone=named.zone,
        web_root=str(nginx.webroot),
        **{f"certbot-{kind}-dir": str(tmp_path / kind) for kind in ("config", "work", "logs")},
    )
    environment = {
        **CLIENT,
        "HOME": str(tmp_path),
        "REQUESTS_CA_BUNDLE": str(calm_pebble.ca_file),
        "CERTGRINDERD_NSUPDATE_KEY": str(named.key_file),
        "CERTGRINDERD_NSUPDATE_PORT": str(named.port),
    }
    cases = all_cases()
    before = calm_pebble.requests()

    answers = replay(place.runs, options, [case.hostile() for case in cases], environment)

    for case, answer in zip(cases, answers, strict=True):
        require_refusal(case, answer)
    assert calm_pebble.requests() == before
    assert list(place.temp.iterdir()) == []
    assert not (tmp_path / "config").exists()
    assert not (tmp_path / "certgrinderd.pid").exists()

    named.delegate(forge.NAME)
    honest = tmp_path / "honest"
    honest.mkdir()
    rich = forge.pem(
        forge.csr(
            extensions=[
                forge.extension("2.5.29.15", b"\x03\x02\x05\xa0", critical=True),
                forge.extension("2.5.29.19", b"\x30\x00", critical=True),
            ]
        )
    )
    upper = forge.pem(forge.csr(forge.NAME.upper(), common_name=forge.NAME.title()))
    requests = [honest_rsa(), honest_ec(), rich, upper]
    for answer in replay(honest, options, requests, environment):
        assert answer.status == 0, answer.stderr.decode()
        leaf = x509.load_pem_x509_certificates(answer.stdout)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(map(str.lower, names.get_values_for_type(x509.DNSName))) == [forge.NAME]
    assert calm_pebble.requests() != before


def test_every_honest_neighbour_reaches_the_ca(place: Place) -> None:
    """Each of them is handed to certbot; no hostile one is."""
    options = place.configuration(certbot_command=place.canary(), acme_zone="acme.test")
    cases = all_cases()

    for case, answer in zip(
        cases,
        replay(place.runs, options, [case.honest() for case in cases], CLIENT),
        strict=True,
    ):
        assert answer.status == 4, f"{case.title}: {answer.stderr.decode()}"
    assert len(list(place.asked.iterdir())) == len(cases)


def test_show_csr_survives_every_hostile_csr(place: Place, tmp_path: Path) -> None:
    """It says what is wrong, in lines that a terminal can show, and asks nobody."""
    options = place.configuration(certbot_command=place.canary(), acme_zone="acme.test")
    client = {**CLIENT, "SSH_ORIGINAL_COMMAND": "show csr"}
    cases = all_cases()
    honest = tmp_path / "honest"
    honest.mkdir()

    answers = replay(place.runs, options, [case.hostile() for case in cases], client)
    permitted = replay(honest, options, [case.honest() for case in cases], client)

    for case, answer in zip(cases, answers, strict=True):
        if case.refused_by != "policy":
            require_refusal(case, answer)
            continue
        assert (answer.status, answer.stderr.count(b"\n")) == (0, 1), case.title
        lines = answer.stdout.decode().splitlines()
        assert all(line.isprintable() for line in lines), case.title
        assert any(re.match(r"This client may have it: +no, ", line) for line in lines), case.title
    for case, answer in zip(cases, permitted, strict=True):
        assert b"This client may have it: yes, " in answer.stdout.replace(b":  ", b": "), case.title
    assert list(place.asked.iterdir()) == []


THROUGH_SSHD = {
    "foreign name behind a good one",
    "dNSName '$(touch canary).example.test'",
    "second extensionRequest attribute",
    "ROCA",
    "somebody else's key",
    "private key: PKCS #8",
    "more than 64 KiB",
}


@pytest.mark.parametrize("words", ["", " $SSH_ORIGINAL_COMMAND"])
def test_some_of_them_through_a_real_sshd(place: Place, sshd: Sshd, words: str) -> None:
    """With both forms of the forced command: the hostile one is refused, its neighbour is not."""
    options = place.configuration(certbot_command=place.canary(), acme_zone="acme.test")
    command = shlex.join([sys.executable, "-m", "certgrinderd", *options])
    client = sshd.add_client(
        command=f"cd {shlex.quote(str(ROOT))} && exec {command}{words}", domainsets=DOMAINSETS
    )
    cases = [case for case in all_cases() if case.title in THROUGH_SSHD]
    assert len(cases) == len(THROUGH_SSHD)
    # The CSR comes the same way with both forms.
    cases = cases[::2] if words else cases

    for number, case in enumerate(cases):
        hostile = client.run("get certificate", stdin=case.hostile())
        log = hostile.stderr.decode()
        assert (hostile.returncode, hostile.stdout) == (3, b""), log
        assert re.search(f" ERROR .*{case.reason}", log.splitlines()[-1])
        assert len(list(place.asked.iterdir())) == number
        honest = client.run("get certificate", stdin=case.honest())
        assert honest.returncode == 4, honest.stderr.decode()
        assert len(list(place.asked.iterdir())) == number + 1


def test_endless_input_through_a_real_sshd_is_cut_off(sshd: Sshd) -> None:
    """The connection ends, whatever the client still has to say."""
    command = shlex.join([sys.executable, "-m", "certgrinderd", "--input-timeout", "600"])
    client = sshd.add_client(
        command=f"cd {shlex.quote(str(ROOT))} && exec {command}", domainsets=DOMAINSETS
    )
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        try:
            answer = subprocess.run(
                client.command("get certificate"),
                stdin=endless.stdout,
                env=clean_environment(),
                capture_output=True,
                timeout=60,
                check=False,
            )
        finally:
            endless.kill()
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert "more than 65536 bytes on standard input" in answer.stderr.decode()
