"""The omniscient optimum: the lowest cost of finishing on time with the whole trace known from the start (DP)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.interface import Terms

_MOST_CELLS: Final = 4000


@dataclass(frozen=True, slots=True)
class Optimum:
    """Dynamic program over (tick, slack, instance), backwards.

    Slack is the time left minus the work left. Waiting costs a tick of it, a start costs a changeover, steady running
    costs none, so a grid whose step divides both is exact. If no such grid of at most 4,000 cells exists, one that
    divides the tick is used, the changeover is rounded down to it, and the result is a lower bound on the cost. It is
    also one where an instance is dropped within its changeover, which no optimum does. Needs numpy (the extra
    `money`).
    """

    name: str = "omniscient optimum"

    def cost(self, terms: Terms, availability: Sequence[bool]) -> float:
        """Spot-price seconds. Raises InvalidInput if even on-demand would be late, or the trace is too short."""
        return self.costs(terms, [availability])[0]

    def costs(self, terms: Terms, traces: Sequence[Sequence[bool]]) -> list[float]:
        """The same for many traces at once, which is much faster."""
        import numpy as np

        if not terms.is_feasible:
            raise InvalidInput(
                f"{terms.work_seconds} s of work and a changeover of {terms.changeover_seconds} s do not fit a "
                f"deadline of {terms.deadline_seconds} s"
            )
        if any(len(each) < terms.ticks for each in traces):
            raise InvalidInput(f"the optimum over {terms.ticks} ticks needs as many entries in each trace")
        up = np.array([list(each[: terms.ticks]) for each in traces], dtype=bool)
        return [float(each) for each in _solve(np, terms, up)]


def grid_step(terms: Terms) -> float:
    """The coarsest step, in seconds, that divides tick and changeover, or the finest that 4,000 cells allow.

    The latter also divides the tick if possible: rounding down each of many waits would make the bound loose.
    """
    scale = 1000  # milliseconds
    exact = math.gcd(round(terms.tick_seconds * scale), round(terms.changeover_seconds * scale)) / scale
    least = terms.slack_seconds / _MOST_CELLS
    if exact >= least or terms.tick_seconds < least:
        return max(exact, least)
    return terms.tick_seconds / math.floor(terms.tick_seconds / least)


def _solve(np: Any, terms: Terms, up: Any) -> Any:
    """Lowest costs by trace, from arrays of shape (trace, slack cell)."""
    step = grid_step(terms)
    tick_cells = math.floor(terms.tick_seconds / step + 1e-6)
    change_cells = math.floor(terms.changeover_seconds / step + 1e-6)
    cells = math.floor(terms.slack_seconds / step + 1e-6) + 1
    slack = terms.slack_seconds - step * np.arange(cells - 1, -1, -1)  # the last cell is the whole slack
    idle = on_spot = on_demand = np.zeros((len(up), cells))
    for number in range(terms.ticks - 1, -1, -1):
        left = terms.deadline_seconds - number * terms.tick_seconds
        length = min(terms.tick_seconds, left)
        used = np.clip(left - slack, 0.0, length)[None, :]
        wait_cells = tick_cells if length == terms.tick_seconds else math.ceil(length / step - 1e-6)
        is_up = up[:, number : number + 1]
        steady_spot = np.where(is_up, used + on_spot, np.inf)
        steady_demand = used * terms.price_ratio + on_demand
        wait = _shifted(np, idle, wait_cells)
        start_spot, start_demand = _shifted(np, steady_spot, change_cells), _shifted(np, steady_demand, change_cells)
        idle = np.minimum(np.minimum(wait, start_spot), start_demand)
        on_spot = np.where(is_up, np.minimum(np.minimum(steady_spot, start_demand), wait), idle)
        on_demand = np.minimum(np.minimum(steady_demand, start_spot), wait)
        ended = (left - slack <= 1e-9)[None, :]
        idle, on_spot, on_demand = (np.where(ended, 0.0, each) for each in (idle, on_spot, on_demand))
    return idle[:, -1]


def _shifted(np: Any, costs: Any, cells: int) -> Any:
    """The cost of a position with this many fewer slack cells; no slack left means late."""
    if cells == 0:
        return costs
    out = np.full_like(costs, np.inf)
    out[:, cells:] = costs[:, :-cells] if cells < costs.shape[1] else out[:, cells:]
    return out
