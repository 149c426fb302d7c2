"""Checking an authorized_keys file: its lines, its owner and mode, and sshd's settings."""

from __future__ import annotations

import logging
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.settings.table import Settings
from certgrinderd.setup.clients import findings, sshd
from certgrinderd.system import files, programs

logger = logging.getLogger(__name__)

# They split $SSH_ORIGINAL_COMMAND at blanks, and know set -f; zsh and the C shells do not.
_BOURNE_SHELLS = {"sh", "ash", "bash", "busybox", "dash", "ksh", "ksh93", "mksh", "oksh", "yash"}
# Thousands of clients with thousands of names each.
_LARGEST_KEYS_FILE = 64 * 1024 * 1024


def check_authorized_keys(settings: Settings, arguments: Mapping[str, Any]) -> str:
    """Check an authorized_keys file, and sshd's settings for it; each finding is logged.

    A file that sshd does not read is a copy that isn't in its place yet: only its lines count.
    Without a file, those that sshd reads are checked.

    Raises:
        ConfigurationError: There are findings, or a file can't be read.
        UsageError: There is no file to check.
    """
    del settings
    user, given = arguments["user"], arguments["file"]
    effective = _ask_sshd(user)
    account = _account(user)
    read = None if effective is None else _read_by_sshd(effective, account)
    in_place = given is None or any(_is_same(given, path) for path in read or ())
    paths = _existing(read, user) if in_place else [given]
    reports = {path: _check_lines(path) for path in paths}
    if not in_place:
        _log_place(given, read, user)
    found = [f"{path}: {each}" for path, report in reports.items() for each in report.findings]
    numbers = (report.needs_environment for report in reports.values())
    line = next((number for number in numbers if number is not None), None)
    if effective is not None:
        found += [f"{paths[0]}: sshd: {each}" for each in sshd.reasons(effective, line)]
    if in_place and account is not None:
        found += reasons_in_shell(account)
        if any(report.needs_bourne_shell for report in reports.values()):
            found += _reasons_in_other_shell(account)
        found += [f"{path}: {each}" for path in paths for each in _reasons_in_place(path, account)]
        if line is not None:
            found += [f"{paths[0]}: {each}" for each in _reasons_in_home(account)]
    for finding in found:
        logger.error("%s", finding)
    checked = ", ".join(paths)
    if found:
        raise ConfigurationError(f"{checked}: {_counted(len(found), 'finding')}, see above")
    what = "all well" if in_place else "all well in its lines,"
    clients = sum(report.clients for report in reports.values())
    logger.info("%s: %s with %s", checked, what, _counted(clients, "client"))
    return ""


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


def _check_lines(path: str) -> findings.Report:
    data = files.read_file(path, limit=_LARGEST_KEYS_FILE, label="authorized_keys")
    return findings.check(data.decode("utf-8", "surrogateescape"))


def _account(user: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _ask_sshd(user: str) -> sshd.Settings | None:
    """Ask sshd for the settings in force, if it is installed and we are root."""
    is_here = programs.find("sshd") is not None
    if not is_here or os.geteuid() != 0:
        reason = "that needs root" if is_here else "there is no sshd here"
        logger.info("not checked: sshd's settings, and who owns the file, since %s", reason)
        return None
    try:
        return sshd.parse("\n".join(programs.run(sshd.question(user))))
    except ConfigurationError as error:
        logger.warning("not checked: sshd's settings, and who owns the file: %s", error)
        return None


def _read_by_sshd(effective: sshd.Settings, account: pwd.struct_passwd | None) -> list[str] | None:
    if account is None:
        return None
    user, home, uid = account.pw_name, account.pw_dir, account.pw_uid
    return sshd.keys_files(effective, user=user, home=home, uid=uid)


def _is_same(path: str, other: str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def _existing(read: list[str] | None, user: str) -> list[str]:
    """The files that sshd reads and that are there.

    Raises:
        UsageError: Nobody knows which ones it reads.
        ConfigurationError: None is there.
    """
    if read is None:
        if _account(user) is None:
            raise UsageError(f"--user: there is no user {user}")
        raise UsageError(f"FILE is missing: for {user}, sshd does not say which one it reads")
    paths = [path for path in read if os.path.lexists(path)]
    if not paths:
        raise ConfigurationError(
            f"sshd reads {' and '.join(read) or 'no file'} for {user}, and no such file exists: is "
            "AuthorizedKeysFile set for this user, and in force?"
        )
    return paths


def _log_place(path: str, read: list[str] | None, user: str) -> None:
    if read is not None:
        logger.warning(
            "%s: for %s sshd reads %s, not this file: who owns it was not checked",
            *(path, user, " and ".join(read) or "no file"),
        )


def _reasons_in_place(path: str, account: pwd.struct_passwd) -> Iterator[str]:
    """Say why sshd would not use a file with keys, and who besides root can change it.

    sshd takes no keys from a file if it, or a folder above it, could be changed by others than root
    and the user (safe_path() of OpenSSH), and reads it with the user's rights. The user must not
    be able to change it either. Access control lists are not looked at.
    """
    gids = os.getgrouplist(account.pw_name, account.pw_gid)
    for part in files.parts(path):
        found = part.lstat()
        if found.st_uid != 0:
            yield f"{part} belongs to {_owner(found.st_uid)}, who could let anybody in: chown root"
        if stat.S_ISLNK(found.st_mode):
            continue
        mode = f"mode {stat.S_IMODE(found.st_mode):o}"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield f"others than root can write to {part} ({mode}): sshd lets nobody in: chmod go-w"
        right, name = (1, "enter") if stat.S_ISDIR(found.st_mode) else (4, "read")
        if not _may(right, found, account.pw_uid, gids):
            yield (
                f"{account.pw_name} cannot {name} {part} ({mode}), and sshd reads the file as that "
                f"user: chmod a+{'x' if name == 'enter' else 'r'}"
            )


def _may(right: int, found: os.stat_result, uid: int, gids: list[int]) -> bool:
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in gids else 0
    return bool(found.st_mode >> shift & right)


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def reasons_in_shell(account: pwd.struct_passwd) -> Iterator[str]:
    """Say why sshd could not run a forced command, for which it uses the user's shell."""
    shell = account.pw_shell or "/bin/sh"
    if shell.endswith(("/nologin", "/false")) or not os.access(shell, os.X_OK):
        yield (
            f"the user {account.pw_name} has no real shell, which sshd needs to run the forced "
            f"command: usermod --shell /bin/sh {account.pw_name}"
        )


def _reasons_in_other_shell(account: pwd.struct_passwd) -> Iterator[str]:
    """Say why lines with $SSH_ORIGINAL_COMMAND would not work, or not be safe, with a shell."""
    if Path(account.pw_shell or "/bin/sh").name not in _BOURNE_SHELLS:
        yield (
            f"the shell of {account.pw_name} is {account.pw_shell}, and lines with "
            f"$SSH_ORIGINAL_COMMAND need a Bourne shell: usermod --shell /bin/sh {account.pw_name}"
        )


def _reasons_in_home(account: pwd.struct_passwd) -> Iterator[str]:
    """Say what overrides environment= where sshd allows it: it also reads ~/.ssh/environment."""
    path = Path(account.pw_dir, ".ssh", "environment")
    gids = os.getgrouplist(account.pw_name, account.pw_gid)
    part = files.changeable_part(str(path), uid=account.pw_uid, gids=gids)
    if os.path.lexists(path):
        yield f"{path} exists and overrides environment=: remove it"
    elif part is not None:
        yield (
            f"{account.pw_name} can change {part}, and {path} in it would override "
            f"environment=: chown root {part}"
        )
