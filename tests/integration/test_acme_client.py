"""The ACME client inside certgrinderd: a hostile CA, crowds, accounts and the end of a CA."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest
from cryptography import x509

from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.orders import (
    StartPebble,
    get,
    new_names,
    require_chain,
    require_no_challenge,
)
from tests.testbed.server import wait_until
from tests.testbed.service import Service

# A hostile CA.


@pytest.mark.parametrize(
    "place", ["acme_zone", pytest.param("web_root", marks=pytest.mark.thorough)]
)
def test_half_of_all_nonces_are_rejected(
    builtin: Service, start_pebble: StartPebble, named: Named, nginx: Nginx, place: str
) -> None:
    """A request is repeated with the nonce that came along, as often as it takes."""
    pebble = start_pebble(WFE_NONCEREJECT="50")
    names = new_names(5)
    named.delegate(*names)
    builtin.configure(**{place: None})
    request = make_csr(names)

    require_chain(get(builtin, request), request)

    paths = ("sign-me-up", "order-plz", "authZ", "chalZ", "finalize-order", "certZ")
    posts = [line for line in pebble.requests() if line.startswith("POST") and "/my" not in line]
    assert all(any(path in line for path in paths) for line in posts)
    assert len(posts) > 14, "three requests for the order, two for each name, one for the chain"
    require_no_challenge(named, nginx, names)


def test_valid_authorizations_need_no_hook(
    builtin: Service, start_pebble: StartPebble, named: Named
) -> None:
    """What the CA has a proof for is not proved again; without one it is."""
    pebble = start_pebble(AUTHZREUSE="100", WFE_NONCEREJECT="0")
    names = new_names(2)
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    builtin.configure(auth_hook="/bin/false")

    again = get(builtin, request)

    require_chain(again, request)
    assert b"has validated every name" in again.stderr
    start_pebble(AUTHZREUSE="0")
    assert get(builtin, request).returncode == 4, "here the hook that fails is needed"
    assert pebble.log()


def test_slow_validation_is_waited_for(
    builtin: Service, start_pebble: StartPebble, named: Named
) -> None:
    """A CA that takes seconds to look gets the time, and is asked ever less often."""
    pebble = start_pebble(VA_NOSLEEP="0", VA_SLEEPTIME="4", WFE_NONCEREJECT="0")
    names = new_names(3)
    named.delegate(*names)
    request = make_csr(names)

    require_chain(get(builtin, request), request)

    polls = [line for line in pebble.requests() if "/my-order/" in line]
    assert 2 <= len(polls) < 40


@pytest.mark.parametrize("length", [2, pytest.param(3, marks=pytest.mark.thorough), 4])
def test_chain_length(
    builtin: Service, start_pebble: StartPebble, named: Named, length: int
) -> None:
    """The chain comes whole, whatever its length."""
    start_pebble(CHAIN_LENGTH=str(length - 1), WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    assert len(require_chain(get(builtin, request), request)) == length


def test_alternate_roots(builtin: Service, start_pebble: StartPebble, named: Named) -> None:
    """Each of the roots can be chosen by its name; another name means the default."""
    pebble = start_pebble(ALTERNATE_ROOTS="3", CHAIN_LENGTH="2", WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    for number in range(4):
        anchor = x509.load_pem_x509_certificate(pebble.root(number).encode())
        name = str(anchor.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        request = make_csr(names)
        answer = get(builtin, request, "--preferred-chain", name.replace(" ", "_"))
        chain = require_chain(answer, request)
        chain[-1].verify_directly_issued_by(anchor)
    request = make_csr(names)
    chain = require_chain(get(builtin, request, "--preferred-chain", "DST_Root_CA_X3"), request)
    chain[-1].verify_directly_issued_by(x509.load_pem_x509_certificate(pebble.root().encode()))


def test_chain_of_no_offered_length(builtin: Service, named: Named) -> None:
    """A certificate is never given up because of its chain."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    answer = get(builtin, request, "--chain-length", "7")
    require_chain(answer, request)
    assert b"WARNING the CA offers no chain of 7 certificates" in answer.stderr


def test_refusal_names_each_name(builtin: Service, named: Named) -> None:
    """When validations fail, each name and the CA's reason are told, and exit status is 4."""
    names = new_names(3)
    named.delegate(names[0])
    builtin.configure(web_root=None)
    answer = get(builtin, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    last = answer.stderr.decode().splitlines()[-1]
    reasons = re.findall(r"(n\d+\.acme-client\.example\.test): dns-01: \w+: ", last)
    assert reasons, last
    assert set(reasons) <= set(names[1:])


def test_name_that_the_ca_does_not_want(
    builtin: Service, start_pebble: StartPebble, named: Named
) -> None:
    """A problem document is passed on: its type, its detail and the name."""
    pebble = start_pebble(WFE_NONCEREJECT="0")
    pebble.stop()
    pebble.settings["domainBlocklist"] = ["blocked.example.test"]
    pebble.configure()
    pebble.start()
    answer = get(builtin, make_csr(["a.blocked.example.test"]))
    assert (answer.returncode, answer.stdout) == (4, b"")
    assert re.search(rb"ERROR .*rejectedIdentifier: .*a\.blocked\.example\.test", answer.stderr)
    named.delegate("a.free.example.test")
    request = make_csr(["a.free.example.test"])
    require_chain(get(builtin, request), request)


# A crowd.


@pytest.mark.thorough
def test_many_at_once(builtin: Service, named: Named, nginx: Nginx) -> None:
    """32 clients in the same second all get their certificates, without a queue."""
    names = new_names(32)
    named.delegate(*names)
    requests = [make_csr([name]) for name in names]
    require_chain(get(builtin, requests[0]), requests[0])  # makes the account
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda request: get(builtin, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    assert b"waiting for" not in b"".join(answer.stderr for answer in answers)
    require_no_challenge(named, nginx, names)


@pytest.mark.parametrize("place", ["acme_zone", "web_root"])
def test_rsa_and_ecdsa_of_one_name_at_once(
    builtin: Service, start_pebble: StartPebble, named: Named, nginx: Nginx, place: str
) -> None:
    """Orders for the same names at the same time leave each other's challenges alone."""
    start_pebble(AUTHZREUSE="0", VA_NOSLEEP="0", VA_SLEEPTIME="1", WFE_NONCEREJECT="0")
    builtin.configure(**{place: None})
    names = new_names(2)
    named.delegate(*names)
    kinds: tuple[Literal["rsa", "ecdsa"], ...] = ("rsa", "ecdsa", "rsa", "ecdsa")
    requests = [make_csr(names, key=kind) for kind in kinds]
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = list(pool.map(lambda request: get(builtin, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    require_no_challenge(named, nginx, names)


def test_hundred_names(builtin: Service, named: Named, nginx: Nginx) -> None:
    """As many names as a certificate may have get one certificate."""
    names = new_names(100)
    named.address_of(*names)
    builtin.configure(acme_zone=None)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    require_no_challenge(named, nginx, names)


# The account.


def accounts(builtin: Service) -> list[Path]:
    """The folders of all accounts on disk."""
    folder = Path(str(builtin.settings["certbot-config-dir"])) / "accounts"
    return [path.parent for path in folder.glob("**/private_key.json")]


def test_account_is_made_once(builtin: Service, start_pebble: StartPebble, named: Named) -> None:
    """16 first requests in the same second make one account, and all get their certificates."""
    pebble = start_pebble()
    names = new_names(16)
    named.delegate(*names)
    requests = [make_csr([name]) for name in names]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda request: get(builtin, request), requests))
    for answer, request in zip(answers, requests, strict=True):
        require_chain(answer, request)
    (account,) = accounts(builtin)
    assert account.stat().st_mode & 0o777 == 0o700
    assert (account / "private_key.json").stat().st_mode & 0o777 == 0o400
    assert re.findall(r"There are now (\d+) accounts", pebble.log()) == ["1"]


def test_certbot_works_on_our_account(builtin: Service, named: Named) -> None:
    """The certbot inside certgrinderd shows, changes and ends an account that we made."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    ours = builtin.run("show", "acmeaccount")
    theirs = builtin.run("certbot", "show_account")
    assert (ours.returncode, theirs.returncode) == (0, 0), theirs.stderr.decode()
    assert ours.stdout.splitlines() == theirs.stdout.splitlines()
    assert b"Email contact: admin@example.test" in ours.stdout

    changed = builtin.run(
        "certbot", "update_account", "--no-eff-email", "-n", "-m", "b@example.test"
    )
    assert changed.returncode == 0, changed.stderr.decode()
    assert b"Email contact: b@example.test" in builtin.run("show", "acmeaccount").stdout

    ended = builtin.run("certbot", "unregister", "-n")
    assert ended.returncode == 0, ended.stderr.decode()
    assert accounts(builtin) == []
    assert builtin.run("show", "acmeaccount").returncode == 4
    require_chain(get(builtin, request), request)

    nowhere = ("--acme-server-url", "https://127.0.0.1:1/dir", "certbot")
    failed = builtin.run(*nowhere, "register", "-n", "--agree-tos", "-m", "b@example.test")
    assert failed.returncode == 4
    assert b"ERROR Certbot: " in failed.stderr
    assert b"unforeseen" not in failed.stderr


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_account_of_certbot_is_used(builtin: Service, named: Named, kind: str) -> None:
    """An account that certbot made is found and used as it is."""
    made = builtin.run(
        *("certbot", "register", "-n", "--agree-tos", "-m", "admin@example.test"),
        *("--no-eff-email", "--key-type", kind),
    )
    assert made.returncode == 0, made.stderr.decode()
    (account,) = accounts(builtin)
    before = (account / "private_key.json").read_bytes()
    url = json.loads((account / "regr.json").read_bytes())["uri"]
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)

    require_chain(get(builtin, request), request)

    assert accounts(builtin) == [account]
    assert (account / "private_key.json").read_bytes() == before
    assert f"Account URL: {url}\n" in builtin.run("show", "acmeaccount").stdout.decode()


def test_new_email_reaches_the_ca(builtin: Service, named: Named) -> None:
    """When acme-email changes, the next request tells the CA, once."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    builtin.configure(acme_email="new@example.test")
    told = get(builtin, request)
    require_chain(told, request)
    assert b"Email contact: new@example.test" in builtin.run("show", "acmeaccount").stdout
    assert b"changed the contact of the ACME account" in told.stderr
    assert b"changed the contact of the ACME account" not in get(builtin, request).stderr
    builtin.configure(acme_email=None)
    require_chain(get(builtin, request), request)
    assert b"Email contact: new@example.test" in builtin.run("show", "acmeaccount").stdout


def test_several_accounts_are_an_error(builtin: Service, named: Named) -> None:
    """Which of several accounts is meant is for the admin to say; one alone is used."""
    names = new_names()
    named.delegate(*names)
    request = make_csr(names)
    require_chain(get(builtin, request), request)
    (account,) = accounts(builtin)
    copy = account.with_name("copy")
    subprocess.run(["cp", "-r", account, copy], check=True)
    answer = get(builtin, request)
    assert (answer.returncode, answer.stdout) == (2, b"")
    assert b"certbot-config-dir: in " in answer.stderr
    subprocess.run(["rm", "-r", copy], check=True)
    require_chain(get(builtin, request), request)


# The end of a CA.


def test_ca_is_killed_and_comes_back(
    builtin: Service, start_pebble: StartPebble, named: Named, tmp_path: Path
) -> None:
    """When the CA dies within an order: exit status 5, cleanup done; when it is back, all works.

    It comes back without a memory of our account, as Pebble does: the key is registered again.
    """
    pebble = start_pebble(WFE_NONCEREJECT="0")
    names = new_names()
    named.delegate(*names)
    started, go_on, cleaned = (tmp_path / name for name in ("started", "go-on", "cleaned"))
    hook = builtin.write_hook(
        "slow", f"touch {started}", f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    )
    cleanup = builtin.write_hook("clean", f'printf "%s" "$CERTBOT_DOMAIN" >>{cleaned}')
    builtin.configure(auth_hook=str(hook), cleanup_hook=str(cleanup), web_root=None)
    request = make_csr(names)
    with builtin.popen(
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
    assert b"ERROR cannot reach the ACME server: 127.0.0.1" in stderr
    assert cleaned.read_text() == names[0]

    pebble.start()
    builtin.configure(auth_hook=None, cleanup_hook=None)
    answer = get(builtin, request)
    require_chain(answer, request)
    assert b"does not know the account" in answer.stderr
    assert len(accounts(builtin)) == 1
    assert b"does not know the account" not in get(builtin, request).stderr


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.thorough),
        pytest.param(signal.SIGINT, marks=pytest.mark.thorough),
    ],
)
def test_signal_while_the_ca_validates(
    builtin: Service, start_pebble: StartPebble, named: Named, number: signal.Signals
) -> None:
    """A signal during a wait for the CA ends the run at once, and the challenges are gone."""
    pebble = start_pebble(VA_NOSLEEP="0", VA_SLEEPTIME="20", WFE_NONCEREJECT="0")
    names = new_names(3)
    named.delegate(*names)
    with builtin.popen(
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
    assert list(builtin.temp_dir.iterdir()) == []


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
    builtin: Service,
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
        builtin.configure(
            auth_hook=str(tmp_path / "auth"),
            cleanup_hook=str(tmp_path / "cleanup"),
            certbot_command=engine,
            hook_concurrency=1,
            **{place: None},
        )
        request = make_csr(names)
        require_chain(get(builtin, request), request)
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


def test_hook_that_fails(builtin: Service, named: Named) -> None:
    """A hook that fails is told with what it said, is cleaned up after, and HTTP-01 is tried."""
    names = new_names()
    named.delegate(*names)
    hook = builtin.write_hook("fails", "echo 'no key, no luck' >&2", "exit 3")
    builtin.configure(auth_hook=str(hook))
    answer = get(builtin, make_csr(names))
    assert (answer.returncode, answer.stdout) == (4, b"")
    reason = f"the auth-hook for {names[0]} ended with exit status 3: no key, no luck"
    assert f"no certificate for {names[0]}: DNS-01: {reason}; HTTP-01: {reason}" in (
        answer.stderr.decode()
    )
    builtin.configure(auth_hook=None)
    request = make_csr(names)
    require_chain(get(builtin, request), request)


def test_hooks_run_side_by_side(builtin: Service, tmp_path: Path) -> None:
    """As many hooks as hook-concurrency says run at a time, and no more."""
    names = new_names(6)
    hook = builtin.write_hook(
        "meet",
        f"mkdir {tmp_path}/here-$CERTBOT_DOMAIN",
        "n=0",
        f"until [ $(ls -d {tmp_path}/here-* | wc -l) -ge 3 ] || [ $n -ge 50 ]",
        "do n=$((n + 1)); sleep 0.1; done",
        f"ls -d {tmp_path}/here-* | wc -l >{tmp_path}/met-$CERTBOT_DOMAIN",
        "sleep 0.3",
        f"rmdir {tmp_path}/here-$CERTBOT_DOMAIN",
    )
    builtin.configure(
        auth_hook=str(hook), cleanup_hook="/bin/true", web_root=None, hook_concurrency=3
    )
    assert get(builtin, make_csr(names)).returncode == 4, "nothing was published"
    met = [int(path.read_text()) for path in tmp_path.glob("met-*")]
    assert len(met) == 6
    assert max(met) == 3
