"""What the endpoint (`local/api`) needs from the engine (`local/engine`), and nothing more.

The endpoint knows HTTP and AWS's formats; the engine knows processes, hosts, time and the journal. Both run in one
asyncio loop. A coroutine here returns once its effect is on disk.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.job import Vcpus
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler.events import JobSubmitted
from spotbatch.batch.status import JobStatus
from spotbatch.local.changes import Observer
from spotbatch.local.faults import NO_FAULTS, FaultPlan
from spotbatch.local.host_view import HostView
from spotbatch.policy.trace import Trace

Json = Mapping[str, object]
Rules = ComputeEnvironment | JobQueue | ConsumableResource  # what the scheduler knows of a document

# The kind of the documents {"name", "userData"}, by launch template id: the engine reads the ECS agent's settings.
LAUNCH_TEMPLATE: Final = "launch-template"


def launch_template_of(documents: Mapping[str, Json], named: Mapping[str, str]) -> Json | None:
    """The document of a loaded stack's launch template that a compute environment names by its id or its name."""
    for key, body in documents.items():
        if key == named.get("launchTemplateId") or body.get("name", key) == named.get("launchTemplateName"):
            return body
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """One filter of ListJobs, on a column of the journal's jobs."""

    member: Literal["name", "definition", "share", "created_at"]  # a definition as name:revision
    value: str | float
    is_prefix: bool = False  # names and definitions
    is_after: bool = False  # for a time: later than it; otherwise earlier


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlace:
    """Where a page of a list ended: its last job."""

    job_id: str
    created_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerSpec:
    """What runs for each attempt, with `Ref::` parameters and overrides already applied."""

    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int = 2048
    vcpus: Vcpus = 1
    gpus: int = 0
    log_group: str = "/aws/batch/job"
    log_stream_prefix: str = "job"  # streams are named `<prefix>/default/<task id>`
    secrets: Mapping[str, str] = field(default_factory=dict)  # variables whose values are fetched at each start
    stop_timeout: int | None = None  # seconds from SIGTERM to SIGKILL; None: the default
    start_error: str = ""  # why ECS accepts no task of this job: each attempt fails with it, and nothing is run


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """An accepted SubmitJob. `described` is the constant part of DescribeJobs' response, as JSON."""

    job_id: str
    name: str
    queue: str
    created_at: float
    rules: JobSubmitted  # job_no is 0 here: the engine assigns the number
    container: ContainerSpec
    described: Json
    depends_on_ids: tuple[str, ...] = ()  # in the order of rules.dependencies; "" for SEQUENTIAL


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptView:
    """One attempt of a unit, from the journal. Times are UTC epoch seconds."""

    attempt: int
    started_at: float | None
    stopped_at: float | None
    exit_code: int | None
    reason: str
    status_reason: str
    log_stream: str
    instance_id: str
    environment: str = ""  # the host's compute environment


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitView:
    """The changing part of a job or a child: merge it into `described`."""

    status: JobStatus
    status_reason: str = ""
    created_at: float
    started_at: float | None = None
    stopped_at: float | None = None
    attempts: Sequence[AttemptView] = ()
    is_cancelled: bool = False
    is_terminated: bool = False
    array_index: int | None = None
    array_size: int | None = None  # of a parent, or of a child's parent
    summary: Mapping[JobStatus, int] | None = None  # parents only


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageEntry:
    """What represents container images on this machine: one row of the settings' image table."""

    pattern: str  # shell-style, matched against the whole image name including the tag; the first match applies
    entry_point: tuple[str, ...] = ()  # precedes the command, like an image's ENTRYPOINT
    path: tuple[str, ...] = ()  # folders prepended to PATH
    working_directory: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineSettings:
    """The engine's settings when the region starts: `local/engine` provides `open_engine(settings)`."""

    home: Path  # journal, logs and notices are stored below it; the folder exists, and no other region uses it
    artifacts: Path  # the local artifact store, for hosts' records
    account_id: str = "123456789012"
    region: str = "us-east-1"
    job_environment: Mapping[str, str] = field(default_factory=dict)  # endpoint, credentials, PATH: for every job
    images: tuple[ImageEntry, ...] = ()
    notice_seconds: float = 120.0
    boot_seconds: float = 1.0
    idle_seconds: float = 60.0
    stop_grace_seconds: float = 30.0
    keep_jobs_seconds: float | None = 7 * 86_400.0  # ended jobs are forgotten after this time; None: never
    utc: Callable[[], float] = time.time  # UTC epoch seconds
    vcpu_quota: int | None = None  # vCPUs of all hosts together, whatever the environments' maximums
    is_quota_of_machine: bool = False  # the quota is a default: a job that needs a larger host gets one
    draining: Literal["template", "on", "off"] = "template"  # whether hosts under notice get no new jobs
    reclaims_per_host_hour: float = 0.0
    traces: tuple[Trace, ...] = ()  # of Spot capacity; they take precedence over the rate
    trace_speed: float = 1.0  # seconds of a trace that pass per real second
    seed: int = 0
    runner: Literal["process", "docker", "auto"] = "process"
    metadata_url: str = ""  # hosts' metadata services are below it, by instance id; "" for none
    faults: FaultPlan = NO_FAULTS  # faults that affect attempts and hosts; determined by `seed`
    observers: tuple[Observer, ...] = ()  # receivers of changes: see spotbatch.local.changes
    is_observed: Callable[[], bool] = lambda: True  # whether any of them currently wants anything
    secret_of: Callable[[str], str | None] = lambda _value_from: None  # resolves a secret's `valueFrom`


class Engine(Protocol):
    """The engine's interface. Unknown ids raise NotFound; invalid values InvalidInput.

    Created by `async def open_engine(settings: EngineSettings) -> Engine` in `spotbatch.local.engine`.
    """

    async def close(self) -> None:
        """End all attempts and hosts, flush and close the journal. Accepted jobs are resumed at the next start."""
        ...

    async def failed(self) -> None:
        """Waits until the engine cannot continue (its journal is damaged), then raises Unavailable."""
        ...

    # control plane: documents are stored whole for the endpoint; the rules' view goes to the scheduler
    def resources(self, kind: str) -> Mapping[str, Json]:
        """All resources of a kind (compute-environment, job-queue, job-definition, scheduling-policy, stack, ...)."""
        ...

    async def put_resource(self, kind: str, name: str, body: Json, *, rules: Rules | None = None) -> None:
        """Store a document; with `rules`, inform the scheduler too. Without, the scheduler's view is unchanged."""
        ...

    async def delete_resource(self, kind: str, name: str) -> None: ...

    # jobs
    async def submit(self, submission: Submission) -> None: ...

    async def cancel(self, job_id: str, reason: str) -> None: ...

    async def terminate(self, job_id: str, reason: str) -> None: ...

    def described(self, job_id: str) -> Json:
        """The constant part; the parent's if the id names a child (`id:index`)."""
        ...

    def view(self, job_id: str) -> UnitView:
        """The changing part of a job, an array parent or a child (`id:index`)."""
        ...

    def still_holds(self, job_id: str, view: UnitView) -> bool:
        """Whether an earlier view of a job that had not ended would still be the same; cheaper than a new one."""
        ...

    def list_jobs(
        self, *, queue: str | None = None, array_job_id: str | None = None, status: JobStatus | None = None
    ) -> Sequence[str]:
        """Job ids, newest first; children by index."""
        ...

    def find_jobs(
        self,
        *,
        queue: str,
        status: JobStatus | None = None,
        where: JobFilter | None = None,
        after: JobPlace | None = None,
        limit: int,
    ) -> Sequence[str]:
        """Ids of a queue's jobs, newest first, after a given position; at most `limit`."""
        ...

    def front_of_queue(self, queue: str, *, limit: int = 100) -> Sequence[tuple[str, float]]:
        """(job or child id, RUNNABLE since when) of the first RUNNABLE ones, in dispatch order."""
        ...

    def queue_usage(self, queue: str) -> tuple[Vcpus, Mapping[str, Vcpus]]:
        """The vCPUs currently used by a queue's jobs, in total and per share; no shares without fair share."""
        ...

    def environment_vcpus(self, name: str) -> Vcpus:
        """The vCPUs of a compute environment's hosts, booting or running; 0 if it does not exist."""
        ...

    def consumable_in_use(self, name: str) -> int:
        """How much of a consumable resource jobs hold or have used up; 0 if it does not exist."""
        ...

    def jobs_consuming(self, name: str) -> Sequence[str]:
        """Ids of the jobs that need some of a consumable resource, newest first, whatever their status."""
        ...

    def jobs_forgotten(self) -> int:
        """How many ended jobs have been forgotten since the start: a kept answer about one of them no longer holds."""
        ...

    def job_of_stream(self, log_stream: str) -> str | None:
        """The job or child that wrote a log stream."""
        ...

    # logs: not JSON lines, but the raw text with the time of each line's arrival
    def log_streams(self, log_group: str, prefix: str = "") -> Mapping[str, float]:
        """The streams of a group and when each began, ordered by their ends: running ones come last."""
        ...

    def read_log(
        self, log_stream: str, *, offset: int = 0, limit: int = 10_000
    ) -> tuple[Sequence[tuple[float, str]], int]:
        """(time, line) pairs from a byte offset on, and the offset after them. At most `limit` lines."""
        ...

    def read_log_back(
        self, log_stream: str, *, stop: int | None = None, limit: int = 10_000
    ) -> tuple[int, Sequence[tuple[float, str]], int]:
        """The last `limit` lines before a byte offset (None: the end), with their start and end offsets."""
        ...

    # hosts and Spot
    def hosts(self) -> Sequence[HostView]: ...

    def living_hosts(self) -> Sequence[HostView]:
        """Those of `hosts` that have not ended, without reading the past ones from the journal."""
        ...

    def vcpus(self) -> tuple[Vcpus, int | None]:
        """vCPUs of all hosts that were launched and have not ended, and their limit (None: no limit)."""
        ...

    async def interrupt(
        self, *, instance_ids: Sequence[str] = (), count: int = 0, notice_seconds: float | None = None
    ) -> Sequence[str]:
        """Send these hosts, or `count` hosts with running attempts (oldest first), the notice, then reclaim them."""
        ...

    def changes(self) -> AsyncIterator[None]:
        """Yields whenever something has changed; for live views. Bursts are merged."""
        ...
