"""What is inside, for people who must know: a CycloneDX list with versions, hashes and licences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

Component = dict[str, Any]


def hashes(reports: Path) -> dict[str, set[str]]:
    """Read pip's reports (`pip install --report`): the SHA-256 of what each package came in.

    certgrinderd itself, which is in no lock, is left out.
    """
    found: dict[str, set[str]] = {}
    for report in reports.glob("*.json"):
        for each in json.loads(report.read_text(encoding="utf-8"))["install"]:
            name = canonicalize_name(each["metadata"]["name"])
            found.setdefault(name, set()).add(
                each["download_info"]["archive_info"]["hashes"]["sha256"]
            )
    found.pop("certgrinderd", None)
    return found


def components(site: Path, sources: Mapping[str, Iterable[str]]) -> list[Component]:
    """Return a component for each package, with all files that it comes from.

    Args:
        site: The folder that they are installed in.
        sources: See hashes; a package that isn't there is left out.
    """
    packages = {canonicalize_name(each.name): each for each in distributions(path=[str(site)])}
    return [
        _component(name, packages[name], sorted(sources[name]))
        for name in sorted(packages)
        if name in sources
    ]


def document(
    name: str, version: str, *, sha256: str, licence: str, parts: list[Component]
) -> bytes:
    """Write a CycloneDX 1.5 document; without a date, so that the same build gives the same bytes.

    Args:
        name: Of the file.
        version: Of the program.
        sha256: Of the file.
        licence: Of the program: an SPDX expression.
        parts: See components.
    """
    return _json(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "component": {
                    "type": "application",
                    "name": name,
                    "version": version,
                    "hashes": [{"alg": "SHA-256", "content": sha256}],
                    "licenses": [{"expression": licence}],
                }
            },
            "components": parts,
        }
    )


def _component(name: str, package: Distribution, sources: list[str]) -> Component:
    component: Component = {
        "type": "library",
        "name": name,
        "version": package.version,
        "purl": f"pkg:pypi/{name}@{package.version}",
        "hashes": [{"alg": "SHA-256", "content": sha256} for sha256 in sources],
        "licenses": [_licence(package)],
    }
    linked = [_linked(part) for text in _sboms(package) for part in json.loads(text)["components"]]
    if linked:
        component["components"] = linked
    return component


def _sboms(package: Distribution) -> list[str]:
    """Read the wheel's own lists of what is linked into it (PEP 770)."""
    site = Path(str(package.locate_file("")))
    name = f"{package.name.replace('-', '_')}-{package.version}.dist-info"
    return [path.read_text(encoding="utf-8") for path in sorted(site.glob(f"{name}/sboms/*"))]


def _licence(package: Distribution) -> dict[str, Any]:
    facts = package.metadata
    if "License-Expression" in facts:
        return {"expression": facts["License-Expression"]}
    return {
        "license": {"name": facts["License"].splitlines()[0] if "License" in facts else "unknown"}
    }


def _linked(part: Component) -> Component:
    """Keep of a wheel's own list what says which library it is, and nothing of its build host."""
    kept: Component = {
        key: part[key] for key in ("type", "name", "version", "licenses", "hashes") if key in part
    }
    if "purl" in part:
        kept["purl"] = part["purl"].partition("?")[0]
    return kept


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
