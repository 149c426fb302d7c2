"""Start the command line: `python -m certgrinderd`."""

from __future__ import annotations

import sys

from certgrinderd.cli import main

if __name__ == "__main__":
    sys.exit(main())
