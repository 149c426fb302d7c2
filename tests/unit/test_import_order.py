"""Imports point downwards: docs/design.md names the layers, this file keeps them apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "certgrinderd"

# From top to bottom; a module imports only from rows below its own, or from its own package. Below
# the line is what is pure: no files, sockets, clock, environment or exit.
LAYERS = (
    ("__main__",),
    ("cli",),
    ("certgrinderd",),
    ("overview", "ocsp_methods", "pki_methods", "administration", "acme_side", "installation"),
    ("key_check", "settings_reader"),
    ("issuance", "onefile", "revocation"),
    ("system",),
    # ---
    ("sshd_settings",),
    ("key_lines",),
    ("usage",),
    ("arguments", "boundary"),
    ("sources", "commands"),
    ("config",),
    ("option",),
    ("kinds",),
    ("client_table",),
    ("authorized_keys", "sudoers"),
    ("policy",),
    ("pki",),
    ("text", "errors", "record"),
)
PURE = LAYERS[7:]
# In a package that also fetches or writes, these modules decide.
PURE_PARTS = {f"revocation.{name}" for name in ("ocsp", "crl", "signature", "status")}
PURE_PARTS |= {f"installation.{name}" for name in ("layout", "model", "plan", "receipt")}
IMPURE_MODULES = {"os", "io", "socket", "subprocess", "time", "tempfile", "select", "sys", "signal"}


def top_of(module: str) -> str:
    """The module itself, or the package that it is in."""
    return module.partition(".")[0]


def row_of(module: str) -> int:
    """The row that a module or the package it is in stands in."""
    return next(number for number, row in enumerate(LAYERS) if top_of(module) in row)


def modules() -> list[str]:
    """Every module of the package, with dots, without the package's own __init__."""
    paths = (path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    return sorted(name for name in names if name != "__init__")


def imports_of(module: str) -> set[str]:
    """What a module imports, late imports included: names with dots."""
    path = PACKAGE / Path(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("module", modules())
def test_imports_point_downwards(module: str) -> None:
    """No module imports from its own row, but from its own package, or from a row above."""
    for imported in imports_of(module):
        if not imported.startswith("certgrinderd."):
            continue
        name = imported.removeprefix("certgrinderd.")
        if name in {"__version__", "Certgrinderd"} or top_of(name) == top_of(module):
            continue
        assert row_of(name) > row_of(module), f"{module} imports {name}"


@pytest.mark.parametrize(
    "module",
    [m for m in modules() if row_of(m) >= row_of("sshd_settings") or m in PURE_PARTS],
)
def test_pure_modules_do_no_input_or_output(module: str) -> None:
    """What decides gets its values as arguments."""
    assert not {top_of(name) for name in imports_of(module)} & IMPURE_MODULES


def test_import_of_the_package_is_cheap() -> None:
    """`import certgrinderd` loads nothing else; the class comes with its first use."""
    script = (
        "import sys, certgrinderd\n"
        "assert certgrinderd.__version__\n"
        "print(*(name for name in sys.modules if name.startswith('certgrinderd.')))\n"
        "assert certgrinderd.Certgrinderd.__module__ == 'certgrinderd.certgrinderd'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


def test_ping_imports_no_heavy_module() -> None:
    """Neither X.509, YAML, HTTP, ACME nor logging code is loaded for a ping.

    Nor are modules of the standard library whose loading takes as long as all the rest of it.
    """
    script = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from certgrinderd.cli import main\n"
        "assert main(['--config-file', '/nonexistent', 'ping']) == 0\n"
        "heavy = {'cryptography', 'yaml', 'requests', 'acme', 'certbot', 'logging', 'idna'}\n"
        "heavy |= {'argparse', 'collections', 'dataclasses', 'enum', 'pathlib', 're', 'typing'}\n"
        "print(*(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "pong\n\n"
