"""Files of sshd and sudo: checked before and after they are written, and put back on failure."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from certgrinderd.errors import ConfigurationError
from certgrinderd.setup.clients import sshd
from certgrinderd.setup.install import layout
from certgrinderd.setup.install.layout import File
from certgrinderd.setup.install.steps import write_file
from certgrinderd.system import files, programs

# sshd's own folder, created when its service starts. sshd -t fails without it.
_RUN_SSHD = Path("/run/sshd")
_FIRST_WITH_EXPRESSIONS = (1, 9, 10)


@contextlib.contextmanager
def checked_by_sshd(file: File) -> Iterator[None]:
    """Require that sshd accepts the file, alone and with all others, and that its settings win.

    Raises:
        ConfigurationError: Otherwise. The old file is put back, or the new one removed.
    """
    if not Path(file.path).parent.is_dir():
        raise ConfigurationError(
            "this sshd has no sshd_config.d: put the text into sshd_config by hand, the first "
            "setting at the top and the rest at the end"
        )
    with _runnable_sshd(), _checked(file, "sshd", ("sshd", "-t"), _reasons_of_sshd):
        yield


def sshd_findings(file: File) -> list[str]:
    """Say why the settings of a file are not in force; nothing if they are, or if not root."""
    if os.geteuid() != 0 or not _RUN_SSHD.is_dir():
        return []
    try:
        return _reasons_of_sshd(file)
    except ConfigurationError as error:
        return [str(error)]


def _reasons_of_sshd(file: File) -> list[str]:
    return reasons_in_effect(file.content.decode(), programs.run(sshd.question(layout.USER)))


def has_effect(file: File) -> bool:
    """Whether the settings of a file are in force, wherever they stand."""
    return os.geteuid() == 0 and _RUN_SSHD.is_dir() and not sshd_findings(file)


def reasons_in_effect(text: str, effective: Sequence[str]) -> list[str]:
    """Compare the settings of a file with those in force, where the first of several values wins.

    Args:
        text: The file.
        effective: The lines of `sshd -T -C …`.
    """
    found = {line.partition(" ")[0]: line.partition(" ")[2] for line in reversed(effective)}
    reasons = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        if name and name != "Match" and not name.startswith("#"):
            in_force = found.get(name.lower(), "not known to this sshd")
            if in_force != value:
                reasons.append(f"{name} is {in_force}, set elsewhere, and should be {value}")
    return reasons + list(sshd.reasons(sshd.parse("\n".join(effective)), None))


@contextlib.contextmanager
def checked_by_sudo(file: File) -> Iterator[None]:
    """Require that sudo accepts the file, alone and with all others, and reads it.

    Raises:
        ConfigurationError: Otherwise. The old file is put back, or the new one removed.
    """
    require_expressions(programs.run(("sudo", "-V")))
    if not Path(file.path).parent.is_dir():
        raise ConfigurationError("this sudo has no sudoers.d: put the text into its sudoers")
    with _checked(file, "sudo", ("visudo", "-c"), _reasons_of_sudo):
        yield


@contextlib.contextmanager
def _checked(
    file: File, name: str, check: Sequence[str], reasons: Callable[[File], list[str]]
) -> Iterator[None]:
    """Check a file alone, have it written, check it with all others, and check its effect."""
    with files.private_directory(None) as folder:
        alone = folder / "alone"
        files.write_private(alone, file.content)
        programs.run((*check, "-f", str(alone)))
    try:
        programs.run(check)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}'s configuration already has an error: {error}") from error
    with put_back_unless_well(file.path):
        yield
        programs.run(check)
        if found := reasons(file):
            raise ConfigurationError("; ".join(found))


def require_expressions(lines: Sequence[str]) -> None:
    """Require a sudo that supports regular expressions; older ones read them as plain words.

    Raises:
        ConfigurationError: It is older, or says nothing that we understand.
    """
    version = re.match(r"Sudo version (\d+)\.(\d+)\.(\d+)", lines[0] if lines else "")
    if version is None or tuple(map(int, version.groups())) < _FIRST_WITH_EXPRESSIONS:
        raise ConfigurationError(
            "this rule needs sudo 1.9.10 or later; docs/sudo.md has a wrapper for older ones"
        )


def _reasons_of_sudo(file: File) -> list[str]:
    """Say so if sudo doesn't list the programs of the rules for the user."""
    listed = " ".join(programs.run(("sudo", "-n", "-l", "-U", layout.USER)))
    rules = re.findall(r"NOPASSWD: (\S+)", file.content.decode())
    if rules and all(f"NOPASSWD: {program} " in listed for program in rules):
        return []
    return ["sudo does not read this folder: see @includedir in sudoers"]


@contextlib.contextmanager
def put_back_unless_well(path: str) -> Iterator[None]:
    """If the block raises, put the old content of a file back, or remove the file."""
    place = Path(path)
    old = place.read_bytes() if place.exists() else None
    mode = place.stat().st_mode & 0o777 if old is not None else 0
    try:
        yield
    except BaseException:  # a signal too
        if old is None:
            place.unlink(missing_ok=True)
        else:
            write_file(File(path, old, mode))
        raise


@contextlib.contextmanager
def _runnable_sshd() -> Iterator[None]:
    was_there = _RUN_SSHD.is_dir()
    if not was_there:
        _RUN_SSHD.mkdir(mode=0o755)
    try:
        yield
    finally:
        if not was_there:
            _RUN_SSHD.rmdir()
