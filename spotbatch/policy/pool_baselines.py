"""The published policies over several pools, as baselines: Uniform Progress and SkyNomad, reimplemented.

Sources: "Can't Be Late" (Wu et al., NSDI '24), "SkyNomad" (Li et al., arXiv 2601.06520, NSDI '27), and what the
simulator of the latter's artifact (Apache-2.0) was observed to do. Both get every instance, the first included, from
launch attempts that cost nothing if they fail, as ours do.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from spotbatch.policy.interface import EPSILON_SECONDS, Move
from spotbatch.policy.placement import Market, Place, PlacementTerms, PlacementView, SpotPool, is_safe

_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class UniformProgressOverPools:
    """UP as coded (`baselines.UniformProgress`) with Spot from any available pool, cheapest first.

    After a reclaim the other regions are tried first, since Spot tends to disappear across a whole region.
    """

    name: str = "UP over pools"

    def start(self, terms: PlacementTerms) -> "_UniformPilot":
        return _UniformPilot(terms)


class _UniformPilot:
    def __init__(self, terms: PlacementTerms) -> None:
        self._terms = terms

    def decide(self, view: PlacementView, market: Market) -> Place:
        terms, place = self._terms, view.place
        if is_last_call(terms, view):
            settled = place.move is Move.SPOT and view.pending_seconds <= 0.0
            return place if settled else _on_demand(terms, view)
        if place.move is Move.SPOT:
            return place
        if place.move is Move.ON_DEMAND and not self._is_ahead(view, 2 * terms.changeover_seconds):
            return place
        found = _launched(market, self._order(view))
        if found:
            return found
        if place.move is Move.ON_DEMAND:
            return place
        return Place(Move.WAIT, place.region) if self._is_ahead(view, 0.0) else _on_demand(terms, view)

    def _order(self, view: PlacementView) -> list[SpotPool]:
        lost = view.place.region if view.reclaimed else None
        return sorted(self._terms.pools, key=lambda each: (each.region == lost, view.usd_per_hour[each.name]))

    def _is_ahead(self, view: PlacementView, later_seconds: float) -> bool:
        line = self._terms.work_seconds / self._terms.deadline_seconds
        return view.done_seconds >= (view.elapsed_seconds + later_seconds) * line


@dataclass(frozen=True, kw_only=True, slots=True)
class SkyNomad:
    """Weighs the value of progress against each pool's price, changeover and egress, using lifetimes seen so far.

    The value of an hour of progress is 1.2 times the price of a plan for the remaining work, made up of the pools by
    their availability so far and of on-demand. A pool is worth value x (1 - changeover / lifetime) - price - egress /
    lifetime; lifetimes are Nelson-Aalen estimates over runs and probes, at most `most_hours` (the artifact's 2 h
    for steady pools, raised for others). A pool is probed, for a minute's price, every `probe_seconds` until it is up.
    The artifact's factor for bursts of failures is left out.
    """

    name: str = "SkyNomad"
    most_hours: float = 2.0
    probe_seconds: float = _HOUR

    def start(self, terms: PlacementTerms) -> "_SkyNomadPilot":
        return _SkyNomadPilot(terms, self)


@dataclass(slots=True)
class _Seen:
    """Observations of one pool: run lengths in hours and whether each ended in a reclaim; the current run."""

    runs: list[tuple[float, bool]] = field(default_factory=list)
    since: float | None = None
    next_probe: float = 0.0

    def ended(self, now: float, *, is_reclaim: bool) -> None:
        if self.since is not None:
            self.runs.append(((now - self.since) / _HOUR, is_reclaim))
        self.since = None

    def up_hours(self, now: float) -> float:
        return sum(length for length, _ in self.runs) + ((now - self.since) / _HOUR if self.since is not None else 0.0)

    def lifetime_hours(self, now: float, tick_hours: float) -> float:
        """The expected remainder of a run of the current age; infinite if none was ever seen to end."""
        ends = sorted({length for length, is_reclaim in self.runs if is_reclaim})
        age = (now - self.since) / _HOUR if self.since is not None else 0.0
        if not ends:
            return math.inf
        total, alive, at, step = 0.0, 1.0, age, 1.0
        for end in ends:
            at_risk = sum(length >= end - 1e-9 for length, _ in self.runs)
            step = sum(reclaim and abs(length - end) < 1e-9 for length, reclaim in self.runs) / at_risk
            if end > at:
                total += alive * (end - at)
                alive *= math.exp(-step)
                at = end
        return total + alive * tick_hours / (1.0 - math.exp(-step))


class _SkyNomadPilot:
    def __init__(self, terms: PlacementTerms, policy: SkyNomad) -> None:
        self._terms, self._policy = terms, policy
        self._seen = {each.name: _Seen() for each in terms.pools}
        self._began: list[tuple[float, float]] = []  # (elapsed, done), for the recent pace

    def decide(self, view: PlacementView, market: Market) -> Place:
        now, terms = view.elapsed_seconds, self._terms
        if view.reclaimed:
            self._seen[view.reclaimed].ended(now, is_reclaim=True)
        self._began.append((now, view.done_seconds))
        place = self._chosen(view, market)
        if view.place.move is Move.SPOT and place != view.place:
            self._seen[view.place.pool].ended(now, is_reclaim=False)
        if place.move is Move.SPOT and place != view.place:
            self._seen[place.pool].ended(now, is_reclaim=False)
            self._seen[place.pool].since = now
        for each in terms.pools:
            mine = self._seen[each.name]
            if each.name != place.pool and mine.since is None and now >= mine.next_probe:
                mine.next_probe = now + self._policy.probe_seconds
                if market.probe(each.name):
                    mine.since = now
        return place

    def _chosen(self, view: PlacementView, market: Market) -> Place:
        terms, value = self._terms, self._value(view)
        demand = _on_demand(terms, view)
        if is_last_call(terms, view):
            settled = view.place.move is Move.SPOT and view.pending_seconds <= 0.0
            return view.place if settled else demand
        if view.place.move is Move.ON_DEMAND:
            least_worth = value - terms.on_demand_usd_per_hour[view.place.region]
        else:
            least_worth = value - terms.on_demand_usd_per_hour[demand.region]
        ranked = sorted(terms.pools, key=lambda each: -self._worth(view, each, value))
        for each in ranked:
            worth = self._worth(view, each, value)
            place = Place(Move.SPOT, each.region, each.name)
            if worth <= max(0.0, least_worth) or not is_safe(terms, view, place):
                break
            if place == view.place or market.launch(each.name):
                return place
            self._seen[each.name].ended(view.elapsed_seconds, is_reclaim=True)
        if least_worth > 0.0:
            return view.place if view.place.move is Move.ON_DEMAND else demand
        return Place(Move.WAIT, view.place.region)

    def _worth(self, view: PlacementView, pool: SpotPool, value: float) -> float:
        """USD per hour in this pool."""
        terms, life = self._terms, self._lifetime(view, pool)
        is_here = view.place.move is Move.SPOT and view.place.pool == pool.name
        change = 0.0 if is_here else terms.changeover_seconds / _HOUR
        egress = 0.0 if is_here else terms.egress_usd(view.place.region, pool.region)
        return value * max(0.0, 1.0 - change / life) - view.usd_per_hour[pool.name] - egress / life

    def _lifetime(self, view: PlacementView, pool: SpotPool) -> float:
        left = (self._terms.deadline_seconds - view.elapsed_seconds) / _HOUR
        found = self._seen[pool.name].lifetime_hours(view.elapsed_seconds, self._terms.tick_seconds / _HOUR)
        return max(min(found, self._policy.most_hours, left), 1e-6)

    def _value(self, view: PlacementView) -> float:
        """1.2 times the mean price of a plan for the rest: Spot by its observed availability, cheapest first."""
        terms, now = self._terms, view.elapsed_seconds
        work_left = (terms.work_seconds - view.done_seconds) / _HOUR
        time_left = (terms.deadline_seconds - now) / _HOUR
        demand_usd = min(terms.on_demand_usd_per_hour[each] for each in terms.regions)
        demand = work_left * self._demand_share(view)
        rest, usd, used = work_left - demand, demand * demand_usd, 0
        for price, hours in sorted(self._offers(view, time_left)):
            taken = min(hours, rest)
            usd, rest, used = usd + taken * price, rest - taken, used + (taken > 0)
        usd += rest * demand_usd
        switches = max(0, used + (demand + rest > 0) - 1)
        dearest = max((terms.egress_usd(one, two) for one in terms.regions for two in terms.regions), default=0.0)
        return 1.2 * (usd + switches * dearest) / max(work_left, 1e-6)

    def _offers(self, view: PlacementView, time_left: float) -> Iterable[tuple[float, float]]:
        """For each pool: the price of an hour of work, and the hours of work it may provide."""
        now = view.elapsed_seconds
        for each in self._terms.pools:
            life = self._lifetime(view, each)
            rate = max(0.0, 1.0 - self._terms.changeover_seconds / _HOUR / life)
            share = min(1.0, self._seen[each.name].up_hours(now) / (now / _HOUR)) if now > 0 else 0.0
            if rate * share > 0:
                yield view.usd_per_hour[each.name] / rate, share * time_left * rate

    def _demand_share(self, view: PlacementView) -> float:
        """The fraction of the time left that on-demand would need if the pace of the last ten hours continued."""
        terms, now = self._terms, view.elapsed_seconds
        then = next(((at, done) for at, done in self._began if at >= now - 10 * _HOUR), (0.0, 0.0))
        pace = min(1.0, (view.done_seconds - then[1]) / (now - then[0])) if now > then[0] else 1.0
        if now <= 0 or pace >= 1.0 - 1e-6:
            return 0.0
        # Where progress at this pace meets the on-demand line that ends two changeovers before the deadline.
        base = view.done_seconds - pace * now
        line = terms.work_seconds + 2 * terms.changeover_seconds - terms.deadline_seconds
        meets = (line - base) / (pace - 1.0)
        return min(1.0, max(0.0, (terms.deadline_seconds - meets) / (terms.deadline_seconds - now)))


# ---- of both ----


def is_last_call(terms: PlacementTerms, view: PlacementView) -> bool:
    """The published safety net, in whole ticks: the remaining work plus a changeover fill the remaining time."""
    tick = terms.tick_seconds
    ticks_left = math.floor((terms.deadline_seconds - view.elapsed_seconds + EPSILON_SECONDS) / tick)
    work_left = terms.work_seconds - view.done_seconds
    return math.ceil((work_left + terms.changeover_seconds) / tick) >= ticks_left


def _on_demand(terms: PlacementTerms, view: PlacementView) -> Place:
    """On-demand where it already is, else where on-demand plus egress is cheapest."""
    if view.place.move is Move.ON_DEMAND:
        return view.place
    hours = (terms.work_seconds - view.done_seconds) / _HOUR

    def usd(region: str) -> float:
        return hours * terms.on_demand_usd_per_hour[region] + terms.egress_usd(view.place.region, region)

    own = view.place.region
    return Place(Move.ON_DEMAND, min(terms.regions, key=lambda each: (usd(each), each != own, each)))


def _launched(market: Market, order: Iterable[SpotPool]) -> Place | None:
    for each in order:
        if market.launch(each.name):
            return Place(Move.SPOT, each.region, each.name)
    return None
