"""The journal: what it keeps, and what it says when it cannot."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.placement import ComputeEnvironment, FairShare, JobQueue, Pool, ShareWeight, StateTimeLimit
from spotbatch.batch.retry import spot_safe
from spotbatch.batch.scheduler.events import JobSubmitted, ResolvedDependency
from spotbatch.local.contract import ContainerSpec
from spotbatch.local.engine import codec
from spotbatch.local.engine.journal import FILE_NAME, Journal

PUT = "INSERT OR REPLACE INTO stop (job_no, idx, kind) VALUES (?, ?, ?)"


def test_what_is_written_is_there_after_the_commit_and_not_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(PUT, (1, -1, "cancelled"))
    assert journal.row("SELECT job_no, idx, kind FROM stop") is None
    journal.commit()
    assert journal.row("SELECT job_no, idx, kind FROM stop") == (1, -1, "cancelled")
    journal.close()


def test_a_commit_is_all_or_nothing_and_what_failed_stays_to_be_tried_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(PUT, (1, -1, "cancelled"))
    journal.write("INSERT INTO stop (job_no, idx, kind) VALUES (?, ?, ?)", (1, -1, "terminated"))
    with pytest.raises(Unavailable, match="UNIQUE"):
        journal.commit()
    assert journal.row("SELECT job_no, idx, kind FROM stop") is None
    assert journal.is_pending
    with pytest.raises(Unavailable, match="UNIQUE"):
        journal.close()


def test_a_journal_comes_back_when_it_is_opened_again(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    first.write(PUT, (7, 3, "terminated"))
    first.close()
    again = Journal(tmp_path)
    assert again.row("SELECT job_no, idx, kind FROM stop") == (7, 3, "terminated")
    again.close()


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(Unavailable, match="version 99"):
        Journal(tmp_path)


def test_a_file_that_is_no_journal_is_named_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, but somebody's text " * 100)
    with pytest.raises(Unavailable, match=r"not a database.*another --home"):
        Journal(tmp_path)


def test_a_damaged_page_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(2000):
        journal.write(PUT, (number, -1, "x" * 100))
    journal.close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 65536)
    with pytest.raises(Unavailable, match=r"malformed.*\.recover"):
        Journal(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        JobSubmitted(
            job_no=3,
            queue="q",
            size=5,
            requirements=ResourceRequirements(vcpus=2, memory_mib=512),
            retry=spot_safe(),
            timeout_seconds=60,
            dependencies=(ResolvedDependency(job_no=1, index=2),),
            share="a",
            priority=4,
        ),
        ContainerSpec(image="i", command=("a", "b"), environment={"A": "1"}),
        ComputeEnvironment(
            name="e", pools=(Pool(instance_type="c5.large", zone="us-east-1a", vcpus=2, memory_mib=3700, depth=0.5),)
        ),
        JobQueue(
            name="q",
            environments=("e",),
            fair_share=FairShare(shares=(ShareWeight(identifier="a*", weight=0.5),)),
            time_limits=(StateTimeLimit(reason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY", max_seconds=600),),
        ),
    ],
)
def test_the_rulebooks_values_come_back_as_they_were(value: codec.Kept) -> None:
    kind: Any = type(value)
    assert codec.decode(kind, codec.encode(value)) == value


def test_a_value_of_another_shape_is_refused() -> None:
    with pytest.raises(Unavailable, match="JobQueue"):
        codec.decode(JobQueue, '{"name": "q"}')


def test_only_its_owner_reads_a_journal_though_its_folder_is_open_to_all(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "journal.sqlite").touch(0o644)  # as an earlier version made it
    journal = Journal(tmp_path)
    journal.write("INSERT INTO resource VALUES ('kind', 'name', '{}', NULL)", ())
    journal.commit()

    files = sorted(tmp_path.glob("journal.sqlite*"))
    assert [file.name for file in files] == ["journal.sqlite", "journal.sqlite-shm", "journal.sqlite-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    journal.close()
