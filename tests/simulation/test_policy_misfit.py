"""Ours on pools unlike those that its model was fitted to: it may gain less, not lose."""

from random import Random
from statistics import fmean

import pytest

from spotbatch.policy.baselines import UniformProgress
from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fitted_model import FITTED
from spotbatch.policy.interface import Terms
from spotbatch.policy.replay import replay, saving

TERMS = Terms(
    work_seconds=48 * 3600,
    deadline_seconds=60 * 3600,
    changeover_seconds=720,
    tick_seconds=600,
    price_ratio=3.0,
    is_reclaim_seen_at_once=True,
)


def memoryless(up_hours: float, down_hours: float, seed: int) -> list[bool]:
    chance = Random(seed)
    is_up = chance.random() < up_hours / (up_hours + down_hours)
    out = []
    for _ in range(TERMS.ticks):
        out.append(is_up)
        if chance.random() < 600 / 3600 / (up_hours if is_up else down_hours):
            is_up = not is_up
    return out


@pytest.mark.parametrize(("up_hours", "down_hours"), [(1, 1), (10, 2), (0.5, 3), (20, 20), (48, 1)])
def test_ours_does_not_lose_to_uniform_progress_on_pools_without_memory(up_hours: float, down_hours: float) -> None:
    windows = [memoryless(up_hours, down_hours, seed) for seed in range(30)]
    ours = [replay(TERMS, DeadlinePolicy(model=FITTED), each) for each in windows]
    theirs = [replay(TERMS, UniformProgress(), each) for each in windows]
    assert not any(each.is_late for each in ours)
    gain = fmean(saving(a.cost, TERMS) - saving(b.cost, TERMS) for a, b in zip(ours, theirs, strict=True))
    assert gain > -0.002, f"{100 * gain:.2f} points"
