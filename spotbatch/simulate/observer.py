"""Observers of a running world: one bills hosts, the other also records every lifetime."""

from decimal import Decimal
from typing import Final

from spotbatch.batch.attempt_outcome import outcome_of
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.status import host_terminated
from spotbatch.pricing.history import Prices, Usage
from spotbatch.pricing.usage import AttemptUse, HostLife, Observed
from spotbatch.simulate.fleet import SimulatedHost
from spotbatch.simulate.result import Timeline
from spotbatch.simulate.scenario import Scenario
from spotbatch.simulate.work import Attempt

MOST_RECORDED_ATTEMPTS: Final = 50_000


class Watcher:
    """Bills each host as it ends, at list prices; without prices it counts no cost."""

    def __init__(self, prices: Prices | None, *, is_spot: bool) -> None:
        self._prices = prices
        self._is_spot = is_spot
        self.usd = Decimal(0)
        self.on_demand_usd = Decimal(0)

    def host_ended(self, host: SimulatedHost, now: float, *, is_reclaimed: bool) -> None:
        if self._prices is None:
            return
        usage = _usage(host, now, is_reclaimed=is_reclaimed and self._is_spot)
        self.usd += self._prices.of(is_spot=self._is_spot).cost(usage)
        self.on_demand_usd += self._prices.on_demand.cost(_usage(host, now, is_reclaimed=False))

    def attempt_ended(
        self, job_no: int, index: int, attempt: Attempt, now: float, exit_code: int | None, lost_seconds: float = 0.0
    ) -> None:
        """Nothing to do: hosts are billed, not attempts."""


class Recorder(Watcher):
    """Also records lifetimes, up to 50,000 attempts. Raises InvalidInput beyond that: a larger chart is unreadable."""

    def __init__(self, prices: Prices | None, scenario: Scenario) -> None:
        super().__init__(prices, is_spot=scenario.is_spot)
        self._scenario = scenario
        self._hosts: list[HostLife] = []
        self._attempts: list[AttemptUse] = []

    def host_ended(self, host: SimulatedHost, now: float, *, is_reclaimed: bool) -> None:
        super().host_ended(host, now, is_reclaimed=is_reclaimed)
        self._hosts.append(
            HostLife(
                instance_id=_name(host.host_no),
                instance_type=host.pool.instance_type,
                zone=host.pool.zone,
                vcpus=int(host.pool.vcpus),
                memory_mib=host.pool.memory_mib,
                is_spot=self._scenario.is_spot,
                launched_at=host.launched_at,
                started_at=host.started_at,
                ended_at=now,
                is_reclaimed=is_reclaimed,
            )
        )

    def attempt_ended(
        self, job_no: int, index: int, attempt: Attempt, now: float, exit_code: int | None, lost_seconds: float = 0.0
    ) -> None:
        if len(self._attempts) >= MOST_RECORDED_ATTEMPTS:
            raise InvalidInput(f"more than {MOST_RECORDED_ATTEMPTS} attempts are too many to draw: simulate fewer jobs")
        self._attempts.append(
            AttemptUse(
                job_id=f"job-{job_no}",
                job_name="simulated",
                array_index=index,
                attempt=attempt.number,
                instance_id=_name(attempt.host_no),
                vcpus=self._scenario.jobs.vcpus,
                memory_mib=self._scenario.jobs.memory_mib,
                started_at=attempt.started_at,
                stopped_at=now,
                outcome=outcome_of(
                    exit_code=exit_code,
                    status_reason=host_terminated(_name(attempt.host_no)) if exit_code is None else "",
                    is_spot=self._scenario.is_spot,
                ),
                observed=Observed(
                    lost_seconds=lost_seconds,
                    restore_seconds=min(attempt.work_from, now) - attempt.started_at if attempt.number > 1 else 0.0,
                ),
            )
        )

    def timeline(self) -> Timeline:
        return Timeline(hosts=tuple(self._hosts), attempts=tuple(self._attempts))


def _name(host_no: int) -> str:
    return f"i-{host_no:017x}"


def _usage(host: SimulatedHost, now: float, *, is_reclaimed: bool) -> Usage:
    return Usage(
        instance_type=host.pool.instance_type,
        zone=host.pool.zone,
        started_at=host.launched_at,
        stopped_at=now,
        is_interrupted_by_ec2=is_reclaimed,
    )
