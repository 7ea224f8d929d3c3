"""The exact optimum over several pools: the lowest cost of finishing on time with all traces known from the start."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.placement import PlacementTerms

_MOST_CELLS: Final = 2000


@dataclass(frozen=True, slots=True)
class PoolsOptimum:
    """Dynamic program over (tick, slack, location), backwards: `oracle.Optimum` for pools, with prices by tick.

    Exact if a grid of at most 2,000 cells divides tick and changeover. Otherwise the changeover is rounded down to
    the grid, and the result is a lower bound on the cost. Needs numpy.
    """

    name: str = "omniscient optimum"

    def usd(
        self,
        terms: PlacementTerms,
        availability: Mapping[str, Sequence[bool]],
        usd_per_hour: Mapping[str, Sequence[float]] | None = None,
    ) -> float:
        """USD, egress included. Raises InvalidInput if even on-demand would be late, or a trace is too short."""
        import numpy as np

        if not terms.is_feasible:
            raise InvalidInput(
                f"{terms.work_seconds} s of work and a changeover of {terms.changeover_seconds} s do not fit a "
                f"deadline of {terms.deadline_seconds} s"
            )
        ticks = terms.ticks
        if any(len(availability.get(each.name, ())) < ticks for each in terms.pools):
            raise InvalidInput(f"the optimum over {ticks} ticks needs a trace as long for each pool")
        up = np.array([list(availability[each.name][:ticks]) for each in terms.pools], dtype=bool)
        prices = np.array(
            [
                list(usd_per_hour[each.name][:ticks]) if usd_per_hour else [each.usd_per_hour] * ticks
                for each in terms.pools
            ]
        )
        return _least(np, terms, up, prices)


def _least(np: Any, terms: PlacementTerms, up: Any, prices: Any) -> float:
    step = _grid(terms)
    tick_cells = math.floor(terms.tick_seconds / step + 1e-6)
    change_cells = math.floor(terms.changeover_seconds / step + 1e-6)
    cells = math.floor(terms.slack_seconds / step + 1e-6) + 1
    slack = terms.slack_seconds - step * np.arange(cells - 1, -1, -1)
    regions = terms.regions
    homes = [regions.index(each.region) for each in terms.pools] + list(range(len(regions)))
    egress = np.array([[terms.egress_usd(one, regions[home]) for home in homes] for one in regions])[:, :, None]
    demand = np.array([terms.on_demand_usd_per_hour[each] for each in regions])
    count = len(terms.pools)
    idle, on = np.zeros((len(regions), cells)), np.zeros((len(homes), cells))
    for number in range(terms.ticks - 1, -1, -1):
        left = terms.deadline_seconds - number * terms.tick_seconds
        length = min(terms.tick_seconds, left)
        used = np.clip(left - slack, 0.0, length) / 3600.0
        steady = on + np.concatenate((prices[:, number], demand))[:, None] * used
        steady[:count][~up[:, number]] = np.inf
        wait = _later(np, idle, tick_cells if length == terms.tick_seconds else math.ceil(length / step - 1e-6))
        anew = np.minimum(wait, (_later(np, steady, change_cells)[None] + egress).min(axis=1))
        idle, on = anew, np.minimum(steady, anew[homes])
        idle[:, left - slack <= 1e-9] = 0.0
        on[:, left - slack <= 1e-9] = 0.0
    return float(idle[:, -1].min())  # a job without a checkpoint starts in any region without egress


def _grid(terms: PlacementTerms) -> float:
    """The coarsest step in seconds that divides tick and changeover, or the finest that 2,000 cells allow."""
    exact = math.gcd(round(terms.tick_seconds * 1000), round(terms.changeover_seconds * 1000)) / 1000
    least = terms.slack_seconds / _MOST_CELLS
    if exact >= least or terms.tick_seconds < least:
        return max(exact, least)
    return terms.tick_seconds / math.floor(terms.tick_seconds / least)


def _later(np: Any, costs: Any, cells: int) -> Any:
    """The cost of a position with this many fewer slack cells; no slack left means late."""
    if cells == 0:
        return costs.copy()
    out = np.full_like(costs, np.inf)
    if cells < costs.shape[1]:
        out[:, cells:] = costs[:, :-cells]
    return out
