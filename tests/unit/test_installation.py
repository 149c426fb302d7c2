"""What `install` and `uninstall` plan: whatever a host has on it, they get there and back."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build.make_reference import conf_dist
from certgrinderd.errors import ConfigurationError, Interrupted
from certgrinderd.onefile import identity
from certgrinderd.settings import sources
from certgrinderd.settings.table import OPTIONS
from certgrinderd.setup.install import guards, layout, plan, receipt, report, steps
from certgrinderd.setup.install.layout import File
from certgrinderd.setup.install.model import (
    Found,
    Host,
    MakeFolder,
    MakeUser,
    Plan,
    PrepareCache,
    Remove,
    RemoveFolder,
    Step,
    WriteFile,
    WriteReceipt,
)
from certgrinderd.setup.install.receipt import Receipt

PROGRAM = b"#!/bin/sh\n# certgrinderd 1.2.3. A zip file follows: unzip -l lists it.\n"
NAMES = ("manual-auth-hook.sh", "certgrinderd.8", "certgrinderd.bash", "_certgrinderd")
INSIDE = {name: name.encode() for name in NAMES} | {"certgrinderd.conf.dist": conf_dist().encode()}
FILES = layout.files(INSIDE, PROGRAM)
FOLDERS = layout.folders()


def digest(content: bytes) -> str:
    """Its SHA-256."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class Machine:
    """A host of plain values, on which steps are done."""

    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    folders: dict[str, tuple[str, int]] = field(default_factory=dict)
    has_user: bool = False
    is_prepared: bool = False
    receipt: Receipt = field(default_factory=Receipt)

    def look(self) -> Host:
        """What is found on it."""
        found = {
            path: Found("file", "root", mode, digest(data), identity.is_program(data))
            for path, (data, mode) in self.files.items()
        }
        there = [*self.files, *self.folders]
        for path, (owner, mode) in self.folders.items():
            names = sorted(p.rpartition("/")[2] for p in there if p.rpartition("/")[0] == path)
            found[path] = Found("folder", owner, mode, entries=tuple(names))
        return Host(found, self.has_user, self.is_prepared)

    def do(self, steps: Iterable[Step]) -> None:
        """Do the steps, each of which must be possible."""
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        if isinstance(step, MakeUser):
            assert not self.has_user
            self.has_user = True
        elif isinstance(step, MakeFolder):
            self._require_parent(step.folder.path)
            assert self.has_user or step.folder.owner == "root"
            self.folders[step.folder.path] = (step.folder.owner, step.folder.mode)
        elif isinstance(step, WriteFile):
            self._write(step.file)
        elif isinstance(step, PrepareCache):
            self.folders.setdefault(layout.CACHE, ("root", 0o755))
            self.is_prepared = True
        elif isinstance(step, WriteReceipt):
            self._write(File(layout.RECEIPT, receipt.render(step.receipt).encode()))
            self.receipt = step.receipt
        elif isinstance(step, Remove):
            del self.files[step.path]
            if step.path == layout.RECEIPT:
                self.receipt = Receipt()
        elif isinstance(step, RemoveFolder):
            inside = [path for path in (*self.files, *self.folders) if path.startswith(step.path)]
            assert step.with_contents or inside == [step.path]
            del self.folders[step.path]
            self.is_prepared &= step.path != layout.CACHE
        else:
            assert step.name == layout.USER
            self.has_user = False

    def _write(self, file: File) -> None:
        self._require_parent(file.path)
        self.files[file.path] = (file.content, file.mode)

    def _require_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        known = {folder.path for folder in FOLDERS}
        assert parent in self.folders or parent not in known, f"{parent} is not there yet"

    def install(self, files: Iterable[File] = FILES) -> tuple[Step, ...]:
        """The steps of an install."""
        return plan.install(FOLDERS, list(files), self.look(), self.receipt).steps

    def uninstall(self, files: Iterable[File] = FILES) -> tuple[Step, ...]:
        """The steps of an uninstall."""
        return plan.uninstall(list(files), self.look(), self.receipt).steps

    def without_cache(self) -> tuple[object, ...]:
        """All but what the program makes by its start alone."""
        folders = {path: facts for path, facts in self.folders.items() if path != layout.CACHE}
        return dict(self.files), folders, self.has_user


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A host that has some of the folders, and files of somebody's in some places."""
    machine = Machine(has_user=draw(st.booleans()))
    for folder in FOLDERS:
        parent = folder.path.rpartition("/")[0]
        can_be = parent in machine.folders or parent not in {f.path for f in FOLDERS}
        if can_be and folder.path != layout.SHARE and draw(st.booleans()):
            machine.folders[folder.path] = (folder.owner, folder.mode)
    for file in FILES:
        if file.path.rpartition("/")[0] in machine.folders and draw(st.booleans()):
            machine.files[file.path] = (b"somebody's", draw(st.sampled_from([0o600, file.mode])))
    return machine


@given(machines(), st.integers(0, 40), st.integers(0, 40))
def test_there_and_back_from_anywhere(machine: Machine, first: int, second: int) -> None:
    """However often it is interrupted, install gets to its end, and uninstall back to the start.

    What was there before is the same at each moment.
    """
    before = machine.without_cache()
    theirs = dict(machine.files)
    machine.do(machine.install()[:first])
    assert theirs.items() <= machine.files.items()
    machine.do(machine.install())
    assert machine.install() == ()
    assert theirs.items() <= machine.files.items()
    assert {folder.path for folder in FOLDERS} <= set(machine.folders)
    steps = machine.uninstall()
    # Between the removal of the receipt and that of its folder nothing is known any more.
    until = next((n for n, step in enumerate(steps) if step == Remove(layout.RECEIPT)), len(steps))
    machine.do(steps[: min(second, until)])
    machine.do(machine.uninstall())
    assert machine.uninstall() == ()
    assert machine.without_cache() == before


@given(machines(), st.integers(0, 40))
def test_half_an_install_is_taken_back(machine: Machine, first: int) -> None:
    """What an interrupted install has made goes, as soon as it has noted that it is its own."""
    before = machine.without_cache()
    steps = machine.install()
    until = next(n for n, step in enumerate(steps) if isinstance(step, WriteReceipt))
    machine.do(steps[: max(first, until + 1)])
    machine.do(machine.uninstall())
    assert machine.without_cache() == before


def installed() -> Machine:
    """A host after an install."""
    machine = Machine()
    machine.do(machine.install())
    return machine


def test_documentation_lists_what_is_made() -> None:
    """Each file, and each folder that only certgrinderd uses, has a row in docs/install.md."""
    page = (Path(__file__).resolve().parents[2] / "docs/install.md").read_text("utf-8")
    table = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    files = [*FILES, layout.sshd_file(), layout.sudoers_file("")]
    for path in [layout.RECEIPT, layout.CACHE, *(file.path for file in files)]:
        assert any(f"{path}/".startswith(row) for row in table), path
    for row in table:
        paths = [*(file.path for file in files), *(folder.path for folder in FOLDERS)]
        assert row.rstrip("/") in [*paths, layout.RECEIPT, layout.CACHE], row


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.path)
def test_changed_file_is_left_by_both(file: File) -> None:
    """What an admin has changed is neither replaced nor removed, and the user stays with it."""
    machine = installed()
    machine.files[file.path] = (b"changed", file.mode)
    assert machine.install() == ()
    planned = plan.uninstall(FILES, machine.look(), machine.receipt)
    assert set(planned.left) >= {file.path, f"the user {layout.USER}"}
    machine.do(planned.steps)
    assert machine.files[file.path] == (b"changed", file.mode)
    assert machine.has_user
    assert machine.uninstall() == ()
    del machine.files[file.path]
    machine.do(machine.uninstall())
    assert machine == Machine()


def test_account_and_clients_are_left() -> None:
    """A folder with something in it stays, and all above it."""
    machine = installed()
    machine.files[f"{layout.HOME}/certbot/config"] = (b"the account", 0o600)
    planned = plan.uninstall(FILES, machine.look(), machine.receipt)
    assert set(planned.left) == {
        *(layout.HOME, f"{layout.HOME}/certbot"),
        f"the user {layout.USER}",
    }
    machine.do(planned.steps)
    assert f"{layout.HOME}/certbot/config" in machine.files
    assert f"{layout.HOME}/.cache" not in machine.folders
    assert layout.ETC not in machine.folders


def test_folder_of_the_system_that_others_use_is_theirs() -> None:
    """Another program's page in the manual is no reason to keep anything but its folder."""
    machine = installed()
    page = "/usr/local/share/man/man8/other.8"
    machine.files[page] = (b"theirs", 0o644)
    planned = plan.uninstall(FILES, machine.look(), machine.receipt)
    assert planned.left == {}
    machine.do(planned.steps)
    assert machine == Machine(
        files={page: (b"theirs", 0o644)}, folders=dict.fromkeys(machine.folders, ("root", 0o755))
    )
    assert set(machine.folders) == {"/usr/local/share/man", "/usr/local/share/man/man8"}


@pytest.mark.parametrize(
    ("changed", "command"),
    [
        (layout.PROGRAM, f"rm -r {layout.PROGRAM} {layout.SHARE}; userdel certgrinderd"),
        (layout.CONFIGURATION, f"rm -r {layout.ETC} {layout.SHARE}; userdel certgrinderd"),
        (
            f"{layout.HOME}/certbot/config",
            f"rm -r {layout.HOME} {layout.SHARE}; userdel certgrinderd",
        ),
    ],
)
def test_command_for_what_is_left_removes_that(changed: str, command: str) -> None:
    """It names our own folders, and single files elsewhere."""
    machine = installed()
    machine.files[changed] = (b"changed", 0o644)
    planned = plan.uninstall(FILES, machine.look(), machine.receipt)
    *_, last = report.left(planned, machine.receipt)
    assert last.endswith(f": {command}")
    machine.do(machine.uninstall())
    assert list(report.left(Plan((), {}), machine.receipt)) == []


def test_newer_version_replaces_what_is_unchanged() -> None:
    """An upgrade replaces hooks, pages and the program, and leaves what is for the admin."""
    machine = installed()
    inside = {name: content + b" newer" for name, content in INSIDE.items()}
    newer = layout.files(inside, PROGRAM + b"newer")
    steps = machine.install(newer)
    written = {step.file.path for step in steps if isinstance(step, WriteFile)}
    assert written == {file.path for file in newer if not file.is_admins}
    assert all(step.replaces for step in steps if isinstance(step, WriteFile))
    machine.do(steps)
    assert machine.install(newer) == ()
    # An uninstall by the older version knows them too.
    machine.do(machine.uninstall(FILES))
    assert machine == Machine()


def test_interrupted_upgrade_goes_on() -> None:
    """Wherever it ends, the old files are still known for ours as well as the new ones."""
    newer = layout.files({name: b"x" + content for name, content in INSIDE.items()}, PROGRAM)
    for first in range(len(installed().install(newer))):
        for goes_on in (True, False):
            machine = installed()
            machine.do(machine.install(newer)[:first])
            if goes_on:
                machine.do(machine.install(newer))
                assert machine.install(newer) == ()
            machine.do(machine.uninstall(newer))
            assert machine == Machine()


def with_former_settings(content: bytes) -> Machine:
    """A host on which an older version wrote sshd's settings under their former name."""
    machine = installed()
    machine.folders["/etc/ssh/sshd_config.d"] = ("root", 0o755)
    machine.files[layout.FORMER_SSHD] = (content, 0o644)
    noted = {**machine.receipt.files, layout.FORMER_SSHD: (digest(b"older"),)}
    machine.receipt = dataclasses.replace(machine.receipt, files=noted)
    return machine


def test_settings_of_sshd_move_to_their_new_name() -> None:
    """The new file comes first; wherever a run ends, the next one removes the old one."""
    files = [*FILES, layout.sshd_file()]
    steps = with_former_settings(b"older").install(files)
    assert [type(step) for step in steps] == [WriteReceipt, WriteFile, Remove]
    for first in range(len(steps)):
        for goes_on in (True, False):
            machine = with_former_settings(b"older")
            machine.do(machine.install(files)[:first])
            if goes_on:
                machine.do(machine.install(files))
                assert layout.SSHD in machine.files
                assert layout.FORMER_SSHD not in machine.files
                assert machine.install(files) == ()
            machine.do(machine.uninstall(files))
            assert machine == Machine(folders={"/etc/ssh/sshd_config.d": ("root", 0o755)})


def test_edited_settings_of_sshd_are_kept_under_their_former_name() -> None:
    """And listed, as are all of them where the new name is taken: that file is not touched."""
    file = layout.sshd_file()
    machine = with_former_settings(b"edited")
    planned = plan.install(FOLDERS, [file], machine.look(), machine.receipt)
    assert [type(step) for step in planned.steps] == [WriteReceipt, WriteFile]
    assert list(planned.left) == [layout.FORMER_SSHD]
    machine = with_former_settings(b"older")
    machine.files[layout.SSHD] = (b"another", 0o644)
    planned = plan.install(FOLDERS, [file], machine.look(), machine.receipt)
    assert planned.steps == ()
    assert list(planned.left) == [layout.SSHD]


def test_program_put_there_by_hand_is_replaced_and_removed() -> None:
    """It is known by its first lines; another file of its name is not touched."""
    older = PROGRAM.replace(b"1.2.3", b"0.9") + b"older"
    for content, is_replaced in ((older, True), (b"#!/bin/sh\n# certgrinderd\n", False)):
        machine = Machine()
        machine.folders["/usr/local/bin"] = ("root", 0o755)
        machine.files[layout.PROGRAM] = (content, 0o755)
        machine.do(machine.install())
        assert (machine.files[layout.PROGRAM][0] == PROGRAM) == is_replaced
        machine.files[layout.PROGRAM] = (content, 0o755)
        machine.do(machine.uninstall())
        assert (layout.PROGRAM not in machine.files) == is_replaced


def test_mode_is_mended() -> None:
    """A hook of ours that can't be run is written anew."""
    machine = installed()
    path = f"{layout.HOOKS}/manual-auth-hook.sh"
    machine.files[path] = (machine.files[path][0], 0o644)
    (step,) = machine.install()
    assert isinstance(step, WriteFile)
    assert (step.file.path, step.file.mode) == (path, 0o755)


@pytest.mark.parametrize(
    ("path", "owner", "mode"),
    [
        pytest.param(layout.HOME, layout.USER, 0o755, id="the home is the user's"),
        pytest.param(layout.HOME, "root", 0o775, id="the home can be written by a group"),
        pytest.param(layout.ETC, "root", 0o700, id="nobody else can enter"),
        pytest.param(f"{layout.HOME}/certbot", "root", 0o700, id="the account's folder is root's"),
    ],
)
def test_unfit_folder_is_named_and_left(path: str, owner: str, mode: int) -> None:
    """A folder that was there is not changed; what is wrong with it is said, with the command."""
    machine = installed()
    machine.folders[path] = (owner, mode)
    planned = plan.install(FOLDERS, FILES, machine.look(), machine.receipt)
    assert planned.steps == ()
    (folder,) = [folder for folder in FOLDERS if folder.path == path]
    assert f"chown {folder.owner}: {path} && chmod {folder.mode:o} {path}" in planned.left[path]
    machine.folders[path] = (folder.owner, folder.mode)
    assert plan.install(FOLDERS, FILES, machine.look(), machine.receipt).left == {}


def test_what_is_no_file_or_folder_is_named_and_left() -> None:
    """A link, or a file where a folder should be, is nothing to write over."""
    machine = installed()
    found = {
        **machine.look().found,
        layout.PROGRAM: Found("symbolic link"),
        f"{layout.HOME}/certbot": Found("file"),
    }
    host = Host(found, has_user=True, is_prepared=True)
    planned = plan.install(FOLDERS, FILES, host, machine.receipt)
    assert planned.steps == ()
    assert set(planned.left) == {layout.PROGRAM, f"{layout.HOME}/certbot"}
    assert set(planned.left) < set(plan.uninstall(FILES, host, machine.receipt).left)


# Writing.


def test_file_is_written_all_at_once_with_its_mode(tmp_path: Path) -> None:
    """The new content takes the old one's place, whatever a killed run has left there."""
    path = tmp_path / "hook.sh"
    path.with_name(".hook.sh.unfinished").write_bytes(b"half")
    for content, mode in ((b"old", 0o644), (b"new", 0o755), (b"rule", 0o440)):
        steps.write_file(File(str(path), content, mode))
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (content, mode)
        assert [each.name for each in tmp_path.iterdir()] == ["hook.sh"]


def test_admins_file_is_not_written_over(tmp_path: Path) -> None:
    """Even one that came into being after we looked stays."""
    path = tmp_path / "certgrinderd.conf"
    file = File(str(path), b"ours", is_admins=True)
    steps.write_file(file)
    assert path.read_bytes() == b"ours"
    path.write_bytes(b"the admin's")
    with pytest.raises(FileExistsError):
        steps.write_file(file)
    assert path.read_bytes() == b"the admin's"
    assert [each.name for each in tmp_path.iterdir()] == ["certgrinderd.conf"]


@pytest.mark.parametrize("old", [b"older settings", None])
@pytest.mark.parametrize("error", [ConfigurationError("no"), Interrupted("ended by SIGTERM", 15)])
def test_old_settings_are_put_back(tmp_path: Path, old: bytes | None, error: BaseException) -> None:
    """If new ones are not taken, or a signal ends us meanwhile; else the new ones stay."""
    path = tmp_path / "00-certgrinderd.conf"
    if old is not None:
        path.write_bytes(old)
        path.chmod(0o600)

    def write_and(error: BaseException) -> None:
        with guards.put_back_unless_well(str(path)):
            steps.write_file(File(str(path), b"new settings"))
            raise error

    with pytest.raises(type(error)):
        write_and(error)
    assert (path.read_bytes() if path.exists() else None) == old
    if old is not None:
        assert path.stat().st_mode & 0o777 == 0o600
    with guards.put_back_unless_well(str(path)):
        steps.write_file(File(str(path), b"new settings"))
    assert path.read_bytes() == b"new settings"


# The receipt.

PATHS = st.from_regex(r"(/[a-z0-9_.-]{1,8}){1,3}", fullmatch=True).filter(
    lambda path: not {".", ".."} & set(path.split("/"))
)
RECEIPTS = st.builds(
    Receipt,
    st.dictionaries(PATHS, st.lists(st.binary().map(digest), min_size=1, max_size=2).map(tuple)),
    st.dictionaries(PATHS, st.booleans()),
    st.none() | st.just("certgrinderd"),
)


@given(RECEIPTS)
def test_receipt_is_read_as_it_was_written(given_receipt: Receipt) -> None:
    """Nothing is lost, whatever was made."""
    assert receipt.parse(receipt.render(given_receipt), path="x") == given_receipt


@given(st.text())
def test_any_receipt_is_read_or_refused(text: str) -> None:
    """Any text is a list of plain absolute paths, or an error."""
    try:
        read = receipt.parse(text, path="x")
    except ConfigurationError:
        return
    for path in (*read.files, *read.folders):
        assert path.startswith("/")
        assert set(path) <= set(string.printable) - set(string.whitespace)


@pytest.mark.parametrize(
    "line",
    [
        "folder /etc/../root",
        "folder etc",
        "folder /",
        "file 00 /etc/passwd",
        "user root; reboot",
        "mount /etc",
    ],
)
def test_receipt_with_another_line_is_refused(line: str) -> None:
    """One that somebody has edited is an error, which names the line."""
    text = receipt.render(installed().receipt)
    assert receipt.parse(text, path="x")
    with pytest.raises(ConfigurationError, match=r"^x, line \d+: "):
        receipt.parse(text + line + "\n", path="x")


# What is in the files.


def test_first_configuration_is_the_example_with_the_folders() -> None:
    """It is what certgrinderd.conf.dist says, and lacks nothing but a zone or a web root."""
    text = layout.first_configuration(conf_dist())
    values = sources.from_yaml(text, path="x").values
    folders = {f"certbot-{name}-dir" for name in ("config", "work", "logs")}
    assert set(values) == {"certbot-command", *folders}
    assert all(str(values[name]).startswith(f"{layout.HOME}/certbot/") for name in folders)
    assert layout.unmentioned(text) == []


def test_new_options_are_named() -> None:
    """What a configuration has nothing about is found, comments and all."""
    text = "acme-zone: acme.example.org\n#web-root: /var/www\n# lock-timeout: 3\nfoo: x\n"
    missing = set(layout.unmentioned(text))
    known = {option.name for option in OPTIONS.values() if option.in_file}
    assert known - missing == {"acme-zone", "web-root", "lock-timeout"}


def effective(text: str) -> list[str]:
    """What `sshd -T` would print if these settings were in force."""
    lines = [line.strip() for line in text.splitlines() if line.strip()[:1] not in ("", "#")]
    settings = (line.partition(" ") for line in lines if not line.startswith("Match"))
    return [f"{name.lower()} {value}" for name, _, value in settings]


@pytest.mark.parametrize(
    ("instead", "reason"),
    [
        ("permituserenvironment no", "PermitUserEnvironment is no, set elsewhere"),
        ("permituserenvironment yes", "may set any variable"),
        ("authorizedkeysfile .ssh/authorized_keys", "AuthorizedKeysFile is .ssh/authorized_keys"),
        ("forcecommand /bin/true", "ForceCommand overrides"),
        ("setenv CERTGRINDERD_DOMAINSETS=evil.example", "gives all clients the same"),
        ("acceptenv CERTGRINDERD_*", "lets clients set"),
    ],
)
def test_settings_that_win_over_ours_are_found(instead: str, reason: str) -> None:
    """Of several values the first one is in force, which need not be that of our file."""
    text = layout.sshd_file().content.decode()
    assert guards.reasons_in_effect(text, effective(text)) == []
    assert reason in "; ".join(guards.reasons_in_effect(text, [instead, *effective(text)]))


def test_setting_that_sshd_does_not_know_is_found() -> None:
    """A missing line is as bad as a wrong one."""
    text = layout.sshd_file().content.decode()
    lines = [line for line in effective(text) if not line.startswith("exposeauthinfo")]
    (reason,) = guards.reasons_in_effect(text, lines)
    assert reason.startswith("ExposeAuthInfo is not known to this sshd")


@pytest.mark.parametrize("version", ["1.9.5p2", "1.8.31", "0.1", "unknown"])
def test_old_sudo_gets_no_rule(version: str) -> None:
    """One that takes a regular expression for plain words is told from one that knows it."""
    guards.require_expressions(["Sudo version 1.9.10", "more"])
    guards.require_expressions(["Sudo version 1.10.1p1"])
    with pytest.raises(ConfigurationError, match=r"needs sudo 1\.9\.10"):
        guards.require_expressions([f"Sudo version {version}"])
