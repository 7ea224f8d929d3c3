"""Fitting: what was put into a trace comes out of it."""

import random

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.policy.fit import FitSettings, fit


def flapping(seed: int, ticks: int, up_ends: float, down_ends: float) -> list[bool]:
    """A trace without memory, with these chances of an end per tick."""
    chance = random.Random(seed)
    out, is_up = [], True
    for _ in range(ticks):
        out.append(is_up)
        if chance.random() < (up_ends if is_up else down_ends):
            is_up = not is_up
    return out


def test_the_hazards_of_a_trace_without_memory_are_found_at_every_age() -> None:
    model = fit([flapping(1, 60_000, 0.10, 0.20)], 585.0, FitSettings(regimes=1))
    regime = model.regimes[0]
    for rates, chance in ((regime.up_ends_per_hour, 0.10), (regime.down_ends_per_hour, 0.20)):
        for edge in model.edges_seconds[:8]:
            found = model.end_probability(regime, rates is regime.up_ends_per_hour, edge, 585.0)
            assert found == pytest.approx(chance, rel=0.15)


def test_two_kinds_of_pools_become_two_regimes() -> None:
    traces = [flapping(seed, 4000, 0.02, 0.3) for seed in range(6)]
    traces += [flapping(100 + seed, 4000, 0.4, 0.05) for seed in range(3)]
    model = fit(traces, 585.0, FitSettings(regimes=2, prior_ticks=1.0))
    first, second = (model.end_probability(each, True, 0.0, 585.0) for each in model.regimes)
    assert min(first, second) == pytest.approx(0.02, abs=0.02)
    assert max(first, second) == pytest.approx(0.4, abs=0.05)
    assert max(each.weight for each in model.regimes) == pytest.approx(2 / 3, abs=0.05)


def test_the_same_traces_give_the_same_model() -> None:
    traces = [flapping(seed, 3000, 0.1, 0.1) for seed in range(3)]
    assert fit(traces, 585.0) == fit(traces, 585.0)


def test_too_few_traces_for_the_regimes_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too few for 3 regimes"):
        fit([flapping(1, 300, 0.1, 0.1)], 585.0)
