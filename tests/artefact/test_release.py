"""A whole release by the commands of docs/releasing.md, from preparing it to checking it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testbed.pages import ROOT, commands

PAGE = "docs/releasing.md"


def typed(folder: Path, text: str, home: Path) -> str:
    """Type commands that must succeed; return what they print."""
    done = subprocess.run(
        ["sh", "-ec", text],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.thorough
def test_release_is_made_and_checked(tmp_path: Path) -> None:
    """Built for both machines, twice each, signed by a key that the checkout trusts."""
    home, checkout = tmp_path / "home", tmp_path / "checkout"
    (home / ".ssh").mkdir(parents=True)
    key = home / ".ssh/certgrinderd-release"
    # git signs the tag with the same key.
    settings = f"""[user]
name = a
email = a@example.test
signingKey = {key}.pub
[gpg]
format = ssh
"""
    (home / ".gitconfig").write_text(settings, encoding="utf-8")
    script = f"""
ssh-keygen -q -t ed25519 -N '' -f {key}
git -c safe.directory='*' clone -q --no-hardlinks {ROOT} {checkout}
cd {checkout}
{{ printf 'certgrinderd-release namespaces="certgrinderd" '
    cat {key}.pub; }} >build/allowed_signers
git add build/allowed_signers
git commit -q -m 'Add the key of releases'
"""
    typed(tmp_path, script, home)
    typed(checkout, commands(PAGE, "release prepare"), home)
    typed(checkout, commands(PAGE, "git tag"), home)
    assert "dist/release-1.0.0" in typed(checkout, commands(PAGE, "release make"), home)

    release = checkout / "dist/release-1.0.0"
    # The key comes from the clone.
    (release / "allowed_signers").write_bytes((checkout / "build/allowed_signers").read_bytes())
    good = 'Good "certgrinderd" signature for certgrinderd-release'
    assert good in typed(release, commands(PAGE, r"-s certgrinderd-linux"), home)
    assert "certgrinder.sh: OK" in typed(release, commands(PAGE, "sha256sum"), home)
    version = typed(release, f"{sys.executable} certgrinderd-linux-x86_64.pyz --version", home)
    assert "1.0.0" in version
    with (release / "certgrinderd-linux-x86_64.pyz").open("ab") as program:
        program.write(b"\n")
    with pytest.raises(AssertionError, match="incorrect signature"):
        typed(release, commands(PAGE, r"-s certgrinderd-linux"), home)
