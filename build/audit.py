"""Ask OSV (https://osv.dev) for known vulnerabilities of all that is locked, and of what is inside.

    .ci/audit [--url URL] [FILE …]

A FILE is a lock of pip or a CycloneDX list; by default build/requirements.txt and, if it is built,
dist/certgrinderd.pyz.cdx.json, which also has the Rust crates inside cryptography. Exit status: 0
nothing is known, 1 something is, 2 the data can't be reached or read.

pip-audit can't replace it: that reads requirements, pylock.toml, pyproject.toml and environments,
and asks about PyPI's packages alone. It would not see the 39 crates linked into cryptography.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "build/requirements.txt"
LIST = ROOT / "dist/certgrinderd.pyz.cdx.json"
# https://google.github.io/osv.dev/post-v1-querybatch/
BATCH = "https://api.osv.dev/v1/querybatch"
# What OSV has advisories for, of what we have inside.
_ECOSYSTEMS = ("pkg:pypi/", "pkg:cargo/")
_SECONDS = 30


def main(words: Sequence[str] | None = None) -> int:
    """Ask, and print what is known."""
    parser = argparse.ArgumentParser(prog=".ci/audit")
    parser.add_argument("--url", default=BATCH, help="Who is asked.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    options = parser.parse_args(words)
    files = options.files or [path for path in (LOCK, LIST) if path.exists()]
    packages = sorted({package for path in files for package in packages_in(path)})
    try:
        found = known(packages, url=options.url)
    except (OSError, ValueError) as error:
        sys.stderr.write(f".ci/audit: no data from {options.url}: {error}\n")
        return 2
    for package, advisories in found.items():
        print(package, *(f"https://osv.dev/{name}" for name in advisories))  # noqa: T201 - the result
    sys.stderr.write(f".ci/audit: {len(packages)} packages, {len(found)} with known weaknesses\n")
    return 1 if found else 0


def packages_in(path: Path) -> Iterator[str]:
    """Package URLs with versions ("pkg:pypi/idna@3.10") of a lock or a CycloneDX list.

    Raises:
        ValueError: There are none, so it is neither.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        found = list(_listed(json.loads(text).get("components", [])))
    else:
        locked = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)
        found = [f"pkg:pypi/{name}@{version}" for name, version in locked]
    if not found:
        raise ValueError(f"{path} has no packages with versions")
    yield from found


def _listed(components: list[dict[str, Any]]) -> Iterator[str]:
    for component in components:
        purl = str(component.get("purl", ""))
        if purl.startswith(_ECOSYSTEMS) and "@" in purl:
            yield purl
        yield from _listed(component.get("components", []))


def known(packages: Sequence[str], *, url: str) -> dict[str, list[str]]:
    """Return the advisories that there are, by package.

    Raises:
        OSError: There is no answer.
        ValueError: It is not one for these packages.
    """
    queries = [{"package": {"purl": package}} for package in packages]
    request = urllib.request.Request(  # noqa: S310 - whoever runs this named it
        url,
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310 - the same
        results = json.load(answer)["results"]
    if not isinstance(results, list) or len(results) != len(packages):
        raise ValueError("the answer has not as many results as there are packages")
    return {
        package: sorted(each["id"] for each in result["vulns"])
        for package, result in zip(packages, results, strict=True)
        if result.get("vulns")
    }


if __name__ == "__main__":
    sys.exit(main())
