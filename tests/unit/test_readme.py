"""README.md and the pages that go on from it agree with the program.

Their snippets are accepted, their log lines and links exist.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from certgrinderd.commandline import boundary, parser
from certgrinderd.commandline.commands import COMMANDS
from certgrinderd.errors import ConfigurationError, UsageError, WordRefused
from certgrinderd.pki.names import Identifier, RequestedNames
from certgrinderd.policy import parse_domainsets, require_permitted
from certgrinderd.settings import sources
from certgrinderd.settings.table import OPTIONS
from certgrinderd.setup.clients.show import show_authorized_keys
from certgrinderd.setup.install import layout

ROOT = Path(__file__).resolve().parents[2]
TROUBLESHOOTING = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
README = "\n".join(
    [
        *(
            (ROOT / name).read_text(encoding="utf-8")
            for name in ("README.md", "docs/challenges.md")
        ),
        *(
            (ROOT / "docs" / name).read_text(encoding="utf-8")
            for name in ("clients.md", "day-two.md")
        ),
        TROUBLESHOOTING,
    ]
)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

# Tables of log lines that other programs write.
FOREIGN = ("What other programs say:", "After `the CA refuses:`")


FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The code blocks in a language; "" is for those without one."""
    found = FENCED.findall(README)
    return [text for _, its_language, text in found if its_language == language]


def test_the_ci_runs_the_test_command() -> None:
    """The README's two commands are scripts, and a CI runs the second as it stands there."""
    demo, tests = blocks("sh")[:2]
    assert (demo, tests) == ("./demo.sh\n", "tests/run\n")
    assert (ROOT / "demo.sh").stat().st_mode & 0o111
    assert f"exec {tests.strip()} " in (ROOT / ".ci/run").read_text(encoding="utf-8")


# Configuration.


def configuration() -> str:
    """The example of /etc/certgrinderd/certgrinderd.conf."""
    (text,) = [block for block in blocks("yaml") if "acme-email:" in block]
    return text


def test_configuration_is_accepted() -> None:
    """The example says what the text says, together with the file that it is to go into."""
    conf_dist = (ROOT / "certgrinderd.conf.dist").read_text(encoding="utf-8")
    text = layout.first_configuration(conf_dist) + configuration()
    settings = sources.merge(sources.from_yaml(text, path="README.md")).settings
    assert (settings.acme_zone, settings.web_root) == ("acme.example.org", "/var/www/acme")
    assert settings.certbot_command == "builtin"


def test_configuration_could_be_refused() -> None:
    """The same reading notices a typo."""
    with pytest.raises(ConfigurationError):
        sources.from_yaml(configuration().replace("web-root", "webroot"), path="README.md")


# authorized_keys.


def key_lines() -> list[str]:
    """The examples of a line for a client."""
    return [line for block in blocks("") for line in block.splitlines() if " ssh-ed25519 " in line]


def key_options(line: str) -> dict[str, str]:
    """The options of a line, read as sshd does: in quotes, a quote has a backslash before it."""
    options, _, _ = line.partition(" ssh-ed25519 ")
    found = re.findall(r'([a-z]+)(?:="((?:[^"\\]|\\.)*)")?(?:,|$)', options)
    return {name: value.replace('\\"', '"') for name, value in found}


@pytest.mark.parametrize(
    "line", key_lines(), ids=lambda line: "environment" if "environment=" in line else "option"
)
def test_key_line_gives_a_client_its_names(line: str) -> None:
    """Either form of a forced command is understood, and permits the names of the text."""
    assert line.startswith("restrict,")
    options = key_options(line)
    said = "--staging get certificate"
    command = options["command"].removeprefix("set -f; ").replace("$SSH_ORIGINAL_COMMAND", said)
    words = boundary.separate(shlex.split(command)[1:], said)
    assert words.client == tuple(said.split())
    admin = parser.parse_admin_options(words.admin)
    assert admin.values["config-file"] == "/etc/certgrinderd/certgrinderd.conf"
    name, _, value = options.get("environment", "").partition("=")
    assert name in {"", "CERTGRINDERD_DOMAINSETS"}
    domainsets = parse_domainsets(value or str(admin.values["domainsets"]))
    assert not domainsets.ignored
    assert [len(names) for names in domainsets.sets] == [1, 2]
    wanted = (Identifier.parse_dns("example.com"), Identifier.parse_dns("www.example.com"))
    assert require_permitted(RequestedNames(("example.com",), wanted), domainsets)


@pytest.mark.parametrize("form", [False, True], ids=["option", "environment"])
def test_key_line_is_what_the_command_prints(tmp_path: Path, form: bool) -> None:  # noqa: FBT001
    """The command of the text makes the line of the text, in both forms."""
    line = key_lines()[form]
    key_file = tmp_path / "www.pub"
    key_file.write_text(line[line.index("ssh-ed25519 ") :], encoding="utf-8")
    words = next(words for words in admin_words() if words[2:4] == ["show", "authorized-keys"])
    parsed = parser.parse_admin([*words, *(["--environment", "--pass-words"] if form else [])])
    given = {**parsed.arguments, "program": "/usr/local/bin/certgrinderd.pyz", "file": key_file}
    configuration = sources.merge(sources.Source("command line", parsed.values))
    printed = show_authorized_keys(configuration.settings, given)
    assert printed == line + "\n"


# Command lines.


def client_words() -> list[list[str]]:
    """What clients say to ssh after the two dashes, in blocks and in the text."""
    found = re.findall(r"-T -- ([^<`\n]*)", README)
    return [words for text in found for words in (shlex.split(text),) if words]


def admin_words() -> list[list[str]]:
    """What admins say to certgrinderd.pyz, in blocks and in the text."""
    lines = [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]
    codes = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", FENCED.sub("", README))]
    return [words for text in (*lines, *codes) for words in _words_for_the_program(text)]


def _words_for_the_program(command: str) -> Iterator[list[str]]:
    if "certgrinderd.pyz " not in command:
        return
    words = shlex.split(command)
    if words[:3] == ["su", "certgrinderd", "-c"]:
        yield from _words_for_the_program(words[3])
    elif words[0] in ("certgrinderd.pyz", "./certgrinderd.pyz") and "…" not in words:
        rest = takewhile(lambda word: word[0] not in "<>|&", words[1:])
        yield list(rest)


def test_client_commands_are_accepted() -> None:
    """Everything that the README tells clients to type is something that they may say."""
    assert len(client_words()) >= 6
    for words in client_words():
        assert parser.parse_client(words).command
    with pytest.raises(WordRefused):
        parser.parse_client([*client_words()[0], "--config-file", "x"])


def test_admin_commands_are_accepted() -> None:
    """Everything that the README tells admins to type is understood."""
    commands = {parser.parse_admin(words).command for words in admin_words()}
    assert commands >= {
        ("check", "authorized-keys"),
        ("get", "certificate"),
        ("install",),
        ("show", "acmeaccount"),
        ("show", "authorized-keys"),
        ("show", "configuration"),
    }
    with pytest.raises(UsageError):
        parser.parse_admin([*admin_words()[0], "now"])


def test_shell_blocks_are_shell() -> None:
    """Every block of commands can be read by sh; a broken one is noticed."""

    def is_shell(text: str) -> bool:
        return subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0

    assert len(blocks("sh")) >= 10
    assert all(is_shell(block) for block in blocks("sh"))
    assert not is_shell(blocks("sh")[0] + "if")


def test_options_and_commands_exist() -> None:
    """What stands in backquotes as an option of the configuration file is one."""
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)(?::[^`]*)?`", README))
    known = set(OPTIONS) | {"-".join(command.words) for command in COMMANDS}
    known |= {"certgrinderd-acme", "tsig-keygen"}  # a user and a program
    assert {"acme-zone", "web-root", "client-acme-servers"} <= named
    assert named <= known, sorted(named - known)


# Log lines.


def log_lines() -> list[str]:
    """The first column of the tables of log lines that certgrinderd and its hooks write."""
    lines = []
    for table in re.finditer(r"^(.*:`?)\n\n((?:\|.*\n)+)", TROUBLESHOOTING, re.MULTILINE):
        if table[1] not in FOREIGN:
            for row in table[2].splitlines()[2:]:
                lines += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return lines


def messages() -> Iterator[str]:
    """The text of each module, its strings joined, and each hook's messages; … is filled in."""
    for path in ROOT.glob("certgrinderd/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for name, value in re.findall(r'^([A-Z_]+) = "(.*)"$', text, re.MULTILINE):
            text = text.replace(f"{{{name}}}", value)
        joined = re.sub(r"""["']\s*\n\s*f?["']""", "", text)
        yield re.sub(r"\{[^{}]*\}|%[sgrd]|%\.1f", "…", joined)
    for path in ROOT.glob("hooks/*.sh"):
        for text in re.findall(r'fail "([^"]*)"', path.read_text(encoding="utf-8")):
            yield re.sub(r"\$(?:\w+|\{[^}]*\})", "…", text)


def is_written(line: str, texts: list[str]) -> bool:
    """Whether some text has the line in it; … stands for anything, and an option for any."""
    name, colon, rest = line.partition(": ")
    lines = [line, f"…: {rest}"] if colon and name in OPTIONS else [line]
    patterns = [".*".join(map(re.escape, each.split("…"))) for each in lines]
    return any(re.search(pattern, text) for pattern in patterns for text in texts)


def test_log_lines_are_those_of_the_program() -> None:
    """Each line that the README explains is one that the program can write."""
    texts = list(messages())
    lines = log_lines()
    assert len(lines) >= 25
    assert [line for line in lines if not is_written(line, texts)] == []
    assert not is_written("this client must not have …", texts)


# Links.


def anchor(heading: str) -> str:
    """The anchor that hosting sites make for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Links inside the repository have a target, and so have their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.*)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), target


# Design.


def test_design_names_every_module() -> None:
    """The table in docs/design.md has all modules and packages, and no others."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)/?`", row)]
    there = {path.stem for path in (ROOT / "certgrinderd").iterdir() if path.stem != "hooks"}
    assert sorted(named) == sorted(there - {"__init__", "__main__", "__pycache__", "py"})


def stale_pointers(text: str) -> list[str]:
    """The files that a page points to, and the names in brackets behind them, that aren't there."""
    found = re.findall(
        r"`((?:certgrinderd|tests|build|hooks)/[^`\s]+)`(?: \(`(\w+)`)?", text, re.MULTILINE
    )
    return [
        f"{path} {name}"
        for path, name in found
        if not (ROOT / path).exists()
        or (name and not re.search(rf"\bdef {name}\b", (ROOT / path).read_text(encoding="utf-8")))
    ]


def test_design_points_to_files_that_exist() -> None:
    """Each file and function in docs/design.md is there; a renamed one is noticed."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    assert stale_pointers(text) == []
    assert stale_pointers(text.replace("(`separate`)", "(`divide`)")) != []
    assert stale_pointers(text.replace("issuance/engines.py", "issuance/engine.py")) != []
