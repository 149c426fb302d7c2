"""What we say about lines of authorized_keys is what the real sshd does with them."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certgrinderd.setup.clients import findings
from certgrinderd.setup.clients.line import LineIgnored, parse_line
from tests.testbed.host import Host
from tests.testbed.server import (
    MissingProgramError,
    clean_environment,
    find_program,
    free_port,
    wait_until,
)
from tests.testbed.sshd import Client, Sshd

ROOT = Path(__file__).resolve().parents[2]
PYZ = "/usr/local/bin/certgrinderd.pyz"
KEYS = "/etc/certgrinderd/authorized_keys"
DROP_IN = "/etc/ssh/sshd_config.d/00-certgrinderd.conf"
MATCH = "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\nMatch User certgrinderd\n"
ENVIRONMENT = 'environment="CERTGRINDERD_DOMAINSETS=a.example,xn--plse-gra.example;b.example"'


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOegnR+qnK2FEoaSrVwHgCIxjFkVEbW4VO31/Hd2mAwk c.example"
CONFIGURATION = "/etc/certgrinderd/certgrinderd.conf"
COMMAND = f'command="{PYZ} --config-file {CONFIGURATION}"'
LINE = f"restrict,{ENVIRONMENT},{COMMAND} {KEY}"


class KeyHolder:
    """A client whose line in authorized_keys a test writes.

    Attributes:
        public_key: Its public key, with a comment.
        key_file: Its private key; the public one is beside it.
    """

    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd
        self.key_file, self.public_key = sshd._new_key()
        self._client = Client(self.key_file, sshd._ssh_arguments(self.key_file))

    def run(self, lines: str, words: str = "x") -> subprocess.CompletedProcess[bytes]:
        """Log in with this as the whole file."""
        (self._sshd.directory / "authorized_keys").write_text(lines, "utf-8")
        return self._client.run(words)


@pytest.fixture(scope="module")
def client() -> Iterator[KeyHolder]:
    """One client of an sshd whose authorized_keys nobody else needs."""
    try:
        sshd = Sshd()
    except MissingProgramError as error:
        pytest.skip(str(error))
    with sshd:
        yield KeyHolder(sshd)


@pytest.mark.parametrize(
    "before",
    [
        "",
        " \t",
        "restrict",
        "RESTRICT,Pty,no-pty",
        "restrict,",
        ",restrict",
        "restrict, pty",
        "restrict,,pty",
        "restrict;pty",
        "restrict ,pty",
        "restrct",
        "no-restrict",
        "no-cert-authority",
        "restrict=x",
        'restrict="x"',
        "x11-forwarding,X11-Forwarding,agent-forwarding,user-rc,port-forwarding",
        "touch-required,no-touch-required,verify-required",
        "command",
        "command=",
        "command=/bin/true",
        "command='/bin/true'",
        'command="/bin/true"',
        'command="/bin/true',
        'command="/bin/echo \\"a b\\" \\\\"',
        'command="/bin/true \\" x"',
        'command="/bin/true"x',
        'command="/bin/true" ,pty',
        'command="/bin/true",command="/bin/true"',
        'environment="A=b",environment="A=c"',
        'environment="A"',
        'environment="A-B=c"',
        'environment="=c"',
        'environment="A="',
        "environment=A=b",
        'from="127.0.0.0/8,::1"',
        'from="127.0.0.1",from="127.0.0.1"',
        'expiry-time="20990101"',
        'expiry-time="209901012359Z"',
        'expiry-time="2099"',
        'expiry-time="soon"',
        'principals="x"',
        'permitopen="localhost:80",permitlisten="8080"',
        'tunnel="1"',
        "ssh-rsa",
        "# restrict",
    ],
)
def test_sshd_ignores_the_lines_that_we_say(client: KeyHolder, before: str) -> None:
    """And no others."""
    line = f"{before} {client.public_key}"
    try:
        expected = parse_line(line) is not None
    except LineIgnored:
        expected = False
    done = client.run(f"{line}\n")
    refused = b"Permission denied" in done.stderr
    assert refused != expected, done.stderr


def test_ssh_keygen_reads_the_keys_that_we_read(tmp_path: Path) -> None:
    """Keys of all types, whole and with a character changed, taken out or put in at some place."""
    keygen = find_program("ssh-keygen")
    chance = random.Random(1)  # noqa: S311 - the same keys each time it fails
    texts = []
    for kind, bits in (("ed25519", 256), ("rsa", 2048), ("ecdsa", 256), ("ecdsa", 521)):
        file = tmp_path / f"{kind}{bits}"
        make = [keygen, "-q", "-t", kind, "-b", str(bits), "-N", "", "-f", str(file)]
        subprocess.run(make, env=clean_environment(), check=True)
        text = " ".join(file.with_suffix(".pub").read_text("ascii").split()[:2])
        texts.append(text)
        for _ in range(60):
            place = chance.randrange(len(text))
            new = chance.choice(["", "A", "/", "=", "-", "é", text[place : place + 4]])
            texts.append(text[:place] + new + text[place + chance.randrange(2) :])
    lines = [f"{text} comment-{number}\n" for number, text in enumerate(texts)]
    (tmp_path / "keys").write_text("".join(lines), "utf-8")

    done = subprocess.run(
        [keygen, "-l", "-f", tmp_path / "keys"], env=clean_environment(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    theirs = {tuple(line.split()[1:3]) for line in done.stdout.splitlines()}
    ours = set()
    for line in lines:
        try:
            read = parse_line(line)
        except LineIgnored:
            continue
        assert read is not None
        ours.add((read.key.fingerprint, read.key.comment))
    assert ours == theirs
    assert 4 <= len(ours) < len(lines)


@pytest.mark.parametrize(
    "form", ["", "--pass-words", "--environment", "--environment --pass-words"]
)
def test_client_comes_in_by_the_line_that_we_show(
    client: KeyHolder, pyz: Path, tmp_path: Path, form: str
) -> None:
    """The domainsets arrive whole, blanks in the path too, and the client's words as well."""
    configuration = tmp_path / "a folder" / "it's.conf"
    configuration.parent.mkdir()
    configuration.write_text("max-names: 7\n", "utf-8")
    command = [str(pyz), "-c", str(configuration), "show", "authorized-keys", *form.split()]
    shown = subprocess.run(
        [*command, "--from=127.0.0.0/8,::1", "--domainsets=b.example;A.example,pølse.example"],
        input=client.public_key.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    assert shown.startswith('restrict,from="127.0.0.0/8,::1",')
    assert shown.endswith(f" {client.public_key}\n")

    answer = client.run(shown, "show configuration").stdout.decode()
    assert "domainsets: [b.example, 'a.example,xn--plse-gra.example']\n" in answer
    assert "max-names: 7\n" in answer
    elsewhere = shown.replace("127.0.0.0/8,::1", "192.0.2.0/24")
    assert b"Permission denied" in client.run(elsewhere, "show configuration").stderr

    assert findings.check(shown).findings == ()


@pytest.fixture(scope="module")
def server(host: Host, pyz: Path) -> Host:
    """A host with certgrinderd and an sshd_config that is nobody's."""
    find_program("sshd")
    host.write(PYZ, pyz.read_bytes(), mode=0o755)
    host.check(["ssh-keygen", "-qA"])
    included = "Include /etc/ssh/sshd_config.d/*.conf\n"
    host.write("/etc/ssh/sshd_config", f"{included}AuthorizedKeysFile {KEYS}\n")
    host.add_user("certgrinderd")
    host.check(["chown", "root:root", "/home/certgrinderd"])
    host.check([PYZ, "cache", "--prepare"])
    host.write(KEYS, f"{LINE}\n")
    return host


def check(server: Host, *words: str, user: str | None = None) -> tuple[int, str]:
    """Run the check; return its status and what it logs, without dates."""
    done = server.run([PYZ, "check", "authorized-keys", *(words or [KEYS])], user=user)
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    return done.returncode, "\n".join(line.split(" certgrinderd ", 1)[1] for line in lines)


@pytest.mark.parametrize(
    ("drop_in", "finding"),
    [
        ("", "line 1 uses environment=, which sshd ignores since PermitUserEnvironment is no"),
        ("PermitUserEnvironment LANG", "PermitUserEnvironment is LANG"),
        ("PermitUserEnvironment yes", "PermitUserEnvironment is yes"),
        (
            "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\nAcceptEnv CERT*",
            "AcceptEnv lets clients set CERTGRINDERD_DOMAINSETS",
        ),
        (
            f"{MATCH}SetEnv CERTGRINDERD_DOMAINSETS=evil.example",
            "SetEnv CERTGRINDERD_DOMAINSETS gives all clients the same",
        ),
        (
            f"{MATCH}ForceCommand /bin/true",
            "ForceCommand overrides",
        ),
    ],
)
def test_settings_of_sshd_are_looked_at(server: Host, drop_in: str, finding: str) -> None:
    """Those in force for the user, by the real `sshd -T`; and with the right ones all is well."""
    server.write(DROP_IN, f"{drop_in}\n")
    status, log = check(server)
    assert status == 2
    assert f"ERROR {KEYS}: sshd: " in log
    assert finding in log
    assert log.splitlines()[-1] == f"ERROR {KEYS}: 1 finding, see above"

    server.write(DROP_IN, "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\n")
    assert check(server) == (0, f"INFO {KEYS}: all well with 1 client")


def test_settings_of_another_user_do_not_matter(server: Host) -> None:
    """A Match block is for those that it names; --user says who clients log in as."""
    server.write(
        DROP_IN,
        "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\nMatch User other\nForceCommand /bin/true\n",
    )
    assert check(server)[0] == 0
    words = [PYZ, "check", "authorized-keys", "--user", "other", KEYS]
    assert b"ForceCommand overrides" in server.run(words).stderr


def test_what_is_not_looked_at_is_said(server: Host) -> None:
    """When sshd can't say what is in force, and when only root may ask it."""
    server.write(DROP_IN, "PermitUserEnvironment yes\n")
    status, log = check(server, user="certgrinderd")
    assert status == 0
    assert "INFO not checked: sshd's settings, and who owns the file, since" in log
    assert log.splitlines()[-1] == f"INFO {KEYS}: all well in its lines, with 1 client"

    server.write(DROP_IN, "NoSuchSetting x\n")
    status, log = check(server)
    assert status == 0
    assert "WARNING not checked: sshd's settings, and who owns the file: sshd ended" in log
    assert "NoSuchSetting" in log


def test_file_without_clients_passes(server: Host) -> None:
    """As `validate:` of a template whose last client has gone."""
    server.write(DROP_IN, "")
    for text in ("", "# nobody\n"):
        server.write("/run/keys", text)
        done = server.run([PYZ, "check", "authorized-keys", "/run/keys"])
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
    server.write("/run/keys", "nobody\n")
    assert server.run([PYZ, "check", "authorized-keys", "/run/keys"]).returncode == 2


GOOD_DROP_IN = "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\n"
FOLDER = "/etc/certgrinderd"


Run = Callable[..., subprocess.CompletedProcess[bytes]]
TARGET = ("certgrinderd@127.0.0.1", "--")


def new_key(folder: Path) -> Path:
    """Make a client's key."""
    key = folder / "key"
    make = [find_program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True)
    return key


@contextlib.contextmanager
def running_sshd(server: Host, key: Path) -> Iterator[Run]:
    """Run an sshd on the host, and yield what runs ssh with a key that it lets in."""
    port = free_port()
    ssh = [
        *(find_program("ssh"), "-F", "none", "-T", "-i", str(key), "-p", str(port)),
        *("-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={key}.known"),
        *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes"),
    ]

    def run(*words: str) -> subprocess.CompletedProcess[bytes]:
        command = [*ssh, *words]
        return subprocess.run(
            command, capture_output=True, timeout=60, check=False, env=clean_environment()
        )

    options = ("-o", "ListenAddress=127.0.0.1", "-o", f"PidFile=/run/sshd-{port}.pid")
    with server.popen(["/usr/sbin/sshd", "-D", "-e", "-p", str(port), *options]) as sshd:
        try:
            wait_until(
                lambda: run(*TARGET, "ping").stdout == b"pong\n",
                timeout=60,
                what="a client is let in",
            )
            yield run
        finally:
            server.check(["sh", "-c", f"kill $(cat /run/sshd-{port}.pid)"])
            sshd.communicate(timeout=30)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The key of one more client, and a file that lets it in."""
    key = new_key(tmp_path_factory.mktemp("login"))
    public = key.with_suffix(".pub").read_text("ascii")
    return key, f"{LINE}\nrestrict,{ENVIRONMENT},{COMMAND} {public}"


@pytest.fixture(scope="module")
def login(server: Host, lines: tuple[Path, str]) -> Iterator[Run]:
    """What runs ssh for that client."""
    server.write(DROP_IN, GOOD_DROP_IN)
    server.write(KEYS, lines[1])
    with running_sshd(server, lines[0]) as run:
        yield run


@pytest.mark.parametrize(
    ("script", "finding", "gets_in"),
    [
        (f"chmod 600 {KEYS}", f"certgrinderd cannot read {KEYS} (mode 600)", False),
        (f"chmod 666 {KEYS}", f"others than root can write to {KEYS} (mode 666)", False),
        (f"chmod 1777 {FOLDER}", f"others than root can write to {FOLDER} (mode 1777)", False),
        (f"chmod 700 {FOLDER}", f"certgrinderd cannot enter {FOLDER} (mode 700)", False),
        (f"chown nobody {KEYS}", f"{KEYS} belongs to nobody", False),
        (f"chown certgrinderd {KEYS}", f"{KEYS} belongs to certgrinderd, who could let any", True),
        (f"chown certgrinderd {FOLDER}", f"{FOLDER} belongs to certgrinderd, who could let", True),
        (f"ln -s {KEYS}.real {KEYS}; chown -h nobody {KEYS}", f"{KEYS} belongs to nobody", True),
    ],
)
def test_file_that_sshd_does_not_use_or_others_can_change(
    server: Host, login: Run, lines: tuple[Path, str], script: str, finding: str, *, gets_in: bool
) -> None:
    """Whose it is, and the folders above it; the real sshd agrees on who gets in."""
    server.write(DROP_IN, GOOD_DROP_IN)
    server.write(f"{KEYS}.real", lines[1])
    fresh = f"chmod 755 {FOLDER}; chown root {FOLDER}; rm -f {KEYS}"
    place = f"cp {KEYS}.real {KEYS}"
    server.check(["sh", "-c", f"{fresh}; {place if 'ln -s' not in script else ':'}; {script}"])
    status, log = check(server)
    assert (login(*TARGET, "ping").stdout == b"pong\n") == gets_in
    assert status == 2
    assert log.startswith(f"ERROR {KEYS}: {finding}")
    assert log.splitlines()[-1] == f"ERROR {KEYS}: 1 finding, see above"

    right = f"{fresh}; {place}; chgrp certgrinderd {KEYS}; chmod 640 {KEYS}"
    server.check(["sh", "-c", right])
    assert check(server) == (0, f"INFO {KEYS}: all well with 2 clients")
    server.write(KEYS, f"{LINE}\n")


def test_without_a_file_the_one_that_sshd_reads_is_checked(server: Host) -> None:
    """Which is how a drop-in that is not in force is found; whoever can't ask must name one."""
    server.write(DROP_IN, GOOD_DROP_IN)
    assert check(server, "--user", "certgrinderd") == (0, f"INFO {KEYS}: all well with 1 client")
    server.check(["usermod", "--shell", "/usr/sbin/nologin", "certgrinderd"])
    status, log = check(server)
    assert status == 2
    assert "ERROR the user certgrinderd has no real shell" in log
    server.check(["usermod", "--shell", "/bin/sh", "certgrinderd"])
    server.write(DROP_IN, f"{GOOD_DROP_IN}AuthorizedKeysFile .ssh/authorized_keys %h/two\n")
    status, log = check(server, "--user", "certgrinderd")
    assert status == 2
    home = "/home/certgrinderd"
    assert log.startswith(f"ERROR sshd reads {home}/.ssh/authorized_keys and {home}/two for certg")
    server.write(f"{home}/two", LINE.replace("restrict,", ""))
    status, log = check(server, "--user", "certgrinderd")
    assert status == 2
    assert f"ERROR {home}/two: line 1 (c.example): restrict is missing" in log
    server.check(["rm", f"{home}/two"])
    status, log = check(server, "--user", "certgrinderd", user="certgrinderd")
    assert status == 2
    assert "FILE is missing: for certgrinderd, sshd does not say" in log
    status, log = check(server, "--user", "nobody2")
    assert status == 2
    assert "--user: there is no user nobody2" in log


def test_copy_counts_by_its_lines(server: Host) -> None:
    """As Ansible's validate: has it: of another owner, in another place, with another mode."""
    server.write(DROP_IN, GOOD_DROP_IN)
    for text, status in ((LINE, 0), ("", 0), (LINE.replace("restrict,", ""), 2)):
        server.write("/var/ansible/copy", text, mode=0o600)
        server.check(["chown", "-R", "nobody", "/var/ansible"])
        found, log = check(server, "/var/ansible/copy")
        assert found == status
        assert f"WARNING /var/ansible/copy: for certgrinderd sshd reads {KEYS}, not this" in log
        assert "all well with" not in log


def test_what_beats_the_lines_environment_is_found(server: Host) -> None:
    """Since sshd reads ~/.ssh/environment too, where it takes environment=."""
    home = "/home/certgrinderd"
    server.write(DROP_IN, GOOD_DROP_IN)
    server.check(["chown", "certgrinderd", home])
    status, log = check(server)
    assert status == 2
    assert (
        f"certgrinderd can change {home}, and {home}/.ssh/environment in it would override" in log
    )
    server.check(["chown", "root", home])
    server.write(f"{home}/.ssh/environment", "CERTGRINDERD_DOMAINSETS=all.example\n")
    status, log = check(server)
    assert status == 2
    assert f"{home}/.ssh/environment exists and overrides environment=: remove it" in log
    server.check(["rm", "-r", f"{home}/.ssh"])
    assert check(server)[0] == 0
    # Where the domainsets are in the command, nothing is taken from there.
    server.check(["chown", "certgrinderd", home])
    command = f'command="{PYZ} --config-file /etc/c.conf --domainsets a.example"'
    server.write(KEYS, f"restrict,{command} {KEY}\n")
    assert check(server)[0] == 0
    server.check(["chown", "root", home])
    server.write(KEYS, f"{LINE}\n")


def test_file_that_is_not_there_or_no_file(server: Host) -> None:
    """One line, and no waiting for a FIFO."""
    server.check(["mkfifo", "/run/fifo"])
    for path, reason in (("/run/none", b"cannot read"), ("/run/fifo", b"not a plain file")):
        done = server.run([PYZ, "check", "authorized-keys", path], timeout=20)
        assert (done.returncode, done.stdout) == (2, b"")
        assert reason in done.stderr
        assert done.stderr.count(b"\n") == 1


def documented(page: str, *holding: str) -> list[str]:
    """The indented blocks of a page under docs/ that hold these words, one for each."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return [textwrap.dedent(next(block for block in blocks if word in block)) for word in holding]


def test_documented_setup_lets_a_client_in(server: Host, tmp_path: Path) -> None:
    """User, folders, drop-in and line as docs/ssh.md has them; and what it says must not work."""
    drop_in, user, folders, unpacked = documented(
        "ssh.md", "Match User", "useradd", "-m 0755 /var/lib", ".cache"
    )
    server.check(["userdel", "certgrinderd"])
    key = new_key(tmp_path)
    server.write(CONFIGURATION, "acme-zone: acme.example\n")
    words = ("--domainsets", "a.example", "--from", "127.0.0.1")
    line = server.run(
        [PYZ, "-c", CONFIGURATION, "show", "authorized-keys", *words],
        stdin=key.with_suffix(".pub").read_bytes(),
    )
    server.write("/root/authorized_keys", line.stdout)
    server.write(DROP_IN, drop_in)
    server.check(["sh", "-ec", f"cd /root\n{user}\n{folders}\n{unpacked}"])
    assert check(server) == (0, f"INFO {KEYS}: all well with 1 client")
    server.check(["sshd", "-t"])

    with running_sshd(server, key) as client:
        assert b"domainsets: [a.example]" in client(*TARGET, "show", "configuration").stdout
        assert client(*TARGET, "id").returncode == 3
        assert client(*TARGET, "show", "sudoers").returncode == 3
        forwarded = client("-N", "-R", f"{free_port()}:localhost:22", "certgrinderd@127.0.0.1")
        assert forwarded.returncode == 255
        assert b"remote port forwarding failed" in forwarded.stderr
        assert b"(client 127.0.0.1, key SHA256:" in client(*TARGET, "id").stderr
