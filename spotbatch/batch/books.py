"""What the scheduler knows: jobs, queues, hosts and timers, before any rule is applied to them."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from spotbatch.batch import events as ev
from spotbatch.batch.errors import NotFound
from spotbatch.batch.fleet import Fleet, Host
from spotbatch.batch.ledger import JobRecord
from spotbatch.batch.line import FairOrder, FifoOrder, Unit
from spotbatch.batch.placement import JobQueue

_UNLIMITED: Final = 1 << 60
_STORY_EVENTS: Final = 2_000


class QueueRecord:
    """A job queue at work: its order, and whether its head waits for something that is not there."""

    __slots__ = ("blocked_head", "blocked_since", "order", "queue", "waiting_vcpus")

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue
        self.order: FifoOrder | FairOrder = FairOrder(queue.fair_share) if queue.fair_share else FifoOrder()
        self.waiting_vcpus = 0  # of all units in the line
        self.blocked_head: Unit | None = None
        self.blocked_since = 0.0


class Books:
    """The scheduler's state, with the look-ups that every chapter of the rules needs."""

    def __init__(self, *, quota_vcpus: int | None, remember: bool) -> None:
        self.quota_vcpus = _UNLIMITED if quota_vcpus is None else quota_vcpus
        self.jobs: dict[int, JobRecord] = {}
        self.fleets: dict[str, Fleet] = {}
        self.queues: dict[str, QueueRecord] = {}
        self.hosts: dict[int, Host] = {}
        self.placed: dict[int, Host | None] = {}  # unit key -> host: bound, starting or running there
        self.launched_vcpus = 0
        self.recent: deque[tuple[float, ev.Event]] | None = deque(maxlen=_STORY_EVENTS) if remember else None
        self._timers: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._timer_no = 0
        self._host_no = 0
        self._now = 0.0
        self._out: list[ev.Command] = []
        self._queues_by_fleet: dict[str, list[QueueRecord]] = {}  # both caches are dropped when either side changes
        self._fleets_by_queue: dict[str, list[Fleet]] = {}

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self._now:
            _, _, rule, arguments = heapq.heappop(self._timers)
            rule(*arguments)

    def _wake_at(self, when: float, rule: Callable[..., None], *arguments: Any) -> None:
        self._timer_no += 1
        heapq.heappush(self._timers, (when, self._timer_no, rule, arguments))

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

    def _fleets_of(self, state: QueueRecord) -> list[Fleet]:
        """The fleets of a queue's environments, in the queue's order."""
        name = state.queue.name
        found = self._fleets_by_queue.get(name)
        if found is None:
            found = [self.fleets[each] for each in state.queue.environments if each in self.fleets]
            self._fleets_by_queue[name] = found
        return found

    def _queues_on(self, fleet: Fleet) -> list[QueueRecord]:
        """Enabled or not (a disabled queue takes no new jobs, but runs those it has), the higher priority first."""
        name = fleet.environment.name
        found = self._queues_by_fleet.get(name)
        if found is None:
            found = [state for state in self.queues.values() if name in state.queue.environments]
            found.sort(key=lambda state: -state.queue.priority)
            self._queues_by_fleet[name] = found
        return found

    def _wiring_changed(self) -> None:
        self._queues_by_fleet.clear()
        self._fleets_by_queue.clear()
