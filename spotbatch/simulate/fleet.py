"""The simulated EC2: pools with their capacity, and hosts that boot, are refused, get a notice and are reclaimed."""

import math
from collections.abc import Iterator
from random import Random
from typing import Final

from spotbatch.batch.placement import Pool
from spotbatch.simulate.spot_capacity import Outage, SpotCapacity

_LONGEST_REFUSAL_SECONDS: Final = 1800.0


class SimulatedHost:
    """An instance from its launch on."""

    __slots__ = ("host_no", "is_noticed", "launched_at", "pool", "reclaim_at", "started_at")

    def __init__(self, host_no: int, pool: Pool, launched_at: float) -> None:
        self.host_no = host_no
        self.pool = pool
        self.launched_at = launched_at
        self.started_at: float | None = None
        self.reclaim_at = math.inf
        self.is_noticed = False


class SimulatedPool:
    """One pool's spare capacity over time. Each has its own random stream, so that pools do not affect each other."""

    __slots__ = ("_outages", "_refusals", "hosts", "next_outage", "random")

    def __init__(self, pool: Pool, capacity: SpotCapacity, seed: int) -> None:
        self.random = Random(f"{seed}/{pool.instance_type}/{pool.zone}")  # noqa: S311 - a seeded world is no secret
        self._outages: Iterator[Outage] = capacity.outages(pool, self.random)
        self.next_outage = next(self._outages, None)
        self._refusals = 0  # in a row
        self.hosts: dict[int, SimulatedHost] = {}

    def forward(self, now: float) -> None:
        """Drop outages that are over."""
        while self.next_outage is not None and self.next_outage.ends <= now:
            self.next_outage = next(self._outages, None)

    def has_capacity(self, now: float) -> bool:
        self.forward(now)
        return self.next_outage is None or now < self.next_outage.begins

    def refused_until(self, now: float, refusal_seconds: float) -> float | None:
        """None if a launch succeeds now, else when EC2 refuses it: later each time in a row, as a caller backs off,

        but not later than the outage's end. Asking each pool every half minute through days without capacity would
        cause more events than all jobs.
        """
        if self.has_capacity(now):
            self._refusals = 0
            return None
        wait = min(refusal_seconds * 2.0 ** min(self._refusals, 40), _LONGEST_REFUSAL_SECONDS)
        self._refusals += 1
        ends = self.next_outage.ends if self.next_outage is not None else now
        return min(now + wait, max(ends, now + refusal_seconds))
