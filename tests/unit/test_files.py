"""Reads within bounds, private folders, and files that no symlink leads astray."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from certgrinderd.errors import ConfigurationError, MalformedInput
from certgrinderd.system.files import (
    changeable_below,
    changeable_part,
    private_directory,
    read_file,
    read_input,
    require_own_side,
    write_private,
)

# Nobody's: neither the one who runs the tests nor a system user.
UID, GID = 54321, 54322


def read_pipe(*chunks: bytes, close: bool = True, limit: int = 100, timeout: float = 5) -> bytes:
    """Read what is written into a pipe, which may stay open."""
    reader, writer = os.pipe()
    try:
        for chunk in chunks:
            os.write(writer, chunk)
        if close:
            os.close(writer)
        return read_input(reader, limit=limit, timeout=timeout, what="a thing")
    finally:
        os.close(reader)
        if not close:
            os.close(writer)


def test_input_is_read_to_its_end() -> None:
    """All of it, up to the limit and in whatever pieces."""
    assert read_pipe() == b""
    assert read_pipe(b"a", b"b\0", b"c") == b"ab\0c"
    assert read_pipe(b"x" * 100) == b"x" * 100


def test_input_beyond_the_limit_is_refused() -> None:
    """One byte more is too much, also when there is no end of it."""
    with pytest.raises(MalformedInput, match="more than 100 bytes on standard input"):
        read_pipe(b"x" * 101)
    with open("/dev/zero", "rb") as endless, pytest.raises(MalformedInput, match="more than 100"):
        read_input(endless.fileno(), limit=100, timeout=5, what="a thing")


def test_input_that_does_not_end_is_refused() -> None:
    """A client that says nothing, or something and then nothing, is not waited for for ever."""
    for chunks in ((), (b"half",)):
        with pytest.raises(MalformedInput, match=r"did not end within 0\.1 seconds: expected"):
            read_pipe(*chunks, close=False, timeout=0.1)


def test_input_that_drips_is_refused() -> None:
    """The limit is for all of it, not from one byte to the next."""
    reader, writer = os.pipe()
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            os.write(writer, b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(MalformedInput, match="did not end within"):
            read_input(reader, limit=10**6, timeout=0.3, what="a thing")
    finally:
        stop.set()
        thread.join()
        os.close(reader)
        os.close(writer)


def test_input_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    """A folder as standard input is an error, not a traceback."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(MalformedInput, match="cannot read standard input: Is a directory"):
        read_input(descriptor, limit=10, timeout=1, what="a thing")
    os.close(descriptor)


def test_plain_files_are_read(tmp_path: Path) -> None:
    """Up to the limit, through symlinks too: the admin names them."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    (tmp_path / "link").symlink_to(path)
    assert read_file(str(path), limit=100, label="n") == b"x" * 100
    assert read_file(str(tmp_path / "link"), limit=100, label="n") == b"x" * 100
    with pytest.raises(ConfigurationError, match=r"n: .*/file is larger than 99 bytes"):
        read_file(str(path), limit=99, label="n")


def test_what_is_no_plain_file_is_an_error(tmp_path: Path) -> None:
    """A FIFO without a writer, a device, a folder, nothing: each at once, with the reason."""
    os.mkfifo(tmp_path / "fifo")
    for path, reason in (
        (tmp_path / "fifo", "is not a plain file"),
        (Path("/dev/zero"), "is not a plain file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "nothing", "No such file or directory"),
        (tmp_path / "n\0ul", "cannot read"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            read_file(str(path), limit=100, label="n")


def test_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """No permission, no traceback."""
    path = tmp_path / "file"
    path.touch(mode=0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root reads everything
    try:
        with pytest.raises(ConfigurationError, match="Permission denied"):
            read_file(str(path), limit=100, label="n")
    finally:
        os.seteuid(user)


def test_private_file_is_private_and_new(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask; what is there already is neither followed nor changed."""
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    old = os.umask(0)
    try:
        write_private(tmp_path / "file", b"content")
    finally:
        os.umask(old)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            write_private(tmp_path / name, b"other")
    assert not target.exists()
    assert (tmp_path / "file").read_bytes() == b"content"


def test_private_directory_is_removed_on_every_way_out(tmp_path: Path) -> None:
    """With all that is in it, also when an error or a signal ends the run."""
    for error in (None, ValueError, KeyboardInterrupt):
        try:
            with private_directory(str(tmp_path)) as path:
                assert path.parent == tmp_path
                assert stat.S_IMODE(path.stat().st_mode) == 0o700
                (path / "folder").mkdir()
                (path / "folder/file").touch()
                if error:
                    raise error
        except (ValueError, KeyboardInterrupt):
            pass
        assert list(tmp_path.iterdir()) == []


def test_private_directory_needs_its_parent(tmp_path: Path) -> None:
    """A temp-dir that isn't there is an error that names the setting."""
    with (
        pytest.raises(ConfigurationError, match=r"temp-dir: .*No such file"),
        private_directory(str(tmp_path / "nothing")),
    ):
        pytest.fail("made in a folder that does not exist")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """/ours/folder/file, where nobody else may write."""
    root = tmp_path / "ours"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").touch()
    for path in (root, root / "folder", root / "folder" / "file"):
        path.chmod(0o755)
    return root


def part(path: Path, *, uid: int = UID, gids: tuple[int, ...] = (GID,)) -> Path | None:
    """What that user could change."""
    return changeable_part(str(path), uid=uid, gids=gids)


def test_what_others_own_cannot_be_changed(tree: Path) -> None:
    """By anybody else, unless a mode says so: on the file, or on a folder above it."""
    file = tree / "folder" / "file"
    assert part(file) is None
    for path in (file, file.parent, tree):
        path.chmod(0o757)
        assert part(file) == path
        path.chmod(0o775)
        assert part(file) is None
        assert part(file, gids=(GID, path.stat().st_gid)) == path
        path.chmod(0o755)


def test_owner_can_change_a_file(tree: Path) -> None:
    """Whatever its mode: the owner can change that as well."""
    file = tree / "folder" / "file"
    file.chmod(0o400)
    first = part(file, uid=os.getuid())
    # Root owns everything above as well; see the tests with a user of a host.
    assert first is not None
    assert first in (*file.parents, file)


def test_folder_like_tmp_does_not_count(tree: Path) -> None:
    """There nobody replaces what belongs to others."""
    (tree / "folder").chmod(0o1777)
    assert part(tree / "folder" / "file") is None
    (tree / "folder").chmod(0o777)
    assert part(tree / "folder" / "file") == tree / "folder"


def test_what_is_below_a_folder_counts(tree: Path) -> None:
    """Files and folders at any depth, and what links there lead to; what isn't there does not."""
    file = tree / "folder" / "file"
    away = tree.parent / "away"
    away.touch(mode=0o644)
    (tree / "link").symlink_to(away)

    def below(path: Path = tree) -> Path | None:
        return changeable_below(str(path), uid=UID, gids=[GID])

    assert below() is None
    assert below(tree / "nothing") is None
    assert below(file) is None
    for path, usual in ((file, 0o644), (file.parent, 0o755), (tree, 0o755), (away, 0o644)):
        for mode in (usual | 0o002, usual | 0o1002):
            path.chmod(mode)
            # Nobody replaces what is in a folder like /tmp, but anybody adds to it.
            assert below() == path
        path.chmod(usual)
    assert below() is None


def test_what_links_lead_through_counts(tree: Path) -> None:
    """The folder of a link, and what leads to its target."""
    away = tree.parent / "away"
    away.mkdir()
    link = away / "link"
    link.symlink_to(tree / "folder")
    away.chmod(0o755)
    assert part(link / "file") is None
    away.chmod(0o777)
    assert part(link / "file") == away
    away.chmod(0o755)
    tree.chmod(0o777)
    assert part(link / "file") == tree


def test_what_is_not_there_counts_by_its_folder(tree: Path) -> None:
    """Who can make it can make it anything."""
    assert part(tree / "none" / "file") is None
    tree.chmod(0o777)
    assert part(tree / "none" / "file") == tree


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be the wrong user for a folder")
def test_root_leaves_nothing_in_the_folder_of_a_user(tmp_path: Path) -> None:
    """What root writes there the user can't read; its own folders, and new ones, are fine."""
    require_own_side(str(tmp_path), label="n")
    require_own_side(str(tmp_path / "nothing"), label="n")
    os.chown(tmp_path, 65534, -1)
    with pytest.raises(ConfigurationError, match=r"n: .* belongs to nobody, and this is root: run"):
        require_own_side(str(tmp_path), label="n")
    os.chown(tmp_path, 54321, -1)
    for folder in (tmp_path, tmp_path / "nothing" / "below"):
        with pytest.raises(ConfigurationError, match="belongs to 54321"):
            require_own_side(str(folder), label="n")


def test_folder_like_tmp_counts_for_what_is_not_there(tree: Path) -> None:
    """Whoever comes first makes it, and keeps it."""
    (tree / "folder").chmod(0o1777)
    assert part(tree / "folder" / "none") == tree / "folder"
    assert part(tree / "folder" / "none" / "file") == tree / "folder"
    (tree / "folder").chmod(0o755)
    assert part(tree / "folder" / "none" / "file") is None


def test_each_link_of_a_chain_counts(tree: Path) -> None:
    """One in the middle can be pointed elsewhere as well as the first one or the last."""
    middle = tree.parent / "middle"
    middle.mkdir()
    middle.chmod(0o755)
    (middle / "link").symlink_to("../ours/folder/../folder")
    (tree / "link").symlink_to("../middle/link")
    assert part(tree / "link" / "file") is None
    middle.chmod(0o777)
    assert part(tree / "link" / "file") == middle
    middle.chmod(0o755)
    tree.joinpath("folder").chmod(0o777)
    assert part(tree / "link" / "file") == tree / "folder"


@pytest.mark.parametrize("target", ["folder/none", "../ours/folder/none/file"])
def test_link_to_what_is_not_there_counts_by_its_target(tree: Path, target: str) -> None:
    """What the link leads to is what would be made."""
    (tree / "link").symlink_to(target)
    assert part(tree / "link") is None
    (tree / "folder").chmod(0o777)
    assert part(tree / "link") == tree / "folder"

    (tree / "folder").chmod(0o755)
    (tree / "folder" / "beside").symlink_to("none")
    assert part(tree / "folder" / "beside") is None
    (tree / "folder").chmod(0o1777)
    assert part(tree / "folder" / "beside") == tree / "folder"


def test_parent_of_a_link_is_that_of_its_target(tree: Path) -> None:
    """As the kernel goes, not as the path is written."""
    away = tree.parent / "away"
    away.mkdir()
    away.chmod(0o777)
    (tree / "link").symlink_to(away)
    assert part(tree / "link" / ".." / "none") == away
    assert part(tree / "folder" / ".." / "none") is None


def test_links_in_a_circle_are_an_error(tree: Path) -> None:
    """And end."""
    (tree / "link").symlink_to("link")
    with pytest.raises(ConfigurationError, match="too many symbolic links"):
        part(tree / "link" / "file")
