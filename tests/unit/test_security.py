"""Each threat in SECURITY.md names tests, and these exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def rows(text: str) -> list[str]:
    """The rows of the tables of threats."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line for line in lines if not line.endswith(("| tests |", "| --- |"))]


def missing(text: str) -> list[str]:
    """The tests that a text names and that there aren't."""
    names = re.findall(r"`(tests/[^`]+\.py)::(\w+)`", text)
    return [f"{path}::{name}" for path, name in names if name not in functions(ROOT / path)]


def functions(path: Path) -> set[str]:
    """The functions of a module; none if there is no such file."""
    if not path.is_file():
        return set()
    return set(re.findall(r"^ *def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_threat_has_a_test_that_exists() -> None:
    """No row is without a test, and no test was renamed or removed without a word here."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert len(rows(text)) >= 15
    assert [row for row in rows(text) if not re.search(r"`tests/.*::test_", row)] == []
    assert missing(text) == []
    assert missing("`tests/unit/test_security.py::test_nothing`") != []
