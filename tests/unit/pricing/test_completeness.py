"""What is said beside a sum: nothing where it is whole, `so far` where it may grow, `at least` where it lacks."""

from dataclasses import replace

import pytest

from spotbatch.pricing.completeness import Completeness, Coverage
from spotbatch.pricing.report import report_from
from tests.unit.pricing.test_report import PRICES, a_host, a_report, an_attempt


def test_a_run_that_has_ended_with_its_hosts_is_complete_and_says_nothing() -> None:
    known = Completeness.of(a_report(an_attempt()))
    assert (known.coverage, known.why, known.words("1.00 USD")) == (Coverage.COMPLETE, (), "1.00 USD")


@pytest.mark.parametrize("is_over", [True, False])
def test_hosts_that_are_up_make_a_sum_so_far_even_where_the_work_has_ended(is_over: bool) -> None:
    known = Completeness.of(a_report(an_attempt(), host=a_host(ended_at=None)), is_over=is_over)
    assert known.words("1.00 USD") == "1.00 USD so far"
    assert known.why == ("1 host up still",)
    assert Completeness.of(a_report(an_attempt()), is_over=False).why == ("the work goes on",)


def test_what_is_not_in_the_sum_makes_it_at_least_and_is_named() -> None:
    unpriced = a_report(an_attempt(), host=a_host(instance_type="odd"))
    assert Completeness.of(unpriced).words("0 USD") == "at least 0 USD"
    assert "no price is known for odd" in Completeness.of(unpriced).why[0]
    elsewhere = report_from([a_host()], [an_attempt(), an_attempt(instance_id="i-9")], PRICES, until=10_000)
    assert Completeness.of(elsewhere).coverage is Coverage.AT_LEAST
    running = a_report(an_attempt(), host=a_host(ended_at=None))
    known = Completeness.of(running, missing=("EC2 has forgotten 1 of 2 hosts",), unread=3)
    assert known.why == ("EC2 has forgotten 1 of 2 hosts", "3 jobs not read yet")
    assert known.to_json() == {"coverage": "AT_LEAST", "why": list(known.why)}


def test_a_reports_missing_parts_are_among_its_notes() -> None:
    unpriced = a_report(an_attempt(), host=a_host(instance_type="odd"))
    assert set(unpriced.missing) <= set(unpriced.notes)
    assert replace(unpriced, missing=()).missing == ()
