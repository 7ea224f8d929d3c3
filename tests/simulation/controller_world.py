"""A world for the controller's rules: AWS Batch by its rulebook on virtual time, Spot that comes and goes, and faults.

Every call of the controller may fail, before or after it did its work, and its process may die there. Ticks are lost,
events are lost, doubled, late and out of order, and lists of jobs lag behind.
"""

import heapq
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.environment import EXIT_INTERRUPTED, SPOTBATCH_ARRAY_INDEXES
from spotbatch.batch.errors import Unavailable
from spotbatch.batch.job import ArrayProperties, Attempt, Job, ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import RetryStrategy, spot_safe
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import OUT_OF_MEMORY_REASON, JobStatus, host_terminated
from spotbatch.controller.advance import Controller
from spotbatch.controller.ports import Conflict
from spotbatch.controller.request import request_of
from spotbatch.controller.run import Place, Run
from spotbatch.controller.seen import NOTHING_DONE, Work

BOOT_SECONDS = 150.0
START_SECONDS = 20.0  # the container's start and the restore
SAVE_EVERY_SECONDS = 300.0
NOTICE_SECONDS = 120.0
LIST_LAG_SECONDS = 30.0


class KilledError(BaseException):
    """The controller's process died here."""


@dataclass(kw_only=True)
class Faults:
    """What goes wrong, by chance; after a death the next invocation is spared, as promises count with."""

    rng: random.Random
    rate: float = 0.03
    is_spared: bool = False

    def maybe(self) -> None:
        if self.is_spared or self.rng.random() >= self.rate:
            return
        self.is_spared = True
        raise KilledError if self.rng.random() < 0.5 else Unavailable("TooManyRequestsException")

    def around(self, work: Callable[[], Any]) -> Any:
        """Before, or after: then it is done, and nobody hears of it."""
        self.maybe()
        found = work()
        self.maybe()
        return found


@dataclass(kw_only=True)
class Memory:
    """A store that compares and sets, as DynamoDB does."""

    faults: Faults
    runs: dict[str, Run] = field(default_factory=dict)

    def read(self, run_id: str) -> Run | None:
        return self.faults.around(lambda: self.runs.get(run_id))  # type: ignore[no-any-return]

    def write(self, run: Run) -> Run:
        return self.faults.around(lambda: self._write(run))  # type: ignore[no-any-return]

    def _write(self, run: Run) -> Run:
        if self.runs[run.run_id].revision != run.revision:
            raise Conflict("written meanwhile")
        self.runs[run.run_id] = replace(run, revision=run.revision + 1)
        return self.runs[run.run_id]

    def active(self) -> Sequence[str]:
        return [run.run_id for run in self.runs.values() if not run.is_over]


@dataclass(kw_only=True)
class WorkLoad:
    """One unit of the run: what it needs, and how far it is."""

    seconds: float
    memory_mib: int
    kept: float = 0.0
    began_at: float | None = None  # of the attempt that runs
    is_finished: bool = False


@dataclass(kw_only=True)
class Submitted:
    """One job as it was submitted."""

    number: int
    request: Mapping[str, Any]
    indexes: ArrayIndexes
    place: Place
    at: float
    attempts: dict[int, list[Attempt]] = field(default_factory=dict)
    terminated: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        return int(self.request.get("arrayProperties", {}).get("size", 0))


@dataclass(kw_only=True)
class World:
    """Time, AWS Batch, Spot's capacity, and the run's units."""

    seed: int
    units: dict[int, WorkLoad]
    memory: Memory
    faults: Faults
    spot_up_seconds: float
    spot_down_seconds: float
    rates: Mapping[Place, float] = field(default_factory=lambda: {Place.SPOT: 1.0, Place.ON_DEMAND: 3.0})
    now: float = 1_000_000.0
    is_spot_up: bool = True
    cost: float = 0.0
    jobs: dict[str, Submitted] = field(default_factory=dict)
    living: dict[int, tuple[str, int]] = field(default_factory=dict)  # index of the run -> who runs it
    _later: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: Any = field(default_factory=count)
    _hosts: dict[int, str] = field(default_factory=dict)
    _events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.scheduler = Scheduler()
        pool = Pool(instance_type="m5.large", zone="a", vcpus=2, memory_mib=64_000)
        for name, is_spot in (("spot", True), ("on-demand", False)):
            self._do(ev.QueuePut(queue=JobQueue(name=name, environments=(name,))))
            own = ComputeEnvironment(name=name, pools=(pool,), max_vcpus=400, is_spot=is_spot)
            self._do(ev.EnvironmentPut(environment=own))
        self.controller = Controller(store=self.memory, batch=self, records=self)
        self._at(self.rng.expovariate(1 / self.spot_up_seconds), self._spot_falls)
        self._at(1.0, self._tick)

    # --- time

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.now + seconds, next(self._order), what))

    def run_until(self, is_over: Callable[[], bool], latest: float) -> None:
        while not is_over() and self.now < latest:
            wakeup = self.scheduler.next_wakeup
            at = self._later[0][0]
            if wakeup is not None and wakeup <= at:
                self.now = max(self.now, wakeup)
                self._do(ev.TimePassed())
                continue
            self.now, _, what = heapq.heappop(self._later)
            what()

    def _tick(self) -> None:
        """A tick a minute; one in ten is lost, yet never two in a row, and one may be late."""
        is_lost = self.rng.random() < 0.1
        self._at((120.0 if is_lost else 60.0) + self.rng.uniform(0, 14), self._tick)
        self._invoke(lambda: self.controller.tick(self.now))

    def _invoke(self, what: Callable[[], object]) -> None:
        was_spared = self.faults.is_spared
        try:
            what()
        except (KilledError, Unavailable):
            return
        if was_spared:
            self.faults.is_spared = False

    # --- Spot

    def _spot_falls(self) -> None:
        self.is_spot_up = False
        for host_no, name in list(self._hosts.items()):
            if name == "spot":
                self._notice(host_no)
        self._at(self.rng.expovariate(1 / self.spot_down_seconds), self._spot_comes)

    def _spot_comes(self) -> None:
        self.is_spot_up = True
        self._at(self.rng.expovariate(1 / self.spot_up_seconds), self._spot_falls)

    def _notice(self, host_no: int) -> None:
        self._do(ev.HostNoticed(host_no=host_no))
        for job_no, index, attempt in self.scheduler.host_units(host_no):
            if self.rng.random() < 0.7:  # the runtime saves and leaves
                self._at(self.rng.uniform(1, 20), lambda u=(job_no, index, attempt): self._leave(*u))  # type: ignore[misc]
        self._at(NOTICE_SECONDS, lambda: self._take(host_no))

    def _leave(self, job_no: int, index: int, attempt: int) -> None:
        self._end(job_no, index, attempt, exit_code=EXIT_INTERRUPTED, is_saved=True)

    def _take(self, host_no: int) -> None:
        if host_no not in self._hosts or host_no not in self.scheduler.state.hosts:
            return
        for job_no, index, attempt in self.scheduler.host_units(host_no):
            self._end(job_no, index, attempt, status_reason=host_terminated(f"i-{host_no:017x}"), is_saved=False)
        self._hosts.pop(host_no, None)
        self._do(ev.HostEnded(host_no=host_no))

    # --- what AWS Batch commands

    def _do(self, event: ev.Event) -> None:
        for command in self.scheduler.handle(event, self.now):
            self._obey(command)

    def _obey(self, command: ev.Command) -> None:
        match command:
            case ev.LaunchHost(host_no=host_no, environment=name):
                if name == "spot" and not self.is_spot_up:
                    self._at(5.0, lambda: self._do(ev.HostEnded(host_no=host_no, relaunch_seconds=120.0)))
                else:
                    self._hosts[host_no] = name
                    self._at(self.rng.uniform(60, BOOT_SECONDS), lambda: self._boot(host_no))
            case ev.TerminateHost(host_no=host_no):
                self._hosts.pop(host_no, None)
                self._at(1.0, lambda: self._do(ev.HostEnded(host_no=host_no)))
            case ev.StartAttempt(job_no=job_no, index=index, attempt=attempt):
                self._start(job_no, index, attempt)
            case ev.StopAttempt(job_no=job_no, index=index, attempt=attempt):
                self._at(
                    self.rng.uniform(1, 30),
                    lambda: self._end(job_no, index, attempt, exit_code=EXIT_INTERRUPTED, is_saved=True),
                )
            case ev.UnitEnded(job_no=job_no, status=JobStatus.FAILED):
                self._tell(job_no)
            case _:
                pass

    def _boot(self, host_no: int) -> None:
        if host_no in self._hosts:
            self._do(ev.HostStarted(host_no=host_no))

    def _tell(self, job_no: int) -> None:
        """FAILED: told never, once or twice, at once or late."""
        submitted = self._by_number(job_no)
        run_id = next(iter(self.memory.runs))
        assert submitted is not None
        for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
            self._at(self.rng.uniform(0, 90), lambda: self._invoke(lambda: self.controller.heard(run_id, self.now)))

    def _by_number(self, job_no: int) -> Submitted:
        return next(each for each in self.jobs.values() if each.number == job_no)

    # --- attempts

    def _start(self, job_no: int, child: int, attempt: int) -> None:
        self._do(ev.AttemptStarted(job_no=job_no, index=child, attempt=attempt))
        job = self._by_number(job_no)
        index = job.indexes.at(child)
        assert index is not None
        who = (f"{job_no}", attempt)
        assert index not in self.living, f"index {index} lives twice: {self.living[index]} and {who}"
        self.living[index] = who
        unit = self.units[index]
        unit.began_at = self.now
        job.attempts.setdefault(child, []).append(Attempt(started_at=self.now))
        given = {each["type"]: each["value"] for each in job.request["containerOverrides"]["resourceRequirements"]}
        if int(given["MEMORY"]) < unit.memory_mib:
            self._at(
                self.rng.uniform(30, 400),
                lambda: self._end(job_no, child, attempt, exit_code=137, reason=OUT_OF_MEMORY_REASON, is_saved=False),
            )
        else:
            left = START_SECONDS + unit.seconds - unit.kept
            self._at(left, lambda: self._end(job_no, child, attempt, exit_code=0, is_saved=True))

    def _end(
        self,
        job_no: int,
        child: int,
        attempt: int,
        *,
        is_saved: bool,
        exit_code: int | None = None,
        reason: str = "",
        status_reason: str = "",
    ) -> None:
        job = self._by_number(job_no)
        index = job.indexes.at(child)
        assert index is not None
        if self.living.get(index) != (f"{job_no}", attempt):
            return  # it ended before
        unit = self.units[index]
        assert unit.began_at is not None
        worked = max(0.0, self.now - unit.began_at - START_SECONDS)
        kept = worked if is_saved else worked // SAVE_EVERY_SECONDS * SAVE_EVERY_SECONDS
        unit.kept = min(unit.seconds, unit.kept + kept)
        unit.is_finished = unit.is_finished or exit_code == 0
        self.cost += (self.now - unit.began_at) / 3600 * self.rates[job.place]
        unit.began_at = None
        del self.living[index]
        job.attempts[child][-1] = Attempt(
            started_at=job.attempts[child][-1].started_at,
            stopped_at=self.now,
            exit_code=exit_code,
            reason=reason,
            status_reason=status_reason,
        )
        self._do(
            ev.AttemptEnded(
                job_no=job_no,
                index=child,
                attempt=attempt,
                exit_code=exit_code,
                reason=reason,
                status_reason=status_reason,
            )
        )

    # --- the controller's port to AWS Batch

    def submit(self, request: Mapping[str, Any]) -> str:
        return self.faults.around(lambda: self._submit(request))  # type: ignore[no-any-return]

    def _submit(self, request: Mapping[str, Any]) -> str:
        number = len(self.jobs) + 1
        environment = {each["name"]: each["value"] for each in request["containerOverrides"]["environment"]}
        job = Submitted(
            number=number,
            request=request,
            indexes=ArrayIndexes.parse(environment.get(SPOTBATCH_ARRAY_INDEXES, "0")),
            place=Place.SPOT if request["jobQueue"] == "spot" else Place.ON_DEMAND,
            at=self.now,
        )
        self.jobs[f"job-{number}"] = job
        attempts = request.get("retryStrategy", {}).get("attempts", 10)
        self._do(
            ev.JobSubmitted(
                job_no=number,
                queue=request["jobQueue"],
                size=job.size,
                requirements=ResourceRequirements(vcpus=1, memory_mib=1000),
                retry=spot_safe(attempts) if attempts else RetryStrategy(),
            )
        )
        return f"job-{number}"

    def tagged(self, queue: str, name: str, tags: Mapping[str, str]) -> Sequence[str]:
        assert name
        return self.faults.around(  # type: ignore[no-any-return]
            lambda: [
                job_id
                for job_id, job in self.jobs.items()
                if job.request["jobQueue"] == queue
                and tags.items() <= job.request["tags"].items()
                and self.now - job.at >= LIST_LAG_SECONDS
            ]
        )

    def describe(self, job_ids: Sequence[str]) -> Sequence[Job]:
        return self.faults.around(lambda: [self._described(each) for each in job_ids])  # type: ignore[no-any-return]

    def _described(self, job_id: str) -> Job:
        whole, _, child = job_id.partition(":")
        job = self.jobs[whole]
        is_parent = bool(job.size) and not child
        index = int(child or 0)
        status = self.scheduler.status(job.number, None if is_parent else index)
        attempts = () if is_parent else tuple(job.attempts.get(index, ()))
        return Job(
            id=job_id,
            name="work",
            queue=str(job.request["jobQueue"]),
            definition="d",
            status=status,
            status_reason=self.scheduler.status_reason(job.number, None if is_parent else index),
            stopped_at=attempts[-1].stopped_at if attempts and status.is_terminal else None,
            attempts=attempts,
            array=ArrayProperties(size=job.size, status_summary=self.scheduler.summary(job.number))
            if is_parent
            else None,
            array_index=index if child else None,
            is_terminated=index in job.terminated,
        )

    def children(self, job_id: str, status: JobStatus) -> Sequence[int]:
        job = self.jobs[job_id]
        return self.faults.around(  # type: ignore[no-any-return]
            lambda: [index for index in range(job.size) if self.scheduler.status(job.number, index) is status]
        )

    def terminate(self, job_ids: Sequence[str], reason: str) -> None:
        for each in job_ids:
            self.faults.around(partial(self._terminate, each, reason))

    def _terminate(self, job_id: str, reason: str) -> None:
        whole, _, child = job_id.partition(":")
        job = self.jobs[whole]
        index = int(child) if child else None
        for each in range(max(1, job.size)) if index is None else (index,):
            if not self.scheduler.status(job.number, each).is_terminal:
                job.terminated.add(each)
        self._do(ev.JobTerminated(job_no=job.number, index=index, reason=reason))

    # --- the controller's port to the artifacts

    def work_of(self, run: Run, index: int, now: float) -> Work:
        assert run
        unit = self.units[index]
        if unit.began_at is None:
            return Work(kept_seconds=unit.kept, worked_seconds=unit.kept) if unit.kept else NOTHING_DONE
        since = max(0.0, now - unit.began_at - START_SECONDS)
        saved = since // SAVE_EVERY_SECONDS * SAVE_EVERY_SECONDS
        return Work(kept_seconds=unit.kept + saved, worked_seconds=unit.kept + since)

    def has_any(self, run: Run) -> bool:
        assert run
        return self.faults.around(lambda: any(job.attempts for job in self.jobs.values()))  # type: ignore[no-any-return]

    def tell(self, run: Run) -> None:
        self._events = [note.text for note in run.notes]

    def begin(self, run: Run) -> None:
        """Put a run under control, as `submit` does."""
        self.memory.runs[run.run_id] = run
        assert all(request_of(run, move) for move in run.moves)
