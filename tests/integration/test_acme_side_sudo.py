# ruff: noqa: S108 - paths in a host of its own, and words in command lines
"""The ACME side as another user by a real sudo: what works, and that nothing else does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.testbed.csr import make_csr
from tests.testbed.host import Host
from tests.testbed.named import Named
from tests.testbed.pebble import Pebble
from tests.testbed.server import find_program, wait_until

ROOT = Path(__file__).resolve().parents[2]
SSH_SIDE, ACME_SIDE = "certgrinderd", "certgrinderd-acme"
PYZ = "/usr/local/bin/certgrinderd.pyz"
CONFIGURATION = "/etc/certgrinderd/certgrinderd.conf"
ACME_CONFIGURATION = "/etc/certgrinderd/acme.conf"
RULE = "/etc/sudoers.d/certgrinderd"
STARTED, CLEANED = "/run/hooks/started", "/run/hooks/cleaned"


class TwoUsers:
    """A host where the user that clients log in as has nothing but a rule for sudo."""

    def __init__(self, host: Host, pyz: Path, pebble: Pebble, named: Named) -> None:
        self.host = host
        self.acme_settings: dict[str, object] = {
            "acme-server-url": pebble.directory_url,
            "acme-ca-file": "/etc/ca.pem",
            "acme-zone": named.zone,
            "domainsets": "one.sudo.example.test;two.sudo.example.test;slow.sudo.example.test",
        }
        for user in (SSH_SIDE, ACME_SIDE):
            host.add_user(user)
        host.write(PYZ, pyz.read_bytes(), mode=0o755)
        host.write("/etc/ca.pem", pebble.ca_file.read_bytes())
        for name in ("manual-auth-hook.sh", "manual-cleanup-hook.sh"):
            content = (ROOT / "hooks" / name).read_bytes()
            host.write(f"/usr/local/bin/hooks/{name}", content, mode=0o755)
        self._write_secret("/etc/certgrinderd/challenge.key", named.key_file.read_bytes())
        self._write_secret(
            "/etc/certgrinderd/hooks.conf",
            "CERTGRINDERD_NSUPDATE_KEY=/etc/certgrinderd/challenge.key\n"
            f"CERTGRINDERD_NSUPDATE_PORT={named.port}\n",
        )
        self.configure()
        host.write(
            CONFIGURATION,
            yaml.safe_dump(
                {
                    "acme-client-command": f"/usr/bin/sudo -n -u {ACME_SIDE} {PYZ} acme-client "
                    f"--config-file {ACME_CONFIGURATION}"
                }
            ),
        )
        shown = host.run([PYZ, "--config-file", CONFIGURATION, "show", "sudoers"])
        assert shown.returncode == 0, shown.stderr.decode()
        host.write("/run/rule", shown.stdout)
        host.check(["visudo", "-c", "-f", "/run/rule"])
        host.write(RULE, shown.stdout, mode=0o440)

    def _write_secret(self, path: str, content: str | bytes) -> None:
        self.host.write(path, content, mode=0o640)
        self.host.check(["chgrp", ACME_SIDE, path])

    def configure(self, **settings: object) -> None:
        """Write the ACME side's configuration, which the SSH side can't read."""
        more = {name.replace("_", "-"): value for name, value in settings.items()}
        self._write_secret(ACME_CONFIGURATION, yaml.safe_dump({**self.acme_settings, **more}))

    def request(
        self, csr: bytes, domainsets: str, words: str = "get certificate"
    ) -> subprocess.CompletedProcess[bytes]:
        """What sshd starts when a client asks for a certificate."""
        variables = {"SSH_ORIGINAL_COMMAND": words, "CERTGRINDERD_DOMAINSETS": domainsets}
        command = [PYZ, "--config-file", CONFIGURATION]
        return self.host.run(command, user=SSH_SIDE, stdin=csr, env=variables)

    def sudo(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """What a taken-over SSH side could do with sudo."""
        return self.host.run(["sudo", "-n", *words], user=SSH_SIDE, stdin=stdin)

    def is_there(self, path: str) -> bool:
        """Whether a file exists."""
        return self.host.run(["test", "-e", path]).returncode == 0


@pytest.fixture(scope="module")
def users(host: Host, pyz: Path, calm_pebble: Pebble, named: Named) -> TwoUsers:
    """A host with both users and the rule that `show sudoers` prints."""
    find_program("sudo")
    named.delegate("one.sudo.example.test", "two.sudo.example.test")
    return TwoUsers(host, pyz, calm_pebble, named)


def test_request_by_the_rule(users: TwoUsers, named: Named) -> None:
    """The request works, the account is the ACME side's, and the SSH side can't read it."""
    name = "one.sudo.example.test"
    answer = users.request(make_csr([name]).pem, name)
    assert answer.returncode == 0, answer.stderr.decode()
    leaf = x509.load_pem_x509_certificates(answer.stdout)[0]
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert found.get_values_for_type(x509.DNSName) == [name]
    assert named.challenges(name) == []
    account = f"/home/{ACME_SIDE}/.local/share/certgrinderd/certbot/config/accounts"
    assert users.is_there(account)
    for path in (account, ACME_CONFIGURATION, "/etc/certgrinderd/challenge.key"):
        assert users.host.run(["ls", "-ld", path]).returncode == 0
        denied = users.host.run(["cat", path], user=SSH_SIDE)
        assert b"Permission denied" in denied.stderr
    assert users.host.check(["find", "/tmp", "-mindepth", "1"]) == ""


def test_settings_that_the_hook_cannot_read(users: TwoUsers) -> None:
    """They are not passed over: it would ask another name server, with another key."""
    path, name = "/etc/certgrinderd/hooks.conf", "unread.sudo.example.test"
    users.configure(domainsets=name)
    users.host.check(["chmod", "600", path])
    try:
        answer = users.request(make_csr([name]).pem, name)
    finally:
        users.host.check(["chmod", "640", path])
        users.configure()
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert f"cannot read {path}" in answer.stderr.decode()


def test_no_rule_for_a_user_that_is_not_there(users: TwoUsers) -> None:
    """It would be found out by the first request only."""
    command = f"/usr/bin/sudo -n -u nosuch {PYZ} acme-client --config-file {ACME_CONFIGURATION}"
    shown = users.host.run([PYZ, "--acme-client-command", command, "show", "sudoers"])
    assert (shown.returncode, shown.stdout) == (2, b"")
    assert b"runs as nosuch: no such user" in shown.stderr


@pytest.mark.parametrize("option", ["auth-hook", "certbot-config-dir", "eab-hmac-key-file"])
def test_no_rule_for_what_the_ssh_side_could_change(users: TwoUsers, option: str) -> None:
    """What the ACME side's configuration names counts as well, if there is one to be read."""
    show = [PYZ, "--config-file", CONFIGURATION, "show", "sudoers"]
    own = f"/home/{SSH_SIDE}/own"
    users.configure(**{option: own})
    try:
        shown = users.host.run(show)
        assert (shown.returncode, shown.stdout) == (2, b"")
        assert f"what another user does with {own}" in shown.stderr.decode()
        users.host.check(["rm", ACME_CONFIGURATION])
        shown = users.host.run(show)
        assert b"acme-client" in shown.stdout
        assert b"not checked: what the ACME side runs" in shown.stderr
    finally:
        users.configure()


@pytest.mark.parametrize(
    "words",
    [
        "--staging --preferred-chain (STAGING)_Pretend_Pear_X1 get certificate",
        "--preferred-chain ISRG_Root_X1 --chain-length 2 --log-level DEBUG get certificate",
        "--replaces aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE --debug get certificate",
        "show acmeaccount",
    ],
)
def test_options_of_clients_match_the_rule(users: TwoUsers, words: str) -> None:
    """What a client may say gets through sudo to the ACME side."""
    name = "one.sudo.example.test"
    answer = users.request(make_csr([name]).pem, name, words)
    log = answer.stderr.decode()
    assert "password" not in log
    if "(" in words:
        assert answer.returncode == 3, "not a plain word"
    else:
        assert answer.returncode == 0, log


def test_staging_matches_the_rule(users: TwoUsers) -> None:
    """The staging server is chosen; from here nobody reaches it."""
    name = "one.sudo.example.test"
    users.configure(issuance_timeout=1)
    try:
        answer = users.request(make_csr([name]).pem, name, "--staging get certificate")
    finally:
        users.configure()
    assert b"password" not in answer.stderr
    assert b"at https://acme-staging-v02.api.letsencrypt.org/directory" in answer.stderr


def test_ceiling_holds_for_a_taken_over_ssh_side(users: TwoUsers) -> None:
    """Even who owns the SSH side gets no other names than the ACME side's."""
    command = ("-u", ACME_SIDE, PYZ, "acme-client", "--config-file", ACME_CONFIGURATION)
    foreign = make_csr(["other.sudo.example.test"]).pem
    answer = users.request(foreign, "other.sudo.example.test")
    assert (answer.returncode, answer.stdout) == (3, b"")
    answer = users.sudo(*command, stdin=foreign)
    assert (answer.returncode, answer.stdout) == (3, b"")
    both = make_csr(["one.sudo.example.test", "two.sudo.example.test"]).pem
    assert users.sudo(*command, stdin=both).returncode == 3
    own = users.sudo(*command, stdin=make_csr(["two.sudo.example.test"]).pem)
    assert own.returncode == 0, own.stderr.decode()


OWN = (PYZ, "acme-client", "--config-file", ACME_CONFIGURATION)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("-u", ACME_SIDE, "/bin/sh"), id="a shell"),
        pytest.param(("-u", ACME_SIDE, PYZ, "show", "configuration"), id="another command"),
        pytest.param(("-u", ACME_SIDE, PYZ, "acme-client"), id="no configuration file"),
        pytest.param(
            ("-u", ACME_SIDE, PYZ, "acme-client", "--config-file", "/tmp/evil.conf"),
            id="another configuration file",
        ),
        pytest.param(
            ("-u", ACME_SIDE, PYZ, "--auth-hook", "/evil", "acme-client"), id="a hook in front"
        ),
        pytest.param(("-u", ACME_SIDE, *OWN, "--auth-hook", "/evil"), id="a hook behind"),
        pytest.param(
            ("-u", ACME_SIDE, *OWN, "--config-file", "/tmp/evil.conf"), id="a second file"
        ),
        pytest.param(
            ("-u", ACME_SIDE, *OWN, "--acme-server-url", "https://evil.example/"), id="another CA"
        ),
        pytest.param(
            ("-u", ACME_SIDE, *OWN, "--preferred-chain", "X --auth-hook /evil"),
            id="an option in a value",
        ),
        pytest.param(("-u", ACME_SIDE, *OWN, ""), id="an empty word"),
        pytest.param(("-u", "root", *OWN), id="as root"),
        pytest.param(OWN, id="as nobody in particular"),
        pytest.param(("-u", ACME_SIDE, "CERTGRINDERD_HOOKS_CONF=/tmp/x", *OWN), id="a variable"),
        pytest.param(("-u", ACME_SIDE, "-E", *OWN), id="the whole environment"),
        pytest.param(("-u", ACME_SIDE, "-D", "/tmp", *OWN), id="another folder"),
    ],
)
def test_nothing_else_is_allowed(users: TwoUsers, words: tuple[str, ...]) -> None:
    """The rule is for one command line with a few options, and for one user."""
    csr = make_csr(["one.sudo.example.test"]).pem
    answer = users.sudo(*words, stdin=csr)
    assert (answer.returncode, answer.stdout) == (1, b"")
    assert users.sudo("-u", ACME_SIDE, *OWN, stdin=csr).returncode == 0


def test_words_joined_by_blanks_reach_nothing(users: TwoUsers) -> None:
    """Sudo does not see where words end; we do."""
    answer = users.sudo("-u", ACME_SIDE, PYZ, " ".join(OWN[1:]))
    assert (answer.returncode, answer.stdout) == (2, b"")


@pytest.fixture
def slow(users: TwoUsers) -> Iterator[None]:
    """Hooks of the ACME side that don't end, and tell."""
    host = users.host
    host.check(["install", "-d", "-m", "0777", "/run/hooks"])
    host.write("/run/slow.sh", f"#!/bin/sh\n: >{STARTED}\nexec sleep 600\n", mode=0o755)
    host.write("/run/tells.sh", f"#!/bin/sh\n: >{CLEANED}\n", mode=0o755)
    users.configure(auth_hook="/run/slow.sh", cleanup_hook="/run/tells.sh")
    yield
    users.configure()
    host.check(["rm", "-r", "/run/hooks"])


@pytest.mark.parametrize("end", ["hang-up", "SIGTERM"])
@pytest.mark.usefixtures("slow")
def test_both_sides_end(users: TwoUsers, end: str) -> None:
    """Sudo is out of the SSH side's reach, and yet the ACME side ends, with its cleanup done."""
    variables = {
        "SSH_ORIGINAL_COMMAND": "get certificate",
        "CERTGRINDERD_DOMAINSETS": "slow.sudo.example.test",
    }
    with users.host.popen([PYZ, "-c", CONFIGURATION], user=SSH_SIDE, env=variables) as process:
        try:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            process.stdin.write(make_csr(["slow.sudo.example.test"]).pem)
            process.stdin.close()
            wait_until(lambda: users.is_there(STARTED), timeout=60, what="the hook starts")
            if end == "hang-up":
                process.stdout.close()
            else:
                find = ["pgrep", "-u", SSH_SIDE, "-f", CONFIGURATION]
                pids = users.host.check(find).split()
                users.host.check(["kill", f"-{signal.SIGTERM.value}", *pids])
            process.wait(30)
            log = process.stderr.read().decode()
        finally:
            process.kill()
    assert users.is_there(CLEANED), log
    wait_until(
        lambda: users.host.run(["pgrep", "-u", ACME_SIDE]).returncode == 1,
        timeout=30,
        what="nothing runs any more",
    )
