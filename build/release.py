"""Prepare a release, and make its files from a tagged commit: docs/releasing.md describes both.

    build/release prepare VERSION
    build/release make --key FILE

Needs git, ssh-keygen (OpenSSH 8.9 or newer), and what build_pyz.sh needs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = "CHANGELOG.md"
VERSION_FILE = "certgrinderd/__init__.py"
COLLECTION = "ansible/galaxy.yml"
ALLOWED_SIGNERS = "build/allowed_signers"
PLATFORMS = ("linux-x86_64", "linux-aarch64")
# Those who sign, and what for: the words after -I and -n of ssh-keygen -Y verify.
PRINCIPAL = "certgrinderd-release"
NAMESPACE = "certgrinderd"

_VERSION = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)
_UNRELEASED = "## [Unreleased]\n"


class ReleaseError(Exception):
    """The release can't be prepared or made: one line for the maintainer."""


def main(words: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Run one of the two steps.

    Args:
        words: The command line.
        root: The checkout.

    Returns:
        The exit status: 0, or 1 with one line on standard error.
    """
    parser = argparse.ArgumentParser(prog="build/release", description=__doc__.partition("\n")[0])
    steps = parser.add_subparsers(dest="step", required=True)
    step = steps.add_parser("prepare", help="write the version and its date where they belong")
    step.add_argument("version", help="of the form 1.2.3")
    step = steps.add_parser("make", help="build, compare, list and sign the files of the tag")
    step.add_argument(
        "--key", type=Path, required=True, help="the SSH key that signs; its public half if an "
        "agent or a hardware key holds it"
    )  # fmt: skip
    options = parser.parse_args(words)
    try:
        if options.step == "prepare":
            prepare(root, options.version, day=dt.datetime.now(dt.timezone.utc).date())
        else:
            make(root, options.key)
    except ReleaseError as error:
        print(f"build/release: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def prepare(root: Path, version: str, *, day: dt.date) -> None:
    """Give [Unreleased] in the changelog a version, and the program the same one.

    Raises:
        ReleaseError: The version isn't higher, or the changelog has nothing to release.
    """
    former = version_of(_text(root, VERSION_FILE))
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or _numbers(version) <= _numbers(former):
        raise ReleaseError(f"{version} is not of the form 1.2.3, or not higher than {former}")
    changed = {
        CHANGELOG: released(_text(root, CHANGELOG), version=version, day=day),
        VERSION_FILE: _VERSION.sub(f'__version__ = "{version}"', _text(root, VERSION_FILE)),
        COLLECTION: re.sub(r"(?m)^version: .*$", f"version: {version}", _text(root, COLLECTION)),
    }
    for name, text in changed.items():
        (root / name).write_text(text, encoding="utf-8")
    _say(f"The version is {version} in {', '.join(changed)}. Look at them, and go on with:")
    _say("  tests/run --all")
    _say(f"  git commit -am 'Release {version}'")
    _say(f"  git tag -s v{version} -m 'certgrinderd {version}'")


def released(changelog: str, *, version: str, day: dt.date) -> str:
    """Return the changelog with the version in place of [Unreleased], and that empty above it.

    Raises:
        ReleaseError: There is no such section, it is empty, or the version has one already.
    """
    head, found, rest = changelog.partition(f"\n{_UNRELEASED}")
    if not found:
        raise ReleaseError(f"{CHANGELOG} has no section [Unreleased]")
    if f"\n## [{version}]" in changelog:
        raise ReleaseError(f"{CHANGELOG} has a section [{version}] already")
    if not rest.partition("\n## [")[0].strip():
        raise ReleaseError(f"{CHANGELOG} has nothing in the section [Unreleased]")
    return f"{head}\n{_UNRELEASED}\n## [{version}] - {day.isoformat()}\n{rest}"


def version_of(source: str) -> str:
    """Return the version that the program's source says."""
    found = _VERSION.search(source)
    if found is None:
        raise ReleaseError(f"{VERSION_FILE} has no line __version__")
    return found[1]


def make(root: Path, key: Path) -> None:
    """Write the files of a release to dist/release-VERSION.

    Each program is built twice, in two clones of the tagged commit in two places, so that only what
    is committed gets in, and nothing of the place.

    Raises:
        ReleaseError: The checkout isn't that of a release, two builds differ, or the key isn't
            among those that admins trust.
    """
    version = require_release(root)
    target = root / "dist" / f"release-{version}"
    if target.exists():
        raise ReleaseError(f"{target.relative_to(root)} is there already")
    target.parent.mkdir(exist_ok=True)
    # On the same file system, so that the release is there as a whole or not at all.
    with tempfile.TemporaryDirectory(prefix=".release-", dir=target.parent) as name:
        temp = Path(name)
        files = temp / "files"
        files.mkdir()
        # First, as all of the rest takes minutes.
        trial = temp / "trial"
        trial.touch()
        sign(trial, key, allowed_signers=root / ALLOWED_SIGNERS)
        for platform in PLATFORMS:
            _say(f"Building for {platform}, twice …")
            program, again = (_built(root, temp / place, platform) for place in ("a", "b/b"))
            if program.read_bytes() != again.read_bytes():
                raise ReleaseError(f"two builds for {platform} differ: nobody could check it")
            for path in (program, program.with_name(f"{program.name}.cdx.json")):
                shutil.copy(path, files)
        shutil.copy(temp / "a/contrib/certgrinder.sh", files)
        (files / "SHA256SUMS").write_text(sums(files), encoding="ascii")
        for path in sorted(files.iterdir()):
            if path.suffix == ".pyz" or path.name in {"certgrinder.sh", "SHA256SUMS"}:
                sign(path, key, allowed_signers=root / ALLOWED_SIGNERS)
        files.rename(target)
    _say(f"{target.relative_to(root)} has the files of certgrinderd {version}:")
    for path in sorted(target.iterdir()):
        _say(f"  {path.name}")


def require_release(root: Path) -> str:
    """Require a checkout to be that of a release, and return its version.

    Raises:
        ReleaseError: There are changes, the commit has no tag with its version, or the changelog
            has no section for it.
    """
    version = version_of(_text(root, VERSION_FILE))
    changes = _git(root, "status", "--porcelain")
    if changes:
        first = changes.splitlines()[0][3:]
        raise ReleaseError(f"the checkout has changes that are not committed, such as {first}")
    tags = _git(root, "tag", "--points-at", "HEAD").split()
    if f"v{version}" not in tags:
        others = f": it has {', '.join(tags)}" if tags else ""
        raise ReleaseError(f"this commit says {version}, and needs the tag v{version}{others}")
    if f"\n## [{version}] - " not in _text(root, CHANGELOG):
        raise ReleaseError(f"{CHANGELOG} has no section [{version}]: run build/release prepare")
    if not (root / ALLOWED_SIGNERS).is_file():
        raise ReleaseError(f"there is no {ALLOWED_SIGNERS}: docs/releasing.md says what it holds")
    return version


def sums(folder: Path) -> str:
    """Return the SHA-256 of each file in a folder, as sha256sum writes and reads them."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
    )


def sign(path: Path, key: Path, *, allowed_signers: Path) -> None:
    """Write FILE.sig, and look at it as an admin will.

    Raises:
        ReleaseError: The key can't sign, or isn't one of the allowed signers.
    """
    _run("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, path)
    signature = path.with_name(f"{path.name}.sig")
    verify = ("ssh-keygen", "-Y", "verify", "-f", allowed_signers, "-I", PRINCIPAL)
    with path.open("rb") as content:
        done = subprocess.run(  # noqa: S603 - our own words
            [*verify, "-n", NAMESPACE, "-s", signature],
            stdin=content, capture_output=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ReleaseError(f"{key} is not among the keys in {ALLOWED_SIGNERS} for {PRINCIPAL}")


def _built(root: Path, place: Path, platform: str) -> Path:
    """Build in a clone, which is made if it isn't there yet; return the program."""
    if not place.exists():
        _run("git", "clone", "-q", "--no-hardlinks", root, place)
    _run(place / "build_pyz.sh", "--platform", platform, environment={"PYTHON": sys.executable})
    return place / f"dist/certgrinderd-{platform}.pyz"


def _git(root: Path, *words: str) -> str:
    return _run("git", "-C", root, *words)


def _run(*words: str | Path, environment: dict[str, str] | None = None) -> str:
    """Run a program, and return what it prints.

    Raises:
        ReleaseError: It failed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            words,
            env={**os.environ, **(environment or {})},
            stdin=None,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ReleaseError(f"can't run {words[0]}: {error.strerror}") from error
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ReleaseError(f"{Path(words[0]).name} failed: {last}")
    return done.stdout


def _text(root: Path, name: str) -> str:
    return (root / name).read_text(encoding="utf-8")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))


def _say(text: str) -> None:
    print(text)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
