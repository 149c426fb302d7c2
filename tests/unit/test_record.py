"""Records do what frozen dataclasses do."""

from __future__ import annotations

import pytest

from certgrinderd.record import Record


class Pair(Record):
    """Two fields, one with a default."""

    first: int
    second: str = "b"


class Other(Record):
    """The same fields."""

    first: int
    second: str = "b"


def test_fields_are_given_by_position_or_name() -> None:
    """What is missing has its default."""
    assert Pair(1) == Pair(first=1) == Pair(1, "b") == Pair(1, second="b")
    assert (Pair(1).first, Pair(1).second) == (1, "b")
    assert repr(Pair(1)) == "Pair(first=1, second='b')"


def test_wrong_fields_are_refused() -> None:
    """Too few, too many, unknown or twice; the message names those that there are."""
    for values, named in (((), {}), ((1, "b", 2), {}), ((1,), {"third": 1}), ((1,), {"first": 1})):
        with pytest.raises(TypeError, match="Pair takes first, second"):
            Pair(*values, **named)  # type: ignore[arg-type]


def test_records_are_compared_by_type_and_fields() -> None:
    """Equal ones have equal hashes."""
    assert Pair(1) != Pair(2)
    assert Pair(1) != Other(1)
    assert len({Pair(1), Pair(1, "b"), Pair(1, "c")}) == 2


def test_records_stay_as_they_are() -> None:
    """Nothing is set or deleted; replace makes another one."""
    pair = Pair(1)
    with pytest.raises(AttributeError, match=r"Pair\.first can't be changed"):
        pair.first = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match=r"Pair\.first can't be changed"):
        del pair.first
    assert pair.replace(first=2) == Pair(2)
    assert pair == Pair(1)
