"""The servers of the test bed, started once per run and wired to each other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.testbed.host import Host
from tests.testbed.named import Named
from tests.testbed.network import Network
from tests.testbed.nginx import Nginx
from tests.testbed.orders import StartPebble
from tests.testbed.pebble import Pebble
from tests.testbed.server import MissingProgramError, Server
from tests.testbed.service import Service
from tests.testbed.sshd import Sshd

AnyServer = TypeVar("AnyServer", bound=Server)

_LOG_LINES_SHOWN = 60


def _serve(make: Callable[[], AnyServer]) -> Iterator[AnyServer]:
    """Run a server; without its program skip, which tests/conftest.py makes a failure in a CI."""
    try:
        server = make()
    except MissingProgramError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def named() -> Iterator[Named]:
    """BIND with the zones acme.test and example.test."""
    yield from _serve(Named)


@pytest.fixture(scope="session")
def nginx() -> Iterator[Nginx]:
    """A web server with an empty web root."""
    yield from _serve(Nginx)


@pytest.fixture(scope="session")
def pebble(named: Named, nginx: Nginx) -> Iterator[Pebble]:
    """A CA that validates by `named` and `nginx`."""
    yield from _serve(lambda: Pebble(dns_server=named.address, http_port=nginx.port))


@pytest.fixture(scope="session")
def calm_pebble(named: Named, nginx: Nginx) -> Iterator[Pebble]:
    """A CA that rejects no good nonce, for a test with the real certbot and no retry around it.

    certbot asks again once after a bad nonce (acme.client.ClientNetwork.post), so with Pebble's
    5 % one order in fifty or so fails through no fault of what is tested.
    """
    env = {"PEBBLE_WFE_NONCEREJECT": "0"}
    yield from _serve(lambda: Pebble(dns_server=named.address, http_port=nginx.port, env=env))


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """An ssh server without clients yet."""
    yield from _serve(Sshd)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with users, /etc and /tmp of its own; the same one for all tests of a file."""
    yield from _serve(Host)


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A network for hosts with addresses of their own; tests connect a NetworkedHost to it."""
    yield from _serve(Network)


@pytest.fixture(scope="session")
def network_named(network: Network) -> Iterator[Named]:
    """BIND with the zones acme.test and example.test, which hosts of the network reach too."""
    yield from _serve(lambda: Named(addresses=[network.gateway]))


@pytest.fixture(scope="session")
def network_pebble(network: Network, network_named: Named) -> Iterator[Pebble]:
    """A CA for the hosts of the network: it validates by `network_named` and at port 80."""
    yield from _serve(
        lambda: Pebble(
            dns_server=network_named.address,
            http_port=80,
            address=network.gateway,
            env={"PEBBLE_WFE_NONCEREJECT": "0"},
        )
    )


@pytest.fixture
def builtin(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path, sshd: Sshd, calm_pebble: Pebble, named: Named, nginx: Nginx, tmp_path: Path
) -> Service:
    """An installation with the built-in ACME client and both challenges."""
    return Service(pyz, sshd, calm_pebble, named, nginx, tmp_path)


@pytest.fixture
def start_pebble(builtin: Service, named: Named, nginx: Nginx) -> Iterator[StartPebble]:
    """Start a CA with PEBBLE_… settings, and make it that installation's."""
    with ExitStack() as stack:

        def start(**env: str) -> Pebble:
            variables = {f"PEBBLE_{name}": value for name, value in env.items()}
            pebble = stack.enter_context(
                Pebble(dns_server=named.address, http_port=nginx.port, env=variables)
            )
            builtin.environment["REQUESTS_CA_BUNDLE"] = str(pebble.ca_file)
            builtin.configure(acme_server_url=pebble.directory_url)
            return pebble

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the servers' logs with a test that failed."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Server):
                lines = value.log().splitlines()[-_LOG_LINES_SHOWN:]
                report.sections.append((f"log of {name}", "\n".join(lines)))
    return report
