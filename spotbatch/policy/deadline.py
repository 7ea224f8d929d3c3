"""Our policy: the cheapest move by the table, given beliefs about the pool, behind an exact safety net."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Move, Terms, View, is_safe
from spotbatch.policy.table import STAY_ON_DEMAND, STAY_ON_SPOT, WAIT, Table, chances_of_end, solve


class Memory(NamedTuple):
    """What a pilot knows besides the view: enough to continue elsewhere. `age_seconds` is of the current period."""

    beliefs: tuple[float, ...]
    is_up: bool | None
    age_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadlinePolicy:
    """Semi-Markov dynamic programme on slack, hazards by age, regimes weighted by Bayes' rule as the pool is observed.

    `is_wide`: the pool may be unlike those that the model was fitted to, see `HazardModel.widened`; without it the
    model's own regimes are the only ones considered possible. `first_age_seconds` is the assumed age of the period in
    which a job starts, if the pool was not observed before.
    """

    model: HazardModel
    name: str = "ours"
    caution: float = 1.2
    first_age_seconds: float = 0.0
    is_wide: bool = True

    def start(self, terms: Terms, memory: Memory | None = None) -> "DeadlinePilot":
        """A pilot for one job. The first one for these terms solves the table, which takes a second or two.

        Raises InvalidInput for a memory of another model's regimes.
        """
        model = self.believed
        known = memory or self.fresh()
        if len(known.beliefs) != len(model.regimes):
            raise InvalidInput(
                f"a memory of {len(known.beliefs)} regimes cannot go on with a model of {len(model.regimes)}: "
                "start without it"
            )
        return DeadlinePilot(terms, model, solved_table(terms, model, self.caution), known)

    @property
    def believed(self) -> HazardModel:
        """The regimes considered possible."""
        return self.model.widened() if self.is_wide else self.model

    def fresh(self) -> Memory:
        """The beliefs about a pool that was never observed."""
        weights = tuple(each.weight for each in self.believed.regimes)
        return Memory(weights, None, self.first_age_seconds)


@lru_cache(maxsize=2)  # a table takes tens of megabytes
def solved_table(terms: Terms, model: HazardModel, caution: float) -> Table:
    """The table for these terms, solved or among the last two that were. Needs numpy."""
    return solve(terms, model.harsher(caution))


class Beliefs:
    """Bayes' rule over the regimes, one tick at a time."""

    def __init__(self, model: HazardModel, tick_seconds: float, memory: Memory) -> None:
        import numpy as np

        self._model = model
        self._tick = tick_seconds
        self._weights = np.array(memory.beliefs)
        self._is_up = memory.is_up
        self._age = memory.age_seconds
        self._ended = chances_of_end(np, model, tick_seconds)
        self._stayed = 1.0 - self._ended

    def see(self, is_up: bool) -> int:
        """Process one observation, a tick after the previous one; returns the bucket of the current age."""
        self._weights, self._age = self._observed(is_up)
        self._is_up = is_up
        return self._model.bucket(self._age)

    def after(self, is_up: bool) -> tuple[int, Any]:
        """The bucket of the age, and the weights, that `see` would lead to; nothing is processed."""
        weights, age = self._observed(is_up)
        return self._model.bucket(age), weights

    def pass_tick(self) -> None:
        """A tick without an observation: the period is taken to go on."""
        self._age += self._tick

    def _observed(self, is_up: bool) -> tuple[Any, float]:
        if self._is_up is None:
            return self._weights, self._age
        likelihood = self._stayed if is_up == self._is_up else self._ended
        weights = self._weights * likelihood[int(self._is_up), self._model.bucket(self._age)]
        return weights / weights.sum(), self._age + self._tick if is_up == self._is_up else 0.0

    @property
    def weights(self) -> Any:
        return self._weights

    @property
    def memory(self) -> Memory:
        return Memory(tuple(float(each) for each in self._weights), self._is_up, self._age)


class DeadlinePilot:
    """One job in progress."""

    def __init__(self, terms: Terms, model: HazardModel, table: Table, memory: Memory) -> None:
        self._terms = terms
        self._table = table
        self._beliefs = Beliefs(model, terms.tick_seconds, memory)

    @property
    def memory(self) -> Memory:
        """What to pass to `DeadlinePolicy.start` to continue elsewhere."""
        return self._beliefs.memory

    def watch(self, is_spot_available: bool) -> None:
        """Process the pool's state at a tick at which no move is due, e.g. before the job starts."""
        self._beliefs.see(is_spot_available)

    def decide(self, view: View) -> Move:
        bucket = self._beliefs.see(view.is_spot_available)
        return self._cheapest(view, bucket)

    def _cheapest(self, view: View, bucket: int) -> Move:
        table, terms = self._table, self._terms
        left = terms.deadline_seconds - view.elapsed_seconds
        slack = left - (terms.work_seconds - view.done_seconds)
        costs = table.at(view.elapsed_seconds, bucket, self._beliefs.weights, is_up=view.is_spot_available)
        kept = slack - view.pending_seconds
        started = slack - terms.changeover_seconds
        on_spot = kept if view.instance is Move.SPOT else started
        on_demand = kept if view.instance is Move.ON_DEMAND else started
        best, least = Move.ON_DEMAND, cost_at(costs, on_demand / table.cell_seconds, STAY_ON_DEMAND)
        if view.is_spot_available and is_safe(terms, view, Move.SPOT):
            cost = cost_at(costs, on_spot / table.cell_seconds, STAY_ON_SPOT)
            if cost <= least:
                best, least = Move.SPOT, cost
        if is_safe(terms, view, Move.WAIT) and cost_at(costs, slack / table.cell_seconds, WAIT) < least:
            return Move.WAIT
        return best


def cost_at(costs: Any, place: float, move: int) -> float:
    """A move's cost interpolated between two slack cells; infinite below the first one, which would be late."""
    if place < 0:
        return math.inf
    low = min(int(place), len(costs) - 1)
    high = min(low + 1, len(costs) - 1)
    share = place - low
    return float(costs[low, move]) * (1 - share) + float(costs[high, move]) * share
