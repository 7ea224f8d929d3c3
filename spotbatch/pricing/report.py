"""The cost report of a run: what was paid, the on-demand equivalent, and what interruptions and other causes cost."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.advice import Advice, advise
from spotbatch.pricing.history import Prices
from spotbatch.pricing.ledger import Entry, Part, entries_of, part_of
from spotbatch.pricing.packing import Packing, packings
from spotbatch.pricing.units import PROVENANCE, Line, Number, total, usage_cost
from spotbatch.pricing.usage import AttemptUse, HostLife
from spotbatch.wording import count

UNSPENT: Final = "(no attempt)"  # the group of booting, idle and minimum seconds
_SIMULATED: Final = ("the hosts are simulated: this is what the run would have cost on AWS, and nothing was paid",)
_WASTED: Final = frozenset({Part.LOST, Part.RESTART})
_NINE_PLACES: Final = Decimal("0.000000001")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The part of a report for one job, array, queue, tag or day."""

    name: str
    paid_usd: Decimal
    on_demand_usd: Decimal
    lost_usd: Decimal  # to interruptions and restarts
    attempts: int
    interruptions: int


@dataclass(frozen=True, kw_only=True)
class CostReport:
    """A run's money. Every figure is a sum over the ledger's entries; nothing is rounded before it is printed.

    gross = the sum of all parts; paid = gross - credit. The twin bills the same seconds of the same hosts at
    on-demand prices; the undisturbed twin leaves out what on-demand hosts would not have lost.
    """

    entries: tuple[Entry, ...]
    hosts: tuple[HostLife, ...]
    attempts: tuple[AttemptUse, ...]
    other: tuple[Line, ...]  # volumes, addresses, logs, requests: the same with or without Spot
    advice: tuple[Advice, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...]  # what is missing or estimated, in plain words
    is_simulated: bool
    packing: tuple[Packing, ...] = ()  # what idle capacity is made of
    missing: tuple[str, ...] = ()  # the notes that make the totals too low

    @cached_property
    def parts(self) -> Mapping[Part, Decimal]:
        """Gross USD by cause, with every part present, before the first-hour credit."""
        found = dict.fromkeys(Part, Decimal(0))
        for each in self.entries:
            found[each.part] += each.gross_usd
        return found

    @cached_property
    def gross_usd(self) -> Decimal:
        """What the hosts' seconds cost before the first-hour credit."""
        return sum((each.gross_usd for each in self.entries), Decimal(0))

    @cached_property
    def paid_usd(self) -> Decimal:
        """What EC2 bills for the hosts."""
        return sum((each.paid_usd for each in self.entries), Decimal(0))

    @cached_property
    def on_demand_usd(self) -> Decimal:
        """The on-demand twin for the same hours: the same hosts for the same time, on-demand."""
        return sum((each.on_demand_usd for each in self.entries), Decimal(0))

    @cached_property
    def on_demand_undisturbed_usd(self) -> Decimal:
        """The on-demand twin without what Spot caused (repeated work and restarts): the fairer comparison."""
        return sum((each.on_demand_usd for each in self.entries if each.part not in _WASTED), Decimal(0))

    @property
    def credit_usd(self) -> Decimal:
        """What EC2 waives for hosts that it interrupted in their first hour."""
        return self.gross_usd - self.paid_usd

    @property
    def other_usd(self) -> Decimal:
        return total(self.other)

    @property
    def saving_usd(self) -> Decimal:
        """Saving over the undisturbed twin; negative if interruptions cost more than Spot saved."""
        return self.on_demand_undisturbed_usd - self.paid_usd

    @property
    def saving_percent(self) -> Decimal | None:
        """The saving in per cent; None if there is nothing to compare with."""
        twin = self.on_demand_undisturbed_usd
        return self.saving_usd * 100 / twin if twin else None

    @property
    def interruptions(self) -> int:
        """The number of attempts ended by an interruption."""
        return sum(each.outcome.is_lost_to_spot for each in self.attempts)

    @property
    def reclaimed_hosts(self) -> int:
        return sum(each.is_reclaimed for each in self.hosts)

    def by(self, key: str) -> tuple[Group, ...]:
        """The report by `job`, `array`, `queue`, `day` or `tag:NAME`, most expensive first (days in order).

        Groups add up to the total: seconds that no attempt used are in the group `(no attempt)`, or in their day.
        Raises InvalidInput for another key.
        """
        name_of = _grouping(key)
        groups: dict[str, list[Entry]] = defaultdict(list)
        for each in self.entries:
            groups[each.day if key == "day" else UNSPENT if each.attempt is None else name_of(each.attempt)].append(
                each
            )
        found = [_group(name, entries) for name, entries in groups.items()]
        return tuple(sorted(found, key=lambda one: one.name if key == "day" else (-one.paid_usd, one.name)))


def report_from(
    hosts: Iterable[HostLife],
    attempts: Iterable[AttemptUse],
    prices: Prices,
    *,
    until: float,
    job_ids: Collection[str] | None = None,
    other_quantities: Mapping[str, Number] | None = None,
    is_simulated: bool = False,
) -> CostReport:
    """The cost report of these hosts and the attempts on them; `until` is now, UTC epoch seconds.

    Pass all attempts that ran on the hosts, or the rest will look like idle capacity; with `job_ids` the report covers
    these jobs' share only, see `ledger.part_of`. Hosts without a price are left
    out of every sum and named in `notes`. `other_quantities` go to `usage_cost` (see `host_quantities`).

        prices = prices_of(catalogue())
        host = HostLife(instance_id="i-1", instance_type="c5.large", zone="us-east-1a", vcpus=2, memory_mib=3722,
                        launched_at=0, started_at=30, ended_at=3630)
        attempt = AttemptUse(job_id="j", job_name="sort", instance_id="i-1", vcpus=2, memory_mib=1024,
                             started_at=30, stopped_at=3530, outcome=AttemptOutcome.SUCCEEDED)
        report = report_from([host], [attempt], prices, until=4000)
        report.paid_usd, report.on_demand_usd, report.parts[Part.IDLE], report.by("job"), document_of(report)
    """
    all_hosts, all_attempts = tuple(hosts), tuple(attempts)
    on_host: dict[str, list[AttemptUse]] = defaultdict(list)
    for attempt in all_attempts:
        on_host[attempt.instance_id].append(attempt)
    priced = [each for each in all_hosts if _has_price(each, prices)]
    entries: list[Entry] = []
    shared = 0
    for host in priced:
        whole = entries_of(host, on_host.get(host.instance_id, ()), prices, until=until)
        part = whole if job_ids is None else part_of(whole, job_ids)
        shared += len(part) < len(whole)
        entries += part
    if job_ids is not None:
        all_attempts = tuple(each for each in all_attempts if each.job_id in job_ids)
    other = usage_cost(other_quantities or {})
    missing = tuple(_missing(all_hosts, priced, all_attempts))
    return CostReport(
        entries=tuple(entries),
        hosts=all_hosts,
        attempts=all_attempts,
        other=other,
        advice=advise(entries),
        packing=packings(entries),
        sources=(*prices.sources, *((f"other: {PROVENANCE}",) if other else ())),
        notes=(
            *(_SIMULATED if is_simulated else ()),
            *missing,
            *_notes(all_hosts, all_attempts),
            *_credit_note(entries),
            *_shared_note(shared),
        ),
        is_simulated=is_simulated,
        missing=missing,
    )


def usd(amount: Decimal) -> str:
    """An amount for programs: nine places, never an exponent."""
    return f"{amount.quantize(_NINE_PLACES):f}"


def shown_usd(amount: Decimal) -> str:
    """An amount for people: cents, with more places below ten cents so that small runs are visible."""
    if amount and abs(amount) < Decimal("0.1"):
        return f"{amount:.6f} USD"
    return f"{amount:,.2f} USD"


def _has_price(host: HostLife, prices: Prices) -> bool:
    kind, zone = host.instance_type, host.zone
    return prices.on_demand.knows(kind, zone) and prices.of(is_spot=host.is_spot).knows(kind, zone)


def _grouping(key: str) -> Callable[[AttemptUse], str]:
    kind, _, tag = key.partition(":")
    known: dict[str, Callable[[AttemptUse], str]] = {
        "job": lambda attempt: attempt.unit,
        "array": lambda attempt: f"{attempt.job_name} ({attempt.job_id})",
        "queue": lambda attempt: attempt.queue or "(queue not known)",
        "day": lambda attempt: attempt.job_id,  # days come from the entries
        "tag": lambda attempt: attempt.tags.get(tag, f"(no tag {tag})"),
    }
    if kind not in known or bool(tag) != (kind == "tag"):
        raise InvalidInput(f"a report is grouped by job, array, queue, day or tag:NAME, not by {key!r}")
    return known[kind]


def _group(name: str, entries: Sequence[Entry]) -> Group:
    attempts = {id(each.attempt): each.attempt for each in entries if each.attempt is not None}
    return Group(
        name=name,
        paid_usd=sum((each.paid_usd for each in entries), Decimal(0)),
        on_demand_usd=sum((each.on_demand_usd for each in entries), Decimal(0)),
        lost_usd=sum((each.paid_usd for each in entries if each.part in _WASTED), Decimal(0)),
        attempts=len(attempts),
        interruptions=sum(each.outcome.is_lost_to_spot for each in attempts.values()),
    )


def _shared_note(shared: int) -> Iterable[str]:
    if shared:
        yield f"{count(shared, 'host')} ran other jobs too: their part is left out, and idle capacity is divided by use"


def _credit_note(entries: Iterable[Entry]) -> Iterable[str]:
    """A note if the credit is a large part of the saving, since a longer run would not keep that saving."""
    credit = sum((each.gross_usd - each.paid_usd for each in entries), Decimal(0))
    if credit:
        yield (
            f"{shown_usd(credit)} were waived for hosts that EC2 took back in their first hour: in a run of longer "
            f"lived hosts this part of the saving would be smaller"
        )


def _missing(hosts: Sequence[HostLife], priced: Sequence[HostLife], attempts: Sequence[AttemptUse]) -> Iterable[str]:
    """What is missing from the totals, which are too low as a result."""
    known = {each.instance_id for each in priced}
    without = sorted({each.instance_type for each in hosts if each.instance_id not in known})
    if without:
        left_out = count(len(hosts) - len(priced), "host")
        yield f"no price is known for {', '.join(without)}: {left_out} left out of every sum"
    seen = {each.instance_id for each in hosts}
    strays = sum(each.instance_id not in seen for each in attempts)
    if strays:
        yield f"{count(strays, 'attempt')} ran on hosts that are not known: the cost is not in this report"


def _notes(hosts: Sequence[HostLife], attempts: Sequence[AttemptUse]) -> Iterable[str]:
    interrupted = [each for each in attempts if each.outcome.may_go_on]
    blind = sum(each.observed is None or each.observed.lost_seconds is None for each in interrupted)
    if blind:
        yield f"{blind} interrupted attempts have no record of what they kept: they count as lost whole"
    running = sum(each.ended_at is None for each in hosts)
    if running:
        yield f"{count(running, 'host')} still {'runs' if running == 1 else 'run'}: billed up to now"
