"""`get ocsp`, `get crl` and `--check-revocation`, with servers that lie, lag, or have nothing."""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from certgrinderd import Certgrinderd
from certgrinderd.errors import (
    AddressRefused,
    CertgrinderdError,
    ResponseInvalid,
    ResponseNotCurrent,
    RevocationError,
    Unreachable,
)
from certgrinderd.revocation import fetch
from certgrinderd.revocation.fetch import Question
from certgrinderd.settings.table import Settings
from tests.testbed import program
from tests.testbed.authority import (
    DAY,
    HOUR,
    Party,
    Response,
    Single,
    issue,
    make_ca,
    make_crl,
    make_delegate,
    now,
    refusal,
)
from tests.testbed.misbehaving import Answer, MisbehavingServer, redirect
from tests.testbed.server import free_port, wait_until

NAME = "www.example.test"

CA = make_ca()
NAMESAKE = make_ca()
RENAMED = make_ca("Renamed CA", key=CA.key)
DELEGATE = make_delegate(CA)
EXPIRED = make_delegate(CA, valid=(now() - 9 * DAY, now() - HOUR))
NO_PURPOSE = make_delegate(CA, ocsp_signing=False)
BY_NAMESAKE = make_delegate(NAMESAKE)


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    """A web server that answers as told."""
    with MisbehavingServer() as made:
        yield made


@pytest.fixture
def leaf(server: MisbehavingServer) -> Party:
    """A certificate whose responder is at /ocsp and whose CRL is at /crl."""
    return issue(CA, NAME, ocsp_urls=[server.url("/ocsp")], crl_points=[server.url("/crl")])


def question(
    leaf: Party, settings: Settings | None = None, *, for_client: bool = False
) -> Question:
    """Is it revoked?"""
    settings = settings or Settings(ocsp_timeout=1)
    return Question(leaf.certificate, CA.certificate, settings, for_client=for_client)


def good(leaf: Party, **changes: object) -> Response:
    """A response that is trusted, or one that differs from it."""
    return Response([Single(leaf.certificate, CA)], CA).but(**changes)


def answered(leaf: Party, **changes: object) -> Response:
    """A response whose only answer differs from one that is trusted."""
    single = Single(leaf.certificate, changes.pop("issuer", CA), **changes)  # type: ignore[arg-type] # as Single itself
    return Response([single], CA)


def chain(*parties: Party) -> bytes:
    """Certificates in PEM, one after the other."""
    return b"".join(party.pem for party in parties)


def require_failure(done: subprocess.CompletedProcess[bytes], status: int, text: str) -> None:
    """One clear line on standard error, nothing on standard output, and the exit status."""
    assert done.stdout == b""
    assert text in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if b" ERROR " in line]
    assert len(errors) == 1
    assert done.returncode == status, done.stderr.decode()


# What is asked, and of whom.


def test_responder_is_asked_by_post(server: MisbehavingServer, leaf: Party) -> None:
    """The request is the documented one, with its content type."""
    data = good(leaf).der
    server.put("/ocsp", data)
    answer = fetch.ocsp_response(question(leaf))
    assert (answer.der, answer.status.kind) == (data, "good")
    (request,) = server.requests
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/ocsp-request"
    asked = x509.ocsp.load_der_ocsp_request(request.body)
    assert asked.serial_number == leaf.certificate.serial_number


def slow(connection: socket.socket) -> None:
    """An answer that drips in; the test doesn't wait for its end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    connection.settimeout(10)
    connection.recv(1)


HOSTILE: dict[str, tuple[Callable[[Party], Response | bytes | Answer], type[CertgrinderdError]]] = {
    "wrong serial number": (lambda leaf: answered(leaf, serial_number=1), ResponseInvalid),
    "wrong issuer key": (lambda leaf: answered(leaf, issuer=NAMESAKE), ResponseInvalid),
    "wrong issuer name": (lambda leaf: answered(leaf, issuer=RENAMED), ResponseInvalid),
    "other hash": (lambda leaf: answered(leaf, hash_name="sha256"), ResponseInvalid),
    "signed by a CA of the same name": (
        lambda leaf: good(leaf, signer=NAMESAKE, responder=CA),
        ResponseInvalid,
    ),
    "delegate expired": (
        lambda leaf: good(leaf, signer=EXPIRED, certificates=[EXPIRED]),
        ResponseInvalid,
    ),
    "delegate without the EKU": (
        lambda leaf: good(leaf, signer=NO_PURPOSE, certificates=[NO_PURPOSE]),
        ResponseInvalid,
    ),
    "delegate of a CA of the same name": (
        lambda leaf: good(leaf, signer=BY_NAMESAKE, certificates=[BY_NAMESAKE]),
        ResponseInvalid,
    ),
    "future": (lambda leaf: answered(leaf, this_update=now() + HOUR), ResponseNotCurrent),
    "stale": (
        lambda leaf: answered(leaf, this_update=now() - DAY, next_update=now() - HOUR),
        ResponseNotCurrent,
    ),
    "no nextUpdate": (lambda leaf: answered(leaf, next_update=None), ResponseNotCurrent),
    "tryLater": (lambda _: refusal(3), Unreachable),
    "unauthorized": (lambda _: refusal(6), ResponseInvalid),
    "truncated": (lambda leaf: good(leaf).der[:-20], ResponseInvalid),
    "truncated on the way": (
        lambda leaf: Answer(good(leaf).der[:-20], headers={"Content-Length": "283"}),
        ResponseInvalid,
    ),
    "huge": (lambda leaf: good(leaf).der + b"x" * 65536, ResponseInvalid),
    "slow": (lambda _: Answer(send=slow), Unreachable),
    "redirect loop": (lambda _: redirect("/bad"), ResponseInvalid),
    "redirect to a file": (lambda _: redirect("file:///etc/passwd"), ResponseInvalid),
    "a web page": (lambda _: b"<html>We are closed.</html>", ResponseInvalid),
    "not found": (lambda _: Answer(b"", 404), ResponseInvalid),
    "out of order": (lambda _: Answer(b"", 503), Unreachable),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_bad_answer_is_refused_and_the_next_responder_asked(
    server: MisbehavingServer,
    name: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alone it is an error; next to a responder that answers well it is a warning."""
    monkeypatch.setattr(logging.getLogger("certgrinderd"), "propagate", True)
    make, kind = HOSTILE[name]
    bad, well = server.url("/bad"), server.url("/well")
    alone = issue(CA, NAME, ocsp_urls=[bad])
    two = issue(CA, NAME, ocsp_urls=[bad, well])

    def answer(leaf: Party) -> bytes | Answer:
        made = make(leaf)
        return made.der if isinstance(made, Response) else made

    server.put("/bad", answer(alone))
    with pytest.raises(kind) as caught:
        fetch.ocsp_response(question(alone))
    assert type(caught.value) is kind
    assert bad in str(caught.value)

    server.put("/bad", answer(two))
    server.put("/well", good(two).der)
    with caplog.at_level(logging.WARNING, logger="certgrinderd"):
        found = fetch.ocsp_response(question(two))
    assert (found.status.kind, found.source) == ("good", well)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert bad in warning.getMessage()


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"delegate": DELEGATE}, id="delegate"),
        pytest.param({"status": "revoked"}, id="revoked"),
        pytest.param({"status": "unknown"}, id="unknown"),
    ],
)
def test_good_answers(server: MisbehavingServer, leaf: Party, answers: dict[str, object]) -> None:
    """Whatever it says, and whoever signs for the CA: the nearest ones to those above."""
    delegate = answers.pop("delegate", None)
    response = answered(leaf, **answers)
    if isinstance(delegate, Party):
        response = response.but(signer=delegate, certificates=[delegate])
    server.put("/ocsp", response.der)
    assert fetch.ocsp_response(question(leaf)).der


def test_largest_response_is_accepted(server: MisbehavingServer, leaf: Party) -> None:
    """64 KiB, and not a byte more."""
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x" * 64000)
    large = make_delegate(CA, extensions=[(filler, False)])
    data = good(leaf, signer=large, certificates=[large]).der
    assert 64000 < len(data) <= fetch.LARGEST_RESPONSE
    server.put("/ocsp", data)
    assert fetch.ocsp_response(question(leaf)).der == data


def test_redirect_is_followed(server: MisbehavingServer, leaf: Party) -> None:
    """Three times at most; see test_http."""
    server.put("/ocsp", redirect("/elsewhere", 307))
    server.put("/elsewhere", good(leaf).der)
    assert fetch.ocsp_response(question(leaf)).status.kind == "good"


@pytest.mark.parametrize(
    ("second", "kind"),
    [pytest.param(503, Unreachable, id="both later"), pytest.param(404, RevocationError, id="one")],
)
def test_exit_status_says_whether_to_try_again(
    server: MisbehavingServer, second: int, kind: type[CertgrinderdError]
) -> None:
    """Later, when nobody answered; not when somebody's answer was bad."""
    server.put("/first", Answer(b"", 503))
    server.put("/second", Answer(b"", second))
    leaf = issue(CA, ocsp_urls=[server.url("/first"), server.url("/second")])
    with pytest.raises(kind) as caught:
        fetch.ocsp_response(question(leaf))
    assert type(caught.value) is kind


def test_number_of_responders_is_bounded(server: MisbehavingServer) -> None:
    """A certificate that names hundreds keeps us busy for eight."""
    leaf = issue(CA, ocsp_urls=[server.url(f"/{number}") for number in range(20)])
    with pytest.raises(RevocationError):
        fetch.ocsp_response(question(leaf))
    assert [request.path for request in server.requests] == [f"/{n}" for n in range(8)]


# The command.


def test_get_ocsp_prints_der_and_nothing_else(server: MisbehavingServer, leaf: Party) -> None:
    """From standard input, with the issuers in any order, or from a file."""
    data = good(leaf).der
    server.put("/ocsp", data)
    other = make_ca("Root")
    for text in (chain(leaf, CA), chain(leaf, other, CA), chain(leaf, NAMESAKE, CA)):
        done = program.run("get", "ocsp", stdin=text)
        assert (done.returncode, done.stdout) == (0, data), done.stderr.decode()
        assert b" INFO the OCSP response from" in done.stderr


def test_get_ocsp_from_a_file(server: MisbehavingServer, leaf: Party, tmp_path: Path) -> None:
    """Like show certificate."""
    server.put("/ocsp", good(leaf).der)
    (tmp_path / "chain.pem").write_bytes(chain(leaf, CA))
    done = program.run("--certificate-file", str(tmp_path / "chain.pem"), "get", "ocsp")
    assert (done.returncode, done.stdout) == (0, server.answers["/ocsp"].body)  # type: ignore[union-attr]


@pytest.mark.parametrize("status", ["revoked", "unknown"])
def test_bad_news_is_printed_with_a_warning(
    server: MisbehavingServer, leaf: Party, status: str
) -> None:
    """It is a good response; what it says is for the web server's clients."""
    data = answered(leaf, status=status).der
    server.put("/ocsp", data)
    done = program.run("get", "ocsp", stdin=chain(leaf, CA))
    assert (done.returncode, done.stdout) == (0, data)
    (warning,) = done.stderr.decode().splitlines()
    assert f" WARNING the OCSP response from '{server.url('/ocsp')}': {status}" in warning


def test_certificate_without_a_responder_is_one_clear_line() -> None:
    """As the public client's periodic run meets it with today's Let's Encrypt."""
    done = program.run("get", "ocsp", stdin=chain(issue(CA), CA))
    require_failure(done, 4, "names no OCSP responder")


def test_missing_issuer_is_named_and_not_fetched(server: MisbehavingServer) -> None:
    """Its URL in the certificate is not followed."""
    leaf = issue(CA, ocsp_urls=[server.url("/ocsp")], issuer_urls=[server.url("/issuer.der")])
    server.put("/ocsp", good(leaf).der)
    for text in (chain(leaf), chain(leaf, NAMESAKE), chain(CA, leaf)):
        done = program.run("get", "ocsp", stdin=text)
        require_failure(done, 3, "'CN=Test CA', is missing")
    assert server.requests == []
    assert program.run("get", "ocsp", stdin=chain(leaf, CA)).returncode == 0


def test_nobody_answers(leaf: Party, server: MisbehavingServer) -> None:
    """Try again later: exit status 5."""
    server.put("/ocsp", Answer(b"", 503))
    done = program.run("get", "ocsp", stdin=chain(leaf, CA))
    require_failure(done, 5, f"the OCSP response from '{server.url('/ocsp')}': HTTP status 503")
    nobody = issue(CA, ocsp_urls=[f"http://127.0.0.1:{free_port()}/"])
    require_failure(program.run("get", "ocsp", stdin=chain(nobody, CA)), 5, "refused")


def test_documented_method_returns_the_response(
    server: MisbehavingServer, leaf: Party, tmp_path: Path
) -> None:
    """Or ends the process with status 1."""
    server.put("/ocsp", good(leaf).der)
    path = tmp_path / "chain.pem"
    path.write_bytes(chain(leaf, CA))
    certgrinderd = Certgrinderd({})
    response = certgrinderd.get_ocsp_response(str(path))
    request = certgrinderd.create_ocsp_request(leaf.certificate, CA.certificate)
    assert certgrinderd.check_ocsp_response(request, response, leaf.certificate, CA.certificate)

    server.put("/ocsp", good(leaf, signer=NAMESAKE, responder=CA).der)
    with pytest.raises(SystemExit) as caught:
        certgrinderd.get_ocsp_response(str(path))
    assert caught.value.code == 1


# Clients.


@pytest.mark.parametrize(
    "words", [("get", "ocsp"), ("get", "crl"), ("show", "certificate", "--check-revocation")]
)
def test_client_asks_about_its_own_names_only(
    server: MisbehavingServer, words: tuple[str, ...]
) -> None:
    """All names of a certificate must be in one domainset; otherwise nobody is asked."""
    names = [NAME, "example.test"]
    leaf = issue(
        CA, NAME, names=names, ocsp_urls=[server.url("/ocsp")], crl_points=[server.url("/crl")]
    )
    server.put("/ocsp", good(leaf).der)
    server.put("/crl", make_crl(CA))
    text = chain(leaf, CA)

    for domainsets in (f"{NAME};example.test", "other.test", ""):
        done = program.run("--ocsp-allow-private", client=words, domainsets=domainsets, stdin=text)
        require_failure(done, 3, "this client")
    assert server.requests == []

    done = program.run(
        "--ocsp-allow-private", client=words, domainsets=f"EXAMPLE.test,{NAME},x.test", stdin=text
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout
    assert len(server.requests) > 0


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([], id="no names, as a CA"),
        pytest.param([NAME, x509.RFC822Name(f"admin@{NAME}")], id="an email address"),
    ],
)
def test_client_asks_about_host_names_only(
    server: MisbehavingServer, names: list[str | x509.GeneralName]
) -> None:
    """Of other certificates nobody can say whose they are; the admin may ask about them."""
    leaf = issue(CA, NAME, names=names, ocsp_urls=[server.url("/ocsp")])
    server.put("/ocsp", good(leaf).der)
    done = program.run(
        "--ocsp-allow-private", client=("get", "ocsp"), domainsets=NAME, stdin=chain(leaf, CA)
    )
    require_failure(done, 3, "name")
    assert server.requests == []
    assert program.run("get", "ocsp", stdin=chain(leaf, CA)).returncode == 0


def test_client_is_no_way_into_our_network(server: MisbehavingServer, leaf: Party) -> None:
    """Private addresses are refused before anything is sent, unless the admin allows them."""
    server.put("/ocsp", good(leaf).der)
    for host in ("127.0.0.1", "localhost", "10.0.0.1", "[::1]", "[::ffff:10.0.0.1]"):
        inside = issue(CA, NAME, ocsp_urls=[f"http://{host}/ocsp"])
        done = program.run(client=("get", "ocsp"), domainsets=NAME, stdin=chain(inside, CA))
        require_failure(done, 4, "no public address")
    done = program.run(client=("get", "ocsp"), domainsets=NAME, stdin=chain(leaf, CA))
    require_failure(done, 4, f"port {server.port}")
    assert server.requests == []

    allowed = program.run(
        "--ocsp-allow-private", client=("get", "ocsp"), domainsets=NAME, stdin=chain(leaf, CA)
    )
    assert (allowed.returncode, len(server.requests)) == (0, 1)
    # The client itself can't allow it.
    words = ("--ocsp-allow-private", "get", "ocsp")
    done = program.run(client=words, domainsets=NAME, stdin=chain(leaf, CA))
    require_failure(done, 3, "--ocsp-allow-private is for the server's admin")


def test_client_does_not_learn_our_addresses() -> None:
    """A name inside our network is refused without its address, at any log level."""
    inside = issue(CA, NAME, ocsp_urls=["http://localhost/"])
    words = ("--debug", "get", "ocsp")
    done = program.run(client=words, domainsets=NAME, stdin=chain(inside, CA))
    require_failure(done, 4, "no public address")
    assert b"127.0.0.1" not in done.stderr
    assert b"::1" not in done.stderr


def test_rule_for_clients_holds_in_the_library(server: MisbehavingServer, leaf: Party) -> None:
    """And not for the admin."""
    server.put("/ocsp", good(leaf).der)
    server.put("/crl", make_crl(CA))
    with pytest.raises(AddressRefused):
        fetch.ocsp_response(question(leaf, for_client=True))
    with pytest.raises(AddressRefused):
        fetch.certificate_revocation_list(question(leaf, for_client=True))
    assert server.requests == []
    assert fetch.ocsp_response(question(leaf)).der
    assert fetch.certificate_revocation_list(question(leaf)).der


# CRLs.


def test_get_crl(server: MisbehavingServer, leaf: Party) -> None:
    """DER on standard output; on standard error, whether the certificate is on it."""
    for revoked, level, text in (
        ([1], "INFO", "is not on it"),
        ([1, leaf.certificate.serial_number], "WARNING", "is on it: revoked since"),
    ):
        data = make_crl(CA, revoked)
        server.put("/crl", data)
        done = program.run("get", "crl", stdin=chain(leaf, CA))
        assert (done.returncode, done.stdout) == (0, data)
        assert f" {level} the CRL from '{server.url('/crl')}'" in done.stderr.decode()
        assert text in done.stderr.decode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        pytest.param(Answer(b"", 404), "HTTP status 404", id="not found"),
        pytest.param(Answer(b"", 503), "HTTP status 503", id="out of order"),
        pytest.param(Answer(b"-----BEGIN X509 CRL-----"), "cannot be read", id="PEM"),
        pytest.param(Answer(make_crl(NAMESAKE)), "signature", id="by a CA of the same name"),
        pytest.param(
            Answer(make_crl(CA, valid=(now() - DAY, now() - HOUR))), "was valid until", id="stale"
        ),
        pytest.param(
            Answer(make_crl(CA, extensions=[(x509.DeltaCRLIndicator(1), True)])),
            "delta CRL",
            id="delta",
        ),
        pytest.param(Answer(make_crl(make_ca("Other"))), "indirect CRL", id="indirect"),
        pytest.param(Answer(make_crl(CA, range(1, 500))), "are allowed", id="too large"),
    ],
)
def test_crl_that_cannot_be_had(
    server: MisbehavingServer, leaf: Party, answer: Answer, text: str
) -> None:
    """Exit status 4 with the reason; the nearest one is printed."""
    server.put("/crl", answer)
    done = program.run("--max-crl-size", "4096", "get", "crl", stdin=chain(leaf, CA))
    require_failure(done, 4, text)
    server.put("/crl", make_crl(CA))
    done = program.run("--max-crl-size", "4096", "get", "crl", stdin=chain(leaf, CA))
    assert (done.returncode, done.stdout) == (0, server.answers["/crl"].body)  # type: ignore[union-attr]


def test_next_distribution_point_is_tried(server: MisbehavingServer) -> None:
    """As with responders."""
    leaf = issue(CA, crl_points=[server.url("/gone"), server.url("/crl")])
    server.put("/crl", make_crl(CA))
    assert fetch.certificate_revocation_list(question(leaf)).source == server.url("/crl")


def test_certificate_without_a_crl_is_one_clear_line() -> None:
    """Exit status 4 as well."""
    require_failure(program.run("get", "crl", stdin=chain(issue(CA), CA)), 4, "names no CRL")


def test_large_crl_is_searched(server: MisbehavingServer, leaf: Party) -> None:
    """A megabyte of other certificates."""
    data = make_crl(CA, [leaf.certificate.serial_number, *range(1, 30000)])
    assert len(data) > 1_000_000
    server.put("/crl", data)
    answer = fetch.certificate_revocation_list(question(leaf))
    assert (answer.status.kind, answer.der) == ("revoked", data)


# show certificate --check-revocation.


@pytest.mark.parametrize("client", [False, True])
def test_check_revocation_shows_both_answers(
    server: MisbehavingServer, leaf: Party, *, client: bool
) -> None:
    """And why there is none; the rest is what show certificate prints."""
    words = ("show", "certificate", "--check-revocation")

    def run() -> str:
        done = (
            program.run(
                "--ocsp-allow-private", client=words, domainsets=NAME, stdin=chain(leaf, CA)
            )
            if client
            else program.run(*words, stdin=chain(leaf, CA))
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    server.put("/ocsp", good(leaf).der)
    server.put("/crl", make_crl(CA))
    shown = run()
    assert "Certificate 1 of 2" in shown
    _, _, revocation = shown.partition("Revocation of certificate 1\n")
    ocsp_row, crl_row = revocation.splitlines()
    assert ocsp_row.split()[:2] == ["OCSP:", "good,"]
    assert crl_row.split()[:2] == ["CRL:", "good,"]

    server.put("/ocsp", answered(leaf, status="revoked").der)
    server.put("/crl", make_crl(CA, [leaf.certificate.serial_number]))
    revocation = run().partition("Revocation of certificate 1\n")[2]
    assert revocation.count("revoked since") == 2
    assert revocation.count("(keyCompromise)") == 2

    server.put("/ocsp", refusal(3))
    server.put("/crl", Answer(b"", 404))
    revocation = run().partition("Revocation of certificate 1\n")[2]
    assert "not known" in revocation
    assert "TRY_LATER" in revocation
    assert "HTTP status 404" in revocation


def test_show_certificate_asks_nobody_unless_told(server: MisbehavingServer, leaf: Party) -> None:
    """The switch belongs to this command alone."""
    done = program.run("show", "certificate", stdin=chain(leaf, CA))
    assert (done.returncode, server.requests) == (0, [])
    assert b"Revocation" not in done.stdout
    for words in (
        ("--check-revocation", "show", "certificate"),
        ("get", "ocsp", "--check-revocation"),
    ):
        require_failure(program.run(*words, stdin=chain(leaf, CA)), 2, "--check-revocation")
        done = program.run(client=words, domainsets=NAME, stdin=chain(leaf, CA))
        require_failure(done, 3, "--check-revocation")
    assert server.requests == []


def test_client_that_hangs_up_leaves_no_process_behind(server: MisbehavingServer) -> None:
    """However long its servers would take, and however many it names."""

    def wait(_connection: socket.socket) -> None:
        server.ended.wait(60)

    urls = [server.put(f"/{number}", Answer(send=wait)) for number in range(8)]
    leaf = issue(CA, NAME, ocsp_urls=urls)
    words = ("--ocsp-allow-private", "--ocsp-timeout=60")
    with subprocess.Popen(
        program.command(*words),
        env=program.environment(client=("get", "ocsp"), domainsets=NAME),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(chain(leaf, CA))
        process.stdin.close()
        wait_until(lambda: len(server.requests) == 1, timeout=30, what="the server is asked")
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGHUP


# The cache.


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty folder of our own."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


def cached(folder: Path) -> Settings:
    """Settings with a cache."""
    return Settings(ocsp_timeout=5, cache_dir=str(folder))


def kept_file(folder: Path) -> Path:
    """The one response in a cache."""
    (path,) = folder.glob("*.der")
    return path


def test_without_a_cache_each_request_asks(server: MisbehavingServer, leaf: Party) -> None:
    """It is off unless set."""
    server.put("/ocsp", good(leaf).der)
    for _ in range(2):
        fetch.ocsp_response(question(leaf))
    assert len(server.requests) == 2


def test_response_is_kept(server: MisbehavingServer, leaf: Party, cache: Path) -> None:
    """The second request costs nothing; another certificate's is another one."""
    other = issue(CA, "other.example.test", ocsp_urls=[server.url("/other")])
    server.put("/ocsp", good(leaf).der)
    server.put("/other", answered(other, status="revoked").der)
    first, second = (fetch.ocsp_response(question(leaf, cached(cache))) for _ in range(2))
    assert first.der == second.der
    assert (first.source, second.source) == (server.url("/ocsp"), "the cache")
    assert len(server.requests) == 1
    assert fetch.ocsp_response(question(other, cached(cache))).status.kind == "revoked"
    assert len(server.requests) == 2
    assert {path.stat().st_mode & 0o777 for path in cache.iterdir()} == {0o600}
    assert {path.suffix for path in cache.iterdir()} == {".der", ".lock"}


@pytest.mark.parametrize(
    ("this_update", "next_update", "kept"),
    [
        pytest.param(-HOUR, 2 * HOUR, True, id="first half"),
        pytest.param(-2 * HOUR, HOUR, False, id="second half"),
    ],
)
def test_response_is_kept_for_half_of_its_validity(
    server: MisbehavingServer,
    leaf: Party,
    cache: Path,
    this_update: dt.timedelta,
    next_update: dt.timedelta,
    *,
    kept: bool,
) -> None:
    """In the second half a newer one is asked for, and takes its place."""
    old = answered(leaf, this_update=now() + this_update, next_update=now() + next_update).der
    server.put("/ocsp", old)
    assert fetch.ocsp_response(question(leaf, cached(cache))).der == old
    new = good(leaf).der
    server.put("/ocsp", new)
    assert fetch.ocsp_response(question(leaf, cached(cache))).der == (old if kept else new)
    assert kept_file(cache).read_bytes() == (old if kept else new)


def test_locks_of_those_who_get_nothing_do_not_add_up(
    server: MisbehavingServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client may come with ever new certificates, for which there is no response."""
    monkeypatch.setattr("certgrinderd.revocation.cache._MOST_KEPT", 2)
    for _ in range(9):
        leaf = issue(CA, NAME, ocsp_urls=[server.url("/nowhere")])
        with pytest.raises(RevocationError):
            fetch.ocsp_response(question(leaf, cached(cache)))
    assert len(server.requests) == 9
    assert 1 <= len(list(cache.iterdir())) <= 5


def test_bad_response_is_not_kept(server: MisbehavingServer, leaf: Party, cache: Path) -> None:
    """Nor does it take the place of a good one."""
    server.put("/ocsp", good(leaf, signer=NAMESAKE, responder=CA).der)
    with pytest.raises(ResponseInvalid):
        fetch.ocsp_response(question(leaf, cached(cache)))
    assert list(cache.glob("*.der")) == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda _: b"x" * 100000, id="too large"),
        pytest.param(lambda leaf: good(leaf).der[:-1], id="cut off"),
        pytest.param(
            lambda leaf: good(leaf, signer=NAMESAKE, responder=CA).der, id="signed by another one"
        ),
        pytest.param(lambda _: good(issue(CA)).der, id="about another certificate"),
        pytest.param(
            lambda leaf: answered(leaf, this_update=now() - DAY, next_update=now() - HOUR).der,
            id="stale",
        ),
    ],
)
def test_kept_response_is_verified_again(
    server: MisbehavingServer,
    leaf: Party,
    cache: Path,
    content: Callable[[Party], bytes],
) -> None:
    """What somebody put there instead is not used."""
    data = good(leaf).der
    server.put("/ocsp", data)
    fetch.ocsp_response(question(leaf, cached(cache)))
    kept_file(cache).write_bytes(content(leaf))
    answer = fetch.ocsp_response(question(leaf, cached(cache)))
    assert (answer.der, answer.source) == (data, server.url("/ocsp"))
    assert kept_file(cache).read_bytes() == data


def test_symlink_in_the_cache_is_not_followed(
    server: MisbehavingServer, leaf: Party, cache: Path, tmp_path: Path
) -> None:
    """Neither read nor written through: it is an error that names the folder."""
    server.put("/ocsp", good(leaf).der)
    fetch.ocsp_response(question(leaf, cached(cache)))
    path = kept_file(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CertgrinderdError, match="cache-dir"):
        fetch.ocsp_response(question(leaf, cached(cache)))


def test_missing_cache_folder_is_a_clear_error(leaf: Party, tmp_path: Path) -> None:
    """The admin named it, the admin makes it."""
    words = ("--cache-dir", str(tmp_path / "missing"), "get", "ocsp")
    require_failure(program.run(*words, stdin=chain(leaf, CA)), 2, "cache-dir")


def test_old_responses_are_removed(server: MisbehavingServer, leaf: Party, cache: Path) -> None:
    """A new one takes those with it that nobody asks for any more; other files stay."""
    stem = "ocsp-" + "0" * 64
    old = [cache / f"{stem}{suffix}" for suffix in (".der", ".lock", f".{'a' * 16}.new")]
    others = [cache / "ocsp.der", cache / f"{stem}.txt"]
    recent = cache / f"ocsp-{'1' * 64}.der"
    for path in (*old, *others, recent):
        path.write_bytes(b"x")
    for path in (*old, *others):
        os.utime(path, (0, 0))
    server.put("/ocsp", good(leaf).der)
    fetch.ocsp_response(question(leaf, cached(cache)))
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in (*others, recent))


def test_two_at_once_ask_once(server: MisbehavingServer, leaf: Party, cache: Path) -> None:
    """The second waits for the first, which says so in the log, and gets the same response."""
    data = good(leaf).der
    words = ("--cache-dir", str(cache), "get", "ocsp")
    started = []
    said = []

    def run() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            program.command(*words),
            env=program.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(chain(leaf, CA))
        process.stdin.close()
        process.stdin = None
        return process

    def answer_when_the_other_waits(_: object) -> Answer:
        second = run()
        started.append(second)
        assert second.stderr is not None
        said.append(second.stderr.readline())
        return Answer(data)

    server.put("/ocsp", answer_when_the_other_waits)
    first = run()
    out, log = first.communicate(timeout=30)
    assert (first.returncode, out) == (0, data), log.decode()
    (second,) = started
    assert b"waiting for process" in said[0]
    assert second.communicate(timeout=30)[0] == data
    assert second.returncode == 0
    assert len(server.requests) == 1


def test_root_leaves_nothing_in_the_users_cache(
    server: MisbehavingServer, leaf: Party, cache: Path
) -> None:
    """An admin who looks as root makes no files that the service's user can't open."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(cache, 65534, 65534)
    server.put("/ocsp", good(leaf).der)
    assert fetch.ocsp_response(question(leaf, cached(cache))).der
    assert list(cache.iterdir()) == []
