"""Published policies as baselines: on-demand, Spot only, greedy, and two forms of Uniform Progress.

Source: "Can't Be Late: Optimizing Spot Instance Savings under Deadlines", Wu et al., NSDI '24, and the behaviour of the
simulator that its authors published, reimplemented from its description.
"""

import math
from dataclasses import dataclass

from spotbatch.policy.interface import Move, Terms, View


@dataclass(frozen=True, slots=True)
class OnDemandOnly:
    """On-demand throughout: never late, never cheap."""

    name: str = "on-demand"

    def start(self, terms: Terms) -> "_OnDemandPilot":  # noqa: ARG002 - the same for every job
        return _OnDemandPilot()


class _OnDemandPilot:
    def decide(self, view: View) -> Move:  # noqa: ARG002 - whatever is seen
        return Move.ON_DEMAND


@dataclass(frozen=True, slots=True)
class SpotOnly:
    """Spot whenever it is available, ignoring the deadline, so it may be late."""

    name: str = "spot only"

    def start(self, terms: Terms) -> "_SpotPilot":  # noqa: ARG002 - the same for every job
        return _SpotPilot()


class _SpotPilot:
    def decide(self, view: View) -> Move:
        return Move.SPOT if view.is_spot_available else Move.WAIT


@dataclass(frozen=True, slots=True)
class Greedy:
    """Spot only, until only on-demand can still meet the deadline."""

    name: str = "greedy, safety net"

    def start(self, terms: Terms) -> "_GreedyPilot":
        return _GreedyPilot(terms)


class _GreedyPilot:
    def __init__(self, terms: Terms) -> None:
        self._terms = terms

    def decide(self, view: View) -> Move:
        if _is_last_call(self._terms, view):
            return _last_call(view)
        return Move.SPOT if view.is_spot_available else Move.WAIT


@dataclass(frozen=True, slots=True)
class UniformProgress:
    """Keep at least the progress of a straight line from the start to the deadline (section 4.3 of the paper).

    Behind the line and without Spot: on-demand. It leaves on-demand only once it is ahead of where the line is two
    changeovers later. As in its authors' code, it never goes from on-demand to idle; the paper has no such rule.
    """

    is_as_coded: bool = True

    @property
    def name(self) -> str:
        return "UP as coded" if self.is_as_coded else "UP as written"

    def start(self, terms: Terms) -> "_UniformPilot":
        return _UniformPilot(terms, self.is_as_coded)


class _UniformPilot:
    def __init__(self, terms: Terms, is_as_coded: bool) -> None:
        self._terms = terms
        self._is_as_coded = is_as_coded

    def decide(self, view: View) -> Move:
        if _is_last_call(self._terms, view):
            return _last_call(view)
        if view.instance is Move.ON_DEMAND:
            if not self._is_ahead(view, 2 * self._terms.changeover_seconds):
                return Move.ON_DEMAND
            if view.is_spot_available:
                return Move.SPOT
            return Move.ON_DEMAND if self._is_as_coded else Move.WAIT
        if view.is_spot_available:
            return Move.SPOT
        return Move.WAIT if self._is_ahead(view, 0.0) else Move.ON_DEMAND

    def _is_ahead(self, view: View, later_seconds: float) -> bool:
        line = self._terms.work_seconds / self._terms.deadline_seconds
        return view.done_seconds >= (view.elapsed_seconds + later_seconds) * line


def _is_last_call(terms: Terms, view: View) -> bool:
    """The published safety net, in whole ticks: the remaining work plus a changeover fill the remaining time."""
    tick = terms.tick_seconds
    whole_ticks_left = math.floor((terms.deadline_seconds - view.elapsed_seconds) / tick)
    work_left = terms.work_seconds - view.done_seconds
    return math.ceil((work_left + terms.changeover_seconds) / tick) >= whole_ticks_left


def _last_call(view: View) -> Move:
    """A Spot instance that has completed its changeover may stay; if it is reclaimed, there is time for one more."""
    is_settled = view.instance is Move.SPOT and view.pending_seconds <= 0.0
    return Move.SPOT if is_settled and view.is_spot_available else Move.ON_DEMAND
