"""What the scheduler knows: jobs, queues, hosts and timers, before any rule is applied to them."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.fleet import Fleet, Host
from spotbatch.batch.scheduler.job_record import JobRecord
from spotbatch.batch.scheduler.queue_order import QueueRecord

UNLIMITED: Final = 1 << 60
_STORY_EVENTS: Final = 2_000


class Books:
    """The scheduler's state, with the look-ups that every chapter of the rules needs."""

    def __init__(self, *, quota_vcpus: int | None, remember: bool) -> None:
        self.quota_vcpus = UNLIMITED if quota_vcpus is None else quota_vcpus
        self.jobs: dict[int, JobRecord] = {}
        self.fleets: dict[str, Fleet] = {}
        self.queues: dict[str, QueueRecord] = {}
        self.hosts: dict[int, Host] = {}
        self.placed: dict[int, Host | None] = {}  # unit key -> host: bound, starting or running there
        self.launched_vcpus = 0
        self.recent: deque[tuple[float, ev.Event]] | None = deque(maxlen=_STORY_EVENTS) if remember else None
        self.timers: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._timer_no = 0
        self.deadlines: dict[int, dict[int, float]] = {}  # by timeout: unit key -> when it is over, the first first
        self._host_no = 0
        self._now = 0.0
        self._out: list[ev.Command] = []
        self._shapes: dict[ResourceRequirements, int] = {}

    def _run_timers(self) -> None:
        while self.timers and self.timers[0][0] <= self._now:
            _, _, rule, arguments = heapq.heappop(self.timers)
            rule(*arguments)

    def _wake_at(self, when: float, rule: Callable[..., None], *arguments: Any) -> None:
        self._timer_no += 1
        heapq.heappush(self.timers, (when, self._timer_no, rule, arguments))

    def _record(self, job_no: int) -> JobRecord:
        record = self.jobs.get(job_no)
        if record is None:
            raise NotFound(f"there is no job {job_no}")
        return record

    def _host(self, host_no: int) -> Host:
        host = self.hosts.get(host_no)
        if host is None:
            raise NotFound(f"there is no host {host_no}")
        return host

    def _shape(self, needs: ResourceRequirements) -> int:
        """A number of its own for each kind of request, in the order in which they first came."""
        return self._shapes.setdefault(needs, len(self._shapes))

    def _wire(self) -> None:
        """A queue or an environment came, changed or went: work out anew who uses what.

        Disabled queues count too: they take no new jobs, but run those that they have.
        """
        by_priority = sorted(self.queues.values(), key=lambda state: -state.queue.priority)
        for fleet in self.fleets.values():
            fleet.queues = [state for state in by_priority if fleet.environment.name in state.queue.environments]
        for state in by_priority:
            state.fleets = [self.fleets[name] for name in state.queue.environments if name in self.fleets]
