"""What the command line reads of an attempt is what the runtime writes."""

from dataclasses import asdict, fields

from spotbatch.cli.records import AttemptRecord, record_of
from spotbatch.runtime.record import Record


def test_every_field_that_is_read_is_written_under_that_name() -> None:
    written = {each.name for each in fields(Record)}
    assert {each.name for each in fields(AttemptRecord)} - written == set()


def test_a_new_record_is_read_back_as_it_was_written() -> None:
    made = Record(run_id="r", job_id="j", array_index=3, attempt=2, instance_type="c5.large", zone="a", started_at=1.5)
    made.warnings.append("the disk is nearly full")
    read = record_of(asdict(made))
    assert (read.job_id, read.array_index, read.attempt, read.started_at) == ("j", 3, 2, 1.5)
    assert read.warnings == ("the disk is nearly full",)
