"""One PEM block among other text (RFC 7468), and private keys that should not be there."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Collection, Iterator

from certgrinderd.errors import MalformedInput

# No quantifier here is free to run: this reads whatever a stranger sends, and a pattern with two
# ways to read the same bytes takes quadratic time.
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 .#+/_]{1,40})-----")

# Of the letters of a text alone: broken markers, quoted ones, OpenSSH's, PuTTY's and PGP's too.
_PRIVATE_KEY_WORDS = re.compile(
    rb"(?:begin|end)[a-z]{0,30}privatekey|opensshkeyv|puttyuserkeyfile|privatelines"
)
_NO_LETTERS = bytes(set(range(256)) - set(b"abcdefghijklmnopqrstuvwxyz"))

# How the DER of a private key begins, whatever its label says: a sequence of version 0 or 1 and
# what follows it in PKCS #8 (a sequence), PKCS #1 and DSA (an integer) or SEC 1 (an octet string);
# or an encrypted PKCS #8, whose algorithm is one of PKCS #5.
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..|\x83...)"
_PRIVATE_KEY_DER = re.compile(
    rb"\x30" + _LENGTH + rb"(?:\x02\x01[\x00\x01][\x30\x02\x04]"
    rb"|\x30" + _LENGTH + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05)",
    re.DOTALL,
)
_OPENSSH_KEY = b"openssh-key-v1"
_LABELS_SHOWN = 3
_MARKER = re.compile(rb"-----")
_BEGINNING = 256


def require_no_private_key(data: bytes, *, expected: str) -> None:
    """Require that no private key is in the input, in whatever form we can recognize one.

    A PKCS #12 file, or a key in an archive, is not recognized; it is no PEM block either.

    Args:
        data: All of the input.
        expected: What should come, for the message.

    Raises:
        MalformedInput: There is one, or a part of one.
    """
    letters = data.lower().translate(None, _NO_LETTERS)
    if _PRIVATE_KEY_WORDS.search(letters) or any(map(_is_private_key, _beginnings(data))):
        raise MalformedInput(
            "the input holds a private key, which should never leave its machine: stop using that "
            f"key, make a new one, and send nothing but {expected}"
        )


def _beginnings(data: bytes) -> Iterator[bytes]:
    """Return what comes at the start of the input, and after each marker of PEM."""
    yield data[:_BEGINNING]
    narrow = data.replace(b"\0", b"")  # of UTF-16, as PowerShell writes it
    yield narrow[:_BEGINNING]
    for marker in _MARKER.finditer(narrow):
        yield narrow[marker.end() : marker.end() + _BEGINNING]


def _is_private_key(part: bytes) -> bool:
    """Whether a part of the input, in binary or in base64, begins like a private key."""
    if _PRIVATE_KEY_DER.match(part):
        return True
    beginning = b"".join(part.split())[:64]
    try:
        der = base64.b64decode(beginning[: len(beginning) // 4 * 4], validate=True)
    except binascii.Error:
        return False
    return der.startswith(_OPENSSH_KEY) or _PRIVATE_KEY_DER.match(der) is not None


def read_block(data: bytes, *, labels: Collection[str], expected: str, from_der: str) -> bytes:
    """Return what is in the one PEM block of a text.

    Text around it, CRLF and other white space are tolerated; headers inside (RFC 1421) are not.

    Args:
        data: All of the input.
        labels: What the block may be labelled.
        expected: What should come, for messages.
        from_der: The command that makes PEM of DER, for a message.

    Raises:
        MalformedInput: There is a private key, no block, more than one, or another one.
    """
    require_no_private_key(data, expected=expected)
    begins = data.count(b"-----BEGIN")
    blocks = list(itertools.islice(_BEGIN.finditer(data), _LABELS_SHOWN))
    found = [block[1].decode("ascii") for block in blocks]
    if begins == 0:
        raise MalformedInput(_without_block(data, expected=expected, from_der=from_der))
    if begins > 1:
        shown = ", ".join(found) or "none with a label"
        raise MalformedInput(
            f"expected {expected} and no other block; found {begins} blocks: {shown}"
        )
    if not found or found[0] not in labels:
        what = f"the block {found[0]}" if found else "a broken BEGIN line"
        raise MalformedInput(f"expected {expected}; found {what}")
    body, end, _ = data[blocks[0].end() :].partition(f"-----END {found[0]}-----".encode())
    if not end:
        raise MalformedInput(
            f"expected {expected}; found the block {found[0]} that is not whole: "
            "its END line is missing"
        )
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise MalformedInput(
            f"the block {found[0]} is not whole, or not base64: {error}"
        ) from error


def _without_block(data: bytes, *, expected: str, from_der: str) -> str:
    if not data.strip():
        return f"the input is empty: expected {expected}"
    if b"-\0-\0-\0" in data:
        return f"the input is UTF-16: expected {expected}, saved as plain ASCII text"
    if data.startswith(b"\x30") and not data.isascii():
        return f"the input looks like DER: expected {expected} ({from_der} converts it)"
    return f"expected {expected}; found no PEM block"
