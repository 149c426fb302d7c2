"""BIND: the challenge zone that hooks update, and the zone that the clients' names are in."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.testbed.server import Server, clean_environment, find_program, free_port

_KEY = """\
key "{name}" {{
    algorithm hmac-sha256;
    secret "{secret}";
}};
"""

# The root zone is ours and empty, so that no question leaves the machine. Recursion is on because
# an authoritative-only BIND does not follow a CNAME from one of its zones into another.
_CONFIGURATION = """\
include "{directory}/challenge.key";
include "{directory}/clients.key";
options {{
    directory "{directory}";
    pid-file "{directory}/named.pid";
    session-keyfile "{directory}/session.key";
    managed-keys-directory "{directory}";
    listen-on port {port} {{ {addresses}; }};
    listen-on-v6 {{ none; }};
    allow-query {{ localhost; localnets; }};
    allow-transfer {{ none; }};
    recursion yes;
    forwarders {{ }};
    dnssec-validation no;
    empty-zones-enable no;
    notify no;
    max-cache-ttl 0;
    max-ncache-ttl 0;
}};
controls {{ }};
zone "." {{ type primary; file "root.zone"; }};
zone "{zone}" {{
    type primary; file "challenge.zone"; allow-update {{ key "challenge"; }};
}};
zone "{clients}" {{
    type primary; file "clients.zone"; allow-update {{ key "clients"; }};
}};
"""

_ZONE = """\
$TTL 0
@ SOA ns.testbed. {contact}. 1 3600 600 86400 0
@ NS ns.testbed.
"""


class Named(Server):
    """A name server with two zones, changed by TSIG-signed updates only.

    Attributes:
        port: Where it listens, UDP and TCP, on 127.0.0.1 and on the addresses it was given.
        zone: The challenge zone (ACMEZONE).
        clients: The zone of the clients' names. Every name under it has the address 127.0.0.1;
            those given as `names` or to `delegate` are also delegated for DNS-01.
        key_file: The TSIG key that may change the challenge zone, for `nsupdate -k`.
        wrong_key_file: A key of the same name that named refuses.
        address: "127.0.0.1:PORT".
    """

    program_name = "named"

    def __init__(
        self,
        names: Iterable[str] = (),
        *,
        zone: str = "acme.test",
        clients: str = "example.test",
        port: int | None = None,
        addresses: Iterable[str] = (),
    ) -> None:
        """Prepare a server on the given port, or on a free one."""
        self._nsupdate = find_program("nsupdate")
        self._dig = find_program("dig")
        super().__init__()
        self.port = port or free_port()
        self.zone = zone
        self.clients = clients
        self.address = f"127.0.0.1:{self.port}"
        self.key_file = self.directory / "challenge.key"
        self.wrong_key_file = self.directory / "wrong.key"
        self._clients_key = self.directory / "clients.key"
        self._names = list(names)
        self._addresses = ("127.0.0.1", *addresses)
        self._contact = f"admin-{secrets.token_hex(8)}.testbed"

    def configure(self) -> None:
        """Write keys, zones and named.conf."""
        for path, name in (
            (self.key_file, "challenge"),
            (self.wrong_key_file, "challenge"),
            (self._clients_key, "clients"),
        ):
            secret = base64.b64encode(secrets.token_bytes(32)).decode("ascii")
            self._write(path.name, _KEY.format(name=name, secret=secret))
        zone = _ZONE.format(contact=self._contact)
        self._write("root.zone", zone + "ns.testbed. A 127.0.0.1\n")
        self._write("challenge.zone", zone)
        self._write("clients.zone", zone + "@ A 127.0.0.1\n* A 127.0.0.1\n")
        text = _CONFIGURATION.format(
            directory=self.directory,
            port=self.port,
            addresses="; ".join(self._addresses),
            zone=self.zone,
            clients=self.clients,
        )
        self._write("named.conf", text)
        # Debian's AppArmor profile keeps /usr/sbin/named inside /etc/bind and /var; it goes by
        # path, so a copy may read our folder.
        if Path("/etc/apparmor.d/usr.sbin.named").exists():
            self.program = shutil.copy(self.program, str(self.directory / "named"))

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text, encoding="ascii")

    def command(self) -> Sequence[str]:
        """Run named in the foreground, logging to stderr."""
        return [self.program, "-g", "-n", "1", "-c", str(self.directory / "named.conf")]

    def start(self) -> None:
        """Start, and delegate the names it was made with."""
        super().start()
        self.delegate(*self._names)

    def is_ready(self) -> bool:
        """Whether this server, not another one on its port, answers for both zones."""
        return all(
            any(self._contact in answer for answer in self.query(zone, "SOA"))
            for zone in (self.zone, self.clients)
        )

    def delegate(self, *names: str) -> None:
        """Give names of the clients' zone the CNAME that DNS-01 needs, and their address.

        The address is there by wildcard until `_acme-challenge.NAME` makes NAME exist.
        """
        changes = [
            f"update add _acme-challenge.{name}. 0 CNAME {name}.{self.zone}." for name in names
        ]
        self._change_clients(changes)
        self.address_of(*names)

    def address_of(self, *names: str, address: str = "127.0.0.1") -> None:
        """Give names an address of their own; the wildcard gives none below a delegated name."""
        self._change_clients(
            [
                line
                for name in names
                for line in (f"update delete {name}. A", f"update add {name}. 0 A {address}")
            ]
        )

    def _change_clients(self, changes: Sequence[str]) -> None:
        if changes:
            self.update(*changes, zone=self.clients, key_file=self._clients_key).check_returncode()

    def update(
        self, *lines: str, zone: str | None = None, key_file: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run nsupdate with lines like "update add …"; without a key file, unsigned."""
        script = [f"server 127.0.0.1 {self.port}", f"zone {zone or self.zone}.", *lines, "send"]
        key = ["-k", os.fspath(key_file)] if key_file else []
        return subprocess.run(
            [self._nsupdate, "-t", "10", *key],
            input="\n".join(script) + "\n",
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def query(self, name: str, kind: str) -> list[str]:
        """What `dig +short` says, a line per answer; empty too when nobody answers."""
        return self._dig_for(name, kind, "+short")

    def ttl(self, name: str, kind: str) -> int:
        """The time to live of a name's records, in seconds."""
        return int(self._dig_for(name, kind, "+noall", "+answer")[0].split()[1])

    def serial(self, zone: str) -> int:
        """The serial number of a zone; every change of the zone makes it grow."""
        return int(self.query(zone, "SOA")[0].split()[2])

    def _dig_for(self, name: str, kind: str, *form: str) -> list[str]:
        answer = subprocess.run(
            [
                *(self._dig, "-r", "@127.0.0.1", "-p", str(self.port)),
                *(*form, "+time=2", "+tries=1", "+noidnin", "+noidnout"),
                *("-q", name, "-t", kind),
            ],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return answer.stdout.splitlines() if answer.returncode == 0 else []

    def txt(self, name: str) -> list[str]:
        """The TXT values at a name, sorted, found through CNAMEs as a CA would find them."""
        answers = self.query(name, "TXT")
        return sorted(line.strip('"') for line in answers if line.startswith('"'))

    def challenges(self, domain: str) -> list[str]:
        """The TXT values that are published for a domain just now."""
        return self.txt(f"{domain}.{self.zone}")
