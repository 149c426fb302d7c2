"""Requests that must get nothing, each next to the nearest one that must get its certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.testbed import forge

HUNDRED = tuple(f"n{number}.csr.example.test" for number in range(101))

# What the client of these tests may have.
DOMAINSETS = ";".join(
    [
        "a" * 47 + ".csr.example.test",
        ",".join(f"{label}.csr.example.test" for label in ("a", "b", "*", "xn--plse-gra", "a-b")),
        "c.csr.example.test",
        ",".join(HUNDRED),
    ]
)


def good(*names: str) -> bytes:
    """A request that a client may make."""
    return forge.pem(forge.csr(*names))


@dataclass(frozen=True)
class Case:
    """A hostile request and an honest one.

    Attributes:
        title: What is wrong.
        hostile: Makes the bytes that are to be refused.
        reason: What the one line of the refusal says, as a regular expression.
        honest: Makes the bytes that are to be accepted.
        refused_by: Who refuses it: the bounded read of the input, the function that reads a CSR, or
            the one that reads its names and the policy.
    """

    title: str
    hostile: Callable[[], bytes]
    reason: str
    honest: Callable[[], bytes] = good
    refused_by: Literal["input", "parser", "policy"] = "parser"


def all_cases() -> list[Case]:
    """Return all of them."""
    from tests.testbed import hostile_encodings, hostile_keys, hostile_names

    return [*hostile_names.CASES, *hostile_keys.CASES, *hostile_encodings.CASES]
