"""The ledger of a run: every cent of every host's life, entered once, with the attempt and cause it is attributed to.

All figures of a report are sums over these entries, so they cannot disagree with each other.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

from spotbatch.pricing.history import PriceHistory, Prices, Usage, millis
from spotbatch.pricing.usage import AttemptUse, HostLife, Observed

_DAY_SECONDS: Final = 86_400
_NOTHING: Final = Observed()


class Part(StrEnum):
    """What a period of a host's time was spent on."""

    WORK = "work"  # preserved by a result or a checkpoint
    LOST = "lost to interruptions"  # work after the last complete checkpoint, also if a host failed
    RESTART = "restarts"  # restoring checkpoints
    CHECKPOINT = "checkpoints"  # saving them
    FAILED = "failed attempts"  # of the user's own
    STOPPED = "stopped attempts"  # terminated, cancelled, timed out
    BOOT = "booting"
    IDLE = "idle capacity"  # on a started host: no attempt, or spare room beside one
    MINIMUM = "billing minimum"  # EC2's rounding to whole seconds, and its minimum of 60


class Amount(NamedTuple):
    """The same period at the host's own price and at the on-demand price."""

    gross_usd: Decimal
    on_demand_usd: Decimal

    def times(self, factor: Decimal) -> "Amount":
        return Amount(self.gross_usd * factor, self.on_demand_usd * factor)

    def plus(self, other: "Amount") -> "Amount":
        return Amount(self.gross_usd + other.gross_usd, self.on_demand_usd + other.on_demand_usd)

    def minus(self, other: "Amount") -> "Amount":
        return Amount(self.gross_usd - other.gross_usd, self.on_demand_usd - other.on_demand_usd)


ZERO: Final = Amount(Decimal(0), Decimal(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One amount on one UTC day. `paid_usd` is lower than gross only if the first-hour rule waives the charge."""

    part: Part
    day: str
    host: HostLife
    attempt: AttemptUse | None
    gross_usd: Decimal
    paid_usd: Decimal
    on_demand_usd: Decimal


def part_of(entries: Sequence[Entry], job_ids: Collection[str]) -> list[Entry]:
    """The part of one host's ledger attributed to some jobs: their attempts, and a proportional share of unused time.

    The shares of all jobs on a host therefore add up to its bill.
    """
    used = sum((each.gross_usd for each in entries if each.attempt is not None), Decimal(0))
    own = [each for each in entries if each.attempt is not None and each.attempt.job_id in job_ids]
    mine = sum((each.gross_usd for each in own), Decimal(0))
    if mine == used:
        return list(entries)
    factor = mine / used
    rest = [
        replace(
            each,
            gross_usd=each.gross_usd * factor,
            paid_usd=each.paid_usd * factor,
            on_demand_usd=each.on_demand_usd * factor,
        )
        for each in entries
        if each.attempt is None
    ]
    return own + rest


def entries_of(host: HostLife, attempts: Iterable[AttemptUse], prices: Prices, *, until: float) -> list[Entry]:
    """The ledger of one host; `until` (UTC epoch seconds) is where a host that is still running is cut off.

    Two attempts that share a host share its price by their dominant resource: the larger of the requested shares of its
    vCPUs and of its memory, scaled down where these add up to more than the host. What nobody requested is idle.
    Raises NotFound if the host's type has no price.
    """
    usage = usage_of(host, until=until)
    sweep = _Sweep(host, usage, prices)
    for at, starts, attempt in _events(host, usage, attempts):
        sweep.advance(at)
        if attempt is not None:
            sweep.start(attempt) if starts else sweep.stop(attempt)
    sweep.advance(usage.billed_until)
    return sweep.entries(is_free=usage.is_free)


def usage_of(host: HostLife, *, until: float) -> Usage:
    """A host's whole life as a usage to bill; `until` is where a host that is still running is cut off."""
    stop = host.ended_at if host.ended_at is not None else max(until, host.launched_at)
    return Usage(
        instance_type=host.instance_type,
        zone=host.zone,
        started_at=host.launched_at,
        stopped_at=stop,
        is_interrupted_by_ec2=host.is_spot and host.is_reclaimed,
    )


def _events(
    host: HostLife, usage: Usage, attempts: Iterable[AttemptUse]
) -> list[tuple[float, bool, AttemptUse | None]]:
    """The changes on the host in time order; stops come before starts at the same time."""
    last = usage.stopped_at
    found: list[tuple[float, bool, AttemptUse | None]] = [(last, False, None)]
    found.append((min(last, host.started_at if host.started_at is not None else last), False, None))
    for each in attempts:
        start = min(max(each.started_at, host.launched_at), last)
        stop = max(start, last if each.stopped_at is None else min(each.stopped_at, last))
        if stop > start:
            found += [(start, True, each), (stop, False, each)]
    midnight = (host.launched_at // _DAY_SECONDS + 1) * _DAY_SECONDS
    while midnight < usage.billed_until:
        found.append((midnight, False, None))
        midnight += _DAY_SECONDS
    return sorted(found, key=lambda event: (millis(event[0]), event[1]))


class _Sweep:
    """Sweeps over a host's life once. A running sum per unit of share reduces each attempt to two lookups."""

    def __init__(self, host: HostLife, usage: Usage, prices: Prices):
        self._host = host
        self._usage = usage
        self._own: PriceHistory = prices.of(is_spot=host.is_spot)
        self._on_demand = prices.on_demand
        self._at = host.launched_at
        self._per_share = ZERO  # what a share of 1 would have cost since launch
        self._taken = Decimal(0)  # the sum of the running attempts' shares
        self._running: dict[int, tuple[AttemptUse, Decimal, Amount]] = {}
        self._attempts: dict[int, AttemptUse] = {}
        self._used: dict[tuple[int, str], Amount] = defaultdict(lambda: ZERO)
        self._rest: dict[tuple[Part, str], Amount] = defaultdict(lambda: ZERO)

    def advance(self, to: float) -> None:
        """Book the period since the last event, which lies within one UTC day."""
        if millis(to) <= millis(self._at):
            return
        day = day_of(self._at)
        stretch = self._price(self._at, to)
        scale = max(Decimal(1), self._taken)
        self._per_share = self._per_share.plus(stretch.times(1 / scale))
        free = max(Decimal(0), 1 - self._taken)
        if free:
            key = (self._rest_part(), day)
            self._rest[key] = self._rest[key].plus(stretch.times(free))
        self._at = to
        if day_of(to) != day:
            self._close_day(day)

    def start(self, attempt: AttemptUse) -> None:
        share = share_of(attempt, self._host)
        self._attempts[id(attempt)] = attempt
        self._running[id(attempt)] = (attempt, share, self._per_share)
        self._taken += share

    def stop(self, attempt: AttemptUse) -> None:
        _, share, since = self._running.pop(id(attempt))
        self._book(attempt, share, since, day_of(self._at - 0.001))
        self._taken = self._taken - share if self._running else Decimal(0)  # no rounding residue remains

    def entries(self, *, is_free: bool) -> list[Entry]:
        found = []
        for (key, day), amount in self._used.items():
            attempt = self._attempts[key]
            for part, share in parts_of(attempt, until=self._usage.stopped_at):
                found.append(self._entry(part, day, attempt, amount.times(share), is_free=is_free))
        for (part, day), amount in self._rest.items():
            found.append(self._entry(part, day, None, amount, is_free=is_free))
        return [each for each in found if each.gross_usd or each.on_demand_usd]

    def _price(self, start: float, stop: float) -> Amount:
        kind, zone = self._host.instance_type, self._host.zone
        return Amount(self._own.gross(kind, zone, start, stop), self._on_demand.gross(kind, zone, start, stop))

    def _rest_part(self) -> Part:
        if millis(self._at) >= millis(self._usage.stopped_at):
            return Part.MINIMUM
        started = self._host.started_at
        booting = started is None or millis(self._at) < millis(started)
        return Part.BOOT if booting and not self._running else Part.IDLE

    def _close_day(self, day: str) -> None:
        for key, (attempt, share, since) in self._running.items():
            self._book(attempt, share, since, day)
            self._running[key] = (attempt, share, self._per_share)

    def _book(self, attempt: AttemptUse, share: Decimal, since: Amount, day: str) -> None:
        key = (id(attempt), day)
        self._used[key] = self._used[key].plus(self._per_share.minus(since).times(share))

    def _entry(self, part: Part, day: str, attempt: AttemptUse | None, amount: Amount, *, is_free: bool) -> Entry:
        return Entry(
            part=part,
            day=day,
            host=self._host,
            attempt=attempt,
            gross_usd=amount.gross_usd,
            paid_usd=Decimal(0) if is_free else amount.gross_usd,
            on_demand_usd=amount.on_demand_usd,
        )


def share_of(attempt: AttemptUse, host: HostLife) -> Decimal:
    """The dominant share, 0 to 1, of a host that an attempt takes up."""
    vcpus = Decimal(str(attempt.vcpus)) / host.vcpus
    memory = Decimal(attempt.memory_mib) / host.memory_mib if host.memory_mib > 0 else Decimal(0)
    return min(Decimal(1), max(vcpus, memory))


def parts_of(attempt: AttemptUse, *, until: float) -> Iterator[tuple[Part, Decimal]]:
    """What an attempt's time was spent on, as shares that add up to exactly 1.

    Without a record, an attempt that ended with its host counts as entirely lost: nothing shows that any was kept.
    """
    if attempt.outcome.is_stopped:
        yield Part.STOPPED, Decimal(1)
        return
    if attempt.outcome.is_failure:
        yield Part.FAILED, Decimal(1)
        return
    stop = until if attempt.stopped_at is None else attempt.stopped_at
    seconds = max(stop - attempt.started_at, 0.001)
    seen = attempt.observed or _NOTHING
    lost = 0.0
    if attempt.outcome.may_go_on:
        lost = seconds if seen.lost_seconds is None else seen.lost_seconds
    left = Decimal(1)
    wanted = ((Part.LOST, lost), (Part.RESTART, seen.restore_seconds), (Part.CHECKPOINT, seen.save_seconds))
    for part, taken in wanted:
        if taken:
            share = min(left, Decimal(millis(max(taken, 0.0))) / max(millis(seconds), 1))
            yield part, share
            left -= share
    if left:
        yield Part.WORK, left


def day_of(at: float) -> str:
    """The UTC day of a time, as Cost Explorer counts days."""
    return datetime.fromtimestamp(at, tz=UTC).date().isoformat()
