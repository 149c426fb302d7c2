# ruff: noqa: S108 - paths in a host of its own
"""`certgrinderd.pyz install` and `uninstall` on a throw-away host, with its real sshd and sudo."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from certgrinderd.setup.install import layout
from tests.testbed.csr import make_csr
from tests.testbed.host import Host
from tests.testbed.named import Named
from tests.testbed.pebble import Pebble
from tests.testbed.program import run
from tests.testbed.server import clean_environment, find_program, free_port, wait_until

# Where the file lies that was copied to the host.
COPY = "/root/certgrinderd.pyz"
LOG_LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} certgrinderd ERROR "
NAME = "install.example.test"

# All that an installation could change. The system keeps copies of its lists of users, and logs;
# the cache is made by each start of the program.
_LIST = r"""
find /etc /home /srv /usr/local /var -xdev \( -path /var/log -o -path /var/cache -o \
    -path /var/lib/apt -o -path /var/lib/dpkg \) -prune -o \
    -type d -printf '%p %m %u %g\n' -o -printf '%p %m %u %g %s %l\n' |
    grep -vE '^/etc/((passwd|group|shadow|gshadow|subuid|subgid)-|\.pwd\.lock) ' | sort
find /etc -xdev -type f ! -name '*-' -exec sha256sum {} + | sort
"""


def listing(host: Host) -> list[str]:
    """All files that an installation could change, with their facts."""
    return host.check(["sh", "-c", _LIST]).splitlines()


class Machine:
    """A host with certgrinderd.pyz copied to it, and nothing else of certgrinderd."""

    def __init__(self, host: Host, pyz: Path) -> None:
        self.host = host
        host.write(COPY, pyz.read_bytes(), mode=0o755)
        host.check(["ssh-keygen", "-A"])
        self.fresh = listing(host)

    def command(self, *words: str, user: str | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run the copied program."""
        return self.host.run([COPY, *words], user=user)

    def says(self, *words: str, user: str | None = None) -> list[str]:
        """Run it; it must succeed, and complain about nothing."""
        done = self.command(*words, user=user)
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
        return done.stdout.decode().splitlines()

    def refuses(self, *words: str, status: int = 2) -> str:
        """Run it; it must fail with one line, which is returned."""
        done = self.command(*words)
        log = done.stderr.decode()
        assert re.fullmatch(f"{LOG_LINE}[^\n]*\n", log), log
        assert done.returncode == status
        return log.strip()

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self.host.run(["test", "-e", path]).returncode == 0

    def reset(self) -> None:
        """Remove all traces, however they got there."""
        script = f"""
            umount -q /etc /usr/local/share/man/man8
            [ ! -e /usr/sbin/useradd.away ] || mv /usr/sbin/useradd.away /usr/sbin/useradd
            userdel certgrinderd; groupdel certgrinderd
            rm -rf {layout.ETC} {layout.HOME} {layout.SHARE} {layout.HOOKS} {layout.CACHE} \
                {layout.PROGRAM} /etc/ssh/sshd_config.d/* /etc/sudoers.d/* \
                /usr/local/share/man/man8 /usr/local/share/bash-completion \
                /usr/local/share/zsh/site-functions/_certgrinderd
            :"""
        self.host.run(["sh", "-c", script])


@pytest.fixture(scope="module")
def machine(host: Host, pyz: Path) -> Machine:
    """A host with nothing of certgrinderd but the one file."""
    for program in ("sshd", "sudo", "useradd"):
        find_program(program)
    return Machine(host, pyz)


@pytest.fixture
def fresh(machine: Machine) -> Iterator[Machine]:
    """The same, as it was before any test."""
    yield machine
    machine.reset()
    assert listing(machine.host) == machine.fresh, "a test left something behind"


def test_dry_run_tells_and_changes_nothing(fresh: Machine) -> None:
    """Without --yes everybody can see what would be done, and nothing is."""
    lines = fresh.says("install")
    assert f"would write {layout.PROGRAM} (0755)" in lines
    assert f"would write {layout.CONFIGURATION} (0644)" in lines
    assert "would create the user certgrinderd, without a password" in lines
    assert "    Match User certgrinderd" in lines
    assert lines[-1] == "nothing was changed: install --yes does it"
    fresh.host.write("/tmp/certgrinderd.pyz", fresh.host.run(["cat", COPY]).stdout, mode=0o755)
    nobody = ["setpriv", "--reuid=nobody", "--clear-groups", "env", "XDG_CACHE_HOME=/tmp/nobody"]
    done = fresh.host.run([*nobody, "/tmp/certgrinderd.pyz", "install"])
    assert done.stdout.decode().splitlines()[-1] == lines[-1], done.stderr.decode()
    done = fresh.host.run([*nobody, "/tmp/certgrinderd.pyz", "install", "--yes"])
    assert done.returncode == 2
    assert b"install --yes is for root: sudo /tmp/certgrinderd.pyz install --yes" in done.stderr
    assert fresh.says("uninstall", "--yes") == ["nothing to do"]
    assert listing(fresh.host) == fresh.fresh


def test_program_without_the_signature_of_a_release_is_refused(fresh: Machine) -> None:
    """With --allowed-signers, unless one of these keys has signed this very file for this use."""
    signers, signature = "/root/allowed_signers", f"{COPY}.sig"
    words = ("install", "--allowed-signers", signers, "--yes")
    script = f"""cd /root; rm -f key other {signature} {COPY}.changed
        ssh-keygen -q -t ed25519 -N '' -f key; ssh-keygen -q -t ed25519 -N '' -f other
        printf 'certgrinderd-release namespaces="certgrinderd" ' | cat - key.pub >{signers}"""
    fresh.host.check(["sh", "-ec", script])

    def sign(key: str, *, namespace: str = "certgrinderd", path: str = COPY) -> None:
        sign = ["ssh-keygen", "-q", "-Y", "sign", "-f", f"/root/{key}", "-n", namespace, path]
        fresh.host.check(["rm", "-f", f"{path}.sig"])
        fresh.host.check(sign)

    assert f"the signature: there is no file {signature}" in fresh.refuses(*words)
    sign("other")
    assert f"{COPY} is not signed by a key in {signers}" in fresh.refuses(*words)
    sign("key", namespace="git")
    assert "is not signed" in fresh.refuses(*words)
    fresh.host.check(["sh", "-c", f"echo >>/root/changed; cat {COPY} >>/root/changed"])
    sign("key", path="/root/changed")
    fresh.host.check(["mv", "/root/changed.sig", signature])
    assert "is not signed" in fresh.refuses(*words)
    assert "--allowed-signers: there is no file /root/none" in fresh.refuses(
        "install", "--allowed-signers", "/root/none"
    )
    assert listing(fresh.host) == fresh.fresh

    sign("key")
    assert "would write" in "\n".join(fresh.says(*words[:-1]))
    fresh.says(*words)
    assert fresh.exists(layout.PROGRAM)


def test_there_and_back(fresh: Machine) -> None:
    """Installed, once more with nothing to do, and taken back to the last file and user."""
    told = [line.removeprefix("would ") for line in fresh.says("install", "--sshd")]
    done = fresh.says("install", "--sshd", "--yes")
    steps = [line for line in done if re.match("(make|write|note|unpack) ", line)]
    assert [line for line in told if line in steps] == list(dict.fromkeys(steps))
    assert "next: reload sshd: service ssh reload" in done
    assert fresh.says("install", "--sshd", "--yes")[-1] == "nothing to do"
    assert fresh.says("install")[-1] == "nothing to do"
    account = fresh.host.check(["getent", "passwd", "certgrinderd"]).split(":")
    assert account[5:] == [layout.HOME, "/bin/sh\n"]
    assert fresh.host.check(["getent", "shadow", "certgrinderd"]).split(":")[1] == "*"
    for path, facts in {
        layout.PROGRAM: "root root 755",
        f"{layout.HOOKS}/manual-auth-hook.sh": "root root 755",
        layout.HOME: "root root 755",
        f"{layout.HOME}/.cache": "certgrinderd certgrinderd 700",
        f"{layout.HOME}/certbot": "certgrinderd certgrinderd 700",
        layout.AUTHORIZED_KEYS: "root root 644",
    }.items():
        assert fresh.host.check(["stat", "-c", "%U %G %a", path]) == f"{facts}\n"
    would = fresh.says("uninstall")
    assert would[-1] == "nothing was changed: uninstall --yes does it"
    # By the installed program, which removes itself and what it runs from.
    done_by_itself = fresh.host.run([layout.PROGRAM, "uninstall", "--yes"])
    assert (done_by_itself.returncode, done_by_itself.stderr) == (0, b"")
    lines = done_by_itself.stdout.decode().splitlines()
    assert [f"would {line}" for line in lines[:-1]] == would[:-1]
    assert lines[-1] == "next: reload sshd: service ssh reload"
    assert not fresh.exists(layout.CACHE)
    assert listing(fresh.host) == fresh.fresh
    assert fresh.says("uninstall", "--yes") == ["nothing to do"]


def test_client_gets_a_certificate(
    fresh: Machine, calm_pebble: Pebble, named: Named, tmp_path: Path
) -> None:
    """After install, a zone in the configuration and a client's line, sshd serves that client."""
    host = fresh.host
    named.delegate(NAME)
    fresh.says("install", "--sshd", "--yes")
    host.write("/etc/ca.pem", calm_pebble.ca_file.read_bytes())
    host.write(f"{layout.ETC}/challenge.key", named.key_file.read_bytes(), mode=0o640)
    host.check(["chgrp", "certgrinderd", f"{layout.ETC}/challenge.key"])
    host.write(
        f"{layout.ETC}/hooks.conf",
        f"CERTGRINDERD_NSUPDATE_KEY={layout.ETC}/challenge.key\n"
        f"CERTGRINDERD_NSUPDATE_PORT={named.port}\n",
    )
    configuration = host.check(["cat", layout.CONFIGURATION])
    configuration += f"acme-zone: {named.zone}\nacme-server-url: {calm_pebble.directory_url}\n"
    configuration += "acme-ca-file: /etc/ca.pem\n"
    host.write(layout.CONFIGURATION, configuration)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    host.write("/root/www.pub", key.with_suffix(".pub").read_bytes())
    words = ["--config-file", layout.CONFIGURATION, "show", "authorized-keys"]
    line = host.check([layout.PROGRAM, *words, "--domainsets", NAME, "/root/www.pub"])
    keys = host.check(["cat", layout.AUTHORIZED_KEYS])
    host.write(layout.AUTHORIZED_KEYS, keys + line)
    host.check([layout.PROGRAM, "check", "authorized-keys", layout.AUTHORIZED_KEYS])
    port = free_port()
    options = ("-o", "ListenAddress=127.0.0.1", "-o", "PidFile=/run/test-sshd.pid")
    host.check(["/usr/sbin/sshd", "-p", str(port), *options])
    ssh = [
        *("ssh", "-F", "none", "-T", "-p", str(port), "-i", str(key), "-o", "BatchMode=yes"),
        *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"),
        *("-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "certgrinderd@127.0.0.1", "--"),
    ]

    def client(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*ssh, *words],
            input=stdin,
            env=clean_environment(),
            capture_output=True,
            check=False,
            timeout=60,
        )

    try:
        wait_until(lambda: client("ping").stdout == b"pong\n", timeout=30, what="sshd lets us in")
        answer = client("get", "certificate", stdin=make_csr([NAME]).pem)
        assert answer.returncode == 0, answer.stderr.decode()
        leaf = x509.load_pem_x509_certificates(answer.stdout)[0]
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert found.get_values_for_type(x509.DNSName) == [NAME]
        other = client("get", "certificate", stdin=make_csr([f"other.{NAME}"]).pem)
        assert (other.returncode, other.stdout) == (3, b"")
        assert client("install", "--yes").returncode == 3
    finally:
        host.check(["sh", "-c", "kill $(cat /run/test-sshd.pid)"])
    # The user runs what root has unpacked, and needs no cache of its own.
    assert host.check(["ls", "-A", f"{layout.HOME}/.cache"]) == ""
    assert fresh.says("install", "--sshd", "--yes")[-1] == "nothing to do"
    assert host.check(["cat", layout.CONFIGURATION]) == configuration
    assert_used_installation_stays(fresh)


def assert_used_installation_stays(fresh: Machine) -> None:
    """An uninstall leaves configuration, clients and account, and says how they would go."""
    host = fresh.host
    lines = fresh.says("uninstall", "--yes")
    assert {
        f"kept: {layout.CONFIGURATION}: it was edited",
        f"kept: {layout.AUTHORIZED_KEYS}: it was edited",
        f"kept: {layout.HOME}/certbot: it is not empty",
        "kept: the user certgrinderd: it may own files",
    } <= set(lines)
    assert not fresh.exists(layout.PROGRAM)
    assert not fresh.exists(layout.SSHD)
    assert fresh.exists(f"{layout.HOME}/certbot/config/accounts")
    (told,) = [line for line in lines if line.startswith("to remove these too")]
    command = told.partition(": ")[2]
    assert fresh.says("uninstall", "--yes")[-1] == "nothing to do"
    host.check(["sh", "-ec", f"{command}; rm /etc/ca.pem"])
    assert listing(host) == fresh.fresh


OLD_CONFIGURATION = "acme-zone: acme.example.org\n# certbot-command: builtin\n"


def test_what_was_there_is_named_and_left(fresh: Machine) -> None:
    """A configuration, a hook, a drop-in and a user of the admin's own stay as they are."""
    host = fresh.host
    host.check(["useradd", "--system", "--shell", "/usr/sbin/nologin", "certgrinderd"])
    own = {
        layout.CONFIGURATION: OLD_CONFIGURATION,
        layout.AUTHORIZED_KEYS: "# mine\n",
        f"{layout.HOOKS}/manual-auth-hook.sh": "#!/bin/sh\n# my own hook\n",
        layout.SSHD: "PermitUserEnvironment no\n",
    }
    for path, content in own.items():
        host.write(path, content)
    link = f"{layout.HOME}/.cache"
    host.check(["install", "-d", "-o", "certgrinderd", layout.HOME])
    host.check(["ln", "-s", "/root", link])
    before = listing(host)
    lines = fresh.says("install", "--sshd", "--yes")
    told = "\n".join(lines)
    assert (
        f"kept: {layout.HOOKS}/manual-auth-hook.sh: it was edited, or install didn't write it"
        in lines
    )
    assert "    -# my own hook" in lines
    assert f"kept: {layout.SSHD}: it was edited, or install didn't write it" in lines
    assert "    -PermitUserEnvironment no" in lines
    assert "    +PermitUserEnvironment CERTGRINDERD_DOMAINSETS" in lines
    assert f"kept: {layout.CONFIGURATION}: it doesn't mention acme-ca-file, " in told
    assert "warning: the user certgrinderd has no real shell" in told
    assert "warning: the home of the user certgrinderd is /home/certgrinderd" in told
    assert "warning: PermitUserEnvironment is no, set elsewhere" in told
    assert (
        f"kept: {layout.HOME}: its owner and mode are certgrinderd, 0755: chown root: {layout.HOME}"
        in told
    )
    assert f"kept: {link}: it is a symbolic link, and should be a folder" in lines
    assert host.check(["stat", "-c", "%U", "/root"]) == "root\n"
    for path, content in own.items():
        assert host.check(["cat", path]) == content
    fresh.says("uninstall", "--yes")
    assert listing(host) == before


def test_sshd_that_would_not_serve_is_left_alone(fresh: Machine) -> None:
    """Settings that break sshd, or don't have their effect, are taken back; the rest is there."""
    host = fresh.host
    folder = str(Path(layout.SSHD).parent)
    host.write(f"{folder}/90-other.conf", "NoSuchOption yes\n")
    log = fresh.refuses("install", "--sshd", "--yes")
    assert re.search(r"sshd's configuration already has an error: .*NoSuchOption", log)
    assert fresh.says("install")[-1] == "nothing to do"
    host.check(["rm", f"{folder}/90-other.conf"])
    wins = "PermitUserEnvironment no\nSetEnv CERTGRINDERD_DOMAINSETS=evil.example\n"
    host.write(f"{folder}/00-another.conf", wins)
    log = fresh.refuses("install", "--sshd", "--yes")
    assert re.search("PermitUserEnvironment is no, set elsewhere.*SetEnv CERTGRINDERD_DOM", log)
    assert host.check(["ls", "-A", folder]) == "00-another.conf\n"
    # Where an older version's settings are, those are put back.
    host.write(layout.SSHD, "# older\n")
    digest = host.check(["sha256sum", layout.SSHD]).split()[0]
    host.check(["sed", "-i", f"$ a file {digest} {layout.SSHD}", layout.RECEIPT])
    fresh.refuses("install", "--sshd", "--yes")
    assert host.check(["cat", layout.SSHD]) == "# older\n"
    host.check(["rm", f"{folder}/00-another.conf"])
    assert f"replace {layout.SSHD} (0644)" in fresh.says("install", "--sshd", "--yes")
    effect = ["sshd", "-T", "-C", "user=certgrinderd,host=x,addr=192.0.2.1"]
    assert f"authorizedkeysfile {layout.AUTHORIZED_KEYS}\n" in host.check(effect)


def test_settings_of_sshd_move_to_their_new_name(fresh: Machine) -> None:
    """Of an older version's file nothing is left; one that was edited is kept and listed."""
    host = fresh.host
    folder = str(Path(layout.SSHD).parent)
    fresh.says("install", "--yes")
    host.write(layout.FORMER_SSHD, "# older\nPermitUserEnvironment CERTGRINDERD_DOMAINSETS\n")
    digest = host.check(["sha256sum", layout.FORMER_SSHD]).split()[0]
    host.check(["sed", "-i", f"$ a file {digest} {layout.FORMER_SSHD}", layout.RECEIPT])
    lines = fresh.says("install", "--sshd")
    assert f"would write {layout.SSHD} (0644)" in lines
    assert f"would remove {layout.FORMER_SSHD}" in lines
    lines = fresh.says("install", "--sshd", "--yes")
    assert f"remove {layout.FORMER_SSHD}" in lines
    assert host.check(["ls", folder]) == f"{Path(layout.SSHD).name}\n"
    assert fresh.says("install", "--sshd", "--yes")[-1] == "nothing to do"
    assert host.check(["cat", layout.SSHD]) == host.check([COPY, "show", "sshd-config"])

    host.write(layout.FORMER_SSHD, "# edited\n")
    edited = f"kept: {layout.FORMER_SSHD}: it was edited"
    lines = fresh.says("install", "--sshd", "--yes")
    assert any(line.startswith(edited) for line in lines)
    assert host.check(["cat", layout.FORMER_SSHD]) == "# edited\n"


def test_rule_for_sudo(fresh: Machine) -> None:
    """A rule is written when the configuration needs one, and taken back if sudo does not obey."""
    host = fresh.host
    lines = fresh.says("install", "--yes")
    assert [line for line in lines if line.startswith("sudo: no rule for sudo is needed")]
    # What else was asked for is done.
    assert "no rule for sudo is needed" in fresh.refuses("install", "--sshd", "--sudo", "--yes")
    assert fresh.exists(layout.SSHD)
    host.write(
        layout.CONFIGURATION,
        "acme-zone: acme.example.org\ncertbot-command: /usr/bin/sudo -n /usr/bin/certbot\n",
    )
    shown = fresh.says("install")
    assert f"not written without --sudo: {layout.SUDOERS} (0440):" in shown
    host.check(["sed", "-i.bak", "/^@includedir/d", "/etc/sudoers"])
    assert "sudo does not read this folder" in fresh.refuses("install", "--sudo", "--yes")
    assert not fresh.exists(layout.SUDOERS)
    host.check(["sh", "-c", "echo nonsense >>/etc/sudoers"])
    assert "sudo's configuration already has an error" in fresh.refuses(
        "install", "--sudo", "--yes"
    )
    assert not fresh.exists(layout.SUDOERS)
    host.check(["mv", "/etc/sudoers.bak", "/etc/sudoers"])
    assert f"write {layout.SUDOERS} (0440)" in fresh.says("install", "--sudo", "--yes")
    assert fresh.says("install", "--sudo", "--yes")[-1] == "nothing to do"
    host.check(["visudo", "-c"])
    listed = host.check(["sudo", "-l", "-U", "certgrinderd"])
    assert f"--manual-auth-hook {layout.HOOKS}/manual-auth-hook\\.sh" in listed
    # It goes with the configuration.
    host.check(["sed", "-i", "s/acme.example.org/acme.example.net/", layout.CONFIGURATION])
    assert f"replace {layout.SUDOERS} (0440)" in fresh.says("install", "--sudo", "--yes")
    fresh.says("uninstall", "--yes")
    assert not fresh.exists(layout.SUDOERS)


MAN = "/usr/local/share/man/man8"
FAILURES = (
    (
        "mv /usr/sbin/useradd /usr/sbin/useradd.away",
        "mv /usr/sbin/useradd.away /usr/sbin/useradd",
        "cannot create the user certgrinderd, without a password: there is no useradd on this host",
        2,
    ),
    (
        "mount --bind -o ro /etc /etc",
        "umount /etc",
        "cannot create the user certgrinderd, without a password: useradd ended with exit status 1",
        2,
    ),
    (
        f"mkdir -p {MAN} && mount -t tmpfs -o size=4k tmpfs {MAN}",
        f"umount {MAN} && rmdir {MAN}",
        f"cannot write {MAN}/certgrinderd.8 (0644): No space left on device",
        5,
    ),
)


def test_failure_in_the_middle_is_one_line_and_the_next_run_goes_on(fresh: Machine) -> None:
    """What was done is told, nothing half written is left, and the next run does the rest."""
    told: list[str] = []
    for breaks, mends, reason, status in FAILURES:
        fresh.host.check(["sh", "-c", breaks])
        done = fresh.command("install", "--yes")
        log = done.stderr.decode()
        pattern = f"{LOG_LINE}{re.escape(reason)}[^\n]*; ([0-9]+) of [^\n]* run it again to go on\n"
        found = re.fullmatch(pattern, log)
        assert found, log
        steps = done.stdout.decode().splitlines()
        assert (done.returncode, int(found[1])) == (status, len(steps))
        told += steps
        if status == 5:
            assert fresh.host.check(["ls", "-A", MAN]) == ""
        fresh.host.check(["sh", "-c", mends])
    told += fresh.says("install", "--yes")
    assert fresh.says("install")[-1] == "nothing to do"
    # Each thing was made once, but for the list of them.
    made = [line for line in told if line.startswith(("create ", "write ")) and MAN not in line]
    assert len(made) == len(set(made))
    fresh.says("uninstall", "--yes")
    assert listing(fresh.host) == fresh.fresh


def test_client_installs_nothing(fresh: Machine) -> None:
    """The commands are for admins alone; and only the one file has what they need."""
    for command in ("install", "uninstall"):
        done = fresh.host.run([COPY], env={"SSH_ORIGINAL_COMMAND": f"{command} --yes"})
        assert done.returncode == 3
        from_checkout = run(command, "--yes")
        assert from_checkout.returncode == 2
        assert b"is installed as a package, not as certgrinderd.pyz" in from_checkout.stderr
    assert listing(fresh.host) == fresh.fresh
