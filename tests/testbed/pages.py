"""The documentation as tests read it: its blocks of code, and what runs each of them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<note>[^\n]*) -->\n)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        page: The page's path from the root of the repository.
        language: What stands behind the fence.
        text: The code.
        note: The comment in the line before the fence; empty if there is none.
    """

    page: str
    language: str
    text: str
    note: str


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the blocks of a page, or those in some languages, in their order."""
    return blocks_of((ROOT / page).read_text(encoding="utf-8"), page, *languages)


def blocks_of(text: str, page: str, *languages: str) -> list[Block]:
    """Return the blocks of a text, or those in some languages, in their order."""
    return [
        Block(page, found["language"], textwrap.dedent(found["text"]), found["note"] or "")
        for found in _BLOCK.finditer(text)
        if not languages or found["language"] in languages
    ]


def commands(page: str, pattern: str) -> str:
    """Return the one block of commands of a page that a regular expression is found in."""
    (found,) = [block.text for block in blocks(page, "sh") if re.search(pattern, block.text)]
    return found
