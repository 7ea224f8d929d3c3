"""What a job's page tells of each attempt: its own record, and no other attempt's."""

from dataclasses import replace

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.job import Attempt
from spotbatch.batch.status import JobStatus
from spotbatch.runs.attempt_story import told_by
from spotbatch.runs.records import matched
from spotbatch.web.story import label_and_text
from tests.unit.web_builders import NOW, child


def test_an_attempt_that_follows_at_once_has_a_record_of_its_own() -> None:
    first = Attempt(started_at=NOW, stopped_at=NOW + 1, exit_code=210)
    second = Attempt(started_at=NOW + 1.2, stopped_at=NOW + 9, exit_code=0)
    job = replace(child(0, JobStatus.SUCCEEDED), attempts=(first, second))
    records = [
        AttemptRecord(attempt=1, job_id=job.id, started_at=NOW + 0.1, noticed_at=NOW + 0.5),
        AttemptRecord(attempt=2, job_id=job.id, started_at=NOW + 1.3),
    ]
    found = matched(job, records)
    assert {number: record.attempt for number, record in found.items()} == {1: 1, 2: 2}
    assert matched(job, records[1:]).keys() == {2}, "the first attempt left no record"


def test_lines_of_a_record_become_labels_and_texts() -> None:
    record = AttemptRecord(
        resumed_from="000003", restore_seconds=0.25, restore_estimate_seconds=75.0, warnings=["disk nearly full"]
    )
    assert [label_and_text(line) for line in told_by(record)] == [
        ("resumed", "from checkpoint 000003 in 0.2 s"),
        ("restores", "in about 1 min 15 s, at the bandwidth of its saves"),
        ("warning", "disk nearly full"),
    ]


def test_a_snapshot_is_told_where_it_was_taken_where_it_was_restored_and_where_it_was_refused() -> None:
    taken = AttemptRecord(snapshot_bytes=412 << 20, snapshot_seconds=0.94)
    assert told_by(taken) == ["dumped     412.0 MiB, while the command stood still for 0.9 s"]
    restored = AttemptRecord(snapshot_restore_seconds=1.31, snapshot_refused="no snapshot: it uses io_uring")
    assert told_by(restored) == [
        "restored   from its snapshot in 1.3 s",
        "snapshot   no snapshot: it uses io_uring",
    ]
