"""The runtime's attempt records as money reads them."""

from dataclasses import replace

import pytest

from spotbatch.batch.attempt_outcome import AttemptOutcome
from spotbatch.batch.attempt_record import AttemptRecord, record_of
from spotbatch.batch.errors import InvalidInput
from spotbatch.pricing.catalogue import catalogue
from spotbatch.pricing.records import inferred_hosts, mean_seconds, observed_of, sample_of
from spotbatch.pricing.usage import AttemptUse

BASE = AttemptRecord(run_id="r", job_id="j", attempt=1, instance_type="c5.large", zone="z", started_at=1000.0)


def a_record(**changes: object) -> AttemptRecord:
    return replace(BASE, **changes)  # type: ignore[arg-type]  # fields by name


def test_an_interrupted_attempt_says_itself_what_it_lost() -> None:
    found = observed_of(
        a_record(outcome="interrupted", work_lost_seconds=3.5, restore_seconds=2, checkpoint_seconds=7), stopped_at=2000
    )
    assert (found.lost_seconds, found.restore_seconds, found.save_seconds) == (3.5, 2, 7)


def test_a_killed_attempt_lost_what_came_after_its_last_save() -> None:
    assert observed_of(a_record(last_saved_at=1900.0), stopped_at=2000).lost_seconds == 100
    assert observed_of(a_record(), stopped_at=2000).lost_seconds == 1000
    assert observed_of(a_record(), stopped_at=None).lost_seconds is None


def test_what_a_record_does_not_hold_or_holds_wrongly_is_not_known() -> None:
    record = record_of({"outcome": "failed", "peak_memory_mib": 0.0, "cpu_seconds": "many", "work_lost_seconds": True})
    assert record is not None
    found = observed_of(record, stopped_at=1)
    assert (found.peak_memory_mib, found.cpu_seconds, found.lost_seconds) == (None, None, None)


def test_a_sample_counts_the_work_that_was_kept_over_all_attempts_of_a_job() -> None:
    cut = a_record(
        outcome="interrupted", ended_at=1100.0, work_lost_seconds=10.0, checkpoints_saved=2, checkpoint_seconds=1.0
    )
    rest = a_record(
        attempt=2, outcome="succeeded", started_at=2000.0, ended_at=2050.0, restore_seconds=5.0, peak_memory_mib=300.0
    )
    other = a_record(array_index=4, outcome="failed", ended_at=1200.0)
    found = sample_of([cut, rest, other])
    assert found.work_seconds == (135.0,)
    assert mean_seconds(found) == 135.0
    assert found.save_seconds == 0.5
    assert found.peak_memory_mib == 300
    assert (found.attempts, found.interruptions) == (3, 1)
    assert found.interruptions_per_hour == pytest.approx(1.5 / (350 / 3600))
    assert not found.has_rate
    assert sample_of([a_record(outcome="succeeded", ended_at=40_000.0)]).has_rate


def test_restores_are_averaged_over_the_attempts_that_restored_a_checkpoint() -> None:
    resumed = [a_record(resumed_from="m1", restore_seconds=seconds, outcome="failed") for seconds in (4.0, 8.0)]
    done = a_record(outcome="succeeded", ended_at=1100.0, restore_seconds=0.0)  # began anew
    assert sample_of([done, *resumed]).restore_seconds == 6.0
    assert sample_of([done]).restore_seconds is None


def test_a_sample_without_success_is_refused() -> None:
    with pytest.raises(InvalidInput, match="1 jobs have none"):
        sample_of([a_record(outcome="failed", ended_at=1100.0)])


def test_hosts_that_nobody_recorded_are_inferred_from_their_attempts() -> None:
    def an_attempt(start: float, stop: float | None, outcome: AttemptOutcome, host: str) -> AttemptUse:
        return AttemptUse(
            job_id="j",
            job_name="n",
            instance_id=host,
            vcpus=1,
            memory_mib=1,
            started_at=start,
            stopped_at=stop,
            outcome=outcome,
        )

    attempts = [
        an_attempt(10, 20, AttemptOutcome.SUCCEEDED, "i-1"),
        an_attempt(15, 40, AttemptOutcome.INTERRUPTED, "i-1"),
        an_attempt(50, None, AttemptOutcome.RUNNING, "i-2"),
        an_attempt(50, 60, AttemptOutcome.SUCCEEDED, "i-unknown"),
    ]
    kinds = {"i-1": ("c5.large", "za"), "i-2": ("m5.large", "zb")}
    first, second = inferred_hosts(attempts, kinds, catalogue())
    assert (first.launched_at, first.ended_at, first.is_reclaimed, first.vcpus) == (10, 40, True, 2)
    assert (second.zone, second.ended_at, second.is_reclaimed) == ("zb", None, False)


def test_a_host_that_took_new_attempts_after_an_interruption_was_not_taken_back_by_ec2() -> None:
    def an_attempt(start: float, stop: float, outcome: AttemptOutcome) -> AttemptUse:
        return AttemptUse(
            job_id="j", job_name="n", instance_id="i-1", vcpus=1, memory_mib=1,
            started_at=start, stopped_at=stop, outcome=outcome,
        )  # fmt: skip

    left = an_attempt(10, 40, AttemptOutcome.INTERRUPTED)
    kinds = {"i-1": ("c5.large", "za")}
    for other, is_taken in (
        (an_attempt(41, 100, AttemptOutcome.SUCCEEDED), True),  # began under the notice
        (an_attempt(1000, 1100, AttemptOutcome.SUCCEEDED), False),
    ):
        (host,) = inferred_hosts([left, other], kinds, catalogue())
        assert host.is_reclaimed is is_taken


def test_only_what_spot_ended_makes_a_host_taken_back_by_ec2() -> None:
    for outcome in AttemptOutcome:
        attempt = AttemptUse(
            job_id="j", job_name="n", instance_id="i-1", vcpus=1, memory_mib=1,
            started_at=10, stopped_at=20, outcome=outcome,
        )  # fmt: skip
        (host,) = inferred_hosts([attempt], {"i-1": ("c5.large", "za")}, catalogue())
        assert host.is_reclaimed is (outcome is AttemptOutcome.INTERRUPTED)
