"""The Ansible role of the server, over real SSH: from an empty host to a certificate, and on."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.artefact.test_start import another_build
from tests.testbed.csr import Request, make_csr
from tests.testbed.named import Named
from tests.testbed.network import Network, NetworkedHost
from tests.testbed.pebble import Pebble
from tests.testbed.playbook import DEBIAN, NEWEST, Controller, Run, lying_python
from tests.testbed.server import MissingProgramError, wait_until
from tests.testbed.ways_on import GREETING, SSHD, Login

THOROUGH = pytest.mark.thorough
PROGRAM = "/usr/local/bin/certgrinderd.pyz"
FOLDER = "/etc/certgrinderd"
KEYS = f"{FOLDER}/authorized_keys"
ACCOUNT = "/var/lib/certgrinderd-acme"
SUDOERS = "/etc/sudoers.d/certgrinderd"
DROP_IN = "/etc/ssh/sshd_config.d/00-certgrinderd.conf"
FORMER_DROP_IN = "/etc/ssh/sshd_config.d/10-certgrinderd.conf"
MADE = (FOLDER, ACCOUNT, "/usr/local/lib/certgrinderd", "/var/lib/certgrinderd", PROGRAM)
# Stands for Debian's, which would have to be installed: the one inside the program.
CERTBOT = f"""\
#!/bin/sh
[ "$(id -u)" = 0 ] || exit 1
exec env REQUESTS_CA_BUNDLE=/etc/ca.pem {PROGRAM} certbot "$@"
"""


@dataclass(frozen=True)
class Key:
    """The key pair of a client."""

    file: Path
    public: str


@dataclass
class Server:
    """A host that the role makes a server of.

    Attributes:
        host: The host.
        variables: The role's variables.
    """

    host: NetworkedHost
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """certgrinderd_config."""
        config: dict[str, Any] = self.variables["certgrinderd_config"]
        return config

    def ask(
        self, key: Key, words: str, *, stdin: bytes = b"", **options: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Log in as a client."""
        return self.host.ssh(
            words.split(), user="certgrinderd", key_file=key.file, stdin=stdin, options=options
        )

    def certificate(self, key: Key, *names: str) -> list[x509.Certificate]:
        """Get a certificate, and look whether it is the right one."""
        request: Request = make_csr(list(names))
        answer = self.ask(key, "get certificate", stdin=request.pem)
        assert answer.returncode == 0, answer.stderr.decode()
        chain = x509.load_pem_x509_certificates(answer.stdout)
        assert chain[0].public_key() == request.key.public_key()
        return chain

    def is_there(self, path: str) -> bool:
        """Whether something has this path; a link that leads nowhere has."""
        return self.host.run(["sh", "-c", 'test -e "$1" -o -L "$1"', "sh", path]).returncode == 0

    def listing(self) -> str:
        """All that the role might change, with owners, modes, sizes and times."""
        places = ["/etc", "/usr/local", "/var/lib", "/var/cache/certgrinderd", "/var/www"]
        new = ["!", "-type", "d", "-newer", "/run/throw-away-host"]
        find = ["find", *places, *new, "-printf", r"%p %u %m %s %T@\n"]
        files = self.host.run(find).stdout.decode()
        return files + self.host.check(["ls", "/usr/local", "/etc", "/var/lib", "/var/cache"])


def controller(program: Path) -> Controller:
    """An Ansible, or a skip."""
    try:
        return Controller(program)
    except MissingProgramError as error:
        pytest.skip(str(error))


def new_key(folder: Path, name: str) -> Key:
    """Make a key pair, with the name as its comment."""
    private = ed25519.Ed25519PrivateKey.generate()
    path = folder / name
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)
    return Key(path, f"{public_half(private)} {name}")


def public_half(private: ed25519.Ed25519PrivateKey) -> str:
    """The public key as ssh-keygen writes it."""
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.public_key().public_bytes(*form).decode()


def client(name: str, key: Key, *domainsets: list[str], **more: object) -> dict[str, object]:
    """An element of certgrinderd_clients."""
    return {"name": name, "keys": [key.public], "domainsets": list(domainsets), **more}


@dataclass
class World:
    """All that the tests of this file share.

    Attributes:
        www, mail: The keys of two clients.
        first: A server as the README has it: an ACME side of its own, DNS-01.
        second: No user but one, HTTP-01 by nginx, no drop-ins, no environment=, and an init that
            claims to be systemd.
        third: A Certbot that belongs to root.
    """

    debian: Controller
    newest: Controller
    folder: Path
    named: Named
    www: Key
    mail: Key
    first: Server
    second: Server
    third: Server

    def converge(self, *servers: Server, by: Controller | None = None, words: str = "") -> Run:
        """Run server.yml."""
        return (by or self.newest).run(
            {server.host: server.variables for server in servers}, *words.split()
        )

    def clients(self, *clients: Mapping[str, object], words: str = "") -> Run:
        """Run it for the first server with other clients, and the tag for that."""
        self.first.variables["certgrinderd_clients"] = list(clients)
        return self.converge(self.first, words=f"--tags clients {words}")


def succeeded(run: Run) -> Run:
    """A run that did not fail."""
    assert run.returncode == 0, run.output
    return run


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    pyz: Path,
    network: Network,
    network_named: Named,
    network_pebble: Pebble,
) -> Iterator[World]:
    """Three empty hosts, and what their servers are to be."""
    folder = tmp_path_factory.mktemp("ansible")
    names = ("first", "second", "third")
    try:
        hosts = [NetworkedHost(network, name) for name in names]
    except MissingProgramError as error:
        pytest.skip(str(error))
    key_text = network_named.key_file.read_text("ascii")
    secret = re.search(r'secret "(.*)"', key_text)
    assert secret
    www, mail = (new_key(folder, name) for name in ("www", "mail"))
    variables: dict[str, Any] = {
        "certgrinderd_program_file": str(pyz),
        "certgrinderd_clients": [
            client("www", www, ["www.example.test", "alias.example.test"], ["other.example.test"])
        ],
    }
    config = {
        "acme-server-url": network_pebble.directory_url,
        "acme-ca-file": f"{FOLDER}/ca.pem",
        "acme-email": "admin@example.test",
    }
    by_dns = {
        "certgrinderd_tsig_key": {"name": "challenge", "secret": secret[1]},
        "certgrinderd_hooks_conf": {
            "CERTGRINDERD_NSUPDATE_SERVER": network.gateway,
            "CERTGRINDERD_NSUPDATE_PORT": network_named.port,
        },
        "certgrinderd_secrets": {"ca.pem": network_pebble.ca_file.read_text("ascii")},
        "certgrinderd_config": {**config, "acme-zone": network_named.zone},
    }
    by_http = {
        "certgrinderd_privilege": "single",
        "certgrinderd_domainsets_in": "command",
        "certgrinderd_secrets": by_dns["certgrinderd_secrets"],
        "certgrinderd_config": {
            **config,
            "web-root": "/var/www/acme",
            "max-names": 20,
            # No syslog runs there.
            "syslog-socket": "127.0.0.1:514",
        },
        "certgrinderd_web_server": "nginx",
        "certgrinderd_web_server_name": "web.example.test",
        "certgrinderd_max_startups": "100:30:200",
        "certgrinderd_syslog_facility": "LOG_LOCAL3",
        "certgrinderd_log_file": "/var/log/certgrinderd.log",
    }
    certbot = {
        "certgrinderd_privilege": "certbot",
        "certgrinderd_install_packages": False,
        "certgrinderd_config": {**config, "acme-zone": network_named.zone},
    }
    del certbot["certgrinderd_config"]["acme-ca-file"]  # type: ignore[attr-defined]
    network_named.delegate("www.example.test", "alias.example.test", "other.example.test")
    with hosts[0], hosts[1], hosts[2]:
        network_named.address_of("web.example.test", address=hosts[1].address)
        hosts[1].check(
            ["sh", "-c", "rm -r /etc/ssh/sshd_config.d; ln -s /lib/systemd/systemd /sbin/init"]
        )
        hosts[1].check(["sed", "-i", "/^Include/d", "/etc/ssh/sshd_config"])
        hosts[2].write("/usr/bin/certbot", CERTBOT, mode=0o755)
        hosts[2].write("/etc/ca.pem", network_pebble.ca_file.read_bytes())
        yield World(
            controller(DEBIAN),
            controller(NEWEST),
            folder,
            network_named,
            www,
            mail,
            Server(hosts[0], {**variables, **by_dns}),
            Server(
                hosts[1],
                {
                    **variables,
                    **by_http,
                    "certgrinderd_clients": [client("www", www, ["web.example.test"])],
                },
            ),
            Server(hosts[2], {**variables, **by_dns, **certbot}),
        )


@pytest.mark.parametrize("names", [["first"], pytest.param(["second", "third"], marks=THOROUGH)])
def test_check_mode_on_an_empty_host(world: World, names: list[str]) -> None:
    """It tells what would change, and changes nothing."""
    servers: list[Server] = [getattr(world, name) for name in names]
    last = servers[-1]
    # Of Apache the tests have the program alone: its service is to come with the package.
    web: dict[str, Any] = {
        "certgrinderd_web_server": "apache",
        "certgrinderd_install_packages": False,
    }
    web["certgrinderd_config"] = {**last.config, "web-root": "/var/www/acme"}
    servers[-1] = Server(last.host, {**last.variables, **web})
    before = [server.listing() for server in servers]
    run = succeeded(world.converge(*servers, by=world.debian, words="--check --diff"))
    for server in servers:
        changed = set(run.changed(server.host))
        assert {"Install this version", "Write the keys of all clients"} <= changed
        sshd = "block for all users" if server is world.second else "drop-in"
        assert f"Write the {sshd}" in changed
    assert "Write the site" in run.changed(last.host)
    assert [server.listing() for server in servers] == before


def test_program_without_the_signature_of_a_release_is_refused(world: World, pyz: Path) -> None:
    """By ssh-keygen on the controller, before the server gets anything of it."""
    folder = world.folder / "release"
    folder.mkdir()
    program = shutil.copy(pyz, folder / "certgrinderd.pyz")
    script = """ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -t ed25519 -N '' -f other
        printf 'certgrinderd-release namespaces="certgrinderd" ' | cat - key.pub >allowed_signers"""
    subprocess.run(["sh", "-ec", script], cwd=folder, check=True)
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "certgrinderd", "-f"]
    more = {
        "certgrinderd_program_file": str(program),
        "certgrinderd_allowed_signers": str(folder / "allowed_signers"),
    }
    server = Server(world.first.host, {**world.first.variables, **more})
    before = server.listing()
    subprocess.run([*sign, folder / "other", program], check=True)
    run = world.converge(server, words="--check")
    assert run.returncode != 0
    assert "Could not verify signature" in run.output
    assert server.listing() == before
    Path(f"{program}.sig").unlink()
    subprocess.run([*sign, folder / "key", program], check=True)
    succeeded(world.converge(server, words="--check"))


@pytest.fixture(scope="module")
def made(world: World) -> World:
    """The three servers: one by Debian's Ansible, the others by the newest, side by side."""
    with ThreadPoolExecutor(1) as pool:
        others = pool.submit(world.converge, world.second, world.third)
        succeeded(world.converge(world.first, by=world.debian))
        succeeded(others.result())
    # They are there, and apt takes its time to say so; the second server goes on to ask it.
    world.first.variables["certgrinderd_install_packages"] = False
    return world


def test_empty_host_becomes_a_server(made: World) -> None:
    """A client gets what it may have, and no more; its user has nothing that is worth stealing."""
    first = made.first
    leaf = made.first.certificate(made.www, "www.example.test", "alias.example.test")[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {
        "www.example.test",
        "alias.example.test",
    }
    for wrong in (["alias.example.test", "other.example.test"], ["foreign.example.test"]):
        refused = first.ask(made.www, "get certificate", stdin=make_csr(wrong).pem)
        assert (refused.returncode, refused.stdout) == (3, b"")
    assert first.ask(made.mail, "ping").returncode == 255

    host = first.host
    assert host.check(["getent", "shadow", "certgrinderd"]).split(":")[1] == "*"
    assert host.check(["getent", "passwd", "certgrinderd"]).strip().endswith(":/bin/sh")
    owned = ["find", "/", "-xdev", "-user", "certgrinderd"]
    assert host.run(owned).stdout == b""
    for path in ("acme.conf", "nsupdate.key", "hooks.conf", "ca.pem", "domainsets"):
        denied = host.run(["cat", f"{FOLDER}/{path}"], user="certgrinderd")
        assert b"Permission denied" in denied.stderr, path
    assert host.run(["ls", ACCOUNT], user="certgrinderd").returncode != 0
    assert "acme.test" not in host.check(["cat", f"{FOLDER}/certgrinderd.conf"])

    effect = host.check(["sshd", "-T", "-C", "user=certgrinderd,host=x,addr=192.0.2.1"])
    assert "disableforwarding yes" in effect
    assert "permituserenvironment CERTGRINDERD_DOMAINSETS" in effect
    host.check([PROGRAM, "check", "authorized-keys", KEYS])


def test_key_is_good_for_requests_only(made: World, tmp_path: Path) -> None:
    """No way on, no terminal, no files, no names of its own; root of the same host has all that."""
    first = made.first
    root, www = Login(first.host), Login(first.host, "certgrinderd", made.www.file)
    pong = (0, b"pong\n")
    assert www.run("-W", SSHD) == (255, b"")
    assert root.run("-W", SSHD)[1].startswith(GREETING)
    for option in ("-L", "-D"):
        assert GREETING not in www.heard_through(option)
        assert GREETING in root.heard_through(option)
    for place in ("0", "/tmp/forwarded"):  # noqa: S108 - on the host
        back = ("-o", "ExitOnForwardFailure=yes", "-R", f"{place}:{SSHD}")
        assert www.run(*back, words="ping") == (255, b"")
        assert root.run(*back, words="true") == (0, b"")

    # A terminal makes it \r\n; without the one that it insists on the client gives up.
    assert www.run("-tt", words="ping") == (255, b"")
    assert root.run("-tt", words="echo pong") == (0, b"pong\r\n")
    for program in (["sftp"], ["scp"], ["scp", "-O"]):
        assert not www.copy(program, "/etc/passwd", tmp_path / "passwd")
        assert root.copy(program, "/etc/passwd", tmp_path / "passwd")
    for words in ("", "id", "ping; id", "sh -c id"):
        status, said = www.run(words=words)
        assert status in {2, 3}
        assert said == b""
    wish = {"SetEnv": "CERTGRINDERD_DOMAINSETS=foreign.example.test"}
    foreign = make_csr(["foreign.example.test"]).pem
    refused = first.ask(made.www, "get certificate", stdin=foreign, **wish)
    assert (refused.returncode, refused.stdout) == (3, b"")
    assert www.run("-o", f"SetEnv={wish['SetEnv']}", words="ping") == pong


def test_agent_of_a_client_is_not_taken(made: World) -> None:
    """There is no way back to it while a request runs; root's own is there."""
    host = made.first.host
    root, www = Login(host), Login(host, "certgrinderd", made.www.file)
    agent = {"ForwardAgent": "yes", "IdentityAgent": "SSH_AUTH_SOCK"}
    command = ["ssh-agent", *www.command(words="get certificate", settings=agent)]
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null) as asking:
        request = ["pgrep", "-u", "certgrinderd", "-f", PROGRAM]
        wait_until(lambda: host.run(request).stdout, timeout=30, what="the request begins")
        assert host.check(["find", "/tmp", "-name", "agent.*"]) == ""  # noqa: S108 - on the host
        asking.communicate()
    command = ["ssh-agent", *root.command(words="find /tmp -name agent.*", settings=agent)]
    assert b"/agent." in subprocess.run(command, capture_output=True, check=True).stdout


def test_ceiling_is_the_union_of_the_clients(made: World) -> None:
    """Who takes the user over gets certificates for the clients' names only."""
    rule = f"sudo -n -u certgrinderd-acme {PROGRAM} acme-client --config-file {FOLDER}/acme.conf"
    host = made.first.host
    foreign = make_csr(["foreign.example.test"]).pem
    refused = host.run(rule.split(), user="certgrinderd", stdin=foreign)
    assert (refused.returncode, refused.stdout) == (3, b"")
    own = make_csr(["other.example.test"]).pem
    assert host.run(rule.split(), user="certgrinderd", stdin=own).returncode == 0
    for other in ("id", f"{PROGRAM} show configuration"):
        words = f"sudo -n -u certgrinderd-acme {other}".split()
        assert b"password is required" in host.run(words, user="certgrinderd").stderr


def test_one_user_and_a_web_server(made: World) -> None:
    """No sudo, no drop-ins, no environment=, HTTP-01; and systemd is there but doesn't run."""
    second = made.second
    second.certificate(made.www, "web.example.test")
    assert not second.is_there(SUDOERS)
    text = second.host.check(["cat", "/etc/ssh/sshd_config"])
    assert text.startswith("# BEGIN certgrinderd, for all users\nMaxStartups 100:30:200\n")
    assert text.rstrip().endswith("# END certgrinderd, for its user")
    assert "PermitUserEnvironment CERTGRINDERD" not in text
    assert "--domainsets web.example.test" in second.host.check(["cat", KEYS])
    shown = second.ask(made.www, "show configuration").stdout
    assert b"max-names: 20" in shown


def test_certbot_of_root(made: World) -> None:
    """The system's Certbot, by a rule for its one command line."""
    third = made.third
    third.certificate(made.www, "www.example.test")
    assert third.is_there("/etc/letsencrypt/accounts")
    refused = third.host.run(["sudo", "-n", "/usr/bin/certbot", "renew"], user="certgrinderd")
    assert b"password is required" in refused.stderr


@pytest.fixture(scope="module")
def newer(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of the program."""
    return another_build(pyz, tmp_path_factory.mktemp("newer") / "newer.pyz", whole=True)


def test_second_run_changes_nothing(made: World, newer: Path) -> None:
    """Of any of them, and the check says so too.

    Neither on one that was taken over, and wants other files of the controller.
    """
    wanted = {"certgrinderd_hooks": ["/etc/hosts"], "certgrinderd_program_file": "/etc/hosts"}
    third = Server(made.third.host, dict(made.third.variables))
    third.variables |= lying_python(third.host, {"ansible_facts": wanted})
    run = succeeded(made.converge(made.first, made.second, third))
    for server in (made.first, made.second, third):
        assert run.changed(server.host) == []
        assert run.counts(server.host)["changed"] == 0
    assert not third.is_there(f"{FOLDER}/hooks/hosts")
    # With another version the check says that, and no more.
    target = ["readlink", PROGRAM]
    before = made.first.host.check(target)
    upgraded = Server(
        made.first.host, {**made.first.variables, "certgrinderd_program_file": str(newer)}
    )
    run = succeeded(made.converge(upgraded, words="--check --diff"))
    assert run.changed(made.first.host) == [
        "Install this version",
        "Keep the previous version",
        "Switch to this version",
    ]
    assert made.first.host.check(target) == before


def test_client_comes_and_goes(made: World) -> None:
    """By the tag, which touches the keys and the names alone; who is removed is out at once."""
    first = made.first
    www = client("www", made.www, ["www.example.test"])
    mail = client("mail", made.mail, ["mail.example.test"])
    made.named.delegate("mail.example.test")
    run = succeeded(made.clients(www, mail))
    expected = ["Write the domainsets file of the ACME side", "Write the keys of all clients"]
    assert run.changed(first.host) == expected
    first.certificate(made.mail, "mail.example.test")
    succeeded(made.clients({**www, "state": "absent"}, mail))
    assert first.ask(made.www, "ping").returncode == 255
    assert first.ask(made.mail, "ping").stdout == b"pong\n"


def test_two_thousand_clients(made: World) -> None:
    """With a key and a name each; none of it is looped over."""
    keys = [public_half(ed25519.Ed25519PrivateKey.generate()) for _ in range(1999)]
    many = [
        {"name": f"client {number}", "keys": [key], "domainsets": [[f"c{number}.example.test"]]}
        for number, key in enumerate(keys)
    ]
    succeeded(made.clients(*many, client("www", made.www, ["www.example.test"])))
    assert made.first.host.check(["grep", "-c", "^restrict", KEYS]) == "2000\n"
    made.first.certificate(made.www, "www.example.test")


def test_last_client_leaves_an_empty_file(made: World) -> None:
    """Which is as it should be, and nobody comes in."""
    succeeded(made.clients())
    assert made.first.host.check(["cat", KEYS]) == ""
    assert made.first.ask(made.www, "ping").returncode == 255


def test_keys_of_others_need_a_decision(made: World) -> None:
    """They are kept or removed, as a variable says; without it the run stops."""
    first = made.first
    www = client("www", made.www, ["www.example.test"])
    command = f"{PROGRAM} --config-file {FOLDER}/certgrinderd.conf --domainsets x.example"
    line = f'restrict,command="{command}" {made.mail.public}'
    first.host.check(["sh", "-c", f"cat >>{KEYS}"], stdin=f"{line}\n".encode())
    run = made.clients(www)
    assert run.returncode != 0
    assert "certgrinderd_unmanaged_keys to keep or remove" in run.message
    assert "mail" in run.message
    try:
        first.variables["certgrinderd_unmanaged_keys"] = "keep"
        run = succeeded(made.clients(www))
        assert "Write the keys of all clients" in run.changed(first.host)
        assert line in first.host.check(["cat", KEYS])
        assert first.ask(made.mail, "ping").stdout == b"pong\n"
        first.variables["certgrinderd_unmanaged_keys"] = "remove"
        succeeded(made.clients(www))
        assert line not in first.host.check(["cat", KEYS])
    finally:
        del first.variables["certgrinderd_unmanaged_keys"]
        first.host.check(["sed", "-i", "/ mail$/d", KEYS])
    assert first.ask(made.mail, "ping").returncode == 255
    assert first.ask(made.www, "ping").stdout == b"pong\n"


def test_variable_that_is_not_what_it_should_be(made: World) -> None:
    """Stops the run before anything is changed."""
    first = made.first
    before = first.listing()
    wrong = {
        "typo": ("certgrinderd_cleints", [], "no variable certgrinderd_cleints"),
        "text": ("certgrinderd_clients", "www", "option 'certgrinderd_clients' is of type str"),
        "flat": ("certgrinderd_extra_domainsets", ["a.example"], "select('string')"),
        "secret": ("certgrinderd_config", {"eab-hmac-key": "x"}, "certgrinderd_secrets"),
        "proof": ("certgrinderd_config", {"acme-email": "x@example.test"}, "needs acme-zone"),
        "site": ("certgrinderd_web_server", "nginx", "or web-root"),
    }
    # One server under several names: so they are looked at in one run.
    given = {
        alias: {**first.host.inventory(), **first.variables, name: value}
        for alias, (name, value, _) in wrong.items()
    }
    run = made.newest.run_inventory(given, "--tags", "clients")
    assert run.returncode != 0
    for alias, (_, _, reason) in wrong.items():
        assert reason in run.failures(alias)
    assert first.listing() == before


def test_mistake_of_each_kind_names_its_client(made: World) -> None:
    """All of them in one run, which has changed nothing; the unit tests have the whole list."""
    before = made.first.listing()
    good = client("www", made.www, ["www.example.test"])
    run = made.clients(
        good,
        {"name": "no names", "keys": [made.mail.public], "domainsets": []},
        {"name": "text", "keys": ["ssh-ed25519 x"], "domainsets": "a.example"},
        {**good, "name": "options", "command": "/bin/sh"},
        client("line", Key(Path(), f"{made.mail.public}\nssh-ed25519"), ["a.example"]),
    )
    assert run.returncode != 0
    for name in ("no names", "text", "options", "line"):
        assert f"client '{name}': " in run.message
    assert made.first.listing() == before
    made.first.variables["certgrinderd_clients"] = [good]


def test_settings_that_do_not_count_are_taken_back(made: World) -> None:
    """Of several values the first one wins; the old file is put back, and the run fails."""
    host = made.first.host
    other = "/etc/ssh/sshd_config.d/00-admin.conf"
    host.check(["sh", "-c", f"echo '# older' >>{DROP_IN}"])
    before = host.check(["cat", DROP_IN])
    earlier = "PermitUserEnvironment no\nMatch User certgrinderd\nPermitTTY yes\n"
    host.write(other, f"{earlier}SetEnv CERTGRINDERD_DOMAINSETS=x\n")
    host.write(FORMER_DROP_IN, "PermitUserEnvironment CERTGRINDERD_DOMAINSETS\n")
    run = made.converge(made.first, words="--tags sshd")
    assert run.returncode != 0
    assert "old settings were put back" in run.message
    for reason in ("permituserenvironment certgrinderd", "permittty no", "setenv certgrinderd"):
        assert reason in run.message
    assert host.check(["cat", DROP_IN]) == before
    assert host.check(["cat", FORMER_DROP_IN])
    host.check(["rm", other])
    succeeded(made.converge(made.first, words="--tags sshd"))
    assert "# older" not in host.check(["cat", DROP_IN])
    assert host.check(["ls", "/etc/ssh/sshd_config.d"]) == "00-certgrinderd.conf\n"
    assert host.check(["cat", DROP_IN]) == host.check([PROGRAM, "show", "sshd-config"])
    host.check([PROGRAM, "check", "authorized-keys", KEYS])


def test_upgrade_and_rollback_lose_no_request(made: World, newer: Path) -> None:
    """Requests come in all the time, while the program is another one and when it is back."""
    first = made.first
    marks: list[bytes] = []
    target = ["readlink", PROGRAM]
    before = first.host.check(target)
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(
            lambda: made.newest.run(
                {first.host: {**first.variables, "certgrinderd_program_file": str(newer)}}
            )
        )
        while not upgrade.done():
            made.first.certificate(made.www, "www.example.test")
            marks.append(first.ask(made.www, "ping").stdout)
            time.sleep(0.3)
        succeeded(upgrade.result())
        after = first.host.check(target)
        assert after != before
        back = pool.submit(lambda: made.converge(first, words="--tags rollback"))
        while not back.done():
            marks.append(first.ask(made.www, "ping").stdout)
            time.sleep(0.1)
        succeeded(back.result())
    assert set(marks) == {b"pong\n"}
    assert first.host.check(target) == before
    assert first.host.check(["readlink", "/usr/local/lib/certgrinderd/previous.pyz"]) == after
    first.certificate(made.www, "www.example.test")


def test_configuration_that_is_refused_does_not_count(made: World) -> None:
    """The program finds the mistake, and what is in force stays in force."""
    first = made.first
    before = first.host.check(["cat", f"{FOLDER}/certgrinderd.conf", f"{FOLDER}/acme.conf"])
    config = {**first.config, "acme-emial": "x"}
    run = made.newest.run({first.host: {**first.variables, "certgrinderd_config": config}})
    assert run.returncode != 0
    assert "did you mean 'acme-email'" in run.output
    after = first.host.check(["cat", f"{FOLDER}/certgrinderd.conf", f"{FOLDER}/acme.conf"])
    assert after == before
    first.certificate(made.www, "www.example.test")


def test_account_moves_to_another_server(made: World) -> None:
    """Saved and restored by the commands in the README."""
    shown = made.first.ask(made.www, "show acmeaccount").stdout
    assert b"Account URL: https://" in shown
    readme = (Path(__file__).resolve().parents[2] / "ansible/README.md").read_text("utf-8")
    block = re.search(
        r"```sh\nssh root@old (.*) >account.tar\nssh root@new '(.*?)' <", readme, re.DOTALL
    )
    assert block
    saved = made.first.host.run(["sh", "-c", block[1]])
    assert saved.returncode == 0
    restore = block[2].replace("certgrinderd-acme:", "certgrinderd:")
    made.second.host.check(["sh", "-c", restore], stdin=saved.stdout)
    assert made.second.ask(made.www, "show acmeaccount").stdout == shown
    made.second.certificate(made.www, "web.example.test")


def test_absent_removes_what_the_role_made(made: World) -> None:
    """And nothing else; the ACME account of the first stays, of the second it was not to."""
    first, second, third = made.first, made.second, made.third
    first.host.write(f"{FOLDER}/mine", "of the admin\n")
    sshd_config = first.host.check(["cat", "/etc/ssh/sshd_config"])
    for server in (first, second, third):
        server.variables["certgrinderd_state"] = "absent"
    second.variables["certgrinderd_remove_account"] = True
    succeeded(made.converge(first, second, third))
    for server in (first, second, third):
        assert server.ask(made.www, "ping").returncode == 255
        assert server.host.run(["id", "certgrinderd"]).returncode == 1
        gone = [path for path in MADE if server.is_there(path)]
        assert gone == ([FOLDER, ACCOUNT] if server is first else [])
    assert first.host.check(["find", FOLDER, "-type", "f"]) == f"{FOLDER}/mine\n"
    assert first.host.check(["cat", "/etc/ssh/sshd_config"]) == sshd_config
    assert "certgrinderd" not in second.host.check(["cat", "/etc/ssh/sshd_config"])
    kept = first.host.check(["find", ACCOUNT, "-name", "private_key.json", "-printf", "%u %m"])
    assert kept == "root 400"
    assert not first.is_there(SUDOERS)
    assert not third.is_there(SUDOERS)
    assert third.is_there("/etc/letsencrypt/accounts")


def test_collection_is_packed(tmp_path: Path) -> None:
    """With the role and its README."""
    galaxy = NEWEST.with_name("ansible-galaxy")
    if not galaxy.exists():
        pytest.skip("there is no ansible-galaxy")
    folder = Path(__file__).resolve().parents[2] / "ansible"
    command = [str(galaxy), "collection", "build", "--output-path", str(tmp_path), str(folder)]
    subprocess.run(
        command, check=True, capture_output=True, env={"PATH": "/usr/bin", "HOME": str(tmp_path)}
    )
    (packed,) = tmp_path.glob("certgrinderd-deploy-*.tar.gz")
    listed = subprocess.run(["tar", "-tzf", packed], check=True, capture_output=True, text=True)
    assert "roles/certgrinderd/tasks/main.yml" in listed.stdout.splitlines()
