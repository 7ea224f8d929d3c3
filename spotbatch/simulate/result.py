"""The result of a simulated run: counts, times and cost and, on request, the lives of its hosts and attempts."""

from dataclasses import dataclass
from decimal import Decimal

from spotbatch.pricing.usage import AttemptUse, HostLife


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One run. Seconds of work are summed over jobs; `usd` is what the hosts cost by the price list.

    `on_demand_usd` bills the same hosts' hours on demand, and `undisturbed_usd` an on-demand run of the same jobs
    without interruptions; the saving is against the latter, since hours wasted by Spot are not a saving.
    """

    seed: int
    offset_seconds: float
    is_finished: bool  # False: aborted after the scenario's maximum number of days
    makespan_seconds: float
    attempts: int
    succeeded: int
    failed: int
    interruptions: int  # attempts ended by a reclaim
    hosts: int
    reclaimed_hosts: int
    refused_launches: int
    work_seconds: float
    lost_seconds: float
    restart_seconds: float
    checkpoint_seconds: float
    usd: Decimal = Decimal(0)
    on_demand_usd: Decimal = Decimal(0)
    undisturbed_usd: Decimal | None = None

    @property
    def saving_percent(self) -> float | None:
        """Against the undisturbed on-demand run; None if that was not simulated or is free, or if work was left."""
        if not self.undisturbed_usd or not self.is_finished:
            return None
        return float(100 - 100 * self.usd / self.undisturbed_usd)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The lives behind a run, for a chart or a bill. Times are in seconds of the run."""

    hosts: tuple[HostLife, ...]
    attempts: tuple[AttemptUse, ...]
