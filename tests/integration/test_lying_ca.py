"""A CA, or a certbot, that answers with something else than what was asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.testbed import program
from tests.testbed.authority import issue, make_ca
from tests.testbed.csr import make_csr

# Takes certbot's options, counts its runs, and answers with a file that was prepared.
FAKE_CERTBOT = """#!/bin/sh
set -eu
echo run >>{folder}/runs
while [ "$1" != --fullchain-path ]; do shift; done
[ ! -e {folder}/answer ] || cat {folder}/answer >"$2"
"""


class Liar:
    """certgrinderd with a certbot of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = make_csr(["a.example", "b.example"])
        self.ca = make_ca()
        (folder / "temp").mkdir()
        certbot = folder / "certbot"
        certbot.write_text(FAKE_CERTBOT.format(folder=folder))
        certbot.chmod(0o755)

    def answer(self, *certificates: x509.Certificate) -> bytes:
        """What it answers with: PEM, which is also returned."""
        pem = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
        (self.folder / "answer").write_bytes(pem)
        return pem

    def leaf(self, *names: str, own_key: bool = True) -> x509.Certificate:
        """A certificate for names, with the key of the request or with another."""
        key = self.request.key if own_key else None
        return issue(self.ca, names=list(names), key=key).certificate

    def run(self) -> subprocess.CompletedProcess[bytes]:
        """Ask for the certificate; both challenges are enabled."""
        options = {
            "certbot-command": self.folder / "certbot",
            "acme-zone": "acme.example",
            "web-root": self.folder,
            "temp-dir": self.folder / "temp",
            "pid-dir": self.folder,
            "domainsets": "a.example,b.example",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        return program.run(*words, "get", "certificate", stdin=self.request.pem)

    @property
    def runs(self) -> int:
        """How often it was run."""
        return len((self.folder / "runs").read_text().splitlines())


@pytest.fixture
def liar(tmp_path: Path) -> Liar:
    """One that has no answer yet."""
    return Liar(tmp_path)


def test_right_answer_is_printed(liar: Liar) -> None:
    """As it came, whatever its length."""
    for chain in (
        [liar.leaf("a.example", "b.example")],
        [liar.leaf("a.example", "b.example"), liar.ca.certificate],
    ):
        pem = liar.answer(*chain)
        done = liar.run()
        assert (done.returncode, done.stdout) == (0, pem), done.stderr.decode()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("another key", "is for another key than the request's"),
        ("more names", "which is not what was requested"),
        ("fewer names", "is for a.example, which is not what was requested"),
        ("wrong issuer", "certificate 1 is not signed by certificate 2"),
        ("no certificate", "found no PEM block labelled CERTIFICATE"),
        ("broken certificate", "holds no valid certificate"),
        ("huge answer", "is larger than 1048576 bytes"),
    ],
)
def test_wrong_answer_is_not_printed(liar: Liar, case: str, reason: str) -> None:
    """Exit status 4, nothing on standard output; and the CA is not asked for more of it."""
    good = liar.leaf("a.example", "b.example")
    if case == "another key":
        liar.answer(liar.leaf("a.example", "b.example", own_key=False), liar.ca.certificate)
    elif case == "more names":
        liar.answer(liar.leaf("a.example", "b.example", "c.example"), liar.ca.certificate)
    elif case == "fewer names":
        liar.answer(liar.leaf("a.example"), liar.ca.certificate)
    elif case == "wrong issuer":
        liar.answer(good, make_ca().certificate)
    else:
        content = {
            "no certificate": b"hello\n",
            "broken certificate": liar.answer(good).replace(b"MII", b"MIJ", 1),
            "huge answer": b"x" * (1024 * 1024 + 1),
        }
        (liar.folder / "answer").write_bytes(content[case])

    done = liar.run()

    assert (done.returncode, done.stdout) == (4, b"")
    assert reason in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert list((liar.folder / "temp").iterdir()) == []
    assert liar.runs == (2 if case == "huge answer" else 1)


def test_no_answer_is_an_error(liar: Liar) -> None:
    """A certbot that ends well and leaves nothing: both challenges are tried, then exit 4."""
    done = liar.run()
    assert (done.returncode, done.stdout) == (4, b"")
    assert b"Certbot succeeded but wrote no certificate" in done.stderr
    assert liar.runs == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_disk_that_is_full_is_an_error(liar: Liar) -> None:
    """No room for the private folder or the CSR: one line, and nothing is left behind."""
    liar.answer(liar.leaf("a.example", "b.example"), liar.ca.certificate)
    temp = liar.folder / "temp"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", temp], check=True)
    try:
        done = liar.run()
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"No space left on device" in done.stderr
        assert b"Traceback" not in done.stderr
        assert list(temp.iterdir()) == []
    finally:
        subprocess.run(["umount", temp], check=True)
    assert liar.run().returncode == 0
