"""When Spot hosts are reclaimed, and when a pool has no capacity: by a seeded rate or a recorded trace. No clock.

Both tell the engine when to look next, and then which hosts get the notice.
"""

import heapq
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, NamedTuple, Protocol

from spotbatch.batch.scheduler.fleet import RELAUNCH_SECONDS
from spotbatch.policy.trace import Trace

# Over 92 % of the interruptions of one type in one zone occur within three minutes of another (see docs).
TOGETHER_SHARE: Final = 0.92
TOGETHER_SECONDS: Final = 180.0
_LEAST_RELAUNCH_SECONDS: Final = 0.25  # however fast a trace runs: a pool is not polled in a busy loop
_TOGETHER_PART: Final = 0.05  # fraction of the mean time between reclaims, at most: a quick rehearsal stays correlated


class PoolKey(NamedTuple):
    """One instance type in one zone."""

    instance_type: str
    zone: str


class SpotCapacity(Protocol):
    """The engine's view. Times are seconds of any monotonic epoch."""

    def host_up(self, host_no: int, pool: PoolKey, now: float) -> None:
        """A Spot host has started."""
        ...

    def host_gone(self, host_no: int) -> None:
        """It got a notice, or it ended."""
        ...

    def has_capacity(self, pool: PoolKey, now: float) -> bool:
        """Whether a Spot host is available there now."""
        ...

    @property
    def relaunch_seconds(self) -> float:
        """How long a pool that had no capacity is left alone."""
        ...

    def next_look(self, now: float) -> float | None:
        """When `due` may have something to say."""
        ...

    def due(self, now: float) -> list[int]:
        """The hosts that get the notice now, each reported once."""
        ...


class CapacityAtRate:
    """Each host sees `per_host_hour` reclaims; most of them also take its pool's other hosts, within minutes.

    A pool as a whole is struck at 0.92 of the rate, a single host at the rest, both exponential: so the rate per host
    is the requested one, however large its pool. Randomness depends only on the seed and the pool's name.
    """

    def __init__(self, *, per_host_hour: float, seed: int) -> None:
        self._per_second = per_host_hour / 3600.0
        self._together_seconds = min(TOGETHER_SECONDS, _TOGETHER_PART / self._per_second)
        self._seed = seed
        self._randoms: dict[PoolKey, Random] = {}
        self._alive: dict[int, PoolKey] = {}
        self._strikes: dict[PoolKey, float] = {}  # the next event of each pool that has hosts
        self._heap: list[tuple[float, int]] = []  # (when, host)

    def host_up(self, host_no: int, pool: PoolKey, now: float) -> None:
        self._alive[host_no] = pool
        chance = self._random(pool)
        if pool not in self._strikes:
            self._strikes[pool] = now + chance.expovariate(self._per_second * TOGETHER_SHARE)
        heapq.heappush(self._heap, (now + chance.expovariate(self._per_second * (1 - TOGETHER_SHARE)), host_no))

    def host_gone(self, host_no: int) -> None:
        pool = self._alive.pop(host_no, None)
        if pool is not None and pool not in self._alive.values():
            self._strikes.pop(pool, None)  # exponential: it may restart with the next host

    def has_capacity(self, pool: PoolKey, now: float) -> bool:  # noqa: ARG002 - SpotCapacity's protocol
        return True

    @property
    def relaunch_seconds(self) -> float:
        return RELAUNCH_SECONDS

    def next_look(self, now: float) -> float | None:  # noqa: ARG002 - SpotCapacity's protocol
        while self._heap and self._heap[0][1] not in self._alive:
            heapq.heappop(self._heap)
        first = self._heap[0][0] if self._heap else math.inf
        when = min(first, *self._strikes.values(), math.inf)
        return None if when == math.inf else when

    def due(self, now: float) -> list[int]:
        for pool, when in list(self._strikes.items()):
            if when <= now:
                self._strike(pool, when)
        found = []
        while self._heap and self._heap[0][0] <= now:
            host_no = heapq.heappop(self._heap)[1]
            if host_no in self._alive:
                found.append(host_no)
                self.host_gone(host_no)
        return found

    def _strike(self, pool: PoolKey, when: float) -> None:
        chance = self._random(pool)
        for host_no in sorted(number for number, where in self._alive.items() if where == pool):
            heapq.heappush(self._heap, (when + chance.uniform(0, self._together_seconds), host_no))
        self._strikes[pool] = when + chance.expovariate(self._per_second * TOGETHER_SHARE)

    def _random(self, pool: PoolKey) -> Random:
        found = self._randoms.get(pool)
        if found is None:
            found = self._randoms[pool] = Random(f"{self._seed}/{pool.instance_type}/{pool.zone}")  # noqa: S311 - a seeded world
        return found


class CapacityFromTrace:
    """Capacity according to traces, `speed` times as fast, starting at `begins`; a trace repeats at its end.

    A zone follows the trace with its name; zones without one take the traces in order of name. While a zone
    has no capacity, its Spot hosts are reclaimed together and no new ones are available.
    """

    def __init__(self, traces: Sequence[Trace], *, begins: float, speed: float = 1.0) -> None:
        self._traces: Mapping[str, Trace] = {trace.zone: trace for trace in traces}
        self._names = sorted(self._traces)
        self._taken: dict[str, str] = {}
        self._begins = begins
        self._speed = speed
        self._alive: dict[int, str] = {}

    def trace_of(self, zone: str) -> Trace:
        """The trace that a zone follows."""
        if zone in self._traces:
            return self._traces[zone]
        return self._traces[self._taken.setdefault(zone, self._names[len(self._taken) % len(self._names)])]

    def host_up(self, host_no: int, pool: PoolKey, now: float) -> None:  # noqa: ARG002 - SpotCapacity's protocol
        self._alive[host_no] = pool.zone

    def host_gone(self, host_no: int) -> None:
        self._alive.pop(host_no, None)

    def has_capacity(self, pool: PoolKey, now: float) -> bool:
        trace = self.trace_of(pool.zone)
        return trace.available[self._tick(trace, now) % len(trace.available)]

    @property
    def relaunch_seconds(self) -> float:
        """Equally long in the trace's own time, scaled by the speed."""
        return max(_LEAST_RELAUNCH_SECONDS, RELAUNCH_SECONDS / self._speed)

    def _tick(self, trace: Trace, now: float) -> int:
        return int((now - self._begins) * self._speed / trace.tick_seconds + 1e-9)

    def next_look(self, now: float) -> float | None:
        moments = [self._next_outage(zone, now) for zone in sorted(set(self._alive.values()))]
        return min((when for when in moments if when is not None), default=None)

    def _next_outage(self, zone: str, now: float) -> float | None:
        trace = self.trace_of(zone)
        first, count = self._tick(trace, now), len(trace.available)
        for number in range(first, first + count):
            if not trace.available[number % count]:
                return max(now, self._begins + number * trace.tick_seconds / self._speed)
        return None

    def due(self, now: float) -> list[int]:
        found = [
            number
            for number, zone in sorted(self._alive.items())
            if not self.has_capacity(PoolKey(instance_type="", zone=zone), now)
        ]
        for number in found:
            del self._alive[number]
        return found
