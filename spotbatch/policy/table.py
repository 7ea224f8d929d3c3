"""The table of the deadline policy: what each move costs from each state, solved backwards by dynamic programming."""

import math
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Terms

_MOST_CELLS: Final = 120
_MOST_STEPS: Final = 1200
_MOST_KEPT: Final = 200  # of the steps: relative costs of moves change slowly, and memory is scarce
_CELLS_A_TICK: Final = 5
LATE_TICKS: Final = 1e5  # represents infinity, but stays finite under interpolation

# The moves whose costs the table holds, for an instance that has completed its changeover.
STAY_ON_SPOT, STAY_ON_DEMAND, WAIT = range(3)
COLUMNS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Costs in ticks of Spot price. `costs[step, up, bucket, cell, move, regime]` is a numpy array (float32)."""

    costs: Any
    step_seconds: float
    cell_seconds: float
    buckets: int

    @property
    def bytes(self) -> int:
        return int(self.costs.nbytes)

    def at(self, elapsed_seconds: float, bucket: int, weights: Any, *, is_up: bool) -> Any:
        """Costs by (cell, move) at a time, if the pool's period is of this age bucket: the mean over the regimes."""
        step = min(int(elapsed_seconds / self.step_seconds + 1e-6), len(self.costs) - 1)
        return self.costs[step, int(is_up), bucket] @ weights


def solve(terms: Terms, model: HazardModel) -> Table:
    """The table for a job. State: time, slack (time left minus work left), up or down, age, instance.

    Waiting costs a tick of slack, each start costs a changeover, steady running costs none; hazards depend on the age
    of the period. All regimes are solved at once, each as if permanent. Jobs with many ticks use coarser ones.
    Needs numpy.
    """
    import numpy as np

    factor = max(1, math.ceil(terms.ticks / _MOST_STEPS))
    step = terms.tick_seconds * factor
    steps = math.ceil(terms.deadline_seconds / step - 1e-9)
    slack = max(terms.slack_seconds, 0.0)
    cell = max(step / _CELLS_A_TICK, slack / _MOST_CELLS, 1e-6)
    world = _World(np, terms, model, step, cell, math.ceil(slack / cell) + 1)
    every = math.ceil(steps / _MOST_KEPT)
    kept = math.ceil(steps / every)
    table = np.empty((kept, *world.shape, COLUMNS, len(model.regimes)), dtype=np.float32)
    value = world.nothing()
    for number in range(steps - 1, -1, -1):
        left = terms.deadline_seconds - number * step
        value = world.back(value, left, table[number // every])  # of those that share an entry, the earliest is kept
    return Table(costs=table, step_seconds=step * every, cell_seconds=cell, buckets=len(model.edges_seconds))


class _World:
    """What stays constant from tick to tick: the probabilities, and how far a wait or a start moves along the slack.

    Arrays have the axes (up or down, bucket, cell, regime); up is 1.
    """

    def __init__(self, np: Any, terms: Terms, model: HazardModel, step: float, cell: float, cells: int) -> None:
        self._np = np
        self._ratio = terms.price_ratio
        self._step = step
        self._risk = terms.changeover_seconds  # what the safety net holds back
        self._is_seen_at_once = terms.is_reclaim_seen_at_once
        self._slack = np.arange(cells) * cell
        self.shape = (2, len(model.edges_seconds), cells)
        self._ends, self._moves = chances_of_end(np, model, step), ages_moved(np, model, step)
        self._start = _Shift(np, terms.changeover_seconds / cell, cells)
        self._wait = _Shift(np, step / cell, cells)
        self._regimes = len(model.regimes)

    def nothing(self) -> tuple[Any, Any, Any]:
        """Costs at the deadline, by instance: none, on Spot, on-demand."""
        zero = self._np.zeros((*self.shape, self._regimes))
        return zero, zero, zero

    def back(self, value: tuple[Any, Any, Any], left: float, out: Any) -> tuple[Any, Any, Any]:
        """Go back one tick; `left` is the time left then. Writes the cost of each move to `out`."""
        np = self._np
        idle, on_spot, on_demand = value
        length = min(self._step, left)
        used = (np.clip(left - self._slack, 0.0, length) / self._step)[None, None, :, None]
        spot = used + self._expect(on_spot, idle)
        spot[0] = LATE_TICKS  # there is none
        spot[:, :, self._slack < self._risk + (0.0 if self._is_seen_at_once else length)] = LATE_TICKS
        demand = used * self._ratio + self._expect(on_demand, on_demand)
        wait = self._wait.apply(self._expect(idle, idle))
        wait[:, :, self._slack < self._risk + length] = LATE_TICKS
        out[..., STAY_ON_SPOT, :], out[..., STAY_ON_DEMAND, :], out[..., WAIT, :] = spot, demand, wait
        start_spot, start_demand = self._start.apply(spot), self._start.apply(demand)
        anew = np.minimum(np.minimum(wait, start_spot), start_demand)
        after = (
            anew,
            np.minimum(np.minimum(spot, start_demand), wait),
            np.minimum(np.minimum(demand, start_spot), wait),
        )
        ended = (left - self._slack <= 0)[None, None, :, None]
        return tuple(np.where(ended, 0.0, each) for each in after)

    def _expect(self, goes_on: Any, after_end: Any) -> Any:
        """The mean over what the pool does within a tick: the period continues and ages, or a new one starts."""
        np = self._np
        older = np.einsum("ab,ubcr->uacr", self._moves, goes_on)
        begun = after_end[::-1, :1]  # the other side, at age 0
        ends = self._ends[:, :, None, :]
        return (1 - ends) * older + ends * begun


class _Shift:
    """A shift along the slack axis by a distance that need not be whole cells; below zero the job would be late."""

    def __init__(self, np: Any, distance: float, cells: int) -> None:
        self._np = np
        place = np.arange(cells) - distance
        self._late = place < -1e-9
        place = np.clip(place, 0, None)
        self._low = np.floor(place + 1e-9).astype(int)
        self._share = np.clip(place - self._low, 0.0, 1.0)[:, None]
        self._high = np.minimum(self._low + 1, cells - 1)

    def apply(self, costs: Any) -> Any:
        out = costs[:, :, self._low] * (1 - self._share) + costs[:, :, self._high] * self._share
        out[:, :, self._late] = LATE_TICKS
        return out


def chances_of_end(np: Any, model: HazardModel, tick_seconds: float) -> Any:
    """P(a period ends within a tick) by (up, bucket, regime), from the start of its age bucket."""
    return np.array(
        [
            [
                [model.end_probability(regime, is_up, edge, tick_seconds) for regime in model.regimes]
                for edge in model.edges_seconds
            ]
            for is_up in (False, True)
        ]
    )


def ages_moved(np: Any, model: HazardModel, tick_seconds: float) -> Any:
    """Age transitions within a tick, by (bucket, bucket)."""
    buckets = len(model.edges_seconds)
    moves = np.zeros((buckets, buckets))
    for bucket in range(buckets):
        for place, share in model.ages_after(bucket, tick_seconds):
            moves[bucket, place] = share
    return moves
