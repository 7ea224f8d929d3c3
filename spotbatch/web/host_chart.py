"""The geometry of hosts over time: groups of one kind, with each host's attempts and reclaim. Pure.

Times map to positions from 0 to 1000, so that a chart has as many elements as hosts, regardless of their attempts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.pricing.report import CostReport
from spotbatch.pricing.usage import AttemptUse, HostLife
from spotbatch.web.charts import WIDTH, end_of_work

ROW_HEIGHT: Final = 24
_MOST_HOSTS: Final = 60
_MOST_LANES: Final = 6
_PLACES: Final = 250  # at which a group's hosts are counted
_FEW_HOSTS: Final = 6  # this many are shown without folding


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRow:
    """One host: where its life, boot, attempts by outcome, and reclaim are drawn."""

    host: HostLife
    x: float
    width: float
    boot_width: float
    paths: Mapping[str, str]  # SVG path data by AttemptOutcome.group
    attempts: int
    interrupted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HostGroup:
    """Hosts of one type in one zone: how many existed and worked over time, and some of them individually."""

    id: str
    instance_type: str
    zone: str
    is_spot: bool
    count: int
    reclaimed: int
    attempts: int
    interrupted: int
    alive: str  # SVG path data of an area, 24 high where all of its hosts are there
    busy: str
    reclaims: str  # path data: a line for each host that EC2 took back
    rows: tuple[HostRow, ...]

    @property
    def left_out(self) -> int:
        """Hosts that are counted but have no row."""
        return self.count - len(self.rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class HostChart:
    """Groups of hosts, the largest first, over the time of the work."""

    groups: tuple[HostGroup, ...]
    ticks: tuple[float, ...]  # UTC epoch seconds, evenly spaced
    count: int

    @property
    def is_folded(self) -> bool:
        """Whether a group's hosts are shown only when it is expanded."""
        return self.count > _FEW_HOSTS


def host_chart(report: CostReport, now: float) -> HostChart:
    """The hosts of a report. If there are more than 60, reclaimed ones get a row first, then the latest."""
    if not report.hosts:
        return HostChart(groups=(), ticks=(), count=0)
    start = min(host.launched_at for host in report.hosts)
    end = max(end_of_work(report, now), start + 1.0)
    on_host: dict[str, list[AttemptUse]] = defaultdict(list)
    for attempt in report.attempts:
        on_host[attempt.instance_id].append(attempt)
    chosen = sorted(report.hosts, key=lambda host: (not host.is_reclaimed, -host.launched_at))[:_MOST_HOSTS]
    with_row = {host.instance_id for host in chosen}
    kinds: dict[tuple[str, str, bool], list[HostLife]] = defaultdict(list)
    for host in sorted(report.hosts, key=lambda host: (host.launched_at, host.instance_id)):
        kinds[host.instance_type, host.zone, host.is_spot].append(host)
    groups = [
        _group(
            hosts,
            on_host,
            [
                _row(host, on_host[host.instance_id], start, end, now)
                for host in hosts
                if host.instance_id in with_row and host.launched_at < end
            ],
            (start, end),
            now,
        )
        for hosts in kinds.values()
    ]
    ticks = tuple(start + (end - start) * step / 4 for step in range(5))
    ordered = sorted(groups, key=lambda group: (-group.count, group.id))
    return HostChart(groups=tuple(ordered), ticks=ticks, count=len(report.hosts))


def _group(
    hosts: Sequence[HostLife],
    on_host: Mapping[str, Sequence[AttemptUse]],
    rows: Sequence[HostRow],
    span: tuple[float, float],
    now: float,
) -> HostGroup:
    start, end = span
    first = hosts[0]
    attempts = [each for host in hosts for each in on_host.get(host.instance_id, ())]
    alive = _counted([(host.launched_at, host.ended_at or now) for host in hosts], start, end)
    busy = _counted([each for host in hosts for each in _busy(on_host.get(host.instance_id, ()), now)], start, end)
    taken = [
        host.ended_at for host in hosts if host.is_reclaimed and host.ended_at is not None and host.ended_at <= end
    ]
    return HostGroup(
        id=f"{first.instance_type}-{first.zone}-{'spot' if first.is_spot else 'on-demand'}",
        instance_type=first.instance_type,
        zone=first.zone,
        is_spot=first.is_spot,
        count=len(hosts),
        reclaimed=sum(host.is_reclaimed for host in hosts),
        attempts=len(attempts),
        interrupted=sum(each.outcome.is_lost_to_spot for each in attempts),
        alive=_steps(alive, len(hosts)),
        busy=_steps(busy, len(hosts)),
        reclaims="".join(f"M{round((at - start) / (end - start) * WIDTH, 1):g} 0v{ROW_HEIGHT}" for at in taken),
        rows=tuple(rows),
    )


def _busy(attempts: Sequence[AttemptUse], now: float) -> Iterator[tuple[float, float]]:
    """The periods when at least one attempt ran on a host."""
    reached = float("-inf")
    for each in sorted(attempts, key=lambda one: one.started_at):
        stop = each.stopped_at if each.stopped_at is not None else now
        if stop > reached:
            yield max(reached, each.started_at), stop
            reached = stop


def _counted(stretches: Iterable[tuple[float, float]], start: float, end: float) -> list[int]:
    """How many periods overlap each of 250 slices of the whole."""
    changes = [0] * (_PLACES + 1)
    for first, last in stretches:
        if first >= end or last <= start:
            continue
        begins = int(max(0.0, first - start) / (end - start) * _PLACES)
        ends = int(min(end - start, last - start) / (end - start) * _PLACES)
        changes[min(begins, _PLACES - 1)] += 1
        changes[min(max(ends, begins + 1), _PLACES)] -= 1
    return list(accumulate(changes[:-1]))


def _steps(counts: Sequence[int], top: int) -> str:
    """Path data of the area below per-slice counts; equal neighbours become one line."""
    found, before = f"M0 {ROW_HEIGHT}", 0
    for place, count in enumerate(counts):
        if count != before:
            found += f"H{place * WIDTH / len(counts):g}V{round(ROW_HEIGHT * (1 - count / top), 1):g}"
            before = count
    return f"{found}H{WIDTH}V{ROW_HEIGHT}Z"


def _row(host: HostLife, attempts: Sequence[AttemptUse], start: float, end: float, now: float) -> HostRow:
    def place(at: float) -> float:
        return round(min(1.0, max(0.0, (at - start) / (end - start))) * WIDTH, 1)

    x, last = place(host.launched_at), place(host.ended_at or now)
    booted = last if host.started_at is None else place(host.started_at)
    stretches = [
        (place(each.started_at), place(each.stopped_at if each.stopped_at is not None else now), each.outcome.group)
        for each in attempts
    ]
    return HostRow(
        host=host,
        x=x,
        width=max(1.0, round(last - x, 1)),
        boot_width=max(0.0, round(booted - x, 1)),
        paths=_paths(stretches),
        attempts=len(attempts),
        interrupted=sum(each.outcome.is_lost_to_spot for each in attempts),
    )


def _paths(stretches: Iterable[tuple[float, float, AttemptOutcome]]) -> dict[str, str]:
    """Attempts side by side in lanes, one path per outcome group; neighbours without a gap are merged."""
    free: list[float] = []
    pieces: list[tuple[float, float, AttemptOutcome, int]] = []
    for start, stop, group in sorted(stretches, key=lambda one: one[:2]):
        lane = next((at for at, until in enumerate(free) if until <= start), len(free))
        if lane == len(free):
            free.append(0.0)
        free[lane] = stop
        pieces.append((start, stop, group, lane))
    lanes = min(_MOST_LANES, max(1, len(free)))
    height = ROW_HEIGHT / lanes
    found: dict[str, str] = defaultdict(str)
    for start, stop, group, lane in _joined(pieces, lanes):
        top = round(lane * height, 1)
        width = max(1.2, round(stop - start - 0.6, 1))
        found[group.value] += f"M{start:g} {top:g}h{width:g}v{round(height - 1, 1):g}h-{width:g}z"
    return dict(found)


def _joined(
    pieces: Iterable[tuple[float, float, AttemptOutcome, int]], lanes: int
) -> list[tuple[float, float, AttemptOutcome, int]]:
    """Pieces narrower than a position are merged into the last one: 10,000 attempts do not make 10,000 shapes."""
    found: list[tuple[float, float, AttemptOutcome, int]] = []
    last: dict[tuple[int, AttemptOutcome], int] = {}
    for start, stop, group, given in pieces:
        lane = given % lanes
        at = last.get((lane, group))
        if at is not None and start <= found[at][1] + 0.2 and (stop - start < 3 or stop <= found[at][1]):
            found[at] = (found[at][0], max(stop, found[at][1]), group, lane)
            continue
        last[(lane, group)] = len(found)
        found.append((start, stop, group, lane))
    return found
