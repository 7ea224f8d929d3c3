"""The record of an attempt: what is written is read, and what is damaged or newer harms nobody."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.attempt_record import MOST_USAGE, SCHEMA, AttemptRecord, RecordedOutcome, read_record, record_of
from spotbatch.batch.light_dataclass import as_dict

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WHOLE = AttemptRecord(
    run_id="r",
    job_id="j",
    array_index=3,
    attempt=2,
    instance_type="c5.large",
    zone="a",
    started_at=10.0,
    ended_at=20.0,
    outcome=RecordedOutcome.INTERRUPTED,
    exit_code=210,
    command_exit_code=-15,
    interruption_cause="notice",
    noticed_at=19.0,
    notice_lead_seconds=120.0,
    resumed_from="000001",
    restore_seconds=0.5,
    checkpoints_saved=4,
    checkpoint_bytes=5,
    last_saved_at=18.0,
    work_lost_seconds=2.0,
    peak_memory_mib=100.5,
    memory_limit_mib=512.0,
    usage=[[2.0, 0.5, 80.0], [4.0, 1.0, 100.5]],
    warnings=["the disk is nearly full"],
)


def test_what_the_runtime_writes_is_read_back_whole() -> None:
    assert read_record(WHOLE.to_json()) == WHOLE
    assert json.loads(WHOLE.to_json())["schema"] == SCHEMA


def test_every_field_is_read() -> None:
    document = {**as_dict(WHOLE), "checkpoints_failed": 1, "checkpoint_seconds": 1.5, "cpu_seconds": 2.5}
    document |= dict.fromkeys(("checkpoint_uploaded_bytes", "uploaded_bytes", "downloaded_bytes"), 7)
    document |= {"output_files": 8, "output_bytes": 9, "schema": 1}
    read = record_of(document)
    assert read is not None
    assert as_dict(read) == document
    assert set(document) == set(as_dict(AttemptRecord()))


def test_the_record_of_a_killed_attempt_has_no_end() -> None:
    record = read_record(AttemptRecord(run_id="r", started_at=5.0, last_saved_at=9.0).to_json())
    assert record is not None
    assert (record.has_ended, record.ended_at, record.lasted_seconds) == (False, None, 4.0)


def test_a_newer_record_is_read_as_far_as_it_is_known() -> None:
    newer = json.dumps({**as_dict(WHOLE), "schema": 9, "outcome": "hibernated", "brain_waves": [1, {"a": 2}]})
    record = read_record(newer)
    assert record is not None
    assert (record.schema, record.outcome, record.exit_code) == (9, "hibernated", 210)


@given(name=st.sampled_from(sorted(as_dict(AttemptRecord()))), value=JSON)
def test_a_field_of_another_kind_is_not_known_and_the_others_are(name: str, value: object) -> None:
    record = record_of({**as_dict(WHOLE), name: value})
    assert record is not None
    expected = {key: each for key, each in as_dict(WHOLE).items() if key != name}
    assert {key: each for key, each in as_dict(record).items() if key != name} == expected
    again = as_dict(record)[name]
    assert not isinstance(again, float) or (math.isfinite(again) and again >= 0)
    json.loads(record.to_json())


@given(JSON)
def test_whatever_lies_there_reading_it_never_fails(value: object) -> None:
    record_of(value)
    read_record(json.dumps(value))


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"\xff\xfe", b"[]", b"null", b"{}", b'{"lines": 3}', b"[" * 100_000, b'{"started_at": 1}' * 2],
)
def test_what_is_no_record_is_none(document: bytes) -> None:
    assert read_record(document) is None


def test_what_is_far_too_long_is_not_even_parsed() -> None:
    assert read_record(b'{"started_at": 1, "run_id": "' + b"x" * 1_000_000 + b'"}') is None


def test_numbers_that_no_float_can_hold_are_not_known() -> None:
    record = read_record('{"started_at": 1, "cpu_seconds": 1e999, "restore_seconds": ' + "9" * 400 + "}")
    assert record is not None
    assert (record.cpu_seconds, record.restore_seconds) == (0.0, None)


def test_usage_is_read_point_by_point_in_the_order_of_time_and_no_more_than_a_chart_needs() -> None:
    points: list[object] = [[2, 1, 80], [1, 1, 80], "x", [3, -1, 80], [4, True, 80], [5, 1], [6, 0.5, 90]]
    record = record_of({"started_at": 1, "usage": points + [[7 + at, 1, 1] for at in range(1000)]})
    assert record is not None
    assert record.usage[:3] == [[2.0, 1.0, 80.0], [6.0, 0.5, 90.0], [7.0, 1.0, 1.0]]
    assert len(record.usage) <= MOST_USAGE
