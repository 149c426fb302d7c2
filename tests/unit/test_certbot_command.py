"""The certbot command line, and the hooks and the environment that go with it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from certgrinderd import Certgrinderd
from certgrinderd.errors import ConfigurationError
from certgrinderd.issuance.hooks import Challenge, environment, hook_command
from certgrinderd.settings.table import Settings

HOOKS = Path(__file__).resolve().parents[2] / "hooks"


@pytest.fixture(autouse=True)
def _no_hooks_next_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/nowhere/certgrinderd"])


def command(challenge: str = "dns", **settings: str | bool) -> list[str]:
    """What the documented method answers."""
    given = {"certbot-command": "/bin/certbot --one 'two words'", **settings}
    named = {name.replace("_", "-"): value for name, value in given.items()}
    server = Certgrinderd(named)
    return server.get_certbot_command(challenge, "/t/csr", "/t/full", "/t/cert", "/t/chain")


def test_command_is_split_as_a_shell_would() -> None:
    """The words of certbot-command come first, quotes respected."""
    assert command()[:4] == ["/bin/certbot", "--one", "two words", "certonly"]


@pytest.mark.parametrize("challenge", ["dns", "http"])
def test_options_are_those_that_certbot_knows(challenge: str) -> None:
    """Certbot's own parser reads our words back as what we meant."""
    from certbot._internal import cli
    from certbot._internal.plugins import disco

    words = command(
        challenge,
        acme_email="a@example.test",
        acme_server_url="https://ca.example.test/dir",
        certbot_config_dir="/t/c",
        certbot_work_dir="/t/w",
        certbot_logs_dir="/t/l",
        preferred_chain="ISRG_Root_X1",
        skip_acme_server_cert_verify=True,
    )
    # certbot reads the CSR while it parses; the test is about the other words.
    at = words.index("--csr")
    assert words[at : at + 2] == ["--csr", "/t/csr"]
    rest = [*words[3:at], *words[at + 2 :]]
    found = cli.prepare_and_parse_args(disco.PluginsRegistry.find_all(), rest).namespace
    assert isinstance(found, argparse.Namespace)
    assert found.verb == "certonly"
    assert found.noninteractive_mode
    assert found.tos
    assert found.manual
    assert found.pref_challs == [f"{challenge}-01"]
    assert found.manual_auth_hook == f"/bin/sh {HOOKS}/manual-auth-hook.sh"
    assert found.manual_cleanup_hook == f"/bin/sh {HOOKS}/manual-cleanup-hook.sh"
    assert (found.fullchain_path, found.cert_path, found.chain_path) == (
        "/t/full",
        "/t/cert",
        "/t/chain",
    )
    assert found.server == "https://ca.example.test/dir"
    assert found.email == "a@example.test"
    assert (found.config_dir, found.work_dir, found.logs_dir) == ("/t/c", "/t/w", "/t/l")
    assert found.preferred_chain == "ISRG Root X1"
    assert found.no_verify_ssl


def test_nothing_is_passed_that_is_not_set() -> None:
    """Without a setting certbot's own default counts; without an address none is registered."""
    words = command()
    for option in ("--email", "--config-dir", "--work-dir", "--logs-dir", "--no-verify-ssl"):
        assert option not in words
    assert not any(word.startswith("--preferred-chain") for word in words)
    assert "--register-unsafely-without-email" in words


def test_value_can_not_become_an_option() -> None:
    """The preferred chain, which clients choose, is one word with its option."""
    assert "--preferred-chain=x y" in command(preferred_chain="x_y")
    with pytest.raises(ConfigurationError):
        command(preferred_chain="--pre-hook")


def test_unknown_challenge_is_an_error() -> None:
    """There are two."""
    with pytest.raises(ValueError, match="tls-alpn"):
        command("tls-alpn")


def test_hook_next_to_the_program_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed hooks/ folder beats the hooks that came inside; arguments are kept."""
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "certgrinderd.pyz")])
    shipped = ["/bin/sh", f"{HOOKS}/manual-auth-hook.sh"]
    assert hook_command("manual-auth-hook.sh", label="x") == shipped
    (tmp_path / "hooks").mkdir()
    own = tmp_path / "hooks/manual-auth-hook.sh"
    own.write_text("#!/bin/sh\n")
    with pytest.raises(ConfigurationError, match="is not executable: chmod"):
        hook_command("manual-auth-hook.sh", label="x")
    own.chmod(0o755)
    assert hook_command("manual-auth-hook.sh a 'b c'", label="x") == [str(own), "a", "b c"]


def test_program_is_found_behind_a_symlink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is that of the file, not that of a link to it."""
    (tmp_path / "opt/hooks").mkdir(parents=True)
    hook = tmp_path / "opt/hooks/own.sh"
    hook.touch(mode=0o755)
    (tmp_path / "opt/certgrinderd.pyz").touch()
    (tmp_path / "link").symlink_to(tmp_path / "opt/certgrinderd.pyz")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "link")])
    assert hook_command("own.sh", label="x") == [str(hook)]


def test_hook_by_absolute_path_or_in_the_path(tmp_path: Path) -> None:
    """An absolute path is taken as it is; a bare name may be a program in PATH."""
    hook = tmp_path / "hook"
    hook.touch(mode=0o755)
    assert hook_command(str(hook), label="x") == [str(hook)]
    program, argument = hook_command("true --flag", label="x")
    assert program.endswith("/true")
    assert argument == "--flag"


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        pytest.param("/nonexistent/hook", "there is no file /nonexistent/hook", id="missing"),
        pytest.param("/etc/passwd", "is not executable", id="not executable"),
        pytest.param("/", "there is no file /", id="folder"),
        pytest.param("nothing.sh", "is neither in", id="nowhere"),
        pytest.param("../hooks/nothing", "is neither in", id="relative path to nowhere"),
    ],
)
def test_hook_that_is_not_there_is_an_error(hook: str, reason: str) -> None:
    """It names the setting, and where was looked."""
    with pytest.raises(ConfigurationError, match=f"auth-hook: .*{reason}"):
        hook_command(hook, label="auth-hook")


def test_blank_in_a_path_is_an_error(tmp_path: Path) -> None:
    """Certbot can't run such a hook; better to say so than to see it fail."""
    hook = tmp_path / "a hook"
    hook.touch(mode=0o755)
    with pytest.raises(ConfigurationError, match="auth-hook: Certbot cannot run"):
        command(auth_hook=f"'{hook}'")


def test_arguments_of_a_hook_are_quoted_for_sh(tmp_path: Path) -> None:
    """Certbot hands the line to sh, which must see the words that were configured."""
    hook = tmp_path / "hook"
    hook.touch(mode=0o755)
    words = command(auth_hook=f"{hook} 'b c;' $HOME")
    assert words[words.index("--manual-auth-hook") + 1] == f"{hook} 'b c;' '$HOME'"


def test_environment_is_built_up() -> None:
    """What hooks need and nothing else; only the place of the challenge that is tried."""
    settings = Settings(acme_zone="acme.example", web_root="/srv/www")
    ours = {
        "PATH": "/bin",
        "HOME": "/root",
        "CERTGRINDERD_NSUPDATE_KEY": "/k",
        "SSH_ORIGINAL_COMMAND": "ping",
        "CERTGRINDERD_DOMAINSETS": "a",
        "LD_PRELOAD": "x",
        "PYTHONPATH": "x",
        "ACMEZONE": "theirs",
        "WEBROOT": "theirs",
    }
    shared = {"PATH": "/bin", "HOME": "/root", "CERTGRINDERD_NSUPDATE_KEY": "/k"}
    shared["LC_ALL"] = "C.UTF-8"
    assert environment(settings, Challenge.DNS_01, ours) == {**shared, "ACMEZONE": "acme.example"}
    assert environment(settings, Challenge.HTTP_01, ours) == {**shared, "WEBROOT": "/srv/www"}
    assert environment(settings, None, ours) == shared


def test_secret_in_the_command_is_not_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At DEBUG an admin sees the command line, without what makes accounts at the CA."""
    server = Certgrinderd({"debug": True, "pid-dir": str(tmp_path)})
    for secret in (["--eab-hmac-key", "SECRET"], ["--eab-hmac-key=SECRET"]):
        assert not server.run_certbot(["/bin/false", "--eab-kid", "kid", *secret], {}, "/x")
        said = capsys.readouterr().err
        assert "running /bin/false --eab-kid kid --eab-hmac-key" in said
        assert "SECRET" not in said
