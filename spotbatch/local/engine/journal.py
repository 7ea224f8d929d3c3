"""The journal: the region's state on disk, in SQLite. Rows are buffered and written in one transaction per turn.

A commit hands them to the operating system, which a kill of the region cannot undo. What waits for the disk itself,
`sync` and `checkpoint`, may run in another thread meanwhile: the event loop cannot wait that long.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.commit_count import CommitCount
from spotbatch.local.engine.schema import check, check_pages, count_of, prepare

FILE_NAME: Final = "journal.sqlite"
_BUSY_MILLISECONDS: Final = 5_000
_CHECKPOINT_STATEMENTS: Final = 4_000  # between checkpoints: about 16 MB of the write-ahead log
_LONG_LOG_BYTES: Final = 32 << 20  # at this size the writer waits until all of it is in the file
_SHORT_LOG_BYTES: Final = 8 << 20  # and anything beyond this is cut off

Row = Sequence[Any]
Statement = tuple[str, Row]
_NOTHING: Final[Statement] = ("", ())


class Journal:
    """One SQLite file in WAL mode. `write` buffers, `commit` makes durable; reads see only committed data."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self.is_damaged = False  # found during a write: this is permanent
        self._pending: list[Statement] = []
        self._committed = 0  # statements so far
        self._checkpoint_at = _CHECKPOINT_STATEMENTS
        self._log: int | None = None  # descriptor of the write-ahead log
        self._commits = CommitCount(home)
        if self.path.exists() and not self.path.is_file():
            raise Unavailable(f"the journal {self.path} is no file: move it away, or choose another --home")
        _keep_to_owner(self.path)
        with self._explained("opened"):
            self.is_checked = self._check()
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute("PRAGMA wal_autocheckpoint = 0")  # `checkpoint` does it
                self._connection.execute(f"PRAGMA journal_size_limit = {_SHORT_LOG_BYTES}")
                prepare(self._connection)
                self._commit_no = count_of(self._connection)
                self._commits.open(self._commit_no)
            except BaseException:
                self._connection.close()
                raise

    def _check(self) -> bool:
        """Read-only: closing a connection that may write moves the log into the file, and removes it."""
        with closing(self._read_only()) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
            return check(connection, self.path, self._commits.expected())

    def check_pages(self) -> None:
        """Read all of a journal that was too long to check at the start, from any thread. Raises Unavailable."""
        with self._explained("read"), closing(self._read_only()) as connection:
            try:
                check_pages(connection)
            except sqlite3.DatabaseError as error:
                self.is_damaged = _says_damage(str(error))
                raise

    def _read_only(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)

    @property
    def is_pending(self) -> bool:
        """Whether anything waits for the next commit."""
        return bool(self._pending)

    def write(self, statement: str, row: Row) -> int:
        """Buffer a statement for the next commit, to survive a kill of the region. Its number is for `withdraw`."""
        self._pending.append((statement, row))
        return self._committed + len(self._pending)

    def withdraw(self, number: int) -> bool:
        """Withdraw a statement that has not been committed; False if it has been, or may have been."""
        place = number - self._committed - 1
        if place < 0:
            return False
        self._pending[place] = _NOTHING
        return True

    def commit(self, asked: Sequence[Statement] = ()) -> bool:
        """Write what is buffered, and then what was requested, atomically; False if there was nothing to write.

        It survives a kill of the region; a power loss too, once `sync` has returned. Raises Unavailable if nothing
        could be written: the buffer is unchanged, and the request is dropped, since its caller gets the error.
        """
        if not self._pending and not asked:
            return False
        with self._explained("written"):
            self._write_all(asked)
        self._commit_no += 1
        self._commits.committed(self._commit_no)
        self._committed += len(self._pending) + len(asked)
        self._pending.clear()
        return True

    def sync(self) -> None:
        """Wait until everything committed before this call is on disk. May run in any thread, one at a time.

        Raises Unavailable if it cannot: the disk's content is then unknown, and the journal counts as damaged.
        """
        commit_no = self._commit_no
        try:
            if self._log is None:
                self._log = os.open(f"{self.path}-wal", os.O_RDONLY)
                _sync_folder(self.path.parent)  # the log's own name
            os.fdatasync(self._log)
        except OSError as error:
            self.is_damaged = True
            raise Unavailable(
                f"the disk did not take the journal {self.path}: {error.strerror}; what was asked for last may be lost"
            ) from error
        self._commits.synced(commit_no)

    @property
    def is_checkpoint_due(self) -> bool:
        return self._committed >= self._checkpoint_at

    def checkpoint(self) -> None:
        """Move the write-ahead log's content into the journal's file, concurrently with the writer, from any thread."""
        self._checkpoint_at = self._committed + _CHECKPOINT_STATEMENTS
        with self._explained("written"), closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @property
    def is_log_long(self) -> bool:
        """Whether the writer should do it: if rows are written continuously, something is always left over.

        SQLite restarts the log only after all of it was moved (sqlite.org/wal.html, "Avoiding Excessively Large WAL
        Files"), and a checkpoint's result describes the moment at which it began.
        """
        try:
            return os.stat(f"{self.path}-wal").st_size > _LONG_LOG_BYTES  # noqa: PTH116
        except OSError:
            return False

    def checkpoint_here(self) -> None:
        """The same while the writer waits: the next row is written at the beginning of the log."""
        with self._explained("written"):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _write_all(self, asked: Sequence[Statement]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, row in self._pending:
                if statement:
                    execute(statement, row)
            for statement, row in asked:
                execute(statement, row)
            execute("UPDATE commits SET count = ?", (self._commit_no + 1,))
            execute("COMMIT")
        except BaseException as error:
            self.is_damaged = isinstance(error, sqlite3.DatabaseError) and _says_damage(str(error))
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise

    def rows(self, query: str, parameters: Row | Mapping[str, Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query. Raises Unavailable for a damaged journal."""
        with self._explained("read"):
            yield from self._connection.execute(query, parameters)

    def row(self, query: str, parameters: Row = ()) -> tuple[Any, ...] | None:
        """The first row of a query, if there is one."""
        return next(iter(self.rows(query, parameters)), None)

    def close(self) -> None:
        """Commit pending rows, and close; the file is closed even if they could not be written."""
        try:
            self.commit()
        finally:
            self._connection.close()
            self._commits.close()
            if self._log is not None:
                os.close(self._log)
                self._log = None

    @contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            raise Unavailable(f"the journal {self.path} could not be {done}: {text}; {_fix_of(text)}") from error


def _keep_to_owner(path: Path) -> None:
    """The jobs' variables are in the journal: nobody else may read it, even if its folder is open to all.

    SQLite gives a log file the permissions of its database.
    """
    with contextlib.suppress(OSError):  # opening it reports what is wrong
        path.touch(mode=0o600)
        for each in path.parent.glob(f"{path.name}*"):
            each.chmod(0o600)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _says_damage(text: str) -> bool:
    return "malformed" in text or "not a database" in text


def _fix_of(text: str) -> str:
    if _says_damage(text):
        return "keep the file, and try `sqlite3 journal.sqlite .recover`, or use another --home"
    if "full" in text:
        return "free some space; nothing that was accepted is lost"
    if "readonly" in text or "unable to open" in text:
        return "make its folder writable, or use another --home"
    if "disk I/O" in text:
        return "see that its disk has room and lets files grow (`ulimit -f`); nothing that was accepted is lost"
    return "use another --home"
