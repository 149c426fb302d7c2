"""The policy: who may have which names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certgrinderd.errors import MalformedInput, NotPermitted
from certgrinderd.pki.names import Identifier, RequestedNames
from certgrinderd.policy import Domainsets, parse_domainsets, require_names, require_permitted

NAMES = st.sampled_from([f"{label}.example" for label in "abcdefgh"] + ["*.a.example"])
NAME_LISTS = st.lists(NAMES, min_size=1, max_size=6)
SETS = st.lists(st.lists(NAMES, max_size=5), max_size=4)


def request(*names: str, common_names: tuple[str, ...] | None = None) -> RequestedNames:
    """A request for names, the first of which is the CN."""
    parsed = tuple(Identifier.parse_dns(name) for name in names)
    return RequestedNames(names[:1] if common_names is None else common_names, parsed)


def permitted(requested: RequestedNames, text: str) -> bool:
    """Whether domainsets in this form permit the request."""
    try:
        require_permitted(requested, parse_domainsets(text))
    except NotPermitted:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" ; ,;, ,", [], id="empty sets"),
        pytest.param("example.com", [["example.com"]], id="one"),
        pytest.param(
            "example.net;example.com,www.example.com",
            [["example.net"], ["example.com", "www.example.com"]],
            id="the documented example",
        ),
        pytest.param(" a.example ,\tb.example ; c.example\n", None, id="white space"),
        pytest.param("A.EXAMPLE,b.example;C.example", None, id="case"),
        pytest.param("b.example,a.example;c.example", None, id="order"),
        pytest.param("a.example,,b.example;;c.example;", None, id="empty ones between"),
        pytest.param("a.example,a.example,b.example;c.example", None, id="duplicates"),
        pytest.param("pølse.example", [["xn--plse-gra.example"]], id="Unicode"),
    ],
)
def test_domainsets_are_read(text: str, sets: list[list[str]] | None) -> None:
    """Sets by semicolons, names by commas; order, case and white space make no difference."""
    expected = [["a.example", "b.example"], ["c.example"]] if sets is None else sets
    read = parse_domainsets(text)
    assert [sorted(map(str, names)) for names in read.sets] == expected
    assert read.ignored == ()


def test_malformed_entry_permits_nothing_and_takes_nothing_away() -> None:
    """A name that is none is reported; its neighbours count, and nothing is widened."""
    read = parse_domainsets("a.example,*,b_c.example,b.example;*.*.example;c.example")
    assert str(read) == "a.example,b.example;c.example"
    assert len(read.ignored) == 3
    assert all("permits nothing" in reason for reason in read.ignored)


@given(SETS)
def test_domainsets_are_written_as_they_are_read(sets: list[list[str]]) -> None:
    """Text and value say the same."""
    text = ";".join(",".join(names) for names in sets)
    read = parse_domainsets(text)
    assert parse_domainsets(str(read)).sets == read.sets


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    """There is no text that stops us, and none that makes a set of no names."""
    assert all(parse_domainsets(text).sets)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        pytest.param(["a.example"], "a.example", id="the same"),
        pytest.param(["A.example"], "a.EXAMPLE", id="case on both sides"),
        pytest.param(["b.example", "a.example"], "a.example,b.example,c.example", id="a part"),
        pytest.param(["c.example"], "a.example;b.example,c.example", id="the second set"),
        pytest.param(["xn--plse-gra.example"], "pølse.example", id="IDNA asked, Unicode given"),
        pytest.param(["pølse.example"], "xn--plse-gra.example", id="Unicode asked, IDNA given"),
        pytest.param(["*.a.example"], "*.a.example", id="the same wildcard"),
        pytest.param(["a.example", "a.example"], "a.example", id="twice"),
    ],
)
def test_names_of_one_set_are_permitted(names: list[str], text: str) -> None:
    """All names stand in one set, in whatever form."""
    assert permitted(request(*names), text)


@pytest.mark.parametrize(
    ("names", "text", "missing"),
    [
        pytest.param(["a.example"], "", ["a.example"], id="no sets"),
        pytest.param(["b.example"], "a.example", ["b.example"], id="another name"),
        pytest.param(["a.example", "b.example"], "a.example;b.example", None, id="two sets"),
        pytest.param(["b.a.example"], "a.example", ["b.a.example"], id="below a name"),
        pytest.param(["a.example"], "b.a.example", ["a.example"], id="above a name"),
        pytest.param(["b.a.example"], "*.a.example", ["b.a.example"], id="below a wildcard"),
        pytest.param(["*.a.example"], "a.example", ["*.a.example"], id="wildcard of a name"),
        pytest.param(["*.a.example"], "b.a.example", ["*.a.example"], id="wildcard over a name"),
        pytest.param(["aa.example"], "a.example", ["aa.example"], id="ends alike"),
    ],
)
def test_anything_else_is_not(names: list[str], text: str, missing: list[str] | None) -> None:
    """The error names what is missing."""
    with pytest.raises(NotPermitted) as caught:
        require_permitted(request(*names), parse_domainsets(text))
    assert len(caught.value.missing) == 1
    if missing is not None:
        assert list(caught.value.missing) == missing


def test_names_without_a_request_are_permitted_alike() -> None:
    """For a certificate, which needs no CN; no names at all are never permitted."""
    sets = parse_domainsets("a.example,b.example;c.example")
    both = [Identifier.parse_dns("A.example"), Identifier.parse_dns("b.example")]
    assert require_names(both, sets) == frozenset(both)
    with pytest.raises(NotPermitted):
        require_names([*both, Identifier.parse_dns("c.example")], sets)
    with pytest.raises(MalformedInput, match="no name"):
        require_names([], sets)


def test_nearest_set_is_the_one_with_the_most_names() -> None:
    """The error names the set that lacks least."""
    sets = parse_domainsets("a.example;b.example,c.example,d.example;b.example")
    with pytest.raises(NotPermitted) as caught:
        require_permitted(request("b.example", "c.example", "x.example"), sets)
    assert caught.value.nearest == ("b.example", "c.example", "d.example")
    assert caught.value.missing == ("x.example",)


@pytest.mark.parametrize(
    ("requested", "reason"),
    [
        pytest.param(request("a.example", common_names=()), "exactly one CN", id="no CN"),
        pytest.param(
            request("a.example", common_names=("a.example", "b.example")),
            "it has 'a.example', 'b.example'",
            id="two CNs",
        ),
        pytest.param(
            request("a.example", common_names=("b.example",)),
            "is not among the subject alternative names",
            id="CN elsewhere",
        ),
        pytest.param(
            request("a.example", common_names=("Some Person",)), "the CN of the CSR", id="no name"
        ),
        pytest.param(RequestedNames(("a.example",), ()), "no subject alternative", id="no SAN"),
    ],
)
def test_malformed_request_is_refused(requested: RequestedNames, reason: str) -> None:
    """Exactly one CN, which is one of the names; what is well formed is permitted."""
    sets = parse_domainsets("a.example,b.example")
    with pytest.raises(MalformedInput, match=reason):
        require_permitted(requested, sets)
    require_permitted(request("a.example", common_names=("A.example",)), sets)


def test_number_of_names_is_bounded() -> None:
    """Up to max-names are fine, one more is not; the same name again doesn't count."""
    names = [f"n{number}.example" for number in range(5)]
    sets = parse_domainsets(",".join(names))
    require_permitted(request(*names, *names), sets, max_names=5)
    with pytest.raises(MalformedInput, match="asks for 5 names: 4 are allowed"):
        require_permitted(request(*names), sets, max_names=4)


@given(NAME_LISTS, SETS)
def test_policy_is_subset_of_one_set(names: list[str], sets: list[list[str]]) -> None:
    """The whole policy in one line, against the code."""
    text = ";".join(",".join(each) for each in sets)
    assert permitted(request(*names), text) == any(set(names) <= set(each) for each in sets)


@given(NAME_LISTS, NAMES, SETS)
def test_one_more_name_never_turns_no_into_yes(
    names: list[str], more: str, sets: list[list[str]]
) -> None:
    """Asking for more can't help."""
    text = ";".join(",".join(each) for each in sets)
    assert permitted(request(*names), text) or not permitted(request(*names, more), text)


def test_no_domainsets_at_all() -> None:
    """Nothing configured permits nothing, and says so."""
    with pytest.raises(NotPermitted, match="has no domainsets"):
        require_permitted(request("a.example"), Domainsets())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param(["b.example"], "this client may not have b.example", id="another name"),
        pytest.param(
            ["a.example", "b.example"], "this client may not have b.example", id="and a right one"
        ),
        pytest.param(
            ["a.example", "c.example"],
            "this client may not have c.example together with a.example: all names of a "
            "certificate must be in one domainset",
            id="of two sets",
        ),
        pytest.param(
            ["a.example", "*.a.example"],
            "this client may not have *.a.example: a wildcard must be listed in a domainset itself",
            id="wildcard",
        ),
    ],
)
def test_refusal_says_what_to_change(names: list[str], message: str) -> None:
    """Which name is missing; or that the names are right and stand in the wrong places."""
    with pytest.raises(NotPermitted) as caught:
        require_permitted(request(*names), parse_domainsets("a.example;c.example"))
    assert str(caught.value) == message
