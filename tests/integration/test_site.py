"""The documentation as a site: built without a warning, and each link in it leads somewhere.

Built by the command of contributing.md, with another folder for what it makes.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from certgrinderd.commandline.commands import COMMANDS
from certgrinderd.settings.table import OPTIONS
from tests.testbed.pages import ROOT, commands


class Page(HTMLParser):
    """The links and anchors of one page.

    Attributes:
        links: Where links, pictures, styles and scripts lead.
        anchors: What a link can lead to on this page.
    """

    def __init__(self, path: Path) -> None:
        """Read a page."""
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to, and what it is called."""
        for name, value in attrs:
            if name in {"href", "src"} and value is not None and tag != "base":
                self.links.add(value)
            elif name == "id" and value:
                self.anchors.add(value)


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Run the command of the page."""
    python, *words = shlex.split(commands("docs/contributing.md", "sphinx"))
    assert (python, words[-2:]) == (".venv/bin/python", ["docs", "dist/site"])
    command = [sys.executable, *words[:-2], "-q", str(source), str(target)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def broken(site: Path) -> list[str]:
    """The links within a site that lead nowhere, and those to a style or script elsewhere."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links):
            target, anchor = urldefrag(link)
            if "://" in target or target.startswith(("mailto:", "data:")):
                continue
            place = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            if not place.is_file() or (
                anchor and place in pages and unquote(anchor) not in pages[place].anchors
            ):
                found.append(f"{path.name}: {link}")
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built."""
    target = tmp_path_factory.mktemp("site") / "html"
    done = build(ROOT / "docs", target)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return target.resolve()


def test_site_is_built_without_a_warning(site: Path) -> None:
    """Each text is a page, also those that stand elsewhere: the README, the changelog."""
    for path in ROOT.glob("docs/**/*.md"):
        assert (site / path.relative_to(ROOT / "docs").with_suffix(".html")).is_file()
    for page, words in {
        "first-certificate": "No daemon runs",
        "changelog": "Unreleased",
        "security": "Reporting a vulnerability",
        "ansible": "ansible-playbook",
    }.items():
        assert words in (site / f"{page}.html").read_text(encoding="utf-8")


def test_each_link_leads_somewhere(site: Path, tmp_path: Path) -> None:
    """Within the site, anchors included; a page that is gone or has lost an anchor is noticed."""
    assert broken(site) == []
    copy = tmp_path / "copy"
    shutil.copytree(site, copy)
    page = copy / "ssh.html"
    page.write_text(page.read_text(encoding="utf-8").replace('id="sshd"', ""), encoding="utf-8")
    (copy / "csr.html").unlink()
    assert {"install.html: ssh.html#sshd", "index.html: csr.html"} <= set(broken(copy))


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    """No page makes a browser ask another host for a script, style, font or picture."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'<(script|img|iframe)[^>]* src="(https?:)?//', text)
        assert not re.search(r'<link[^>]* rel="stylesheet"[^>]* href="(https?:)?//', text)


def test_reference_has_every_option_and_command(site: Path) -> None:
    """An anchor for each, which other pages can link to."""
    assert {OPTIONS[name].name for name in OPTIONS} <= Page(site / "options.html").anchors
    names = {"-".join(command.words) for command in COMMANDS}
    assert names <= Page(site / "commands.html").anchors


def test_class_page_has_every_method(site: Path) -> None:
    """The public ones, from their docstrings."""
    from certgrinderd import Certgrinderd

    place = "certgrinderd.certgrinderd.Certgrinderd"
    public = {name for name in vars(Certgrinderd) if not name.startswith("_")}
    assert {f"{place}.{name}" for name in public} <= Page(site / "class.html").anchors


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a page](none.md)", "none.md"),
        ("[an anchor](other.md#none)", "none"),
        ("```nolanguage\ncode\n```", "nolanguage"),
    ],
)
def test_mistake_stops_the_build(tmp_path: Path, text: str, reason: str) -> None:
    """A link to a page or an anchor that isn't there, or an unknown language, is an error."""
    folder = tmp_path / "docs"
    folder.mkdir()
    conf = (ROOT / "docs/conf.py").read_text(encoding="utf-8")
    place = f"DOCS = Path({str(folder)!r})\nROOT = Path({str(ROOT)!r})\n"
    conf = re.sub(r"DOCS = .*\nROOT = .*\n", lambda _: place, conf)
    (folder / "conf.py").write_text(conf, encoding="utf-8")
    start = "# Start\n\n```{toctree}\nother\n```\n"
    (folder / "other.md").write_text("# Other\n", encoding="utf-8")
    (folder / "index.md").write_text(start, encoding="utf-8")
    assert build(folder, tmp_path / "good").returncode == 0
    (folder / "index.md").write_text(f"{start}\n{text}\n", encoding="utf-8")
    done = build(folder, tmp_path / "bad")
    assert done.returncode != 0
    assert reason in done.stderr
