"""A second opinion where all pools are of one region: the region as one pool, with the ages of its periods.

The joint table knows each pool, but its odds do not depend on how long a pool has been up or away. The single-pool
table (`policy.table`) knows the ages, but one pool only. Where every pool is of one region, a move to another costs no
egress and their outages come together, so the region is much like one pool that is up while any of them is: the mean
of the two tables' costs is closer to the optimum than either.
"""

from typing import Final

from spotbatch.policy.deadline import Beliefs, DeadlinePolicy, cost_at, solved_table
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.interface import Move, Terms
from spotbatch.policy.placement import Place, PlacementTerms, PlacementView
from spotbatch.policy.table import STAY_ON_DEMAND, STAY_ON_SPOT, WAIT

_HOUR: Final = 3600.0
_CAUTION: Final = 1.0  # none: the joint table has its own, and more was measured to be worse


class RegionTable:
    """Costs-to-go in USD, by the single-pool table, of a job whose pools are all of one region."""

    def __init__(self, terms: PlacementTerms, model: HazardModel) -> None:
        """Solves the table, unless the one for these terms was just used; `model` holds the regimes held possible.

        Needs numpy.
        """
        policy = DeadlinePolicy(model=model, caution=_CAUTION, is_wide=False)  # the model has its doubt already
        self._usd_per_hour = min(each.usd_per_hour for each in terms.pools)
        demand = min(terms.on_demand_usd_per_hour[each] for each in terms.regions)
        self._terms = Terms(
            work_seconds=terms.work_seconds,
            deadline_seconds=terms.deadline_seconds,
            changeover_seconds=terms.changeover_seconds,
            tick_seconds=terms.tick_seconds,
            price_ratio=round(demand / self._usd_per_hour, 1),  # rounded, so that a table serves many jobs
            is_reclaim_seen_at_once=terms.is_reclaim_seen_at_once,
        )
        self._table = solved_table(self._terms, policy.believed, policy.caution)
        self._beliefs = Beliefs(policy.believed, terms.tick_seconds, policy.fresh())

    def see(self, is_up: bool | None) -> None:
        """Process one tick: some pool was up, none was, or (None) no pool was tried."""
        if is_up is None:
            self._beliefs.pass_tick()
        else:
            self._beliefs.see(is_up)

    def costs(self, view: PlacementView, targets: list[Place], *, is_up: bool) -> tuple[list[float], float]:
        """Costs-to-go in USD of each target and of waiting, if some pool is up in this tick or none is."""
        table, terms = self._table, self._terms
        bucket, weights = self._beliefs.after(is_up)
        left = terms.deadline_seconds - view.elapsed_seconds
        slack = left - (terms.work_seconds - view.done_seconds)
        costs = table.at(view.elapsed_seconds, bucket, weights, is_up=is_up)
        usd = self._usd_per_hour * terms.tick_seconds / _HOUR  # of the table's unit, a tick of Spot
        found = []
        for each in targets:
            after = slack - (view.pending_seconds if each == view.place else terms.changeover_seconds)
            column = STAY_ON_SPOT if each.move is Move.SPOT else STAY_ON_DEMAND
            found.append(usd * cost_at(costs, after / table.cell_seconds, column))
        return found, usd * cost_at(costs, slack / table.cell_seconds, WAIT)
