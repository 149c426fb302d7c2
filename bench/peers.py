"""The clients that are measured: how each gets a certificate for a CSR with the same hooks."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from bench.world import NAMES, World

Challenge = Literal["http-01", "dns-01"]

ROOT = Path(__file__).resolve().parent.parent
HOOKS = ROOT / "hooks"
BASE = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Run:
    """One measured run of a client.

    Attributes:
        command: All words.
        env: All of its environment.
        stdin: What it reads, if anything.
        result: Where the certificate is afterwards; standard output if it is None.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    stdin: Path | None = None
    result: Path | None = None


class Peer:
    """A client with an account at the CA.

    Attributes:
        name: For the tables.
        challenges: What it can do.
    """

    name: str
    challenges: tuple[Challenge, ...] = ("http-01", "dns-01")

    def __init__(self, world: World) -> None:
        self.world = world
        self.folder = world.folder / self.name.replace(" ", "-").replace(".", "-")
        self.folder.mkdir()
        self.url = world.pebble.directory_url
        self.ca = str(world.pebble.ca_file)
        self.env = {
            **BASE,
            "HOME": str(self.folder),
            "REQUESTS_CA_BUNDLE": self.ca,
            "SSL_CERT_FILE": self.ca,
            "LEGO_CA_CERTIFICATES": self.ca,
            "CERTGRINDERD_NSUPDATE_KEY": str(world.named.key_file),
            "CERTGRINDERD_NSUPDATE_PORT": str(world.named.port),
            "ACMEZONE": world.named.zone,
        }
        self.prepare()

    def prepare(self) -> None:
        """Make what it needs before its first run."""

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """Say how it is run.

        Args:
            csr: The request.
            challenge: What to prove them by.
            out: A path of this run's own, without suffix.
        """
        raise NotImplementedError(csr)

    def script(self, name: str, *lines: str) -> str:
        """Write a program of sh."""
        path = self.folder / name
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        return str(path)

    def call(self, *command: str, env: Mapping[str, str] | None = None) -> None:
        """Run something that is not measured."""
        done = subprocess.run(command, env=env or self.env, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)}: {done.stdout!r} {done.stderr!r}")


def _place(world: World, challenge: Challenge) -> dict[str, str]:
    if challenge == "http-01":
        return {"web-root": str(world.webroot)}
    return {"acme-zone": world.named.zone}


class Certgrinderd(Peer):
    """This one, as people install it."""

    name = "certgrinderd"
    engine = "builtin"

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """As sshd starts it, with a configuration file and domainsets."""
        path = self.folder / f"{challenge}.conf"
        settings = {
            "acme-server-url": self.url,
            "certbot-command": self.engine,
            "certbot-config-dir": str(self.folder / "config"),
            "acme-ca-file": self.ca,
            **_place(self.world, challenge),
        }
        path.write_text(yaml.safe_dump(settings))
        pyz = str(ROOT / "dist" / "certgrinderd.pyz")
        permitted = ",".join(NAMES)
        command = [pyz, "--config-file", str(path), "--domainsets", permitted, "get", "certificate"]
        return Run(command, self.env, stdin=csr)


class FromPyPI(Peer):
    """Something in a virtual environment of its own."""

    package: str

    def prepare(self) -> None:
        """Install it."""
        self.call("/usr/bin/python3", "-m", "venv", str(self.folder / "venv"))
        pip = str(self.folder / "venv/bin/pip")
        self.call(
            pip, "install", "--quiet", "--disable-pip-version-check", self.package, env=os.environ
        )

    def program(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.folder / "venv/bin" / name)


class PublicCertgrinderd(FromPyPI):
    """The public implementation, which runs certbot."""

    name = "public certgrinderd"
    package = "certgrinderd"

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """With the certbot that it brings along, and without sudo."""
        settings = {
            "acme-server-url": self.url,
            "acme-email": "bench@example.test",
            "auth-hook": str(HOOKS / "manual-auth-hook.sh"),
            "cleanup-hook": str(HOOKS / "manual-cleanup-hook.sh"),
            "certbot-command": self.program("certbot"),
            **{f"certbot-{k}-dir": str(self.folder / k) for k in ("config", "work", "logs")},
            "pid-dir": str(self.folder),
            **_place(self.world, challenge),
        }
        path = self.folder / f"{challenge}.conf"
        path.write_text(yaml.safe_dump(settings))
        env = {**self.env, "CERTGRINDERD_DOMAINSETS": ",".join(NAMES)}
        command = [self.program("certgrinderd"), "-c", str(path), "get", "certificate"]
        return Run(command, env, stdin=csr)


class Certbot(FromPyPI):
    """certbot alone."""

    name = "certbot"
    package = "certbot"

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """By its manual plugin with the same hooks."""
        env = {**self.env, "WEBROOT": str(self.world.webroot)}
        folders = [
            word
            for kind in ("config", "work", "logs")
            for word in (f"--{kind}-dir", str(self.folder / kind))
        ]
        command = [
            *(self.program("certbot"), "certonly", "-n", "--agree-tos", "--manual"),
            *("--register-unsafely-without-email", "--server", self.url, *folders),
            *("--preferred-challenges", challenge.removesuffix("-01")),
            *("--manual-auth-hook", str(HOOKS / "manual-auth-hook.sh")),
            *("--manual-cleanup-hook", str(HOOKS / "manual-cleanup-hook.sh")),
            *("--csr", str(csr), "--fullchain-path", f"{out}.pem"),
            *("--cert-path", f"{out}.crt", "--chain-path", f"{out}.chain"),
        ]
        return Run(command, env, result=out.with_suffix(".pem"))


class AcmeTiny(FromPyPI):
    """acme-tiny: one file, HTTP-01 only, RSA account key of 4096 bits as its README says."""

    name = "acme-tiny"
    package = "acme-tiny"
    challenges = ("http-01",)

    def prepare(self) -> None:
        """Make the key of the account too."""
        super().prepare()
        self.call("openssl", "genrsa", "-out", str(self.folder / "account.key"), "4096")

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """It writes the challenge files itself; its own check of them asks port 80."""
        command = [
            *(self.program("acme-tiny"), "--account-key", str(self.folder / "account.key")),
            *("--csr", str(csr), "--directory-url", self.url, "--disable-check"),
            *("--acme-dir", str(self.world.webroot / ".well-known/acme-challenge"), "--quiet"),
        ]
        return Run(command, self.env)


class Uacme(Peer):
    """uacme, in C."""

    name = "uacme"

    def prepare(self) -> None:
        """Make the account, and a hook that calls ours."""
        self.hook = self.script(
            "hook",
            f'export CERTBOT_DOMAIN="$3" CERTBOT_VALIDATION="$5" WEBROOT={self.world.webroot}',
            '[ "$2" = "$WANTED" ] || exit 1',
            '[ "$2" = dns-01 ] || export CERTBOT_TOKEN="$4"',
            f"case $1 in begin) exec {HOOKS}/manual-auth-hook.sh ;; esac",
            f"exec {HOOKS}/manual-cleanup-hook.sh",
        )
        self.call(*self._uacme("-y", "new", "bench@example.test"))

    def _uacme(self, *words: str) -> list[str]:
        # It trusts the system's CAs alone.
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        mount = f'mount --bind {self.ca} {bundle} && exec uacme "$@"'
        own = ("-a", self.url, "-c", str(self.folder / "config"))
        return ["unshare", "--mount", "sh", "-c", mount, "sh", *own, *words]

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """It writes the certificate next to the CSR."""
        copy = out.with_suffix(".csr")
        copy.write_bytes(csr.read_bytes())
        env = {**self.env, "WANTED": challenge}
        command = self._uacme("-f", "-h", self.hook, "issue", str(copy))
        return Run(command, env, result=out.with_name(f"{out.name}-cert.pem"))


class Dehydrated(Peer):
    """dehydrated, in bash."""

    name = "dehydrated"

    def prepare(self) -> None:
        """Make the account, and a hook that calls ours for DNS-01."""
        hook = self.script(
            "hook",
            '[ "$WANTED" = dns-01 ] || exit 0',
            "case $1 in deploy_challenge) kind=auth ;; clean_challenge) kind=cleanup ;;",
            "*) exit 0 ;; esac",
            'export CERTBOT_DOMAIN="$2" CERTBOT_VALIDATION="$4"',
            f"exec {HOOKS}/manual-$kind-hook.sh",
        )
        (self.folder / "config").write_text(
            f'CA="{self.url}"\nBASEDIR="{self.folder}"\nCURL_OPTS="--cacert {self.ca}"\n'
            f'WELLKNOWN="{self.world.webroot}/.well-known/acme-challenge"\nHOOK="{hook}"\n'
        )
        self.call("dehydrated", "-f", str(self.folder / "config"), "--register", "--accept-terms")

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """It writes challenge files itself."""
        command = ["dehydrated", "-f", str(self.folder / "config"), "--signcsr", str(csr)]
        env = {**self.env, "WANTED": challenge}
        return Run([*command, "--challenge", challenge], env)


class Lego(Peer):
    """lego, in Go."""

    name = "lego"

    def prepare(self) -> None:
        """Make a hook for DNS-01 that calls ours."""
        zone = self.world.named.zone  # where the name's CNAME leads to
        self.hook = self.script(
            "hook",
            f"name=${{2#_acme-challenge.}} && name=${{name%.}} && name=${{name%.{zone}}}",
            'export CERTBOT_DOMAIN="$name" CERTBOT_VALIDATION="$3"',
            f"case $1 in present) exec {HOOKS}/manual-auth-hook.sh ;; esac",
            f"exec {HOOKS}/manual-cleanup-hook.sh",
        )

    def run(self, csr: Path, challenge: Challenge, out: Path) -> Run:
        """It writes challenge files itself; it does not wait for the DNS."""
        env = {**self.env, "EXEC_PATH": self.hook}
        way = ["--http", "--http.webroot", str(self.world.webroot)]
        if challenge == "dns-01":
            resolver = f"127.0.0.1:{self.world.named.port}"
            way = ["--dns", "exec", "--dns.disable-cp", "--dns.resolvers", resolver]
        command = [
            *("lego", "--server", self.url, "--email", "bench@example.test", "--accept-tos"),
            *("--path", str(self.folder / "lego"), "--csr", str(csr), "--filename", out.name),
            *(*way, "run"),
        ]
        return Run(command, env, result=self.folder / "lego/certificates" / f"{out.name}.crt")


@dataclass
class Field:
    """The clients that compete in a world; those that can't be installed are left out, by name.

    Attributes:
        peers: Those that work.
        missing: Why others don't.
    """

    peers: list[Peer] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


ALL: tuple[type[Peer], ...] = (
    *(Certgrinderd, PublicCertgrinderd, Certbot, AcmeTiny, Uacme, Dehydrated, Lego),
)


def prepare(world: World, wanted: Sequence[str]) -> Field:
    """Install and register them."""
    found = Field()
    for kind in ALL:
        if wanted and kind.name not in wanted:
            continue
        try:
            found.peers.append(kind(world))
        except (OSError, RuntimeError) as error:
            found.missing[kind.name] = str(error)[:300]
            sys.stderr.write(f"left out: {kind.name}: {str(error)[:300]}\n")
    return found
