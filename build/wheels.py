"""From the lock to the files of each package, for each Python version: fetch, unpack, trim."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from fnmatch import fnmatch
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

Version = tuple[int, int]

# pip wants the names of all glibc versions that will do. 2.17 is RHEL 7's, 2.28 is RHEL 8's and
# Debian 10's; what needs a newer one would not run there.
_GLIBC = ("manylinux_2_17", "manylinux2014", "manylinux_2_28")

# Packages that only a build or another system needs. cffi's own parser is for its `ffi.cdef`;
# cryptography is linked already and asks for _cffi_backend alone.
_UNUSED_PACKAGES = {"pycparser"}
_UNUSED_FILES = (
    *("*/tests/*", "*.pyi", "*/py.typed", "*.c", "*.h", "*.pyx", "*.pxd"),
    # certbot would load them through their own packages, certbot-apache and certbot-nginx.
    *("certbot/_internal/plugins/apache/*", "certbot/_internal/plugins/nginx/*"),
    "cffi/*",
    # Faster parsers of encodings and YAML, one per Python version: a configuration file of a
    # kilobyte is read as fast without.
    *("charset_normalizer/*.so", "yaml/_yaml*", "_yaml/*", "*__mypyc*"),
    # About how pip installed it; the lists of files would name what is left out.
    *("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED"),
    "*.dist-info/direct_url.json",
)
_SBOMS = "*.dist-info/sboms/*"


@dataclass(frozen=True)
class Package:
    """What a wheel holds, without what nobody calls.

    Attributes:
        name: As pip writes it: "charset-normalizer".
        version: Its version.
        sha256: Of the wheel, as in the lock.
        metadata: The text of METADATA (PEP 566).
        files: Content by path, as in site-packages.
        sboms: The wheel's own lists of what is linked into it (PEP 770), as JSON.
    """

    name: str
    version: str
    sha256: str
    metadata: str
    files: dict[str, bytes]
    sboms: tuple[bytes, ...]

    def header(self, name: str) -> str | None:
        """Return a field of METADATA."""
        return HeaderParser().parsestr(self.metadata).get(name)


def fetch(
    lock: Path, folder: Path, versions: Sequence[Version], *, architecture: str | None
) -> dict[Version, list[Package]]:
    """Fetch the locked packages, checked against their hashes.

    A wheel that fits an older version too is taken for both: one compiled library serves all.

    Args:
        lock: The file for pip.
        folder: Where the wheels go.
        versions: From old to new.
        architecture: "x86_64": wheels for Linux with glibc. None: for the running Python, and what
            has no wheel is built.
    """
    found = {}
    for version in versions:
        lines = _locked_lines(lock.read_text(encoding="utf-8"), version, architecture)
        tags = None if architecture is None else _tags(version, architecture)
        missing = {
            name: line
            for name, line in lines.items()
            if tags is None or not _fitting(folder, line, tags)
        }
        if missing:
            _run_pip(missing.values(), folder, version, architecture)
        wheels = [_fitting(folder, line, tags) for line in lines.values()]
        found[version] = [read_wheel(path) for path in wheels if path is not None]
    return found


def read_wheel(path: Path) -> Package:
    """Read a wheel and leave out what nobody calls."""
    name, version, *_ = parse_wheel_filename(path.name)
    files: dict[str, bytes] = {}
    sboms = []
    with zipfile.ZipFile(path) as wheel:
        for member in sorted(wheel.namelist()):
            # PEP 427: what stands in *.data/purelib or platlib belongs to site-packages as well.
            place = re.sub(r"^[^/]+\.data/(pure|plat)lib/", "", member)
            if place.endswith("/"):
                continue
            if fnmatch(place, _SBOMS):
                sboms.append(wheel.read(member))
            elif not _is_unused(place):
                files[place] = wheel.read(member)
    (metadata,) = (data for place, data in files.items() if fnmatch(place, "*.dist-info/METADATA"))
    return Package(
        name=str(name),
        version=str(version),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        metadata=metadata.decode(),
        files=files,
        sboms=tuple(sboms),
    )


def _is_unused(place: str) -> bool:
    if re.match(r"[^/]+\.data/", place):
        return True  # scripts and headers
    return any(fnmatch(place, pattern) for pattern in _UNUSED_FILES)


def _locked_lines(lock: str, version: Version, architecture: str | None) -> dict[str, str]:
    """Return the lines of the lock that hold for a Python version, without their markers.

    pip would judge the markers by the Python that it runs on.
    """
    python = ".".join(map(str, version))
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    if architecture is not None:
        environment |= {"sys_platform": "linux", "platform_machine": architecture}
    lines: dict[str, str] = {}
    for entry in re.split(r"\n(?=\w)", lock.replace("\\\n", " ")):
        requirement = Requirement(entry.partition("--hash")[0].strip())
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate(environment):
            continue
        if name not in _UNUSED_PACKAGES:
            hashes = " ".join(re.findall(r"--hash=\S+", entry))
            lines[name] = f"{name}{requirement.specifier} {hashes}"
    return lines


def _platforms(architecture: str) -> list[str]:
    return [f"{glibc}_{architecture}" for glibc in _GLIBC]


def _tags(version: Version, architecture: str) -> set[Tag]:
    platforms = _platforms(architecture)
    interpreter = f"cp{version[0]}{version[1]}"
    return {
        *cpython_tags(version, [interpreter], platforms),
        *compatible_tags(version, interpreter, platforms),
    }


def _fitting(folder: Path, line: str, tags: set[Tag] | None) -> Path | None:
    """Return the wheel for a line of the lock that fits; tags None fits all."""
    requirement = Requirement(line.partition("--hash")[0].strip())
    for path in sorted(folder.glob("*.whl")):
        name, version, _, wheel_tags = parse_wheel_filename(path.name)
        if name != requirement.name or version not in requirement.specifier:
            continue
        if tags is None or tags & wheel_tags:
            return path
    return None


def _run_pip(
    lines: Iterable[str], folder: Path, version: Version, architecture: str | None
) -> None:
    folder.mkdir(exist_ok=True)
    requirements = folder / f"{version[0]}.{version[1]}.txt"
    requirements.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pip = [sys.executable, "-I", "-m", "pip"]
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    options += ["--require-hashes", "--requirement", str(requirements)]
    if architecture is None:
        command = [*pip, "wheel", *options, "--wheel-dir", str(folder)]
    else:
        tag = f"cp{version[0]}{version[1]}"
        command = [*pip, "download", *options, "--dest", str(folder), "--only-binary", ":all:"]
        command += ["--implementation", "cp", "--python-version", ".".join(map(str, version))]
        command += [word for abi in (tag, "abi3", "none") for word in ("--abi", abi)]
        command += [word for name in _platforms(architecture) for word in ("--platform", name)]
    subprocess.run(command, check=True)  # noqa: S603 - our own words and those of the lock
