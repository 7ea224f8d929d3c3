"""The runtime's attempt records as money reads them: what was lost and saved, and what a sample run measured.

A record is the JSON document that the runtime keeps at `batch.artifacts.attempt_record`; unknown keys are ignored, and
a key that is missing or of another kind counts as not known.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import Catalogue
from spotbatch.pricing.instance_selection import measured_rate
from spotbatch.pricing.usage import AttemptEnd, AttemptUse, HostLife, Observed

Record = Mapping[str, object]
_ENOUGH_HOURS: Final = 10.0


def observed_of(record: Record, *, stopped_at: float | None) -> Observed:
    """What a record says of an attempt that AWS Batch saw stop then (UTC epoch seconds; None: it still runs).

    The record of an attempt that was killed ends nowhere: what came after its last save (or its start) was lost.
    Saves run beside the command, so `save_seconds` is the most that they can have cost it.
    """
    lost = _number(record, "work_lost_seconds")
    if lost is None and record.get("outcome") == "running" and stopped_at is not None:
        since = _number(record, "last_saved_at") or _number(record, "started_at")
        lost = None if since is None else max(0.0, stopped_at - since)
    return Observed(
        lost_seconds=lost,
        restore_seconds=_number(record, "restore_seconds"),
        save_seconds=_number(record, "checkpoint_seconds"),
        peak_memory_mib=_number(record, "peak_memory_mib") or None,  # 0: it was not measured
        cpu_seconds=_number(record, "cpu_seconds") or None,
    )


def inferred_hosts(
    attempts: Iterable[AttemptUse], kinds: Mapping[str, tuple[str, str]], catalogue: Catalogue
) -> tuple[HostLife, ...]:
    """Hosts as their attempts show them, where nothing else tells of them (EC2 forgets an instance after an hour).

    `kinds` has each instance id's (type, zone), as the records do. Such a host lives from its first attempt's start
    to its last one's stop: boot and idle time before and after are not seen, and the bill is too low by them.
    Instances of an unknown type are left out. All are taken for Spot.
    """
    on_host: dict[str, list[AttemptUse]] = defaultdict(list)
    for each in attempts:
        on_host[each.instance_id].append(each)
    return tuple(
        _inferred(instance_id, *kinds[instance_id], found, catalogue)
        for instance_id, found in on_host.items()
        if instance_id in kinds and kinds[instance_id][0] in catalogue
    )


def _inferred(
    instance_id: str, type_name: str, zone: str, attempts: Sequence[AttemptUse], catalogue: Catalogue
) -> HostLife:
    kind = catalogue.get(type_name)
    stops = [each.stopped_at for each in attempts]
    start = min(each.started_at for each in attempts)
    return HostLife(
        instance_id=instance_id,
        instance_type=type_name,
        zone=zone,
        vcpus=kind.vcpus,
        memory_mib=kind.usable_memory_mib,
        launched_at=start,
        started_at=start,
        ended_at=None if None in stops else max(each for each in stops if each is not None),
        is_reclaimed=any(each.end is AttemptEnd.INTERRUPTED for each in attempts),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a finished run measured, for the estimate of a larger one."""

    work_seconds: tuple[float, ...]  # of each job or child that succeeded, without what was lost and restored
    save_seconds: float | None  # the mean of one save
    peak_memory_mib: float | None
    interruptions_per_hour: float  # of an attempt, which stands for its host
    hours: float  # that its attempts ran, together
    attempts: int
    interruptions: int

    @property
    def has_rate(self) -> bool:
        """Whether it ran long enough to tell a rate: a rehearsal of seconds, interrupted on purpose, does not."""
        return self.hours >= _ENOUGH_HOURS


def sample_of(records: Iterable[Record]) -> Sample:
    """What the records of a run measured. Raises InvalidInput if nothing in them succeeded."""
    units: dict[tuple[object, object], list[Record]] = defaultdict(list)
    for each in records:
        units[(each.get("run_id"), each.get("array_index"))].append(each)
    succeeded = [unit for unit in units.values() if any(each.get("outcome") == "succeeded" for each in unit)]
    if not succeeded:
        raise InvalidInput(f"a sample run needs a record of an attempt that succeeded; {len(units)} jobs have none")
    everything = [each for unit in units.values() for each in unit]
    saves = _sum(everything, "checkpoints_saved")
    peaks = [peak for each in everything if (peak := _number(each, "peak_memory_mib"))]
    hours = _hours(everything)
    cut = sum(each.get("outcome") in ("interrupted", "running") for each in everything)
    return Sample(
        work_seconds=tuple(max(0.001, math.fsum(_kept_seconds(each) for each in unit)) for unit in succeeded),
        save_seconds=_sum(everything, "checkpoint_seconds") / saves if saves else None,
        peak_memory_mib=max(peaks, default=None),
        interruptions_per_hour=measured_rate(cut, max(hours, 1 / 3600)),
        hours=hours,
        attempts=len(everything),
        interruptions=cut,
    )


def mean_seconds(sample: Sample) -> float:
    """The mean work of a job of the sample."""
    return fmean(sample.work_seconds)


def _kept_seconds(record: Record) -> float:
    """How long an attempt worked for what was kept: none of it for one that left no end."""
    start, stop = _number(record, "started_at"), _number(record, "ended_at")
    saved_at = _number(record, "last_saved_at")
    if start is None or (stop is None and saved_at is None):
        return 0.0
    lost = _number(record, "work_lost_seconds") or 0.0
    end = saved_at if stop is None else stop
    return max(0.0, (end or start) - start - lost - (_number(record, "restore_seconds") or 0.0))


def _hours(records: Iterable[Record]) -> float:
    found = 0.0
    for each in records:
        start = _number(each, "started_at")
        stop = _number(each, "ended_at") or _number(each, "last_saved_at")
        if start is not None and stop is not None:
            found += max(0.0, stop - start)
    return found / 3600


def _sum(records: Iterable[Record], key: str) -> float:
    return math.fsum(_number(each, key) or 0.0 for each in records)


def _number(record: Record, key: str) -> float | None:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
