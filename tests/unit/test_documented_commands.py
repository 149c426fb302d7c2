"""Each block of commands in README.md and docs/ names the test that runs it, or says why not."""

from __future__ import annotations

import ast
import re

import pytest

from tests.testbed.pages import ROOT, Block, blocks, blocks_of

PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *ROOT.glob("docs/**/*.md"))
)
COMMANDS = [block for page in PAGES for block in blocks(page, "sh")]


def problem(block: Block) -> str:
    """What is wrong with the note of a block; nothing if it is empty."""
    if re.fullmatch(r"not run: \S.*", block.note):
        return ""
    found = re.fullmatch(r"run by (tests/\S+\.py)::(test_\w+)", block.note)
    if not found:
        return "neither `<!-- run by tests/FILE.py::TEST -->` nor `<!-- not run: REASON -->`"
    path, name = found.groups()
    if not (ROOT / path).is_file():
        return f"there is no {path}"
    text = (ROOT / path).read_text(encoding="utf-8")
    tests = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    if name not in tests:
        return f"{path} has no {name}"
    # A test that doesn't read the page would go on with what the page said once.
    return "" if block.page.rpartition("/")[2] in text else f"{path} does not read {block.page}"


@pytest.mark.parametrize(
    "block", COMMANDS, ids=[f"{block.page}: {block.text.splitlines()[0]}" for block in COMMANDS]
)
def test_commands_are_run_by_a_test(block: Block) -> None:
    """No command stands there that nobody has tried."""
    assert problem(block) == ""


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        ("", "neither"),
        ("<!-- not run: -->", "neither"),
        ("<!-- run by tests/unit/test_none.py::test_it -->", "no tests/unit/test_none.py"),
        ("<!-- run by tests/unit/test_policy.py::test_it -->", "has no test_it"),
        (
            "<!-- run by tests/unit/test_policy.py::test_anything_else_is_not -->",
            "does not read other.md",
        ),
    ],
)
def test_a_note_that_is_wrong_is_found(note: str, reason: str) -> None:
    """A block without a note, or with one that leads nowhere, is reported, a good one not."""
    (block,) = blocks_of(f"{note}\n```sh\ntrue\n```\n", "other.md")
    assert reason in problem(block)
    assert len(COMMANDS) >= 20
    good = "<!-- not run: it needs a CA -->"
    assert problem(blocks_of(f"{good}\n```sh\ntrue\n```\n", "other.md")[0]) == ""
