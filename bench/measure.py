"""Measure, interleaved, and write docs/benchmarks.json, which bench/report.py makes a page of."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from bench import peers, report
from bench.peers import Challenge, Peer, Run
from bench.world import NAMES, World, world

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "benchmarks.json"
_LONGEST_RUN = 300.0
# A client that needs longer than so many seconds is run three times only, and not for more names.
_SLOW, _SLOW_RUNS = 10.0, 3


@dataclass(frozen=True)
class Figures:
    """What one run took: seconds of wall and CPU time, KiB of its largest process.

    And the CPU seconds of the CA meanwhile, where nobody else asked it for anything.
    """

    wall: float
    cpu: float
    memory: int
    ok: bool
    ca: float = 0.0


def measure(run: Run, out: Path) -> Figures:
    """Run a client once, with all its children."""
    facts = out.with_suffix(".time")
    # GNU time, because a child of ours is as large as we are until it runs its program.
    timed = ["time", "--quiet", "-f", "%e %U %S %M", "-o", str(facts)]
    with (
        (run.stdin or Path(os.devnull)).open("rb") as stdin,
        out.with_suffix(".out").open("wb") as stdout,
        out.with_suffix(".err").open("wb") as stderr,
    ):
        start = time.monotonic()
        process = subprocess.run(
            [*timed, "timeout", str(_LONGEST_RUN), *run.command],
            env=dict(run.env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            check=False,
        )
        wall = time.monotonic() - start
    _, user, system, memory = facts.read_text().split()
    result = run.result or out.with_suffix(".out")
    ok = process.returncode == 0 and result.exists() and b"BEGIN CERT" in result.read_bytes()
    if not ok:
        error = out.with_suffix(".err").read_text(errors="replace")[-400:]
        sys.stderr.write(f"failed: {run.command[0]}: {process.returncode}: {error}\n")
    return Figures(wall, float(user) + float(system), int(memory), ok)


def one_after_the_other(
    place: World, competitors: list[Peer], challenge: Challenge, *, names: int, runs: int
) -> dict[str, list[Figures]]:
    """Each client in turn, again and again."""
    found: dict[str, list[Figures]] = {peer.name: [] for peer in competitors}
    for number in range(runs):
        again = [
            peer
            for peer in competitors
            if number < _SLOW_RUNS or not _is_slow(figures.wall for figures in found[peer.name])
        ]
        # Not always behind the same one.
        for peer in random.sample(again, len(again)):
            out = place.folder / f"{peer.folder.name}-{challenge}-{names}-{number}"
            run, before = peer.run(place.csr(names), challenge, out), place.ca_seconds()
            figures = replace(measure(run, out), ca=place.ca_seconds() - before)
            found[peer.name].append(figures)
            sys.stderr.write(
                f"{challenge} {names:3} names {peer.name:20} {figures.wall:7.3f} s "
                f"{figures.cpu:7.3f} s CPU {figures.memory / 1024:6.1f} MiB\n"
            )
    return found


def _is_slow(walls: Iterable[float]) -> bool:
    return statistics.median(walls) > _SLOW


def _fits(peer: Peer, table: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a client can do a challenge, and was not slow already with fewer names."""
    return table["challenge"] in peer.challenges and not any(
        _is_slow(run["wall"] for run in row["runs"])
        for row in rows
        if (row["peer"], row["challenge"]) == (peer.name, table["challenge"])
        and row["delay"] <= table["delay"]
        and row["names"] <= table["names"]
    )


def _save(results: Mapping[str, Any]) -> None:
    DATA.write_text(json.dumps(results, indent=1) + "\n")


def warm_up(place: World, competitors: list[Peer]) -> None:
    """Let each client run once: it may make an account, or unpack itself."""
    for peer in competitors:
        out = place.folder / f"{peer.folder.name}-warm-up"
        measure(peer.run(place.csr(1), "http-01", out), out)


def _crowds(place: World, peer: Peer, clients: int, *, runs: int) -> list[dict[str, float]]:
    """A crowd once, or again and again between runs of one client alone: machines change speed."""
    if peer.name not in report.COMPARED:
        return [all_at_once(place, peer, clients)]
    found = []
    for _ in range(runs):
        before, crowd = _alone(place, peer), all_at_once(place, peer, clients)
        found.append({**crowd, "alone": statistics.median(before + _alone(place, peer))})
    return found


def _alone(place: World, peer: Peer) -> list[float]:
    """The CPU time of one client, three times."""
    outs = [place.folder / f"{peer.folder.name}-alone-{n}" for n in range(3)]
    return [measure(peer.run(place.csr(1), "http-01", out), out).cpu for out in outs]


def all_at_once(place: World, peer: Peer, clients: int) -> dict[str, float]:
    """So many runs at the same time, each for a name of its own: how many are served, and when."""
    outs = [place.folder / f"{peer.folder.name}-crowd-{clients}-{n}" for n in range(clients)]
    runs = [peer.run(place.csr(1, first=number), "http-01", out) for number, out in enumerate(outs)]
    start = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        found = list(pool.map(measure, runs, outs))
    total = time.monotonic() - start
    served = sum(figures.ok for figures in found)
    sys.stderr.write(f"{clients:2} at once {peer.name:20} {served:2} served in {total:.2f} s\n")
    return {"served": served, "total": total, "cpu": sum(figures.cpu for figures in found)}


def machine() -> dict[str, str | int]:
    """What it ran on."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "date": dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} x {model}, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cores": os.cpu_count() or 1,
        "load": f"{os.getloadavg()[0]:.2f}",
    }


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="Of each client in each table.")
    parser.add_argument("--names", default="1,10,100", help="How many, separated by commas.")
    parser.add_argument("--crowds", default="1,8,32", help="Clients at once, separated by commas.")
    parser.add_argument("--delays", default="0,300", help="Of the CA per validation, in ms.")
    parser.add_argument("--challenges", default=",".join(get_args(Challenge)))
    parser.add_argument("--peers", default="", help="Their names, separated by commas; else all.")
    parser.add_argument("--keep", action="store_true", help="Add to the results that are there.")
    options = parser.parse_args()
    wanted = [name for name in options.peers.split(",") if name]
    results = json.loads(DATA.read_text()) if options.keep and DATA.exists() else {}
    results.update(machine())
    results.setdefault("rows", [])
    results.setdefault("crowds", [])
    for delay in map(int, options.delays.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        folder.chmod(0o755)
        with world(folder, delay=delay / 1000) as place:
            found = peers.prepare(place, wanted)
            results["missing"] = found.missing
            warm_up(place, found.peers)
            for challenge in options.challenges.split(","):
                for names in (int(word) for word in options.names.split(",") if word):
                    table = {"delay": delay, "challenge": challenge, "names": names}
                    fitting = [peer for peer in found.peers if _fits(peer, table, results["rows"])]
                    measured = one_after_the_other(
                        place, fitting, challenge, names=names, runs=options.runs
                    )
                    for name, figures in measured.items():
                        runs = [asdict(each) for each in figures]
                        results["rows"].append({**table, "peer": name, "runs": runs})
                    _save(results)
            if delay == 0:
                for clients in (int(word) for word in options.crowds.split(",") if word):
                    for peer in found.peers:
                        runs = _crowds(place, peer, min(clients, len(NAMES)), runs=options.runs)
                        crowd = {"clients": clients, "peer": peer.name, "runs": runs}
                        results["crowds"].append(crowd)
                    _save(results)
        shutil.rmtree(folder, ignore_errors=True)
    report.write(results)


if __name__ == "__main__":
    main()
