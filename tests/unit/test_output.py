"""Standard output and input: one function writes answers, and embedding programs are served."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certgrinderd import Certgrinderd, cli
from certgrinderd.commandline import parser
from certgrinderd.setup.install import command as installation
from certgrinderd.system import log, output
from tests.testbed.authority import issue, make_ca
from tests.testbed.csr import make_csr

PEM = make_csr(["a.example"]).pem
CA = make_ca("Test CA")
LEAF = issue(CA, "a.example")
CHAIN = LEAF.pem + CA.pem


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("SSH_ORIGINAL_COMMAND", "SSH_CONNECTION", "CERTGRINDERD_DOMAINSETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cli, "_end_on_signals", lambda: None)
    umask = os.umask(0o022)
    log.close()
    yield
    log.close()
    os.umask(umask)


class Watched(io.BytesIO):
    """Bytes behind a standard output; writing is for one function."""

    def write(self, data: object) -> int:
        """Refuse what anything else of the program writes."""
        frame = sys._getframe(1)
        while not frame.f_globals["__name__"].startswith("certgrinderd"):
            assert frame.f_back is not None
            frame = frame.f_back
        assert frame.f_globals["__name__"] == "certgrinderd.system.output"
        return super().write(data)  # type: ignore[arg-type]


def watched() -> tuple[Watched, io.TextIOWrapper]:
    """A standard output that only one function may write to."""
    raw = Watched()
    return raw, io.TextIOWrapper(raw, "utf-8", write_through=True)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A CSR and a chain, by the option that names them."""
    (tmp_path / "csr").write_bytes(PEM)
    (tmp_path / "chain").write_bytes(CHAIN)
    return {"--csr-file": str(tmp_path / "csr"), "--certificate-file": str(tmp_path / "chain")}


@pytest.mark.parametrize(
    ("words", "begin"),
    [
        (["ping"], b"pong\n"),
        (["version"], b"certgrinderd "),
        (["--version", "--verbose"], b"certgrinderd "),
        (["help"], b"usage: "),
        (["get", "crl", "--help"], b"usage: "),
        (["show", "configuration"], b"# certgrinderd "),
        (["show", "csr"], b"Subject:"),
        (["show", "certificate"], b"Certificate 1"),
        (["install"], b"would do this\nand that\n"),
        (["uninstall"], b"would undo\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_one_function_writes_the_answer(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], words: list[str], begin: bytes
) -> None:
    """Whatever the command is; anything else that wrote would be found out."""
    monkeypatch.setattr(installation, "install", lambda **_: ["would do this", "and that"])
    monkeypatch.setattr(installation, "uninstall", lambda **_: ["would undo"])
    raw, stream = watched()
    options = [word for pair in files.items() for word in pair]
    with contextlib.redirect_stdout(stream):
        assert cli.main([*options, *words]) == 0
    assert raw.getvalue().startswith(begin)


def test_anything_else_that_writes_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same watch, on a command that prints by itself."""
    scope = {"__name__": "certgrinderd.other"}
    exec("def help_text(*_, **__):\n print('x')\n return 'usage'", scope)  # noqa: S102
    monkeypatch.setattr(parser, "help_text", scope["help_text"])
    _, stream = watched()
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(io.StringIO()) as said:
        assert cli.main(["help"]) == 1
    assert "unforeseen AssertionError" in said.getvalue()


@pytest.mark.parametrize("make", [io.StringIO, lambda: io.TextIOWrapper(io.BytesIO())])
def test_class_writes_where_there_is_no_file(
    files: dict[str, str], make: Callable[[], io.TextIOBase]
) -> None:
    """`redirect_stdout(StringIO())` gets what a file would, after what was printed before."""
    server = Certgrinderd({name[2:]: path for name, path in files.items()})
    with contextlib.redirect_stdout(make()) as stream:
        print("before")  # noqa: T201
        server.ping_command()
        server.show_csr_command()
        server.show_certificate_command()
        output.write_answer(CHAIN)
        print("after")  # noqa: T201
    stream.seek(0)
    text = str(stream.read())
    assert text.startswith("before\npong\nSubject:")
    assert text.endswith(f"{CHAIN.decode()}after\n")


def test_stream_of_text_gets_der_so_that_it_can_be_had_back() -> None:
    """As os.fsencode() has it; a stream with bytes behind it gets the bytes."""
    der = bytes(range(256))
    with contextlib.redirect_stdout(io.StringIO()) as stream:
        output.write_answer(der)
    assert stream.getvalue().encode("utf-8", "surrogateescape") == der
    raw, wrapper = watched()
    with contextlib.redirect_stdout(wrapper):
        output.write_answer(der)
    assert raw.getvalue() == der


def test_class_reads_where_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sys.stdin = StringIO(…)`: within the same bounds."""
    expected = Certgrinderd.parse_csr(PEM.decode())
    monkeypatch.setattr(sys, "stdin", io.StringIO(PEM.decode()))
    assert Certgrinderd.parse_csr() == expected
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PEM)))
    assert Certgrinderd.parse_csr() == expected
    monkeypatch.setattr(sys, "stdin", io.StringIO(CHAIN.decode()))
    assert len(Certgrinderd.parse_certificate_chain(None)) == 2


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (lambda: io.StringIO("x" * 70000), "more than 65536 bytes on standard input"),
        (lambda: io.StringIO(""), "expected a certificate signing request"),
        (lambda: io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), "ascii"), "cannot read standard input"),
        (lambda: None, "standard input is closed"),
    ],
    ids=["too much", "nothing", "not text", "closed"],
)
def test_input_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stdin: Callable[[], object],
    message: str,
) -> None:
    """As for a file: the documented status, and what is wrong."""
    Certgrinderd()
    monkeypatch.setattr(sys, "stdin", stdin())
    with pytest.raises(SystemExit) as caught:
        Certgrinderd.parse_csr()
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert message in said


def test_what_was_read_ahead_is_not_lost() -> None:
    """A program that has read a line of standard input itself gets the rest parsed."""
    script = (
        "import sys; from certgrinderd import Certgrinderd\n"
        "assert sys.stdin.readline() == 'HEAD\\n'\n"
        "print(Certgrinderd.parse_csr().subject.rfc4514_string())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=b"HEAD\n" + PEM,
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"CN=a.example\n"


class Full(io.RawIOBase):
    """A standard output that can't be written to."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def writable(self) -> bool:
        """It says so."""
        return True

    def write(self, _: object) -> int:
        """It does not."""
        raise self._error


@pytest.mark.parametrize(
    "error", [OSError(28, "disk full"), BrokenPipeError(32, "gone")], ids=["full", "nobody reads"]
)
def test_issued_chain_is_not_lost_silently(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    error: OSError,
) -> None:
    """When the CA has issued and standard output fails, the log has the serial number."""
    server = Certgrinderd({"pid-dir": str(tmp_path)})
    (tmp_path / "chain").write_bytes(CHAIN)
    stdout = io.TextIOWrapper(Full(error), "utf-8", write_through=True)  # type: ignore[type-var]
    monkeypatch.setattr(sys, "stdout", stdout)
    with contextlib.suppress(BrokenPipeError):
        assert not server.run_certbot(["/bin/true"], {}, str(tmp_path / "chain"))
    said = capsys.readouterr().err
    serial = f"{LEAF.certificate.serial_number:x}"
    assert f"the chain of the certificate with the serial number {serial}" in said
    assert ("nobody reads" if isinstance(error, BrokenPipeError) else "disk full") in said
    assert said.count("\n") == 1


def test_full_disk_is_one_line_and_a_status() -> None:
    """Also Python, when it ends, does not complain about what it could not write."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "certgrinderd", "help"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 5
    assert done.stderr.count(b"\n") == 1
    assert b"cannot write the answer to standard output: No space left on device" in done.stderr
