"""openssl: an OCSP responder that answers from a CA's index, as private CAs run it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Literal

from cryptography import x509

from tests.testbed.server import Server, clean_environment, find_program, free_port, wait_until

Status = Literal["good", "revoked", "unknown"]


class OpensslResponder(Server):
    """An OCSP responder for one CA; it knows the certificates that it is told of.

    Attributes:
        port: Where it listens, on all addresses: it can't be told otherwise.
        url: Where OCSP clients ask.
    """

    program_name = "openssl"

    def __init__(self, port: int | None = None) -> None:
        """Prepare a responder; `serve` tells it for which CA."""
        super().__init__()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._arguments: tuple[str, ...] = ()
        self._statuses: dict[x509.Certificate, Status] = {}

    def sign_for(
        self, issuer_pem: str, key_pem: str, *, signer_pem: str = "", arguments: Sequence[str] = ()
    ) -> None:
        """Say for which CA it answers, before it starts.

        Args:
            issuer_pem: The CA's certificate.
            key_pem: The key that signs responses.
            signer_pem: The certificate of that key; by default the CA's.
            arguments: More for `openssl ocsp`.
        """
        files = {"issuer.pem": issuer_pem, "signer.pem": signer_pem or issuer_pem}
        for name, text in {**files, "signer.key": key_pem}.items():
            (self.directory / name).write_text(text, encoding="ascii")
        self._arguments = tuple(arguments)

    def configure(self) -> None:
        """Write an index of what is known by now."""
        self._write_index()

    def command(self) -> Sequence[str]:
        """Run the responder: its responses are good for a day, its log is written line by line."""
        files = ("-index", "index.txt", "-CA", "issuer.pem", "-rsigner", "signer.pem")
        answers = ("-rkey", "signer.key", "-ndays", "1", "-ignore_err", "-text")
        listen = (find_program("stdbuf"), "-oL", self.program, "ocsp", "-port", str(self.port))
        return [*listen, *files, *answers, *self._arguments]

    def is_ready(self) -> bool:
        """Whether it answers a question about a certificate that it does not know."""
        issuer = str(self.directory / "issuer.pem")
        question = ("-issuer", issuer, "-serial", "1", "-noverify", "-url", self.url)
        asked = subprocess.run(
            [find_program("openssl"), "ocsp", *question],
            env=clean_environment(),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return b"1: unknown" in asked.stdout

    def start(self) -> None:
        """Start it, and wait until the question that it was ready for is in its log."""
        before = self.questions()
        super().start()
        wait_until(lambda: self.questions() > before, timeout=20, what="a question in the log")

    def know(self, certificate: x509.Certificate, status: Status = "good") -> None:
        """Answer this about a certificate from now on."""
        self._statuses[certificate] = status
        self._write_index()
        if self._process is not None:
            self.stop()
            self.start()

    def questions(self) -> int:
        """How many requests it has read since its first start, those of `is_ready` included."""
        return self.log().count("OCSP Request Data:")

    def _write_index(self) -> None:
        """One line per certificate: ca(1), the file that -out of `openssl ca` keeps up."""
        lines = []
        for certificate, status in self._statuses.items():
            serial = f"{certificate.serial_number:X}"
            serial = serial.zfill(len(serial) + len(serial) % 2)
            until = certificate.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
            since = datetime.now(timezone.utc).strftime("%y%m%d%H%M%SZ") + ",keyCompromise"
            if status != "unknown":
                kind, when = ("R", since) if status == "revoked" else ("V", "")
                lines.append(f"{kind}\t{until}\t{when}\t{serial}\tunknown\t/CN={serial}\n")
        (self.directory / "index.txt").write_text("".join(lines), encoding="ascii")
