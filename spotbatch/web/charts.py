"""The geometry of cost over time, and lines and areas from numbers. Pure. Times map to positions from 0 to 1000."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch.pricing.ledger import Entry, Part
from spotbatch.pricing.report import CostReport

WIDTH: Final = 1000
_DAY_SECONDS: Final = 86_400.0
_POINTS: Final = 100
WASTED: Final = frozenset({Part.LOST, Part.RESTART})


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Cumulative sums at each time, in USD; floats, since they are only drawn."""

    times: tuple[float, ...]
    paid: tuple[float, ...]
    on_demand: tuple[float, ...]
    wasted: tuple[float, ...]


def end_of_work(report: CostReport, now: float) -> float:
    """Where a time axis ends: with the last attempt, or now while one runs. Later host time is not drawn."""
    if not report.attempts:
        return max((host.ended_at or now for host in report.hosts), default=now)
    return max(each.stopped_at if each.stopped_at is not None else now for each in report.attempts)


def curve(report: CostReport, now: float) -> Curve | None:
    """Cumulative cost over a run. Each amount is spread evenly over the period it belongs to.

    The last point equals the report's sums. None if nothing was billed.
    """
    if not report.entries:
        return None
    start = min(each.host.launched_at for each in report.entries)
    end = max(start + 1.0, end_of_work(report, now))
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
    first, last = min(host.launched_at, end), min(host.ended_at or end, end)
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
    """The total spent up to each time: one sweep over the points where slopes start and end."""
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
    """Points of a line over the full width; `top` is the largest value that fits."""
    step = WIDTH / max(1, len(values) - 1)
    return " ".join(
        f"{at * step:g},{height - (value / top if top else 0) * height:.1f}" for at, value in enumerate(values)
    )


def area(values: Sequence[float], top: float, height: float) -> str:
    """Path data of the area below a line."""
    return f"M0,{height:g} L{polyline(values, top, height).replace(' ', ' L')} L{WIDTH},{height:g} Z"
