"""The queue in front of Certbot, which can't run twice at once: who comes when."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.testbed import program
from tests.testbed.csr import make_csr
from tests.testbed.server import wait_until

# Writes down whose request it is, and waits until the test lets it go on. It has no certificate.
FAKE_CERTBOT = """#!/bin/sh
echo "$1" >>{folder}/runs
while [ ! -e {folder}/go ]; do sleep 0.05; done
exit 1
"""


class Queue:
    """Requests to a certgrinderd whose Certbot is the test's."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._csr = make_csr(["a.example"]).pem
        certbot = folder / "certbot"
        certbot.write_text(FAKE_CERTBOT.format(folder=folder), "utf-8")
        certbot.chmod(0o755)

    def runs(self) -> list[str]:
        """Whose requests Certbot was run for, in this order."""
        path = self._folder / "runs"
        return path.read_text("utf-8").split() if path.exists() else []

    def request(self, name: str, address: str, key: str) -> Path:
        """Start a request under a name, as a client whose key sshd may tell; return its log."""
        variables = {"SSH_CONNECTION": f"{address} 1 192.0.2.9 22"}
        if key:
            auth = self._folder / f"auth-{name}"
            blob = base64.b64encode(key.encode()).decode("ascii")
            auth.write_text(f"publickey ssh-ed25519 {blob}\n", "utf-8")
            variables["SSH_USER_AUTH"] = str(auth)
        options = {
            "certbot-command": f"{self._folder}/certbot {name}",
            "acme-zone": "acme.example",
            "pid-dir": self._folder,
            "domainsets": "a.example",
        }
        words = [word for option, value in options.items() for word in (f"--{option}", str(value))]
        log = self._folder / f"log-{name}"
        (self._folder / "csr").write_bytes(self._csr)
        client = ["get", "certificate"]
        with (self._folder / "csr").open("rb") as csr, log.open("wb") as stderr:
            process = subprocess.Popen(
                program.command(*words, client=client),
                stdin=csr,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=program.environment(client=client, **variables),
            )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return log

    def waits(self, log: Path) -> None:
        """Wait until that request waits for others."""
        wait_until(
            lambda: b"waiting for process" in log.read_bytes(), timeout=60, what="the request waits"
        )

    def go_on(self) -> None:
        """Let Certbot end, and wait until all requests have."""
        (self._folder / "go").touch()
        logs = list(self._folder.glob("log-*"))
        wait_until(lambda: len(self.runs()) == len(logs), timeout=60, what="all are served")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """Nobody in it."""
    with ExitStack() as stack:
        yield Queue(tmp_path, stack)


@pytest.mark.parametrize("known_by", ["key", "address"])
def test_client_has_one_place_in_the_queue(queue: Queue, known_by: str) -> None:
    """However many requests it sends, another client's comes next: not after all of them."""
    first, other = {
        "key": (("192.0.2.1", "first"), ("192.0.2.1", "other")),
        "address": (("192.0.2.1", ""), ("192.0.2.2", "")),
    }[known_by]
    queue.request("first-1", *first)
    wait_until(lambda: queue.runs() == ["first-1"], timeout=60, what="Certbot runs")
    for number in (2, 3, 4):
        queue.waits(queue.request(f"first-{number}", *first))
    queue.waits(queue.request("other", *other))
    queue.go_on()
    runs = queue.runs()
    assert runs[0] == "first-1"
    # The kernel wakes it first; one that comes at this very moment may be quicker.
    assert runs.index("other") <= 2
    assert sorted(runs) == ["first-1", "first-2", "first-3", "first-4", "other"]
