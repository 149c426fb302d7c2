"""Measure how long a start takes: bare Python, certgrinderd in .venv, and certgrinderd.pyz.

    .venv/bin/python bench/start.py [RUNS] [PYZ …]

All take turns, so that other load on the machine hits all alike. Printed are the median, the
smallest and the middle half in milliseconds, and the median's ratio to the line with ratio 1 above.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_STARTS = 7


def measure(command: list[str], environment: dict[str, str]) -> float:
    """Run a command, and return the seconds that it took."""
    begin = time.perf_counter()
    subprocess.run(command, input=b"no CSR", env=environment, capture_output=True, check=False)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 31
    files = sys.argv[2:] or [str(ROOT / "dist/certgrinderd.pyz")]
    venv = str(ROOT / ".venv/bin/certgrinderd")
    commands = {"python3 -I -S -c pass": ["/usr/bin/python3", "-I", "-S", "-c", "pass"]}
    for words in (["ping"], ["show", "csr"]):
        for program in (venv, *files):
            commands[f"{program} {' '.join(words)}"] = [program, *words]
    times: dict[str, list[float]] = {title: [] for title in commands}
    with tempfile.TemporaryDirectory() as home:
        # Nothing of the caller's: PYTHONDONTWRITEBYTECODE would be half the result.
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": home,
            "CERTGRINDERD_CACHE": f"{home}/cache",
        }
        for turn in range(runs + 2):
            for title, command in commands.items():
                taken = measure(command, environment)
                if turn > 1:  # everything is unpacked, compiled and in memory
                    times[title].append(taken)
        for program in files:
            first = times[f"{program} ping, first start"] = []
            for _ in range(FIRST_STARTS):
                for folder in ("cache", ".shiv"):
                    shutil.rmtree(Path(home) / folder, ignore_errors=True)
                first.append(measure([program, "ping"], environment))
    report(times)


def report(times: dict[str, list[float]]) -> None:
    """Print a line for each candidate."""
    base = 0.0
    for title, values in times.items():
        low, middle, high = (1000 * value for value in statistics.quantiles(values, n=4))
        if not base or "/.venv/" in title:
            base = middle
        print(  # noqa: T201 - the result
            f"{middle:7.1f}  min {1000 * min(values):6.1f}  half {low:6.1f}-{high:<6.1f}"
            f"  ratio {middle / base:.2f}  {title}"
        )


if __name__ == "__main__":
    main()
