"""Write docs/benchmarks.md and its plot from the measurements."""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "benchmarks.svg"
OURS, TINY, PUBLIC = "certgrinderd", "acme-tiny", "public certgrinderd"
# Their concurrent runs are compared with a single client; acme-tiny shows the machine's share.
COMPARED = {OURS, TINY}

_HEAD = """\
# Benchmarks

`bench/run` wrote this page ({date}; {machine}; CPython {python}).
It starts Pebble, BIND and nginx, installs the other clients from Debian and PyPI, and runs them in
turn. Each run is a whole process, started as a shell or sshd starts it, with an existing ACME
account and CSR.

The figures are medians. Wall and CPU time include all child processes, such as hooks. Memory is the
peak of the largest process. The CA's CPU time is that of Pebble and of the nginx that serves the
challenges. Pebble is set up to reject no nonces and reuse no authorizations. Answers to its
validation queries (HTTP or TXT) come at once unless a delay is stated.

certgrinderd, public certgrinderd (the one that comes with certgrinder) and certbot run the same
hooks, in sh. acme-tiny, dehydrated and lego write the HTTP-01 files themselves, which saves one or
two processes per name. acme-tiny uses an RSA key of 4096 bits, as its README recommends. lego's own
DNS check is off.

A client that takes more than 10 s is run three times, the others {most} times. It is left out of
the tables with more names or a slower CA. Runs with several clients at once are done once; those of
certgrinderd and acme-tiny {most} times, with three runs of a single client before and after each.

![Seconds for one certificate, by client](benchmarks.svg)
"""


def write(results: Mapping[str, Any]) -> None:
    """Write both files."""
    most = max(len(row["runs"]) for row in results["rows"])
    parts = [_HEAD.format(**results, most=most), _ratios(results)]
    parts += [_table(results, *key) for key in _keys(results)]
    parts.append(_crowds(results))
    if results["missing"]:
        parts.append(
            "Not measured, because they could not be installed: " + ", ".join(results["missing"])
        )
    PAGE.write_text("\n".join(part.rstrip() + "\n" for part in parts if part), encoding="utf-8")
    PLOT.write_text(_plot(results), encoding="utf-8")


def _keys(results: Mapping[str, Any]) -> Iterator[tuple[int, str, int]]:
    yield from dict.fromkeys((r["delay"], r["challenge"], r["names"]) for r in results["rows"])


def _median(row: Mapping[str, Any], figure: str) -> float:
    return float(statistics.median(run[figure] for run in row["runs"]))


def _rows(
    results: Mapping[str, Any], delay: int, challenge: str, names: int
) -> list[Mapping[str, Any]]:
    key = (delay, challenge, names)
    rows = [r for r in results["rows"] if (r["delay"], r["challenge"], r["names"]) == key]
    return sorted(rows, key=lambda row: _median(row, "wall"))


def _table(results: Mapping[str, Any], delay: int, challenge: str, names: int) -> str:
    rows = _rows(results, delay, challenge, names)
    late = f", validation delayed by {delay} ms" if delay else ""
    lines = [
        f"## {challenge.upper()}, {names} name{'s' if names > 1 else ''}{late}",
        "",
        "| client | wall, s | CPU, s | memory, MiB | served |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        served = sum(run["ok"] for run in row["runs"])
        lines.append(
            f"| {row['peer']} | {_median(row, 'wall'):.3f} | {_median(row, 'cpu'):.3f} | "
            f"{_median(row, 'memory') / 1024:.0f} | {served} of {len(row['runs'])} |"
        )
    return "\n".join(lines)


def _ratios(results: Mapping[str, Any]) -> str:
    """The figures that certgrinderd must keep to."""
    lines = ["## Summary", ""]
    found = {row["peer"]: row for row in _rows(results, 0, "http-01", 1)}
    hundred = {row["peer"]: row for row in _rows(results, 0, "http-01", 100)}
    if OURS not in found:
        return ""
    ours = found[OURS]
    for other in (TINY, PUBLIC):
        if other in found:
            wall, cpu = (_median(ours, f) / _median(found[other], f) for f in ("wall", "cpu"))
            lines.append(
                f"- One certificate: {wall:.2f} times the wall time and {cpu:.2f} times the CPU "
                f"time of {other}."
            )
    if PUBLIC in found:
        mine, its = (_median(each, "memory") / 1024 for each in (ours, found[PUBLIC]))
        lines.append(f"- Memory: {mine:.0f} MiB; {PUBLIC} uses {its:.0f} MiB.")
    if OURS in hundred:
        wall, ca, one = (
            *(_median(hundred[OURS], f) for f in ("wall", "ca")),
            _median(ours, "wall"),
        )
        lines.append(
            f"- 100 names take {wall / one:.1f} times as long as one name; without the "
            f"{ca:.2f} s of CPU time that the CA uses, {(wall - ca) / one:.1f} times."
        )
    lines += [
        _crowd_line(crowd, results["cores"])
        for crowd in results["crowds"]
        if crowd["clients"] > 1 and crowd["peer"] in COMPARED
    ]
    return "\n".join(lines)


def _crowd_line(crowd: Mapping[str, Any], cores: int) -> str:
    clients, runs = crowd["clients"], crowd["runs"]
    shared = statistics.median(run["total"] * cores / clients / run["alone"] for run in runs)
    each = statistics.median(run["cpu"] / clients / run["alone"] for run in runs)
    return (
        f"- {clients} clients of {crowd['peer']} at once: {_fewest_served(crowd)} served in "
        f"{_median(crowd, 'total'):.1f} s, {shared:.2f} times the CPU time of {clients} single "
        f"clients divided by {cores} cores. Each used {each:.2f} times the CPU time of a single "
        "client."
    )


def _fewest_served(crowd: Mapping[str, Any]) -> int:
    return min(int(run["served"]) for run in crowd["runs"])


def _crowds(results: Mapping[str, Any]) -> str:
    if not results["crowds"]:
        return ""
    lines = [
        "## Concurrent clients, HTTP-01, 1 name each",
        "",
        "| client | at once | served | failed | total, s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for crowd in results["crowds"]:
        served = _fewest_served(crowd)
        lines.append(
            f"| {crowd['peer']} | {crowd['clients']} | {served} | {crowd['clients'] - served} | "
            f"{_median(crowd, 'total'):.2f} |"
        )
    return "\n".join(lines)


# The plot: a bar per client and number of names, on a logarithmic scale.

_LEFT, _WIDTH, _BAR, _GAP, _HEIGHT = 190, 520, 14, 8, 30
_ROOT = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    'font-family="sans-serif" font-size="12">'
)
_COLORS = {1: "#2b6cb0", 10: "#68a0d8", 100: "#c3d9ef"}


def _plot(results: Mapping[str, Any]) -> str:
    rows = [r for r in results["rows"] if r["delay"] == 0 and r["challenge"] == "http-01"]
    counts = sorted({row["names"] for row in rows})
    order = [row["peer"] for row in _rows(results, 0, "http-01", counts[0])] if counts else []
    longest = max((_median(row, "wall") for row in rows), default=1.0)
    scale = _WIDTH / math.log10(max(10.0, longest) / 0.1)
    group = _BAR * len(counts) + _GAP
    height = _HEIGHT + group * len(order) + 40
    parts = [
        _ROOT.format(width=_LEFT + _WIDTH + 80, height=height),
        '<rect width="100%" height="100%" fill="white"/>',
        *_legend(counts),
    ]
    for place, name in enumerate(order):
        top = _HEIGHT + place * group
        weight = ' font-weight="bold"' if name == OURS else ""
        middle = top + _BAR * len(counts) / 2 + 4
        parts.append(
            f'<text x="{_LEFT - 8}" y="{middle:.0f}" text-anchor="end"{weight}>'
            f"{escape(name)}</text>"
        )
        for number, count in enumerate(counts):
            row = next((r for r in rows if (r["peer"], r["names"]) == (name, count)), None)
            if row is not None:
                parts.append(_bar(_median(row, "wall"), top + number * _BAR, scale, count))
    parts.append(
        f'<text x="{_LEFT}" y="{height - 12}">seconds for one certificate, logarithmic from 0.1; '
        f"HTTP-01</text>\n</svg>"
    )
    return "\n".join(parts) + "\n"


def _legend(counts: Sequence[int]) -> Iterator[str]:
    for number, count in enumerate(counts):
        x = _LEFT + number * 110
        color = _COLORS.get(count, "#888888")
        yield f'<rect x="{x}" y="8" width="12" height="12" fill="{color}"/>'
        yield f'<text x="{x + 18}" y="18">{count} name{"s" if count > 1 else ""}</text>'


def _bar(seconds: float, top: float, scale: float, count: int) -> str:
    width = max(1.0, math.log10(max(seconds, 0.1) / 0.1) * scale)
    color = _COLORS.get(count, "#888888")
    return (
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR - 2}" fill="{color}"/>'
        f'<text x="{_LEFT + width + 5:.1f}" y="{top + _BAR - 3}" font-size="10">'
        f"{seconds:.2f}</text>"
    )


if __name__ == "__main__":
    write(json.loads((ROOT / "docs" / "benchmarks.json").read_text()))
    sys.stdout.write(PAGE.read_text())
