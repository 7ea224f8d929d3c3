"""The order of a job queue: first in, first out, retried units in front; or fair shares, each such a line."""

import math
from collections import deque
from typing import Final

from spotbatch.batch.ledger import RUNNABLE, JobRecord
from spotbatch.batch.placement import FairShare

Unit = tuple[JobRecord, int]
_LAZY: Final = -1  # an entry that stands for all RUNNABLE units of a job from its cursor on
_LEAST_DECAY_SECONDS: Final = 600  # API reference, FairsharePolicy.shareDecaySeconds: 0 means this


class Line:
    """Units in order. An array that became RUNNABLE as a whole is one entry, whatever its size."""

    __slots__ = ("_back", "_front")

    def __init__(self) -> None:
        self._front: deque[Unit] = deque()  # retried: AWS Batch puts these at the front of the queue
        self._back: deque[Unit] = deque()

    def add_job(self, record: JobRecord) -> None:
        """Queue all units of a job that are RUNNABLE: from the record's cursor on they need no other entry."""
        record.cursor = 0
        self._back.append((record, _LAZY))

    def add(self, record: JobRecord, index: int) -> None:
        self._back.append((record, index))

    def add_retried(self, record: JobRecord, index: int) -> None:
        if index < record.cursor:  # else the lazy entry of its job has it still
            self._front.append((record, index))

    def put_back(self, record: JobRecord, index: int) -> None:
        """Return a unit that was taken but got no host after all: it was the first, and is again."""
        self._front.appendleft((record, index))

    def head(self) -> Unit | None:
        """The unit that comes next. Units that were cancelled while they waited are dropped on the way."""
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

    def take(self) -> None:
        """Remove the unit that `head` just answered."""
        if self._front:
            self._front.popleft()
            return
        record, index = self._back[0]
        if index == _LAZY:
            record.cursor += 1
        else:
            self._back.popleft()


class FifoOrder:
    """A queue without a scheduling policy."""

    __slots__ = ("_line",)
    is_fair = False

    def __init__(self) -> None:
        self._line = Line()

    def line(self, record: JobRecord) -> Line:  # noqa: ARG002 - the face of FairOrder
        return self._line

    def head(self, now: float) -> Unit | None:  # noqa: ARG002 - the face of FairOrder
        return self._line.head()

    def take(self) -> None:
        self._line.take()

    def started(self, record: JobRecord, now: float) -> None:
        """FIFO keeps no account of who uses what."""

    def ended(self, record: JobRecord, now: float) -> None:
        """FIFO keeps no account of who uses what."""


class _Share:
    """What one share identifier waits for, runs, and has used of late."""

    __slots__ = ("as_of", "lines", "running_vcpus", "used_vcpu_seconds", "weight")

    def __init__(self, weight: float, now: float) -> None:
        self.lines: dict[int, Line] = {}  # by scheduling priority
        self.weight = weight
        self.running_vcpus = 0
        self.used_vcpu_seconds = 0.0
        self.as_of = now

    def usage(self, now: float, decay_seconds: float) -> float:
        """vCPU seconds used of late, older ones fading with the time constant `decay_seconds`."""
        elapsed = now - self.as_of
        if elapsed > 0:
            fade = math.exp(-elapsed / decay_seconds)
            self.used_vcpu_seconds = self.used_vcpu_seconds * fade + self.running_vcpus * decay_seconds * (1 - fade)
            self.as_of = now
        return self.used_vcpu_seconds

    def head(self) -> tuple[Line, Unit] | None:
        for priority in sorted(self.lines, reverse=True):
            line = self.lines[priority]
            unit = line.head()
            if unit is not None:
                return line, unit
            del self.lines[priority]
        return None


class FairOrder:
    """A queue with a fair-share scheduling policy (user guide, "Fair-share scheduling policies").

    The share that used least of late, times its weight, comes next; within a share the higher scheduling priority,
    then first in, first out. AWS publishes the inputs of its rule, not the formula; the fading here is exponential.
    """

    __slots__ = ("_chosen", "_decay_seconds", "_policy", "_shares")
    is_fair = True

    def __init__(self, policy: FairShare) -> None:
        self._policy = policy
        self._decay_seconds = float(policy.decay_seconds or _LEAST_DECAY_SECONDS)
        self._shares: dict[str, _Share] = {}
        self._chosen: Line | None = None

    def line(self, record: JobRecord) -> Line:
        share = self._share(record.submitted.share, 0.0)
        return share.lines.setdefault(record.submitted.priority, Line())

    def head(self, now: float) -> Unit | None:
        best: tuple[float, int, str] | None = None
        found: tuple[Line, Unit] | None = None
        for name, share in self._shares.items():
            head = share.head()
            if head is None:
                continue
            rank = (share.usage(now, self._decay_seconds) * share.weight, share.running_vcpus, name)
            if best is None or rank < best:
                best, found = rank, head
        self._chosen = found[0] if found else None
        return found[1] if found else None

    def take(self) -> None:
        if self._chosen is not None:
            self._chosen.take()

    def started(self, record: JobRecord, now: float) -> None:
        share = self._share(record.submitted.share, now)
        share.usage(now, self._decay_seconds)
        share.running_vcpus += record.needs.vcpus

    def ended(self, record: JobRecord, now: float) -> None:
        share = self._share(record.submitted.share, now)
        share.usage(now, self._decay_seconds)
        share.running_vcpus -= record.needs.vcpus

    def may_start(self, record: JobRecord, max_vcpus: int) -> bool:
        """Whether the policy's compute reservation leaves room: a part of maxvCpus is kept for shares not active yet,

        (reservation / 100) ^ number of active shares (API reference, FairsharePolicy.computeReservation).
        """
        percent = self._policy.compute_reservation_percent
        if not percent:
            return True
        active = sum(1 for share in self._shares.values() if share.running_vcpus or share.head() is not None)
        running = sum(share.running_vcpus for share in self._shares.values())
        if self._share(record.submitted.share, 0.0).running_vcpus == 0:
            return True  # it is for shares like this one that the room was kept
        return running + record.needs.vcpus <= max_vcpus * (1 - (percent / 100) ** active)

    def _share(self, name: str, now: float) -> _Share:
        share = self._shares.get(name)
        if share is None:
            share = self._shares[name] = _Share(self._weight(name), now)
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
