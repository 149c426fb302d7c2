"""Each hostile CSR is refused for its reason, and the honest one next to it is taken."""

from __future__ import annotations

import pytest

from certgrinderd.errors import RequestRefused
from certgrinderd.pki import describe
from certgrinderd.pki.csr import parse_csr, requested_names
from certgrinderd.policy import parse_domainsets, require_permitted
from tests.testbed.hostile import DOMAINSETS, Case, all_cases

CASES = all_cases()
LONGEST_MESSAGE = 1000


def check(data: bytes) -> None:
    """Do with a CSR what is done before the CA is asked, and before it is shown."""
    csr = parse_csr(data)
    assert all(line.isprintable() for line in describe.csr(csr).splitlines())
    require_permitted(requested_names(csr), parse_domainsets(DOMAINSETS))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title) for case in CASES])
def test_hostile_csr_is_refused_and_its_neighbour_is_not(case: Case) -> None:
    """It ends in one line that says why; the nearest honest CSR passes all the same checks."""
    check(case.honest())

    data = case.hostile()
    if case.refused_by == "input":
        return  # see test_hostile_command_lines
    with pytest.raises(RequestRefused, match=case.reason) as refused:
        check(data)

    message = str(refused.value)
    assert message.isprintable()
    assert len(message) <= LONGEST_MESSAGE
    if case.refused_by == "policy":
        parse_csr(data)  # nothing else was wrong with it


def test_there_are_many_of_them() -> None:
    """At least 60, and no title twice: the titles are the names of the tests."""
    titles = [case.title for case in CASES]
    assert len(titles) == len(set(titles)) >= 60
