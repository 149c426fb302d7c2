"""From a command line to an exit status, in one process."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certgrinderd import __version__, cli
from certgrinderd.errors import Interrupted
from certgrinderd.system import log
from tests.testbed import der, forge
from tests.testbed.csr import make_csr

ERROR_LINE = re.compile(r"\S+ \S+ \S+ certgrinderd (ERROR|CRITICAL) (.+)\n")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals, umask and logging are the process's own again; no session of sshd shines through."""
    for name in ("SSH_ORIGINAL_COMMAND", "SSH_CONNECTION", "CERTGRINDERD_DOMAINSETS"):
        monkeypatch.delenv(name, raising=False)
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    umask = os.umask(0o022)
    log.close()
    yield
    log.close()
    os.umask(umask)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def csr_file(tmp_path: Path) -> Path:
    """A good CSR for a.example."""
    path = tmp_path / "csr.pem"
    path.write_bytes(make_csr(["a.example"]).pem)
    return path


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """What the one line on standard error says; nothing is on standard output."""
    captured = capsys.readouterr()
    assert captured.out == ""
    found = ERROR_LINE.fullmatch(captured.err)
    assert found, captured.err
    return found[2]


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-d", "version"]])
def test_version(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """On standard output."""
    assert cli.main(words) == 0
    assert capsys.readouterr() == (f"certgrinderd {__version__}\n", "")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The command and the options give the same text, on standard output."""
    assert cli.main(["help"]) == 0
    text = capsys.readouterr().out
    for option in ("-h", "--help"):
        assert cli.main([option]) == 0
        assert capsys.readouterr() == (text, "")
    assert text.startswith("usage: certgrinderd ")


def test_words_of_the_process_are_the_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the console script calls it."""
    monkeypatch.setattr(sys, "argv", ["certgrinderd", "ping"])
    assert cli.main() == 0
    assert capsys.readouterr().out == "pong\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "no command given, such as get certificate", id="nothing"),
        pytest.param(["-d"], "no command given", id="no command"),
        pytest.param(["pong"], "invalid choice: 'pong'", id="unknown command"),
        pytest.param(["show"], "arguments are required: COMMAND", id="half a command"),
        pytest.param(
            ["-f", "/nonexistent/conf", "show", "configuration"],
            "config-file: cannot read /nonexistent/conf: No such file or directory",
            id="no file",
        ),
        pytest.param(
            ["-f", "/dev/zero", "show", "configuration"], "not a plain file", id="a device"
        ),
        pytest.param(["-f", "/", "show", "configuration"], "Is a directory", id="a folder"),
        pytest.param(
            ["--csr-file", "/nonexistent/csr", "show", "csr"],
            "csr-file: cannot read /nonexistent/csr: No such file or directory",
            id="no CSR",
        ),
        pytest.param(["-l", "x", "show", "configuration"], "--log-level: expected one", id="level"),
    ],
)
def test_mistake_of_the_admin(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    """Exit status 2 and one clear line."""
    assert cli.main(words) == 2
    assert message in one_error(capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"log-level: \xff", "is not UTF-8", id="bytes"),
        pytest.param(b"#" * 65537, "is larger than 65536 bytes", id="too large"),
        pytest.param(b"a: b", "line 1: there is no option 'a'", id="unknown key"),
    ],
)
def test_bad_configuration_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, message: str
) -> None:
    """It is named, with what is wrong."""
    path = tmp_path / "conf"
    path.write_bytes(content)
    assert cli.main(["--config-file", str(path), "show", "configuration"]) == 2
    said = one_error(capsys)
    assert str(path) in said
    assert message in said


def test_empty_configuration_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is an empty configuration."""
    path = tmp_path / "conf"
    path.touch()
    assert cli.main(["-c", str(path), "show", "configuration"]) == 0
    assert "lock-timeout: 300  # default\n" in capsys.readouterr().out


def test_command_line_beats_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """And each value says where it is from."""
    path = tmp_path / "conf"
    path.write_text("log-level: INFO\nlock-timeout: 5\n")
    assert cli.main(["-f", str(path), "-l", "warning", "show", "configuration"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "log-level: WARNING  # command line" in lines
    assert "lock-timeout: 5  # configuration file" in lines
    assert f"# config-file: {path}  # command line" in lines


def test_blank_option_of_the_command_line_unsets_that_of_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """So HTTP-01 can be disabled for one run; what is not blank replaces the file's value."""
    path = tmp_path / "conf"
    path.write_text("web-root: /www\nlog-level: WARNING\nauth-hook: ''\n")
    words = ["-f", str(path), "--log-level", "", "show", "configuration"]
    for web_root, shown in (("", "null"), ("/other", "/other")):
        assert cli.main(["--web-root", web_root, *words]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert f"web-root: {shown}  # command line" in lines
        assert "log-level: INFO  # command line" in lines
        assert "auth-hook: manual-auth-hook.sh  # configuration file" in lines


def test_show_csr_says_whether_it_is_permitted(
    capsys: pytest.CaptureFixture[str], csr_file: Path
) -> None:
    """By which domainset, or what is missing."""
    for sets, said in (
        ("b.example;a.example,c.example", "yes, by the domainset a.example,c.example"),
        ("b.example", "Names missing there:     a.example"),
    ):
        assert cli.main(["--domainsets", sets, "--csr-file", str(csr_file), "show", "csr"]) == 0
        assert said in capsys.readouterr().out
    assert cli.main(["--csr-file", str(csr_file), "show", "csr"]) == 0
    assert "no, this client has no domainsets" in capsys.readouterr().out


def test_domainsets_file(
    capsys: pytest.CaptureFixture[str], csr_file: Path, tmp_path: Path
) -> None:
    """A set on each line; the file takes the place of the option, and both are too much."""
    path = tmp_path / "domainsets"
    path.write_text("# all clients\nb.example\n\n  a.example,c.example\n", "utf-8")
    words = ["--domainsets-file", str(path), "--csr-file", str(csr_file), "show", "csr"]
    assert cli.main(words) == 0
    assert "yes, by the domainset a.example,c.example" in capsys.readouterr().out
    path.write_text("#a.example\nb.example\n", "utf-8")
    assert cli.main(words) == 0
    assert "Names missing there:     a.example" in capsys.readouterr().out
    assert cli.main(["--domainsets", "a.example", *words]) == 2
    assert "both domainsets and domainsets-file are set" in one_error(capsys)
    path.unlink()
    assert cli.main(words) == 2
    assert "domainsets-file: cannot read" in one_error(capsys)


@pytest.mark.parametrize("character", ["\v", "\f", "\x1c", "\x85", "\u2028", "\r"])
def test_comment_in_the_domainsets_file_ends_with_its_line(
    capsys: pytest.CaptureFixture[str], csr_file: Path, tmp_path: Path, character: str
) -> None:
    r"""Only \n ends a line, with or without \r: nothing else makes a name of a comment's rest."""
    path = tmp_path / "domainsets"
    words = ["--domainsets-file", str(path), "--csr-file", str(csr_file), "show", "csr"]
    for line, said in (
        (f"# not any more:{character}a.example,c.example", "this client has no domainsets"),
        ("# from today on:\r\na.example,c.example", "yes, by the domainset a.example,c.example"),
    ):
        path.write_bytes(f"{line}\n".encode())
        assert cli.main(words) == 0
        assert said in capsys.readouterr().out


def test_show_csr_of_a_malformed_request(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What can be read is shown, and why the client may not have it."""
    path = tmp_path / "csr"
    path.write_bytes(make_csr(["a.example"], common_names=["b.example"]).pem)
    assert cli.main(["--domainsets", "a.example", "--csr-file", str(path), "show", "csr"]) == 0
    assert "no, the CN b.example is not among the" in capsys.readouterr().out


def test_clients_value_may_look_like_an_option_of_the_admin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One identifier in 64 begins with a hyphen; in any other place it is the option."""
    for words, status in (
        ("--replaces -AbcGi.-Idl ping", 0),
        ("--replaces -AbcGi.-Idl -AbcGi.-Idl ping", 3),
        ("--replaces -AbcGi.-Idl --auth-hook x ping", 3),
    ):
        monkeypatch.setenv("SSH_ORIGINAL_COMMAND", words)
        assert cli.main([]) == status
        if status:
            assert "--auth-hook is for the server's admin" in one_error(capsys)
        else:
            assert capsys.readouterr().out == "pong\n"


def test_unforeseen_error_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback but at DEBUG, and never one for a client."""

    def fail(*_: object) -> None:
        raise RuntimeError("line one\nline two")

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["ping"]) == 1
    said = one_error(capsys)
    assert said == r"unforeseen RuntimeError: line one\nline two (please report this)"

    log.close()
    assert cli.main(["--debug", "ping"]) == 1
    traceback = capsys.readouterr().err
    assert "DEBUG Traceback" in traceback
    log.close()
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "--debug ping")
    assert cli.main(["--debug", "ping"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_signal_is_an_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """128 plus its number."""

    def end(*_: object) -> None:
        raise Interrupted("ended by SIGTERM", signal.SIGTERM)

    monkeypatch.setattr(cli, "_run", end)
    assert cli.main(["ping"]) == 143
    assert one_error(capsys) == "ended by SIGTERM"


@pytest.mark.parametrize(
    ("words", "does"),
    [
        pytest.param(["install"], "_run_installation", id="install"),
        pytest.param(["uninstall"], "_run_installation", id="uninstall"),
        pytest.param(["cache"], "_about_one_file", id="cache"),
        pytest.param(["get", "certificate"], "_run_configured", id="a request"),
    ],
)
def test_what_makes_files_is_ended_by_a_signal_as_by_an_error(
    monkeypatch: pytest.MonkeyPatch, words: list[str], does: str
) -> None:
    """It raises, so that what is begun is taken away again; a ping has nothing to take away."""

    def end(*_: object) -> str:
        signal.raise_signal(signal.SIGTERM)
        return ""

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert cli.main(["ping"]) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    monkeypatch.setattr(cli, does, end)
    assert cli.main(words) == 128 + signal.SIGTERM


def test_interrupt_before_anything_is_begun_is_silent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own exception for SIGINT; there is nothing to clean up, and no traceback."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_read", end)
    assert cli.main(["ping"]) == 130
    assert capsys.readouterr() == ("", "")


def test_refusal_names_the_client(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With its address and, if sshd tells, its key: as ssh-keygen shows it."""
    info = tmp_path / "auth"
    info.write_text(
        "publickey ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk\n"
    )
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", "ping;id")
    monkeypatch.setenv("SSH_CONNECTION", "2001:db8::7 5022 2001:db8::1 22")
    monkeypatch.setenv("SSH_USER_AUTH", str(info))
    assert cli.main([]) == 3
    said = one_error(capsys)
    fingerprint = "SHA256:whSkszNFVz7yM0j9NDxw1SFVIOIpeIsQBtMBaXY7VdI"
    assert said.endswith(f"(client 2001:db8::7, key {fingerprint})")
    for content in (b"", b"publickey x", b"publickey x ***", b"\xff", b"password"):
        log.close()
        info.write_bytes(content)
        assert cli.main([]) == 3
        assert one_error(capsys).endswith("(client 2001:db8::7)")


# Certificates that cryptography reads late.

CHAIN_COMMANDS = (
    *(("show", "certificate"), ("get", "ocsp"), ("get", "crl"), ("get", "renewal-info")),
)


@pytest.mark.parametrize("words", CHAIN_COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            forge.certificate(serial=b"\xff"), "a negative serial number", id="negative serial"
        ),
        pytest.param(
            forge.certificate(begin=der.tlv(0x18, b"00000101000000Z")), "no valid cert", id="year 0"
        ),
        pytest.param(
            forge.certificate(begin=der.tlv(der.UTC_TIME, b"261301000000Z")),
            "no valid certificate",
            id="month 13",
        ),
        pytest.param(
            forge.certificate(
                forge.alternative_names("a.example"),
                forge.extension("1.3.6.1.5.5.7.1.24", der.sequence(der.integer(99))),
            ),
            "unknown TLS feature",
            id="unknown TLS feature",
        ),
    ],
)
def test_malformed_certificate_of_a_client(  # noqa: PLR0917 - two tables
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, str],
    content: bytes,
    message: str,
) -> None:
    """It is refused with one line and status 3, whatever is asked about it; a good one is read."""
    path = tmp_path / "chain.pem"
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", " ".join(words))
    line = ["--certificate-file", str(path), "--domainsets", "a.example", *words]
    path.write_bytes(forge.pem(content, label="CERTIFICATE") * 2)
    status = cli.main(line)
    if (message, words) == ("unknown TLS feature", ("show", "certificate")):
        assert (status, message in capsys.readouterr().out) == (0, True)
    else:
        assert status == 3
        answer = capsys.readouterr()
        assert answer.out == ""
        (error,) = (line for line in answer.err.splitlines() if " ERROR " in line)
        assert message in error
    good = forge.certificate(forge.alternative_names("a.example"))
    path.write_bytes(forge.pem(good, label="CERTIFICATE") * 2)
    # It names neither a responder nor a CRL, and no authority key.
    assert cli.main(line) == {"certificate": 0, "renewal-info": 3}.get(words[1], 4)


def test_client_that_asks_for_a_shell_is_no_admin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sshd sets no SSH_ORIGINAL_COMMAND then; a forced command with its own command is refused."""
    line = ["--domainsets", "a.example", "show", "configuration"]
    assert cli.main(line) == 0
    assert "certbot-command" in capsys.readouterr().out
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 50022 192.0.2.1 22")
    assert cli.main(line) == 3
    assert "do not fit together" in one_error(capsys)
    assert cli.main(line[:2]) == 3
    assert "no command given" in one_error(capsys)
