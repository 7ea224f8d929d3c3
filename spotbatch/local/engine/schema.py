"""The journal's tables, and the migration of journals of earlier versions."""

import json
import sqlite3
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.commit_count import FILE_NAME as COUNT_FILE
from spotbatch.local.engine.packing import JobTexts, definition_of, pack

VERSION: Final = 6
LONG_BYTES: Final = 128 << 20  # a start does not wait for reading more than this
_FIRST_WITH_COUNT: Final = 3
FIRST_PACKED: Final = 4  # a job's texts are one blob from this version on

_TABLES: Final = """
CREATE TABLE commits (count INTEGER NOT NULL);
INSERT INTO commits VALUES (0);
CREATE TABLE resource (kind TEXT, name TEXT, body TEXT NOT NULL, rules TEXT, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE job (
    job_no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL COLLATE NOCASE, queue TEXT NOT NULL,
    created_at REAL NOT NULL, log_group TEXT NOT NULL, definition TEXT NOT NULL, share TEXT NOT NULL,
    packed BLOB NOT NULL,
    status INTEGER, status_reason TEXT, ended_at REAL, statuses BLOB, attempts BLOB
);
CREATE INDEX job_open ON job (queue) WHERE ended_at IS NULL;
CREATE INDEX job_status ON job (queue, status) WHERE status IS NOT NULL;
CREATE INDEX job_name ON job (queue, name);
CREATE INDEX job_definition ON job (queue, definition);
CREATE INDEX job_share ON job (queue, share, status) WHERE share != '';
CREATE INDEX job_created ON job (queue, created_at);
CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL;
CREATE TABLE unit (
    job_no INTEGER, idx INTEGER, status INTEGER NOT NULL, status_reason TEXT NOT NULL, ended_at REAL NOT NULL,
    PRIMARY KEY (job_no, idx)
) WITHOUT ROWID;
CREATE TABLE attempt (
    job_no INTEGER, idx INTEGER, attempt INTEGER, task TEXT NOT NULL, instance_id TEXT NOT NULL,
    placed_at REAL NOT NULL, started_at REAL, stopped_at REAL, exit_code INTEGER, reason TEXT, status_reason TEXT,
    PRIMARY KEY (job_no, idx, attempt)
) WITHOUT ROWID;
CREATE TABLE old_task (
    task TEXT PRIMARY KEY, job_no INTEGER NOT NULL, idx INTEGER NOT NULL, attempt INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE stop (
    job_no INTEGER, idx INTEGER, kind TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', PRIMARY KEY (job_no, idx)
) WITHOUT ROWID;
CREATE TABLE forgotten (job_no INTEGER PRIMARY KEY);
CREATE TABLE consuming (job_no INTEGER, consumable TEXT, PRIMARY KEY (job_no, consumable)) WITHOUT ROWID;
CREATE INDEX consuming_of ON consuming (consumable, job_no);
CREATE TABLE host (
    instance_id TEXT PRIMARY KEY, instance_type TEXT NOT NULL, zone TEXT NOT NULL, environment TEXT NOT NULL,
    is_spot INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_mib INTEGER NOT NULL,
    launched_at REAL NOT NULL, started_at REAL, noticed_at REAL, ended_at REAL, end_cause TEXT
) WITHOUT ROWID;
"""

# From each version to the next. A task id of version 2 says whose it is, so the index of tasks is dropped, and the ids
# given before that move to a table of their own; open attempts are found through their jobs.
_STEPS: Final[dict[int, str]] = {
    1: """
ALTER TABLE stop ADD COLUMN reason TEXT NOT NULL DEFAULT '';
CREATE TABLE old_task (
    task TEXT PRIMARY KEY, job_no INTEGER NOT NULL, idx INTEGER NOT NULL, attempt INTEGER NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO old_task SELECT task, job_no, idx, attempt FROM attempt;
DROP INDEX attempt_task;
DROP INDEX attempt_open;
""",
    2: """
CREATE TABLE commits (count INTEGER NOT NULL);
INSERT INTO commits VALUES (0);
""",
    3: """
ALTER TABLE job RENAME TO old_job;
CREATE TABLE job (
    job_no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL COLLATE NOCASE, queue TEXT NOT NULL,
    created_at REAL NOT NULL, log_group TEXT NOT NULL, definition TEXT NOT NULL, share TEXT NOT NULL,
    packed BLOB NOT NULL,
    status INTEGER, status_reason TEXT, ended_at REAL, statuses BLOB, attempts BLOB
);
INSERT INTO job SELECT
    job_no, id, name, queue, created_at, log_group, definition_of(described),
    COALESCE(json_extract(rules, '$.share'), ''), packed_texts(rules, container, described),
    status, status_reason, ended_at, statuses, attempts
FROM old_job ORDER BY job_no;
DROP TABLE old_job;
CREATE INDEX job_open ON job (queue) WHERE ended_at IS NULL;
CREATE INDEX job_status ON job (queue, status) WHERE status IS NOT NULL;
CREATE INDEX job_name ON job (queue, name);
CREATE INDEX job_definition ON job (queue, definition);
CREATE INDEX job_share ON job (queue, share, status) WHERE share != '';
CREATE INDEX job_created ON job (queue, created_at);
CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL;
""",
    4: "CREATE TABLE forgotten (job_no INTEGER PRIMARY KEY);",
    5: """
CREATE TABLE consuming (job_no INTEGER, consumable TEXT, PRIMARY KEY (job_no, consumable)) WITHOUT ROWID;
CREATE INDEX consuming_of ON consuming (consumable, job_no);
""",
}


def check(connection: sqlite3.Connection, path: Path, expected_commits: int | None) -> bool:
    """Check a journal before anything changes it. False if it is so long that `check_pages` may run later.

    Raises Unavailable if it is of a newer version or lacks commits, DatabaseError if it is damaged.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise Unavailable(
            f"the journal {path} has version {found}, this spotbatch reads version {VERSION} and older: "
            "use the spotbatch that wrote it, or another --home"
        )
    is_short = path.stat().st_size <= LONG_BYTES
    if is_short:
        check_pages(connection)
    count = count_of(connection) if found >= _FIRST_WITH_COUNT else 0
    if expected_commits is not None and count < expected_commits:
        raise Unavailable(
            f"the journal {path} lacks the last {expected_commits - count} of its {expected_commits} commits: its "
            f"write-ahead log {path.name}-wal is damaged, cut or gone, and jobs that were accepted may be missing. "
            f"Nothing was changed. Put both files back from a copy, use another --home, or remove "
            f"{path.with_name(COUNT_FILE)} to go on without what is lost"
        )
    return is_short


def check_pages(connection: sqlite3.Connection) -> None:
    """Read every page. Raises DatabaseError if SQLite finds the journal damaged."""
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"it is malformed: {' '.join(verdict.split())}")


def count_of(connection: sqlite3.Connection) -> int:
    """How many commits the journal holds."""
    (count,) = connection.execute("SELECT count FROM commits").fetchone()
    return int(count)


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables of a new journal, or migrate an older one to the current version, in one transaction."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found == VERSION:
        return
    connection.create_function("packed_texts", 3, _packed, deterministic=True)
    connection.create_function("definition_of", 1, _definition_of, deterministic=True)
    script = _TABLES if found == 0 else "".join(_STEPS[version] for version in range(found, VERSION))
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {VERSION}; COMMIT;")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _packed(rules: str, container: str, described: str) -> bytes:
    return pack(JobTexts(rules=rules, container=container, described=described))


def _definition_of(described: str) -> str:
    return definition_of(str(json.loads(described).get("jobDefinition", "")))
