"""`./demo.sh`, the first command of README.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PYZ_SOURCES
from tests.testbed.pages import ROOT, blocks, commands


@pytest.mark.thorough
def test_demo_shows_what_readme_says(tmp_path: Path) -> None:
    """One certificate is issued, the other is refused, and the log has the lines of the README."""
    checkout = tmp_path / "checkout"
    for name in (*PYZ_SOURCES, "demo.sh"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, checkout / name)
    done = subprocess.run(
        ["sh", "-c", commands("README.md", r"demo\.sh")],
        cwd=checkout,
        env={**os.environ, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    (example,) = (block.text for block in blocks("README.md", "") if "permitted.csr" in block.text)
    lines = [line.removeprefix("… ") for line in example.splitlines()[1:]]
    assert len(lines) >= 5
    for line in lines:
        # Ports, accounts and serial numbers are others each time.
        pattern = re.sub(r":\d{5}/\S+|serial \w+…", "@", line)
        assert re.search(re.escape(pattern).replace("@", r".+"), done.stdout), line
    assert "may not have" in done.stdout
