"""What an ACME server says, made safe and short: problems, pauses and links."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.client import HTTPMessage
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import AcmeError
from certgrinderd.issuance.acme.chains import alternates
from certgrinderd.issuance.acme.connection import Answer, Client
from certgrinderd.issuance.acme.session import Session, json_object, problem_text, retry_after
from certgrinderd.system.deadline import Deadline
from certgrinderd.system.log import FOR_ADMIN

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


# Where a server may lead us, and what of its answers we repeat.


class FakeClient:
    """Answers GET from a table, and remembers what was asked."""

    def __init__(self, answers: dict[str, tuple[int, bytes]]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def request(self, _method: str, url: str, **_: object) -> Answer:
        """Look it up."""
        self.asked.append(url)
        status, body = self.answers[url]
        return Answer(status, HTTPMessage(), body)


def session_with(answers: dict[str, tuple[int, bytes]]) -> tuple[Session, FakeClient]:
    """A session with a CA whose directory names a second host."""
    names = {"newOrder": "https://ca.example/order", "newNonce": "https://other.example/nonce"}
    directory = {"https://ca.example/dir": (200, json.dumps(names).encode())}
    client = FakeClient({**directory, **answers})
    made = Session("https://ca.example/dir", cast("Client", client), Deadline(5, for_client=False))
    assert made.url("newOrder") == names["newOrder"]
    return made, client


@pytest.mark.parametrize(
    "url",
    [
        "https://inside.example/x",
        "https://ca.example:8443/x",
        "http://ca.example/x",
        "https://127.0.0.1/x",
        "file:///etc/passwd",
        "",
    ],
)
def test_other_hosts_are_not_asked(url: str) -> None:
    """A CA names the hosts that are its own in its directory, and leads us to no others."""
    known = ("https://ca.example/x", "https://CA.example:443/x", "https://other.example/x")
    session, client = session_with(dict.fromkeys((*known, url), (200, b"{}")))
    with pytest.raises(AcmeError, match="its directory does not name"):
        session.get(url)
    assert url not in client.asked
    for each in known:
        assert session.get(each).status == 200


def test_body_of_an_answer_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """It may be a page from inside our network; a problem document is told, as it is for us."""
    url, page = "https://ca.example/x", b"<h1>intranet</h1>"
    problem = b'{"type": "urn:ietf:params:acme:error:malformed", "detail": "no such thing"}'
    session, client = session_with({url: (404, page)})
    with caplog.at_level(logging.INFO), pytest.raises(AcmeError, match="status 404") as caught:
        session.get(url)
    assert "intranet" not in str(caught.value)
    (record,) = (each for each in caplog.records if "intranet" in each.getMessage())
    assert vars(record).items() >= FOR_ADMIN.items()
    client.answers[url] = (404, problem)
    with pytest.raises(AcmeError, match="malformed: no such thing"):
        session.get(url)
