"""How often to save: Daly's optimum from the cost of a save and the mean time between interruptions."""

import math

SHORTEST_SECONDS = 5.0
LONGEST_SECONDS = 600.0
FIRST_SECONDS = 30.0  # until the cost of a save has been measured


def daly_seconds(save_seconds: float, mean_seconds_between: float) -> float:
    """The working time between two saves that minimizes the time lost to saves and to repeated work together.

    Source: J. T. Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
    Generation Computer Systems 22 (2006), equation 37: with cost d and mean time M, for d < 2M,
    sqrt(2dM) * (1 + sqrt(d / 2M) / 3 + (d / 2M) / 9) - d, else M.
    """
    if save_seconds >= 2 * mean_seconds_between:
        return mean_seconds_between
    ratio = save_seconds / (2 * mean_seconds_between)
    return math.sqrt(2 * save_seconds * mean_seconds_between) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - save_seconds


def next_interval_seconds(save_seconds: float | None, interruptions_per_hour: float) -> float:
    """Daly's interval within bounds; a short first one if no save has been measured yet."""
    if save_seconds is None:
        return FIRST_SECONDS
    best = daly_seconds(max(save_seconds, 0.001), 3600 / interruptions_per_hour)
    return min(max(best, SHORTEST_SECONDS), LONGEST_SECONDS)
