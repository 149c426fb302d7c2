"""The servers of the test bed do what the other tests believe they do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testbed.host import Host
from tests.testbed.named import Named
from tests.testbed.network import Network, NetworkedHost
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import ServerError, clean_environment, wait_until
from tests.testbed.sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]


def test_challenge_zone_takes_signed_updates_only(named: Named) -> None:
    """A TXT value appears with the key, and neither without a key nor with a wrong one."""
    add = 'update add testbed.example.test.acme.test. 60 TXT "value"'

    unsigned = named.update(add)
    wrong = named.update(add, key_file=named.wrong_key_file)
    assert (unsigned.returncode, wrong.returncode) == (2, 2)
    assert named.challenges("testbed.example.test") == []

    named.update(add, key_file=named.key_file).check_returncode()
    assert named.challenges("testbed.example.test") == ["value"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("delegated.example.test", id="a name"),
        pytest.param("below.delegated.example.test", id="a name below a delegated one"),
        pytest.param("xn--plse-gra.example.test", id="an A-label"),
        pytest.param("example.test", id="the zone itself"),
    ],
)
def test_delegated_name_leads_into_the_challenge_zone(named: Named, name: str) -> None:
    """After delegate() the challenge is found from the client's name, which keeps its address."""
    add = f'update add {name}.acme.test. 60 TXT "value"'
    named.update(add, key_file=named.key_file).check_returncode()
    assert named.txt(f"_acme-challenge.{name}") == []

    named.delegate(name)
    named.delegate(name)

    assert named.txt(f"_acme-challenge.{name}") == ["value"]
    assert named.query(name, "A") == ["127.0.0.1"]


def test_names_outside_are_unknown_and_not_looked_up(named: Named) -> None:
    """The name server knows its own names, and answers at once that there are no others."""
    assert named.query("anything.example.test", "A") == ["127.0.0.1"]
    assert named.query("www.example.org", "A") == []


def test_nginx_serves_its_web_root_under_any_name(nginx: Nginx) -> None:
    """A file is served whatever the Host header says; one that is not there is not."""
    (nginx.webroot / "file").write_text("content", encoding="ascii")

    assert nginx.get("/file", host="a.example.test") == (200, b"content")
    assert nginx.get("/file", host="b.example.test") == (200, b"content")
    assert nginx.get("/other")[0] == 404
    assert any("GET /other" in line for line in nginx.requests())


def test_nginx_is_another_user_than_root(nginx: Nginx) -> None:
    """With root's tests nginx serves no private file, so they see a challenge it can't read.

    An ordinary user's nginx can read what that user wrote; the modes are looked at as well.
    """
    private = nginx.webroot / "private"
    private.write_text("content", encoding="ascii")
    private.chmod(0o600)

    assert nginx.get("/private")[0] == (403 if os.geteuid() == 0 else 200)
    private.chmod(0o644)
    assert nginx.get("/private") == (200, b"content")


def test_pebble_is_trusted_by_its_ca_file_only(pebble: Pebble) -> None:
    """The API's certificate is good under ca_file, and under nothing else."""
    with_ca = ssl.create_default_context(cafile=str(pebble.ca_file))
    without = ssl.create_default_context()

    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=with_ca)
    )
    with opener.open(pebble.directory_url) as response:
        assert b"newOrder" in response.read()

    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=without)
    )
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        opener.open(pebble.directory_url)


def test_pebble_counts_requests(pebble: Pebble) -> None:
    """A request to the CA is seen in requests(); reading the directory is not one."""
    before = pebble.requests()
    context = ssl.create_default_context(cafile=str(pebble.ca_file))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )

    opener.open(pebble.directory_url).close()
    assert pebble.requests() == before

    opener.open(pebble.directory_url.replace("/dir", "/nonce-plz")).close()
    assert pebble.requests() == [*before, "GET /nonce-plz"]


def test_pebble_comes_back_on_the_same_port(named: Named, nginx: Nginx) -> None:
    """A stopped CA refuses connections; started again it is at its old URL with new keys."""
    with Pebble(dns_server=named.address, http_port=nginx.port) as pebble:
        first = pebble.root()
        pebble.stop()
        with pytest.raises(ConnectionRefusedError):
            pebble.root()

        pebble.start()
        assert pebble.root() != first
        assert "BEGIN CERTIFICATE" in pebble.intermediate()


def test_pebble_takes_settings(named: Named, nginx: Nginx) -> None:
    """An alternate root exists when it is asked for, and not otherwise."""
    env = {"PEBBLE_ALTERNATE_ROOTS": "1"}
    with Pebble(dns_server=named.address, http_port=nginx.port, env=env) as pebble:
        assert pebble.root(1) != pebble.root(0)
        with pytest.raises(LookupError):
            pebble.root(2)


def test_sshd_runs_the_forced_command(sshd: Sshd) -> None:
    """A client gets its forced command, told of the client's words and its own domainsets."""
    command = (
        'printf "%s|" "$SSH_ORIGINAL_COMMAND" "${CERTGRINDERD_DOMAINSETS-none}" "${OTHER-none}"'
    )
    one = sshd.add_client(command=f"{command}; cat", domainsets="a.example,b.example;c.example")
    two = sshd.add_client(command=f"{command}; exit 3", options='restrict,environment="OTHER=x"')

    answer = one.run(["get", "certificate;", "$(id)"], stdin=b"\0csr\n")
    assert answer.stdout == b"get certificate; $(id)|a.example,b.example;c.example|none|\0csr\n"
    assert (answer.returncode, answer.stderr) == (0, b"")

    answer = two.run("ping")
    assert (answer.returncode, answer.stdout) == (3, b"ping|none|none|")


def test_sshd_refuses_a_stranger(sshd: Sshd) -> None:
    """A key that is in no line does not get in."""
    assert sshd.add_client(command="echo in").run().stdout == b"in\n"

    answer = sshd.stranger().run("echo in")
    assert (answer.returncode, answer.stdout) == (255, b"")
    assert b"Permission denied" in answer.stderr


def test_client_can_hang_up(sshd: Sshd, tmp_path: Path) -> None:
    """A client killed halfway closes the forced command's stdin."""
    started, ended = tmp_path / "started", tmp_path / "ended"
    client = sshd.add_client(command=f"touch {started}; cat >/dev/null; touch {ended}")

    with client.popen() as ssh:
        wait_until(started.exists, timeout=10, what="the command starts")
        assert not ended.exists()
        os.killpg(ssh.pid, signal.SIGKILL)
        wait_until(ended.exists, timeout=10, what="the command notices")


def test_server_that_does_not_start_shows_its_log(nginx: Nginx) -> None:
    """An error of a server that died holds what the server said, and its folder is gone."""
    second = Nginx(port=nginx.port)
    with pytest.raises(ServerError, match=r"(?s)nginx.*Address already in use"), second:
        pytest.fail("two servers on one port")
    assert not second.directory.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part exists on Linux only")
def test_servers_end_when_the_tests_are_killed() -> None:
    """Nothing listens any more after a SIGKILL of the process that started a server."""
    require_end("nginx import Nginx", "server.port", lambda port: is_listening(int(port)))


@pytest.mark.usefixtures("host")
def test_hosts_end_when_the_tests_are_killed() -> None:
    """Nor does anything run in a host: all of it ends with its process 1."""
    require_end("host import Host", "server._init()", lambda init: Path("/proc", init).exists())


def require_end(imported: str, shown: str, is_alive: Callable[[str], bool]) -> None:
    """Start a server from tests of its own, kill these, and require that it ends.

    Args:
        imported: Which server.
        shown: An expression with its name, `server`, for what to ask.
        is_alive: Asked with what that is.
    """
    script = (
        "import time\n"
        f"from tests.testbed.{imported} as Made\n"
        "with Made() as server:\n"
        f"    print({shown}, server.directory, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        answer, directory = tests.stdout.readline().split()
        assert is_alive(answer)
        tests.kill()
    try:
        wait_until(lambda: not is_alive(answer), timeout=10, what="the server ends")
    finally:
        shutil.rmtree(directory)


def is_listening(port: int) -> bool:
    """Whether something takes connections on a port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_host_is_one_of_its_own(host: Host) -> None:
    """What is changed in it, and who runs in it, is not seen outside, nor on the next host."""
    host.add_user("testbed1")
    host.write("/etc/testbed/file", "content", mode=0o604)
    assert host.check(["stat", "-c", "%a %U", "/etc/testbed/file"]) == "604 root\n"
    assert host.run(["id", "-un"], user="testbed1").stdout == b"testbed1\n"
    assert host.run(["cat"], stdin=b"\0\xff").stdout == b"\0\xff"
    assert host.check(["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).strip() < "9"
    assert not Path("/etc/testbed").exists()
    assert "testbed1" not in Path("/etc/passwd").read_text(encoding="utf-8")

    with Host() as other:
        assert other.run(["id", "testbed1"]).returncode != 0
        other.write("/run/only-there", "")
        assert other.run(["test", "-e", "/run/only-there"]).returncode == 0
        assert host.run(["test", "-e", "/run/only-there"]).returncode != 0
        directory = other.directory
    assert not directory.exists()
    assert str(directory) not in Path("/proc/mounts").read_text(encoding="utf-8")


def test_hosts_of_a_network(network: Network, network_named: Named, network_pebble: Pebble) -> None:
    """They are empty, root logs in, and they reach each other and the servers on this machine."""
    with NetworkedHost(network, "one") as one, NetworkedHost(network, "two") as two:
        assert one.ssh(["hostname"]).stdout == b"one\n"
        assert one.ssh(["true"], key_file=two.key_file).returncode == 255
        assert one.check(["sh", "-c", "echo /etc/certgrinder* /usr/local/bin/certgrinder*"]) == (
            "/etc/certgrinder* /usr/local/bin/certgrinder*\n"
        )
        assert one.run(["id", "certgrinderd"]).returncode == 1
        scan = ["ssh-keyscan", "-t", "ed25519", two.address]
        assert two.known_hosts.read_text().split()[2] in one.check(scan)
        address, _, port = network_pebble.directory_url[8:-4].partition(":")
        assert address == network.gateway
        one.check(["openssl", "s_client", "-connect", f"{address}:{port}"])
        network_named.address_of("one.example.test", address=one.address)
        port = str(network_named.port)
        asked = ["dig", "+short", f"@{network.gateway}", "-p", port, "one.example.test"]
        assert one.check(asked) == f"{one.address}\n"

        one.check(["touch", "/etc/changed"])
        one.stop()
        one.start()
        assert one.ssh(["test -e /etc/changed"]).returncode == 1
        assert two.ssh(["true"]).returncode == 0
    assert not Path("/etc/changed").exists()
