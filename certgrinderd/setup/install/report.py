"""What install and uninstall print besides their steps: differences, warnings, next steps."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Sequence

from certgrinderd.errors import ConfigurationError
from certgrinderd.settings import sources
from certgrinderd.setup.install import layout, model, plan
from certgrinderd.setup.install.layout import File
from certgrinderd.setup.install.receipt import Receipt

_LARGEST_TEXT = 65536
_MOST_LINES = 60
_MOST_NAMES = 12
_OPTION = {layout.SSHD: "--sshd", layout.SUDOERS: "--sudo"}


def differences(planned: model.Plan, files: Sequence[File]) -> Iterator[str]:
    """List what differs and is kept, with the differences."""
    contents = {file.path: file.content for file in files}
    for path, reason in planned.left.items():
        yield f"kept: {path}: {reason}"
        if path in contents:
            yield from _difference(path, contents[path])


def _difference(path: str, wanted: bytes) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            found = file.read(_LARGEST_TEXT)
        old, new = found.decode().splitlines(), wanted.decode().splitlines()
    except (OSError, UnicodeDecodeError):
        return  # a program, or nothing to read
    lines = difflib.unified_diff(old, new, path, f"{path} as install would write it", lineterm="")
    for number, line in enumerate(lines):
        if number == _MOST_LINES:
            yield "    …"
            return
        yield f"    {line}"


def configuration(text: str | None) -> Iterator[str]:
    """List what is missing in the configuration file."""
    if text is None:
        return
    try:
        given = sources.from_yaml(text, path=layout.CONFIGURATION)
    except ConfigurationError as error:
        yield f"warning: {error}"
        return
    names = layout.unmentioned(text)
    if names:
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        yield (
            f"kept: {layout.CONFIGURATION}: it doesn't mention "
            f"{', '.join(names[:_MOST_NAMES])}{more}: see {layout.CONF_DIST}"
        )
    if not {"acme-zone", "web-root", "acme-client-command"} & set(given.values):
        yield f"next: set acme-zone, web-root or both in {layout.CONFIGURATION}"


def not_asked(file: File, found: model.Found | None) -> Iterator[str]:
    """Show a file that is written only with an option."""
    if found is not None and found.sha256 == plan.sha256(file):
        return
    option = _OPTION[file.path]
    if found is None:
        yield f"not written without {option}: {file}:"
        yield from (f"    {line}" for line in file.content.decode().splitlines())
    else:
        yield f"kept without {option}: {file.path}: it differs"
        yield from _difference(file.path, file.content)


def left(planned: model.Plan, receipt: Receipt) -> Iterator[str]:
    """List what an uninstall keeps, and the command that removes it."""
    for path, reason in planned.left.items():
        yield f"kept: {path}: {reason}"
    if not planned.left:
        return
    folders = [path for path in (layout.ETC, layout.HOME) if path in planned.left]
    files = [path for path in planned.left if path in receipt.files]
    others = [path for path in files if not path.startswith(tuple(f"{f}/" for f in folders))]
    command = f"rm -r {' '.join((*folders, *others, layout.SHARE))}"
    command += f"; userdel {receipt.user}" if receipt.user else ""
    yield f"to remove these too, with accounts and keys: {command}"


def end(steps: Sequence[model.Step], command: str, *, yes: bool) -> Iterator[str]:
    """Say what to do next."""
    paths = {step.file.path for step in steps if isinstance(step, model.WriteFile)}
    paths |= {step.path for step in steps if isinstance(step, model.Remove)}
    if yes and layout.SSHD in paths:
        yield f"next: reload sshd: {_reload()}"
    if not steps:
        yield "nothing to do"
    elif not yes:
        yield f"nothing was changed: {command} --yes does it"


def _reload() -> str:
    """The command that reloads sshd; its service has another name on Debian."""
    is_debians = any(map(os.path.exists, ("/etc/init.d/ssh", "/lib/systemd/system/ssh.service")))
    return f"service {'ssh' if is_debians else 'sshd'} reload"
