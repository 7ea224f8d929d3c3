"""From jobs to the inputs of a bill: their attempts, and the lives of the hosts they ran on."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from spotbatch.aws import session
from spotbatch.aws.hosts import Host, Hosts
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import current_catalogue, current_prices
from spotbatch.batch.attempt_outcome import outcomes_of
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import SpotbatchError
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.pricing.completeness import Completeness, Coverage
from spotbatch.pricing.fargate import on_demand_usd
from spotbatch.pricing.records import inferred_hosts, observed_of
from spotbatch.pricing.report import CostReport, report_from, shown_usd
from spotbatch.pricing.units import PROVENANCE, host_quantities
from spotbatch.pricing.usage import AttemptUse, HostLife
from spotbatch.runs import artifact_store, records

if TYPE_CHECKING:
    from spotbatch.local.host_view import HostView

_MOST_UNITS: Final = 20_000  # at most this many are described, 100 per call
_NEIGHBOURS_SECONDS: Final = 86400.0  # jobs that started up to a day before may share a host
_RECLAIMED: Final = "RECLAIMED"
_WAITING: Final = (JobStatus.SUBMITTED, JobStatus.PENDING, JobStatus.RUNNABLE)
VOLUME_GIB: Final = 50  # per host, the default of the stack's setting volume_gib


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """A cost report, and what it does not cover."""

    report: CostReport
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()  # the notes that make the totals too low
    unread: int = 0  # jobs and children that were not queried
    is_over: bool = True  # whether the work has ended

    @property
    def completeness(self) -> Completeness:
        """Whether the totals are final, so far, or partial, and why."""
        return Completeness.of(self.report, missing=self.missing, unread=self.unread, is_over=self.is_over)

    @property
    def paid_usd(self) -> Decimal:
        """What was paid for the known hosts."""
        return self.report.paid_usd

    @property
    def on_demand_usd(self) -> Decimal:
        """The cost of the same work on demand, undisturbed."""
        return self.report.on_demand_undisturbed_usd

    @property
    def saving_percent(self) -> float | None:
        """The saving over on demand in per cent; None if nothing is known."""
        percent = self.report.saving_percent
        return None if percent is None else float(percent)

    @property
    def is_final(self) -> bool:
        """Whether everything is known and no host of the run is still up, so that the figures will not grow."""
        return self.completeness.coverage is Coverage.COMPLETE


def bill(jobs: Jobs, run: Sequence[Job], *, stack: str | None, hosts: Hosts | None = None) -> Bill:
    """The cost of the hosts on which one run's jobs ran: a single job, several arrays, or a job that was moved.

    Other jobs' attempts there are queried too, so that shared hosts do not look idle. For a single child it is the
    child's share.
    """
    found, notes = _records(run[0], stack)
    hosts = hosts or Hosts()
    units = [unit for job in run for unit in units_of(jobs, job)]
    others = [*_siblings(jobs, run), *neighbours(jobs, run, since=_first_launch(units, found, hosts))]
    made = bill_of(
        units, found, hosts=hosts, others=others, is_of_children=any(job.array_index is not None for job in run)
    )
    is_over = all(job.status.is_terminal for job in run)
    return replace(made, notes=(*notes, *made.notes), is_over=is_over, unread=_beyond(run))


def _siblings(jobs: Jobs, run: Sequence[Job]) -> list[Job]:
    """The other children of the arrays to which single children belong."""
    own = {job.id for job in run}
    parents = jobs.describe(sorted({job.parent_id for job in run if job.array_index is not None}))
    return [unit for parent in parents for unit in units_of(jobs, parent) if unit.id not in own]


def _first_launch(units: Sequence[Job], found: Sequence[AttemptRecord], hosts: Hosts) -> float | None:
    """When the first of the units' hosts was launched; None if no host is known."""
    by_attempt = _by_attempt(units, found)
    lives, _, _ = lives_of([use for unit in units for use in _uses(unit, by_attempt)], by_attempt, hosts)
    return min((life.launched_at for life in lives), default=None)


def bill_of(
    units: Sequence[Job],
    found: Sequence[AttemptRecord],
    *,
    hosts: Hosts | None = None,
    others: Sequence[Job] = (),
    is_of_children: bool = False,
) -> Bill:
    """The cost of the hosts of already described jobs or children, with their records.

    `others` are units of other jobs that may have shared those hosts. `is_of_children`: each unit counts by itself, and
    the rest of its array is among the others.
    """
    by_attempt = _by_attempt(units, found)
    uses = [use for unit in [*units, *others] for use in _uses(unit, by_attempt)]
    lives, uses, notes = lives_of(uses, by_attempt, hosts)
    ids = {unit.parent_id for unit in units}
    if is_of_children:
        ids = {unit.id for unit in units}
        uses = [replace(use, job_id=use.unit, array_index=None) if use.unit in ids else use for use in uses]
    own = {use.instance_id for use in uses if use.job_id in ids}
    chosen = [life for life in lives if life.instance_id in own]
    watched = [_observed(use, by_attempt) for use in uses if use.instance_id in own]
    now = time.time()
    report = report_from(
        chosen,
        watched,
        current_prices(),
        until=now,
        job_ids=ids,
        other_quantities=host_quantities(chosen, until=now, volume_gib=VOLUME_GIB) if chosen else None,
        is_simulated=session.is_local(),
    )
    notes = (*notes, *_fargate_note(units, until=now))
    return Bill(report=report, notes=notes, missing=notes)


def _fargate_note(units: Sequence[Job], *, until: float) -> tuple[str, ...]:
    """Fargate has no hosts, so the report has nothing of it: what its on-demand price comes to is said beside it."""
    ran = [
        (unit.requirements, (attempt.stopped_at or until) - attempt.started_at)
        for unit in units
        if unit.is_fargate
        for attempt in unit.attempts
        if attempt.started_at is not None
    ]
    if not ran:
        return ()
    usd = sum(on_demand_usd(vcpus=needs.vcpus, memory_mib=needs.memory_mib, seconds=each) for needs, each in ran)
    attempts = f"{len(ran)} attempts" if len(ran) > 1 else "1 attempt"
    priced = f"{shown_usd(Decimal(usd))} at its on-demand price ({PROVENANCE})"
    return (f"{attempts} on Fargate left out: {priced}, less on Fargate Spot, whose price is not known here",)


def in_short(
    jobs: Jobs,
    run: Sequence[Job],
    *,
    stack: str | None = None,
    most_units: int = _MOST_UNITS,
    is_exact: bool = False,
    hosts: Hosts | None = None,
) -> str:
    """The cost of a run in a few words; "" while nothing is known.

    For a run that has ended it is the bill itself, as in `spotbatch cost`; with `is_exact` also while it runs. Else
    the hosts of a running run are counted in full, even if shared ("about"), and beyond `most_units` units only the
    hosts of that many, spread over all started ones. A growing figure says "so far", a partial one "at least".
    """
    beyond = _beyond(run, most_units)
    if not beyond and (is_exact or all(job.status.is_terminal for job in run)):
        return _words(bill(jobs, run, stack=stack, hosts=hosts))
    units = _some(jobs, run, most_units) if beyond else [unit for job in run for unit in units_of(jobs, job)]
    uses = [use for unit in units for use in _uses(unit, {})]
    if not uses:
        return ""
    lives, named, notes = lives_of(uses, {}, hosts)
    report = report_from(lives, named, current_prices(), until=time.time(), is_simulated=session.is_local())
    made = Bill(report=report, notes=notes, missing=notes, unread=beyond, is_over=False)
    return _words(made, before="about " if made.completeness.coverage is Coverage.SO_FAR else "")


def _beyond(run: Sequence[Job], most_units: int = _MOST_UNITS) -> int:
    """The jobs and children beyond what can be read."""
    return max(0, sum(job.array.size if job.array else 1 for job in run) - most_units)


def _words(made: Bill, *, before: str = "") -> str:
    report = made.report
    if not report.paid_usd and not report.credit_usd:
        return ""
    percent = report.saving_percent
    saved = f", {percent:.0f} % less than on demand" if percent is not None and percent > 0 else ""
    return f"{made.completeness.words(f'{before}{shown_usd(report.paid_usd)}')}{saved}"


def _some(jobs: Jobs, watched: Sequence[Job], most: int) -> list[Job]:
    """At most this many of the units that have left the queue; children leave it in index order."""
    started = {job.id: _started(job) for job in watched}
    total = sum(started.values())
    ids = []
    for job in watched:
        share = min(started[job.id], -(-most * started[job.id] // max(1, total)))
        places = (index * started[job.id] // share for index in range(share))
        ids += [f"{job.id}:{place}" if job.array else job.id for place in places]
    return jobs.describe(ids[:most])


def _started(job: Job) -> int:
    if job.array is None:
        return int(job.status not in _WAITING)
    return sum(count for status, count in job.array.status_summary.items() if status not in _WAITING)


def units_of(jobs: Jobs, job: Job) -> list[Job]:
    """The job itself, or the children of an array that left SUBMITTED, 100 per call."""
    if job.array is None:
        return [job]
    return jobs.describe([f"{job.id}:{index}" for index in range(min(job.array.size, _MOST_UNITS))])


def neighbours(jobs: Jobs, run: Sequence[Job], *, since: float | None = None) -> list[Job]:
    """Units of other jobs of the same queues that may have shared the run's hosts.

    `since`: when the first of these was launched (UTC epoch seconds); units that ended before shared none of them.
    """
    own = {job.parent_id for job in run}
    after = min(job.created_at or time.time() for job in run) - _NEIGHBOURS_SECONDS
    last = max(job.stopped_at or time.time() for job in run)
    found = [one for queue in sorted({job.queue for job in run}) for one in jobs.created_after(queue, after)]
    near = [
        one.id
        for one in found
        if one.id not in own
        and (one.created_at or 0) <= last
        and (since is None or one.stopped_at is None or one.stopped_at >= since)
    ]
    units: list[Job] = []
    for other in jobs.describe(near):
        if len(units) >= _MOST_UNITS:
            break
        units += units_of(jobs, other)
    return units


def _records(job: Job, stack: str | None) -> tuple[list[AttemptRecord], tuple[str, ...]]:
    """The run's records, and a note if they cannot be read."""
    try:
        return records.of_run(artifact_store.store_of(job, stack=stack), artifact_store.run_id(job)), ()
    except SpotbatchError as error:
        return [], (f"the attempts' records cannot be read, so lost work is taken as whole attempts ({error})",)


def _by_attempt(units: Sequence[Job], found: Sequence[AttemptRecord]) -> dict[tuple[str, int], AttemptRecord]:
    """Records by unit and attempt."""
    of_unit: dict[str, list[AttemptRecord]] = defaultdict(list)
    for record in found:
        of_unit[record.job_id].append(record)
    return {
        (unit.id, number): record
        for unit in units
        for number, record in records.matched(unit, of_unit.get(unit.id, ())).items()
    }


def _uses(unit: Job, found: Mapping[tuple[str, int], AttemptRecord]) -> list[AttemptUse]:
    """The attempts of a job or child that ran somewhere. `instance_id` still holds Batch's own name for the host."""
    numbers = range(1, len(unit.attempts) + 1)
    records_of_unit = {number: found[unit.id, number] for number in numbers if (unit.id, number) in found}
    return [
        AttemptUse(
            job_id=unit.parent_id,
            job_name=unit.name,
            array_index=unit.array_index,
            attempt=number,
            queue=unit.queue,
            tags=unit.tags,
            instance_id=attempt.host,
            vcpus=unit.requirements.vcpus,
            memory_mib=unit.requirements.memory_mib,
            started_at=attempt.started_at,
            stopped_at=attempt.stopped_at,
            outcome=outcome,
        )
        for number, (attempt, outcome) in enumerate(
            zip(unit.attempts, outcomes_of(unit, records_of_unit), strict=True), start=1
        )
        if attempt.host and attempt.started_at is not None
    ]


def _observed(use: AttemptUse, found: Mapping[tuple[str, int], AttemptRecord]) -> AttemptUse:
    record = found.get((use.unit, use.attempt))
    if record is None:
        return use
    return replace(use, observed=observed_of(record, stopped_at=use.stopped_at))


def lives_of(
    uses: Sequence[AttemptUse], found: Mapping[tuple[str, int], AttemptRecord], hosts: Hosts | None = None
) -> tuple[list[HostLife], list[AttemptUse], tuple[str, ...]]:
    """The hosts of attempts, the attempts with their hosts' instance ids, and what is not known."""
    hosts = hosts or Hosts()
    by_arn = hosts.by_arn(use.instance_id for use in uses)
    named = [
        replace(use, instance_id=by_arn[use.instance_id].instance_id) if use.instance_id in by_arn else use
        for use in uses
    ]
    if session.is_local():
        return _local_lives({use.instance_id for use in named}), named, ()
    return _cloud_lives(hosts, by_arn, named, found)


def _local_lives(wanted: set[str]) -> list[HostLife]:
    from spotbatch.local.client import RegionClient
    from spotbatch.runs.endpoint import running_region

    views = RegionClient(info=running_region()).hosts()
    return [_life_of_view(view) for view in views if view.instance_id in wanted and not view.is_fargate]


def _life_of_view(view: "HostView") -> HostLife:
    return HostLife(
        instance_id=view.instance_id,
        instance_type=view.instance_type,
        zone=view.zone,
        vcpus=int(view.vcpus),
        memory_mib=view.memory_mib,
        is_spot=view.is_spot,
        launched_at=view.launched_at,
        started_at=view.started_at,
        ended_at=view.ended_at,
        is_reclaimed=view.end_cause == _RECLAIMED,
    )


def _cloud_lives(
    hosts: Hosts, by_arn: Mapping[str, Host], uses: Sequence[AttemptUse], found: Mapping[tuple[str, int], AttemptRecord]
) -> tuple[list[HostLife], list[AttemptUse], tuple[str, ...]]:
    """On AWS a host's life is from its first attempt's start (its launch, if EC2 knows it) to its last one's end."""
    kinds = {host.instance_id: (host.instance_type, host.zone) for host in by_arn.values()}
    for use in uses:
        record = found.get((use.unit, use.attempt))
        if use.instance_id not in kinds and record is not None and record.instance_type:
            kinds[use.instance_id] = (record.instance_type, record.zone)
    lives = list(inferred_hosts(uses, kinds, current_catalogue()))
    launches = hosts.launches(life.instance_id for life in lives if life.instance_id.startswith("i-"))
    exact = [_from_launch(life, launches.get(life.instance_id)) for life in lives]
    guessed = len(lives) - len(launches)
    unknown = len({use.instance_id for use in uses} - {life.instance_id for life in lives})
    notes = []
    if guessed:
        notes.append(
            f"EC2 has forgotten {guessed} of {len(lives)} hosts: they are counted from their first attempt's start to "
            "their last one's end, so booting and idle time are missing"
        )
    if unknown:
        notes.append(f"nothing tells the type of {unknown} hosts: they are left out")
    return exact, list(uses), tuple(notes)


def _from_launch(life: HostLife, launch: tuple[float, bool, bool] | None) -> HostLife:
    if launch is None:
        return life
    launched_at, is_spot, is_running = launch
    ended_at = None if is_running else life.ended_at
    return replace(life, launched_at=min(launched_at, life.launched_at), is_spot=is_spot, ended_at=ended_at)
