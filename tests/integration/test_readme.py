# ruff: noqa: S108 - paths in a host of its own
"""What README.md and the pages of docs/ tell an admin to type: each command as it stands there.

An empty server and an empty client go from the first line of the README to a moved server, by the
commands of the pages. Only what this machine can't give is another one: the packages are
installed already, and the CA is Pebble. It validates by the BIND that the README sets up.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from certgrinderd import __version__
from certgrinderd.setup.install import layout
from tests.testbed.network import Network, NetworkedHost
from tests.testbed.pages import ROOT, blocks, commands
from tests.testbed.pebble import Pebble
from tests.testbed.server import MissingProgramError, find_program

README = "README.md"
DAY_TWO = "docs/day-two.md"
SERVER = "certgrinder.example.org"
CONFIGURED = f"certgrinderd.pyz --config-file {layout.CONFIGURATION}"
SCRIPT = ROOT / "contrib/certgrinder.sh"


@dataclass
class Site:
    """The hosts.

    Attributes:
        server: The server that the README sets up.
        new: The machine that it moves to.
        client: A machine that wants certificates.
        pebble: The CA.
    """

    server: NetworkedHost
    new: NetworkedHost
    client: NetworkedHost
    pebble: Pebble

    def ssh(self, words: str, *, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Ask the server as the client does."""
        return self.client.run(
            ["ssh", f"certgrinderd@{SERVER}", "-T", "--", *words.split()], stdin=stdin
        )


def in_root(host: NetworkedHost, text: str) -> subprocess.CompletedProcess[bytes]:
    """Type commands into a shell of root's."""
    return host.run(["sh", "-ec", f"cd /root\n{text}"])


def typed(host: NetworkedHost, text: str) -> str:
    """Type commands that must succeed; return what they print."""
    done = in_root(host, text)
    assert done.returncode == 0, f"{text}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()


@pytest.fixture(scope="module")
def site(pyz: Path, network: Network) -> Iterator[Site]:
    """Three empty hosts, and a CA that asks the first one's name server."""
    try:
        for program in ("named", "ssh", "dig"):
            find_program(program)
        hosts = [NetworkedHost(network, name) for name in (SERVER, "new", "www.example.com")]
        server, new, client = hosts
        pebble = Pebble(
            dns_server=f"{server.address}:53",
            http_port=80,
            address=network.gateway,
            env={"PEBBLE_WFE_NONCEREJECT": "0"},
        )
    except MissingProgramError as error:
        pytest.skip(str(error))
    with ExitStack() as stack:
        for each in (pebble, *hosts):
            stack.enter_context(each)
        server.write("/usr/local/sbin/apt-get", "#!/bin/sh\n", mode=0o755)  # all packages are there
        for host in (server, new):
            host.write("/root/certgrinderd.pyz", pyz.read_bytes(), mode=0o755)
        client.write("/root/.ssh/config", "StrictHostKeyChecking accept-new\n")
        client.check(["sh", "-c", f"echo {server.address} {SERVER} >>/etc/hosts"])
        client.write("/etc/resolv.conf", f"nameserver {server.address}\n")
        yield Site(server, new, client, pebble)


# The tests of this file are steps: each goes on where the one before it ended.


def test_server_is_installed(site: Site) -> None:
    """`install` makes a server; with the configuration of the text its settings are shown."""
    look, do = (text.text for text in blocks(README, "sh") if "install --sshd" in text.text)
    assert "nothing was changed" in typed(site.server, look)
    assert site.server.run(["id", "certgrinderd"]).returncode != 0
    typed(site.server, do)
    (example,) = blocks(README, "yaml")
    ca = f"acme-server-url: {site.pebble.directory_url}\nacme-ca-file: /etc/certgrinderd/ca.pem\n"
    site.server.write("/etc/certgrinderd/ca.pem", site.pebble.ca_file.read_bytes())
    site.server.write("/root/more", example.text + ca)
    site.server.check(["sh", "-c", f"cat /root/more >>{layout.CONFIGURATION}"])
    shown = typed(site.server, commands(README, "show configuration'"))
    assert "acme-zone: acme.example.org" in shown


def test_client_is_let_in(site: Site) -> None:
    """A key and a line by the commands of the text let the client in, from its address alone."""
    (make_key,) = re.findall(r"`(ssh-keygen [^`]*)`", (ROOT / README).read_text(encoding="utf-8"))
    typed(site.client, make_key)
    site.server.write("/root/www.pub", site.client.check(["cat", "/root/.ssh/id_ed25519.pub"]))
    add = commands(README, "show authorized-keys")
    assert "192.0.2.15" in add
    typed(site.server, add.replace("192.0.2.15", site.client.address))
    assert site.ssh("ping").stdout == b"pong\n"
    assert site.ssh("id").returncode == 3


def test_dns_is_set_up(site: Site) -> None:
    """BIND takes changes by the key of the text, and the client's records lead to its zone."""
    records, delegation = (
        block.text for block in blocks(README, "") if "CNAME" in block.text or " NS " in block.text
    )
    typed(site.server, commands(README, "apt-get install -y bind9"))
    head = (
        f"$TTL 60\n@ SOA {SERVER}. hostmaster.example.org. 1 3600 600 604800 60\n@ NS {SERVER}.\n"
    )
    address = f"certgrinder A {site.server.address}\n"
    for zone, text in (("example.com", records), ("example.org", address + delegation)):
        site.server.write(f"/var/lib/bind/{zone}.zone", head + text)
        line = f'zone "{zone}" {{ type primary; file "/var/lib/bind/{zone}.zone"; }};\n'
        add = ["sh", "-c", "cat >>/etc/bind/named.conf.local"]
        site.server.check(add, stdin=line.encode())
    site.server.check(["sh", "-c", "named-checkconf -z && service named restart"])
    assert typed(site.server, commands(README, "nsupdate -k")) == ""
    answers = typed(site.client, commands(README, r"dig \+short")).splitlines()
    assert answers[0].startswith("certgrinder.example.org. hostmaster.example.org. ")
    assert answers[1] == "example.com.acme.example.org."


def test_first_certificate(site: Site) -> None:
    """A key, a CSR and the five commands of the text end with a certificate."""
    typed(site.client, commands(README, "openssl req"))
    asks = commands(README, "show csr")
    assert asks.count("--staging ") == 1  # that one is Let's Encrypt's
    printed = typed(site.client, asks.replace("--staging ", ""))
    assert printed.startswith("pong\n")
    assert "This client may have it: yes" in printed
    chain = site.client.check(["cat", "/root/example.com.pem"])
    leaf = x509.load_pem_x509_certificate(chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert set(names.value.get_values_for_type(x509.DNSName)) == {"example.com", "www.example.com"}


def test_request_is_repeated_by_the_admin(site: Site) -> None:
    """As Troubleshooting in troubleshooting.md has it: with the log of an admin, and the chain."""
    site.server.write("/root/example.com.csr", site.client.check(["cat", "/root/example.com.csr"]))
    done = in_root(site.server, commands("docs/troubleshooting.md", "--debug"))
    assert done.stdout.startswith(b"-----BEGIN CERTIFICATE-----")
    assert b" certgrinderd DEBUG " in done.stderr


def test_account_is_shown(site: Site) -> None:
    """By the user that it belongs to."""
    show = commands(DAY_TWO, r"\Asu .* show acmeaccount")
    assert "Account URL: https://" in typed(site.server, show)


def test_web_root_is_set_up(site: Site) -> None:
    """The hooks can write to it, and so can the test in the text."""
    page = "docs/challenges.md"
    typed(site.server, commands(page, "install -d"))
    typed(site.server, commands(page, "it works"))
    path = "/var/www/acme/.well-known/acme-challenge/test"
    assert site.server.check(["cat", path]) == "it works\n"


def test_certgrinder_sh(site: Site) -> None:
    """The client script gets a certificate as clients.md has it."""
    site.client.write("/root/certgrinder.sh", SCRIPT.read_bytes())
    text = commands("docs/clients.md", "certgrinder.sh")
    assert text.count(" --staging") == 1
    typed(site.client, text.replace(" --staging", ""))
    assert "PRIVATE KEY" in site.client.check(["cat", "/etc/ssl/certgrinder/example.com.key"])
    assert "CERTIFICATE" in site.client.check(["cat", "/etc/ssl/certgrinder/example.com.pem"])


def test_names_of_a_client_change(site: Site) -> None:
    """Its line is replaced; a second line for the key is what the text warns of."""
    site.server.check(["cp", "/root/www.pub", "/etc/certgrinderd/www.pub"])
    change = commands(DAY_TWO, "shop.example.com")
    line = f"{CONFIGURED} show authorized-keys --domainsets shop.example.com www.pub"
    mistake = f"{line} >>{layout.AUTHORIZED_KEYS}"
    before = site.server.check(["cat", layout.AUTHORIZED_KEYS])
    typed(site.server, mistake)
    assert b"shop" not in site.ssh("show configuration").stdout
    assert (
        b"the key is also on line"
        in in_root(site.server, "certgrinderd.pyz check authorized-keys").stderr
    )
    site.server.write(layout.AUTHORIZED_KEYS, before)

    typed(site.server, f"umask 077\n{change}")
    assert b"shop.example.com" in site.ssh("show configuration").stdout
    assert site.server.check(["cat", layout.AUTHORIZED_KEYS]).count("ssh-ed25519") == 1


def test_upgrade_and_back(site: Site, pyz: Path) -> None:
    """The program from before is kept, and comes back by the same command."""
    upgrade = commands(DAY_TWO, "cp -p /usr/local/bin/certgrinderd.pyz")
    # Another build of the same program: a start that says another version in its first lines.
    before = site.server.check(["sha256sum", layout.PROGRAM]).split()[0]
    own = f"# certgrinderd {__version__}.".encode()
    newer = pyz.read_bytes().replace(own, own.replace(b"0", b"9"), 1)
    assert newer != pyz.read_bytes()
    site.server.write("/root/certgrinderd.pyz", newer, mode=0o755)
    typed(site.server, upgrade)
    assert site.server.check(["sha256sum", layout.PROGRAM]).split()[0] != before
    typed(site.server, commands(DAY_TWO, "/root/certgrinderd-before.pyz install"))
    assert site.server.check(["sha256sum", layout.PROGRAM]).split()[0] == before
    assert site.ssh("ping").stdout == b"pong\n"


def test_certificate_is_revoked(site: Site) -> None:
    """The CA knows the reason; without -n a question that nobody answers ends in one line."""
    revoke = commands(DAY_TWO, "certbot revoke")
    stolen = site.client.check(["cat", "/root/example.com.pem"])
    site.server.write("/tmp/stolen.pem", stolen)
    typed(site.server, revoke)
    assert reason_of_revocation(site, stolen) == 1

    questions = revoke.replace(" -n --no-delete-after-revoke", "")
    assert questions != revoke
    another = site.client.check(["cat", "/etc/ssl/certgrinder/example.com.pem"])
    site.server.write("/tmp/stolen.pem", another)
    done = in_root(site.server, questions)
    (line,) = [line for line in done.stderr.decode().splitlines() if " certgrinderd " in line]
    assert done.returncode == 2
    assert "ERROR Certbot asked a question" in line
    assert reason_of_revocation(site, another) == 1  # it asks about its own files afterwards


def reason_of_revocation(site: Site, chain: str) -> object:
    """Why the CA has revoked the first certificate of a chain, as a number of RFC 5280."""
    leaf = x509.load_pem_x509_certificate(chain.encode())
    status = site.pebble.certificate_status(leaf.serial_number)
    assert status["Status"] == "Revoked"
    return status["Reason"]


def test_server_moves(site: Site) -> None:
    """The new machine has the same account, clients and host keys, and gives certificates."""
    account = typed(site.server, f"su certgrinderd -c '{CONFIGURED} show acmeaccount'")
    pack, unpack = (
        block.text for block in blocks(DAY_TWO, "sh") if "certgrinderd.tar.gz" in block.text
    )
    typed(site.server, pack)
    archive = site.server.run(["cat", "/root/certgrinderd.tar.gz"]).stdout
    assert site.server.check(["stat", "-c", "%a", "/root/certgrinderd.tar.gz"]) == "600\n"
    site.new.write("/root/certgrinderd.tar.gz", archive)
    assert account in typed(site.new, unpack)
    hosts = site.client.check(["cat", "/etc/hosts"]).replace(site.server.address, site.new.address)
    site.client.write("/etc/hosts", hosts)
    # The zone stayed where it was.
    site.new.write(
        "/etc/certgrinderd/hooks.conf", f"CERTGRINDERD_NSUPDATE_SERVER={site.server.address}\n"
    )
    site.client.write("/root/.ssh/config", "StrictHostKeyChecking yes\n")
    assert site.ssh("ping").stdout == b"pong\n"
    csr = site.client.check(["cat", "/root/example.com.csr"]).encode()
    done = site.ssh("get certificate", stdin=csr)
    assert done.returncode == 0, done.stderr.decode()
    assert account in typed(site.new, f"su certgrinderd -c '{CONFIGURED} show acmeaccount'")


def test_account_is_deactivated(site: Site) -> None:
    """The CA forgets it; the next request makes another one."""
    typed(site.server, commands(DAY_TWO, "certbot unregister"))
    done = in_root(site.server, f"su certgrinderd -c '{CONFIGURED} show acmeaccount'")
    assert done.returncode == 4


def test_client_goes(site: Site) -> None:
    """Without its line it is not let in any more."""
    site.client.check(["sed", "-i", f"s/{site.new.address}/{site.server.address}/", "/etc/hosts"])
    assert site.ssh("ping").stdout == b"pong\n"
    comment = site.server.check(["cut", "-d", " ", "-f", "3", "/root/www.pub"]).strip()
    text = commands(DAY_TWO, "sed -i")
    typed(site.server, text.replace(r"www\.example\.com", re.escape(comment)))
    assert site.ssh("ping").returncode == 255
