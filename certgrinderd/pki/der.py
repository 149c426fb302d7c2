"""The DER that cryptography's classes for OCSP leave unread (ITU-T X.690): see revocation/ocsp.py.

Its module hazmat.asn1 could read it, but the documentation calls that interface unstable. pyasn1
would be one more dependency, to save 30 lines.
"""

from __future__ import annotations

from collections.abc import Iterator

BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE = 0x01, 0x02, 0x04, 0x06, 0x30

_LONG_FORM = 0x80
_HIGH_TAG = 0x1F


def context(number: int) -> int:
    """The tag of the constructed, context-specific element [number]."""
    return 0xA0 | number


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each element of a run of them: its tag and its content.

    Raises:
        ValueError: The bytes end within an element, or have a form that DER or we do not know.
    """
    place = 0
    while place < len(data):
        tag, *first = data[place : place + 2]
        if not first or tag & _HIGH_TAG == _HIGH_TAG or first[0] == _LONG_FORM:
            raise ValueError("not DER")
        length, start = first[0], place + 2
        if length > _LONG_FORM:
            start += length - _LONG_FORM
            length = int.from_bytes(data[place + 2 : start], "big")
        place = start + length
        if place > len(data):
            raise ValueError("DER that is cut off")
        yield tag, data[start:place]


def single(data: bytes, tag: int) -> bytes:
    """The content of the one element that the bytes are.

    Raises:
        ValueError: They are something else.
    """
    found = list(elements(data))
    if len(found) != 1 or found[0][0] != tag:
        raise ValueError(f"not one DER element with the tag {tag:#x}")
    return found[0][1]
