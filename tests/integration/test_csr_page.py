"""docs/csr.md: its commands make good CSRs, and its table has the messages that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from certgrinderd.errors import CertgrinderdError
from certgrinderd.pki.csr import parse_csr, requested_names
from certgrinderd.policy import parse_domainsets, require_permitted
from tests.testbed.hostile import DOMAINSETS, all_cases

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "csr.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (openssl req -new (?:.*\\\n)*.*)$", PAGE, flags=re.MULTILINE)
TABLE = PAGE.partition("## What is refused")[2].partition("\n## ")[0]

# Made by what is around the functions: see test_input.
OF_THE_INPUT = {"more than 65536 bytes on standard input", "did not end within 30 seconds"}


def message_patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Each message of the table, with … and N for what differs."""
    cells = re.findall(r"^\| (`.*?`) \| ", TABLE, flags=re.MULTILINE)
    messages = [message for cell in cells for message in re.findall(r"`(.*?)`", cell)]
    return [
        (message, re.compile(re.sub(r"…|\bN\b", ".*", re.escape(message)))) for message in messages
    ]


def refusal(data: bytes) -> str:
    """What is said to a CSR; nothing if it is good."""
    try:
        csr = parse_csr(data)
        require_permitted(requested_names(csr), parse_domainsets(DOMAINSETS))
    except CertgrinderdError as error:
        return str(error)
    return ""


def refusals() -> list[str]:
    """What is said to each hostile CSR."""
    return list(filter(None, (refusal(case.hostile()) for case in all_cases())))


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_page_makes_a_good_csr(tmp_path: Path, command: str) -> None:
    """As an admin copies it into a shell; without the extension at its end it would not be one."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    domainsets = parse_domainsets("www.example.com,example.com")

    def made_by(text: str) -> bytes:
        subprocess.run(["/bin/sh", "-c", text], cwd=tmp_path, check=True, capture_output=True)
        return (tmp_path / "www.csr").read_bytes()

    requested = requested_names(parse_csr(made_by(command)))
    require_permitted(requested, domainsets)
    assert list(map(str, requested.names)) == ["www.example.com", "example.com"]
    assert b"PRIVATE KEY" in (tmp_path / "www.key").read_bytes()

    without = made_by(command.partition(" -addext")[0])
    with pytest.raises(CertgrinderdError, match="has no subject alternative name"):
        require_permitted(requested_names(parse_csr(without)), domainsets)


def test_page_has_commands_for_both_kinds_of_keys() -> None:
    """So that the test above tests something."""
    assert len(COMMANDS) == 2


def test_page_explains_every_message() -> None:
    """An admin who searches the page for what the log says finds it."""
    patterns = message_patterns()
    for message in refusals():
        assert any(pattern.search(message) for _, pattern in patterns), message


def test_page_explains_no_message_that_is_not_there() -> None:
    """When a message changes, the page does."""
    messages = refusals()
    for shown, pattern in message_patterns():
        if not any(words in shown for words in OF_THE_INPUT):
            assert any(pattern.search(message) for message in messages), shown
