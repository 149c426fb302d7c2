"""build/release: what it refuses, what it changes, and that an admin can check what it signs."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from pathlib import Path

import pytest

from build import release
from certgrinderd import __version__
from certgrinderd.setup.install import signature

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 12, 24)
CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- All.\n\n## [0.9.0] - 2026-01-01\n\n- A.\n"
)
# In place of build_pyz.sh, which takes minutes: the same file each time, or not.
BUILD = """#!/bin/sh
set -eu
cd -- "$(dirname -- "$0")"
mkdir -p dist
echo "$2 $(git rev-parse HEAD) $(cat certgrinderd/__init__.py){more}" >dist/certgrinderd-$2.pyz
echo "{{}}" >dist/certgrinderd-$2.pyz.cdx.json
"""


def git(root: Path, *words: str) -> None:
    """Run git, as somebody who has a name and signs nothing."""
    settings = ("-c", "user.name=a", "-c", "user.email=a@example.test", "-c", "tag.gpgSign=false")
    subprocess.run(["git", "-C", str(root), *settings, *words], check=True, capture_output=True)


def make_key(path: Path) -> str:
    """Make a key to sign with; return its line for allowed_signers."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(words, check=True)
    public = path.with_suffix(".pub").read_text(encoding="ascii")
    return f'{release.PRINCIPAL} namespaces="{release.NAMESPACE}" {public}'


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The key of the project."""
    return tmp_path / "key"


@pytest.fixture
def root(tmp_path: Path, key: Path) -> Path:
    """A small checkout, whose version is 0.9.0."""
    root = tmp_path / "checkout"
    for name, text in {
        release.CHANGELOG: CHANGELOG,
        release.VERSION_FILE: '"""It."""\n\n__version__ = "0.9.0"\n',
        release.COLLECTION: "name: deploy\nversion: 0.9.0\n",
        release.ALLOWED_SIGNERS: make_key(key),
        "build_pyz.sh": BUILD.format(more=""),
        "contrib/certgrinder.sh": "#!/bin/sh\n",
        ".gitignore": "/dist/\n",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "build_pyz.sh").chmod(0o755)
    git(tmp_path, "init", "-q", str(root))
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "Start")
    return root


def prepared(root: Path) -> Path:
    """The checkout, prepared, committed and tagged."""
    release.prepare(root, "1.0.0", day=DAY)
    git(root, "commit", "-q", "-a", "-m", "Release 1.0.0")
    git(root, "tag", "v1.0.0")
    return root


def verified(folder: Path, name: str, signers: Path) -> bool:
    """Check a file by the command of docs/releasing.md."""
    words = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", "certgrinderd-release"]
    with (folder / name).open("rb") as content:
        done = subprocess.run(
            [*words, "-n", "certgrinderd", "-s", str(folder / f"{name}.sig")],
            stdin=content,
            capture_output=True,
            check=False,
        )
    return done.returncode == 0


def test_files_of_a_release(root: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs, lists, sums and signatures, which an admin can check, and which notice a change."""
    prepared(root)
    assert release.main(["make", "--key", str(key)], root=root) == 0
    assert "dist/release-1.0.0" in capsys.readouterr().out
    folder = root / "dist/release-1.0.0"
    signed = {f"certgrinderd-{platform}.pyz" for platform in release.PLATFORMS}
    lists = {f"{name}.cdx.json" for name in signed}
    signed |= {"SHA256SUMS", "certgrinder.sh"}
    names = {path.name for path in folder.iterdir()}
    assert names == {*signed, *lists, *(f"{name}.sig" for name in signed)}
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    signers = root / release.ALLOWED_SIGNERS
    assert all(verified(folder, name, signers) for name in signed)
    program = folder / "certgrinderd-linux-x86_64.pyz"
    assert '__version__ = "1.0.0"' in program.read_text(encoding="utf-8")
    program.write_bytes(program.read_bytes() + b" ")
    assert not verified(folder, program.name, signers)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert release.main(["make", "--key", str(key)], root=root) == 1
    assert "is there already" in capsys.readouterr().err


def refusal(root: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What `make` says when it refuses: one line, and no file is left."""
    capsys.readouterr()
    assert release.main(["make", "--key", str(key)], root=root) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert not (root / "dist").exists() or not list((root / "dist").iterdir())
    return line


def test_changes_are_refused(root: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also a file that git doesn't know yet."""
    prepared(root)
    (root / "new.py").touch()
    assert "changes that are not committed, such as new.py" in refusal(root, key, capsys)


def test_other_tag_is_refused(root: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tag has to be on this very commit, and have its version."""
    assert "needs the tag v0.9.0" in refusal(root, key, capsys)
    git(root, "tag", "v1.0.0")
    assert "this commit says 0.9.0, and needs the tag v0.9.0: it has v1.0.0" in refusal(
        root, key, capsys
    )


def test_other_key_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A signature that admins don't trust is none; a key that isn't there is named."""
    prepared(root)
    make_key(tmp_path / "other")
    assert "other is not among the keys in build/allowed_signers" in refusal(
        root, tmp_path / "other", capsys
    )
    assert "ssh-keygen failed" in refusal(root, tmp_path / "none", capsys)


def test_missing_list_of_signers_is_refused(
    root: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it nobody could check anything."""
    git(root, "rm", "-q", release.ALLOWED_SIGNERS)
    prepared(root)
    assert "there is no build/allowed_signers" in refusal(root, key, capsys)


def test_builds_that_differ_are_refused(
    root: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here by the folder that they are built in."""
    (root / "build_pyz.sh").write_text(BUILD.format(more="$PWD"), encoding="utf-8")
    prepared(root)
    assert "two builds for linux-x86_64 differ" in refusal(root, key, capsys)


def test_build_that_fails_is_told(
    root: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its last line."""
    script = "#!/bin/sh\necho 'no index' >&2\nexit 1\n"
    (root / "build_pyz.sh").write_text(script, encoding="utf-8")
    prepared(root)
    assert "build_pyz.sh failed: no index" in refusal(root, key, capsys)


def test_preparing_moves_what_is_unreleased(root: Path) -> None:
    """Into a section with the version and the day; an empty [Unreleased] comes above it."""
    release.prepare(root, "1.0.0", day=DAY)
    changelog = (root / release.CHANGELOG).read_text(encoding="utf-8")
    new = "## [Unreleased]\n\n## [1.0.0] - 2026-12-24\n\n### Added\n\n- All.\n"
    assert changelog == CHANGELOG.replace("## [Unreleased]\n\n### Added\n\n- All.\n", new)
    assert '__version__ = "1.0.0"\n' in (root / release.VERSION_FILE).read_text(encoding="utf-8")
    assert (root / release.COLLECTION).read_text("utf-8") == "name: deploy\nversion: 1.0.0\n"


@pytest.mark.parametrize("version", ["0.9.0", "0.8.9", "1.0", "v1.0.0", "1.0.0rc1", "", "1.0.0\n"])
def test_version_has_to_be_higher(
    root: Path, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And of the form that Semantic Versioning has for releases."""
    assert release.main(["prepare", version], root=root) == 1
    assert capsys.readouterr().err.startswith("build/release: ")
    assert (root / release.CHANGELOG).read_text(encoding="utf-8") == CHANGELOG


@pytest.mark.parametrize(
    ("changelog", "reason"),
    [
        ("# Changelog\n", "no section"),
        ("# Changelog\n\n## [Unreleased]\n\n## [0.9.0] - 2026-01-01\n\n- A.\n", "nothing in"),
        (f"{CHANGELOG}\n## [1.0.0] - 2026-01-01\n", "already"),
    ],
)
def test_changelog_has_to_have_something(changelog: str, reason: str) -> None:
    """Something new, and not under this version yet."""
    with pytest.raises(release.ReleaseError, match=reason):
        release.released(changelog, version="1.0.0", day=DAY)


def test_installation_looks_for_what_is_signed() -> None:
    """`install --allowed-signers` asks for the words that a release is signed with."""
    signed = (release.PRINCIPAL, release.NAMESPACE)
    assert signed == (signature.PRINCIPAL, signature.NAMESPACE)


def test_this_checkout_can_be_prepared() -> None:
    """Its own files have the form that the step looks for."""
    assert release.version_of((ROOT / release.VERSION_FILE).read_text("utf-8")) == __version__
    changelog = (ROOT / release.CHANGELOG).read_text("utf-8")
    if changelog.partition("## [Unreleased]\n")[2].partition("\n## [")[0].strip():
        assert "## [99.0.0] - " in release.released(changelog, version="99.0.0", day=DAY)
    done = subprocess.run(
        [ROOT / "build/release", "--help"], env={**os.environ}, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"prepare" in done.stdout
