"""contrib/certgrinder.sh over the lives of certificates: when it renews, and when it doesn't."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certgrinderd.pki import describe
from certgrinderd.revocation.status import Kind, Status
from tests.testbed.authority import DAY, issue, now
from tests.testbed.machine import Machine, Shell, path_of, stand_in_for_libressl
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.service import Service
from tests.testbed.signer import Signer
from tests.testbed.sshd import Sshd

NAME = "www.lives.example.test"
_HOUR, _DAY = 3600, 86400
_ID = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """What answers; its certificates live for six days."""
    return Signer(tmp_path / "signer", days=6)


@pytest.fixture
def machine(signer: Signer, sshd: Sshd, tmp_path: Path) -> Machine:
    """A machine that asks it."""
    client = sshd.add_client(command=signer.command)
    (tmp_path / "bin").mkdir()
    return Machine(tmp_path / "certificates", client, *path_of("dash", tmp_path / "bin"))


def leaf_of(machine: Machine) -> x509.Certificate:
    """Its certificate."""
    return x509.load_pem_x509_certificate((machine.folder / f"{NAME}.pem").read_bytes())


def run_at(
    machine: Machine, signer: Signer, clock: int, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run the script, so many seconds ahead."""
    machine.clock = clock
    signer.move(clock)
    done = machine.run(NAME, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), (clock, done.stderr)
    return done


def orders(signer: Signer) -> list[int]:
    """When certificates were ordered."""
    return [clock for clock, _ in signer.asked("get certificate")]


@pytest.mark.parametrize(
    ("days", "step", "used"),
    [
        pytest.param(1, 3 * _HOUR, 1 / 2, marks=pytest.mark.thorough),
        (6, _DAY, 1 / 2),
        pytest.param(10, _DAY, 2 / 3, marks=pytest.mark.thorough),
        (45, 5 * _DAY, 2 / 3),
        pytest.param(90, 10 * _DAY, 2 / 3, marks=pytest.mark.thorough),
    ],
)
def test_several_lives(signer: Signer, machine: Machine, days: int, step: int, used: float) -> None:
    """One order for each life, when a third or a half is left; no lapse, no order twice."""
    life, lives = days * _DAY, 3
    signer.live(days)
    last = int(lives * used * life) + lives * step
    ordered = 0
    for clock in range(0, last, step):
        if ordered:
            left = leaf_of(machine).not_valid_after_utc - now()
            assert left.total_seconds() > clock, "lapsed"
        run_at(machine, signer, clock)
        ordered = len(orders(signer))
    times = orders(signer)
    for before, after in pairwise(times):
        assert used * life <= after - before <= used * life + step
    assert len(times) == lives + 1


@pytest.mark.parametrize("shell", ["busybox", "bash", "mksh"])
@pytest.mark.parametrize("library", ["OpenSSL", "LibreSSL"])
def test_a_life_elsewhere(
    signer: Signer, machine: Machine, tmp_path: Path, shell: Shell, library: str
) -> None:
    """In other shells, with an openssl that knows no more than LibreSSL's."""
    (tmp_path / "elsewhere").mkdir()
    machine.interpreter, machine.path = path_of(shell, tmp_path / "elsewhere")
    if library == "LibreSSL":
        folder = stand_in_for_libressl(tmp_path / "libressl")
        machine.path = f"{folder}{os.pathsep}{machine.path}"
    for day in range(5):
        run_at(machine, signer, day * _DAY)
    assert orders(signer) == [0, 3 * _DAY]


def test_six_days_from_a_real_ca(
    builtin: Service, named: Named, nginx: Nginx, tmp_path: Path
) -> None:
    """They are taken, and left alone for three days. The CA's clock stands still here."""
    named.delegate(NAME)
    pebble = Pebble(dns_server=named.address, http_port=nginx.port)
    pebble.settings["certificateValidityPeriod"] = 6 * _DAY
    with pebble:
        builtin.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
        builtin.configure(acme_server_url=pebble.directory_url)
        (tmp_path / "bin").mkdir()
        shell = path_of("dash", tmp_path / "bin")
        machine = Machine(tmp_path / "certificates", builtin.add_client(NAME), *shell)
        assert machine.run(NAME).returncode == 0
        leaf = leaf_of(machine)
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < 7 * DAY
        requests = [each for each in pebble.requests() if "finalize" in each]
        for clock in (0, 2 * _DAY):
            machine.clock = clock
            done = machine.run(NAME)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert [each for each in pebble.requests() if "finalize" in each] == requests
        machine.clock = 4 * _DAY
        done = machine.run(NAME)
        assert done.returncode == 6
        assert re.search("it is due for renewal already: 4[78] of 144 hours are left", done.stderr)
    assert leaf_of(machine) == leaf


def test_short_life_replaces_the_end_of_a_long_one(signer: Signer, machine: Machine) -> None:
    """Three days are little of ninety, so the certificate for six days is taken."""
    old = issue(signer.ca, NAME, valid=(now() - 87 * DAY, now() + 3 * DAY))
    machine.folder.mkdir()
    machine.write(f"{NAME}.key", old.key_pem)
    machine.write(f"{NAME}.pem", old.pem + signer.ca.pem)
    run_at(machine, signer, 0)
    assert leaf_of(machine) != old.certificate
    run_at(machine, signer, _HOUR)
    assert len(orders(signer)) == 1


@pytest.mark.parametrize(
    ("given", "renewed"),
    [("0", 144), ("1", 120), ("2", 96), ("4", 48), ("5", 48), ("30", 48), ("3650", 48)],
)
def test_days(signer: Signer, machine: Machine, given: str, renewed: int) -> None:
    """--days counts instead, but a third of the life comes first: not each run orders one."""
    run_at(machine, signer, 0)
    run_at(machine, signer, (renewed - 1) * _HOUR, "--days", given)
    assert len(orders(signer)) == 1
    run_at(machine, signer, (renewed + 1) * _HOUR, "--days", given)
    assert orders(signer) == [0, (renewed + 1) * _HOUR]


# Renewal information.


def window(start: float, end: float, *more: str, zone: str = "Z") -> str:
    """An answer of the server: a window that begins and ends in so many days."""
    times = [f"{now() + days * DAY:%Y-%m-%dT%H:%M:%S}{zone}" for days in (start, end)]
    names = ("certificate-id", "suggested-window-start", "suggested-window-end")
    lines = [": ".join(pair) for pair in zip(names, (_ID, *times), strict=True)]
    return "".join(f"{line}\n" for line in (*lines, *more))


@pytest.fixture
def used(signer: Signer, machine: Machine) -> Machine:
    """The machine has a certificate that is 25 hours old, which the CA may want to be renewed."""
    run_at(machine, signer, 0)
    age(machine, 25)
    return machine


def age(machine: Machine, hours: int) -> None:
    """Let the file be so many hours old."""
    seconds = now().timestamp() - hours * _HOUR
    os.utime(machine.folder / f"{NAME}.pem", (seconds, seconds))


@pytest.mark.parametrize(
    ("answer", "renews"),
    [
        (window(-2, -1), True),
        (window(-2, -1, "retry-after: 60", "explanation-url: https://ca.example/why"), True),
        (window(-2, 0, zone=".123456Z"), True),
        (window(-1.9, -1.05, zone="-23:00"), True),
        (window(0.5, 0.9, zone="+23:00"), True),
        (window(0, 0.1, zone="-23:00"), False),
        (window(1, 2), False),
        (window(-1, -2), False),
        (window(-2, -1).replace(_ID, "two words"), False),
        (window(-2, -1).replace(_ID, "$(id).x"), False),
        (window(-2, -1, zone=""), False),
        (window(-2, -1).replace("T", " "), False),
        (window(-2, -1).partition("suggested-window-end")[0], False),
        ("", False),
        ("pong\n", False),
    ],
    ids=[
        *("past", "past with more lines", "ends now", "past, west of Greenwich"),
        *("past, east of Greenwich", "ahead, west of Greenwich", "ahead", "ends before it begins"),
        *(
            "ID of two words",
            "ID with a command",
            "no zone",
            "no T",
            "no end",
            "empty",
            "other text",
        ),
    ],
)
def test_window(signer: Signer, used: Machine, answer: str, *, renews: bool) -> None:
    """One that is past means now, and the order names the certificate; nonsense means nothing."""
    signer.say(renewal_info=answer)
    run_at(used, signer, 0)
    asked = [words for _, words in signer.asked("get certificate")][1:]
    assert asked == [f"--log-level INFO --replaces={_ID} get certificate"] * renews
    run_at(used, signer, 0)
    assert len(orders(signer)) == 1 + renews


def test_ca_that_always_wants_it_now(signer: Signer, used: Machine) -> None:
    """It gets its way once a day, not in each run."""
    signer.say(renewal_info=window(-2, -1, "retry-after: 0"))
    for _ in range(3):
        run_at(used, signer, 0)
    assert len(orders(signer)) == 2
    age(used, 25)
    run_at(used, signer, 0)
    assert len(orders(signer)) == 3


@pytest.mark.parametrize(
    ("pause", "waits"), [("7200", 2), ("0", 0), ("99999999", 24), ("soon", 6), (None, 6)]
)
def test_asks_as_often_as_the_ca_says(
    signer: Signer, used: Machine, pause: str | None, waits: int
) -> None:
    """At most once a minute, at least once a day, and after six hours if it says nothing."""
    if pause is not None:
        signer.say(renewal_info=window(4, 5, f"retry-after: {pause}"))
    used.options = ["--ssh-option", "ConnectTimeout=60"]
    run_at(used, signer, 0)
    run_at(used, signer, max(waits * _HOUR - 300, 1))
    assert len(signer.asked("get renewal-info")) == 1
    run_at(used, signer, waits * _HOUR + 300)
    assert len(signer.asked("get renewal-info")) == 2


def test_window_is_remembered(signer: Signer, used: Machine) -> None:
    """Until its moment comes; what was remembered about another certificate doesn't count."""
    signer.say(renewal_info=window(0.1, 0.2, "retry-after: 86400"))
    run_at(used, signer, 0)
    signer.say(renewal_info="")
    memory = used.folder / f".{NAME}.renewal"
    remembered = memory.read_bytes()
    run_at(used, signer, 6 * _HOUR, "--no-renewal-info")
    memory.write_bytes(b"1" + remembered)
    run_at(used, signer, 6 * _HOUR)
    assert len(orders(signer)) == 1
    memory.write_bytes(remembered)
    run_at(used, signer, 6 * _HOUR)
    assert len(orders(signer)) == 2


def test_without_renewal_information(signer: Signer, used: Machine) -> None:
    """The option switches it off: nothing is asked, and nothing is remembered."""
    signer.say(renewal_info=window(-2, -1))
    run_at(used, signer, 0, "--no-renewal-info")
    assert signer.asked("get renewal-info") == []
    assert list(used.folder.glob(".*")) == []
    run_at(used, signer, 0)
    assert len(orders(signer)) == 2


# Revocation.


def said(kind: Kind, reason: str | None = None) -> str:
    """What the server prints about a certificate."""
    revoked_at = now() if kind == "revoked" else None
    status = Status(kind, now(), now() + DAY, revoked_at, reason)
    answers = [("OCSP", "the certificate names no responder"), ("CRL", str(status))]
    return f"Certificate 1\nSubject: CRL: revoked\n\n{describe.revocation(answers)}"


@pytest.mark.parametrize(
    ("answer", "renews", "new_key"),
    [
        (said("good"), False, False),
        (said("unknown"), False, False),
        (said("revoked"), True, False),
        (said("revoked", "superseded"), True, False),
        (said("revoked", "keyCompromise"), True, True),
    ],
    ids=["good", "unknown", "revoked", "superseded", "key compromised"],
)
def test_revoked(
    signer: Signer, used: Machine, answer: str, *, renews: bool, new_key: bool
) -> None:
    """It is replaced if one wants to know; its key too, if that is why."""
    key_file = used.folder / f"{NAME}.key"
    key = key_file.read_bytes()
    signer.say(revocation=answer)
    run_at(used, signer, 0)
    assert len(orders(signer)) == 1
    run_at(used, signer, 0, "--check-revocation")
    assert len(orders(signer)) == 1 + renews
    assert (key_file.read_bytes() != key) == new_key
    fresh = serialization.load_pem_private_key(key_file.read_bytes(), None).public_key()
    assert leaf_of(used).public_key() == fresh


def test_nobody_knows_whether_it_is_revoked(signer: Signer, used: Machine) -> None:
    """Then it says so, and goes on; the certificate stays."""
    done = used.run(NAME, "--check-revocation")
    assert (done.returncode, done.stdout) == (0, "")
    assert "can't find out whether the certificate is revoked\n" in done.stderr
    assert len(orders(signer)) == 1


def test_other_ssh(signer: Signer, machine: Machine, tmp_path: Path) -> None:
    """It is run instead, from wherever it was named."""
    program = tmp_path / "my ssh"
    program.write_text(f'#!/bin/sh\n: >"{tmp_path}/ran"\nexec ssh "$@"\n', encoding="ascii")
    program.chmod(0o755)
    run_at(machine, signer, 0, "--ssh", str(program))
    assert (tmp_path / "ran").exists()
    assert len(orders(signer)) == 1
