"""What is inside certgrinderd.pyz: from which commit, which packages, under which licences."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import Any

from certgrinderd import __version__

_LICENCE = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)\b", re.IGNORECASE)


def versions() -> str:
    """Return lines with the versions of the program, its commit, Python and what is inside."""
    about = Path(__file__).with_name("about.json")
    facts: dict[str, Any] = {}
    if about.is_file():
        facts = json.loads(about.read_text(encoding="utf-8"))
    lines = [
        f"certgrinderd {__version__}",
        f"commit {facts.get('commit', 'unknown')}",
        f"{platform.python_implementation()} {platform.python_version()} on {platform.platform()}",
    ]
    for part in facts.get("components", []):
        lines.append(f"{part['name']} {part['version']}")
        # Rust crates have many a name; of the libraries in C people want to know.
        lines += [
            f"  {inner['name']} {inner['version']}"
            for inner in part.get("components", [])
            if not inner.get("purl", "").startswith("pkg:cargo/")
        ]
    return "\n".join(lines) + "\n"


def licences(folder: Path) -> str:
    """Return the licence texts of all that is unpacked in a folder, each below its package."""
    texts = []
    for package in sorted(folder.glob("*.dist-info")):
        for path in sorted(package.rglob("*")):
            if path.is_file() and _LICENCE.match(path.name):
                title = f"{package.name.removesuffix('.dist-info')}: {path.name}"
                text = path.read_text(encoding="utf-8", errors="replace")
                texts.append(f"{title}\n{'=' * len(title)}\n\n{text.strip()}\n")
    return "\n\n".join(texts)
