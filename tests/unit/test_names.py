"""Host names: one form only, and nothing that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import CertgrinderdError
from certgrinderd.pki.names import Identifier, MalformedName, RequestedNames

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda label: label[2:4] != "--"
)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))


@pytest.mark.parametrize(
    ("text", "ascii_form", "unicode_form"),
    [
        pytest.param("example.com", "example.com", "example.com", id="plain"),
        pytest.param("EXAMPLE.Com", "example.com", "example.com", id="case"),
        pytest.param("pølse.example", "xn--plse-gra.example", "pølse.example", id="Unicode"),
        pytest.param("PØLSE.example", "xn--plse-gra.example", "pølse.example", id="its case"),
        pytest.param("xn--plse-gra.example", "xn--plse-gra.example", "pølse.example", id="A-label"),
        pytest.param("XN--PLSE-GRA.example", "xn--plse-gra.example", "pølse.example", id="upper A"),
        pytest.param("*.Example.com", "*.example.com", "*.example.com", id="wildcard"),
        pytest.param("*.pølse.example", "*.xn--plse-gra.example", "*.pølse.example", id="both"),
        pytest.param("faß.example", "xn--fa-hia.example", "faß.example", id="non-transitional"),
        pytest.param("a。example", "a.example", "a.example", id="ideographic full stop"),
        pytest.param("localhost", "localhost", "localhost", id="one label"),
        pytest.param("1.2.example", "1.2.example", "1.2.example", id="digits"),
        pytest.param("a" * 63 + ".example", "a" * 63 + ".example", "a" * 63 + ".example", id="63"),
        pytest.param(".".join(["a" * 49] * 5) + ".abc", None, None, id="253 characters"),
    ],
)
def test_equal_names_are_equal(text: str, ascii_form: str | None, unicode_form: str | None) -> None:
    """Whatever form a name comes in, there is one value for it."""
    name = Identifier.parse_dns(text)
    assert name.value == (ascii_form or text)
    assert name.unicode == (unicode_form or text)
    assert Identifier.parse_dns(name.unicode) == name


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("*", id="a star alone"),
        pytest.param("*.", id="a wildcard of nothing"),
        pytest.param("*.*.example", id="two wildcards"),
        pytest.param("a.*.example", id="wildcard inside"),
        pytest.param("a*.example", id="wildcard in a label"),
        pytest.param("example.com.", id="trailing dot"),
        pytest.param(".example.com", id="leading dot"),
        pytest.param("a..example", id="empty label"),
        pytest.param("-a.example", id="leading hyphen"),
        pytest.param("a-.example", id="trailing hyphen"),
        pytest.param("a_b.example", id="underscore"),
        pytest.param("ab--c.example", id="reserved label"),
        pytest.param("a b.example", id="blank"),
        pytest.param("a.example\n", id="newline"),
        pytest.param("a.example\0", id="NUL"),
        pytest.param("a.example\0.evil", id="NUL inside"),
        pytest.param("a;id.example", id="semicolon"),
        pytest.param("a/b.example", id="slash"),
        pytest.param("a@example.com", id="mail address"),
        pytest.param("192.0.2.1", id="IPv4 address"),
        pytest.param("2001:db8::1", id="IPv6 address"),
        pytest.param("0x7f.1", id="old form of an address"),
        pytest.param("a" * 64 + ".example", id="label of 64"),
        pytest.param(".".join(["a" * 49] * 5) + ".abcd", id="254 characters"),
        pytest.param("*." + ".".join(["a" * 49] * 5) + ".ab", id="254 with the wildcard"),
        pytest.param("ø" * 100 + ".example", id="label that gets too long"),
        pytest.param("☃.example", id="allowed by IDNA 2003 only"),
        pytest.param("xn--n3h.example", id="the same as an A-label"),
        pytest.param("xn--a.example", id="A-label of nothing"),
        pytest.param("xn--.example", id="empty A-label"),
        pytest.param("xn--fa-hia.xn--", id="empty A-label at the end"),
        pytest.param("a\u202eb.example", id="bidi override"),
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    """It is an error with one line that shows it, and its nearest relative is a name."""
    with pytest.raises(MalformedName) as caught:
        Identifier.parse_dns(text)
    assert "\n" not in str(caught.value)


def test_invisible_characters_are_not_kept() -> None:
    """UTS #46 maps a zero-width space to nothing: the name is the one without it."""
    assert Identifier.parse_dns("a\u200b.example") == Identifier.parse_dns("a.example")


def test_reason_is_idna_2008() -> None:
    """A name that the older IDNA 2003 allowed is refused with that reason."""
    with pytest.raises(MalformedName, match="not valid under IDNA 2008"):
        Identifier.parse_dns("☃.example")


@given(NAME, st.booleans())
def test_parse_is_idempotent_and_ignores_case(text: str, wildcard: bool) -> None:  # noqa: FBT001
    """What comes out goes in again and stays the same; case makes no difference."""
    text = f"*.{text}" if wildcard else text
    name = Identifier.parse_dns(text)
    assert name.value == text
    assert name.is_wildcard == wildcard
    assert Identifier.parse_dns(name.value) == name == Identifier.parse_dns(text.upper())


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    """A name that comes out is made of characters that no shell, zone file or path minds."""
    try:
        name = Identifier.parse_dns(text)
    except CertgrinderdError:
        pass
    else:
        assert set(name.value.removeprefix("*.")) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
        assert 0 < len(name.value) <= 253
        assert Identifier.parse_dns(name.value) == name
        assert name.for_people.startswith(name.value)


def test_requested_names_are_listed_once() -> None:
    """Duplicates are tolerated; the order of the request is kept."""
    first, second = Identifier.parse_dns("b.example"), Identifier.parse_dns("a.example")
    requested = RequestedNames(("b.example",), (first, second, first))
    assert requested.names == (first, second)
