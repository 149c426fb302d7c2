"""The ACME client inside certgrinderd: a hostile CA, crowds, accounts and the end of a CA."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509

from tests.testbed.csr import Request, make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import wait_until
from tests.testbed.service import Service
from tests.testbed.sshd import Sshd

StartPebble = Callable[..., Pebble]
Answer = subprocess.CompletedProcess[bytes]


@pytest.fixture
def service(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path, sshd: Sshd, calm_pebble: Pebble, named: Named, nginx: Nginx, tmp_path: Path
) -> Service:
    """An installation with the built-in client and both challenges."""
    return Service(pyz, sshd, calm_pebble, named, nginx, tmp_path)


@pytest.fixture
def start_pebble(service: Service, named: Named, nginx: Nginx) -> Iterator[StartPebble]:
    """Start a CA with PEBBLE_… settings, and make it the service's."""
    with ExitStack() as stack:

        def start(**env: str) -> Pebble:
            variables = {f"PEBBLE_{name}": value for name, value in env.items()}
            pebble = stack.enter_context(
                Pebble(dns_server=named.address, http_port=nginx.port, env=variables)
            )
            service.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
            service.configure(acme_server_url=pebble.directory_url)
            return pebble

        yield start


_numbers = itertools.count()


def new_names(count: int = 1) -> list[str]:
    """Names that no CA has a proof for yet."""
    return [f"n{next(_numbers)}.acme-client.example.test" for _ in range(count)]


def get(service: Service, request: Request, *words: str) -> Answer:
    """Ask for a certificate that is permitted."""
    names = request.csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    permitted = ",".join(str(name.value) for name in names)
    return service.run(
        *words,
        *("get", "certificate"),
        stdin=request.pem,
        environment={"CERTGRINDERD_DOMAINSETS": permitted},
    )


def require_chain(answer: Answer, request: Request) -> list[x509.Certificate]:
    """The answer is a chain for the request, and all log lines are in order."""
    assert answer.returncode == 0, answer.stderr.decode()
    chain = x509.load_pem_x509_certificates(answer.stdout)
    assert chain[0].public_key() == request.key.public_key()
    return chain


def require_no_challenge(named: Named, nginx: Nginx, names: Sequence[str]) -> None:
    """Nothing of a challenge is left in the zone or the web root."""
    assert [named.challenges(name) for name in names] == [[]] * len(names)
    folder = nginx.webroot / ".well-known/acme-challenge"
    assert not folder.exists() or list(folder.iterdir()) == []


# A hostile CA.


@pytest.mark.parametrize("place", ["acme_zone", "web_root"])
def test_half_of_all_nonces_are_rejected(
    service: Service, start_pebble: StartPebble, named: Named, nginx: Nginx, place: str
) -> None:
    """A request is repeated with the nonce that came along, as often as it takes."""
    pebble = start_pebble(WFE_NONCEREJECT="50")
    names = new_names(5)
    named.delegate(*names)
    service.configure(**{place: None})
    request = make_csr(names)

    require_chain(get(service, request), request)

    paths = ("sign-me-up", "order-plz", "authZ", "chalZ", "finalize-order", "certZ")
    posts = [line for line in pebble.requests() if line.startswith("POST") and "/my" not in line]
    assert all(any(path in line for path in paths) for line in posts)
    assert len(posts) > 14, "three requests for the order, two for each name, one for the chain"
    require_no_challenge(named, nginx, names)


def test_valid_authorizations_need_no_hook(
    service: Service, start_pebble: StartPebble, named: Named
) -> None:
    """What the CA has a proof for is not proved again; without one it is."""
    pebble = start_pebble(AUTHZREUSE="100", WFE_NONCEREJECT="0")
    names = new_names(2)
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(service, request), request)
    service.configure(auth_hook="/bin/false")

    again = get(service, request)

    require_chain(again, request)
    assert b"has a proof of every name" in again.stderr
    start_pebble(AUTHZREUSE="0")
    assert get(service, request).returncode == 4, "here the hook that fails is needed"
    assert pebble.log()


def test_slow_validation_is_waited_for(
    service: Service, start_pebble: StartPebble, named: Named
) -> None:
    """A CA that takes seconds to look gets the time, and is asked ever less often."""
    pebble = start_pebble(VA_NOSLEEP="0", VA_SLEEPTIME="4", WFE_NONCEREJECT="0")
    names = new_names(3)
    named.delegate(*names)
    request = make_csr(names)

    require_chain(get(service, request), request)

    polls = [line for line in pebble.requests() if "/my-order/" in line]
    assert 2 <= len(polls) < 40


@pytest.mark.parametrize("length", [2, 3, 4])
def test_chain_length(
    service: Service, start_pebble: StartPebble, named: Named, length: int
) -> None:
    """The chain comes whole, whatever its length."""
    start_pebble(CHAIN_LENGTH=str(length - 1), WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    assert len(require_chain(get(service, request), request)) == length


def test_alternate_roots(service: Service, start_pebble: StartPebble, named: Named) -> None:
    """Each of the roots can be chosen by its name; another name means the default."""
    pebble = start_pebble(ALTERNATE_ROOTS="3", CHAIN_LENGTH="2", WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    for number in range(4):
        anchor = x509.load_pem_x509_certificate(pebble.root(number).encode())
        name = str(anchor.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        request = make_csr(names)
        answer = get(service, request, "--preferred-chain", name.replace(" ", "_"))
        chain = require_chain(answer, request)
        chain[-1].verify_directly_issued_by(anchor)
    request = make_csr(names)
    chain = require_chain(get(service, request, "--preferred-chain", "DST_Root_CA_X3"), request)
    chain[-1].verify_directly_issued_by(x509.load_pem_x509_certificate(pebble.root().encode()))


def test_chain_of_no_offered_length(service: Service, named: Named) -> None:
    """A certificate is never given up because of its chain."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    answer = get(service, request, "--chain-length", "7")
    require_chain(answer, request)
    assert b"WARNING the CA offers no chain of 7 certificates" in answer.stderr


def test_refusal_names_each_name(service: Service, named: Named) -> None:
    """When validations fail, each name and the CA's reason are told, and exit status is 4."""
    names = new_names(3)
    named.delegate(names[0])
    service.configure(web_root=None)
    answer = get(service, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    last = answer.stderr.decode().splitlines()[-1]
    reasons = re.findall(r"(n\d+\.acme-client\.example\.test): dns-01: \w+: ", last)
    assert reasons, last
    assert set(reasons) <= set(names[1:])


def test_name_that_the_ca_does_not_want(
    service: Service, start_pebble: StartPebble, named: Named
) -> None:
    """A problem document is passed on: its type, its detail and the name."""
    pebble = start_pebble(WFE_NONCEREJECT="0")
    pebble.stop()
    pebble.settings["domainBlocklist"] = ["blocked.example.test"]
    pebble.configure()
    pebble.start()
    answer = get(service, make_csr(["a.blocked.example.test"]))
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert re.search(rb"ERROR .*rejectedIdentifier: .*a\.blocked\.example\.test", answer.stderr)
    named.delegate("a.free.example.test")
    request = make_csr(["a.free.example.test"])
    require_chain(get(service, request), request)


# A crowd.


def test_many_at_once(service: Service, named: Named, nginx: Nginx) -> None:
    """32 clients in the same second all get their certificates, without a queue."""
    names = new_names(32)
    named.delegate(*names)
    requests = [make_csr([name]) for name in names]
    require_chain(get(service, requests[0]), requests[0])  # makes the account
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda request: get(service, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    assert b"waiting for" not in b"".join(answer.stderr for answer in answers)
    require_no_challenge(named, nginx, names)


@pytest.mark.parametrize("place", ["acme_zone", "web_root"])
def test_rsa_and_ecdsa_of_one_name_at_once(
    service: Service, start_pebble: StartPebble, named: Named, nginx: Nginx, place: str
) -> None:
    """Orders for the same names at the same time leave each other's challenges alone."""
    start_pebble(AUTHZREUSE="0", VA_NOSLEEP="0", VA_SLEEPTIME="1", WFE_NONCEREJECT="0")
    service.configure(**{place: None})
    names = new_names(2)
    named.delegate(*names)
    kinds: tuple[Literal["rsa", "ecdsa"], ...] = ("rsa", "ecdsa", "rsa", "ecdsa")
    requests = [make_csr(names, key=kind) for kind in kinds]
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: get(service, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    require_no_challenge(named, nginx, names)


def test_hundred_names(service: Service, named: Named, nginx: Nginx) -> None:
    """As many names as a certificate may have get one certificate."""
    names = new_names(100)
    named.address_of(*names)
    service.configure(acme_zone=None)
    request = make_csr(names)
    require_chain(get(service, request), request)
    require_no_challenge(named, nginx, names)


# The account.


def accounts(service: Service) -> list[Path]:
    """The folders of all accounts on disk."""
    folder = Path(str(service.settings["certbot-config-dir"])) / "accounts"
    return [path.parent for path in folder.glob("**/private_key.json")]


def test_account_is_made_once(service: Service, start_pebble: StartPebble, named: Named) -> None:
    """16 first requests in the same second make one account, and all get their certificates."""
    pebble = start_pebble()
    names = new_names(16)
    named.delegate(*names)
    requests = [make_csr([name]) for name in names]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda request: get(service, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    (account,) = accounts(service)
    assert account.stat().st_mode & 0o777 == 0o700
    assert (account / "private_key.json").stat().st_mode & 0o777 == 0o400
    assert re.findall(r"There are now (\d+) accounts", pebble.log()) == ["1"]


def test_certbot_works_on_our_account(service: Service, named: Named) -> None:
    """The certbot inside certgrinderd shows, changes and ends an account that we made."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(service, request), request)
    ours = service.run("show", "acmeaccount")
    theirs = service.run("certbot", "show_account")
    assert (ours.returncode, theirs.returncode) == (0, 0), theirs.stderr.decode()
    assert ours.stdout.splitlines() == theirs.stdout.splitlines()
    assert b"Email contact: admin@example.test" in ours.stdout

    changed = service.run(
        "certbot", "update_account", "--no-eff-email", "-n", "-m", "b@example.test"
    )
    assert changed.returncode == 0, changed.stderr.decode()
    assert b"Email contact: b@example.test" in service.run("show", "acmeaccount").stdout

    ended = service.run("certbot", "unregister", "-n")
    assert ended.returncode == 0, ended.stderr.decode()
    assert accounts(service) == []
    assert service.run("show", "acmeaccount").returncode == 4
    require_chain(get(service, request), request)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_account_of_certbot_is_used(service: Service, named: Named, kind: str) -> None:
    """An account that certbot made is found and used as it is."""
    made = service.run(
        *("certbot", "register", "-n", "--agree-tos", "-m", "admin@example.test"),
        *("--no-eff-email", "--key-type", kind),
    )
    assert made.returncode == 0, made.stderr.decode()
    (account,) = accounts(service)
    before = (account / "private_key.json").read_bytes()
    url = json.loads((account / "regr.json").read_bytes())["uri"]
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)

    require_chain(get(service, request), request)

    assert accounts(service) == [account]
    assert (account / "private_key.json").read_bytes() == before
    assert f"Account URL: {url}\n" in service.run("show", "acmeaccount").stdout.decode()


def test_new_email_reaches_the_ca(service: Service, named: Named) -> None:
    """When acme-email changes, the next request tells the CA, once."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(service, request), request)
    service.configure(acme_email="new@example.test")
    told = get(service, request)
    require_chain(told, request)
    assert b"Email contact: new@example.test" in service.run("show", "acmeaccount").stdout
    assert b"told the CA" in told.stderr
    assert b"told the CA" not in get(service, request).stderr
    service.configure(acme_email=None)
    require_chain(get(service, request), request)
    assert b"Email contact: new@example.test" in service.run("show", "acmeaccount").stdout


def test_several_accounts_are_an_error(service: Service, named: Named) -> None:
    """Which of several accounts is meant is for the admin to say; one alone is used."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(service, request), request)
    (account,) = accounts(service)
    copy = account.with_name("copy")
    subprocess.run(["cp", "-r", account, copy], check=True)
    answer = get(service, request)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"certbot-config-dir: in " in answer.stderr
    subprocess.run(["rm", "-r", copy], check=True)
    require_chain(get(service, request), request)


# The end of a CA.


def test_ca_is_killed_and_comes_back(
    service: Service, start_pebble: StartPebble, named: Named, tmp_path: Path
) -> None:
    """When the CA dies within an order: exit status 5, cleanup done; when it is back, all works.

    It comes back without a memory of our account, as Pebble does: the key is registered again.
    """
    pebble = start_pebble(WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    started, go_on, cleaned = (tmp_path / name for name in ("started", "go-on", "cleaned"))
    hook = service.write_hook(
        "slow", f"touch {started}", f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    )
    cleanup = service.write_hook("clean", f'printf "%s" "$CERTBOT_DOMAIN" >>{cleaned}')
    service.configure(auth_hook=str(hook), cleanup_hook=str(cleanup), web_root=None)
    request = make_csr(names)
    with service.popen(
        "get", "certificate", environment={"CERTGRINDERD_DOMAINSETS": names[0]}
    ) as process:
        assert process.stdin is not None
        process.stdin.write(request.pem)
        process.stdin.close()
        process.stdin = None
        wait_until(started.exists, timeout=30, what="the hook runs")
        pebble.stop()
        go_on.touch()
        stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (5, b""), stderr.decode()
    assert b"ERROR the ACME server cannot be reached: 127.0.0.1" in stderr
    assert cleaned.read_text() == names[0]

    pebble.start()
    service.configure(auth_hook=None, cleanup_hook=None)
    answer = get(service, request)
    require_chain(answer, request)
    assert b"does not know the account" in answer.stderr
    assert len(accounts(service)) == 1
    assert b"does not know the account" not in get(service, request).stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signal_while_the_ca_validates(
    service: Service, start_pebble: StartPebble, named: Named, number: signal.Signals
) -> None:
    """A signal during a wait for the CA ends the run at once, and the challenges are gone."""
    pebble = start_pebble(VA_NOSLEEP="0", VA_SLEEPTIME="20", WFE_NONCEREJECT="0")
    names = new_names(3)
    named.delegate(*names)
    with service.popen(
        "get", "certificate", environment={"CERTGRINDERD_DOMAINSETS": ",".join(names)}
    ) as process:
        assert process.stdin is not None
        process.stdin.write(make_csr(names).pem)
        process.stdin.close()
        process.stdin = None
        wait_until(
            lambda: any("/my-order/" in line for line in pebble.requests()),
            timeout=30,
            what="the order is looked at",
        )
        assert all(named.challenges(name) for name in names)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=15)
    assert (process.returncode, stdout) == (128 + number, b"")
    assert stderr.decode().splitlines()[-1].endswith(f" ERROR ended by {number.name}")
    assert [named.challenges(name) for name in names] == [[]] * 3
    assert list(service.temp_dir.iterdir()) == []


# Hooks.


RECORD = """\
#!/bin/sh
set -eu
env -0 >{folder}/$(ls {folder} | wc -l)
printf '  said for %s\\n\\nand more \\n' "$CERTBOT_DOMAIN"
exec {hook}
"""


@pytest.mark.parametrize("place", ["acme_zone", "web_root"])
def test_hooks_get_what_certbot_gives_them(  # noqa: PLR0917 - the parts of the test bed
    service: Service,
    start_pebble: StartPebble,
    named: Named,
    pyz: Path,
    tmp_path: Path,
    place: str,
) -> None:
    """Variables, the output that cleanup gets, and the order are those of the real certbot."""
    start_pebble(AUTHZREUSE="0", WFE_NONCEREJECT="0")
    names = new_names(2)
    named.delegate(*names)
    seen: list[list[dict[str, str]]] = []
    for engine in ("builtin", f"{pyz} certbot"):
        folder = tmp_path / f"calls-{len(seen)}"
        folder.mkdir()
        for kind in ("auth", "cleanup"):
            shipped = Path(__file__).resolve().parents[2] / f"hooks/manual-{kind}-hook.sh"
            hook = tmp_path / kind
            hook.write_text(RECORD.format(folder=folder, hook=shipped), encoding="utf-8")
            hook.chmod(0o755)
        service.configure(
            auth_hook=str(tmp_path / "auth"),
            cleanup_hook=str(tmp_path / "cleanup"),
            certbot_command=engine,
            hook_concurrency=1,
            **{place: None},
        )
        request = make_csr(names)
        require_chain(get(service, request), request)
        files = sorted(folder.iterdir(), key=lambda path: int(path.name))
        seen.append([hook_call(path.read_bytes()) for path in files])
    assert seen[0] == seen[1]
    assert len(seen[0]) == 4
    assert seen[0][2]["CERTBOT_AUTH_OUTPUT"] == "said for first\n\nand more"


def hook_call(environment: bytes) -> dict[str, str]:
    """What a hook was given, without what differs from order to order."""
    pairs = (entry.partition("=") for entry in environment.decode().split("\0") if entry)
    variables = {name: value for name, _, value in pairs if re.match("CERTBOT_|ACME|WEB", name)}
    for name in ("CERTBOT_VALIDATION", "CERTBOT_TOKEN"):
        if name in variables:
            variables[name] = re.sub("[A-Za-z0-9_-]+", "base64url", variables[name])
    domains = variables["CERTBOT_ALL_DOMAINS"].split(",")
    for domain, text in zip(domains, ("first", "second"), strict=True):
        variables = {name: value.replace(domain, text) for name, value in variables.items()}
    return variables


def test_hook_that_fails(service: Service, named: Named) -> None:
    """A hook that fails is told with what it said, is cleaned up after, and HTTP-01 is tried."""
    names = new_names()
    named.delegate(*names)
    hook = service.write_hook("fails", "echo 'no key, no luck' >&2", "exit 3")
    service.configure(auth_hook=str(hook))
    answer = get(service, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    reason = f"the auth-hook for {names[0]} ended with exit status 3: no key, no luck"
    assert f"no certificate for {names[0]}: DNS-01: {reason}; HTTP-01: {reason}" in (
        answer.stderr.decode()
    )
    service.configure(auth_hook=None)
    request = make_csr(names)
    require_chain(get(service, request), request)


def test_hooks_run_side_by_side(service: Service, tmp_path: Path) -> None:
    """As many hooks as hook-concurrency says run at a time, and no more."""
    names = new_names(6)
    hook = service.write_hook(
        "meet",
        f"mkdir {tmp_path}/here-$CERTBOT_DOMAIN",
        "n=0",
        f"until [ $(ls -d {tmp_path}/here-* | wc -l) -ge 3 ] || [ $n -ge 50 ]",
        "do n=$((n + 1)); sleep 0.1; done",
        f"ls -d {tmp_path}/here-* | wc -l >{tmp_path}/met-$CERTBOT_DOMAIN",
        "sleep 0.3",
        f"rmdir {tmp_path}/here-$CERTBOT_DOMAIN",
    )
    service.configure(
        auth_hook=str(hook), cleanup_hook="/bin/true", web_root=None, hook_concurrency=3
    )
    assert get(service, make_csr(names)).returncode == 4, "nothing was published"
    met = [int(path.read_text()) for path in tmp_path.glob("met-*")]
    assert len(met) == 6
    assert max(met) == 3
