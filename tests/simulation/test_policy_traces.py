"""The policies on the published traces: the yardsticks' figures, and ours on zones and weeks that it never saw."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import fmean

import pytest

from spotbatch.policy.baselines import Greedy, UniformProgress
from spotbatch.policy.deadline import DeadlinePolicy
from spotbatch.policy.fit import fit
from spotbatch.policy.interface import Policy, Terms
from spotbatch.policy.oracle import Optimum
from spotbatch.policy.replay import replay, saving
from spotbatch.simulate.deadlines import windows_of
from spotbatch.simulate.trace import read_traces

NAME = "spot-availability-2023-p3.2xlarge.csv.gz"
PROBES_A_TICK = 3  # 3 x 195 s = 585 s
TERMS = Terms(
    work_seconds=48 * 3600, deadline_seconds=60 * 3600, changeover_seconds=720, tick_seconds=585, price_ratio=3.144
)
STRIDE = 24  # ticks between windows: 2,385 of them


def trace_file() -> Path:
    """SPOTBATCH_TRACES (the file or its folder), else a folder shared/data above this repository."""
    here = Path(__file__).resolve()
    given = os.environ.get("SPOTBATCH_TRACES")
    places = [Path(given)] if given else [parent / "shared" / "data" for parent in here.parents]
    for place in places:
        found = place if place.is_file() else place / NAME
        if found.is_file():
            return found
    pytest.skip(f"the published traces ({NAME}) are not ours to ship: set SPOTBATCH_TRACES to the file")


@cache
def traces() -> Mapping[str, Sequence[bool]]:
    return {each.zone: each.coarser(PROBES_A_TICK).available for each in read_traces(trace_file())}


def mean_saving(policy: Policy, stride: int = STRIDE) -> float:
    windows = windows_of(traces(), TERMS, stride)
    outcomes = [replay(TERMS, policy, each) for found in windows.values() for each in found]
    assert not any(each.is_late for each in outcomes)
    return 100 * fmean(saving(each.cost, TERMS) for each in outcomes)


@pytest.mark.parametrize(
    ("policy", "published"),
    [(UniformProgress(), 39.7), (UniformProgress(is_as_coded=False), 36.9), (Greedy(), 33.5)],
    ids=["UP as coded", "UP as written", "greedy"],
)
def test_a_yardstick_reproduces_its_known_saving_within_half_a_point(policy: Policy, published: float) -> None:
    assert sum(map(len, windows_of(traces(), TERMS, STRIDE).values())) == 2385
    assert mean_saving(policy) == pytest.approx(published, abs=0.5)


def test_the_omniscient_optimum_reproduces_its_known_saving_within_half_a_point() -> None:
    windows = windows_of(traces(), TERMS, STRIDE)
    costs = [cost for found in windows.values() for cost in Optimum().costs(TERMS, found)]
    assert 100 * fmean(saving(cost, TERMS) for cost in costs) == pytest.approx(44.5, abs=0.5)


def test_ours_beats_uniform_progress_on_every_zone_left_out_of_its_training_and_is_never_late() -> None:
    """Every third window, and the other half of the weeks: a lighter form of what bench/policy.py prints."""
    gains = {zone: gain for zone in traces() for gain in [held_out_gain(zone)]}
    assert min(gains.values()) > 0, gains
    assert fmean(gains.values()) > 1.9, gains


def held_out_gain(zone: str) -> float:
    """Points over UP on the second half of a zone, trained on the first half of the others."""
    half = len(traces()[zone]) // 2
    model = fit([trace[:half] for other, trace in traces().items() if other != zone], TERMS.tick_seconds)
    terms = replace(TERMS, is_reclaim_seen_at_once=True)
    windows = windows_of({zone: traces()[zone][half:]}, terms, 3 * STRIDE)[zone]
    ours = [replay(terms, DeadlinePolicy(model=model), each) for each in windows]
    assert not any(each.is_late for each in ours)
    theirs = [replay(terms, UniformProgress(), each) for each in windows]
    return 100 * (fmean(saving(a.cost, terms) - saving(b.cost, terms) for a, b in zip(ours, theirs, strict=True)))
