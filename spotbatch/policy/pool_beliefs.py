"""Beliefs about each pool: up or down, its age and regime, updated only where a job tried."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from spotbatch.policy.coupling import NONE, Coupling
from spotbatch.policy.hazard import HazardModel
from spotbatch.policy.joint_table import Chance, others_of
from spotbatch.policy.placement import SpotPool
from spotbatch.policy.table import ages_moved, chances_of_end

_LEAST_RATE: Final = 1e-6  # per hour: an old period that never ends


class PoolBeliefs:
    """Bayes' rule for each pool on its own, a tick at a time. `odds[pool, up, bucket of age, regime]`; needs numpy."""

    def __init__(
        self, model: HazardModel, tick_seconds: float, pools: Sequence[SpotPool], coupling: Coupling = NONE
    ) -> None:
        import numpy as np

        self._np = np
        self._ends, self._moves, settled = _settled(model, tick_seconds)
        self._odds = np.repeat(settled[None], len(pools), axis=0)
        self._coupling = coupling
        self._others = others_of(np, pools)
        self._hours = np.array(
            [[model.mean_hours(each.rates(is_up)) for each in model.regimes] for is_up in (False, True)]
        )

    def pass_tick(self) -> None:
        """A tick has passed: periods have ended or aged."""
        self._odds = _passed(self._np, self._odds, self._chances_of_end(), self._moves)

    def see(self, pool: int, *, is_up: bool) -> None:
        """Observe that an instance was up, could be launched, or could not."""
        odds = self._odds[pool]
        odds[int(not is_up)] = 0.0
        total = odds.sum()
        if total <= 0.0:  # it was considered impossible
            odds[int(is_up)] = 1.0
            total = odds.sum()
        odds /= total

    def up_now(self) -> Any:
        """For each pool, the probability that an instance is available now."""
        return self._odds[:, 1].sum(axis=(1, 2))

    def up_next(self) -> tuple[Any, Any]:
        """The probability that each pool is up a tick later: as believed now, and given that it is up now."""
        ended = self._odds * self._chances_of_end()
        up = self._odds[:, 1].sum(axis=(1, 2))
        stays = up - ended[:, 1].sum(axis=(1, 2))
        fresh = 1.0 - self._ends[1, 0].mean()
        if_up = self._np.where(up > 1e-9, stays / self._np.maximum(up, 1e-9), fresh)
        return stays + ended[:, 0].sum(axis=(1, 2)), if_up

    def _chances_of_end(self) -> Any:
        """By (pool, up, bucket, regime): the model's, adjusted by beliefs about the region's other pools."""
        np = self._np
        shares = self._others @ self.up_now()
        lost, back = (np.where(np.isnan(shares), 1.0, self._coupling.factor(is_up, shares)) for is_up in (True, False))
        factors = np.stack((back, lost), axis=1)[:, :, None, None]
        return np.minimum(self._ends[None] * factors, 1.0)

    def chances(self, slowness: float) -> list[Chance]:
        """Each pool's rates for the table, which ignores age: believed ends per hour up, and per hour down.

        `slowness` multiplies the recovery rates: outages of several pools are correlated, but the table assumes that
        they are independent.
        """
        weights = self._odds.sum(axis=(1, 2))
        ends = weights @ (1.0 / self._hours.sum(axis=0))
        parts = weights @ (self._hours / self._hours.sum(axis=0)).T  # of each hour: down, up
        return [
            Chance(
                up_ends_per_hour=float(end / max(hours[1], 1e-6)),
                down_ends_per_hour=float(slowness * end / max(hours[0], 1e-6)),
            )
            for end, hours in zip(ends, parts, strict=True)
        ]

    def availability(self) -> list[float]:
        """The fraction of time that each pool is up, by the believed regimes."""
        return [
            each.down_ends_per_hour / (each.up_ends_per_hour + each.down_ends_per_hour) for each in self.chances(1.0)
        ]


def _passed(np: Any, odds: Any, ends: Any, moves: Any) -> Any:
    ended = odds * ends
    after = np.einsum("puar,ab->pubr", odds - ended, moves)
    after[:, ::-1, 0] += ended.sum(axis=2)
    return after


@lru_cache(maxsize=4)
def _settled(model: HazardModel, tick_seconds: float) -> tuple[Any, Any, Any]:
    """End probabilities by (up, bucket, regime), age transitions, and the beliefs about an unobserved pool."""
    import numpy as np

    ends, moves = chances_of_end(np, model, tick_seconds), ages_moved(np, model, tick_seconds)
    odds = np.zeros(ends.shape)
    for place, regime in enumerate(model.regimes):
        hours = np.array([_hours_at_ages(model, regime.rates(is_up)) for is_up in (False, True)])
        odds[:, :, place] = regime.weight * hours / hours.sum()
    return ends, moves, odds


def _hours_at_ages(model: HazardModel, rates: tuple[float, ...]) -> list[float]:
    """How long a period with these rates spends, on average, within each age bucket."""
    found, alive = [], 1.0
    for place, rate in enumerate(rates):
        is_last = place + 1 == len(rates)
        length = math.inf if is_last else (model.edges_seconds[place + 1] - model.edges_seconds[place]) / 3600.0
        stays = 0.0 if is_last else math.exp(-rate * length)
        found.append(alive * ((1.0 - stays) / max(rate, _LEAST_RATE) if rate or is_last else length))
        alive *= stays
    return found
