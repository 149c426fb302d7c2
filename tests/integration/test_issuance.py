"""The main job, as clients see it: real ssh, the built file, a real CA, real challenges."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.testbed.csr import Request, make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import wait_until
from tests.testbed.service import ENGINES, Form, Service, log_levels
from tests.testbed.sshd import Sshd

LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} certgrinderd "
    r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) \S.*"
)
FORMS: tuple[Form, ...] = ("passed on", "taken from the variable")


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
    """An installation that can do both challenges, with each engine."""
    return Service(pyz, sshd, calm_pebble, named, nginx, tmp_path, engine=request.param)


# For what is decided before anybody talks to the CA; for what tests of the other engine have too;
# and for what takes certbot long.
BUILTIN = pytest.mark.parametrize("service", ["builtin"], indirect=True)
CERTBOT = pytest.mark.parametrize("service", ["certbot"], indirect=True)
CERTBOT_IF_THOROUGH = pytest.mark.parametrize(
    "service", ["builtin", pytest.param("certbot", marks=pytest.mark.thorough)], indirect=True
)


def require_chain(stdout: bytes, request: Request, pebble: Pebble) -> list[x509.Certificate]:
    """Standard output is the chain for a request and nothing else, and it leads to the CA."""
    assert stdout.isascii()
    chain = x509.load_pem_x509_certificates(stdout)
    assert stdout == b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain)
    leaf = chain[0]
    assert leaf.public_key() == request.key.public_key()
    assert leaf.subject == request.csr.subject
    wanted, got = (
        holder.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        for holder in (request.csr, leaf)
    )
    assert set(got) == set(wanted)
    for certificate, issuer in pairwise(chain):
        certificate.verify_directly_issued_by(issuer)
    chain[-1].verify_directly_issued_by(x509.load_pem_x509_certificate(pebble.root().encode()))
    return chain


def require_log(stderr: bytes) -> str:
    """Every line on standard error is a log line, as the public client reads it."""
    text = stderr.decode("utf-8")
    for line in text.splitlines():
        assert LOG_LINE.fullmatch(line), line
    return text


def require_nothing_left(service: Service, named: Named, *names: str) -> None:
    """No private folder is left behind, and no challenge is published."""
    assert list(service.temp_dir.iterdir()) == []
    for name in names:
        assert named.challenges(name) == []


@pytest.mark.parametrize(("key", "form"), list(zip(["rsa", "ecdsa"], FORMS, strict=True)))
def test_certificate_by_dns_01(
    service: Service, calm_pebble: Pebble, named: Named, key: Literal["rsa", "ecdsa"], form: Form
) -> None:
    """A permitted CSR gets its chain on standard output, and only log lines on standard error."""
    names = [f"{key}.dns.example.test", f"www.{key}.dns.example.test"]
    named.delegate(*names)
    client = service.add_client(",".join(names).upper(), form=form)
    request = make_csr(names, key=key)

    answer = client.run("get certificate", stdin=request.pem)

    log = require_log(answer.stderr)
    assert answer.returncode == 0, log
    require_chain(answer.stdout, request, calm_pebble)
    assert "trying DNS-01 for" in log
    assert "HTTP-01" not in log
    require_nothing_left(service, named, *names)


def test_certificate_by_http_01(
    service: Service, calm_pebble: Pebble, named: Named, nginx: Nginx
) -> None:
    """Without an acme-zone the CA fetches the challenge from the web server."""
    service.configure(acme_zone=None)
    name = "http.example.test"
    request = make_csr([name])
    asked = len(nginx.requests())

    answer = service.add_client(name).run("get certificate", stdin=request.pem)

    assert answer.returncode == 0, require_log(answer.stderr)
    require_chain(answer.stdout, request, calm_pebble)
    fetched = nginx.requests()[asked:]
    assert any(" /.well-known/acme-challenge/" in line and '" 200 ' in line for line in fetched)
    assert list((nginx.webroot / ".well-known/acme-challenge").iterdir()) == []
    require_nothing_left(service, named)


def test_wildcard_by_dns_01(service: Service, calm_pebble: Pebble, named: Named) -> None:
    """A wildcard and its base name, two values at one challenge name, get one certificate."""
    names = ["wild.example.test", "*.wild.example.test"]
    named.delegate(names[0])
    request = make_csr(names)

    answer = service.add_client(",".join(names)).run("get certificate", stdin=request.pem)

    assert answer.returncode == 0, require_log(answer.stderr)
    require_chain(answer.stdout, request, calm_pebble)
    require_nothing_left(service, named, names[0])


@BUILTIN
def test_wildcard_needs_dns_01(service: Service, calm_pebble: Pebble) -> None:
    """Without an acme-zone a wildcard is an error that says so, and the CA is not asked."""
    service.configure(acme_zone=None)
    before = calm_pebble.requests()
    request = make_csr(["*.nodns.example.test"])

    answer = service.add_client("*.nodns.example.test").run("get certificate", stdin=request.pem)

    assert (answer.returncode, answer.stdout) == (4, b"")
    assert "needs DNS-01" in require_log(answer.stderr)
    assert calm_pebble.requests() == before


def test_http_01_takes_over_from_dns_01(
    service: Service, calm_pebble: Pebble, named: Named
) -> None:
    """When DNS-01 fails (no CNAME leads to our zone), HTTP-01 gets the certificate."""
    name = "fallback.example.test"
    request = make_csr([name])

    answer = service.add_client(name).run("get certificate", stdin=request.pem)

    log = require_log(answer.stderr)
    assert answer.returncode == 0, log
    require_chain(answer.stdout, request, calm_pebble)
    assert re.search(r"WARNING DNS-01 failed: ", log)
    assert "NXDOMAIN" in log or "TXT" in log
    assert f"DNS-01 needs the record: _acme-challenge.{name}. CNAME {name}.acme.test." in log
    assert "trying HTTP-01" in log
    require_nothing_left(service, named, name)


def test_failure_of_both_is_told(service: Service, named: Named, nginx: Nginx) -> None:
    """With no way to prove a name: exit status 4, nothing on standard output, and both causes."""
    service.configure(web_root=str(nginx.webroot / "elsewhere"))
    (nginx.webroot / "elsewhere").mkdir(exist_ok=True)
    request = make_csr(["lost.example.test"])

    answer = service.add_client("lost.example.test").run("get certificate", stdin=request.pem)

    log = require_log(answer.stderr)
    assert (answer.returncode, answer.stdout) == (4, b"")
    last = log.splitlines()[-1]
    assert " ERROR no certificate for lost.example.test: DNS-01: " in last
    assert "; HTTP-01: " in last
    assert "urn:ietf:params:acme:error:unauthorized" in log or "unauthorized" in log
    require_nothing_left(service, named, "lost.example.test")


@BUILTIN
@pytest.mark.parametrize("form", FORMS)
def test_name_outside_the_domainsets_never_reaches_the_ca(
    service: Service, calm_pebble: Pebble, named: Named, form: Form
) -> None:
    """Neither a foreign name nor names of two sets are asked for; those of one set are."""
    named.delegate("in.example.test", "also.example.test", "out.example.test")
    client = service.add_client("in.example.test;also.example.test", form=form)
    before = calm_pebble.requests()

    for names, reason in (
        (["out.example.test"], "may not have out.example.test"),
        (["in.example.test", "out.example.test"], "may not have out.example.test"),
        (["in.example.test", "also.example.test"], "must be in one domainset"),
        (["*.in.example.test"], "may not have *.in.example.test"),
    ):
        answer = client.run("get certificate", stdin=make_csr(names).pem)
        assert (answer.returncode, answer.stdout) == (3, b"")
        log = require_log(answer.stderr)
        assert reason in log
        assert log_levels(answer.stderr)[-1] == "ERROR"
    assert calm_pebble.requests() == before

    request = make_csr(["in.example.test"])
    answer = client.run("get certificate", stdin=request.pem)
    require_chain(answer.stdout, request, calm_pebble)
    assert calm_pebble.requests() != before


@BUILTIN
def test_client_without_domainsets_gets_nothing(service: Service, calm_pebble: Pebble) -> None:
    """A key whose environment= is missing, or was dropped by sshd, may have no name at all."""
    before = calm_pebble.requests()
    answer = service.add_client(None).run("get certificate", stdin=make_csr(["a.example.test"]).pem)
    assert (answer.returncode, answer.stdout) == (3, b"")
    assert "has no domainsets" in require_log(answer.stderr)
    assert calm_pebble.requests() == before


@BUILTIN
def test_domainsets_in_the_forced_command(
    service: Service, calm_pebble: Pebble, named: Named
) -> None:
    """The option takes the place of the variable; both at once permit nothing."""
    named.delegate("option.example.test")
    request = make_csr(["option.example.test"])
    service.configure(domainsets="option.example.test")

    answer = service.add_client(None).run("get certificate", stdin=request.pem)
    assert answer.returncode == 0, require_log(answer.stderr)
    require_chain(answer.stdout, request, calm_pebble)

    both = service.add_client("option.example.test").run("get certificate", stdin=request.pem)
    assert (both.returncode, both.stdout) == (2, b"")
    assert "both the option domainsets and CERTGRINDERD_DOMAINSETS" in require_log(both.stderr)


@CERTBOT_IF_THOROUGH
def test_eight_at_once_all_get_theirs(service: Service, calm_pebble: Pebble, named: Named) -> None:
    """Clients that come in the same second all get their certificates; for certbot they queue."""
    names = [f"n{number}.crowd.example.test" for number in range(8)]
    named.delegate(*names)
    requests = [make_csr([name]) for name in names]
    clients = [service.add_client(name) for name in names]

    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda pair: pair[0].run("get certificate", stdin=pair[1].pem, timeout=200),
                zip(clients, requests, strict=True),
            )
        )

    for answer, request in zip(answers, requests, strict=True):
        assert answer.returncode == 0, answer.stderr.decode()
        require_chain(answer.stdout, request, calm_pebble)
    logs = "".join(require_log(answer.stderr) for answer in answers)
    queued = re.search(r"INFO waiting for process \d+ \(DNS-01 for n\d", logs)
    assert bool(queued) is (service.engine == "certbot")
    require_nothing_left(service, named, *names)


@CERTBOT
def test_lock_timeout_is_temporary(service: Service, named: Named, tmp_path: Path) -> None:
    """Whoever waits for longer than lock-timeout is told whom for: exit status 5."""
    started = tmp_path / "started"
    go_on = tmp_path / "go-on"
    hook = service.write_hook(
        "slow", f"touch {started}", f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    )
    service.configure(auth_hook=str(hook), cleanup_hook="/bin/true", lock_timeout=1)
    domainsets = {"CERTGRINDERD_DOMAINSETS": "slow.example.test"}
    request = make_csr(["slow.example.test"])

    with service.popen("get", "certificate", environment=domainsets) as first:
        assert first.stdin is not None
        first.stdin.write(request.pem)
        first.stdin.close()
        first.stdin = None
        wait_until(started.exists, timeout=30, what="the hook runs")
        second = service.run("get", "certificate", stdin=request.pem, environment=domainsets)
        go_on.touch()
        first.communicate(timeout=60)

    assert (second.returncode, second.stdout) == (5, b"")
    assert f"waited 1 seconds for process {first.pid} (DNS-01 for slow.example.test)" in (
        require_log(second.stderr)
    )
    require_nothing_left(service, named)


@CERTBOT
def test_ca_that_is_down(service: Service, named: Named, nginx: Nginx) -> None:
    """Nobody listens at the CA's URL: a clear log; when it is up, it works.

    Exit status 4, since certbot doesn't tell; the built-in client's 5 is in test_acme_client.
    """
    with Pebble(
        dns_server=named.address, http_port=nginx.port, env={"PEBBLE_WFE_NONCEREJECT": "0"}
    ) as pebble:
        service.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
        service.configure(acme_server_url=pebble.directory_url, acme_zone=None)
        client = service.add_client("down.example.test")
        request = make_csr(["down.example.test"])
        pebble.stop()
        answer = client.run("get certificate", stdin=request.pem)
        assert (answer.returncode, answer.stdout) == (4, b"")
        assert "onnection refused" in require_log(answer.stderr)
        require_nothing_left(service, named)

        pebble.start()
        answer = client.run("get certificate", stdin=request.pem)
        assert answer.returncode == 0, require_log(answer.stderr)
        require_chain(answer.stdout, request, pebble)


@CERTBOT_IF_THOROUGH
def test_hostile_defaults_of_pebble(service: Service, pebble: Pebble, named: Named) -> None:
    """Bad nonces and reused authorizations don't keep a client that asks again from its chain."""
    service.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
    service.configure(acme_server_url=pebble.directory_url)
    named.delegate("hostile.example.test")
    client = service.add_client("hostile.example.test")
    got = 0
    # certbot repeats a request once; two refused nonces in a row, one time in 400, end a run. The
    # built-in client repeats it as often as it takes.
    for _ in range(6):
        request = make_csr(["hostile.example.test"])
        answer = client.run("get certificate", stdin=request.pem)
        if answer.returncode == 0:
            require_chain(answer.stdout, request, pebble)
            got += 1
        else:
            assert "badNonce" in require_log(answer.stderr)
    assert got >= (4 if service.engine == "certbot" else 6)


@CERTBOT
@pytest.mark.parametrize(
    ("wanted", "root"),
    [
        pytest.param("{name}", 1, id="an alternate chain"),
        pytest.param("DST_Root_CA_X3", 0, id="a chain that no longer exists"),
    ],
)
def test_preferred_chain(
    service: Service, named: Named, nginx: Nginx, wanted: str, root: int
) -> None:
    """The client's choice is followed when there is such a root, and is no error otherwise.

    The built-in client's choice is in test_acme_client.
    """
    env = {"PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_ALTERNATE_ROOTS": "1"}
    named.delegate("chain.example.test")
    with Pebble(dns_server=named.address, http_port=nginx.port, env=env) as pebble:
        service.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
        service.configure(acme_server_url=pebble.directory_url)
        anchor = x509.load_pem_x509_certificate(pebble.root(root).encode())
        name = str(anchor.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        chosen = wanted.format(name=name.replace(" ", "_"))
        client = service.add_client("chain.example.test")

        answer = client.run(
            ["--log-level", "INFO", "--preferred-chain", chosen, "get", "certificate"],
            stdin=make_csr(["chain.example.test"]).pem,
        )

        assert answer.returncode == 0, require_log(answer.stderr)
        chain = x509.load_pem_x509_certificates(answer.stdout)
        chain[-1].verify_directly_issued_by(anchor)


def test_acme_account(service: Service, named: Named) -> None:
    """After the first certificate the account's URL is shown as the public client reads it."""
    named.delegate("account.example.test")
    client = service.add_client("account.example.test")
    none_yet = client.run("show acmeaccount")
    assert (none_yet.returncode, none_yet.stdout) == (4, b"")
    assert re.search("Could not find an existing|there is no", require_log(none_yet.stderr))

    client.run("get certificate", stdin=make_csr(["account.example.test"]).pem)
    answer = client.run("show acmeaccount")
    assert answer.returncode == 0, require_log(answer.stderr)
    assert re.search(rb"^  Account URL: https://\S+/my-account/\S+$", answer.stdout, re.MULTILINE)

    own = service.run("certbot", "show_account")
    assert own.returncode == 0, own.stderr.decode()
    assert b"Account URL: https://" in own.stdout


@BUILTIN
@pytest.mark.parametrize("form", FORMS)
def test_ping_by_ssh(service: Service, form: Form) -> None:
    """The public client's ping, options and all, gets exactly pong."""
    client = service.add_client("a.example.test", form=form)
    for words in (["ping"], ["--log-level", "INFO", "--preferred-chain", "ISRG_Root_X1", "ping"]):
        answer = client.run(words)
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, b"pong\n", b"")
