"""Text from strangers, made safe to show."""

from __future__ import annotations

import re

# What a terminal, a log or a reader's eye may obey instead of showing: C0, DEL and C1, the soft
# hyphen, zero-width and bidirectional controls, line and paragraph separators, surrogates, tags.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

# In a command line: the value of an option whose name says that it is a secret.
_SECRET = re.compile(
    r"(--?[\w-]*(?:hmac|secret|password|passwd|token)[\w-]*(?:=|\s+))(\S+)", re.IGNORECASE
)
MASK = "********"


def printable(text: str) -> str:
    r"""Return the text with every character that is not for reading written as an escape (\x1b)."""
    return _UNPRINTABLE.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text
    )


def cut(text: str, *, longest: int = 80) -> str:
    """Return the text, or its beginning and an ellipsis."""
    return text if len(text) <= longest else text[:longest] + "…"


def quoted(text: str, *, longest: int = 80) -> str:
    """Return the text in quotes, for a message: a long one is cut, odd characters are escapes."""
    shown = repr(text[: longest + 1])
    if len(shown) <= longest + len("''"):
        return shown
    return f"{shown[: longest + 1]}…{shown[0]}"


def masked(command: str) -> str:
    """Hide the values of secret options in a command line: `--eab-hmac-key ********`."""
    return _SECRET.sub(rf"\1{MASK}", command)
