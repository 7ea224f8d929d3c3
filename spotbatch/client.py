"""The Python client: submit work, follow it, fetch its results and its bill, from a program.

Everything is typed and nothing is printed. A `Client` and its `Run`s may be shared between threads. Their methods
block, like boto3's: from asyncio call them in a thread, as in `await asyncio.to_thread(run.wait, timeout=3600)`.
"""

import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from spotbatch.aws import session as aws_session
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.logs import LogEvent
from spotbatch.batch.errors import InvalidInput, JobFailed, Unavailable
from spotbatch.batch.job import Job, JobRequest
from spotbatch.batch.status import JobStatus
from spotbatch.controller.run import Outcome
from spotbatch.runs import (
    artifact_store,
    bill,
    cancel,
    control,
    control_story,
    endpoint,
    logs,
    lookup,
    parse,
    retry,
    submit,
)
from spotbatch.runs.bill import Bill
from spotbatch.runs.code import pack
from spotbatch.runs.control_story import ControlStory
from spotbatch.runs.follow import Failure, Following, Look
from spotbatch.runs.inputs import Inputs, input_names
from spotbatch.runs.manifest import RunManifest, unit_at
from spotbatch.runs.request import JobOptions
from spotbatch.runs.results import Results, collect
from spotbatch.runs.tracker import Progress, Tracker
from spotbatch.runs.units import FailedUnit, failed_of

if TYPE_CHECKING:
    from boto3.session import Session

    from spotbatch.mapped import Mapped

_REASON: Final = "cancelled by a program"
_CONTROL_SECONDS: Final = 2.0  # between the end of a run's jobs and what the controller does next


class ControlOptions(TypedDict, total=False):
    """What `Client.submit` takes besides the job itself, kept by the controller (docs/controller.md).

    deadline: done within this time, in seconds or as text ("6h"); `work` is how long one job or child takes on one host
        without interruption, `changeover` the time from a new host's launch to progress (default: ten minutes).
    on_demand_after: after so many losses on Spot a child runs on demand, 1 to 10.
    on_demand_queue: in the local region, instead of the stack's.
    grow_memory: "2x", or "2x:16G" with a limit: what was killed for memory comes back with more.
    max_usd: save and stop the run before it costs more; `Run.retry(max_usd=...)` resumes it.
    """

    deadline: str | float | None
    work: str | float | None
    changeover: str | float | None
    on_demand_after: int | None
    on_demand_queue: str | None
    grow_memory: str | None
    max_usd: Decimal | float | str | None


@dataclass(kw_only=True)
class _Place:
    """Where a client works: the connection, the queue, and the AWS Batch client, created on first use."""

    connection: aws_session.Connection | None
    stack: str | None
    queue: str | None
    definition: str | None
    _making: threading.Lock = field(default_factory=threading.Lock)
    _jobs: Jobs | None = None

    def connected(self) -> AbstractContextManager[None]:
        """Within this context, this thread uses the connection."""
        return aws_session.connected(self.connection)

    def jobs(self) -> Jobs:
        """AWS Batch's operations there. Call within `connected`."""
        with self._making:
            if self._jobs is None:
                self._jobs = Jobs()
            return self._jobs


class Client:
    """AWS Batch, in the cloud or in the local region on this machine.

    Args:
        local: work in the local region that `spotbatch local up` started, as with SPOTBATCH_LOCAL=1.
        session: a boto3.Session to use instead of this process's AWS settings.
        stack: the stack that provides queue and definition; not needed if there is only one.
        queue: a job queue, instead of the stack's.
        definition: a job definition, instead of the stack's.

    Raises NotFound or Unavailable if no local region is running. Every method raises subclasses of `SpotbatchError`:
    InvalidInput, NotFound, Unavailable (its text says whether it may be temporary), JobFailed.
    """

    def __init__(
        self,
        *,
        local: bool = False,
        session: "Session | None" = None,
        stack: str | None = None,
        queue: str | None = None,
        definition: str | None = None,
    ) -> None:
        if local and session is not None:
            raise InvalidInput("a Client works in the local region (local=True) or with a session: give one of them")
        if session is not None:
            connection: aws_session.Connection | None = aws_session.Connection(session=session)
        else:
            connection = endpoint.local_connection() if local or endpoint.wants_local() else None
        self._at = _Place(connection=connection, stack=stack, queue=queue, definition=definition)

    def submit(
        self,
        command: Sequence[str] | JobRequest,
        *,
        name: str | None = None,
        array: int | None = None,
        inputs: "str | PathLike[str] | Sequence[str] | None" = None,
        code: "str | PathLike[str] | None" = None,
        vcpus: int | None = None,
        memory: str | int | None = None,
        gpus: int | None = None,
        retries: int | None = None,
        timeout: str | float | None = None,
        env: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        after: "Sequence[str | Run]" = (),
        after_each: "Sequence[str | Run]" = (),
        sequential: bool = False,
        queue: str | None = None,
        definition: str | None = None,
        check: bool = True,
        **wishes: Unpack[ControlOptions],
    ) -> "Run":
        """Send a command to AWS Batch: one job, an array, or one child per input, with `spotbatch submit`'s defaults.

        Args:
            command: the words of the command, e.g. ["python", "work.py"]; () for the definition's own. Or a JobRequest
                of `request`, which is sent as it is.
            name: the job's name; derived from the command if omitted.
            array: the number of children, 2 to 10,000.
            inputs: one child per input, which it finds in $SPOTBATCH_INPUT: a file of lines, a pattern of files, a
                prefix on S3 (s3://bucket/raw/), or the inputs themselves in a list.
            code: a folder to send with the job; the command runs in it.
            memory: MiB, or as text: "512M", "4G".
            retries: after lost hosts and interruptions, 0 to 9.
            timeout: of each attempt, in seconds, or as text: "90", "15m", "2h"; at least a minute.
            after: runs, or names or ids of runs, that must succeed before this one starts.
            after_each: arrays of the same size: child i starts after child i of each.
            sequential: child i starts after child i-1.
            check: refuse, before sending, what no host of the queue could run.
            wishes: what the controller does: `ControlOptions`.
        """
        with self._at.connected():
            if isinstance(command, JobRequest):
                return Run(self._at, submit.send(self._at.jobs(), submit.Submission(request=command)))
            options = JobOptions(
                command=_words(command),
                name=name,
                array=array,
                inputs=fspath(inputs) if isinstance(inputs, str | PathLike) else None,
                code=fspath(code) if code is not None else None,
                vcpus=vcpus,
                memory_mib=parse.memory_mib(memory) if isinstance(memory, str) else memory,
                gpus=gpus,
                retries=retries,
                timeout_seconds=_seconds(timeout),
                env=dict(env or {}),
                parameters=dict(parameters or {}),
                tags=dict(tags or {}),
                after=tuple(one for each in after for one in self._waited_for(each)),
                after_each=tuple(_name_of(each) for each in after_each),
                is_sequential=sequential,
                queue=queue or self._at.queue,
                definition=definition or self._at.definition,
                stack=self._at.stack,
            )
            listed = None if inputs is None or isinstance(inputs, str | PathLike) else Inputs.of_lines(inputs)
            return self._send(_with_control(options, wishes), listed, is_checked=check)

    def _send(self, options: JobOptions, listed: Inputs | None, *, is_checked: bool) -> "Run":
        jobs = self._at.jobs()
        prepared = submit.prepare(options, jobs=jobs, listed=listed, is_checked=is_checked)
        if (controller := control.control_of(options, prepared.request)) is not None:
            wanted = control.run_of(options, prepared, controller, jobs, now=time.time())
            return Run(self._at, control.manifest(control.submit(jobs, prepared, wanted, controller)))
        return Run(self._at, submit.send(jobs, prepared))

    def map(
        self,
        function: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        name: str | None = None,
        code: "str | PathLike[str] | None" = None,
        vcpus: int | None = None,
        memory: str | int | None = None,
        gpus: int | None = None,
        tries: int = 1,
        retries: int | None = None,
        timeout: str | float | None = None,
        env: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        python: str | None = None,
        return_exceptions: bool = False,
    ) -> "Mapped":
        """Call a function with each item, one job per item, on Spot; returns an iterator over the results, in order.

        Function and items are pickled by cloudpickle. The job's Python must be the same (3.12 and 3.12, say), which the
        job checks; what the function imports must be in its image, or in the folder `code`.

        Args:
            name: the jobs' name; the function's name if omitted.
            code: a folder of modules that the function imports, sent with the jobs.
            tries: how often the function is called for an item, with growing pauses, before its exception counts.
            retries: after lost hosts and interruptions, 0 to 9.
            python: the job's Python (default: python3; in the local region this one).
            return_exceptions: exceptions from the function are returned as results instead of being raised here.

        The other arguments are those of `submit`. Raises InvalidInput for anything that cannot be pickled.
        """
        from spotbatch.mapped import Mapped
        from spotbatch.runs import function_call

        listed = list(items)
        if not listed:
            return Mapped(None, count=0, return_exceptions=return_exceptions, store=None)
        with self._at.connected(), function_call.items_folder() as folder:
            jobs = self._at.jobs()
            packed = pack(Path(code)) if code is not None else None
            call = function_call.prepared(function, listed, tries=tries, code=packed, folder=Path(folder))
            options = JobOptions(
                command=(python or (sys.executable if aws_session.is_local() else "python3"), function_call.PROGRAM),
                name=name or function_call.function_name(function),
                vcpus=vcpus,
                memory_mib=parse.memory_mib(memory) if isinstance(memory, str) else memory,
                gpus=gpus,
                retries=retries,
                timeout_seconds=_seconds(timeout),
                env=dict(env or {}),
                tags=dict(tags or {}),
                queue=self._at.queue,
                definition=self._at.definition,
                stack=self._at.stack,
            )
            prepared = submit.prepare(options, jobs=jobs, listed=call.inputs, packed=call.code)
            made = Run(self._at, submit.send(jobs, prepared))
            store = artifact_store.store_of(jobs.get(made.job_ids[0]), stack=self._at.stack)
            return Mapped(made, count=len(listed), return_exceptions=return_exceptions, store=store)

    def run(self, named: str) -> "Run":
        """The run identified by a name, a run id, a job id or the first digits of one: always the whole run.

        Among runs with the same name it is the newest. Raises NotFound, or InvalidInput for an ambiguous id prefix.
        """
        with self._at.connected():
            jobs = self._at.jobs()
            ids = lookup.job_ids(named, jobs=jobs, stack=self._at.stack, queue=self._at.queue)
            found = lookup.run_jobs(jobs, jobs.get(ids[-1].partition(":")[0]), stack=self._at.stack)
            return Run(self._at, RunManifest.of_jobs(artifact_store.run_id(found[0]), found))

    def _waited_for(self, named: "str | Run") -> list[str]:
        jobs = self._at.jobs()
        if isinstance(named, Run):
            return lookup.open_jobs(named.job_ids, jobs=jobs)
        return lookup.to_wait_for(named, jobs=jobs, stack=self._at.stack, queue=self._at.queue)


class Run:
    """Work under one run id: a job, an array, or the arrays that its inputs needed, including everything retried since.

    `id` names it in the artifact store and on the command line; `name` is its jobs' name.
    """

    def __init__(self, at: "_Place", manifest: RunManifest) -> None:
        self._at = at
        self._manifest = manifest
        self._ended: dict[str, Job] = {}  # jobs seen to have ended: later answers that lag behind are ignored

    @property
    def id(self) -> str:
        """The run's id: for a single job or array, the job's own."""
        return self._manifest.run_id

    @property
    def name(self) -> str:
        """The name of its jobs."""
        return self._manifest.name

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The ids of its jobs in AWS Batch as of the last call, oldest first."""
        return tuple(self._manifest.job_ids)

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, name={self.name!r}, jobs={len(self.job_ids)})"

    def progress(self) -> Progress:
        """Its current state: counts by status and events so far. One call for up to a hundred jobs."""
        with self._at.connected():
            tracker = Tracker(ids=self.job_ids)
            tracker.take(self._at.jobs().describe(self.job_ids), time.time())
            return tracker.progress()

    def follow(self, *, timeout: float | None = None) -> Iterator[Look]:
        """Yield its changes until it ends, each once: counts, failures as they happen, lastly a look with `is_last`.

        At most one API call a second, at any size. Raises TimeoutError after `timeout` seconds; the work continues.
        """
        return aws_session.connected_steps(self._at.connection, self._changes(_Alarm(timeout, self)))

    def wait(self, timeout: float | None = None, *, check: bool = True) -> Progress:
        """Wait until it has ended. Raises TimeoutError after `timeout` seconds; the work continues.

        Raises JobFailed if some of it FAILED and was not retried since, unless `check` is False.
        """
        last = None
        for look in self.follow(timeout=timeout):
            last = look
        assert last is not None  # noqa: S101 - following ends with a look
        if check and control_story.is_controlled(last.jobs):
            self._check_control()
        elif check and any(job.status is JobStatus.FAILED for job in last.jobs):
            with self._at.connected():
                left = len(failed_of(self._at.jobs(), last.jobs))
            if left:
                raise JobFailed(f"{left:,} of {last.progress.total:,} in run {self.id} FAILED: failures() tells why")
        return last.progress

    def _check_control(self) -> None:
        told = self.control()
        if told is not None and told.outcome == Outcome.STOPPED:
            raise JobFailed(f"run {self.id} was saved and stopped by its budget: retry(max_usd=...) resumes it")
        if told is not None and told.outcome == Outcome.FAILED:
            raise JobFailed(f"{told.failed:,} in run {self.id} FAILED: failures() and control() tell why")

    def results(self, folder: "str | PathLike[str]", *, on_bytes: Callable[[int], None] = lambda _: None) -> Results:
        """Fetch its outputs into a folder, with a subfolder per child index, and verify their checksums.

        Files already there and correct are not fetched again. `on_bytes` is told, from any thread, of bytes received.
        Raises NotFound if it has no outputs.
        """
        with self._at.connected():
            return collect(self._jobs(), Path(folder), stack=self._at.stack, on_bytes=on_bytes)

    def cost(self) -> Bill:
        """What its hosts cost so far, the same work on demand, and what the bill does not cover."""
        with self._at.connected():
            return bill.bill(self._at.jobs(), self._jobs(), stack=self._at.stack)

    def failures(self) -> list[FailedUnit]:
        """What FAILED and was not retried since, by run index, each with its input if it has one."""
        with self._at.connected():
            found = failed_of(self._at.jobs(), members := self._jobs())
            names = input_names(members[0])
            return [replace(each, input=names.of(each.index)) for each in found]

    def logs(
        self, index: int | None = None, *, attempt: int | None = None, tail: int | None = None
    ) -> Iterator[LogEvent]:
        """What the job, or the child with a run index, wrote in an attempt (default: its last one).

        `tail`: only the last lines, at most 10,000. Raises InvalidInput if the run has children and none is given.
        """
        return aws_session.connected_steps(self._at.connection, self._lines(index, attempt, tail))

    def control(self) -> ControlStory | None:
        """What the controller promised and did: each move and why, deadline, budget. None if it is not under control.

        Raises NotFound, Unavailable.
        """
        with self._at.connected():
            found = control_story.read_story(self._jobs()[-1], self._at.stack)
            return None if found is None else ControlStory.of(found)

    def retry(
        self, *, code: "str | PathLike[str] | None" = None, max_usd: Decimal | float | str | None = None
    ) -> "Run":
        """Retry what FAILED, from its checkpoints; returns the same run. Raises NotFound if nothing has failed.

        Args:
            code: a folder to run in from now on, instead of the one originally sent.
            max_usd: resume what its budget has stopped, with up to this for the whole run.
        """
        if max_usd is not None:
            if code is not None:
                raise InvalidInput("max_usd resumes a run as it was stopped: leave code out")
            with self._at.connected():
                most = parse.usd(str(max_usd))
                resumed = control.resume(self._at.jobs(), self.id, most, stack=self._at.stack)
                self._manifest = control.manifest(resumed)
            return self
        packed = pack(Path(code)) if code is not None else None
        with self._at.connected():
            made = retry.retry_run(self._at.jobs(), self._jobs(), stack=self._at.stack, code=packed)
            self._manifest = replace(self._manifest, parts=(*self._manifest.parts, *made))
        return self

    def cancel(self, reason: str = _REASON) -> tuple[str, ...]:
        """Stop what has not ended: running jobs get SIGTERM and 30 s, checkpoints stay. Returns the job ids."""
        with self._at.connected():
            jobs = self._at.jobs()
            return tuple(job.id for job in self._jobs() if cancel.stop(jobs, job, reason))

    def _jobs(self) -> list[Job]:
        """Its jobs as they are now, including retries by anyone meanwhile."""
        jobs = self._at.jobs()
        if not self.job_ids:
            raise Unavailable(
                f"run {self.id} is under control, and its first job comes within two minutes: client.run({self.id!r})"
            )
        found = lookup.run_jobs(jobs, jobs.get(self.job_ids[-1]), stack=self._at.stack)
        self._manifest = RunManifest.of_jobs(self.id, found)
        return [job if job.status.is_terminal else self._ended.get(job.id, job) for job in found]

    def _changes(self, alarm: "_Alarm") -> Generator[Look, None, None]:
        members = self._jobs()
        while control_story.is_controlled(members):
            if (yield from self._controlled_changes(members, alarm)):
                return
            members = self._jobs()
        ids = [job.id for job in members]
        following = Following(jobs=self._at.jobs(), tracker=Tracker(ids=ids), sleep=alarm.sleep)
        for look in following.looks():
            self._ended |= {job.id: job for job in look.jobs if job.status.is_terminal}
            if look.is_news:
                yield look

    def _controlled_changes(self, members: Sequence[Job], alarm: "_Alarm") -> Generator[Look, None, bool]:
        """Changes of a run's jobs until the controller submits another (False), or the run is over (True).

        Whether a job that FAILED is run again is known at the end only: failures are in the last look.
        """
        following = Following(jobs=self._at.jobs(), tracker=Tracker(ids=[job.id for job in members]), sleep=alarm.sleep)
        failures: tuple[Failure, ...] = ()
        for look in following.looks():
            failures += look.failures
            told = control_story.read_story(members[-1], self._at.stack)
            if told is not None and len(told["parts"]) > len(members):
                return False
            if look.is_last and told is not None and told["outcome"] == Outcome.RUNNING:
                alarm.sleep(_CONTROL_SECONDS)
                return False
            if look.is_last:
                yield replace(look, failures=failures)
            elif look.is_news:
                yield replace(look, failures=())
        return True

    def _lines(self, index: int | None, attempt: int | None, tail: int | None) -> Generator[LogEvent, None, None]:
        jobs, members = self._at.jobs(), self._jobs()
        if index is not None:
            job = jobs.get(unit_at(self._manifest, index))
        elif members[-1].array is None:
            job = members[-1]
        else:
            raise InvalidInput(f"run {self.id} has children: name one by its index, as logs(index=0)")
        yield from logs.lines(job, attempt=attempt, tail=tail)


class _Alarm:
    """A `sleep` that raises TimeoutError once the time is up."""

    def __init__(self, timeout: float | None, run: Run) -> None:
        self._ends_at = None if timeout is None else time.monotonic() + timeout
        self._timeout = timeout
        self._run = run

    def sleep(self, seconds: float) -> None:
        """Sleep this long, or until the time is up. Raises TimeoutError if no time is left."""
        if self._ends_at is None:
            return time.sleep(seconds)
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"run {self._run.id} had not ended after {self._timeout:g} s: it goes on")
        return time.sleep(min(seconds, left))


def _name_of(named: "str | Run") -> str:
    return named.id if isinstance(named, Run) else named


def _words(command: Sequence[str]) -> tuple[str, ...]:
    if isinstance(command, str):
        raise InvalidInput(f"a command is a list of words, as ['python', 'work.py'], not the text {command!r}")
    return tuple(command)


def _seconds(time: str | float | None) -> int | None:
    if isinstance(time, str):
        return parse.seconds(time)
    return None if time is None else round(time)


def _with_control(options: JobOptions, wishes: ControlOptions) -> JobOptions:
    growth = wishes.get("grow_memory")
    return replace(
        options,
        deadline_seconds=_seconds(wishes.get("deadline")),
        work_seconds=_seconds(wishes.get("work")),
        changeover_seconds=_seconds(wishes.get("changeover")),
        on_demand_queue=wishes.get("on_demand_queue"),
        on_demand_after=wishes.get("on_demand_after"),
        grow_memory=parse.growth(growth) if growth is not None else None,
        max_usd=_usd(wishes.get("max_usd")),
    )


def _usd(amount: Decimal | float | str | None) -> Decimal | None:
    return None if amount is None else parse.usd(str(amount))
