"""What a simulated run was: counts, times and money; and, if asked for, the lives of its hosts and attempts."""

from dataclasses import dataclass
from decimal import Decimal

from spotbatch.pricing.usage import AttemptUse, HostLife


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One run. Seconds of work are those of single jobs, added up; `usd` is what the hosts cost by the price list.

    `on_demand_usd` bills the same hosts' hours on demand, and `undisturbed_usd` an on-demand run of the same jobs
    without interruptions; the saving is against the latter, since hours that Spot wasted are no saving.
    """

    seed: int
    offset_seconds: float
    is_finished: bool  # False: given up after the scenario's most days
    makespan_seconds: float
    attempts: int
    succeeded: int
    failed: int
    interruptions: int  # attempts that a reclaim ended
    hosts: int
    reclaimed_hosts: int
    refused_launches: int
    host_seconds: float
    work_seconds: float
    lost_seconds: float
    restart_seconds: float
    checkpoint_seconds: float
    usd: Decimal = Decimal(0)
    on_demand_usd: Decimal = Decimal(0)
    undisturbed_usd: Decimal | None = None

    @property
    def saving_percent(self) -> float | None:
        """Against the undisturbed on-demand run; None where that was not simulated, costs nothing, or work was left."""
        if not self.undisturbed_usd or not self.is_finished:
            return None
        return float(100 - 100 * self.usd / self.undisturbed_usd)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The lives behind a run, for a chart or a bill. Times are seconds of the run."""

    hosts: tuple[HostLife, ...]
    attempts: tuple[AttemptUse, ...]
