"""A builder for tests of the rulebook: a scheduler, a clock, and hosts that boot when told."""

from dataclasses import dataclass, field

from spotbatch.batch.consumable import ConsumableNeed
from spotbatch.batch.job import ResourceRequirements, Vcpus
from spotbatch.batch.placement import ComputeEnvironment, JobQueue, Pool
from spotbatch.batch.retry import RetryStrategy, spot_safe
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import JobStatus, host_terminated

SMALL = Pool(instance_type="c5.large", zone="us-east-1a", vcpus=2, memory_mib=3600, usd_per_hour=0.085, depth=1.0)
LARGE = Pool(instance_type="c5.2xlarge", zone="us-east-1b", vcpus=8, memory_mib=15000, usd_per_hour=0.34, depth=1.0)


@dataclass
class World:
    """Every event goes through `do`, which checks the invariants and remembers the commands."""

    scheduler: Scheduler = field(default_factory=lambda: Scheduler(remember=True))
    now: float = 0.0
    commands: list[ev.Command] = field(default_factory=list)
    last_job: int = 0

    def do(self, *events: ev.Event) -> list[ev.Command]:
        out: list[ev.Command] = []
        for event in events:
            out += self.scheduler.handle(event, self.now)
            self.scheduler.check()
        self.commands += out
        return out

    def wait(self, seconds: float) -> list[ev.Command]:
        """Let time pass, stopping wherever the scheduler asked to be woken."""
        end, out = self.now + seconds, list[ev.Command]()
        while (wakeup := self.scheduler.next_wakeup) is not None and wakeup <= end:
            self.now = max(self.now, wakeup)
            out += self.do(ev.TimePassed())
        self.now = end
        return out

    def put(self, *pools: Pool, queue: JobQueue | None = None, **settings: object) -> None:
        """One queue `q` on one environment `e`, unless told otherwise."""
        environment = ComputeEnvironment(name="e", pools=pools or (SMALL, LARGE), **settings)  # type: ignore[arg-type]
        self.do(ev.QueuePut(queue=queue or JobQueue(name="q", environments=("e",))))
        self.do(ev.EnvironmentPut(environment=environment))

    def submit(
        self,
        *,
        size: int = 0,
        vcpus: Vcpus = 1,
        memory_mib: int = 1000,
        retry: RetryStrategy | None = None,
        dependencies: tuple[ev.ResolvedDependency, ...] = (),
        queue: str = "q",
        timeout_seconds: int | None = None,
        share: str = "",
        priority: int = 0,
        consumables: tuple[ConsumableNeed, ...] = (),
    ) -> int:
        self.last_job += 1
        self.do(
            ev.JobSubmitted(
                job_no=self.last_job,
                queue=queue,
                size=size,
                requirements=ResourceRequirements(vcpus=vcpus, memory_mib=memory_mib),
                retry=retry or spot_safe(),
                dependencies=dependencies,
                timeout_seconds=timeout_seconds,
                share=share,
                priority=priority,
                consumables=consumables,
            )
        )
        return self.last_job

    def boot(self) -> list[ev.Command]:
        """Every host that was asked for comes up."""
        asked = [command.host_no for command in self.commands if isinstance(command, ev.LaunchHost)]
        return self.do(*(ev.HostStarted(host_no=host_no) for host_no in asked if host_no in self.scheduler.state.hosts))

    def running(self) -> list[tuple[int, int, int]]:
        return [unit for host_no in self.scheduler.host_numbers() for unit in self.started_on(host_no)]

    def started_on(self, host_no: int) -> list[tuple[int, int, int]]:
        """(job, index, attempt) of units on a host that has booted."""
        return [unit for unit in self.scheduler.host_units(host_no) if unit[2] and self._is_started(unit)]

    def _is_started(self, unit: tuple[int, int, int]) -> bool:
        return self.scheduler.status(unit[0], unit[1]) in (JobStatus.STARTING, JobStatus.RUNNING)

    def run(self) -> None:
        """What is STARTING becomes RUNNING."""
        self.do(*(ev.AttemptStarted(job_no=job, index=index, attempt=n) for job, index, n in self.running()))

    def finish(self, job: int, index: int = 0, *, exit_code: int | None = 0, reason: str = "") -> list[ev.Command]:
        attempt = self.scheduler.attempts_made(job, index)
        return self.do(ev.AttemptEnded(job_no=job, index=index, attempt=attempt, exit_code=exit_code, reason=reason))

    def finish_all(self, exit_code: int = 0) -> None:
        """Run everything to its end, booting hosts as they are asked for."""
        while True:
            self.boot()
            units = self.running()
            if not units:
                return
            for job, index, _ in units:
                self.finish(job, index, exit_code=exit_code)

    def reclaim(self, host_no: int) -> list[ev.Command]:
        """Notice, then the end of what runs there, then the end of the host."""
        out = self.do(ev.HostNoticed(host_no=host_no))
        for job, index, attempt in self.scheduler.host_units(host_no):
            reason = host_terminated(f"i-{host_no:017x}")
            out += self.do(ev.AttemptEnded(job_no=job, index=index, attempt=attempt, status_reason=reason))
        return out + self.do(ev.HostEnded(host_no=host_no))

    def status(self, job: int, index: int | None = None) -> JobStatus:
        return self.scheduler.status(job, index)
