"""Measure what starting costs: bare Python, certgrinderd in .venv, and certgrinderd.pyz.

    .venv/bin/python -m bench.start [RUNS] [PYZ …]

All take turns, so that other load on the machine hits all alike. Printed are, of the time passed
and of the processor time, the median in milliseconds, and, with the middle half, the ratios within
each turn to bare Python and to the same command in .venv, or, for all files but the first, by the
first file. `get certificate` is by the built-in client and HTTP-01, from Pebble.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.world import NAMES, World, world

ROOT = Path(__file__).resolve().parent.parent
VENV = str(ROOT / ".venv/bin/certgrinderd")
BARE = "python3 -I -S -c pass"
FIRST_STARTS = 7
_UNCOUNTED = 2


@dataclass(frozen=True)
class Task:
    """What is measured: words, with what on standard input and in the environment."""

    title: str
    words: Sequence[str]
    stdin: bytes = b""
    env: Mapping[str, str] = field(default_factory=dict)
    answer: bytes = b""


PING = Task("ping", ["ping"], answer=b"pong\n")


def tasks(place: World) -> list[Task]:
    """What certgrinderd is asked for."""
    configuration = place.folder / "start.conf"
    settings = {
        "acme-server-url": place.pebble.directory_url,
        "acme-ca-file": str(place.pebble.ca_file),
        "certbot-command": "builtin",
        "certbot-config-dir": str(place.folder / "config"),
        "domainsets": ",".join(NAMES[:1]),
        "web-root": str(place.webroot),
    }
    configuration.write_text(yaml.safe_dump(settings))
    configured = ["--config-file", str(configuration)]
    csr = place.csr(1).read_bytes()
    client = {"SSH_ORIGINAL_COMMAND": "ping", "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}
    return [
        PING,
        Task("ping of a client", configured, env=client, answer=b"pong\n"),
        Task("show csr", [*configured, "show", "csr"], csr, answer=b"Subject:"),
        Task("get certificate", [*configured, "get", "certificate"], csr, answer=b"-----BEGIN"),
    ]


class Taken(NamedTuple):
    """Seconds: on the clock, and of the processor, all children included."""

    wall: float
    processor: float


def processor_seconds() -> float:
    """What children that ended have used up."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(program: str, task: Task, environment: Mapping[str, str]) -> Taken:
    """Run a command once."""
    used = processor_seconds()
    begin = time.perf_counter()
    done = subprocess.run(
        [program, *task.words],
        input=task.stdin,
        env={**environment, **task.env},
        capture_output=True,
        check=True,
    )
    taken = Taken(time.perf_counter() - begin, processor_seconds() - used)
    if not done.stdout.startswith(task.answer):
        raise RuntimeError(f"{program} {task.title}: {done.stdout!r} {done.stderr!r}")
    return taken


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    files = sys.argv[2:] or [str(ROOT / "dist/certgrinderd.pyz")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with world(folder, delay=0) as place:
            measure_all(place, runs, files)


def measure_all(place: World, runs: int, files: Sequence[str]) -> None:
    """Let all take turns, then start each file for the first time, and print."""
    # Nothing of the caller's: PYTHONDONTWRITEBYTECODE would be half the result.
    environment = {
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(place.folder),
        "CERTGRINDERD_CACHE": str(place.folder / "cache"),
        "CERTGRINDERD_NSUPDATE_KEY": str(place.named.key_file),
    }
    bare = Task(BARE, ["-I", "-S", "-c", "pass"])
    commands = {BARE: ("/usr/bin/python3", bare)}
    for task in tasks(place):
        for program in (VENV, *files):
            commands[f"{task.title}, {Path(program).name}"] = (program, task)
    times: dict[str, list[Taken]] = {title: [] for title in commands}
    for turn in range(runs + _UNCOUNTED):
        for title, (program, task) in commands.items():
            taken = measure(program, task, environment)
            if turn >= _UNCOUNTED:  # everything is unpacked, compiled and in memory
                times[title].append(taken)
    base: list[Taken] = []
    for title, (program, _) in commands.items():
        if program in ("/usr/bin/python3", VENV):
            base = times[title]
        report(title, times[title], base, times[BARE])
        if program == files[0]:
            base = times[title]
    for program in files:
        measure_first(program, place.folder / "cache", environment)


def measure_first(program: str, cache: Path, environment: Mapping[str, str]) -> None:
    """Start a file for the first time, again and again, and print."""
    first, warm = [], []
    for _ in range(FIRST_STARTS):
        shutil.rmtree(cache, ignore_errors=True)
        first.append(measure(program, PING, environment))
        measure(program, PING, environment)
        warm.append(measure(program, PING, environment))
    report(f"first ping, {Path(program).name}", first, warm, warm)


def ratio(values: Sequence[float], base: Sequence[float]) -> str:
    """Write the median and the middle half of the ratios within each turn."""
    ratios = [value / other for value, other in zip(values, base, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:5.2f} ({low:.2f}-{high:.2f})"


def report(
    title: str, values: Sequence[Taken], base: Sequence[Taken], bare: Sequence[Taken]
) -> None:
    """Print a line for each candidate and kind of time."""
    for number, kind in enumerate(Taken._fields):
        ours, others, least = ([turn[number] for turn in turns] for turns in (values, base, bare))
        print(  # noqa: T201 - the result
            f"{title:36} {kind:9} {1000 * statistics.median(ours):5.0f} ms"
            f"  ratio {ratio(ours, others)}  to bare {ratio(ours, least)}"
        )


if __name__ == "__main__":
    main()
