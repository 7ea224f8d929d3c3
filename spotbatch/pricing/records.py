"""The runtime's attempt records from the cost side: what was lost and saved, and what a sample run measured."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from spotbatch.batch.attempt_record import AttemptRecord, RecordedOutcome
from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import Catalogue
from spotbatch.pricing.instance_selection import measured_rate
from spotbatch.pricing.usage import AttemptUse, HostLife, Observed

_ENOUGH_HOURS: Final = 10.0
_NOTICE_SECONDS: Final = 120.0  # EC2 user guide, "Spot Instance interruption notices"
_CUT_OFF: Final = (RecordedOutcome.INTERRUPTED, RecordedOutcome.RUNNING)  # the host was lost, with or without a notice


def observed_of(record: AttemptRecord, *, stopped_at: float | None) -> Observed:
    """What a record says about an attempt that stopped at this time (UTC epoch seconds; None: still running).

    The record of a killed attempt has no end: the work since its last save (or its start) was lost.
    Saves run alongside the command, so `save_seconds` is an upper bound on their cost.
    """
    lost = record.work_lost_seconds
    if lost is None and not record.has_ended and stopped_at is not None:
        since = record.last_saved_at or record.started_at
        lost = None if since is None else max(0.0, stopped_at - since)
    return Observed(
        lost_seconds=lost,
        restore_seconds=record.restore_seconds,
        save_seconds=record.checkpoint_seconds,
        peak_memory_mib=record.peak_memory_mib or None,  # 0: not measured
        cpu_seconds=record.cpu_seconds or None,
    )


def inferred_hosts(
    attempts: Iterable[AttemptUse], kinds: Mapping[str, tuple[str, str]], catalogue: Catalogue
) -> tuple[HostLife, ...]:
    """Hosts inferred from their attempts when no other source has them (EC2 forgets an instance after an hour).

    `kinds` maps each instance id to its (type, zone), from the records. Its life runs from its first attempt's start
    to its last one's stop: boot and idle time before and after are not seen, so the bill is too low by that time.
    Instances of an unknown type are left out. All are assumed to be Spot.
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
        is_reclaimed=_was_taken(attempts),
    )


def _was_taken(attempts: Sequence[AttemptUse]) -> bool:
    """Whether EC2 took a host back: it interrupted an attempt there, and none started after the two-minute notice."""
    taken_at = [each.stopped_at for each in attempts if each.outcome.is_waivable and each.stopped_at is not None]
    last_start = max(each.started_at for each in attempts)
    return bool(taken_at) and last_start <= max(taken_at) + _NOTICE_SECONDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What a finished run measured, for the estimate of a larger one."""

    work_seconds: tuple[float, ...]  # of each job or child that succeeded, excluding lost work and restores
    save_seconds: float | None  # the mean of one save
    restore_seconds: float | None  # the mean of those attempts that restored a checkpoint
    peak_memory_mib: float | None
    interruptions_per_hour: float  # of attempts, each taken as one host
    hours: float  # total run time of its attempts
    attempts: int
    interruptions: int

    @property
    def has_rate(self) -> bool:
        """Whether it ran long enough to measure a rate: a rehearsal of seconds, interrupted on purpose, did not."""
        return self.hours >= _ENOUGH_HOURS


def sample_of(records: Iterable[AttemptRecord]) -> Sample:
    """What the records of a run measured. Raises InvalidInput if none of them succeeded."""
    units: dict[tuple[str, int | None], list[AttemptRecord]] = defaultdict(list)
    for each in records:
        units[each.run_id, each.array_index].append(each)
    succeeded = [unit for unit in units.values() if any(each.outcome == RecordedOutcome.SUCCEEDED for each in unit)]
    if not succeeded:
        raise InvalidInput(f"a sample run needs a record of an attempt that succeeded; {len(units)} jobs have none")
    everything = [each for unit in units.values() for each in unit]
    saves = sum(each.checkpoints_saved for each in everything)
    peaks = [each.peak_memory_mib for each in everything if each.peak_memory_mib]
    hours = math.fsum(each.lasted_seconds or 0.0 for each in everything) / 3600
    cut = sum(each.outcome in _CUT_OFF for each in everything)
    return Sample(
        work_seconds=tuple(max(0.001, math.fsum(_kept_seconds(each) for each in unit)) for unit in succeeded),
        save_seconds=math.fsum(each.checkpoint_seconds for each in everything) / saves if saves else None,
        restore_seconds=mean_restore_seconds(everything),
        peak_memory_mib=max(peaks, default=None),
        interruptions_per_hour=measured_rate(cut, max(hours, 1 / 3600)),
        hours=hours,
        attempts=len(everything),
        interruptions=cut,
    )


def mean_restore_seconds(records: Iterable[AttemptRecord]) -> float | None:
    """The mean time that it took to restore a checkpoint; None if none was restored."""
    restores = [each.restore_seconds for each in records if each.resumed_from and each.restore_seconds is not None]
    return fmean(restores) if restores else None


def mean_seconds(sample: Sample) -> float:
    """The mean work of a job in the sample."""
    return fmean(sample.work_seconds)


def _kept_seconds(record: AttemptRecord) -> float:
    """How long an attempt did work that was kept: up to its last save if it recorded no end."""
    return max(
        0.0, (record.lasted_seconds or 0.0) - (record.work_lost_seconds or 0.0) - (record.restore_seconds or 0.0)
    )
