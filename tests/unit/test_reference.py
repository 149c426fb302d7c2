"""certgrinderd.conf.dist, the manual page and --help say what the table of options says."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from build.make_reference import CONF_DIST, MAN_PAGE, conf_dist, man_page
from certgrinderd.commandline.commands import COMMANDS
from certgrinderd.commandline.parser import help_text
from certgrinderd.errors import ConfigurationError
from certgrinderd.settings import sources
from certgrinderd.settings.table import OPTIONS, Settings

AGAIN = "run `.venv/bin/python build/make_reference.py`"


def without_comments(text: str) -> str:
    """Remove the "#" right before each option, as an admin does."""
    return re.sub(r"^#(?=\S)", "", text, flags=re.MULTILINE)


def man_entries(text: str, *, section: str) -> dict[str, str]:
    """Each item of a section's list, as its first line and the rest."""
    _, found, rest = text.partition(f"\n.Ss {section}\n")
    assert found
    items = re.split(r"^\.It ", rest.partition("\n.El\n")[0], flags=re.MULTILINE)[1:]
    return {head: body for head, _, body in (item.partition("\n") for item in items)}


def man_options() -> dict[str, tuple[list[str], str]]:
    """Each option of the manual page: its flags and its default."""
    options = {}
    for head, body in man_entries(man_page(), section="Options").items():
        flags = [f"-{flag}" for flag in re.findall(r"Fl (\S+)", head)]
        (default,) = re.findall(r"^Default: (.*)\.$", body, flags=re.MULTILINE)
        options[flags[-1].removeprefix("--")] = (flags, default.replace("\\-", "-"))
    return options


def help_options(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[list[str], str]]:
    """Each option of --help: its flags and its default; a switch is false by default."""
    monkeypatch.setenv("COLUMNS", "10000")  # nothing is wrapped then
    options = {}
    for item in re.split(r"\n  (?=-)", help_text())[1:]:
        flags = re.findall(r"(?:^|, )(--?[A-Za-z][a-z-]*)", item.partition("  ")[0].splitlines()[0])
        if flags[-1] not in ("--help", "--version", "--verbose"):
            default = re.search(r" Default: (.*)\.$", item, flags=re.MULTILINE)
            options[flags[-1].removeprefix("--")] = (flags, default[1] if default else "false")
    return options


def table() -> dict[str, tuple[list[str], str]]:
    """What the table of options says about flags and defaults."""
    return {
        option.name: (
            list(option.flags),
            "false" if option.is_switch else option.default_text,
        )
        for option in OPTIONS.values()
    }


def test_conf_dist_is_up_to_date() -> None:
    """The committed file is the one that is made from the tables."""
    assert CONF_DIST.read_text(encoding="utf-8") == conf_dist(), AGAIN


def test_manual_page_is_up_to_date() -> None:
    """The committed page is the one that is made from the tables."""
    assert MAN_PAGE.read_text(encoding="utf-8") == man_page(), AGAIN


def test_conf_dist_is_an_empty_configuration() -> None:
    """As it comes, the file sets nothing."""
    assert sources.from_yaml(conf_dist(), path="certgrinderd.conf.dist").values == {}


def test_conf_dist_holds_every_option_with_its_default() -> None:
    """With every option uncommented the file is accepted and changes nothing."""
    given = sources.from_yaml(without_comments(conf_dist()), path="certgrinderd.conf.dist")
    assert set(given.values) == {option.name for option in OPTIONS.values() if option.in_file}
    assert sources.merge(given).settings == Settings()


def test_conf_dist_could_be_refused() -> None:
    """The same reading notices an option that there isn't."""
    text = without_comments(conf_dist()).replace("\nlog-level:", "\nlog-levle:")
    with pytest.raises(ConfigurationError, match="did you mean 'log-level'"):
        sources.from_yaml(text, path="certgrinderd.conf.dist")


def test_manual_page_holds_every_option_with_its_default() -> None:
    """Each option has its flags and its default on the page, and there are no others."""
    assert man_options() == table()


def test_help_holds_every_option_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option has its flags and its default in --help, and there are no others."""
    assert help_options(monkeypatch) == table()


def test_manual_page_tells_what_clients_may_say() -> None:
    """An option or command is called open to clients exactly if it is."""
    for head, body in man_entries(man_page(), section="Options").items():
        name = head.rpartition("Fl -")[2].split()[0]
        assert ("Clients may set it." in body) == OPTIONS[name].client_may_set
    commands = man_entries(man_page(), section="Commands")
    assert len(commands) == len(COMMANDS)
    for command, body in zip(COMMANDS, commands.values(), strict=True):
        assert ("Not for clients." in body) == (not command.client_may_run)
        names = [argument.names[-1] for argument in command.arguments]
        found = re.findall(r"^\.(?:Fl (-\S+)|Ar (\S+)) :$", body, re.MULTILINE)
        assert [f"-{option}" if option else operand for option, operand in found] == names


def test_mandoc_has_nothing_to_complain_about() -> None:
    """The page is sound mdoc(7)."""
    mandoc = shutil.which("mandoc")
    if mandoc is None:
        pytest.skip("mandoc is not installed")
    command = [mandoc, "-T", "lint", "-W", "warning"]
    done = subprocess.run([*command, MAN_PAGE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    broken = man_page().replace("\n.El\n", "\n", 1)
    done = subprocess.run(command, input=broken, capture_output=True, text=True, check=False)
    assert done.returncode != 0
