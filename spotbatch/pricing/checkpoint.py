"""How often to save a checkpoint, and how long work takes with interruptions: closed forms, no randomness."""

import math

from spotbatch.batch.errors import InvalidInput


def best_interval_seconds(*, save_seconds: float, seconds_between_interruptions: float) -> float:
    """The save interval that minimizes the expected run time: Young 1974, Daly 2004 (Future Generation Computer
    Systems 22, eq. 37's first order): sqrt(2 * save * M) - save, or M itself if a save takes M / 2 or longer.

    Raises InvalidInput for values that are not greater than 0.
    """
    delta, mean = save_seconds, seconds_between_interruptions
    if not (delta > 0 and mean > 0):
        raise InvalidInput(f"the time of a save and between interruptions must be above 0, not {delta} and {mean}")
    return mean if delta >= mean / 2 else math.sqrt(2 * delta * mean) - delta


def expected_seconds(
    work_seconds: float,
    *,
    interruptions_per_hour: float,
    restart_seconds: float,
    save_seconds: float = 0.0,
    interval_seconds: float | None = None,
) -> float:
    """Expected wall time of one job whose interruptions come at random (Poisson): Daly 2004, eq. 20.

    Each stretch of an interval and its save must complete without an interruption, or it is repeated after the
    restart. Without an interval nothing is saved, and the whole work is one stretch; this grows exponentially, and
    is infinity where a float cannot hold it.
    """
    rate = interruptions_per_hour / 3600
    if interval_seconds is None or interval_seconds >= work_seconds:
        stretch, count = work_seconds, 1.0
    else:
        stretch, count = interval_seconds + save_seconds, work_seconds / interval_seconds
    if rate <= 0:
        return stretch * count
    try:
        return count * (1 / rate + restart_seconds) * math.expm1(rate * stretch)
    except OverflowError:
        return math.inf
