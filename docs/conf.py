"""How Sphinx makes a site of these pages: `python -m sphinx -W -n docs dist/site`."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))  # class.md has the docstrings

from certgrinderd import __version__  # noqa: E402 - found by the line above

# Texts that stand outside of this folder. Here they have a page with a link; the site has the text.
ELSEWHERE = {
    "ansible": "ansible/README.md",
    "changelog": "CHANGELOG.md",
    "first-certificate": "README.md",
    "security": "SECURITY.md",
}

project = "certgrinderd"
author = "certgrinderd contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["requirements.*"]
smartquotes = False  # "--" is an option
highlight_language = "none"  # of indented blocks
# Anchors like those of the sites that show Markdown.
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_type_aliases = {"CertificatePublicKeyTypes": "CertificatePublicKeyTypes"}
napoleon_use_ivar = True
nitpicky = True
# Types of other projects, and our own that only our own code needs.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|cryptography|hashes|x509)\..*"),
    ("py:class", r"CertificatePublicKeyTypes|OCSPRe(quest|sponse)|optional"),
    ("py:class", r"certgrinderd\.settings\..*"),
]

html_theme = "furo"
html_title = f"certgrinderd {release}"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def _link(target: str, folder: Path) -> str:
    """Return where a link leads from this folder.

    Args:
        target: As in the text.
        folder: That of the text.
    """
    path, mark, anchor = target.partition("#")
    if not path or "://" in path:
        return target
    place = os.path.normpath(folder / path)
    pages = {str(ROOT / text): str(DOCS / f"{page}.md") for page, text in ELSEWHERE.items()}
    return os.path.relpath(pages.get(place, place), DOCS) + mark + anchor


def _read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the text in that belongs to a page, and let its links lead to pages of the site."""
    path = ROOT / ELSEWHERE[name] if name in ELSEWHERE else DOCS / f"{name}.md"
    text = path.read_text(encoding="utf-8")
    folder = os.path.relpath(DOCS, (DOCS / name).parent)

    def changed(found: re.Match[str]) -> str:
        target = _link(found[1], path.parent)
        is_relative = "://" not in target and not target.startswith("#")
        return f"]({os.path.join(folder, target) if is_relative else target})"  # noqa: PTH118

    source[0] = re.sub(r"\]\(([^)\s]+)\)", changed, text)


def _shorten(*facts: Any) -> tuple[str | None, ...]:  # noqa: ANN401 - as Sphinx calls it
    """Name the types of cryptography as its documentation does, and not by where they are made."""
    names = r"cryptography\.hazmat\.(bindings\._rust|primitives)\."
    return tuple(text and re.sub(names, "", text) for text in facts[-2:])


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-signature", _shorten)
    app.add_lexer("caddy", TextLexer)  # Pygments knows no Caddyfile
