"""Put certgrinderd.pyz together: shiv packs, and a start of our own comes on top.

build_pyz.sh runs it when pip has installed all into one folder. The file is lines of sh and a shiv
archive; the last member of the archive is build/start.py, which those lines run. The same bytes at
each build.
"""

from __future__ import annotations

import argparse
import binascii
import hashlib
import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatch
from importlib.metadata import distributions
from pathlib import Path

from shiv import __version__ as shiv_version
from shiv.bootstrap.environment import Environment
from shiv.builder import create_archive

from build import sbom

ROOT = Path(__file__).resolve().parent.parent
# certgrinderd.onefile.identity knows the first three lines. The kernel hands the file to sh, and sh
# to Python: isolated, and with the first code straight out of the file, since opening the zip file
# costs Python as much time as starting. The numbers have a fixed width, so that they move nothing.
HEAD = """\
#!/bin/sh
# certgrinderd {version}. A zip file follows: unzip -l lists it.
# build {build}
exec python3 -I -S -c 'import sys, binascii
f = open(sys.argv[1], "rb"); f.seek({offset:9}); start = f.read({length:6}); f.close()
if binascii.crc32(start) & 0xFFFFFFFF != {checksum:10}:
    import os, time
    if "CERTGRINDERD_AGAIN" not in os.environ:
        # After sh read these lines, another build may have been moved to the place of this one.
        os.environ["CERTGRINDERD_AGAIN"] = "1"
        os.execv("/bin/sh", ["sh"] + sys.argv[1:])
    sys.stderr.write(time.strftime("%Y-%m-%d %H:%M:%S %z certgrinderd ERROR ")
        + sys.argv[1] + " is damaged: copy it again\\n")
    sys.exit(2)
exec(compile(start, sys.argv[1], "exec"))
main()' "$0" "$@"
exit
"""
_UNUSED = (
    # cffi's own parser is for its `ffi.cdef`; cryptography is linked already and asks for
    # _cffi_backend alone.
    *("cffi/*", "pycparser/*", "pycparser-*"),
    # What of it is needed, the archive has beside site-packages.
    "shiv/*",
    *("*/tests/*", "*.pyi", "*/py.typed", "*.c", "*.h", "*.pyx", "*.pxd"),
    # certbot would load them through their own packages, certbot-apache and certbot-nginx.
    *("certbot/_internal/plugins/apache/*", "certbot/_internal/plugins/nginx/*"),
    # Faster parsers of encodings and YAML, one per Python version: a configuration file of a
    # kilobyte is read as fast without.
    *("charset_normalizer/*.so", "yaml/_yaml*", "_yaml/*", "*__mypyc*"),
    # Scripts, and what pip notes about how it installed a package, with the paths of this machine.
    *("bin/*", "*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED"),
    "*.dist-info/direct_url.json",
)
_START = "start.py"
# Part of the bytes; the lowest that a zip file can hold.
_MOMENT = "1980-01-01 00:00:00"


def main() -> None:
    """Build one file, with its hash and its list of contents beside it."""
    parser = argparse.ArgumentParser(prog="make_pyz")
    parser.add_argument("--site", type=Path, required=True, help="where pip installed all")
    parser.add_argument("--reports", type=Path, required=True, help="what it says about that")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--multiarch", required=True, help='for what machine: "x86_64-linux-gnu"')
    parser.add_argument("--pythons", required=True, help='for which ones: "3.10 3.11"')
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    site: Path = options.site
    remove(site, _UNUSED)
    require_modules(site, options.pythons)
    parts = sbom.components(site, sbom.hashes(options.reports))
    remove(site, ["*.dist-info/sboms/*"])
    about = json.dumps({"commit": options.commit, "components": parts}, indent=1, sort_keys=True)
    (site / "certgrinderd/onefile/about.json").write_text(f"{about}\n", encoding="utf-8")
    # For `python3 FOLDER`: see certgrinderd.issuance.certbot.own_command.
    shutil.copy(site / "certgrinderd/__main__.py", site)

    (own,) = distributions(name="certgrinderd", path=[str(site)])
    facts = {"multiarch": options.multiarch, "pythons": options.pythons}
    pack(site, options.output, version=own.version, **facts)
    pyz = options.output.read_bytes()
    digest = hashlib.sha256(pyz).hexdigest()
    licence = own.metadata["License-Expression"]
    bill = sbom.document(
        "certgrinderd.pyz", own.version, sha256=digest, licence=licence, parts=parts
    )
    # The name that the file gets in the end.
    line = f"{digest}  {options.output.name.removeprefix('.new-')}\n"
    for suffix, data in ((".sha256", line.encode()), (".cdx.json", bill)):
        options.output.with_name(options.output.name + suffix).write_bytes(data)
    names = options.pythons.replace(" ", ", ")
    print(f"{len(pyz) / 1e6:.1f} MB, for CPython {names} on {options.multiarch}")  # noqa: T201
    print(f"SHA-256 {digest}")  # noqa: T201


def remove(site: Path, patterns: Iterable[str]) -> None:
    """Remove the files below a folder whose paths fit one of the patterns, and empty folders."""
    for path in sorted(site.rglob("*"), reverse=True):
        place = path.relative_to(site).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif any(fnmatch(place, pattern) for pattern in patterns):
            path.unlink()


def require_modules(site: Path, pythons: str) -> None:
    """Require each module that is compiled for one Python to be there for every one.

    Raises:
        ValueError: One is missing.
    """
    compiled = {path.relative_to(site).as_posix() for path in site.rglob("*.cpython-*.so")}
    for place in sorted(compiled):
        for python in pythons.split():
            wanted = re.sub(r"\.cpython-\d+", f".cpython-{python.replace('.', '')}", place)
            if wanted not in compiled:
                raise ValueError(f"{place} has no sister {wanted}")


def pack(site: Path, target: Path, *, version: str, multiarch: str, pythons: str) -> None:
    """Write the file.

    Args:
        site: The folder with all packages.
        target: The file.
        version: Of certgrinderd.
        multiarch: What its libraries are made for, as Python calls it: "x86_64-linux-gnu".
        pythons: The versions it is for: "3.10 3.11".
    """
    files = sorted(path for path in site.rglob("*") if path.is_file())
    environment = Environment(
        built_at=_MOMENT,
        shiv_version=shiv_version,
        entry_point="certgrinderd.cli:main",
        # Of all files; shiv itself would list the *.py alone.
        hashes={
            path.relative_to(site).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        },
        no_modify=True,
        reproducible=True,
        compile_pyc=False,
    )
    # `python3 certgrinderd.pyz` calls start.main, and not shiv's bootstrap.
    create_archive([site], target, "/bin/sh", "start:main", environment, compressed=False)

    facts = {"version": version, "build": environment.build_id}
    head = HEAD.format(**facts, offset=0, length=0, checksum=0)
    buffer = io.BytesIO(head.encode())
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(target) as packed, zipfile.ZipFile(buffer, "w") as archive:
        # shiv adds its own files in the order of the disk: sorted, they are the same everywhere.
        for member in sorted(packed.infolist(), key=lambda member: member.filename):
            data = packed.read(member)
            archive.writestr(member, data, zipfile.ZIP_DEFLATED, compresslevel=9)
        values = {
            "BUILD": str(environment.build_id),
            "HASH": hashlib.sha256(buffer.getvalue()[len(head) :]).hexdigest(),
            "PLATFORM": multiarch,
            "PYTHONS": pythons,
        }
        text = (ROOT / "build" / _START).read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        start = text.encode()
        last = zipfile.ZipInfo(_START, archive.infolist()[0].date_time)
        archive.writestr(last, start)  # stored as it is
    # Its content comes after 30 bytes and its name.
    offset = last.header_offset + 30 + len(_START)
    numbers = {"offset": offset, "length": len(start), "checksum": binascii.crc32(start)}
    buffer.seek(0)
    buffer.write(HEAD.format(**facts, **numbers).encode())
    pyz = buffer.getvalue()
    if pyz[offset : offset + len(start)] != start or not pyz.startswith(b"PK", len(head)):
        raise AssertionError("the first code is not where the lines of sh look for it")
    target.write_bytes(pyz)


if __name__ == "__main__":
    main()
