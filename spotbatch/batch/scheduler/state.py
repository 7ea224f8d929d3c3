"""What the scheduler knows: jobs, queues, hosts and timers. The rules are functions over it, in the other modules."""

import heapq
from collections import deque
from enum import IntEnum
from typing import Any, Final

from spotbatch.batch.consumable import ConsumableNeed
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import ResourceRequirements, Vcpus
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.scheduler.consumable_book import ConsumableBook
from spotbatch.batch.scheduler.fleet import Fleet, Host
from spotbatch.batch.scheduler.job_record import JobRecord
from spotbatch.batch.scheduler.queue_order import QueueRecord

UNLIMITED: Final = 1 << 60
_STORY_EVENTS: Final = 2_000


class Timer(IntEnum):
    """What to check when a timer is due, and with which arguments."""

    IDLE = 0  # a host, and since when it has been idle
    REFILL = 1  # a fleet one of whose pools may have capacity again
    TIME_LIMIT = 2  # a queue, its head, and how long that may wait
    TIMEOUT = 3  # seconds: the attempts that have this limit


class State:
    """Mutable, owned by one `Scheduler`, changed only by the rules. Only they and the invariants access it."""

    __slots__ = (
        "_shapes",
        "_timer_no",
        "consumables",
        "deadlines",
        "fleets",
        "host_no",
        "hosts",
        "jobs",
        "launched_vcpus",
        "now",
        "out",
        "placed",
        "queues",
        "quota_vcpus",
        "recent",
        "timers",
    )

    def __init__(self, *, quota_vcpus: int | None, remember: bool) -> None:
        self.quota_vcpus = UNLIMITED if quota_vcpus is None else quota_vcpus
        self.jobs: dict[int, JobRecord] = {}
        self.fleets: dict[str, Fleet] = {}
        self.queues: dict[str, QueueRecord] = {}
        self.hosts: dict[int, Host] = {}
        self.consumables = ConsumableBook()
        self.placed: dict[int, Host | None] = {}  # unit key -> host: bound, starting or running there
        self.launched_vcpus: Vcpus = 0
        self.host_no = 0  # of the last host that was launched
        self.deadlines: dict[int, dict[int, float]] = {}  # by timeout: unit key -> when it is over, earliest first
        self.timers: list[tuple[float, int, Timer, tuple[Any, ...]]] = []
        self._timer_no = 0
        self._shapes: dict[tuple[ResourceRequirements, tuple[ConsumableNeed, ...]], int] = {}
        self.now = 0.0  # of the event being handled
        self.out: list[ev.Command] = []  # the commands it leads to
        self.recent: deque[tuple[float, ev.Event]] | None = deque(maxlen=_STORY_EVENTS) if remember else None

    def wake_at(self, when: float, timer: Timer, *arguments: Any) -> None:
        """Have a rule check something at that time; timers due at the same time fire in the order they were set."""
        self._timer_no += 1
        heapq.heappush(self.timers, (when, self._timer_no, timer, arguments))

    def job(self, job_no: int) -> JobRecord:
        """Raises NotFound."""
        record = self.jobs.get(job_no)
        if record is None:
            raise NotFound(f"there is no job {job_no}")
        return record

    def host(self, host_no: int) -> Host:
        """Raises NotFound."""
        host = self.hosts.get(host_no)
        if host is None:
            raise NotFound(f"there is no host {host_no}")
        return host

    def shape(self, needs: ResourceRequirements, consumables: tuple[ConsumableNeed, ...] = ()) -> int:
        """A distinct number for each kind of request, in order of first appearance."""
        return self._shapes.setdefault((needs, consumables), len(self._shapes))

    def wire(self) -> None:
        """A queue or environment was added, changed or removed: work out anew who uses what.

        Disabled queues count too: they accept no new jobs but run the ones they have.
        """
        by_priority = sorted(self.queues.values(), key=lambda queue: -queue.spec.priority)
        for fleet in self.fleets.values():
            fleet.queues = [queue for queue in by_priority if fleet.environment.name in queue.spec.environments]
        for queue in by_priority:
            queue.fleets = [self.fleets[name] for name in queue.spec.environments if name in self.fleets]
