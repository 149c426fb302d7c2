"""From empty hosts to certificates by one run of ansible/site.yml; then a second server."""

from __future__ import annotations

import base64
import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.testbed.authority import issue, make_ca
from tests.testbed.csr import make_csr
from tests.testbed.named import Named
from tests.testbed.network import Network, NetworkedHost
from tests.testbed.pebble import Pebble
from tests.testbed.playbook import DEBIAN, FOLDER, NEWEST, Controller, Run, lying_python
from tests.testbed.server import MissingProgramError

SERVER = "certgrinder.example.test"
NAMES = ["site.example.test", "www.site.example.test"]
ALONE = "alone.site.example.test"
SAME = "same.site.example.test"
CERTIFICATES = "/var/lib/certgrinder/certificates"
KEY = "/etc/certgrinder/id_ed25519"
KEYS = "/etc/certgrinderd/authorized_keys"
VERSION = "0.21.1"
EXAMPLE = FOLDER / "examples/scale-out"
CLIENTS = 16
# Of the client's variables those that come from the test bed: its hosts reach no index of packages,
# and have no nginx to reload.
OFFLINE = (
    "certgrinder_install_packages",
    "certgrinder_pip_extra_args",
    "certgrinder_reload_commands",
)


@pytest.fixture(scope="session")
def wheels(pytestconfig: pytest.Config) -> Path:
    """The public client and all that it needs, for hosts that reach no index."""
    assert pytestconfig.cache
    folder = pytestconfig.cache.mkdir("certgrinder-wheels")
    if not list(folder.glob(f"certgrinder-{VERSION}-*.whl")):
        version = ["/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        python = subprocess.run(version, capture_output=True, check=True, text=True).stdout.strip()
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
        only = ["--only-binary=:all:", f"--python-version={python}"]
        subprocess.run([*pip, *only, f"certgrinder=={VERSION}"], check=True)
    return folder


@dataclass
class Site:
    """The hosts, and what the inventory says about them.

    Attributes:
        one, two: The servers.
        web: The machine with the public client.
        server_variables: Of both servers.
        client_variables: Of the clients.
        folder: Where the controller keeps keys.
    """

    one: NetworkedHost
    two: NetworkedHost
    web: NetworkedHost
    server_variables: dict[str, Any]
    client_variables: dict[str, Any]
    folder: Path
    more: dict[NetworkedHost, dict[str, Any]] = field(default_factory=dict)

    def run(self, *words: str, playbook: str = "site.yml", by: Path = NEWEST) -> Run:
        """Run a playbook; with site.yml the one of the example that certifies host keys first."""
        keys = {"ssh_host_ca": str(self.folder / "ca"), "work": str(self.folder / "certificates")}
        first = [str(EXAMPLE / "host_certificates.yml")] if playbook == "site.yml" else []
        clients = {self.web: self.client_variables, **self.more}
        return Controller(by).run(
            {self.one: self.server_variables, self.two: self.server_variables, **clients},
            *("--extra-vars", json.dumps(keys), *words, *first),
            playbook=FOLDER / playbook,
            groups={"certgrinderd": [self.one, self.two], "certgrinder_clients": list(clients)},
            timeout=1200,
        )

    def run_one(self, *words: str) -> Run:
        """Run site.yml for the first server and the client, by the inventory in the README."""
        text = (FOLDER / "README.md").read_text(encoding="utf-8")
        (block,) = re.findall(r"^```yaml\n(all:\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
        ours = {"example.com": NAMES[0], "example.net": ALONE, "example.org": "example.test"}
        for theirs, name in ours.items():
            block = block.replace(theirs, name)
        groups = yaml.safe_load(block)["all"]["children"]
        clients = groups["certgrinder_clients"]
        (own,) = clients["hosts"].values()
        assert len(groups["certgrinderd"]["hosts"]) == 1
        more = {name: self.client_variables[name] for name in OFFLINE}
        return Controller(NEWEST).run(
            {self.one: self.server_variables, self.web: {**clients["vars"], **own, **more}},
            *words,
            playbook=FOLDER / "site.yml",
            groups={"certgrinderd": [self.one], "certgrinder_clients": [self.web]},
            timeout=1200,
        )

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key on the client's disk."""
        key = self.web.check(["cat", f"{CERTIFICATES}/{NAMES[0]}-keypair.ecdsa.key"]).encode()
        loaded = serialization.load_pem_private_key(key, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        return loaded

    def chain(self) -> list[x509.Certificate]:
        """The certificates on the client's disk, for the key there."""
        chain = self.web.check(["cat", f"{CERTIFICATES}/{NAMES[0]}-chain.ecdsa.crt"]).encode()
        certificates = x509.load_pem_x509_certificates(chain)
        assert certificates[0].public_key() == self.key().public_key()
        return certificates

    def make_old(self) -> None:
        """Put a certificate there that has less than 30 days left."""
        ca = make_ca()
        old = issue(ca, NAMES[0], names=NAMES, key=self.key())
        for kind, content in (("certificate", old.pem), ("chain", old.pem + ca.pem)):
            self.web.write(f"{CERTIFICATES}/{NAMES[0]}-{kind}.ecdsa.crt", content)
        self.web.check(["chown", "-R", "certgrinder:", CERTIFICATES])

    def periodic(self) -> str:
        """Run what cron runs, as cron does; return what it says on standard error."""
        line = self.web.check(["tail", "-n", "1", "/etc/cron.d/certgrinder"]).strip()
        found = re.fullmatch(r"(\d+) (\d+),(\d+) \* \* \* certgrinder (/.* periodic)", line)
        assert found
        minute, first, second = (int(number) for number in found.groups()[:3])
        assert 0 <= minute < 60
        assert first + 12 == second < 24
        done = self.web.run(["sh", "-c", found[4]], user="certgrinder")
        assert (done.returncode, done.stdout) == (0, b"")
        return done.stderr.decode()

    def add_address(self, server: NetworkedHost) -> None:
        """Give the name of the servers one more address, for the client."""
        line = f"{server.address} {SERVER}\n".encode()
        self.web.check(["sh", "-c", "cat >>/etc/hosts"], stdin=line)

    def knows(self, server: NetworkedHost) -> bool:
        """Whether a server lets the client's key in."""
        keys = server.check(["cat", "/etc/certgrinderd/authorized_keys"])
        return self.web.check(["cat", f"{KEY}.pub"]).split()[1] in keys

    def is_there(self, path: str) -> bool:
        """Whether the client's machine has this file."""
        return self.web.run(["test", "-e", path]).returncode == 0


def make_key(path: Path) -> str:
    """Make an SSH key pair; return the public half."""
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True)
    return path.with_suffix(".pub").read_text(encoding="ascii").strip()


@pytest.fixture(scope="module")
def site(  # noqa: PLR0917 - the parts of the test bed
    pyz: Path,
    network: Network,
    network_named: Named,
    network_pebble: Pebble,
    wheels: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Three empty hosts; the client's has the packages of an index that it can't reach."""
    folder = tmp_path_factory.mktemp("site")
    secret = re.search(r'secret "(.*)"', network_named.key_file.read_text(encoding="ascii"))
    assert secret
    example = yaml.safe_load((EXAMPLE / "inventory.yml").read_text(encoding="utf-8"))
    example_variables = example["all"]["children"]["certgrinderd"]["vars"]
    own = [f"client{number}.site.example.test" for number in range(CLIENTS)]
    network_named.delegate(*NAMES, ALONE, SAME, *own)
    server_variables = {
        **example_variables,
        "certgrinderd_program_file": str(pyz),
        "certgrinderd_install_packages": False,  # see test_ansible.py
        "certgrinderd_config": {
            **example_variables["certgrinderd_config"],
            "acme-server-url": network_pebble.directory_url,
            "acme-ca-file": "/etc/certgrinderd/ca.pem",
            "acme-email": "admin@example.test",
            "acme-zone": network_named.zone,
        },
        "certgrinderd_secrets": {"ca.pem": network_pebble.ca_file.read_text(encoding="ascii")},
        "certgrinderd_tsig_key": {"name": "challenge", "secret": secret[1]},
        "certgrinderd_hooks_conf": {
            "CERTGRINDERD_NSUPDATE_SERVER": network.gateway,
            "CERTGRINDERD_NSUPDATE_PORT": network_named.port,
        },
        "certgrinder_server": SERVER,
        "other_clients": [
            {
                "name": name.partition(".")[0],
                "keys": [make_key(folder / name.partition(".")[0])],
                "domainsets": [[name], [SAME]],
            }
            for name in own
        ],
    }
    client_variables = {
        "certgrinder_server": SERVER,
        "certgrinder_server_host_cas": [make_key(folder / "ca")],
        "certgrinder_domainsets": [NAMES],
        # The hosts reach no archive of packages either; what they need is installed here.
        "certgrinder_install_packages": False,
        "certgrinder_pip_extra_args": "--no-index --find-links /root/wheels",
        "certgrinder_reload_commands": ["/usr/bin/touch /run/reloaded"],
    }
    try:
        hosts = [NetworkedHost(network, name) for name in ("one", "two", "web")]
    except MissingProgramError as error:
        pytest.skip(str(error))
    one, two, web = hosts
    with one, two, web:
        for path in wheels.glob("*.whl"):
            web.write(f"/root/wheels/{path.name}", path.read_bytes())
        made = Site(one, two, web, server_variables, client_variables, folder)
        made.add_address(one)
        yield made


def names_of(certificate: x509.Certificate) -> list[str]:
    """Its host names."""
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(found.value.get_values_for_type(x509.DNSName))


# The tests of this file are steps: each goes on where the one before it ended.


def test_check_of_an_empty_client_changes_nothing(site: Site) -> None:
    """It says what would be changed, and leaves no trace."""
    run = site.run("--check", playbook="client.yml", by=DEBIAN)
    assert run.returncode == 0, run.output
    changed = run.changed(site.web)
    assert {"Create the user", "Create the SSH key"} <= set(changed)
    assert "Install certgrinder" in changed
    words = ["sh", "-c", "ls -d /etc/certgrinder* /var/lib/certgrinder* /usr/local/lib/*"]
    assert "certgrinder" not in site.web.run(words).stdout.decode()
    assert site.web.run(["id", "certgrinder"]).returncode != 0


def test_one_run_ends_with_a_certificate(site: Site, network_pebble: Pebble) -> None:
    """Of two empty hosts one gets in with a key that it made, and trusts the other one's alone."""
    run = site.run_one()
    assert run.returncode == 0, run.output
    leaf, issuer = site.chain()
    assert names_of(leaf) == sorted(NAMES)
    leaf.verify_directly_issued_by(issuer)
    root = x509.load_pem_x509_certificate(network_pebble.root().encode())
    issuer.verify_directly_issued_by(root)
    assert site.is_there(f"{CERTIFICATES}/{ALONE}-chain.ecdsa.crt")
    assert site.knows(site.one)
    known = site.web.check(["grep", "-v", "^#", "/etc/certgrinder/known_hosts"])
    own = site.one.check(["sh", "-c", "cat /etc/ssh/ssh_host_*_key.pub"])
    assert {tuple(line.split()) for line in known.splitlines()} == {
        (SERVER, *line.split()[:2]) for line in own.splitlines()
    }
    key_files = (
        KEY,
        CERTIFICATES,
        f"{CERTIFICATES}/{NAMES[0]}-keypair.ecdsa.key",
    )
    modes = site.web.check(["stat", "-c", "%U %a", *key_files])
    assert modes.splitlines() == ["certgrinder 600", "certgrinder 750", "certgrinder 640"]
    # In what root makes there is no place for a link of the user's.
    folders = ["/etc/certgrinder", "/var/lib/certgrinder", "/usr/local/lib/certgrinder"]
    find = [
        "find",
        *folders,
        "-writable",
        "-not",
        "-type",
        "l",
        "-not",
        "-path",
        f"{CERTIFICATES}/*",
    ]
    found = site.web.run(find, user="certgrinder")
    assert sorted(found.stdout.decode().split()) == sorted([KEY, CERTIFICATES])


def test_server_more(site: Site) -> None:
    """One run makes it, lets the clients in, and gives them an SSH CA to know it by."""
    before = site.chain()
    site.add_address(site.two)
    run = site.run()
    assert run.returncode == 0, run.output
    assert site.knows(site.one)
    assert site.knows(site.two)
    known = site.web.check(["grep", "-v", "^#", "/etc/certgrinder/known_hosts"])
    (line,) = known.splitlines()
    assert line.startswith(f"@cert-authority {SERVER} ssh-ed25519 ")
    assert site.chain() == before
    # A second run changes nothing; the server's own is in test_ansible.py.
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(site.run, playbook=name) for name in ("account.yml", "client.yml")]
    for run in (each.result() for each in runs):
        assert run.returncode == 0, run.output
        for host in (site.one, site.two, site.web):
            assert run.changed(host) == []


def test_cron_renews(site: Site) -> None:
    """A certificate with less than 30 days left is replaced, and root's reload command runs."""
    before = site.chain()
    site.web.check(["rm", "-f", "/run/reloaded"])
    assert site.periodic() == ""
    assert site.chain() == before
    assert not site.is_there("/run/reloaded")

    site.make_old()
    site.periodic()
    after = site.chain()
    assert after[0].issuer == before[0].issuer
    assert after[0].serial_number != before[0].serial_number
    assert site.web.check(["stat", "-c", "%U", "/run/reloaded"]) == "root\n"
    for words in (["/run/reloaded", "/etc/evil"], [], ["/etc/evil"]):
        sudo = ["sudo", "-n", "/usr/bin/touch", *words]
        assert site.web.run(sudo, user="certgrinder").returncode != 0
    # Debian's sudo has a PATH for all; others' have not.
    site.web.check(["sed", "-i", "/secure_path/d", "/etc/sudoers"])
    assert "secure_path=/usr/local/sbin" in site.web.check(["sudo", "-l", "-U", "certgrinder"])


def test_clients_of_both_servers_at_the_same_moment(site: Site, network_named: Named) -> None:
    """Each gets a certificate, also those who ask for one name; there is one ACME account."""
    known = site.folder / "known_hosts"
    ca = (site.folder / "ca.pub").read_text(encoding="ascii")
    known.write_text(f"@cert-authority {SERVER} {ca}", encoding="ascii")
    options = {"HostKeyAlias": SERVER, "UserKnownHostsFile": str(known)}

    def ask(number: int) -> tuple[str, subprocess.CompletedProcess[bytes]]:
        name = SAME if number % 4 < 2 else f"client{number}.site.example.test"
        server = (site.one, site.two)[number % 2]
        answer = server.ssh(
            ["get", "certificate"],
            user="certgrinderd",
            key_file=site.folder / f"client{number}",
            stdin=make_csr([name]).pem,
            options=options,
            timeout=300,
        )
        return name, answer

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(ask, range(CLIENTS)))
    for name, answer in answers:
        assert answer.returncode == 0, answer.stderr.decode()
        assert names_of(x509.load_pem_x509_certificates(answer.stdout)[0]) == [name]
        assert network_named.challenges(name) == []

    def said(server: NetworkedHost, *words: str, **more: str) -> tuple[int, str]:
        key_file = site.folder / "client0"
        done = server.ssh(
            words, user="certgrinderd", key_file=key_file, options={**options, **more}
        )
        return done.returncode, done.stdout.decode()

    accounts = [
        re.findall(r"Account URL: \S+", said(server, "show", "acmeaccount")[1])
        for server in (site.one, site.two)
    ]
    assert accounts[0] == accounts[1] != []
    # A server whose key the CA has not signed is none of them.
    assert said(site.one, "ping", HostKeyAlgorithms="rsa-sha2-512") == (255, "")
    assert said(site.one, "ping") == (0, "pong\n")


def test_mistakes_and_a_timer(site: Site, network_named: Named) -> None:
    """A mistake stops its host before anything is changed; the servers' reason is shown."""
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "misspelt": ({"certgrinder_domainset": [["a.test"]]}, "has no variable"),
        "text": ({"certgrinder_domainsets": "a.test"}, "must be a list with a list"),
        "empty": ({"certgrinder_domainsets": []}, "must be a list with a list"),
        "twice": ({"certgrinder_domainsets": [["a.test"], ["a.test", "b.test"]]}, "no two"),
        "comma": ({"certgrinder_domainsets": [["a.test,b.test"]]}, "must be a list with"),
        "server": ({"certgrinder_server": "-oProxyCommand=id"}, "is not what it should be"),
        "key": ({"certgrinder_server_host_keys": ["ssh-ed25519"]}, "is not what it should be"),
        "command": ({"certgrinder_reload_commands": ["touch /x"]}, "is not what it should be"),
        "type": ({"certgrinder_key_types": ["dsa"]}, "must be one or more of: ecdsa, rsa"),
        "strange": (
            {"certgrinder_server_hosts": [], "certgrinder_server_host_cas": []},
            "No host key of",
        ),
    }
    for name, (variables, _) in wrong.items():
        alias = copy.copy(site.web)
        alias.name = name
        site.more[alias] = {**site.client_variables, **variables}
    network_named.delegate("new.site.example.test")
    site.client_variables["certgrinder_domainsets"] = [NAMES, ["new.site.example.test"]]
    site.client_variables["certgrinder_schedule"] = "systemd"
    run = site.run(playbook="client.yml")
    for alias, (_, reason) in zip(site.more, wrong.values(), strict=True):
        pattern = rf"^fatal: \[{alias.name}\].*(?:\n(?!TASK).*)*"
        failed = re.findall(pattern, run.output, re.MULTILINE)
        assert len(failed) == 1
        assert reason in " ".join(failed[0].replace("\\n", " ").split())
        assert run.changed(alias) == []
    site.more.clear()
    assert "web has no good certificate" in run.message
    assert "may not have new.site.example.test" in run.message

    units = [f"/etc/systemd/system/certgrinder.{kind}" for kind in ("service", "timer")]
    site.web.check(["cat", *units])
    if site.web.run(["which", "systemd-analyze"]).returncode == 0:
        site.web.check(["systemd-analyze", "verify", "--man=no", *units])
    assert site.is_there("/etc/systemd/system/timers.target.wants/certgrinder.timer")
    assert not site.is_there("/etc/cron.d/certgrinder")


def test_client_that_is_down_is_not_shut_out(site: Site) -> None:
    """The run stops before the servers' keys are written, and says which client it is.

    So it does for one that was taken over, names its own entry among its facts, and breaks off.
    """
    down = copy.copy(site.web)
    down.name, down.address = "down", "127.0.0.1"
    site.more[down] = {**site.client_variables, "ansible_port": 1}
    entry = {
        "name": "evil",
        "keys": [make_key(site.folder / "evil")],
        "domainsets": [["evil.test"]],
    }
    broken = copy.copy(site.web)
    broken.name = "broken"
    facts = {"ansible_facts": {"certgrinder_entry": entry}}
    lying = lying_python(site.web, facts, fails_at="modules.slurp")
    site.more[broken] = {**site.client_variables, **lying}
    keys = site.one.check(["cat", KEYS])
    run = site.run("--tags", "clients")
    site.more.clear()
    assert run.returncode != 0
    assert re.search(r"There is no key from (broken, down|down, broken):", run.message)
    assert site.one.check(["cat", KEYS]) == keys


def test_client_does_not_choose_its_names(site: Site) -> None:
    """One that was taken over says what it likes about itself; the inventory counts."""
    honest = site.client_variables
    indirect = {"names": ["liar.example.test"], "certgrinder_domainsets": ["{{ names }}"]}
    # What it says about its system is the name of a file of the controller, but not the path.
    place = f"{'../' * 20}{site.folder}/evil"
    (site.folder / "evil.yml").write_text("__certgrinder_root_group: evil\n", encoding="ascii")
    key = site.web.check(["cat", f"{KEY}.pub"]).strip()
    comment = f"{key} {{{{ lookup('pipe', 'touch {site.folder}/obeyed') }}}}".encode()
    evil = {
        "ansible_facts": {"names": ["evil.example.test"], "ansible_os_family": place},
        "content": base64.b64encode(comment).decode(),
    }
    worse = {"ansible_facts": {"certgrinder_domainsets": [["evil.example.test"]]}}
    try:
        site.client_variables = {**honest, **indirect, **lying_python(site.web, evil)}
        run = site.run("--tags", "clients")
        assert run.returncode == 0, run.output
        keys = site.one.check(["cat", KEYS])
        assert "liar.example.test" in keys
        assert "evil" not in keys
        assert not (site.folder / "obeyed").exists()

        site.client_variables = {**honest, **lying_python(site.web, worse)}
        run = site.run("--tags", "clients")
        assert run.returncode != 0
        assert "Among the facts of web are variables" in run.message
        assert site.one.check(["cat", KEYS]) == keys
    finally:
        site.client_variables = {**honest, "certgrinder_domainsets": [NAMES]}
    run = site.run("--tags", "clients")
    assert run.returncode == 0, run.output
    site.client_variables = honest


def test_server_does_not_choose_where_others_write(site: Site) -> None:
    """The first one names the files of the account; outside of it root writes none of them."""
    accounts = "/var/lib/certgrinderd-acme/config/accounts"
    site.two.check(["mv", accounts, f"{accounts}.old"])
    evil = {"files": [{"path": "/etc/evil/regr.json"}], "matched": 1, "content": "ZXZpbA=="}

    def run(variables: dict[str, Any]) -> Run:
        hosts = {site.one: {**site.server_variables, **variables}, site.two: site.server_variables}
        groups = {"certgrinderd": [site.one, site.two]}
        playbook = FOLDER / "account.yml"
        return Controller(NEWEST).run(hosts, playbook=playbook, groups=groups)

    refused = run(lying_python(site.one, evil))
    assert refused.returncode != 0
    assert "one names other files than those of an ACME account" in refused.message
    assert site.two.run(["test", "-e", "/etc/evil"]).returncode != 0
    done = run({})
    assert done.returncode == 0, done.output
    for name in ("private_key.json", "regr.json"):
        found = [
            site.two.check(["find", folder, "-name", name, "-exec", "cat", "{}", "+"])
            for folder in (accounts, f"{accounts}.old")
        ]
        assert found[0] == found[1] != ""


def test_one_server_is_down(site: Site) -> None:
    """The other one goes on for all; a client needs no other settings.

    It is the timer that renews now. Its own status would hide the name that the servers don't
    know; the look at all certificates after it does not.
    """
    site.make_old()
    before = site.chain()
    site.one.stop()
    unit = site.web.check(["cat", "/etc/systemd/system/certgrinder.service"])
    (renew,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    (look,) = re.findall(r"^ExecStartPost=(.*)$", unit, re.MULTILINE)
    assert site.web.run(["sh", "-c", renew], user="certgrinder").returncode == 0
    assert site.chain()[0].serial_number != before[0].serial_number
    assert site.web.run(["sh", "-c", look], user="certgrinder").returncode != 0
