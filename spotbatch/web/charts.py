"""The geometry of the pictures: hosts over time with their attempts and reclaims, and money over time. Pure.

Times become places from 0 to 1000, so that a picture has as many elements as hosts, however many attempts ran on them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.pricing.ledger import Entry, Part
from spotbatch.pricing.report import CostReport
from spotbatch.pricing.usage import AttemptUse, HostLife

WIDTH: Final = 1000
ROW_HEIGHT: Final = 24
_MOST_HOSTS: Final = 60
_MOST_LANES: Final = 6
_DAY_SECONDS: Final = 86_400.0
_POINTS: Final = 100
WASTED: Final = frozenset({Part.LOST, Part.RESTART})


@dataclass(frozen=True, kw_only=True, slots=True)
class HostRow:
    """One host: where its life, its booting, its attempts by how they ended, and its reclaim are drawn."""

    host: HostLife
    x: float
    width: float
    boot_width: float
    paths: Mapping[str, str]  # SVG path data by AttemptOutcome.group
    attempts: int
    interrupted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gantt:
    """Hosts over time, the earliest first."""

    rows: tuple[HostRow, ...]
    ticks: tuple[float, ...]  # UTC epoch seconds, evenly spaced
    left_out: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Sums up to each of the times, in USD; floats, since they are only drawn."""

    times: tuple[float, ...]
    paid: tuple[float, ...]
    on_demand: tuple[float, ...]
    wasted: tuple[float, ...]


def gantt(report: CostReport, now: float) -> Gantt:
    """The hosts of a report. Of more than 60, those that were reclaimed come first, then the latest."""
    hosts = sorted(report.hosts, key=lambda host: (not host.is_reclaimed, -host.launched_at))[:_MOST_HOSTS]
    if not hosts:
        return Gantt(rows=(), ticks=(), left_out=0)
    hosts.sort(key=lambda host: (host.launched_at, host.instance_id))
    start = hosts[0].launched_at
    end = max(max(host.ended_at or now for host in hosts), start + 1.0)
    on_host: dict[str, list[AttemptUse]] = defaultdict(list)
    for attempt in report.attempts:
        on_host[attempt.instance_id].append(attempt)
    rows = tuple(_row(host, on_host[host.instance_id], start, end, now) for host in hosts)
    ticks = tuple(start + (end - start) * step / 4 for step in range(5))
    return Gantt(rows=rows, ticks=ticks, left_out=len(report.hosts) - len(hosts))


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
    """Attempts side by side in lanes, a path for each group of outcomes; neighbours without a gap become one piece."""
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
    """Pieces of less than a place are joined to the one before, so that 10,000 attempts do not make 10,000 shapes."""
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


def curve(report: CostReport, now: float) -> Curve | None:
    """Money up to each moment of a run. Each amount is spread evenly over the stretch of time that it belongs to.

    The last point equals the report's sums. None where nothing was billed.
    """
    if not report.entries:
        return None
    start = min(each.host.launched_at for each in report.entries)
    end = max(start + 1.0, *(each.host.ended_at or now for each in report.entries))
    times = tuple(start + (end - start) * step / _POINTS for step in range(_POINTS + 1))
    kept = [each for each in report.entries if each.part not in WASTED]
    wasted = [each for each in report.entries if each.part in WASTED]
    return Curve(
        times=times,
        paid=_sums([(_stretch(each, end), float(each.paid_usd)) for each in report.entries], times),
        on_demand=_sums([(_stretch(each, end), float(each.on_demand_usd)) for each in kept], times),
        wasted=_sums([(_stretch(each, end), float(each.paid_usd)) for each in wasted], times),
    )


def _stretch(entry: Entry, end: float) -> tuple[float, float]:
    """When an entry's money was spent: during its attempt, its host's boot, or its host's life, on the entry's day."""
    host, attempt = entry.host, entry.attempt
    first, last = host.launched_at, min(host.ended_at or end, end)
    if attempt is not None:
        first = max(first, attempt.started_at)
        last = min(last, attempt.stopped_at if attempt.stopped_at is not None else last)
    elif entry.part is Part.BOOT:
        last = min(last, host.started_at if host.started_at is not None else last)
    elif entry.part is Part.IDLE:
        first = max(first, host.started_at if host.started_at is not None else first)
    day = _day_start(entry.day)
    first, last = max(first, day), min(last, day + _DAY_SECONDS)
    return (first, last) if last > first else (min(first, end), min(first, end))


def _day_start(day: str) -> float:
    from datetime import UTC, datetime

    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


def _sums(amounts: Iterable[tuple[tuple[float, float], float]], times: Sequence[float]) -> tuple[float, ...]:
    """The sum of all that was spent up to each time: one sweep over where slopes begin and end."""
    slopes: list[tuple[float, float]] = []
    jumps: list[tuple[float, float]] = []
    for (first, last), amount in amounts:
        if last > first:
            rate = amount / (last - first)
            slopes += [(first, rate), (last, -rate)]
        else:
            jumps.append((first, amount))
    slopes.sort()
    jumps.sort()
    found, total, slope, at = [], 0.0, 0.0, times[0]
    next_slope = next_jump = 0
    for time in times:
        while next_slope < len(slopes) and slopes[next_slope][0] <= time:
            moment, change = slopes[next_slope]
            total, at, slope = total + slope * (moment - at), moment, slope + change
            next_slope += 1
        while next_jump < len(jumps) and jumps[next_jump][0] <= time:
            total += jumps[next_jump][1]
            next_jump += 1
        total, at = total + slope * (time - at), time
        found.append(total)
    return tuple(found)


def polyline(values: Sequence[float], top: float, height: float) -> str:
    """Points of a line over the whole width, `top` being the greatest value that fits."""
    step = WIDTH / max(1, len(values) - 1)
    return " ".join(
        f"{at * step:g},{height - (value / top if top else 0) * height:.1f}" for at, value in enumerate(values)
    )


def area(values: Sequence[float], top: float, height: float) -> str:
    """Path data of the area below a line."""
    return f"M0,{height:g} L{polyline(values, top, height).replace(' ', ' L')} L{WIDTH},{height:g} Z"
