"""How the pools of one region rise and fall together: end probabilities by the share of the other pools that are up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput

_LEAST: Final = 0.05
_PRIOR_TICKS: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """Factors on the probabilities, between all other pools of the region being down and all of them being up."""

    lost_alone: float
    lost_together: float
    back_alone: float
    back_together: float

    def factor(self, is_up: bool, share: Any) -> Any:
        """The factor on the probability that a period ends; `share` of the others up, a number or numpy array."""
        alone, together = (self.lost_alone, self.lost_together) if is_up else (self.back_alone, self.back_together)
        return alone + (together - alone) * share


NONE: Final = Coupling(lost_alone=1.0, lost_together=1.0, back_alone=1.0, back_together=1.0)

# Fitted by `python bench/placement.py --fit` to the traces that `fitted.py` names.
FITTED_COUPLING: Final = Coupling(lost_alone=2.19, lost_together=0.71, back_alone=0.67, back_together=1.75)


def fit_coupling(regions: Sequence[Mapping[str, Sequence[bool]]]) -> Coupling:
    """The factors that best fit these traces, with each region's zones in parallel (linear in the share).

    A region with one zone contributes nothing. Each region's probabilities are relative to its own mean. Raises
    InvalidInput if no region has two zones.
    """
    lines = {is_up: _Line() for is_up in (True, False)}
    for zones in regions:
        traces = list(zones.values())
        if len(traces) < 2:
            continue
        counted = _counted(traces)
        for is_up, line in lines.items():
            line.add(counted[is_up], len(traces) - 1)
    if not lines[True].weight or not lines[False].weight:
        raise InvalidInput("the coupling of pools is fitted to regions with two zones or more, and none has them")
    lost, back = lines[True].ends(), lines[False].ends()
    return Coupling(lost_alone=lost[0], lost_together=lost[1], back_alone=back[0], back_together=back[1])


def _counted(traces: Sequence[Sequence[bool]]) -> dict[bool, dict[int, list[int]]]:
    """By side and by number of other pools up: ticks at which a period ended, and all ticks."""
    found: dict[bool, dict[int, list[int]]] = {True: {}, False: {}}
    for now, then in pairwise(zip(*traces, strict=True)):
        up = sum(map(bool, now))
        for before, after in zip(now, then, strict=True):
            place = found[bool(before)].setdefault(up - bool(before), [0, 0])
            place[0] += bool(before) != bool(after)
            place[1] += 1
    return found


class _Line:
    """A weighted straight line through relative probabilities by share."""

    def __init__(self) -> None:
        self.weight = self._x = self._y = self._xx = self._xy = 0.0

    def add(self, counted: Mapping[int, Sequence[int]], others: int) -> None:
        mean = sum(ended for ended, _ in counted.values()) / max(sum(all_ticks for _, all_ticks in counted.values()), 1)
        for up, (ended, all_ticks) in counted.items():
            if mean <= 0:
                continue
            x, y = up / others, (ended + _PRIOR_TICKS * mean) / (all_ticks + _PRIOR_TICKS) / mean
            self.weight += all_ticks
            self._x += all_ticks * x
            self._y += all_ticks * y
            self._xx += all_ticks * x * x
            self._xy += all_ticks * x * y

    def ends(self) -> tuple[float, float]:
        """The factor at a share of 0 and of 1."""
        x, y = self._x / self.weight, self._y / self.weight
        spread = self._xx / self.weight - x * x
        slope = (self._xy / self.weight - x * y) / spread if spread > 1e-9 else 0.0
        return max(_LEAST, y - slope * x), max(_LEAST, y + slope * (1.0 - x))
