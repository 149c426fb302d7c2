"""What is left behind when a request ends halfway: nothing, and cleanup hooks have run."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import wait_until
from tests.testbed.service import ENGINES, Service
from tests.testbed.sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["interrupted.example.test", "www.interrupted.example.test"]
DOMAINSETS = {"CERTGRINDERD_DOMAINSETS": ",".join(NAMES)}


class SlowHooks:
    """An auth hook that waits for ever at the second name, and a cleanup hook that tells.

    certbot forgets about a challenge whose auth hook has not ended, so the first one counts there.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self.done = folder / "done"
        self.started = folder / "started"
        self.cleaned = folder / "cleaned"
        auth = service.write_hook(
            "auth",
            f"if [ -e {self.done} ]; then touch {self.started}; exec sleep 600; fi",
            f'printf "%s\\n" "$CERTBOT_DOMAIN" >{self.done}',
        )
        cleanup = service.write_hook(
            "cleanup", f'printf "%s\\n" "$CERTBOT_DOMAIN" >>{self.cleaned}'
        )
        service.configure(
            auth_hook=str(auth),
            cleanup_hook=str(cleanup),
            web_root=None,
            hook_concurrency=1,
        )

    def wait(self) -> None:
        """Until the auth hook runs."""
        wait_until(self.started.exists, timeout=30, what="the auth hook starts")


@pytest.fixture(params=ENGINES)
def service(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path,
    sshd: Sshd,
    calm_pebble: Pebble,
    named: Named,
    nginx: Nginx,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Service:
    """An installation with each engine."""
    return Service(pyz, sshd, calm_pebble, named, nginx, tmp_path, engine=request.param)


# For what does not depend on what talks to the CA.
ONE_ENGINE = pytest.mark.parametrize("service", ["builtin"], indirect=True)


@pytest.fixture
def hooks(service: Service, tmp_path: Path) -> SlowHooks:
    """Hooks that don't end."""
    return SlowHooks(service, tmp_path)


def require_clean(service: Service, hooks: SlowHooks) -> None:
    """The cleanup hook ran, no private folder or hook is left, and the queue is free again."""
    wait_until(lambda: not list(service.temp_dir.iterdir()), timeout=30, what="the folder is gone")
    expected = [hooks.done.read_text().strip()] if service.engine == "certbot" else NAMES
    wait_until(
        lambda: sorted(hooks.cleaned.read_text().splitlines()) == expected,
        timeout=30,
        what=f"the cleanup hook has run for {expected}",
    )
    service.configure(lock_timeout=0, auth_hook="/bin/false")
    answer = service.run("get", "certificate", stdin=make_csr(NAMES).pem, environment=DOMAINSETS)
    assert answer.returncode == 4, "the lock is free, so it comes as far as the hook that fails"


def send_request(process: subprocess.Popen[bytes]) -> None:
    """Write a CSR to standard input, and close it."""
    assert process.stdin is not None
    process.stdin.write(make_csr(NAMES).pem)
    process.stdin.close()
    process.stdin = None  # for communicate()


def test_client_hangs_up(service: Service, hooks: SlowHooks) -> None:
    """When ssh is killed while a hook runs, the run ends and cleans up."""
    with service.add_client(",".join(NAMES)).popen("get certificate") as ssh:
        send_request(ssh)
        hooks.wait()
        os.killpg(ssh.pid, signal.SIGKILL)
    wait_until(hooks.cleaned.exists, timeout=30, what="the cleanup hook runs")
    require_clean(service, hooks)


@pytest.mark.parametrize(
    ("service", "number"),
    [
        ("builtin", signal.SIGTERM),
        ("builtin", signal.SIGHUP),
        ("builtin", signal.SIGINT),
        ("certbot", signal.SIGTERM),
        pytest.param("certbot", signal.SIGHUP, marks=pytest.mark.thorough),
        pytest.param("certbot", signal.SIGINT, marks=pytest.mark.thorough),
    ],
    indirect=["service"],
)
def test_signal(service: Service, hooks: SlowHooks, number: signal.Signals) -> None:
    """A signal ends the run with 128 plus its number, one line, and everything cleaned up."""
    with service.popen("get", "certificate", environment=DOMAINSETS) as process:
        send_request(process)
        hooks.wait()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + number, b"")
    assert stderr.decode().splitlines()[-1].endswith(f" ERROR ended by {number.name}")
    assert b"Traceback" not in stderr
    require_clean(service, hooks)


def _terminate(process: subprocess.Popen[bytes], *, when: str) -> None:
    """Send SIGTERM, when it is in a set of signals of the process, by its name in proc(5)."""
    status = Path(f"/proc/{process.pid}/status")

    def is_in() -> int:
        (mask,) = re.findall(rf"^{when}:\s*(\w+)$", status.read_text("ascii"), re.MULTILINE)
        return int(mask, 16) & 1 << (signal.SIGTERM - 1)

    wait_until(is_in, timeout=30, what=when)
    process.terminate()


def test_second_signal_while_the_last_line_is_written() -> None:
    """Nobody reads what we say, and somebody is impatient: still no traceback."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write, bytes(fcntl.fcntl(write, fcntl.F_GETPIPE_SZ)))
    command = [sys.executable, "-m", "certgrinderd", "show", "csr"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=write) as process:
        os.close(write)
        _terminate(process, when="SigCgt")
        _terminate(process, when="SigIgn")
        with os.fdopen(read, "rb") as file:
            said = file.read().lstrip(b"\0").decode()
        assert (process.wait(30), process.communicate()[0]) == (128 + signal.SIGTERM, b"")
    assert re.fullmatch(r"\S+ \S+ \S+ certgrinderd ERROR ended by SIGTERM\n", said)


def test_issuance_timeout(service: Service, hooks: SlowHooks) -> None:
    """A hook that takes longer than issuance-timeout is ended, and cleaned up after."""
    service.configure(issuance_timeout=5)
    answer = service.run("get", "certificate", stdin=make_csr(NAMES).pem, environment=DOMAINSETS)
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert re.search(rb"exceeded the time limit of 5 seconds", answer.stderr)
    assert b"Traceback" not in answer.stderr
    require_clean(service, hooks)


@pytest.mark.parametrize("service", ["certbot"], indirect=True)
def test_client_hangs_up_in_the_queue(service: Service, hooks: SlowHooks) -> None:
    """Whoever leaves while it waits for others gives up its place, and nothing of it runs."""
    with service.popen("get", "certificate", environment=DOMAINSETS) as first:
        send_request(first)
        hooks.wait()
        with service.popen("get", "certificate", environment=DOMAINSETS) as second:
            send_request(second)
            assert second.stderr is not None
            assert any(b"waiting for process" in line for line in iter(second.stderr.readline, b""))
            assert second.stdout is not None
            second.stdout.close()
            second.stdout = None
            second.communicate(timeout=30)
        assert second.returncode == 128 + signal.SIGHUP
        assert not hooks.cleaned.exists()
        first.terminate()
        first.communicate(timeout=60)
    require_clean(service, hooks)


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[socket.socket]:
    """A syslog socket, as /dev/log is one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "log.socket"))
        listener.settimeout(10)
        yield listener


@ONE_ENGINE
def test_syslog_by_a_unix_socket(service: Service, syslog: socket.socket, tmp_path: Path) -> None:
    """With both settings each record goes to syslog too, with facility, name and level."""
    service.configure(syslog_socket=str(tmp_path / "log.socket"), syslog_facility="LOG_LOCAL0")
    answer = service.add_client("a.example.test").run(
        "get certificate", stdin=make_csr(["b.example.test"]).pem
    )
    assert answer.returncode == 3
    records = [syslog.recv(4096).decode()]
    while "may not have" not in records[-1]:
        records.append(syslog.recv(4096).decode())
    # LOG_LOCAL0 is 16, err is 3: <16 * 8 + 3> (RFC 5424 section 6.2.1).
    assert records[-1].startswith("<131>certgrinderd[")
    assert (
        "]: ERROR this client may not have b.example.test (client 127.0.0.1, key SHA2"
        in (records[-1])
    )


@ONE_ENGINE
def test_syslog_by_udp(service: Service) -> None:
    """HOST:PORT is a server of syslog over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        port = listener.getsockname()[1]
        service.configure(syslog_socket=f"127.0.0.1:{port}", syslog_facility="LOG_USER")
        service.run("get", "certificate", stdin=b"no CSR")
        assert b"ERROR expected a certificate signing request" in listener.recv(4096)


@ONE_ENGINE
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        pytest.param(
            {"syslog_socket": "/nonexistent/log", "syslog_facility": "LOG_USER"},
            "syslog-socket: cannot reach /nonexistent/log: No such file or directory",
            id="no socket there",
        ),
        pytest.param(
            {"syslog_socket": "/dev/log"}, "syslog-facility is not set", id="facility missing"
        ),
        pytest.param(
            {"syslog_facility": "LOG_USER"}, "syslog-socket is not set", id="socket missing"
        ),
        pytest.param(
            {"syslog_socket": "/dev/log", "syslog_facility": "LOG_NOTHING"},
            "there is no LOG_NOTHING; there are LOG_AUTH,",
            id="unknown facility",
        ),
        pytest.param(
            {"syslog_socket": "localhost", "syslog_facility": "LOG_USER"},
            "expected the path of a socket or HOST:PORT, not 'localhost'",
            id="neither path nor port",
        ),
    ],
)
def test_syslog_that_cannot_work(service: Service, settings: dict[str, str], reason: str) -> None:
    """Wrong settings of syslog are one clear line and exit status 2."""
    service.configure(**settings)
    answer = service.run("show", "configuration")
    assert (answer.returncode, answer.stdout) == (2, b"")
    (line,) = answer.stderr.decode().splitlines()
    assert reason in line
