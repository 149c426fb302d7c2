"""What runs first in certgrinderd.pyz: is it unpacked already, and may what is there be trusted?

It replaces shiv's own start, which trusts whatever lies in the cache, obeys SHIV_* in the
environment, and is slow (docs/notes/0002). It must be understood by any Python 3, so that an unfit
one can be told so; and it imports as little as it can, since it runs with each request.
build/make_pyz.py fills in what stands in @.
"""

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

BUILD = "@BUILD@"
# SHA-256 of all of the archive that precedes this code.
HASH = "@HASH@"
PLATFORM = "@PLATFORM@"
PYTHONS = "@PYTHONS@"
UNPACKER = "site-packages/certgrinderd/onefile/unpacking.py"
SYSTEM_CACHE = "/var/cache/certgrinderd"
ADVICE = (
    "set CERTGRINDERD_CACHE to a folder for it, or let root run `certgrinderd.pyz cache --prepare`"
)


def fail(status: int, message: str) -> "NoReturn":
    """End with one line on standard error, in the form of all others of certgrinderd."""
    import time

    sys.stderr.write(time.strftime("%Y-%m-%d %H:%M:%S %z certgrinderd ERROR ") + message + "\n")
    sys.exit(status)


def require_fit_python() -> None:
    """End unless this is a Python that the file is built for."""
    known = PYTHONS.split()
    is_cpython = sys.implementation.name == "cpython" and "t" not in getattr(sys, "abiflags", "")
    if is_cpython and "%d.%d" % sys.version_info[:2] in known:
        return
    fail(
        2,
        "certgrinderd.pyz needs CPython %s, and this is %s %s: start it as `python%s "
        "certgrinderd.pyz` if there is another"
        % (", ".join(known), sys.implementation.name, sys.version.split()[0], known[-1]),
    )


def platform() -> str:
    """Name what compiled modules must be made for: "x86_64-linux-gnu"."""
    named = getattr(sys.implementation, "_multiarch", None)
    return str(named or "%s-%s" % (os.uname().machine, sys.platform))


def home() -> str:
    """Return the user's home: after sudo or su HOME may be another user's, or not be set."""
    named = os.environ.get("HOME", "")
    try:
        if named.startswith("/") and os.stat(named).st_uid == os.geteuid():
            return named
    except OSError:
        pass
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        fail(2, "user %d has no home to unpack into: %s" % (os.geteuid(), ADVICE))


def cache_folder(name: str) -> str:
    """Return the folder for unpacked builds: the one named, root's, or the user's own."""
    named = os.environ.get("CERTGRINDERD_CACHE")
    if named:
        return os.path.realpath(named)
    if os.geteuid() == 0 or os.access(os.path.join(SYSTEM_CACHE, name), os.R_OK | os.X_OK):
        return os.path.realpath(SYSTEM_CACHE)
    caches = os.environ.get("XDG_CACHE_HOME", "")
    if not caches.startswith("/"):
        caches = os.path.join(home(), ".cache")
    return os.path.realpath(os.path.join(caches, "certgrinderd"))


def require_trusted(place: str) -> None:
    """End if another user could put code there, or exchange the folder: as sshd's StrictModes."""
    sticky = 0
    while True:
        found = os.lstat(place)
        if found.st_uid not in (0, os.geteuid()):
            whose = "%s belongs to another user, who could change what runs here: %s"
            fail(2, whose % (place, ADVICE))
        if found.st_mode & 0o022 and not found.st_mode & sticky:
            others = "others can write to %s, and so change what runs here: chmod go-w %s"
            fail(2, others % (place, place))
        if place == "/":
            return
        # In a folder such as /tmp nobody can exchange what is another's.
        place, sticky = os.path.dirname(place), 0o1000


def require_loadable(folder: str) -> None:
    """End if the system loads no shared libraries from there."""
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        message = "%s is mounted noexec, and libraries can't be loaded from there: %s"
        fail(2, message % (folder, ADVICE))


def is_unpacked(entry: str) -> bool:
    """Tell whether a build is there; if so, it stays as long as this process lives."""
    import fcntl

    try:
        held = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # It is being removed. But any user can lock what root prepared for all, to stop the others.
        if os.fstat(held).st_uid != 0 or os.geteuid() == 0:
            return False
    except OSError:
        pass  # no locks on this file system
    try:
        # It may have been removed between the two steps.
        return os.path.samestat(os.fstat(held), os.lstat(entry))
    except OSError:
        return False


def unpack(path: str, folder: str, name: str) -> None:
    """Unpack this file with its own unpacker, if it is what was built."""
    import errno
    import hashlib
    import io
    import zipfile
    import zlib

    if platform() != PLATFORM:
        message = "this certgrinderd.pyz is for %s, and this Python for %s: build_pyz.sh makes one"
        fail(2, message % (PLATFORM, platform()))
    os.umask(0o077)
    try:
        os.makedirs(folder, exist_ok=True)
        require_trusted(folder)
        require_loadable(folder)
        # In memory nobody exchanges it.
        with open(path, "rb") as file:
            data = file.read()
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
        packed = data[members[0].header_offset : members[-1].header_offset]
        if hashlib.sha256(packed).hexdigest() != HASH:
            raise ValueError("not the contents of this build")
        unpacking = type(sys)("unpacking")
        source = archive.read(UNPACKER)
        exec(compile(source, UNPACKER, "exec"), unpacking.__dict__)  # noqa: S102 - just checked
        sys.path.append(path)  # shiv's own code is there
        unpacking.unpack(archive, folder, name)
        sys.path.remove(path)
    except OSError as error:
        later = (errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE)
        message = "cannot unpack %s into %s: %s: %s"
        values = (path, folder, error.strerror, ADVICE)
        fail(5 if error.errno in later else 2, message % values)
    except (
        *(ValueError, LookupError, EOFError, NotImplementedError, RuntimeError, ImportError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        fail(2, "%s is damaged, or was exchanged just now (%s): copy it again" % (path, error))


def start() -> None:
    """Run certgrinderd from where it is unpacked."""
    if sys.argv[0] == "-c":
        del sys.argv[0]
    require_fit_python()
    path = os.path.abspath(sys.argv[0])
    if not (sys.flags.isolated and sys.flags.no_site):
        # Started as `python3 certgrinderd.pyz`: once more, without what the environment, the
        # current folder and the home could slip in.
        words = [sys.executable, "-I", "-S", path, *sys.argv[1:]]
        os.execv(sys.executable, words)  # noqa: S606 - that is the point
    os.environ.pop("CERTGRINDERD_AGAIN", None)  # see build/make_pyz.py
    name = "-".join((BUILD[:16], sys.implementation.cache_tag, platform()))
    folder = cache_folder(name)
    entry = os.path.join(folder, name)
    if is_unpacked(entry):
        require_loadable(folder)
    else:
        unpack(path, folder, name)
        is_unpacked(entry)
    require_trusted(entry)
    # One request and the end: looking for cycles takes a twentieth of the time, and frees nothing.
    gc.disable()
    sys.argv[0] = path
    if sys.path[0] == path:
        del sys.path[0]
    sys.path.insert(0, entry)
    from certgrinderd.cli import main

    sys.exit(main())


def main() -> None:
    """Start, and end as from a signal when interrupted: without a traceback."""
    try:
        start()
    except KeyboardInterrupt:
        sys.exit(130)
