"""One command line for many inputs: the program is loaded once, and forked for each of them.

Run as a program: python -m tests.testbed.replay FOLDER. For each file NAME.in in the folder it runs
certgrinderd with that file as standard input, and writes NAME.out, NAME.err and NAME.status. The
words of the command line stand in the file `argv`, one a line.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.server import clean_environment

_ROOT = Path(__file__).resolve().parents[2]
_READ = os.O_RDONLY
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL


@dataclass(frozen=True)
class Answer:
    """What a run said and how it ended."""

    status: int
    stdout: bytes
    stderr: bytes


def replay(
    folder: Path, argv: Sequence[str], inputs: Sequence[bytes], environment: Mapping[str, str]
) -> list[Answer]:
    """Run a command line once for each input.

    Args:
        folder: An empty one, for the inputs and answers.
        argv: The words after the program's name.
        inputs: What comes on standard input.
        environment: Of the program, besides PATH and the like.
    """
    (folder / "argv").write_text("\n".join(argv), encoding="utf-8")
    paths = [folder / f"{number:03}.in" for number in range(len(inputs))]
    for path, data in zip(paths, inputs, strict=True):
        path.write_bytes(data)
    subprocess.run(
        [sys.executable, "-m", "tests.testbed.replay", str(folder)],
        cwd=_ROOT,
        env=clean_environment(**environment),
        check=True,
        timeout=300,
    )
    return [
        Answer(
            int(path.with_suffix(".status").read_text(encoding="ascii")),
            path.with_suffix(".out").read_bytes(),
            path.with_suffix(".err").read_bytes(),
        )
        for path in paths
    ]


def _run_all(folder: Path) -> None:
    from certgrinderd import cli

    # Loaded here, so that no child has to.
    for name in (
        *(
            "certgrinderd",
            "policy",
            "settings.sources",
            "issuance.attempts",
            "pki.csr",
            "pki.describe",
        ),
        *("system.files", "system.log", "system.session"),
    ):
        importlib.import_module(f"certgrinderd.{name}")
    importlib.import_module("idna")
    importlib.import_module("yaml")

    argv = (folder / "argv").read_text(encoding="utf-8").splitlines()
    for path in sorted(folder.glob("*.in")):
        child = os.fork()
        if child == 0:
            os.dup2(os.open(path, _READ), 0)
            os.dup2(os.open(path.with_suffix(".out"), _WRITE, 0o600), 1)
            os.dup2(os.open(path.with_suffix(".err"), _WRITE, 0o600), 2)
            os._exit(cli.main(argv))
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        path.with_suffix(".status").write_text(str(code), encoding="ascii")


if __name__ == "__main__":
    _run_all(Path(sys.argv[1]))
