"""Log lines: one per record, whatever is in it."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certgrinderd.settings.table import Settings
from certgrinderd.system import log
from certgrinderd.text import printable

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} certgrinderd "
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)\n"
)
logger = logging.getLogger("certgrinderd.test")


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    log.close()


def test_line_is_what_the_public_client_reads(capsys: pytest.CaptureFixture[str]) -> None:
    """Date, time, zone, name and level, separated by single blanks, and then the message."""
    log.configure(Settings())
    logger.info("two  words")
    line = capsys.readouterr().err
    found = LINE.fullmatch(line)
    assert found is not None
    assert found.groups() == ("INFO", "two  words")


def test_level_is_the_least_that_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Lower levels are dropped."""
    log.configure(Settings(log_level="WARNING"))
    logger.info("one")
    logger.warning("two")
    assert re.findall(r"(one|two)", capsys.readouterr().err) == ["two"]


def test_client_does_not_see_what_is_for_the_admin(capsys: pytest.CaptureFixture[str]) -> None:
    """At no level; an admin does."""
    for client in (True, False):
        log.configure(Settings(log_level="DEBUG"), client=client)
        logger.error("/some/path", extra=log.FOR_ADMIN)
        assert ("/some/path" in capsys.readouterr().err) != client


def test_client_does_not_choose_what_syslog_gets(tmp_path: Path) -> None:
    """It can neither hide from the server's log nor fill it: its level is for its own eyes."""
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(path)
        for level in ("CRITICAL", "DEBUG"):
            settings = Settings(log_level=level, syslog_socket=path, syslog_facility="LOG_USER")
            log.configure(settings, client=True, syslog_level="INFO")
            logger.debug("detail")
            logger.info("asked by %s", level)
            assert syslog.recv(1000).decode().endswith(f"INFO asked by {level}")


def test_record_that_is_too_long_for_udp_gets_there() -> None:
    """Cut: a client must not keep its refusal out of the log by a request that fills it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(10)
        port = syslog.getsockname()[1]
        log.configure(Settings(syslog_socket=f"127.0.0.1:{port}", syslog_facility="LOG_USER"))
        for text in ("short", "ø" * 99999):
            logger.info("%s", text)
            assert f"INFO {text[:5]}" in syslog.recv(70000).decode()


def test_client_that_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for our locks would wait with us; what it reads at last is whole lines."""
    reader, writer = os.pipe()
    monkeypatch.setattr(log, "_PATIENCE_SECONDS", 0.3)
    with open(writer, "w", encoding="utf-8") as stderr, open(reader, "rb") as client:
        monkeypatch.setattr(sys, "stderr", stderr)
        log.configure(Settings(), client=True)

        def talk() -> None:
            for _ in range(999):
                logger.info("%s", "x" * 999)

        work = threading.Thread(target=talk, daemon=True)
        work.start()
        work.join(30)
        has_ended = not work.is_alive()
        os.set_blocking(reader, False)
        assert LINE.match(client.read(4096).decode())
        assert has_ended


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_message_is_one_printable_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """No newline, escape sequence or direction override gets through, and nothing is lost."""
    log.configure(Settings())
    logger.error("%s", text)
    line = capsys.readouterr().err
    assert line.endswith("\n")
    found = LINE.fullmatch(line)
    assert found is not None
    assert found[2] == printable(text)
    line.encode("utf-8")


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    """None that a terminal obeys or that turns the reading direction."""
    safe = printable(text)
    assert not re.search(
        "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", safe
    )
    assert printable(safe) == safe


def test_letters_of_all_scripts_stay() -> None:
    """Only what is not for reading is escaped."""
    assert printable("pølse 例え.example — ok") == "pølse 例え.example — ok"
    assert printable("a\n\x1b[2J\u202e") == r"a\n\x1b[2J\u202e"
