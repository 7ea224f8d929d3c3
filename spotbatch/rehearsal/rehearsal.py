"""A rehearsal: a sample of the user's own jobs, run once undisturbed and once under reclaims, and the findings.

If the outputs differ, the sample runs undisturbed once more: a time, a random number or an id in an output differs
between any two runs, and says nothing about interruptions.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Final

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.attempt_outcome import interruptions_of, outcomes_of
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import JobFailed, Unavailable
from spotbatch.batch.job import Job, ResourceRequirements
from spotbatch.batch.light_dataclass import as_dict
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.records import mean_restore_seconds
from spotbatch.rehearsal.outputs import Difference, Outputs, differences, read_outputs
from spotbatch.rehearsal.private_region import DEFINITION, QUEUE, PrivateRegion
from spotbatch.rehearsal.reclaim_plan import ReclaimPlan
from spotbatch.runs import artifact_store, records
from spotbatch.runs.request import JobOptions, request
from spotbatch.wording import count

_POLL_SECONDS: Final = 0.1
_RETRIES: Final = 9
_LAG_SECONDS: Final = 30.0
Say = Callable[[str], None]
OpenRegion = Callable[[Sequence[str]], AbstractContextManager[PrivateRegion]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RehearsalRequest:
    """What to rehearse, and how hard."""

    asked: JobOptions
    sample: int
    plan: ReclaimPlan  # of the second run
    limit_seconds: float  # for each of the two runs


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One of the runs: what each unit wrote, and what the runtime recorded."""

    seconds: float
    outputs: Outputs
    records: Sequence[AttemptRecord]
    interruptions: int
    failed: int
    worn_out: int = 0  # of those that failed: interrupted as many times as there were attempts


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """The combined result of both runs."""

    needs: ResourceRequirements
    sample: int
    plan: ReclaimPlan
    rate: float | None  # the chosen rate of interruptions per host and hour; None if none was chosen
    quiet: Trial
    disturbed: Trial
    again: Trial | None = None  # the second undisturbed run; None if the outputs did not differ

    @cached_property
    def by_themselves(self) -> tuple[Difference, ...]:
        """What differs between the two undisturbed runs."""
        return tuple(differences(self.quiet.outputs, self.again.outputs)) if self.again is not None else ()

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """What differs between the undisturbed and the disturbed run, excluding what differs between any two runs."""
        own = {(each.unit, each.path) for each in self.by_themselves}
        found = differences(self.quiet.outputs, self.disturbed.outputs)
        return tuple(each for each in found if (each.unit, each.path) not in own)

    @property
    def differing(self) -> list[int | None]:
        """The units whose outputs differ because of interruptions."""
        return list(dict.fromkeys(each.unit for each in self.differences))

    @property
    def comparable_files(self) -> int:
        """Files that are identical in two undisturbed runs, so that a difference is meaningful."""
        return self.output_files - len(self.by_themselves)

    @property
    def output_files(self) -> int:
        return sum(len(files) for files in self.quiet.outputs.values())

    @property
    def verdict(self) -> str:
        """yes, no, or why there is no verdict."""
        if self.disturbed.failed > self.disturbed.worn_out:
            return "no: it FAILED under interruptions, and succeeded without"
        if self.disturbed.worn_out:
            return f"not shown: a job was interrupted {_RETRIES + 1} times, all its attempts; reclaim less often"
        if self.differences:
            return f"no: under interruptions {self.differences[0].in_words}{_and_more(self.differences)}"
        if not self.disturbed.interruptions:
            return "not shown: no job was interrupted before it ended; rehearse longer ones, or reclaim more often"
        if not self.output_files:
            return "not shown: the jobs wrote nothing into SPOTBATCH_OUTPUT_DIR that could be compared"
        if self.comparable_files <= 0:
            first = self.by_themselves[0].in_words
            return (
                f"not shown: every output differs between undisturbed runs too ({first}{_and_more(self.by_themselves)})"
            )
        return "yes"

    @property
    def is_safe(self) -> bool:
        return self.verdict == "yes"

    @property
    def resumed(self) -> int:
        """Attempts that resumed from a checkpoint."""
        return sum(record.resumed_from is not None for record in self.disturbed.records)

    @property
    def dumps(self) -> int:
        """Snapshots that were stored."""
        return sum(record.snapshot_bytes > 0 for record in self.disturbed.records)

    @property
    def snapshot_restores(self) -> int:
        """Attempts that went on from a snapshot."""
        return sum(record.snapshot_restore_seconds is not None for record in self.disturbed.records)

    @property
    def snapshot_refusals(self) -> list[str]:
        """Why there was no snapshot where one was wanted, each reason once."""
        found = (record.snapshot_refused for record in self.disturbed.records)
        return list(dict.fromkeys(each for each in found if each))

    @property
    def lost_seconds(self) -> list[float]:
        """Work lost by each interruption that the runtime was able to record."""
        found = (one.work_lost_seconds for one in self.disturbed.records if one.outcome == "interrupted")
        return [each for each in found if each is not None]

    @property
    def save_seconds(self) -> float | None:
        """The mean duration of a save."""
        every = [*self.quiet.records, *self.disturbed.records]
        saves = sum(one.checkpoints_saved for one in every)
        return sum(one.checkpoint_seconds for one in every) / saves if saves else None

    @property
    def restore_seconds(self) -> float | None:
        """The mean duration of a restore; None if no attempt restored a checkpoint."""
        return mean_restore_seconds(self.disturbed.records)

    @property
    def checkpoint_bytes(self) -> int:
        return max((one.checkpoint_bytes for one in self.disturbed.records), default=0)

    @property
    def peak_memory_mib(self) -> float:
        return max((one.peak_memory_mib for one in self.quiet.records), default=0.0)

    @property
    def busy_vcpus(self) -> float | None:
        """The mean number of cores that a job kept busy."""
        ran = [
            (one.cpu_seconds, one.ended_at - one.started_at)
            for one in self.quiet.records
            if one.ended_at and one.started_at
        ]
        return sum(cpu for cpu, _ in ran) / sum(wall for _, wall in ran) if ran else None

    @property
    def measured_seconds(self) -> list[float]:
        """The duration of each undisturbed job."""
        ran = [one.ended_at - one.started_at for one in self.quiet.records if one.ended_at and one.started_at]
        return ran or [self.quiet.seconds]

    @property
    def work_seconds(self) -> float:
        """The mean duration of an undisturbed job."""
        return fmean(self.measured_seconds)


def rehearse(open_region: OpenRegion, wanted: RehearsalRequest, say: Say) -> Rehearsed:
    """Run the sample twice, each time in a region of its own.

    Raises JobFailed if it fails undisturbed, Unavailable if it does not end in time, and whatever a trace raises.
    """
    options, rate = wanted.plan.options(), wanted.plan.interruptions_per_hour()
    say(f"1/2  undisturbed: {wanted.sample} of your jobs")
    with open_region(()) as private_region:
        quiet = _trial(private_region, Jobs(), wanted, rounds=0, about_seconds=0.0)
    if quiet.failed:
        raise JobFailed(
            f"{quiet.failed} of {wanted.sample} jobs FAILED without any interruption: mend that first "
            "(their last lines are above)"
        )
    say(f"2/2  the same under {wanted.plan.in_words} (undisturbed it took {quiet.seconds:.1f} s)")
    with open_region(options) as private_region:
        disturbed = _trial(private_region, Jobs(), wanted, rounds=wanted.plan.in_rounds, about_seconds=quiet.seconds)
    needs = ResourceRequirements(vcpus=wanted.asked.vcpus or 1, memory_mib=wanted.asked.memory_mib or 2048)
    found = Rehearsed(needs=needs, sample=wanted.sample, plan=wanted.plan, rate=rate, quiet=quiet, disturbed=disturbed)
    if disturbed.failed or not found.differences:
        return found
    say(f"outputs differ ({found.differences[0].in_words}): once more undisturbed, to see what differs by itself")
    with open_region(()) as private_region:
        again = _trial(private_region, Jobs(), wanted, rounds=0, about_seconds=0.0)
    return replace(found, again=again)


def _and_more(found: Sequence[Difference]) -> str:
    return f", and {count(len(found) - 1, 'more file')}" if len(found) > 1 else ""


def _trial(
    private_region: PrivateRegion, jobs: Jobs, wanted: RehearsalRequest, *, rounds: int, about_seconds: float
) -> Trial:
    size = wanted.sample if wanted.sample > 1 else None
    asked = replace(wanted.asked, array=size, retries=_RETRIES)
    began = time.monotonic()
    job_id = jobs.submit(request(asked, queue=QUEUE, definition=DEFINITION))
    deadline = began + wanted.limit_seconds
    done = 0
    while True:
        job = jobs.get(job_id)
        if job.status.is_terminal:
            break
        if time.monotonic() > deadline:
            jobs.terminate(job_id, "the rehearsal's time is over")
            raise Unavailable(
                f"the sample did not end within {wanted.limit_seconds:.0f} s: a smaller one, or a longer --limit"
            )
        due = began + about_seconds * (done + 1) / (rounds + 1)
        if done < rounds and time.monotonic() >= due and _running(job):
            done += bool(_reclaim_all(private_region))
        time.sleep(_POLL_SECONDS)
    return _result(jobs, job, time.monotonic() - began)


def _running(job: Job) -> int:
    if job.array is None:
        return int(job.status is JobStatus.RUNNING)
    return job.array.status_summary.get(JobStatus.RUNNING, 0)


def _reclaim_all(private_region: PrivateRegion) -> list[str]:
    """Send a notice to every host that runs something and has not had one yet."""
    hosts = [host.instance_id for host in private_region.client.hosts() if host.running and host.noticed_at is None]
    return private_region.client.interrupt(instance_ids=hosts) if hosts else []


def _result(jobs: Jobs, job: Job, seconds: float) -> Trial:
    store = artifact_store.store_of(job)
    size = job.array.size if job.array is not None else None
    units = _ended_units(jobs, job.id, size) if size else [job]
    failed = [unit for unit in units if unit.status is JobStatus.FAILED]
    last = [outcomes[-1] for unit in failed if (outcomes := outcomes_of(unit))]
    return Trial(
        seconds=seconds,
        outputs={unit.array_index: read_outputs(store, job.id, unit.array_index) for unit in units},
        records=records.of_run(store, artifact_store.run_id(job)),
        interruptions=sum(interruptions_of(unit) for unit in units),
        failed=len(failed),
        worn_out=sum(outcome.may_go_on for outcome in last),
    )


def _ended_units(jobs: Jobs, job_id: str, size: int) -> list[Job]:
    """The children of an array that has ended. If a stale answer shows one still running, ask again."""
    deadline = time.monotonic() + _LAG_SECONDS
    while True:
        units = jobs.describe([f"{job_id}:{index}" for index in range(size)])
        is_whole = len(units) == size and all(unit.status.is_terminal for unit in units)
        if is_whole or time.monotonic() > deadline:
            return units
        time.sleep(_POLL_SECONDS)


def as_records(trial: Trial) -> list[dict[str, object]]:
    """The records of a run, in the form that pricing reads."""
    return [as_dict(record) for record in trial.records]
