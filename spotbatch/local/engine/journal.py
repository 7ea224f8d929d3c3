"""The journal: the region's truth on disk, in SQLite. Rows are buffered and written in one transaction a turn."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import Unavailable

VERSION: Final = 1
FILE_NAME: Final = "journal.sqlite"
_BUSY_MILLISECONDS: Final = 5_000

_SCHEMA: Final = """
CREATE TABLE resource (kind TEXT, name TEXT, body TEXT NOT NULL, rules TEXT, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE job (
    job_no INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, queue TEXT NOT NULL,
    created_at REAL NOT NULL, log_group TEXT NOT NULL,
    rules TEXT NOT NULL, container TEXT NOT NULL, described TEXT NOT NULL,
    status INTEGER, status_reason TEXT, ended_at REAL, statuses BLOB, attempts BLOB
);
CREATE TABLE unit (
    job_no INTEGER, idx INTEGER, status INTEGER NOT NULL, status_reason TEXT NOT NULL, ended_at REAL NOT NULL,
    PRIMARY KEY (job_no, idx)
) WITHOUT ROWID;
CREATE TABLE attempt (
    job_no INTEGER, idx INTEGER, attempt INTEGER, task TEXT NOT NULL, instance_id TEXT NOT NULL,
    placed_at REAL NOT NULL, started_at REAL, stopped_at REAL, exit_code INTEGER, reason TEXT, status_reason TEXT,
    PRIMARY KEY (job_no, idx, attempt)
) WITHOUT ROWID;
CREATE INDEX attempt_task ON attempt (task);
CREATE INDEX attempt_open ON attempt (job_no) WHERE stopped_at IS NULL;
CREATE TABLE stop (job_no INTEGER, idx INTEGER, kind TEXT NOT NULL, PRIMARY KEY (job_no, idx)) WITHOUT ROWID;
CREATE TABLE host (
    instance_id TEXT PRIMARY KEY, instance_type TEXT NOT NULL, zone TEXT NOT NULL, environment TEXT NOT NULL,
    is_spot INTEGER NOT NULL, vcpus INTEGER NOT NULL, memory_mib INTEGER NOT NULL,
    launched_at REAL NOT NULL, started_at REAL, noticed_at REAL, ended_at REAL, end_cause TEXT
) WITHOUT ROWID;
"""

Row = Sequence[Any]


class Journal:
    """One SQLite file in WAL mode. `write` buffers, `commit` makes durable; reads see only what is committed."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self._pending: list[tuple[str, Row]] = []
        self._must_sync = False
        with self._explained("opened"):
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found == VERSION:
            return
        if found != 0:
            raise Unavailable(
                f"the journal {self.path} has version {found}, this spotbatch reads version {VERSION}: "
                "use the spotbatch that wrote it, or another --home"
            )
        self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    @property
    def is_pending(self) -> bool:
        """Whether something waits for the next commit."""
        return bool(self._pending)

    def write(self, statement: str, row: Row, *, sync: bool = False) -> None:
        """Buffer one statement. `sync`: the commit that carries it must survive a power loss, not only a kill."""
        self._pending.append((statement, row))
        self._must_sync = self._must_sync or sync

    def write_first(self, statement: str, row: Row) -> None:
        """Buffer one statement in front of the others, to survive a power loss: what caused them comes before them."""
        self._pending.insert(0, (statement, row))
        self._must_sync = True

    def commit(self) -> None:
        """Write what is buffered, all or nothing. Raises Unavailable; what could not be written stays buffered."""
        if not self._pending:
            return
        with self._explained("written"):
            if self._must_sync:
                self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for statement, row in self._pending:
                    self._connection.execute(statement, row)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                if self._must_sync:
                    self._connection.execute("PRAGMA synchronous = NORMAL")
        self._pending.clear()
        self._must_sync = False

    def rows(self, query: str, parameters: Row | Mapping[str, Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. Raises Unavailable for a damaged journal."""
        with self._explained("read"):
            yield from self._connection.execute(query, parameters)

    def row(self, query: str, parameters: Row = ()) -> tuple[Any, ...] | None:
        """The first row of a query, if there is one."""
        return next(iter(self.rows(query, parameters)), None)

    def close(self) -> None:
        """Commit what waits, and close; the file is closed even if that could not be written."""
        try:
            self.commit()
        finally:
            self._connection.close()

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            fix = "use another --home"
            if "full" in text:
                fix = "free some space; nothing that was accepted is lost"
            elif "readonly" in text or "unable to open" in text:
                fix = "make its folder writable, or use another --home"
            elif "malformed" in text or "not a database" in text:
                fix = "keep the file, and try `sqlite3 journal.sqlite .recover`, or use another --home"
            raise Unavailable(f"the journal {self.path} could not be {done}: {text}; {fix}") from error
