"""certgrinderd as an admin installs it: a configuration, and keys with a forced command in sshd."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml

from tests.testbed.named import Named
from tests.testbed.nginx import Nginx
from tests.testbed.pebble import Pebble
from tests.testbed.server import clean_environment
from tests.testbed.sshd import Client, Sshd

# How the client's words reach the program: by $SSH_ORIGINAL_COMMAND in the forced command, or from
# the variable of that name.
Form = Literal["passed on", "taken from the variable"]
# What talks to the CA: the ACME client inside certgrinderd, or the certbot inside it.
Engine = Literal["builtin", "certbot"]
ENGINES: tuple[Engine, ...] = ("builtin", "certbot")


class Service:
    """One installation.

    Attributes:
        settings: What the configuration file holds; `configure` writes it.
        temp_dir: Where runs make their private folders.
        engine: What talks to the CA.
    """

    def __init__(  # noqa: PLR0917 - the parts of a test bed
        self,
        pyz: Path,
        sshd: Sshd,
        pebble: Pebble,
        named: Named,
        nginx: Nginx,
        folder: Path,
        *,
        engine: Engine = "builtin",
    ) -> None:
        self._pyz = pyz
        self._sshd = sshd
        self._folder = folder
        self.engine = engine
        self.temp_dir = folder / "temp"
        self.temp_dir.mkdir()
        # What hooks and certbot need and no setting says.
        self.environment = {
            "HOME": str(sshd.directory / "home"),
            # Not root's own, /var/cache/certgrinderd: once for all tests, and gone after them.
            "CERTGRINDERD_CACHE": str(sshd.directory / "cache"),
            "REQUESTS_CA_BUNDLE": str(pebble.ca_file),
            "CERTGRINDERD_NSUPDATE_KEY": str(named.key_file),
            "CERTGRINDERD_NSUPDATE_PORT": str(named.port),
        }
        self.settings: dict[str, object] = {
            "acme-server-url": pebble.directory_url,
            "acme-email": "admin@example.test",
            "acme-zone": named.zone,
            "web-root": str(nginx.webroot),
            "temp-dir": str(self.temp_dir),
            "pid-dir": str(folder),
            "certbot-command": f"{pyz} certbot" if engine == "certbot" else engine,
            **{f"certbot-{kind}-dir": str(folder / kind) for kind in ("config", "work", "logs")},
        }
        self.configure()

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self._folder / "certgrinderd.conf"

    def configure(self, **settings: object) -> None:
        """Change settings, with _ for -; None leaves one out."""
        self.settings.update({name.replace("_", "-"): value for name, value in settings.items()})
        given = {name: value for name, value in self.settings.items() if value is not None}
        self.configuration.write_text(yaml.safe_dump(given), encoding="utf-8")

    def command(self, *words: str) -> list[str]:
        """The program with its configuration, for a shell that has `environment`."""
        return [str(self._pyz), "--config-file", str(self.configuration), *words]

    def add_client(
        self, domainsets: str | None, *, form: Form = "taken from the variable"
    ) -> Client:
        """Let a client in."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        command = shlex.join(["env", *variables, *self.command()])
        if form == "passed on":
            command = f"set -f; {command} $SSH_ORIGINAL_COMMAND"
        return self._sshd.add_client(command=command, domainsets=domainsets)

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the program as the admin does."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            env=clean_environment(**{**self.environment, **(environment or {})}),
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def popen(
        self, *words: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the program as the admin does, with pipes on all three ends."""
        return subprocess.Popen(
            self.command(*words),
            env=clean_environment(**{**self.environment, **(environment or {})}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def write_hook(self, name: str, *lines: str) -> Path:
        """Write a hook of the test's own: lines of sh."""
        path = self._folder / name
        path.write_text("\n".join(["#!/bin/sh", "set -eu", *lines, ""]), encoding="utf-8")
        path.chmod(0o755)
        return path


def log_levels(stderr: bytes | Sequence[str]) -> list[str]:
    """The level of each log line, as the public client reads it: the fifth word."""
    lines = stderr.decode("utf-8").splitlines() if isinstance(stderr, bytes) else stderr
    return [line.split(" ")[4] for line in lines]
