"""The commands install and uninstall: inspect the host, make a plan, and run it with --yes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from certgrinderd.errors import ConfigurationError, UsageError
from certgrinderd.onefile import identity
from certgrinderd.setup.install import guards, host, layout, model, plan, report, signature, steps
from certgrinderd.setup.install.layout import File

_LARGEST_PROGRAM = 64 * 1024 * 1024


def install(
    *,
    yes: bool,
    with_sshd: bool,
    with_sudo: bool,
    rule: Callable[[], str],
    allowed_signers: str | None = None,
) -> Iterator[str]:
    """Set this machine up as a server.

    Args:
        yes: Whether to make the changes; otherwise they are only listed.
        with_sshd: Whether sshd's settings are written; otherwise they are only shown.
        with_sudo: The same for the rule for sudo.
        rule: Makes that rule for the installed program and its configuration; ConfigurationError
            or UsageError when none is needed or none can be made.
        allowed_signers: The file with the keys of which one must have signed this program; None
            asks for no signature.

    Yields:
        Lines of output; the line about a step comes when the step is done.

    Raises:
        UsageError: This is not certgrinderd.pyz, or the user is not root.
        ConfigurationError: The program is not signed as it has to be.
        ConfigurationError, Temporary: A step failed. The steps before it were listed, and a second
            run continues from there.
    """
    unpacked, files = _require_fit("install", yes=yes, allowed_signers=allowed_signers)
    planned, there = _plan(layout.folders(), files, unpacked)
    yield from _run(planned, unpacked, yes=yes)
    yield from report.differences(planned, files)
    # The files of sshd and sudo come last, when everything that they name exists.
    wanted = {layout.SSHD: layout.sshd_file()}
    no_rule = None
    if Path(layout.CONFIGURATION).exists():
        try:
            wanted[layout.SUDOERS] = layout.sudoers_file(rule())
        except (ConfigurationError, UsageError) as error:
            no_rule = error
            yield f"sudo: {error}"
    asked = {layout.SSHD: with_sshd, layout.SUDOERS: with_sudo}
    obeyed = [file for path, file in wanted.items() if asked[path]]
    second, there = _plan((), list(wanted.values()), unpacked, only=obeyed)
    if not yes:
        shown = (model.WriteFile, model.Remove)
        steps_shown = tuple(step for step in second.steps if isinstance(step, shown))
        second = model.Plan(steps_shown, second.left)
    yield from _run(second, unpacked, yes=yes)
    yield from report.differences(second, obeyed)
    for path, file in wanted.items():
        found = there.found.get(path)
        if not asked[path] and not (path == layout.SSHD and guards.has_effect(file)):
            yield from report.not_asked(file, found)
    yield from _findings(with_sshd=with_sshd)
    yield from report.configuration(host.read_text(layout.CONFIGURATION))
    yield from report.end([*planned.steps, *second.steps], "install", yes=yes)
    if no_rule and with_sudo and yes:
        raise no_rule


def _findings(*, with_sshd: bool) -> Iterator[str]:
    """Problems with what is installed already."""
    found = host.user_findings()
    if with_sshd and Path(layout.SSHD).exists():
        found += guards.sshd_findings(layout.sshd_file())
    yield from (f"warning: {finding}" for finding in found)


def uninstall(*, yes: bool) -> Iterator[str]:
    """Remove what install created, and nothing else.

    Yields:
        Lines of output; the line about a step comes when the step is done.

    Raises:
        UsageError, ConfigurationError, Temporary: As install.
    """
    unpacked, files = _require_fit("uninstall", yes=yes)
    receipt = host.read_receipt()
    paths = {*receipt.files, *receipt.folders, layout.RECEIPT}
    there = host.look(paths, build=unpacked.name)
    planned = plan.uninstall([*files, layout.sshd_file()], there, receipt)
    # The steps may remove this program, so the last lines are made first.
    last = [
        *report.left(planned, receipt),
        *report.end(planned.steps, "uninstall", yes=yes),
    ]
    yield from _run(planned, unpacked, yes=yes)
    yield from last


def _require_fit(
    command: str, *, yes: bool, allowed_signers: str | None = None
) -> tuple[Path, tuple[File, ...]]:
    """Return where this program is unpacked, and the files of an installation."""
    unpacked = identity.require_unpacked()
    if yes and os.geteuid() != 0:
        raise UsageError(f"{command} --yes is for root: sudo {sys.argv[0]} {command} --yes")
    program = Path(sys.argv[0])
    try:
        data = program.read_bytes() if program.stat().st_size <= _LARGEST_PROGRAM else b""
    except OSError as error:
        raise UsageError(f"cannot read {program}: {error.strerror}") from error
    if not identity.is_build_in(data, unpacked):
        raise UsageError(f"{program} is not the certgrinderd.pyz that runs: start it anew")
    if allowed_signers is not None:
        signature.require_signed(program, data, allowed_signers=allowed_signers)
    here = Path(__file__).parent
    places = [*here.parents[1].glob("hooks/*.sh"), *here.glob("files/*")]
    return unpacked, layout.files({place.name: place.read_bytes() for place in places}, data)


def _plan(
    folders: Sequence[layout.Folder],
    files: Sequence[File],
    unpacked: Path,
    *,
    only: Iterable[File] | None = None,
) -> tuple[model.Plan, model.Host]:
    paths = [*(folder.path for folder in folders), *(file.path for file in files)]
    paths += (file.former for file in files if file.former is not None)
    there = host.look(paths, build=unpacked.name)
    wanted = files if only is None else list(only)
    return plan.install(folders, wanted, there, host.read_receipt()), there


def _run(planned: model.Plan, unpacked: Path, *, yes: bool) -> Iterator[str]:
    if yes:
        obeyed = {layout.SSHD: guards.checked_by_sshd, layout.SUDOERS: guards.checked_by_sudo}
        yield from steps.run(planned, unpacked=unpacked, guards=obeyed)
    else:
        yield from (f"would {step}" for step in planned.steps)
