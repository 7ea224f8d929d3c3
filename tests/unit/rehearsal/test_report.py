"""What a rehearsal's page says of how often to save."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import ResourceRequirements
from spotbatch.rehearsal.outputs import Output
from spotbatch.rehearsal.reclaim_plan import ReclaimPlan
from spotbatch.rehearsal.rehearsal import Rehearsed, Trial
from spotbatch.rehearsal.report import as_document, facts


def rehearsed(plan: ReclaimPlan, *, save_seconds: float = 2.0) -> Rehearsed:
    record = AttemptRecord(started_at=0.0, ended_at=60.0, checkpoints_saved=1, checkpoint_seconds=save_seconds)
    trial = Trial(seconds=60.0, outputs={None: {"n": Output(sha256="1")}}, records=[record], interruptions=1, failed=0)
    return Rehearsed(
        needs=ResourceRequirements(vcpus=1, memory_mib=512),
        sample=1,
        plan=plan,
        rate=plan.interruptions_per_hour(),
        quiet=trial,
        disturbed=trial,
    )


def said(found: Rehearsed) -> dict[str, str]:
    return dict(facts(found, 1))


def trace_file(folder: Path, available: list[int]) -> Path:
    path = folder / "trace.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 600}, "availability": available}))
    return path


def test_at_a_chosen_rate_the_interval_is_that_rates_and_ec2s_stands_beside_it() -> None:
    page = said(rehearsed(ReclaimPlan(reclaims_per_host_hour=4)))
    # Daly by hand: sqrt(2 * 2 s * 900 s) - 2 s = 58 s
    assert page["save every, as rehearsed"].startswith("58 s (SPOTBATCH_CHECKPOINT_SECONDS=58)")
    assert "the chosen --rate: one interruption in 15 min 00 s" in page["save every, as rehearsed"]
    assert "EC2's published interruption bands: one in " in page["save every, on EC2"]


def test_without_a_rate_only_ec2s_interval_is_given_and_says_whence() -> None:
    page = said(rehearsed(ReclaimPlan()))
    assert "save every, as rehearsed" not in page
    assert "EC2's published interruption bands" in page["save every, on EC2"]


def test_a_traces_rate_is_counted_at_its_own_pace_however_fast_it_was_played(tmp_path: Path) -> None:
    # 40 probes of 10 min: 36 with capacity (6 h), 2 interruptions; Jeffreys' estimate: 2.5 in 6 h
    trace = trace_file(tmp_path, ([1] * 18 + [0] * 2) * 2)
    for speed in (1.0, 600.0):
        found = rehearsed(ReclaimPlan(trace_file=trace, trace_speed=speed))
        assert found.rate == pytest.approx(2.5 / 6)
        assert "the trace, at its own pace: one interruption in 2 h 24 min" in said(found)["save every, as rehearsed"]


def test_a_trace_that_was_never_up_has_no_rate(tmp_path: Path) -> None:
    assert ReclaimPlan(trace_file=trace_file(tmp_path, [0, 0, 0])).interruptions_per_hour() is None


def test_the_document_names_each_intervals_rate_and_source_the_chosen_one_first() -> None:
    found = as_document(rehearsed(ReclaimPlan(reclaims_per_host_hour=4)), 1)
    first, second = found["checkpoint_intervals"]
    assert (first["source"], first["interruptions_per_hour"], first["seconds"]) == ("rate", 4, pytest.approx(58))
    assert second["source"] == "published bands"
    assert found["checkpoint_interval_seconds"] == first["seconds"]
    assert found["full_run"]["interruption_source"] == "published bands"


@pytest.mark.parametrize(("rate", "setting"), [(1e5, "0.05"), (1e-6, "86400")])
def test_the_setting_it_gives_is_one_that_the_runtime_takes(rate: float, setting: str) -> None:
    save = 0.001 if rate > 1 else 2.0
    page = said(rehearsed(ReclaimPlan(reclaims_per_host_hour=rate), save_seconds=save))
    assert f"SPOTBATCH_CHECKPOINT_SECONDS={setting})" in page["save every, as rehearsed"]
    assert "in 0 " not in page["save every, as rehearsed"]


def test_the_full_runs_cost_says_that_it_supposes_ec2s_rates_not_the_chosen_one() -> None:
    assert (
        "EC2's published interruption bands"
        in said(rehearsed(ReclaimPlan(reclaims_per_host_hour=60)))["the full run of 1"]
    )


def test_the_measured_restore_is_part_of_a_restart_and_half_of_it_is_priced() -> None:
    calm = rehearsed(ReclaimPlan())
    resumed = [replace(one, resumed_from="m1", restore_seconds=600.0) for one in calm.disturbed.records]
    slow = replace(calm, disturbed=replace(calm.disturbed, records=resumed))
    assert said(slow)["one restore takes"] == "600.00 s, on top of a new host's boot"
    assert dict(facts(slow, 10_000))["a shorter restart"].startswith(
        "half of 13 min 00 s (boot, image, restore) would save "
    )
    assert "one restore takes" not in said(calm)
    costs = [as_document(found, 10_000)["full_run"]["half_restart_usd"] for found in (calm, slow)]
    assert costs[1] > 2 * costs[0] > 0


def test_a_rate_that_no_clock_could_hold_is_refused() -> None:
    with pytest.raises(InvalidInput, match="above 0, not 1e-310"):
        ReclaimPlan(reclaims_per_host_hour=1e-310)


def test_snapshots_are_counted_and_each_reason_for_having_none_is_given_once() -> None:
    found = rehearsed(ReclaimPlan())
    assert "snapshots" not in said(found), "none were asked for"
    why = "no snapshot: it uses io_uring"
    dumped = AttemptRecord(started_at=0.0, snapshot_bytes=5, snapshot_seconds=0.1)
    refused = AttemptRecord(started_at=0.0, snapshot_restore_seconds=0.2, snapshot_refused=why)
    found = replace(found, disturbed=replace(found.disturbed, records=[dumped, refused, refused]))
    assert said(found)["snapshots"] == "1 stored; 2 attempts went on from one"
    assert [answer for name, answer in facts(found, 1) if name == "no snapshot"] == ["it uses io_uring"]
    document = as_document(found, 1)
    assert (document["snapshots"], document["snapshot_restores"], document["snapshot_refusals"]) == (1, 2, [why])
