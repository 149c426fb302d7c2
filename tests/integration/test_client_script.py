"""contrib/certgrinder.sh: a certificate without Python, by dash and by busybox alone."""

from __future__ import annotations

import os
import re
import shlex
import signal
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.testbed.authority import DAY, Party, issue, key_usage, make_ca, new_key, now, tlv
from tests.testbed.machine import SCRIPT, SHELLS, Machine, path_of, stand_in_for_libressl
from tests.testbed.named import Named
from tests.testbed.pebble import Pebble
from tests.testbed.server import find_program, wait_until
from tests.testbed.service import Service
from tests.testbed.sshd import Client, Sshd

CLIENTS = (SCRIPT.parents[1] / "docs/clients.md").read_text(encoding="utf-8")
NAME = "www.script.example.test"


# For what either shell does alike, if it does the rest alike: the other one is thorough.
IN_DASH, IN_BUSYBOX = (
    pytest.mark.parametrize(
        "shell", [shell, pytest.param(other, marks=pytest.mark.thorough)], indirect=True
    )
    for shell, other in (("dash", "busybox"), ("busybox", "dash"))
)


@pytest.fixture(scope="module", params=SHELLS)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str]:
    """A shell, and the PATH that goes with it."""
    return path_of(request.param, tmp_path_factory.mktemp("bin"))


def pair(machine: Machine, file: str = NAME) -> tuple[object, list[x509.Certificate]]:
    """The key and the chain of a machine, which belong together and are nobody else's to read."""
    key_file, chain_file = (machine.folder / f"{file}.{kind}" for kind in ("key", "pem"))
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    chain = x509.load_pem_x509_certificates(chain_file.read_bytes())
    assert chain[0].public_key() == key.public_key()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (key_file, chain_file)]
    assert modes == [0o600, 0o644]
    return key, chain


def names_of(certificate: x509.Certificate) -> set[str]:
    """Its host names."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(found.value.get_values_for_type(x509.DNSName))


def assert_silent(done: subprocess.CompletedProcess[str]) -> None:
    """All is well, and nothing is said."""
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# With the real server.


@pytest.fixture
def real(shell: tuple[str, str], builtin: Service, named: Named, tmp_path: Path) -> Machine:
    """A machine whose server asks a real CA."""
    names = [NAME, f"other.{NAME}"]
    named.delegate(*names)
    client = builtin.add_client(",".join([*names, f"*.{NAME}"]))
    return Machine(tmp_path / "certificates", client, *shell)


def test_first_certificate_and_renewal(real: Machine, calm_pebble: Pebble) -> None:
    """It is made, left alone while it is good, and renewed when it is not, with the same key."""
    root = real.folder.parent / "root.pem"
    root.write_text(calm_pebble.root(), encoding="ascii")
    told = real.folder.parent / "told"
    reload = f'printf "%s\\n" "$CERTGRINDER_KEY" "$CERTGRINDER_CHAIN" >>{told}'
    words = (NAME.upper(), f"*.{NAME}", "--ca-file", str(root), "--reload", reload)

    assert_silent(real.run(*words))
    key, (leaf, *_) = pair(real)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert names_of(leaf) == {NAME, f"*.{NAME}"}
    assert set(real.files()) == {f"{NAME}.key", f"{NAME}.pem"}
    paths = [str(real.folder / f"{NAME}.{kind}") for kind in ("key", "pem")]
    assert told.read_text(encoding="utf-8").splitlines() == paths

    before = real.files()
    assert_silent(real.run(*words))
    assert real.files() == before
    assert len(told.read_text(encoding="utf-8").splitlines()) == 2

    assert_silent(real.run(*words, "--force"))
    assert real.files()[f"{NAME}.key"] == before[f"{NAME}.key"]
    assert pair(real)[1][0].serial_number != leaf.serial_number


@IN_DASH
def test_what_else_makes_it_ask(real: Machine) -> None:
    """Other names, another kind of key, a new key on demand, a damaged file."""
    assert_silent(real.run(NAME))
    first, _ = pair(real)
    assert_silent(real.run(NAME, f"other.{NAME}"))
    second, (leaf, *_) = pair(real)
    assert names_of(leaf) == {NAME, f"other.{NAME}"}
    assert isinstance(first, ec.EllipticCurvePrivateKey)
    assert isinstance(second, ec.EllipticCurvePrivateKey)
    assert second.private_numbers() == first.private_numbers()

    assert_silent(real.run(NAME, f"other.{NAME}", "--key-type", "rsa"))
    third, _ = pair(real)
    assert isinstance(third, rsa.RSAPrivateKey)
    assert third.key_size == 2048
    real.write(f"{NAME}.pem", real.files()[f"{NAME}.pem"][:300])
    assert_silent(real.run(NAME, f"other.{NAME}", "--new-key"))
    fourth, _ = pair(real)
    assert isinstance(fourth, rsa.RSAPrivateKey) is False
    before = real.files()
    assert_silent(real.run(NAME, f"other.{NAME}", "--new-key"))
    assert real.files() == before


@IN_BUSYBOX
def test_configuration_file(real: Machine) -> None:
    """It holds the options; what comes later on the command line wins."""
    config = real.folder.parent / "certgrinder.conf"
    config.write_text(
        f"# our web server\n\nname {NAME} *.{NAME}\nname other.{NAME}\nfile web\n"
        f"key-type rsa\nnew-key\nreload echo reloaded\nverbose",
        encoding="utf-8",
    )
    done = real.run("--config", str(config), "--key-type=ecdsa")
    assert done.returncode == 0, done.stderr
    assert "certgrinder.sh: web: has a new certificate\n" in done.stdout
    assert "\nreloaded\n" in done.stdout
    assert " certgrinderd INFO got a certificate for " in done.stderr
    key, (leaf, *_) = pair(real, "web")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert names_of(leaf) == {NAME, f"*.{NAME}", f"other.{NAME}"}


@IN_BUSYBOX
def test_server_refuses(real: Machine) -> None:
    """Status 3, with the server's reason, and no key left behind; the nearest request is served."""
    done = real.run(NAME, "foreign.example.test")
    assert (done.returncode, done.stdout) == (3, "")
    assert "foreign.example.test" in done.stderr
    assert re.search(r"^certgrinder\.sh: .* refuses the request$", done.stderr, re.MULTILINE)
    assert real.files() == {}
    assert_silent(real.run(NAME))


@IN_DASH
def test_ca_is_down(real: Machine, builtin: Service, calm_pebble: Pebble) -> None:
    """The server's statuses 4 and 5 are told apart; the next run gets the certificate."""
    builtin.configure(acme_server_url="https://127.0.0.1:1/dir")
    assert real.run(NAME).returncode == 5
    builtin.configure(acme_server_url=calm_pebble.directory_url, acme_zone=None, web_root=None)
    assert real.run(NAME).returncode == 4
    assert real.files() == {}


# With a server that misbehaves.


@dataclass
class Liar:
    """A server that answers as told, and a machine that has a key and a good certificate.

    Attributes:
        machine: The machine.
        ca: What its answers are signed by.
        party: The machine's key and certificate.
        answer: The file that the server prints.
        script: The file with the commands that it runs, which may say something else.
        old: The machine's files before.
    """

    machine: Machine
    ca: Party
    party: Party
    answer: Path
    script: Path
    old: dict[str, bytes]

    def says(self, *certificates: Party | bytes) -> None:
        """Print this from now on."""
        parts = [each.pem if isinstance(each, Party) else each for each in certificates]
        self.answer.write_bytes(b"".join(parts))

    def does(self, command: str) -> None:
        """Run this from now on, once it has read the request."""
        self.script.write_text(f"cat >/dev/null\n{command}\n", encoding="utf-8")

    def renewal(self) -> Party:
        """A new certificate for the machine's key."""
        return issue(self.ca, NAME, key=self.party.key)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask for a new certificate."""
        return self.machine.run(NAME, "--force", *words)

    def assert_refused(self, status: int, pattern: str, *words: str) -> None:
        """The run ends so, and all files are as they were; then a good answer is taken."""
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert re.search(pattern, done.stderr), done.stderr
        assert self.machine.files() == self.old
        self.does(f"cat {self.answer}")
        self.says(self.renewal(), self.ca)
        assert_silent(self.run())
        assert self.machine.files()[f"{NAME}.pem"] == self.answer.read_bytes()


@pytest.fixture
def liar(shell: tuple[str, str], sshd: Sshd, tmp_path: Path) -> Liar:
    """Both."""
    ca = make_ca()
    party = issue(ca, NAME)
    folder = tmp_path / "certificates"
    folder.mkdir()
    script, answer = tmp_path / "script", tmp_path / "answer"
    client: Client = sshd.add_client(command=shlex.join(["sh", str(script)]))
    machine = Machine(folder, client, *shell)
    machine.write(f"{NAME}.key", party.key_pem)
    machine.write(f"{NAME}.pem", party.pem + ca.pem)
    made = Liar(machine, ca, party, answer, script, machine.files())
    made.does(f"cat {answer}")
    return made


def test_text_around_certificates_is_dropped(liar: Liar) -> None:
    """As the answer's contract says; the file holds the chain and nothing else."""
    new = liar.renewal()
    liar.says(b"Welcome!\n", new, b"-----BEGIN X509 CRL-----\nAAAA\n", liar.ca, b"Bye!\n")
    assert_silent(liar.run())
    assert liar.machine.files()[f"{NAME}.pem"] == new.pem + liar.ca.pem


def wrong_answers(liar: Liar) -> dict[str, tuple[str, Sequence[Party | bytes]]]:
    """By kind: what is said about it, and the answer."""
    stranger = make_ca()  # of the same name, with another key
    key = liar.party.key
    good = liar.renewal()
    address = issue(liar.ca, names=[NAME, x509.RFC822Name(f"root@{NAME}")], key=key)
    return {
        "nothing": ("there is no certificate in it", [b""]),
        "text": ("there is no certificate in it", [b"pong\n"]),
        "another key": ("it is for another key", [issue(liar.ca, NAME), liar.ca]),
        "a name more": (
            "it is for other names",
            [issue(liar.ca, names=[NAME, "evil.example.test"], key=key), liar.ca],
        ),
        "another name": ("it is for other names", [issue(liar.ca, "a.test", key=key), liar.ca]),
        "an address more": ("it is for other names", [address, liar.ca]),
        "no names": ("it is for other names", [issue(liar.ca, NAME, names=[], key=key), liar.ca]),
        "cut off in the issuer": ("certificate 2 of 2 is broken", [good, liar.ca.pem[:200]]),
        "cut off in the leaf": ("certificate 1 of 1 is broken", [good.pem[:200]]),
        "cut off before the issuer": ("the issuer's certificate is missing", [good]),
        "issuer with another key": ("certificate 2 is not the issuer", [good, stranger]),
        "signed by a leaf": ("certificate 2 is not the issuer", [issue(good, NAME, key=key), good]),
        "issuer first": ("it is for another key", [liar.ca, good]),
        "issuer that has expired": (
            "certificate 2 is not the issuer",
            [good, make_ca(key=liar.ca.key, valid=(now() - 10 * DAY, now() - DAY))],
        ),
        "not valid yet": (
            "it is not valid yet; is this machine's clock right",
            [issue(liar.ca, NAME, key=key, valid=(now() + DAY, now() + 30 * DAY)), liar.ca],
        ),
        "expired": (
            "it has expired",
            [issue(liar.ca, NAME, key=key, valid=(now() - 9 * DAY, now() - DAY)), liar.ca],
        ),
        "old": (
            "it is due for renewal already: 9 of 30 days are left",
            [issue(liar.ca, NAME, key=key, valid=(now() - 20 * DAY, now() + 10 * DAY)), liar.ca],
        ),
    }


# OpenSSL checks a chain by verify -partial_chain, which LibreSSL lacks.
OPENSSL = pytest.mark.parametrize("library", ["OpenSSL", "LibreSSL"])


def use_library(machine: Machine, library: str) -> None:
    """Let the machine have the openssl of that library, or what stands in for it."""
    if library == "LibreSSL":
        folder = stand_in_for_libressl(machine.folder.parent / "libressl")
        machine.path = f"{folder}{os.pathsep}{machine.path}"


@IN_BUSYBOX
@OPENSSL
def test_wrong_answers(liar: Liar, library: str) -> None:
    """Each is named, ends with status 6 and changes nothing; the nearest right one is taken."""
    use_library(liar.machine, library)
    for kind, (reason, answer) in wrong_answers(liar).items():
        liar.says(*answer)
        done = liar.run()
        assert (kind, done.returncode, done.stdout) == (kind, 6, ""), done.stderr
        assert f"the answer is wrong: {reason}" in done.stderr, kind
        assert liar.machine.files() == liar.old, kind
    liar.says(liar.renewal(), liar.ca)
    assert_silent(liar.run())


@IN_DASH
def test_staging_keeps_nothing(liar: Liar) -> None:
    """It asks the CA for tests, looks at the answer, and leaves all files as they are."""
    liar.does(
        f'case " $SSH_ORIGINAL_COMMAND " in *" --staging get certificate ") cat {liar.answer} ;; '
        "*) exit 3 ;; esac"
    )
    liar.says(liar.renewal(), liar.ca)
    words = (NAME, "--staging", "--new-key", "--reload", "exit 1")
    done = liar.machine.run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"certgrinder.sh: {NAME}: the answer is right; nothing was changed\n"
    assert liar.machine.files() == liar.old
    assert liar.machine.run("other.test", *words).returncode == 6
    assert liar.run().returncode == 3
    assert liar.machine.files() == liar.old


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
@IN_BUSYBOX
@OPENSSL
def test_long_chain(liar: Liar, library: str, kind: Literal["ecdsa", "rsa"]) -> None:
    """Of intermediates with keys of either kind, without a root; each link is checked."""
    use_library(liar.machine, library)
    middle = make_intermediate(liar.ca, "Middle", kind)
    low = make_intermediate(middle, "Low", kind)
    other = make_intermediate(liar.ca, "Middle", kind)
    new = issue(low, NAME, key=liar.party.key)
    liar.says(new, low, other)
    assert "certificate 3 is not the issuer of the one before it" in liar.run().stderr
    assert liar.machine.files() == liar.old
    liar.says(new, low, middle)
    assert_silent(liar.run())
    assert liar.machine.files()[f"{NAME}.pem"] == new.pem + low.pem + middle.pem


def make_intermediate(issuer: Party, name: str, kind: Literal["ecdsa", "rsa"]) -> Party:
    """A CA below another one."""
    usage = key_usage(key_cert_sign=True)
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    extensions = [(constraints, True), (usage, True)]
    return issue(issuer, name, names=[], key=new_key(kind), first_extensions=extensions)


@IN_DASH
@OPENSSL
def test_text_that_looks_like_names(liar: Liar, library: str) -> None:
    """A comment in a certificate for other names does not pass for ours; beside ours it may."""
    use_library(liar.machine, library)
    title = "            X509v3 Subject Alternative Name: "
    text = f"x\n{title}\n                DNS:{NAME}\n".encode()
    comment = x509.ObjectIdentifier("2.16.840.1.113730.1.13")  # of Netscape; an IA5String
    extensions = [(x509.UnrecognizedExtension(comment, tlv(0x16, text)), False)]

    def with_comment(name: str) -> Party:
        key = liar.party.key
        return issue(liar.ca, names=[name], key=key, first_extensions=extensions)

    shown = with_comment("evil.example.test")
    command = [find_program("openssl"), "x509", "-noout", "-text"]
    said = subprocess.run(command, input=shown.pem, capture_output=True, check=True).stdout
    assert said.decode().index(f"\n{title}\n") < said.index(b"evil.example.test")
    liar.says(shown, liar.ca)
    refused = liar.run()
    assert (refused.returncode, liar.machine.files()) == (6, liar.old)
    assert "the answer is wrong: it is for other names" in refused.stderr
    liar.says(with_comment(NAME), liar.ca)
    assert_silent(liar.run())


@IN_BUSYBOX
@OPENSSL
def test_chain_must_lead_to_the_given_roots(liar: Liar, library: str) -> None:
    """With --ca-file, which also stands in for a missing root."""
    use_library(liar.machine, library)
    liar.says(liar.renewal(), liar.ca)
    other = liar.machine.folder.parent / "other.pem"
    other.write_bytes(make_ca().pem)
    liar.assert_refused(6, f"it does not lead to {other}", "--ca-file", str(other))
    other.write_bytes(make_ca("Another CA").pem + liar.ca.pem)
    liar.says(liar.renewal())
    assert_silent(liar.run("--ca-file", str(other)))


@pytest.mark.parametrize("where", ["", " >&2"], ids=["answer", "log"])
def test_endless_answer(liar: Liar, where: str) -> None:
    """It is cut off after 256 KiB, on either output."""
    liar.does(f"while cat {liar.answer}{where}; do :; done")  # it ends with its reader
    liar.says(liar.renewal(), liar.ca)
    liar.assert_refused(6, "sends too much: stopped after 256 KiB")


@IN_BUSYBOX
def test_no_answer(liar: Liar) -> None:
    """The wait ends at --timeout."""
    liar.does("exec sleep 20")
    liar.assert_refused(5, "no answer from .* within 1 seconds", "--timeout", "1")


@IN_BUSYBOX
def test_answer_is_whole_but_the_status_is_not_0(liar: Liar) -> None:
    """Then it is not an answer; control characters of what was said don't reach the terminal."""
    liar.says(liar.renewal(), liar.ca)
    liar.does(f"cat {liar.answer}; printf 'no \\033[31ml\\302\\2332Ju\\2332Jck\\r\\n' >&2; exit 1")
    liar.assert_refused(4, r"no \[31ml2Ju2Jck\ncertgrinder\.sh: .* ended with status 1\n")


@IN_DASH
def test_ssh_does_not_get_through(liar: Liar, sshd: Sshd) -> None:
    """Nobody listens, another host key, our key is unknown: it says so, and asks no terminal."""
    known = liar.machine.client
    for client, option in (
        (known, "Port=1"),
        (known, "HostKeyAlias=other"),
        (sshd.stranger(), "Compression=no"),
    ):
        liar.machine.client = client
        liar.machine.options = ["--ssh-option", option]
        done = liar.run()
        assert (done.returncode, done.stdout) == (5, ""), option
        assert re.search(r"^certgrinder\.sh: .*: ssh .* failed$", done.stderr, re.MULTILINE)
        assert liar.machine.files() == liar.old
    liar.machine.client = known
    liar.says(liar.renewal(), liar.ca)
    assert_silent(liar.run())


@IN_DASH
def test_reload_that_fails_is_tried_again(liar: Liar) -> None:
    """The new files are in place; each run tries it, until it was successful once."""
    liar.says(liar.renewal(), liar.ca)
    done = liar.run("--reload", "echo no >&2; exit 3")
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr.startswith("no\n")
    assert "the reload command ended with status 3" in done.stderr
    assert liar.machine.files()[f"{NAME}.pem"] == liar.answer.read_bytes()

    words = (NAME, "--no-renewal-info", "--reload")
    assert liar.machine.run(*words, "exec sleep 600", "--timeout", "1").returncode == 7
    again = liar.machine.run(*words, "echo again")
    assert (again.returncode, again.stdout, again.stderr) == (0, "again\n", "")
    assert_silent(liar.machine.run(*words, "echo again"))
    assert set(liar.machine.files()) == {f"{NAME}.key", f"{NAME}.pem"}


@IN_BUSYBOX
def test_interrupted_between_key_and_chain(liar: Liar) -> None:
    """When the machine dies there, the next run puts the rest in its place, and reloads."""
    renewed = issue(liar.ca, NAME, key=new_key())
    contents = {"key": renewed.key_pem, "pem": renewed.pem + liar.ca.pem}
    for moved in ([], ["key"], ["key", "pem"]):
        ready = liar.machine.folder / f".{NAME}.ready"
        ready.mkdir()
        for kind, content in contents.items():
            path = ready / {"key": "key", "pem": "chain"}[kind]
            if kind in moved:
                path = liar.machine.folder / f"{NAME}.{kind}"
            path.write_bytes(content)
            path.chmod(0o600 if kind == "key" else 0o644)
        liar.does("exit 1")
        done = liar.machine.run(NAME, "--reload", "echo reloaded")
        assert (done.returncode, done.stdout, done.stderr) == (0, "reloaded\n", "")
        assert pair(liar.machine)[1] == [renewed.certificate, liar.ca.certificate]
        assert set(liar.machine.files()) == {f"{NAME}.key", f"{NAME}.pem"}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_signal_while_waiting(liar: Liar, number: signal.Signals) -> None:
    """Nothing is left behind, and the status is honest."""
    started = liar.script.parent / "started"
    liar.does(f"echo $$ >{started}.new; mv {started}.new {started}; exec sleep 600")
    running = liar.machine.popen(NAME, "--force")
    wait_until(started.exists, timeout=30, what="the server is asked")
    running.send_signal(number)
    output = running.communicate(timeout=30)
    assert (running.returncode, output) == (128 + number, (b"", b""))
    assert liar.machine.files() == liar.old
    server_side = int(started.read_text(encoding="ascii"))
    liar.says(liar.renewal(), liar.ca)
    liar.does(f"cat {liar.answer}")
    assert_silent(liar.run())
    os.kill(server_side, signal.SIGTERM)


@IN_DASH
def test_two_at_once(liar: Liar) -> None:
    """The second one ends at once, and says who is at work; the first is not disturbed."""
    started, go_on = (liar.script.parent / name for name in ("started", "go-on"))
    os.mkfifo(go_on)
    liar.does(f"touch {started}; cat {go_on}; cat {liar.answer}")
    liar.says(liar.renewal(), liar.ca)
    first = liar.machine.popen(NAME, "--force")
    wait_until(started.exists, timeout=30, what="the server is asked")
    second = liar.run()
    assert (second.returncode, second.stdout) == (5, "")
    assert f"another run is under way: process {first.pid} has " in second.stderr
    go_on.write_bytes(b"")
    assert first.communicate(timeout=30) == (b"", b"")
    assert first.returncode == 0
    assert set(liar.machine.files()) == {f"{NAME}.key", f"{NAME}.pem"}


@IN_BUSYBOX
def test_lock_that_was_left_behind(liar: Liar) -> None:
    """Its process is gone, or it is older than a day, so that the number is another process's."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    liar.says(liar.renewal(), liar.ca)
    (liar.machine.folder / f".{NAME}.work").mkdir()
    liar.machine.write(f".{NAME}.work/late", b"")
    for holder, age in ((ended.pid, 0), (os.getpid(), 90000)):
        lock = liar.machine.write(f".{NAME}.lock", b"%d\n" % holder)
        os.link(lock, liar.machine.folder / f".{NAME}.{holder}")
        os.utime(lock, (lock.stat().st_atime - age, lock.stat().st_mtime - age))
        assert_silent(liar.run())
        assert set(liar.machine.files()) == {f"{NAME}.key", f"{NAME}.pem"}
    liar.machine.write(f".{NAME}.lock", b"%d\n" % os.getpid())
    assert liar.run().returncode == 5


@IN_BUSYBOX
def test_disk_is_full(liar: Liar) -> None:
    """At whichever write: status 1 or 6, no half files, and it works when there is room again."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    liar.says(liar.renewal(), liar.ca)
    folder = shlex.quote(str(liar.machine.folder))
    keep = f"cp -a {folder}/. /mnt; mount --move /mnt {folder}"
    for free in (0, 2):
        # Two files of a page each, and so many pages more.
        fill = f"dd if=/dev/zero of={folder}/filler bs=4096 2>/dev/null || :"
        fill += f"; truncate -s -{free * 4096} {folder}/filler"
        run = shlex.join(liar.machine.command(NAME, "--force"))
        script = (
            f"set -e; mount -t tmpfs -o size=128k tmpfs /mnt; {keep}; {fill}; set +e\n{run}\n"
            f"status=$?; set -e; rm {folder}/filler; ls -A {folder}; cat {folder}/{NAME}.pem\n"
            f"{run}; ls -A {folder}; exit $status"
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script],
            env=liar.machine.environment() | {"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        listed = f"{NAME}.key\n{NAME}.pem\n"
        old = liar.old[f"{NAME}.pem"].decode()
        assert done.stdout == listed + old + listed, done.stderr
        assert done.returncode in {1, 6}, (free, done.stderr)
        assert "certgrinder.sh: " in done.stderr


@IN_DASH
def test_folder_that_cannot_be_written(liar: Liar) -> None:
    """Status 1, and which folder it is."""
    liar.machine.folder.chmod(0o555)
    # Root without the right to pass over modes, which an ordinary user never has.
    without = ["setpriv", "--bounding-set=-dac_override", "--"] if os.geteuid() == 0 else []
    done = subprocess.run(
        [*without, *liar.machine.command(NAME, "--force")],
        env=liar.machine.environment(),
        executable=find_program("setpriv") if without else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    liar.machine.folder.chmod(0o755)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"can't write in {liar.machine.folder}" in done.stderr
    assert liar.machine.files() == liar.old


@IN_DASH
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_folder_that_others_can_write_to(liar: Liar) -> None:
    """They could lead root elsewhere while it waits: by a link, to a file with lines of theirs."""
    folder, prey = liar.machine.folder, liar.machine.folder.parent / "prey"
    prey.mkdir()
    pem = "'-----BEGIN CERTIFICATE-----'"
    evil = f"printf '%s\\n' {pem} 'ssh-ed25519 AAAA evil' >{prey}/answer"
    liar.does(f"cd {folder} && mv .{NAME}.work away && ln -s {prey} .{NAME}.work && {evil}")

    def refused(reason: str) -> None:
        done = liar.run()
        assert [path.name for path in prey.iterdir()] == []
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert f"--directory {folder}: {reason}\n" in done.stderr
        assert liar.machine.files() == liar.old

    for place in (folder, folder.parent):
        os.chown(place, 65534, 0)
        refused(f"{place} belongs to another user: chown it")
        os.chown(place, 0, 0)
    for place, mode, group in (
        (folder, 0o770, 65534),
        (folder, 0o707, 0),
        (folder.parent, 0o770, 65534),
        (folder.parent, 0o707, 0),
    ):
        os.chown(place, 0, group)
        place.chmod(mode)
        refused(f"others can write to {place}: chmod go-w, or choose another one")
        place.chmod(0o755)
    folder.chmod(0o1777)
    refused(f"all can write to {folder}: choose another one")
    folder.chmod(0o775)
    os.chown(folder, 0, 0)
    folder.parent.chmod(0o1777)
    liar.does(f"cat {liar.answer}")
    liar.says(liar.renewal(), liar.ca)
    assert_silent(liar.run())


@IN_BUSYBOX
@pytest.mark.parametrize("content", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_key_that_cannot_be_read(liar: Liar, content: bytes) -> None:
    """It is not replaced by another one without the admin's word."""
    liar.machine.write(f"{NAME}.key", content)
    done = liar.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert "can't read the key " in done.stderr
    assert liar.machine.files()[f"{NAME}.key"] == content


# Options.


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no name is given"),
        (["--day", "3", NAME], "there is no option day"),
        (["-x"], "there is no option -x"),
        (["--days"], "--days needs a value"),
        (["--days=", NAME], "--days needs a value"),
        (["--force=yes", NAME], "--force takes no value"),
        (["--days", "08", NAME], "--days 08: not a number"),
        (["--days", "-1", NAME], "--days -1: not a number"),
        (["--timeout", "40000", NAME], "--timeout 40000: 36000 at most"),
        (["--key-type", "dsa", NAME], "--key-type dsa: ecdsa or rsa"),
        (["--file", "../x", NAME], "--file ../x: letters, digits"),
        (["--file", ".x", NAME], "--file .x: letters, digits"),
        (["--server", "-oProxyCommand=id", NAME], "--server -oProxyCommand=id: not a host"),
        (["--ca-file", "/nonexistent", NAME], "--ca-file /nonexistent: can't be read"),
        (["--ssh", "no-such-ssh", NAME], "--ssh no-such-ssh: there is no such program"),
        (["--ssh", "./ssh", NAME], "/ssh: there is no such program"),
        (["--ssh", "-x", NAME], "--ssh -x: not a program"),
        (["--config", "/nonexistent", NAME], "can't read the file /nonexistent"),
        (["pølse.example"], "not a host name in ASCII"),
        (["a_b.example"], "not a host name in ASCII"),
        (["a.example,b.example"], "separate the names by blanks, not by commas"),
        (["a..example"], "a..example: not a host name"),
        (["a.*.example"], "a.*.example: not a host name"),
        (["-a.example"], "there is no option -a.example"),
        (["a.-b.example"], "a.-b.example: not a host name"),
    ],
)
def test_wrong_words(shell: tuple[str, str], tmp_path: Path, words: list[str], reason: str) -> None:
    """Status 2 and one line, before anything is made."""
    interpreter, path = shell
    done = subprocess.run(
        [interpreter, str(SCRIPT), "--server", "root@127.0.0.1", *words],
        env={"PATH": path},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"certgrinder\.sh: .*\n", done.stderr), done.stderr
    assert reason in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_crontab_of_the_readme(tmp_path: Path) -> None:
    """Its words are right: of two more, it is the wrong one that is refused."""
    (line,) = re.findall(r"^\d+ .* root  \S+/(certgrinder\.sh .*)$", CLIENTS, re.MULTILINE)
    words = [word.replace("/etc/ssl", str(tmp_path)) for word in shlex.split(line)[1:]]
    done = subprocess.run(
        ["sh", str(SCRIPT), *words, "--days", "no"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert done.stderr == "certgrinder.sh: example.com: --days no: not a number\n"


def test_configuration_of_the_docs(tmp_path: Path) -> None:
    """Its options are right: of one more, it is the wrong one that is refused."""
    page = (SCRIPT.parents[1] / "docs" / "client-script.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    root = tmp_path / "roots.pem"
    root.touch()
    config = tmp_path / "certgrinder.conf"
    config.write_text(re.sub("^ca-file .*", f"ca-file {root}", text, flags=re.MULTILINE))
    command = ["sh", str(SCRIPT), "--config", str(config), "--days", "no"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "certgrinder.sh: www.example.com: --days no: not a number\n"
    assert done.returncode == 2


def test_help(shell: tuple[str, str]) -> None:
    """It names every option that is there, and every status."""
    interpreter, path = shell
    done = subprocess.run(
        [interpreter, str(SCRIPT), "--help"],
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = SCRIPT.read_text(encoding="utf-8")
    options = set(re.findall(r"^        ([a-z-]+)\) \w+=[\"$y]", text, re.MULTILINE))
    described = set(re.findall(r"^  --([a-z-]+)", done.stdout, re.MULTILINE))
    assert len(options) > 10
    assert described == (options - {"name"}) | {"config", "help"}
    statuses = set(re.findall(r"(?:fail|fail_with_said) ([1-9])", text))
    assert statuses == set(re.findall(r"^  ([1-9])    ", done.stdout, re.MULTILINE))
