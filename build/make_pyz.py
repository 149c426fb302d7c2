"""Put certgrinderd.pyz together: lines of sh, then a zip file, the same bytes at each build.

build_pyz.sh runs it. The zip file holds, in this order: `__main__.py` (build/start.py), MANIFEST
(SHA-256 of all that follows), then a folder `all` with what every Python gets and one such as
`cp311` for each, with what only that one does.
"""

from __future__ import annotations

import argparse
import binascii
import hashlib
import io
import json
import re
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import sbom, wheels
from build.wheels import Package, Version

ROOT = Path(__file__).resolve().parent.parent
PYTHONS: tuple[Version, ...] = ((3, 10), (3, 11), (3, 12), (3, 13), (3, 14))
NATIVE = "native"
PLATFORMS = ("linux-x86_64", "linux-aarch64", NATIVE)

# The kernel hands the file to sh, and sh to Python: isolated, and with the first code straight out
# of the file, since opening the zip file costs Python as much time as starting.
_PREFIX = """\
#!/bin/sh
# certgrinderd {version}. A zip file follows: unzip -l lists it.
exec python3 -I -S -c 'import sys, binascii
f = open(sys.argv[1], "rb"); f.seek({offset}); start = f.read({length}); f.close()
if binascii.crc32(start) & 0xFFFFFFFF != {checksum}:
    import os, time
    if "CERTGRINDERD_AGAIN" not in os.environ:
        # After sh read these lines, another build may have been moved to the place of this one.
        os.environ["CERTGRINDERD_AGAIN"] = "1"
        os.execv("/bin/sh", ["sh"] + sys.argv[1:])
    sys.stderr.write(time.strftime("%Y-%m-%d %H:%M:%S %z certgrinderd ERROR ")
        + sys.argv[1] + " is damaged: copy it again\\n")
    sys.exit(2)
exec(compile(start, sys.argv[1], "exec"))' "$0" "$@"
exit
"""
_FIRST = "__main__.py"
# Part of the bytes; the lowest that a zip file can hold.
_MOMENT = (1980, 1, 1, 0, 0, 0)


def main() -> None:
    """Build one file, with its hash and its list of contents beside it."""
    parser = argparse.ArgumentParser(prog="make_pyz")
    parser.add_argument("--platform", choices=PLATFORMS, required=True)
    parser.add_argument("--commit", required=True)
    parser.add_argument("--own-wheel", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for what is fetched")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    native = options.platform == NATIVE
    architecture = None if native else options.platform.partition("-")[2]
    versions = [sys.version_info[:2]] if native else PYTHONS
    locked = wheels.fetch(
        ROOT / "build/requirements.txt", options.folder, versions, architecture=architecture
    )
    own = wheels.read_wheel(options.own_wheel)
    parts = sbom.components(locked)
    about = {"commit": options.commit, "components": parts}
    # For `python3 FOLDER`: see certgrinderd.issuance.certbot.own_command.
    own.files["__main__.py"] = own.files["certgrinderd/__main__.py"]
    own.files["certgrinderd/onefile/about.json"] = _json(about)

    tree = merge({version: [*packages, own] for version, packages in locked.items()})
    multiarch = f"{architecture}-linux-gnu" if architecture else _own_platform()
    pyz = assemble(tree, version=own.version, platform=multiarch, pythons=versions)
    digest = hashlib.sha256(pyz).hexdigest()
    licence = own.header("License-Expression") or ""
    bill = sbom.document(
        "certgrinderd.pyz", own.version, sha256=digest, licence=licence, parts=parts
    )
    for suffix, data in (("", pyz), (".sha256", b""), (".cdx.json", bill)):
        path = options.output.with_name(options.output.name + suffix)
        # The name in it is the one that the file gets in the end.
        final = options.output.name.removeprefix(".new-")
        path.write_bytes(data if suffix != ".sha256" else f"{digest}  {final}\n".encode())
        path.chmod(0o644 if suffix else 0o755)
    names = ", ".join(".".join(map(str, version)) for version in versions)
    print(f"{len(pyz) / 1e6:.1f} MB, for CPython {names} on {multiarch}")  # noqa: T201
    print(f"SHA-256 {digest}")  # noqa: T201


def merge(packages: Mapping[Version, Sequence[Package]]) -> dict[str, bytes]:
    """Lay the files for all Pythons out once, and the others in a folder per Python.

    Returns:
        Content by path: "all/…" or "cp311/…".
    """
    versions_of: dict[str, set[str]] = {}
    contents: dict[str, set[bytes]] = {}
    for several in packages.values():
        for package in several:
            versions_of.setdefault(package.name, set()).add(package.version)
            for place, data in package.files.items():
                contents.setdefault(place, set()).add(hashlib.sha256(data).digest())
    tree = {}
    for version, several in packages.items():
        for package in several:
            for place, data in package.files.items():
                same = len(contents[place]) == len(versions_of[package.name]) == 1
                shared = same and not re.search(r"\.cpython-\d+", place)
                part = "all" if shared else f"cp{version[0]}{version[1]}"
                tree[f"{part}/{place}"] = data
    return tree


def assemble(
    tree: Mapping[str, bytes], *, version: str, platform: str, pythons: Sequence[Version]
) -> bytes:
    """Return the bytes of the file.

    Args:
        tree: See merge.
        version: Of certgrinderd.
        platform: What its libraries are made for, as Python calls it: "x86_64-linux-gnu".
        pythons: The versions it is for.
    """
    lines = (f"{hashlib.sha256(tree[path]).hexdigest()}  {path}\n" for path in sorted(tree))
    manifest = "".join(lines).encode()
    values = {
        "BUILD": hashlib.sha256(manifest).hexdigest(),
        "PLATFORM": platform,
        "PYTHONS": " ".join(".".join(map(str, python)) for python in pythons),
    }
    start = (ROOT / "build/start.py").read_text(encoding="utf-8")
    for name, value in values.items():
        start = start.replace(f"@{name}@", value)
    first = start.encode()
    # A stored file begins after 30 bytes and its name; the offset's own digits move it.
    offset, prefix = 0, b""
    while offset != len(prefix) + 30 + len(_FIRST):
        offset = len(prefix) + 30 + len(_FIRST)
        prefix = _PREFIX.format(
            version=version,
            offset=offset,
            length=len(first),
            checksum=binascii.crc32(first),
        ).encode()
    buffer = io.BytesIO(prefix)
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, _FIRST, first, zipfile.ZIP_STORED)
        _add(archive, "MANIFEST", manifest, zipfile.ZIP_DEFLATED)
        for path in sorted(tree):
            _add(archive, path, tree[path], zipfile.ZIP_DEFLATED)
    pyz = buffer.getvalue()
    if pyz[offset : offset + len(first)] != first:
        raise AssertionError("the first code is not where the lines of sh look for it")
    return pyz


def _add(archive: zipfile.ZipFile, path: str, data: bytes, method: int) -> None:
    facts = zipfile.ZipInfo(path, _MOMENT)
    facts.create_system = 3  # Unix, wherever it is built
    facts.external_attr = 0o100644 << 16
    facts.compress_type = method
    archive.writestr(facts, data, compresslevel=9)


def _own_platform() -> str:
    """As start.py names it."""
    named = sysconfig.get_config_var("MULTIARCH")
    import platform

    return str(named or f"{platform.machine()}-{sys.platform}")


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


if __name__ == "__main__":
    main()
