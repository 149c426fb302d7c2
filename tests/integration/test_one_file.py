"""The one file on odd hosts: homes, mounts, disks, clocks and users that are not as usual."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.host import Host

PYZ = "/usr/local/bin/certgrinderd.pyz"
LOG_LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} certgrinderd ERROR "
SYSTEM_CACHE = "/var/cache/certgrinderd"


@pytest.fixture(scope="module")
def installed(host: Host, pyz: Path) -> Host:
    """A host with the one file and a user."""
    host.write(PYZ, pyz.read_bytes(), mode=0o755)
    host.add_user("alice")
    return host


@pytest.fixture
def fresh(installed: Host) -> Iterator[Host]:
    """The same, with nothing unpacked before, nor after, and without mounts of a test."""
    tidy = f"umount -q /mnt/* 2>/dev/null; rm -rf {SYSTEM_CACHE} /home/alice/.cache /mnt/*; :"
    installed.check(["sh", "-c", tidy])
    yield installed
    installed.check(["sh", "-c", tidy])


def assert_pong(done: subprocess.CompletedProcess[bytes]) -> None:
    """It answered, and said nothing else."""
    assert (done.returncode, done.stdout, done.stderr) == (0, b"pong\n", b"")


def assert_refused(
    done: subprocess.CompletedProcess[bytes], pattern: str, *, status: int = 2
) -> None:
    """It said in one line why not, and nothing on standard output."""
    assert re.fullmatch(f"{LOG_LINE}{pattern}\n", done.stderr.decode()), done.stderr.decode()
    assert (done.returncode, done.stdout) == (status, b"")


def unpacked(host: Host, folder: str) -> list[str]:
    """The builds in a cache, and whatever else lies there."""
    return host.check(["ls", "-A", folder]).split()


def mount(host: Host, name: str, options: str) -> str:
    """Mount an empty RAM disk, and return where."""
    place = f"/mnt/{name}"
    host.check(["sh", "-c", f"mkdir -p {place} && mount -t tmpfs -o {options} tmpfs {place}"])
    return place


def test_each_user_has_a_cache_of_its_own(fresh: Host) -> None:
    """Root's is in /var/cache, a user's in its home or where XDG says; nobody else can enter."""
    assert_pong(fresh.run([PYZ, "ping"]))
    assert_pong(fresh.run([PYZ, "ping"], user="alice"))
    for folder in (SYSTEM_CACHE, "/home/alice/.cache/certgrinderd"):
        assert len(unpacked(fresh, folder)) == 2
        assert fresh.check(["stat", "-c", "%a", folder]) == "700\n"
    own = mount(fresh, "own", "mode=1777")
    assert_pong(fresh.run([PYZ, "ping"], user="alice", env={"XDG_CACHE_HOME": own}))
    assert unpacked(fresh, own) == ["certgrinderd"]


def test_home_of_another_user_or_none_is_not_used(fresh: Host) -> None:
    """After sudo HOME may be another's, or not be set: the user's own is used, as passwd has it."""
    for home in ("/root", "", "relative", "/nonexistent"):
        assert_pong(fresh.run([PYZ, "ping"], user="alice", env={"HOME": home}))
    words = ["setpriv", "--reuid=alice", "--regid=alice", "--init-groups", "env", "-u", "HOME"]
    assert_pong(fresh.run([*words, PYZ, "ping"]))
    assert len(unpacked(fresh, "/home/alice/.cache/certgrinderd")) == 2
    assert fresh.run(["test", "-e", "/root/.cache/certgrinderd"]).returncode == 1


def test_sudo_to_root_leaves_the_users_home_alone(fresh: Host) -> None:
    """A root that has a user's HOME neither runs what lies there nor writes there."""
    assert_pong(fresh.run(["sudo", "env", "HOME=/home/alice", PYZ, "ping"]))
    assert len(unpacked(fresh, SYSTEM_CACHE)) == 2
    assert fresh.run(["test", "-e", "/home/alice/.cache"]).returncode == 1


def test_read_only_home_names_the_way_out(fresh: Host) -> None:
    """Where nothing can be written, one line says what helps; both that it names do."""
    fresh.check(["mount", "--bind", "-o", "ro", "/home/alice", "/home/alice"])
    try:
        pattern = r"cannot unpack .*: Read-only .*: set CERTGRINDERD_CACHE .* cache --prepare`"
        assert_refused(fresh.run([PYZ, "ping"], user="alice"), pattern)
        place = mount(fresh, "cache", "mode=1777")
        variables = {"CERTGRINDERD_CACHE": f"{place}/mine"}
        assert_pong(fresh.run([PYZ, "ping"], user="alice", env=variables))
        fresh.check([PYZ, "cache", "--prepare"])
        assert_pong(fresh.run([PYZ, "ping"], user="alice"))
    finally:
        fresh.check(["umount", "/home/alice"])


def test_read_only_root_file_system_needs_one_writable_place(fresh: Host) -> None:
    """With / read-only and a RAM disk for the cache, it works."""
    place = mount(fresh, "cache", "mode=755")
    script = f"mount -o remount,ro,bind / / && exec {PYZ} ping"
    words = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    assert_refused(fresh.run(words), r"cannot unpack .*Read-only file system: set .*")
    assert_pong(fresh.run(words, env={"CERTGRINDERD_CACHE": place}))


def test_noexec_cache_is_refused_before_a_library_fails_to_load(fresh: Host) -> None:
    """Libraries don't load from there: the first and each later start name the mount option."""
    place = mount(fresh, "cache", "mode=755,noexec")
    variables = {"CERTGRINDERD_CACHE": place}
    assert_refused(fresh.run([PYZ, "ping"], env=variables), rf"{place} is mounted noexec, .*")
    fresh.check(["mount", "-o", "remount,exec", place])
    assert_pong(fresh.run([PYZ, "ping"], env=variables))
    fresh.check(["mount", "-o", "remount,noexec", place])
    assert_refused(fresh.run([PYZ, "ping"], env=variables), rf"{place} is mounted noexec, .*")


def test_full_disk_leaves_nothing_and_is_temporary(fresh: Host) -> None:
    """A disk that is full half-way: exit status 5, nothing unfinished; with room it works."""
    place = mount(fresh, "cache", "mode=755,size=5m")
    variables = {"CERTGRINDERD_CACHE": place}
    done = fresh.run([PYZ, "ping"], env=variables)
    assert_refused(done, r"cannot unpack .*: No space left on device: .*", status=5)
    assert unpacked(fresh, place) == ["lock"]
    fresh.check(["mount", "-o", "remount,size=80m", place])
    assert_pong(fresh.run([PYZ, "ping"], env=variables))


def test_cache_of_another_user_is_refused(fresh: Host) -> None:
    """Not even root runs what another user could have put there; what root put there, all run."""
    fresh.check(["install", "-d", "-o", "alice", "/mnt/cache"])
    variables = {"CERTGRINDERD_CACHE": "/mnt/cache"}
    assert_pong(fresh.run([PYZ, "ping"], user="alice", env=variables))
    assert_refused(fresh.run([PYZ, "ping"], env=variables), r"/mnt/cache\S* belongs to another .*")
    fresh.check([PYZ, "cache", "--prepare", "/mnt/roots"])
    roots = {"CERTGRINDERD_CACHE": "/mnt/roots"}
    for user in (None, "alice"):
        assert_pong(fresh.run([PYZ, "ping"], user=user, env=roots))


def test_prepared_cache_serves_all_and_is_written_by_none(fresh: Host) -> None:
    """A user without a home runs what root compiled by `cache --prepare`, and changes nothing."""
    (entry,) = fresh.check([PYZ, "cache", "--prepare"]).split()
    assert entry.startswith(f"{SYSTEM_CACHE}/")
    assert fresh.check([PYZ, "cache", "--prepare"]).split() == [entry]
    before = fresh.check(["find", SYSTEM_CACHE, "-printf", "%p %m %u %T@\n"])
    assert ".pyc 644 root " in before
    fresh.check(["chmod", "0", "/home/alice"])
    try:
        assert_pong(fresh.run([PYZ, "ping"], user="alice"))
        shown = fresh.run([PYZ, "show", "configuration"], user="alice")
        assert b"acme-server-url" in shown.stdout
        assert fresh.run([PYZ, "cache"], user="alice").stdout.decode().startswith(entry)
    finally:
        fresh.check(["chmod", "755", "/home/alice"])
    assert fresh.check(["find", SYSTEM_CACHE, "-printf", "%p %m %u %T@\n"]) == before
    assert not re.search(r" \d?\d[2367]\d root| \d?\d\d[2367] root", before)


def test_no_user_can_lock_the_others_out_of_a_prepared_cache(fresh: Host) -> None:
    """Anybody can lock a folder that they can read: it stops nobody from running what root made."""
    (entry,) = fresh.check([PYZ, "cache", "--prepare"]).split()
    hold = ["flock", "-x", entry, "sh", "-c", "echo; cat"]
    fresh.add_user("mallory")
    with fresh.popen(hold, user="mallory") as holding:
        assert holding.stdout
        assert holding.stdout.readline() == b"\n"
        assert fresh.run(["flock", "-n", "-s", entry, "true"]).returncode == 1
        for user in ("alice", None):
            assert_pong(fresh.run([PYZ, "ping"], user=user))
        holding.communicate(timeout=30)


def test_old_builds_go_when_nobody_runs_them(fresh: Host) -> None:
    """`cache --clean` takes other builds away, but none that a process runs from."""
    assert_pong(fresh.run([PYZ, "ping"]))
    (name,) = (name for name in unpacked(fresh, SYSTEM_CACHE) if name != "lock")
    idle, busy = (number * 16 + name[16:] for number in "01")
    for other in (idle, busy, "not-ours"):
        fresh.check(["cp", "-a", f"{SYSTEM_CACHE}/{name}", f"{SYSTEM_CACHE}/{other}"])
    with fresh.popen(["flock", "-s", f"{SYSTEM_CACHE}/{busy}", "sh", "-c", "echo; cat"]) as running:
        assert running.stdout
        running.stdout.readline()
        assert fresh.check([PYZ, "cache", "--clean"]) == f"removed {SYSTEM_CACHE}/{idle}\n"
        assert set(unpacked(fresh, SYSTEM_CACHE)) == {name, busy, "not-ours", "lock"}
        running.communicate(timeout=30)
    assert "not-ours" not in fresh.check([PYZ, "cache"])
    assert fresh.check([PYZ, "cache", "--clean"]) == f"removed {SYSTEM_CACHE}/{busy}\n"


@pytest.mark.parametrize("age", ["29 days", "31 days"])
def test_builds_of_last_month_go_by_themselves(fresh: Host, age: str) -> None:
    """When a new build is unpacked, private ones older than 30 days go; prepared ones stay."""
    own, prepared = (number * 16 + "-cpython-311-x86_64-linux-gnu" for number in "01")
    for name, mode in ((own, "700"), (prepared, "755"), ("not-ours", "700")):
        fresh.check(["install", "-d", "-m", mode, f"{SYSTEM_CACHE}/{name}"])
        fresh.check(["touch", "-d", f"{age} ago", f"{SYSTEM_CACHE}/{name}"])
    fresh.check(["chmod", "700", SYSTEM_CACHE])
    assert_pong(fresh.run([PYZ, "ping"]))
    assert (own in unpacked(fresh, SYSTEM_CACHE)) == (age == "29 days")
    assert {prepared, "not-ours"} <= set(unpacked(fresh, SYSTEM_CACHE))


@pytest.mark.parametrize(
    ("mode", "content", "words"),
    [
        ("1777", "", "others can write to"),
        ("700", "photos", "holds other things"),
        ("700", "", None),
        ("755", "photos", None),
    ],
)
def test_prepare_opens_no_folder_of_other_things(
    fresh: Host, mode: str, content: str, words: str | None
) -> None:
    """Root's own folder stays as it is; one that holds nothing else is opened for all."""
    folder = f"/srv/{mode}{content}"
    fresh.check(["install", "-d", "-m", mode, folder, f"{folder}/{content}"])
    fresh.check(["chmod", mode, folder])
    done = fresh.run([PYZ, "cache", "--prepare", folder])
    if words is None:
        assert_pong(fresh.run([PYZ, "ping"], user="alice", env={"CERTGRINDERD_CACHE": folder}))
    else:
        assert_refused(done, rf"cache: .*{words}.*")
    expected = mode if words or mode != "700" else "755"
    assert fresh.check(["stat", "-c", "%a", folder]).strip() == expected


@pytest.mark.parametrize("moment", ["1970-01-02", "2040-01-01"])
def test_wrong_clock_does_not_matter(fresh: Host, moment: str) -> None:
    """Files from long ago or from the future are used as others are."""
    assert_pong(fresh.run([PYZ, "ping"]))
    find = ["find", SYSTEM_CACHE, "-exec", "touch", "-d", moment, "{}", "+"]
    fresh.check(find)
    for _ in range(2):
        assert_pong(fresh.run([PYZ, "ping"]))
        done = fresh.run([PYZ, "show", "configuration"])
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("moment", ["1970-01-02 00:00:00", "2040-01-01 00:00:00"])
def test_clock_that_is_wrong_does_not_matter(fresh: Host, moment: str) -> None:
    """It unpacks itself in another year than now, and is used then and with the right clock.

    libfaketime tells the program another time, that of files included.
    """
    if fresh.run(["faketime", "--version"]).returncode:
        pytest.skip("faketime is not installed")
    wrong = ["faketime", moment]
    assert fresh.check([*wrong, "date", "+%Y"])[:4] == moment[:4]
    for words in (wrong, [], wrong):
        assert_pong(fresh.run([*words, PYZ, "ping"]))
    done = fresh.run([*wrong, PYZ, "show", "configuration"])
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    (line,) = fresh.run([*wrong, PYZ, "show", "nothing"]).stderr.decode().splitlines()
    assert line.startswith(moment[:10])


def test_power_cut_leaves_all_or_nothing(fresh: Host) -> None:
    """A cache that has its name is on the disk with all its content, whatever was not written yet.

    What a disk holds at the moment of a power cut is what the file behind a loop device holds. The
    journal, with the new name in it, is written when somebody else writes to the same disk.
    """
    power_cut = """
        set -eu
        place=/mnt/disk
        mkdir -p "$place" /tmp/disks
        truncate -s 96M /tmp/disks/running
        mkfs.ext4 -q -F /tmp/disks/running
        mount -o loop /tmp/disks/running "$place"
        CERTGRINDERD_CACHE=$place/cache /usr/local/bin/certgrinderd.pyz ping
        echo later >"$place/unsynced"
        echo other >"$place/other"
        sync "$place/other"
        cp /tmp/disks/running /tmp/disks/after
        umount "$place"
        mount -o loop /tmp/disks/after "$place"
        stat -c %s "$place/unsynced"
    """
    try:
        # The file that nobody waited for is empty: this is a power cut.
        assert fresh.check(["sh", "-c", power_cut]).split() == ["pong", "0"]
        assert "lock" in unpacked(fresh, "/mnt/disk/cache")
        assert len(unpacked(fresh, "/mnt/disk/cache")) == 2
        assert_pong(fresh.run([PYZ, "ping"], env={"CERTGRINDERD_CACHE": "/mnt/disk/cache"}))
        shown = fresh.run(
            [PYZ, "certbot", "--version"], env={"CERTGRINDERD_CACHE": "/mnt/disk/cache"}
        )
        assert shown.stdout.startswith(b"certbot "), shown.stderr
    finally:
        fresh.check(["sh", "-c", "umount -q /mnt/disk; rm -rf /tmp/disks"])


def test_file_that_cannot_be_read_says_so(fresh: Host) -> None:
    """Who may not read it gets a line of the shell or of Python with its name, and no answer."""
    try:
        for mode in ("0", "711"):
            fresh.check(["chmod", mode, PYZ])
            for words in ([PYZ], ["sh", PYZ], ["python3", PYZ]):
                done = fresh.run(["sh", "-c", '"$@"', "sh", *words, "ping"], user="alice")
                assert done.returncode in (2, 126, 127)
                assert done.stdout == b""
                assert re.fullmatch(rf".*{PYZ}.*[Pp]ermission denied.*\n", done.stderr.decode())
    finally:
        fresh.check(["chmod", "755", PYZ])
    assert_pong(fresh.run([PYZ, "ping"], user="alice"))


def test_what_is_inside_can_be_seen(fresh: Host) -> None:
    """The versions with the commit, and the licence of each package; not for a client."""
    lines = fresh.check([PYZ, "--version", "--verbose"]).splitlines()
    assert re.fullmatch(r"certgrinderd \d\S+", lines[0])
    assert re.fullmatch(r"commit ([0-9a-f]{40}(, changed)?|unknown)", lines[1])
    assert lines[2].startswith("CPython 3.")
    packages = {line.split()[0] for line in lines[3:]}
    assert {"certbot", "cryptography", "openssl", "requests"} <= packages
    licences = fresh.check([PYZ, "show", "licenses"])
    for package in packages - {"openssl"}:
        folder = package.replace("-", "[-_]")
        assert re.search(rf"^{folder}-\S+: LICEN[CS]E", licences, re.MULTILINE), package
    client = {"SSH_ORIGINAL_COMMAND": "--version --verbose"}
    assert fresh.run([PYZ], env=client).returncode == 3
    client = {"SSH_ORIGINAL_COMMAND": "--version"}
    assert fresh.run([PYZ], env=client).stdout.count(b"\n") == 1
