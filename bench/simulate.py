"""The simulator's speed: attempts per second, memory, and how the cost of an attempt grows from 10,000 to 1,000,000.

Each size runs in its own process, so that peak memory is its own. `--small` stops at 100,000.
"""

import resource
import sys
import time
from multiprocessing import get_context

from spotbatch.batch.placement import Pool
from spotbatch.simulate.engine import World
from spotbatch.simulate.montecarlo import MonteCarlo, run_many
from spotbatch.simulate.observer import Watcher
from spotbatch.simulate.scenario import Jobs, Scenario
from spotbatch.simulate.spot_capacity import CapacityAtRate


def scenario(jobs: int, seed: int = 1) -> Scenario:
    """Uneven jobs of about ten minutes on up to 2,000 vCPUs in three zones, interrupted now and then."""
    pools = tuple(
        Pool(instance_type="c5.2xlarge", zone=f"us-east-1{zone}", vcpus=8, memory_mib=15000, usd_per_hour=0.34)
        for zone in "abc"
    )
    return Scenario(
        jobs=Jobs(count=jobs, work_seconds=600.0, work_spread=0.3),
        pools=pools,
        max_vcpus=2000,
        capacity=CapacityAtRate(reclaims_per_hour=0.05),
        seed=seed,
    )


def one(jobs: int) -> tuple[int, float, float, float]:
    """(attempts, seconds, CPU seconds, peak MiB) of one run."""
    begun, core = time.perf_counter(), time.process_time()
    result = World(scenario(jobs), Watcher(None, is_spot=True)).run()
    seconds, core = time.perf_counter() - begun, time.process_time() - core
    assert result.is_finished
    return result.attempts, seconds, core, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str]) -> None:
    sizes = (10_000, 100_000) if "--small" in arguments else (10_000, 100_000, 1_000_000)
    print("one run on one core")
    each: dict[int, float] = {}
    for size in sizes:
        with get_context("spawn").Pool(1) as alone:
            attempts, seconds, core, memory = alone.apply(one, (size,))
        each[size] = core / attempts
        print(
            f"  {attempts:9,} attempts {seconds:6.2f} s ({core:.2f} s of the core)  {attempts / seconds:9,.0f}/s  "
            f"{1e6 * each[size]:5.1f} us each  {memory:4.0f} MiB"
        )
    print(f"  cost of an attempt, {sizes[-1]:,} over {sizes[0]:,}: {each[sizes[-1]] / each[sizes[0]]:.2f}")
    runs, jobs = 20, sizes[-1] // 20
    begun = time.perf_counter()
    results = run_many(MonteCarlo(scenario=scenario(jobs), runs=runs))
    seconds = time.perf_counter() - begun
    attempts = sum(result.attempts for result in results)
    rate = attempts / seconds
    print(f"{runs} runs of {jobs:,} jobs on all cores: {attempts:,} attempts in {seconds:.1f} s, {rate:,.0f}/s")


if __name__ == "__main__":
    main(sys.argv[1:])
