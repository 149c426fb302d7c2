"""The ACME side behind a pipe: what it checks again, and what it passes on."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from tests.testbed.acme_proxy import AcmeProxy, problem
from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.orders import get, new_names, require_chain, require_no_challenge
from tests.testbed.pebble import Pebble
from tests.testbed.server import clean_environment, wait_until
from tests.testbed.service import Service

# What belongs to the ACME side: the other one must not need it.
ITS_OWN = ("acme-email", "acme-zone", "web-root", "certbot-config-dir", "temp-dir")


class Sides:
    """An installation with an ACME side: the same user here, since the pipe is what counts.

    Attributes:
        ssh: The SSH side.
        program: The path of certgrinderd.
        settings: The ACME side's configuration; `configure` writes it.
    """

    def __init__(self, ssh: Service, folder: Path, pebble: Pebble, named: Named) -> None:
        self.ssh = ssh
        self.program = ssh.command()[0]
        self._folder = folder
        self.settings: dict[str, object] = {
            **{name: ssh.settings[name] for name in ITS_OWN},
            "acme-server-url": ssh.settings["acme-server-url"],
            "acme-ca-file": str(pebble.ca_file),
            "domainsets": "*",
            # The ACME side trusts no environment, so hooks get their settings from the disk.
            **{f"{kind}-hook": str(self._hook(kind, named)) for kind in ("auth", "cleanup")},
        }
        self.configure()
        for name in ITS_OWN:
            ssh.configure(**{name: None})
        del ssh.environment["REQUESTS_CA_BUNDLE"]
        ssh.configure(
            acme_client_command=f"{self.program} acme-client --config-file {self.configuration}",
            temp_dir=str(ssh.temp_dir),
        )

    def _hook(self, kind: str, named: Named) -> Path:
        shipped = Path(__file__).resolve().parents[2] / f"hooks/manual-{kind}-hook.sh"
        path = self._folder / f"{kind}.sh"
        path.write_text(
            f"#!/bin/sh\nexport CERTGRINDERD_NSUPDATE_KEY={named.key_file} "
            f"CERTGRINDERD_NSUPDATE_PORT={named.port}\nexec {shipped}\n"
        )
        path.chmod(0o755)
        return path

    @property
    def configuration(self) -> Path:
        """The ACME side's configuration file."""
        return self._folder / "acme.conf"

    def configure(self, **settings: object) -> None:
        """Change settings of the ACME side, with _ for -; None leaves one out."""
        self.settings.update({name.replace("_", "-"): value for name, value in settings.items()})
        given = {name: value for name, value in self.settings.items() if value is not None}
        self.configuration.write_text(yaml.safe_dump(given), encoding="utf-8")

    def direct(
        self, *words: str, stdin: bytes = b"", **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the ACME side itself, as a taken-over SSH side could."""
        return subprocess.run(
            [self.program, "acme-client", *words],
            input=stdin,
            env=clean_environment(HOME=self.ssh.environment["HOME"], **environment),
            capture_output=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def sides(builtin: Service, calm_pebble: Pebble, named: Named, tmp_path: Path) -> Sides:
    """Both sides, with a ceiling of names still to be set."""
    return Sides(builtin, tmp_path, calm_pebble, named)


def some_names(sides: Sides, named: Named, count: int = 1) -> list[str]:
    """Delegated names that the ACME side may get certificates for."""
    names = new_names(count)
    named.delegate(*names)
    sides.configure(domainsets=",".join(names))
    return names


def test_certificate_by_pipe(sides: Sides, named: Named, nginx: Nginx) -> None:
    """The SSH side has no account, zone or web root, and gets the certificate all the same."""
    names = some_names(sides, named, 2)
    request = make_csr(names)
    answer = get(sides.ssh, request)
    require_chain(answer, request)
    log = answer.stderr.decode()
    assert "INFO trying DNS-01 for" in log, "the ACME side's lines are passed on"
    assert "by acme-client-command: serial " in log
    assert str(sides.settings["certbot-config-dir"]) not in log, "its paths are not"
    assert all(line.split(" ")[3] == "certgrinderd" for line in log.splitlines())
    require_no_challenge(named, nginx, names)
    shown = sides.ssh.add_client(names[0]).run("show acmeaccount")
    assert shown.returncode == 0, shown.stderr.decode()
    assert b"\n  Account URL: https://" in shown.stdout
    shown = sides.ssh.run("show", "configuration")
    assert b"as acme-client-command says" in shown.stdout


def test_ceiling(sides: Sides, named: Named, calm_pebble: Pebble) -> None:
    """A name that the SSH side permits and the ACME side does not is refused, with status 3."""
    names = some_names(sides, named, 2)
    (more,) = new_names()
    before = calm_pebble.requests()
    answer = get(sides.ssh, make_csr([names[0], more]))
    assert (answer.returncode, answer.stdout) == (3, b"")
    last = answer.stderr.decode().splitlines()[-1]
    assert f"ERROR this client may not have {more}" in last
    assert calm_pebble.requests() == before
    request = make_csr(names)
    require_chain(get(sides.ssh, request), request)


def test_ceiling_in_a_file(sides: Sides, named: Named, calm_pebble: Pebble, tmp_path: Path) -> None:
    """Of many clients, with a set on each line: no other combination is issued."""
    names = some_names(sides, named, 2)
    path = tmp_path / "domainsets"
    sides.configure(domainsets=None, domainsets_file=str(path))
    path.write_text("\n".join(names), "utf-8")
    before = calm_pebble.requests()
    assert get(sides.ssh, make_csr(names)).returncode == 3
    assert calm_pebble.requests() == before
    request = make_csr(names[:1])
    require_chain(get(sides.ssh, request), request)


@pytest.mark.parametrize("domainsets", [None, " ", ";", "a.example,not a name"])
def test_no_ceiling_is_an_error(sides: Sides, domainsets: str | None) -> None:
    """Without domainsets that can be read to the end the ACME side issues nothing."""
    sides.configure(domainsets=domainsets)
    answer = get(sides.ssh, make_csr(["a.example"]))
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b" ERROR " in answer.stderr.splitlines()[-1]
    assert b"domainsets" in answer.stderr.splitlines()[-1]


def test_environment_counts_for_nothing(sides: Sides, named: Named, tmp_path: Path) -> None:
    """Neither names nor hooks nor programs come from the environment of the SSH side."""
    names = some_names(sides, named)
    evil = tmp_path / "bin"
    evil.mkdir()
    for program in ("nsupdate", "sh", "env", "tr"):
        (evil / program).write_text(f"#!/bin/sh\ntouch {tmp_path}/evil\n")
        (evil / program).chmod(0o755)
    conf = tmp_path / "evil.conf"
    conf.write_text(f"touch {tmp_path}/evil\n")
    environment = {
        "CERTGRINDERD_DOMAINSETS": "foreign.example",
        "CERTGRINDERD_HOOKS_CONF": str(conf),
        "CERTGRINDERD_NSUPDATE": str(evil / "nsupdate"),
        "REQUESTS_CA_BUNDLE": "/nonexistent",
        "ACMEZONE": "evil.example",
        "PATH": f"{evil}:{os.environ['PATH']}",
    }
    words = ("--config-file", str(sides.configuration))
    foreign = sides.direct(*words, stdin=make_csr(["foreign.example"]).pem, **environment)
    assert foreign.returncode == 3
    request = make_csr(names)
    answer = sides.direct(*words, stdin=request.pem, **environment)
    require_chain(answer, request)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--auth-hook", "/evil"], 2),
        (["--domainsets", "foreign.example"], 2),
        (["--acme-server-url", "https://evil.example/"], 3),
        (["--debug"], 2),
        (["get", "certificate"], 2),
        (["--config-file /etc/passwd"], 2),
    ],
    ids=str,
)
def test_words_of_the_ssh_side(sides: Sides, named: Named, words: list[str], status: int) -> None:
    """The few options for orders may follow; nothing else, and nothing in front of the command."""
    names = some_names(sides, named)
    request = make_csr(names)
    own = ("--config-file", str(sides.configuration))
    answer = sides.direct(*own, *words, stdin=request.pem)
    assert (answer.returncode, answer.stdout) == (status, b"")
    before = subprocess.run(
        [sides.program, "--auth-hook", "/evil", "acme-client", *own],
        input=request.pem,
        env=clean_environment(HOME=sides.ssh.environment["HOME"]),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (before.returncode, before.stdout) == (2, b"")


def test_options_for_orders_may_follow(sides: Sides, named: Named) -> None:
    """Next to those that are refused."""
    request = make_csr(some_names(sides, named))
    own = ("--config-file", str(sides.configuration))
    require_chain(sides.direct(*own, "--log-level", "DEBUG", stdin=request.pem), request)


def test_without_a_configuration_file(sides: Sides) -> None:
    """There is no ACME side without its own configuration."""
    answer = sides.direct(stdin=make_csr(["a.example"]).pem)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"acme-client needs --config-file" in answer.stderr


def test_client_cannot_reach_the_command(sides: Sides) -> None:
    """acme-client is for sudo, not for clients."""
    client = sides.ssh.add_client("a.example")
    answer = client.run(f"acme-client --config-file {sides.configuration}")
    assert (answer.returncode, answer.stdout) == (3, b"")


def test_csr_is_checked_again(sides: Sides) -> None:
    """What is no CSR never gets past the ACME side either."""
    words = ("--config-file", str(sides.configuration))
    sides.configure(domainsets="a.example")
    for stdin in (b"", b"no CSR", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"):
        answer = sides.direct(*words, stdin=stdin)
        assert (answer.returncode, answer.stdout) == (3, b"")


def test_client_options_are_passed_on(sides: Sides, named: Named, calm_pebble: Pebble) -> None:
    """Chain, chain length, replaced certificate and log level reach the ACME side."""
    names = some_names(sides, named)
    record = Path(sides.ssh.configuration).with_name("words")
    command = f"{sides.program} acme-client --config-file {sides.configuration}"
    wrapper = sides.ssh.write_hook(
        "wrapper", f'printf "%s\\n" "$@" >{record}', f'exec {command} "$@"'
    )
    sides.ssh.configure(acme_client_command=str(wrapper))
    request = make_csr(names)
    identifier = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    words = ["--log-level", "DEBUG", "--preferred-chain", "ISRG_Root_X1", "--chain-length", "2"]
    answer = sides.ssh.add_client(names[0]).run(
        [*words, "--replaces", identifier, "get", "certificate"], stdin=request.pem
    )
    require_chain(answer, request)
    assert record.read_text().splitlines() == [
        *("--acme-server-url", calm_pebble.directory_url),
        *("--preferred-chain", "ISRG_Root_X1", "--chain-length", "2"),
        *("--replaces", identifier, "--log-level", "DEBUG"),
    ]


@pytest.mark.parametrize("kind", ["rateLimited", "rejectedIdentifier"])
def test_exit_status_and_reason_are_passed_on(
    sides: Sides, named: Named, calm_pebble: Pebble, kind: str
) -> None:
    """A client sees why the ACME side failed, with the ACME side's status."""
    names = some_names(sides, named)
    answer = {
        "rateLimited": problem("rateLimited", 429, Retry_After="3600"),
        "rejectedIdentifier": problem("rejectedIdentifier", 400),
    }[kind]
    with AcmeProxy(calm_pebble) as proxy:
        sides.configure(acme_server_url=proxy.directory_url)
        sides.ssh.configure(acme_server_url=None)
        proxy.instead = lambda request: answer if request.path == "/order-plz" else None
        got = get(sides.ssh, make_csr(names))
    assert (got.returncode, got.stdout) == (5 if kind == "rateLimited" else 4, b"")
    errors = [line for line in got.stderr.decode().splitlines() if " ERROR " in line]
    assert len(errors) == 1
    assert f"{kind}: the detail of {kind}" in errors[0]


# Ends.


class SlowHook:
    """An auth hook of the ACME side that does not end, and a cleanup hook that tells."""

    def __init__(self, sides: Sides, folder: Path) -> None:
        self.started, self.cleaned = folder / "started", folder / "cleaned"
        self.process = folder / "process"
        auth = sides.ssh.write_hook(
            "slow", f"echo $PPID >{self.process}", f"touch {self.started}", "exec sleep 600"
        )
        cleanup = sides.ssh.write_hook("tells", f'echo "$CERTBOT_DOMAIN" >>{self.cleaned}')
        sides.configure(auth_hook=str(auth), cleanup_hook=str(cleanup), web_root=None)

    def wait(self) -> None:
        """Until the auth hook runs."""
        wait_until(self.started.exists, timeout=30, what="the auth hook runs")


@pytest.fixture
def slow(sides: Sides, tmp_path: Path) -> SlowHook:
    """Hooks that don't end."""
    return SlowHook(sides, tmp_path)


def request_of(sides: Sides, name: str) -> subprocess.Popen[bytes]:
    """Start a request for a name, with the CSR sent."""
    process = sides.ssh.popen("get", "certificate", environment={"CERTGRINDERD_DOMAINSETS": name})
    assert process.stdin is not None
    process.stdin.write(make_csr([name]).pem)
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, marks=pytest.mark.thorough),
    ],
)
def test_signal_to_the_ssh_side_ends_both(
    sides: Sides, slow: SlowHook, named: Named, number: signal.Signals
) -> None:
    """When the SSH side has ended, the cleanup hook of the ACME side has run."""
    (name,) = some_names(sides, named)
    with request_of(sides, name) as process:
        slow.wait()
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + number, b""), stderr.decode()
    assert slow.cleaned.read_text().split() == [name]


def test_signal_to_the_acme_side_ends_both(sides: Sides, slow: SlowHook, named: Named) -> None:
    """An ACME side that is asked to end cleans up, and the SSH side ends as it did."""
    (name,) = some_names(sides, named)
    with request_of(sides, name) as process:
        slow.wait()
        os.kill(acme_side_of(process.pid), signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (128 + signal.SIGTERM, b"")
    assert stderr.decode().splitlines()[-1].endswith(" ERROR ended by SIGTERM")
    assert slow.cleaned.read_text().split() == [name]


def acme_side_of(pid: int) -> int:
    """The only child of a process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0])


def test_client_hangs_up(sides: Sides, slow: SlowHook, named: Named) -> None:
    """A client that is gone ends both sides, with the cleanup done."""
    (name,) = some_names(sides, named)
    with sides.ssh.add_client(name).popen("get certificate") as ssh:
        assert ssh.stdin is not None
        ssh.stdin.write(make_csr([name]).pem)
        ssh.stdin.close()
        ssh.stdin = None
        slow.wait()
        os.killpg(ssh.pid, signal.SIGKILL)
    wait_until(slow.cleaned.exists, timeout=30, what="the cleanup hook runs")


# Other programs.


@pytest.fixture
def program(builtin: Service) -> Callable[..., None]:
    """Let a program of the test's own be the ACME side: lines of sh."""

    def make(*lines: str) -> None:
        builtin.configure(acme_client_command=str(builtin.write_hook("program", *lines)))

    return make


def test_any_program_will_do(
    builtin: Service, program: Callable[..., None], named: Named, tmp_path: Path
) -> None:
    """A program that reads a CSR and prints the chain is enough; what it says is logged."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    chain = get(builtin, request).stdout
    (tmp_path / "chain.pem").write_bytes(chain)
    program("cat >/dev/null", "echo here you are >&2", f"cat {tmp_path}/chain.pem")
    answer = get(builtin, request)
    require_chain(answer, request)
    assert b"INFO here you are\n" in answer.stderr
    other = get(builtin, make_csr(names))
    assert (other.returncode, other.stdout) == (4, b""), "a chain for another key is not passed on"
    assert b"another key" in other.stderr


@pytest.mark.parametrize(
    ("lines", "status", "reason"),
    [
        (["exit 0"], 4, "found nothing"),
        (["echo sudo: a password is required >&2", "exit 1"], 4, "exit status 1"),
        (["exit 3"], 3, "exit status 3"),
        (["echo x y z certgrinderd ERROR the reason >&2", "exit 5"], 5, "ERROR the reason"),
        (["kill -TERM $$"], 143, "SIGTERM"),
        (["head -c 3000000 /dev/zero"], 4, "expected a certificate chain"),
    ],
    ids=str,
)
def test_program_that_fails(
    builtin: Service, program: Callable[..., None], lines: list[str], status: int, reason: str
) -> None:
    """Whatever it does, there is one clear last line, and nothing on standard output."""
    program("cat >/dev/null", *lines)
    answer = get(builtin, make_csr(["a.example"]))
    assert (answer.returncode, answer.stdout) == (status, b"")
    assert reason in answer.stderr.decode().splitlines()[-1]
    assert b"Traceback" not in answer.stderr


def test_missing_program(builtin: Service) -> None:
    """A command that is not there is one clear line."""
    builtin.configure(acme_client_command="/nonexistent/program")
    answer = get(builtin, make_csr(["a.example"]))
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert b"cannot run /nonexistent/program: No such file" in answer.stderr


def test_chain_is_whole(sides: Sides, named: Named) -> None:
    """What comes through the pipe is the chain as the ACME side printed it."""
    names = some_names(sides, named)
    request = make_csr(names, key="rsa")
    answer = get(sides.ssh, request)
    chain = require_chain(answer, request)
    assert len(chain) == 2
    assert x509.load_pem_x509_certificates(answer.stdout) == chain
