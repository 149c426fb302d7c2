"""What is inside, for people who must know: a CycloneDX list with versions, hashes and licences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from build.wheels import Package, Version

Component = dict[str, Any]


def components(packages: Mapping[Version, Iterable[Package]]) -> list[Component]:
    """Return a component for each version of each package, with all wheels that it comes from.

    Args:
        packages: Those for each Python version.
    """
    kinds: dict[tuple[str, str], list[Package]] = {}
    for version in sorted(packages):
        for package in packages[version]:
            same = kinds.setdefault((package.name, package.version), [])
            if package.sha256 not in {known.sha256 for known in same}:
                same.append(package)
    return [_component(kinds[key]) for key in sorted(kinds)]


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


def _component(packages: list[Package]) -> Component:
    first = packages[0]
    component: Component = {
        "type": "library",
        "name": first.name,
        "version": first.version,
        "purl": f"pkg:pypi/{first.name}@{first.version}",
        "hashes": [{"alg": "SHA-256", "content": package.sha256} for package in packages],
        "licenses": [_licence(first)],
    }
    linked = [_linked(part) for sbom in first.sboms for part in json.loads(sbom)["components"]]
    if linked:
        component["components"] = linked
    return component


def _licence(package: Package) -> dict[str, Any]:
    expression = package.header("License-Expression")
    if expression:
        return {"expression": expression}
    return {"license": {"name": (package.header("License") or "unknown").splitlines()[0]}}


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
