"""Which file is certgrinderd.pyz, and which of its builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from build.make_pyz import HEAD
from certgrinderd.onefile import identity

BUILD = "0123456789abcdef" * 4
FACTS = {"offset": 1, "length": 1, "checksum": 1}
NAME = "0123456789abcdef-cpython-311-x86_64-linux-gnu"


@pytest.mark.parametrize(
    ("head", "is_program", "is_build"),
    [
        (HEAD.format(version="1.2.3", build=BUILD, **FACTS), True, True),
        (HEAD.format(version="1.2.3", build="f" * 64, **FACTS), True, False),
        # As it began before there was a line with the build.
        (
            "#!/bin/sh\n# certgrinderd 0.1.0. A zip file follows: unzip -l.\nexec",
            True,
            False,
        ),
        ("#!/bin/sh\n# certgrinderd is started by this script.\n", False, False),
        ("", False, False),
    ],
)
def test_first_lines_tell(head: str, *, is_program: bool, is_build: bool) -> None:
    """Those that the build writes are known, as are older ones; a script of an admin's is not."""
    assert identity.is_program(head.encode()) == is_program
    assert identity.is_build_in(head.encode(), Path("/var/cache/certgrinderd") / NAME) == is_build
