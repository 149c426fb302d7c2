"""The little DER reader: what it reads is what was written, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.pki import der
from tests.testbed.authority import tlv

TAGS = st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F)


@given(st.lists(st.tuples(TAGS, st.binary(max_size=300)), max_size=5))
def test_elements_come_back(written: list[tuple[int, bytes]]) -> None:
    """Tags and contents, in their order, whatever their length."""
    data = b"".join(tlv(tag, content) for tag, content in written)
    assert list(der.elements(data)) == written


@given(TAGS, st.binary(min_size=1, max_size=300))
def test_cut_off_element_is_an_error(tag: int, content: bytes) -> None:
    """Whatever is missing at its end."""
    whole = tlv(tag, content)
    assert der.single(whole, tag) == content
    for end in range(1, len(whole)):
        with pytest.raises(ValueError, match="DER"):
            list(der.elements(whole[:end]))


@given(st.binary(max_size=100))
def test_any_bytes_are_elements_or_a_value_error(data: bytes) -> None:
    """No other error, and no byte is lost."""
    try:
        found = list(der.elements(data))
    except ValueError:
        return
    assert sum(len(content) + 2 for _, content in found) <= len(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tlv(0x30) + tlv(0x30), id="two elements"),
        pytest.param(tlv(0x31), id="another tag"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x30\x80\0\0", id="an indefinite length"),
        pytest.param(b"\x1f\x80\x00", id="a tag of several bytes"),
    ],
)
def test_single_is_exactly_one(data: bytes) -> None:
    """One element of the kind that belongs there."""
    assert der.single(tlv(0x30, b"x"), 0x30) == b"x"
    with pytest.raises(ValueError, match="DER"):
        der.single(data, 0x30)
