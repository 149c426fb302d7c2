"""Settings of sshd: those that there should be, and what is wrong with those in force."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.setup.clients import sshd
from certgrinderd.setup.install import layout

ROOT = Path(__file__).resolve().parents[2]


def found_in(effective: str, needs_environment: int | None) -> list[str]:
    """What is wrong with these settings."""
    return list(sshd.reasons(sshd.parse(effective), needs_environment))


SSHD = """\
port 22
permituserenvironment CERTGRINDERD_DOMAINSETS
acceptenv LANG
acceptenv LC_*
forcecommand none
authorizedkeysfile /etc/certgrinderd/authorized_keys
"""
NEEDS = 7


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("CERTGRINDERD_DOMAINSETS\n", "no\n", "line 7 uses environment="),
        ("CERTGRINDERD_DOMAINSETS\n", "LANG,FOO*\n", "line 7 uses environment="),
        ("CERTGRINDERD_DOMAINSETS\n", "yes\n", "PermitUserEnvironment is yes"),
        ("permituserenvironment CERTGRINDERD_DOMAINSETS\n", "", "line 7 uses environment="),
        ("LC_*", "LC_* CERT*", "AcceptEnv lets clients set CERTGRINDERD_DOMAINSETS"),
        ("LC_*", "LD_PRELOAD", "AcceptEnv lets clients set LD_PRELOAD"),
        ("LC_*", "LC_* SSL_*\nacceptenv HOME", "AcceptEnv lets clients set HOME, SSL_CERT_FILE"),
        ("LC_*", "*", "AcceptEnv lets clients set CERTGRINDERD_DOMAINSETS, CERTGRINDERD_CACHE,"),
        ("port 22", "setenv CERTGRINDERD_DOMAINSETS=x.example", "all clients the same"),
        ("forcecommand none", "forcecommand /bin/true", "overrides each line"),
    ],
)
def test_setting_of_sshd_is_not_as_it_should_be(old: str, new: str, reason: str) -> None:
    """Each by itself; with the usual ones there is nothing to find."""
    assert found_in(SSHD, NEEDS) == []
    (found,) = found_in(SSHD.replace(old, new), NEEDS)
    assert reason in found


def test_user_environment_matters_to_those_who_use_it() -> None:
    """Without environment= in the file, `no` is right; `yes` never is."""
    off = SSHD.replace("CERTGRINDERD_DOMAINSETS", "no")
    assert found_in(off, None) == []
    assert len(found_in(off, NEEDS)) == 1
    assert found_in(SSHD.replace("CERTGRINDERD_DOMAINSETS", "LANG,CERTGRINDERD_*"), NEEDS) == []
    assert len(found_in(SSHD.replace("CERTGRINDERD_DOMAINSETS", "yes"), None)) == 1


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/etc/certgrinderd/authorized_keys", ["/etc/certgrinderd/authorized_keys"]),
        (".ssh/authorized_keys .ssh/b", ["/srv/c d/.ssh/authorized_keys", "/srv/c d/.ssh/b"]),
        ("/etc/keys/%u %h/keys", ["/etc/keys/c-d", "/srv/c d/keys"]),
        ("/etc/%U/%%u", ["/etc/17/%u"]),
        ("none", []),
        ("", []),
    ],
)
def test_files_that_sshd_reads(pattern: str, paths: list[str]) -> None:
    """Tokens are expanded, and what is no absolute path is in the home (sshd_config(5))."""
    settings = sshd.parse(f"port 22\nauthorizedkeysfile {pattern}\n")
    assert sshd.keys_files(settings, user="c-d", home="/srv/c d", uid=17) == paths
    assert sshd.keys_files({}, user="c-d", home="/srv/c d", uid=17) == []


def test_settings_that_there_should_be_are_those_of_the_documentation() -> None:
    """Word for word; without environment= the setting for the whole server is not needed."""
    text = sshd.render(layout.USER, layout.AUTHORIZED_KEYS)
    assert layout.sshd_file().content.decode() == text
    shown = "".join(f"    {line}\n" if line else "\n" for line in text.splitlines()[1:])
    assert shown in (ROOT / "docs/ssh.md").read_text("utf-8")
    shorter = sshd.render("other", "/keys", environment=False)
    assert "PermitUserEnvironment" not in shorter
    assert "\nMatch User other\n    AuthorizedKeysFile /keys\n" in shorter


@given(st.text())
def test_any_answer_of_sshd_is_read(text: str) -> None:
    """Whatever it prints, there is something to say about it or nothing."""
    settings = sshd.parse(text)
    assert all(isinstance(each, str) for each in sshd.reasons(settings, 1))
