"""The shells complete command lines of certgrinderd.pyz by the tables of commands and options."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from build.make_reference import FILES
from certgrinderd.commandline.commands import COMMANDS, GROUPS
from certgrinderd.settings.kinds import LOG_LEVELS
from certgrinderd.settings.table import OPTIONS

FOLDER = Path(__file__).resolve().parents[2] / "contrib/completion"
BASH, ZSH = FOLDER / "certgrinderd.bash", FOLDER / "_certgrinderd"
FIRST_WORDS = {*GROUPS, *(command.words[0] for command in COMMANDS)}
FLAGS = {flag for option in OPTIONS.values() for flag in option.flags}
FLAGS |= {"-h", "--help", "--version", "--verbose"}


def by_bash(*words: str, folder: Path = FOLDER) -> set[str]:
    """What bash offers for the last of these words."""
    script = """
        . "$1"; shift
        [[ $(complete -p certgrinderd.pyz) == *' -F _shtab_certgrinderd '* ]] || exit 9
        COMP_WORDS=(certgrinderd.pyz "$@") COMP_CWORD=$#
        _shtab_certgrinderd certgrinderd.pyz "${@: -1}" x
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-euc", script, "bash", BASH, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


@pytest.mark.parametrize("path", [path for path in FILES if path.parent == FOLDER], ids=str)
def test_files_are_up_to_date(path: Path) -> None:
    """The committed files are those that are made from the tables."""
    text = path.read_text(encoding="utf-8")
    assert text == FILES[path](), "run `.venv/bin/python build/make_reference.py`"


def test_bash_offers_what_the_parser_knows(tmp_path: Path) -> None:
    """Commands, options after a dash, then the words of a group, then a command's own options."""
    assert by_bash("") == FIRST_WORDS
    assert by_bash("-") == FLAGS
    for group in GROUPS:
        own = {c.words[1] for c in COMMANDS if c.words[0] == group}
        assert by_bash(group, "") == own
    for command in COMMANDS:
        names = {a.names[-1] for a in command.arguments}
        own = {name for name in names if name.startswith("-")}
        assert by_bash(*command.words, "-") == own | {"-h", "--help"}
    (tmp_path / "www.pub").touch()
    assert by_bash("show", "authorized-keys", "", folder=tmp_path) == {"www.pub"}


def test_bash_takes_no_value_for_a_command(tmp_path: Path) -> None:
    """After an option comes its value, if it has one, and then what would have come without it."""
    (tmp_path / "get").touch()
    assert by_bash("--config-file", "", folder=tmp_path) == {"get"}
    assert by_bash("--config-file", "F", "c") == {"cache", "certbot", "check"}
    assert by_bash("--log-level", "") == set(LOG_LEVELS)
    assert by_bash("--acme-zone", "") == set()
    assert by_bash("--staging", "get", "c") == {"certificate", "crl"}
    # bash takes a URL for several words.
    url = ("--acme-server-url", "https", ":", "//ca.example/dir")
    assert by_bash(*url, "get", "c") == {"certificate", "crl"}
    assert by_bash("--log", folder=tmp_path) == {"--log-level"}


class Zsh:
    """A zsh on a terminal, whose certgrinderd.pyz prints its arguments."""

    def __init__(self, folder: Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            variables = {"TERM": "dumb", "HOME": str(folder), "PATH": os.environ["PATH"]}
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], variables)  # noqa: S606 - the program under test
        setup = (
            "PS1=; unsetopt zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste; "
            f"fpath=({FOLDER} $fpath); autoload -U compinit; compinit -D -u; setopt no_beep; "
            "certgrinderd.pyz() { print -r -- \"<$@>\" }; print -r -- '<''ready>'\n"
        )
        os.write(self._terminal, setup.encode())
        assert self._answer() == "ready"

    def complete(self, line: str) -> str:
        """Type a line, in which tabs complete, and return the arguments that it comes to."""
        os.write(self._terminal, f"certgrinderd.pyz {line}\n".encode())
        return self._answer()

    def _answer(self) -> str:
        seen = ""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if select.select([self._terminal], [], [], 1)[0]:
                seen += os.read(self._terminal, 65536).decode()
            found = re.search(r"<([^<>$'\r\n]*)>", seen)
            if found:
                return found[1]
        raise AssertionError(f"zsh does not answer: {seen!r}")

    def end(self) -> None:
        """Hang up, and wait for it."""
        os.close(self._terminal)
        os.waitpid(self._pid, 0)


def test_zsh_completes_words_and_options(tmp_path: Path) -> None:
    """What has one completion is completed: commands of either kind, options, values, files."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "www.pub").touch()
    zsh = Zsh(tmp_path)
    try:
        for typed, arguments in {
            "sh\tcon\t": "show configuration",
            "--config-f\twww\tge\tcr\t": "--config-file www.pub get crl",
            "--stag\tget renew\t": "--staging get renewal-info",
            "--log-level WARN\tpi\t": "--log-level WARNING ping",
            "inst\t--ye\t--ssh\t": "install --yes --sshd",
            "show authorized-keys --pass\tww\t": "show authorized-keys --pass-words www.pub",
            "-z acme.example show sudo\t--us\t": "-z acme.example show sudoers --user",
        }.items():
            assert zsh.complete(typed).split() == arguments.split()
        # Nothing is made of a word that no command begins with, nor of what follows it.
        assert zsh.complete("nonsen\t ge\t") == "nonsen ge"
    finally:
        zsh.end()
