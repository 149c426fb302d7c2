"""certgrinderd: gets certificates from an ACME CA for clients that come in over SSH."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from certgrinderd.certgrinderd import Certgrinderd

__version__ = "0.1.0"
__all__ = ["Certgrinderd", "__version__"]


def __getattr__(name: str) -> object:
    """Load the class on first use (PEP 562): a ping does without all that it imports."""
    if name == "Certgrinderd":
        from certgrinderd.certgrinderd import Certgrinderd

        return Certgrinderd
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
