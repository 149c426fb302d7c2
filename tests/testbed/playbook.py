"""Ansible playbooks from the checkout, run against throw-away hosts over SSH."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.network import NetworkedHost
from tests.testbed.server import MissingProgramError, clean_environment

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ansible"
# Debian's, and the newest that the Python of .venv gets, or the one that a test run is to try.
DEBIAN = Path("/usr/bin/ansible-playbook")
NEWEST = Path(os.environ.get("CERTGRINDERD_ANSIBLE", ROOT / ".venv/bin/ansible-playbook"))

_SETTINGS = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(?:.* : )?(.*)\] \**$")
_RESULT = re.compile(r"^(ok|changed|skipping|fatal|failed): \[([^] ]*)[^]]*\]")
_RECAP = re.compile(r"^(\S+) +: (ok=.*)$", re.MULTILINE)


# What root of a host can put in the place of its Python: the answers are no longer Ansible's own.
_LYING_PYTHON = """\
#!/usr/bin/python3
import json, subprocess, sys
program = b"" if sys.argv[1:] else sys.stdin.buffer.read()
if {fails_at!r} and {fails_at!r}.encode() in program:
    sys.exit("it breaks off")
words = ["/usr/bin/python3", *sys.argv[1:]]
done = subprocess.run(words, input=program, stdout=subprocess.PIPE, check=False)
try:
    answer = json.loads(done.stdout)
except ValueError:
    sys.stdout.buffer.write(done.stdout)
else:
    more = {more!r}
    facts = {{**answer.get("ansible_facts", {{}}), **more.get("ansible_facts", {{}})}}
    print(json.dumps({{**answer, **more, "ansible_facts": facts}}))
sys.exit(done.returncode)
"""


def lying_python(
    host: NetworkedHost, more: Mapping[str, object], *, fails_at: str = ""
) -> dict[str, object]:
    """Give a host a Python that adds to each module's answer, as one that was taken over could.

    Args:
        host: The host.
        more: What is added.
        fails_at: The name of a module at which it breaks off; none if it is empty.

    Returns:
        The host's variables by which it is used.
    """
    path = f"/usr/local/bin/{'breaking' if fails_at else 'lying'}-python"
    host.write(path, _LYING_PYTHON.format(more=more, fails_at=fails_at), mode=0o755)
    return {"ansible_python_interpreter": path}


@dataclass(frozen=True)
class Run:
    """What a run came to.

    Attributes:
        returncode: That of ansible-playbook.
        output: What it printed.
    """

    returncode: int
    output: str

    def counts(self, host: NetworkedHost) -> dict[str, int]:
        """The line of the recap: "changed", "failed" and the like."""
        for name, counts in _RECAP.findall(self.output):
            if name == host.name:
                pairs = (word.split("=") for word in counts.split())
                return {key: int(value) for key, value in pairs}
        raise LookupError(self.output)

    def changed(self, host: NetworkedHost) -> list[str]:
        """The names of the tasks that changed something."""
        task, found = "", []
        for line in self.output.splitlines():
            if match := _TASK.match(line):
                task = match[1]
            elif (match := _RESULT.match(line)) and (match[1], match[2]) == ("changed", host.name):
                found.append(task)
        return list(dict.fromkeys(found))

    def failures(self, name: str) -> str:
        """What is said about the tasks that failed on a host."""
        lines = self.output.splitlines()
        return "\n".join(line for line in lines if line.startswith(f"fatal: [{name}]"))

    @property
    def message(self) -> str:
        """Why it failed."""
        found = re.findall(r'"msg": ("(?:[^"\\]|\\.)*")', self.output)
        return " ".join(json.loads(text) for text in found)


class Controller:
    """A machine with one version of Ansible: this one.

    Attributes:
        program: Its ansible-playbook.
    """

    def __init__(self, program: Path) -> None:
        """Find it.

        Raises:
            MissingProgramError: It is not installed.
        """
        if not program.exists():
            raise MissingProgramError(f"{program} is not installed")
        self.program = program

    def run(
        self,
        variables: Mapping[NetworkedHost, Mapping[str, object]],
        *words: str,
        playbook: Path = FOLDER / "server.yml",
        groups: Mapping[str, list[NetworkedHost]] | None = None,
        timeout: float = 600,
    ) -> Run:
        """Run a playbook.

        Args:
            variables: The hosts, with the variables of each.
            words: Options, such as --check.
            playbook: Which one.
            groups: The groups of the inventory; one named certgrinderd with all hosts if it is
                None.
            timeout: In seconds; after it subprocess.TimeoutExpired.
        """
        hosts = {host.name: {**host.inventory(), **given} for host, given in variables.items()}
        members = {
            group: [host.name for host in inside] for group, inside in (groups or {}).items()
        }
        return self.run_inventory(
            hosts, *words, playbook=playbook, groups=members or None, timeout=timeout
        )

    def run_inventory(
        self,
        hosts: Mapping[str, Mapping[str, object]],
        *words: str,
        playbook: Path = FOLDER / "server.yml",
        groups: Mapping[str, Sequence[str]] | None = None,
        timeout: float = 600,
    ) -> Run:
        """Run a playbook on hosts by their names, of which some may be the same host; see run."""
        members = groups or {"certgrinderd": list(hosts)}
        children: dict[str, dict[str, dict[str, None]]] = {
            group: {"hosts": dict.fromkeys(names)} for group, names in members.items()
        }
        with tempfile.TemporaryDirectory(prefix="ansible-") as home:
            path = Path(home) / "hosts.yml"
            path.write_text(json.dumps({"all": {"hosts": hosts, "children": children}}), "utf-8")
            done = subprocess.run(
                [str(self.program), "-i", str(path), *words, str(playbook)],
                cwd=home,
                env=clean_environment(HOME=home, **_SETTINGS),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                text=True,
            )
        return Run(done.returncode, done.stdout)
