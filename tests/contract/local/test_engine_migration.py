"""A region opens a journal that an earlier version wrote, and goes on with its jobs.

`journals/version_1.sql` is the dump of a journal that version 1 wrote: a region of that day ran these jobs and was
killed while one of them ran.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.journal import FILE_NAME, Journal
from spotbatch.local.engine.logs import log_file
from spotbatch.local.engine.schema import VERSION
from tests.contract.local.test_engine_processes import FAST, ended, job, lines, submit
from tests.contract.local_api_region import running

DUMP = Path(__file__).parent / "journals" / "version_1.sql"
DONE = "e2904404-1f4f-46d6-9f7b-25613b3b9c78"
ARRAY = "04c2c7f5-c467-4e6a-8133-b2f9adee66e5"
BAD = "c1d0d2f0-2b33-4c6d-b0e3-0236512a38e4"
LOST = "b5d6f778-ac13-49c5-b6a9-d7404ea20163"
WAITS = "b7fe7161-0206-45b3-aad8-a30b7d568dd1"
CANCELLED = "9ef42323-0f5d-4b33-997f-99834796b47f"
OLD_TASK = "4801ea1be37a2e1e4a511b0e7a2573f3"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE_NAME)) as old:
        old.executescript(DUMP.read_text(encoding="utf-8"))
    log = Path(log_file(folder / "logs", OLD_TASK))
    log.parent.mkdir(parents=True)
    log.write_text("kept\n", encoding="utf-8")
    return folder


def tables(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Names and types of the columns of every table, as SQLite has them."""
    with closing(sqlite3.connect(path)) as journal:
        names = [name for (name,) in journal.execute("SELECT name FROM sqlite_master ORDER BY name")]
        return {
            name: [(row[1], row[2]) for row in journal.execute(f"PRAGMA table_info({name})")]
            for name in names
            if not name.startswith("sqlite_")
        }


def test_a_journal_of_version_1_gets_todays_tables(home: Path, tmp_path: Path) -> None:
    Journal(home).close()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    Journal(fresh).close()
    assert tables(home / FILE_NAME) == tables(fresh / FILE_NAME)
    with closing(sqlite3.connect(home / FILE_NAME)) as journal:
        assert journal.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_a_migration_that_fails_leaves_the_old_journal_as_it_was(home: Path) -> None:
    with closing(sqlite3.connect(home / FILE_NAME)) as old:
        old.execute("CREATE TABLE old_task (in_the_way INTEGER)")
    before = tables(home / FILE_NAME)
    with pytest.raises(Unavailable, match="old_task already exists"):
        Journal(home)
    assert tables(home / FILE_NAME) == before
    with closing(sqlite3.connect(home / FILE_NAME)) as journal:
        assert journal.execute("PRAGMA user_version").fetchone() == (1,)


def test_the_jobs_of_a_version_1_journal_are_there_and_those_that_had_not_ended_go_on(home: Path) -> None:
    with running(home, *FAST, "--keep-jobs-days", "forever") as region:
        batch = region.client("batch")
        done = job(batch, DONE)
        assert (done["status"], done["container"]["exitCode"]) == ("SUCCEEDED", 0)
        assert lines(region, done) == ["kept"]  # by a task id of the old kind
        assert job(batch, ARRAY)["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 3
        assert [each["container"]["exitCode"] for each in job(batch, BAD)["attempts"]] == [3, 3]
        assert (job(batch, CANCELLED)["statusReason"], job(batch, CANCELLED)["isCancelled"]) == ("not needed", True)
        lost = ended(batch, LOST, "SUCCEEDED")
        assert [each["statusReason"][:8] for each in lost["attempts"]] == ["Host EC2", "Essentia"]
        ended(batch, WAITS, "SUCCEEDED")
        new = ended(batch, submit(batch, "echo new"), "SUCCEEDED")
        assert lines(region, new) == ["new"]
    with running(home, *FAST, "--keep-jobs-days", "forever") as region:
        assert job(region.client("batch"), LOST)["status"] == "SUCCEEDED"
