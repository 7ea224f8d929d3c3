"""CPU and memory of one attempt over time, beside what it may use: shapes of 1000 by 80. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from spotbatch import wording
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.job import ResourceRequirements
from spotbatch.web.charts import WIDTH

USAGE_HEIGHT: Final = 80.0
_FEWEST: Final = 2  # points that make a line
_ROOM_ABOVE: Final = 1.1
_MIB_A_GIB: Final = 1024.0


@dataclass(frozen=True, kw_only=True, slots=True)
class UsagePlot:
    """One of the two: a line, and a second one for the limit."""

    label: str
    said: str  # the most, and the limit, in words
    line: str
    area: str
    limit_y: float
    limit: str  # the limit's name
    is_over: bool  # whether it came within a tenth of a limit that ends the attempt


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageChart:
    """CPU and memory over the same time."""

    plots: tuple[UsagePlot, ...]
    ticks: tuple[str, ...]  # since the attempt's start


def usage_chart(record: AttemptRecord, needs: ResourceRequirements) -> UsageChart | None:
    """The chart of an attempt's record; None if it ended before two points were taken (every two seconds at first).

    CPU has no hard limit on EC2: Batch's vCPUs are shares, and idle ones are used by whoever runs (AWS Batch API
    reference, ResourceRequirement: VCPU "maps to CpuShares"). Memory has one: beyond it the kernel kills.
    """
    points = record.usage
    if len(points) < _FEWEST:
        return None
    times = [point[0] for point in points]
    memory_mib = record.memory_limit_mib or float(needs.memory_mib)
    cores, used_mib = [point[1] for point in points], [point[2] for point in points]
    average = _average(times, cores)
    cpu = _plot(
        "CPU",
        f"{average:.1f} on average, {max(cores):.1f} at most, of {wording.count(needs.vcpus, 'vCPU')}",
        times,
        cores,
        float(needs.vcpus),
        f"asked for {wording.count(needs.vcpus, 'vCPU')}",
    )
    memory = _plot(
        "Memory",
        f"{_size(max(used_mib))} at most, of {_size(memory_mib)}",
        times,
        used_mib,
        memory_mib,
        f"limit {_size(memory_mib)}",
        is_hard=True,
    )
    middle = times[-1] / 2
    return UsageChart(plots=(cpu, memory), ticks=("0 s", wording.duration(middle), wording.duration(times[-1])))


def _plot(
    label: str,
    said: str,
    times: Sequence[float],
    values: Sequence[float],
    limit: float,
    limit_name: str,
    *,
    is_hard: bool = False,
) -> UsagePlot:
    top = max(limit, *values) * _ROOM_ABOVE or 1.0
    places = [
        (round(time / times[-1] * WIDTH, 1), round(USAGE_HEIGHT * (1 - value / top), 1))
        for time, value in zip(times, values, strict=True)
    ]
    line = " ".join(f"{x:g},{y:g}" for x, y in places)
    return UsagePlot(
        label=label,
        said=said,
        line=line,
        area=f"M{places[0][0]:g},{USAGE_HEIGHT:g} L{line.replace(' ', ' L')} L{WIDTH},{USAGE_HEIGHT:g} Z",
        limit_y=round(USAGE_HEIGHT * (1 - limit / top), 1),
        limit=limit_name,
        is_over=is_hard and max(values) >= 0.9 * limit,
    )


def _average(times: Sequence[float], values: Sequence[float]) -> float:
    """Each value stands for the time since the one before it."""
    starts = [0.0, *times]
    whole = sum(value * (time - start) for value, time, start in zip(values, times, starts, strict=False))
    return whole / times[-1] if times[-1] else 0.0


def _size(mib: float) -> str:
    return f"{mib / _MIB_A_GIB:.1f} GiB" if mib >= _MIB_A_GIB else f"{mib:.0f} MiB"
