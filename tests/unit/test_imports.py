"""What a start loads; that imports point down is checked by lint-imports (pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "certgrinderd"


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
    """Neither X.509, YAML, HTTP nor ACME code is loaded for a ping."""
    script = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from certgrinderd.cli import main\n"
        "assert main(['--config-file', '/nonexistent', 'ping']) == 0\n"
        "heavy = {'cryptography', 'yaml', 'requests', 'acme', 'certbot', 'http', 'idna'}\n"
        "print(*(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "pong\n\n"
