"""The order of a job queue: first in, first out with retried units in front, or fair shares with one such line each."""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import Vcpus
from spotbatch.batch.placement import FairShare, JobQueue
from spotbatch.batch.scheduler.job_record import RUNNABLE, JobRecord

if TYPE_CHECKING:
    from spotbatch.batch.scheduler.fleet import Fleet

Unit = tuple[JobRecord, int]
_LAZY: Final = -1  # an entry that stands for all RUNNABLE units of a job from its cursor on
_SHARES_KEPT: Final = 500  # shares that may be active at once (API reference, SubmitJob); beyond it idle ones go
_LEAST_DECAY_SECONDS: Final = 600  # API reference, FairsharePolicy.shareDecaySeconds: 0 means this


class Line:
    """Units in order. An array that became RUNNABLE as a whole is one entry, regardless of size."""

    __slots__ = ("_back", "_front", "_head")

    def __init__(self) -> None:
        self._front: deque[Unit] = deque()  # retried: AWS Batch puts these at the front of the queue
        self._back: deque[Unit] = deque()
        self._head: Unit | None = None  # cached: valid until something is put in front of it, or it is taken

    def add_job(self, record: JobRecord) -> None:
        """Queue all RUNNABLE units of a job: from the record's cursor on they need no other entry."""
        record.cursor = 0
        self._back.append((record, _LAZY))

    def add(self, record: JobRecord, index: int) -> None:
        self._back.append((record, index))

    def add_retried(self, record: JobRecord, index: int) -> None:
        if index < record.cursor:  # otherwise the lazy entry of its job still covers it
            self._front.append((record, index))
            self._head = None

    def put_back(self, record: JobRecord, index: int) -> None:
        """Put back a unit that was taken but got no host after all: it is first again."""
        self._front.appendleft((record, index))
        self._head = None

    def head(self, now: float = 0.0) -> Unit | None:  # noqa: ARG002 - the face of FairOrder
        """The next unit. Units cancelled while they waited are dropped on the way."""
        head = self._head
        if head is not None and head[0].status[head[1]] == RUNNABLE:
            return head
        head = self._head = self._find_head()
        return head

    def _find_head(self) -> Unit | None:
        front = self._front
        while front:
            record, index = front[0]
            if record.status[index] == RUNNABLE:
                return front[0]
            front.popleft()
        back = self._back
        while back:
            record, index = back[0]
            if index != _LAZY:
                if record.status[index] == RUNNABLE:
                    return back[0]
            else:
                cursor = record.status.find(RUNNABLE, record.cursor)
                if cursor >= 0:
                    record.cursor = cursor
                    return record, cursor
                record.cursor = record.units
            back.popleft()
        return None

    def units(self, now: float = 0.0) -> Iterator[Unit]:  # noqa: ARG002 - the face of FairOrder
        """All waiting units, in order."""
        for record, index in (*self._front, *self._back):
            waiting = range(record.cursor, record.units) if index == _LAZY else (index,)
            for each in waiting:
                if record.status[each] == RUNNABLE:
                    yield record, each

    def take(self) -> None:
        """Remove the unit that `head` just returned."""
        self._head = None
        if self._front:
            self._front.popleft()
            return
        record, index = self._back[0]
        if index == _LAZY:
            record.cursor += 1
        else:
            self._back.popleft()


class FifoOrder(Line):
    """A queue without a scheduling policy is one line and does not track who uses what."""

    __slots__ = ()
    has_reservation: ClassVar = False

    def line(self, record: JobRecord) -> Line:  # noqa: ARG002 - the face of FairOrder
        return self

    def started(self, record: JobRecord, now: float) -> None:
        """Nothing to book."""

    def ended(self, record: JobRecord, now: float) -> None:
        """Nothing to book."""

    def may_start(self, record: JobRecord, max_vcpus: int) -> bool:  # noqa: ARG002 - the face of FairOrder
        """Nothing is reserved."""
        return True


class _Share:
    """What one share identifier waits for, runs, and has recently used."""

    __slots__ = ("_ranks", "lines", "name", "running_vcpus", "used_vcpu_seconds", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.lines: list[Line] = []  # highest scheduling priority first
        self._ranks: list[int] = []  # the priority of each line, negated so that it ascends
        self.running_vcpus: Vcpus = 0
        self.used_vcpu_seconds = 0.0  # older use fades: see FairOrder

    def line(self, priority: int) -> Line:
        place = bisect_left(self._ranks, -priority)
        if place == len(self._ranks) or self._ranks[place] != -priority:
            self._ranks.insert(place, -priority)
            self.lines.insert(place, Line())
        return self.lines[place]

    @property
    def counts(self) -> bool:
        """Whether it waits, runs, or has used anything recently."""
        return bool(self.lines or self.running_vcpus or self.used_vcpu_seconds >= 1.0)

    def head(self) -> Unit | None:
        """The next unit of this share: the head of the first line."""
        lines = self.lines
        while lines:
            unit = lines[0].head()
            if unit is not None:
                return unit
            del lines[0], self._ranks[0]
        return None


class FairOrder:
    """A queue with a fair-share scheduling policy (user guide, "Fair-share scheduling policies").

    The share with the least recent use, times its weight, comes next; within a share, the higher scheduling priority,
    then first in, first out. AWS publishes the inputs of its rule, not the formula; the decay here is exponential.
    """

    __slots__ = ("_as_of", "_chosen", "_decay_seconds", "_is_settled", "_policy", "_shares", "has_reservation")

    def __init__(self, policy: FairShare) -> None:
        self._shares: dict[str, _Share] = {}
        self._as_of = 0.0  # when all shares' use was last booked
        self._chosen: _Share | None = None  # the share that has the head, cached
        self._is_settled = False  # whether that stays valid while no time passes
        self.change(policy)

    def change(self, policy: FairShare) -> None:
        """Switch to another policy; what the shares have used stays booked."""
        self._policy = policy
        self._decay_seconds = float(policy.decay_seconds or _LEAST_DECAY_SECONDS)
        self.has_reservation = policy.compute_reservation_percent > 0
        self._is_settled = False
        for share in self._shares.values():
            share.weight = self._weight(share.name)

    def line(self, record: JobRecord) -> Line:
        self._is_settled = False
        return self._share(record.submitted.share).line(record.submitted.priority)

    def head(self, now: float) -> Unit | None:
        """The first unit of the share with the least weighted use; on a tie, of the share that runs less."""
        if now > self._as_of:
            self._book_until(now)
        if self._is_settled and self._chosen is not None:
            head = self._chosen.head()
            if head is not None:
                return head
        return self._choose()

    def _choose(self) -> Unit | None:
        """Compare all shares. A clear winner remains so while no time passes and nothing joins the line."""
        best, chosen, found = math.inf, None, None
        is_clear = True
        for share in self._shares.values():
            use = share.used_vcpu_seconds * share.weight
            if not share.lines or use > best or (use == best and chosen is not None and _runs_less(chosen, share)):
                is_clear = is_clear and use != best
                continue
            unit = share.head()
            if unit is not None:
                is_clear = use < best
                best, chosen, found = use, share, unit
        self._chosen, self._is_settled = chosen, is_clear
        return found

    def units(self, now: float) -> Iterator[Unit]:
        """All waiting units, in the order of dispatch if no share's use changed meanwhile."""
        self._book_until(now)
        ranked = sorted(
            self._shares.values(), key=lambda one: (one.used_vcpu_seconds * one.weight, one.running_vcpus, one.name)
        )
        for share in ranked:
            for line in share.lines:
                yield from line.units()

    def take(self) -> None:
        """Remove the unit that `head` just returned."""
        if self._chosen is not None:
            self._chosen.lines[0].take()

    def started(self, record: JobRecord, now: float) -> None:
        if now > self._as_of:
            self._book_until(now)
        self._share(record.submitted.share).running_vcpus += record.needs.vcpus

    def ended(self, record: JobRecord, now: float) -> None:
        if now > self._as_of:
            self._book_until(now)
        self._share(record.submitted.share).running_vcpus -= record.needs.vcpus

    def _book_until(self, now: float) -> None:
        """vCPU seconds used recently; older ones decay with the policy's decay as time constant: one exp for all."""
        decay = self._decay_seconds
        fade = math.exp((self._as_of - now) / decay)
        grown = decay * (1 - fade)
        for share in self._shares.values():
            share.used_vcpu_seconds = share.used_vcpu_seconds * fade + share.running_vcpus * grown
        self._as_of = now
        self._is_settled = False

    @property
    def running_vcpus(self) -> dict[str, Vcpus]:
        """vCPUs that each share runs now."""
        return {share.name: share.running_vcpus for share in self._shares.values()}

    def may_start(self, record: JobRecord, max_vcpus: int) -> bool:
        """Whether the policy's compute reservation leaves room: a part of maxvCpus is kept for shares not yet active,

        (reservation / 100) ^ number of active shares (API reference, FairsharePolicy.computeReservation).
        """
        if self._share(record.submitted.share).running_vcpus == 0:
            return True  # the room is reserved for shares like this one
        active = sum(1 for share in self._shares.values() if share.running_vcpus or share.head() is not None)
        running = sum(share.running_vcpus for share in self._shares.values())
        reserved = (self._policy.compute_reservation_percent / 100) ** active
        return running + record.needs.vcpus <= max_vcpus * (1 - reserved)

    def _share(self, name: str) -> _Share:
        share = self._shares.get(name)
        if share is None:
            if len(self._shares) >= _SHARES_KEPT:
                self._shares = {each.name: each for each in self._shares.values() if each.counts}
            share = self._shares[name] = _Share(name, self._weight(name))
        return share

    def _weight(self, name: str) -> float:
        """The weight of the longest entry that names the share, or a prefix of it with a `*`; 1 if none does."""
        best_length, weight = -1, 1.0
        for entry in self._policy.shares:
            prefix = entry.identifier.removesuffix("*")
            hit = name.startswith(prefix) if entry.identifier.endswith("*") else name == entry.identifier
            if hit and len(prefix) > best_length:
                best_length, weight = len(prefix), entry.weight
        return weight


def _runs_less(share: _Share, other: _Share) -> bool:
    return (share.running_vcpus, share.name) < (other.running_vcpus, other.name)


class QueueRecord:
    """A job queue in operation: its order, its fleets, and whether its head waits for something missing."""

    __slots__ = ("blocked_head", "blocked_since", "fleets", "order", "spec", "waiting_vcpus")

    def __init__(self, queue: JobQueue) -> None:
        self.spec = queue
        self.order: FifoOrder | FairOrder = FairOrder(queue.fair_share) if queue.fair_share else FifoOrder()
        self.fleets: list[Fleet] = []  # of its environments, in order: kept by `State.wire`
        self.waiting_vcpus: Vcpus = 0  # of all units in the line
        self.blocked_head: Unit | None = None
        self.blocked_since = 0.0

    def change(self, queue: JobQueue) -> None:
        """Raises InvalidInput, changing nothing, if a scheduling policy would be added or removed."""
        if (self.spec.fair_share is None) != (queue.fair_share is None):
            raise InvalidInput(f"job queue {queue.name}: a scheduling policy cannot be added or removed later")
        if queue.time_limits != self.spec.time_limits:
            self.blocked_head = None  # the head starts waiting anew, and the new limits count from now
        self.spec = queue
        if isinstance(self.order, FairOrder) and queue.fair_share is not None:
            self.order.change(queue.fair_share)
