"""The journal: the region's truth on disk, in SQLite. Rows are buffered and written in one transaction a turn."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine.schema import prepare

FILE_NAME: Final = "journal.sqlite"
_BUSY_MILLISECONDS: Final = 5_000
_CHECKPOINT_PAGES: Final = 4_000  # 16 MB: each checkpoint waits for the disk, and the region with it

Row = Sequence[Any]
Statement = tuple[str, Row]
_NOTHING: Final[Statement] = ("", ())


class Journal:
    """One SQLite file in WAL mode. `write` buffers, `commit` makes durable; reads see only what is committed."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self.is_damaged = False  # a write found it so: it will not heal
        self._pending: list[Statement] = []
        self._committed = 0  # statements so far
        with self._explained("opened"):
            self._connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                self._connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                prepare(self._connection, self.path)
            except BaseException:
                self._connection.close()
                raise

    @property
    def is_pending(self) -> bool:
        """Whether something waits for the next commit."""
        return bool(self._pending)

    def write(self, statement: str, row: Row) -> int:
        """Buffer one statement, for the next commit, to survive a kill of the region. Its number is for `withdraw`."""
        self._pending.append((statement, row))
        return self._committed + len(self._pending)

    def withdraw(self, number: int) -> bool:
        """Take back a statement that has not been committed; False if it has been, or may have been."""
        place = number - self._committed - 1
        if place < 0:
            return False
        self._pending[place] = _NOTHING
        return True

    def commit(self, asked: Sequence[Statement] = ()) -> bool:
        """Write what is buffered, and then what was asked for, all or nothing; False if there was nothing.

        What was asked for survives a power loss too. Raises Unavailable if nothing could be written: the buffer stays
        as it was, and what was asked for is dropped, for whoever asked is told.
        """
        if not self._pending and not asked:
            return False
        with self._explained("written"):
            try:
                if asked:
                    self._connection.execute("PRAGMA synchronous = FULL")
                self._write_all(asked)
            finally:
                if asked:
                    self._connection.execute("PRAGMA synchronous = NORMAL")
        self._committed += len(self._pending)
        self._pending.clear()
        return True

    def _write_all(self, asked: Sequence[Statement]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement, row in self._pending:
                if statement:
                    execute(statement, row)
            for statement, row in asked:
                execute(statement, row)
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
            raise Unavailable(f"the journal {self.path} could not be {done}: {text}; {_fix_of(text)}") from error


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
