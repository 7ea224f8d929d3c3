"""What must hold of money whatever the run: it adds up, it is never negative, and the twin is never below the bill."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.pricing.history import Price, PriceHistory, Prices, Usage, flat
from spotbatch.pricing.ledger import Part
from spotbatch.pricing.report import CostReport, report_from
from spotbatch.pricing.usage import AttemptUse, HostLife, Observed

ON_DEMAND = Decimal("1.7")
CENT = Decimal("0.01")
DUST = Decimal("1e-18")  # what Decimal's 28 digits may leave of a division

RUNS = settings(max_examples=150, deadline=None, derandomize=True)  # the same runs every time, everywhere

times = st.integers(0, 300_000_000).map(lambda millis: millis / 1000)
spot_prices = st.decimals(0, ON_DEMAND, places=4)
seconds = st.none() | st.floats(0, 50_000)


@st.composite
def histories(draw: st.DrawFn) -> PriceHistory:
    steps = draw(st.dictionaries(times, spot_prices, min_size=1, max_size=6))
    prices = [Price(instance_type="t", zone="z", since=at, usd_per_hour=usd) for at, usd in steps.items()]
    return PriceHistory(prices, source="drawn", as_of="today")


@st.composite
def hosts(draw: st.DrawFn, number: int = 0) -> HostLife:
    launch, start, end = sorted(draw(st.tuples(times, times, times)))
    return HostLife(
        instance_id=f"i-{number}",
        instance_type="t",
        zone="z",
        vcpus=draw(st.integers(1, 16)),
        memory_mib=draw(st.integers(0, 64_000)),
        is_spot=draw(st.booleans()),
        launched_at=launch,
        started_at=draw(st.sampled_from([start, None])),
        ended_at=draw(st.sampled_from([end, None])),
        is_reclaimed=draw(st.booleans()),
    )


@st.composite
def attempts(draw: st.DrawFn, hosts_there: int) -> AttemptUse:
    start, stop = sorted(draw(st.tuples(times, times)))
    return AttemptUse(
        job_id=f"job-{draw(st.integers(0, 2))}",
        job_name="any",
        array_index=draw(st.none() | st.integers(0, 3)),
        instance_id=f"i-{draw(st.integers(0, hosts_there))}",  # the last one is not known
        vcpus=draw(st.sampled_from([0.25, 1, 2, 3, 7, 16])),
        memory_mib=draw(st.integers(1, 64_000)),
        started_at=start,
        stopped_at=draw(st.sampled_from([stop, None])),
        outcome=draw(st.sampled_from(AttemptOutcome)),
        observed=draw(
            st.none()
            | st.builds(
                Observed,
                lost_seconds=seconds,
                restore_seconds=seconds,
                save_seconds=seconds,
                peak_memory_mib=seconds,
                cpu_seconds=seconds,
            )
        ),
    )


@st.composite
def reports(draw: st.DrawFn) -> CostReport:
    number = draw(st.integers(1, 3))
    fleet = [draw(hosts(each)) for each in range(number)]
    work = draw(st.lists(attempts(number), max_size=8))
    prices = Prices(spot=draw(histories()), on_demand=flat({"t": ON_DEMAND}, source="drawn", as_of="today"))
    return report_from(fleet, work, prices, until=draw(times))


@given(report=reports())
@RUNS
def test_no_amount_is_ever_below_nought(report: CostReport) -> None:
    for each in report.entries:
        assert each.gross_usd >= 0
        assert each.paid_usd >= 0
        assert each.on_demand_usd >= 0
    assert report.credit_usd >= 0


@given(report=reports())
@RUNS
def test_money_adds_up_whichever_way_it_is_cut(report: CostReport) -> None:
    assert abs(sum(report.parts.values()) - report.gross_usd) <= DUST
    for key in ("job", "array", "queue", "tag:x", "day"):
        groups = report.by(key)
        assert abs(sum((one.paid_usd for one in groups), Decimal(0)) - report.paid_usd) <= DUST
        assert abs(sum((one.on_demand_usd for one in groups), Decimal(0)) - report.on_demand_usd) <= DUST


@given(report=reports())
@RUNS
def test_the_twin_is_never_below_the_bill_at_equal_hours(report: CostReport) -> None:
    assert report.on_demand_usd >= report.gross_usd - DUST
    assert report.on_demand_usd >= report.paid_usd - DUST
    assert report.on_demand_undisturbed_usd <= report.on_demand_usd


@given(report=reports(), prices=histories())
@RUNS
def test_the_ledger_of_a_host_is_what_ec2_bills_for_it(report: CostReport, prices: PriceHistory) -> None:
    both = Prices(spot=prices, on_demand=flat({"t": ON_DEMAND}, source="drawn", as_of="today"))
    until = 400_000.0
    again = report_from(report.hosts, report.attempts, both, until=until)
    for host in report.hosts:
        usage = Usage(
            instance_type="t",
            zone="z",
            started_at=host.launched_at,
            stopped_at=until if host.ended_at is None else host.ended_at,
            is_interrupted_by_ec2=host.is_spot and host.is_reclaimed,
        )
        booked = sum((one.paid_usd for one in again.entries if one.host is host), Decimal(0))
        assert abs(booked - both.of(is_spot=host.is_spot).cost(usage)) <= DUST


@given(history=histories(), cuts=st.lists(times, min_size=2, max_size=9))
@RUNS
def test_splitting_a_usage_changes_nothing(history: PriceHistory, cuts: list[float]) -> None:
    cuts.sort()
    whole = history.gross("t", "z", cuts[0], cuts[-1])
    parts = sum((history.gross("t", "z", a, b) for a, b in pairwise(cuts)), Decimal(0))
    assert abs(whole - parts) <= DUST
    assert abs(round(whole, 2) - round(parts, 2)) <= CENT


@given(history=histories(), start=times, longer=times, shorter=times, is_cut=st.booleans())
@RUNS
def test_a_longer_life_never_costs_less_and_an_interruption_never_costs_more(
    history: PriceHistory, start: float, longer: float, shorter: float, is_cut: bool
) -> None:
    shorter, longer = sorted((shorter, longer))
    short = Usage(
        instance_type="t", zone="z", started_at=start, stopped_at=start + shorter, is_interrupted_by_ec2=is_cut
    )
    long = replace(short, stopped_at=start + longer)
    assert history.cost(short) <= history.cost(long)
    assert history.cost(short) <= history.cost(replace(short, is_interrupted_by_ec2=False))


@given(report=reports())
@RUNS
def test_idle_money_and_attempts_money_do_not_mix(report: CostReport) -> None:
    of_nobody = {Part.BOOT, Part.IDLE, Part.MINIMUM}
    for each in report.entries:
        assert (each.attempt is None) == (each.part in of_nobody)
    assert all(one.usd >= 0 for one in report.advice)
