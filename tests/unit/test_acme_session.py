"""What an ACME server says, made safe and short: problems, pauses and links."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.client import HTTPMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import AcmeError
from certgrinderd.issuance.acme.chains import alternates
from certgrinderd.issuance.acme.connection import Answer
from certgrinderd.issuance.acme.session import json_object, problem_text, retry_after

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=15,
)


def answer(body: bytes = b"", **headers: str | list[str]) -> Answer:
    """An answer with headers, _ for -."""
    message = HTTPMessage()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return Answer(200, message, body)


def test_problem_with_subproblems() -> None:
    """Type, detail and the identifier of each subproblem are there (RFC 8555 section 6.7.1)."""
    text = problem_text(
        {
            "type": "urn:ietf:params:acme:error:malformed",
            "detail": "Some of the identifiers requested were rejected",
            "subproblems": [
                {
                    "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                    "detail": "not one of ours",
                    "identifier": {"type": "dns", "value": "a.example"},
                },
                {"type": "https://ca.example/strange", "identifier": {"value": "b.example"}},
            ],
        }
    )
    assert text == (
        "malformed: Some of the identifiers requested were rejected; "
        "a.example: rejectedIdentifier: not one of ours; "
        "b.example: https://ca.example/strange: no further detail"
    )


@given(json_values)
def test_any_problem_is_a_text(problem: object) -> None:
    """Whatever JSON a server sends, there is a text of bounded length."""
    assert 0 < len(problem_text(problem)) < 300_000


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "type": json_values,
            "detail": json_values,
            "subproblems": st.lists(
                st.fixed_dictionaries({}, optional={"identifier": json_values, "type": json_values})
            ),
        },
    )
)
def test_any_problem_of_the_right_shape_is_a_text(problem: object) -> None:
    """The same where the members have the right names and the wrong values."""
    assert problem_text(problem)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b"[" * 100_000])
def test_no_json_object(body: bytes) -> None:
    """Anything but a JSON object is an AcmeError."""
    with pytest.raises(AcmeError, match="not a JSON object"):
        json_object(answer(body), "https://ca/x")
    assert json_object(answer(b'{"a": 1}'), "https://ca/x") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("3", 3.0),
        (" 120 ", 120.0),
        ("soon", None),
        ("", None),
        ("-1", None),
        ("²", None),
    ],
)
def test_retry_after_in_seconds(text: str, seconds: float | None) -> None:
    """A number of seconds, or nothing if it is none."""
    assert retry_after(answer(Retry_After=text)) == seconds
    assert retry_after(answer()) is None


def test_retry_after_as_a_date() -> None:
    """A date is the time until then, and none if it is past."""
    now = datetime.now(timezone.utc)
    later = retry_after(answer(Retry_After=format_datetime(now + timedelta(hours=1), usegmt=True)))
    assert later is not None
    assert 3500 < later <= 3600
    assert retry_after(answer(Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")) == 0


@pytest.mark.parametrize(
    "text", ["Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"]
)
def test_retry_after_until_the_end_of_time(text: str) -> None:
    """No date that a CA names is one that we can't reckon with."""
    seconds = retry_after(answer(Retry_After=text)) or 0.0
    assert datetime.now(timezone.utc) + timedelta(seconds=seconds)


def test_alternate_links() -> None:
    """Only links of that relation count, in one header or several (RFC 8288)."""
    links = [
        '<https://ca/dir>;rel="index"',
        '<https://ca/1>;rel="alternate", <https://ca/2>; title=x; rel=alternate',
        '<https://ca/up>;rel="up"',
    ]
    assert alternates(answer(Link=links)) == ["https://ca/1", "https://ca/2"]
    assert alternates(answer()) == []


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=200))
def test_any_link_header(text: str) -> None:
    """Any header is read, to no more than ten URLs."""
    assert len(alternates(answer(Link=text))) <= 10
