"""What the one file is for, done by each version of Python on this machine that it is made for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.testbed.authority import Response, Single, issue, make_ca
from tests.testbed.csr import make_csr
from tests.testbed.misbehaving import MisbehavingServer
from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.pythons import for_python, interpreters, is_supported
from tests.testbed.service import Service, log_levels
from tests.testbed.sshd import Sshd

pytestmark = pytest.mark.thorough

PYTHONS = list(
    {version: path for path, version in interpreters().items() if is_supported(version)}.values()
)


@pytest.fixture(params=PYTHONS, ids=str)
def service(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path,
    sshd: Sshd,
    calm_pebble: Pebble,
    named: Named,
    nginx: Nginx,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Service:
    """An installation whose program is run by one of them."""
    program = for_python(pyz, request.param, tmp_path / "certgrinderd.pyz")
    made = Service(program, sshd, calm_pebble, named, nginx, tmp_path)
    inside = made.run("--version", "--verbose").stdout.decode()
    version = ".".join(map(str, interpreters()[request.param]))
    assert re.search(rf"^CPython {re.escape(version)}\.", inside, re.MULTILINE)
    return made


def test_main_job(service: Service, named: Named, tmp_path: Path) -> None:
    """A client gets its certificate, by either challenge and either engine, and no other one.

    So it gets an OCSP response; and the admin a rule for sudo and a cache for all users.
    """
    name = "python.example.test"
    named.delegate(name)
    request = make_csr([name])
    client = service.add_client(name)

    for changes, said in (
        ({}, "trying DNS-01"),
        ({"acme_zone": None}, "trying HTTP-01"),
        ({"certbot_command": f"{service.command()[0]} certbot"}, "trying HTTP-01"),
    ):
        service.configure(**changes)
        answer = client.run("get certificate", stdin=request.pem)
        assert answer.returncode == 0, answer.stderr.decode()
        assert answer.stdout.startswith(b"-----BEGIN CERTIFICATE-----\n")
        assert said in answer.stderr.decode()
        assert set(log_levels(answer.stderr)) == {"INFO"}

    other = make_csr([name, "other.example.test"])
    for words, pem in (("get certificate", other.pem), ("--auth-hook id get certificate", b"")):
        refused = client.run(words, stdin=pem)
        assert (refused.returncode, refused.stdout) == (3, b"")
        assert log_levels(refused.stderr)[-1] == "ERROR"

    require_ocsp(service, name)

    service.configure(certbot_command="/usr/bin/sudo /bin/true", web_root=None, acme_zone="a.test")
    service.configure(auth_hook="/bin/true", cleanup_hook="/bin/true", temp_dir=None)
    service.configure(certbot_config_dir=None, certbot_work_dir=None, certbot_logs_dir=None)
    rule = service.run("show", "sudoers", "--user", "daemon")
    assert rule.stdout.count(b"daemon ALL=(root) NOPASSWD: /bin/true ^certonly "), rule.stderr

    prepared = service.run("cache", "--prepare", str(tmp_path / "for all"))
    assert prepared.returncode == 0, prepared.stderr.decode()
    shown = service.run("cache", environment={"CERTGRINDERD_CACHE": str(tmp_path / "for all")})
    assert shown.stdout.decode() == f"{prepared.stdout.decode().strip()}  # in use\n"


def require_ocsp(service: Service, name: str) -> None:
    """The client gets the response of its certificate's CA, once the admin lets it ask there."""
    authority = make_ca("Root")
    with MisbehavingServer() as server:
        leaf = issue(authority, name, ocsp_urls=[server.url("/ocsp")])
        response = Response([Single(leaf.certificate, authority)], authority).der
        server.put("/ocsp", response)
        client = service.add_client(name)
        refused = client.run("get ocsp", stdin=leaf.pem + authority.pem)
        assert (refused.returncode, refused.stdout) == (4, b"")
        service.configure(ocsp_allow_private=True)
        answer = client.run("get ocsp", stdin=leaf.pem + authority.pem)
        assert (answer.returncode, answer.stdout) == (0, response), answer.stderr.decode()


def test_there_is_a_python_to_test_with() -> None:
    """On a machine without any, the tests above would all pass."""
    assert PYTHONS
