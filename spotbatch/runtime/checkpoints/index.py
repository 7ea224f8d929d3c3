"""What is known of the checkpoint folder and of its content in the store: on disk, not in memory.

`files` holds what was published last, `fresh` what was read or has vanished since then; `fresh` takes precedence.
`chunks` says where content is stored, `blocks` holds the manifest's list in pieces, so that a save after a
few changes encodes a few pieces again and not the whole list.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from spotbatch.runtime.checkpoints.blocks import (
    UNSURE,
    Entry,
    Known,
    Location,
    Piece,
    Summary,
    chunks_in,
    encoded_blocks,
    sum_up,
)
from spotbatch.runtime.checkpoints.folder import fields_of, is_file

_PAGE_ROWS = 1000
_MOST_UNWRITTEN_BYTES = 512 * 1024
_MOST_UNWRITTEN_CHUNKS = 16_384  # about 4 MiB
_DIGEST_BITS = 1 << 24  # 2 MiB: of 200,000 new chunks one in a hundred is looked up for nothing
_SCHEMA = """
CREATE TABLE files (key BLOB PRIMARY KEY, look BLOB, flags INTEGER, body BLOB) WITHOUT ROWID;
CREATE TABLE fresh (key BLOB PRIMARY KEY, look BLOB, flags INTEGER, body BLOB) WITHOUT ROWID;
CREATE TABLE chunks (digest BLOB PRIMARY KEY, pack INTEGER, offset INTEGER, length INTEGER) WITHOUT ROWID;
CREATE TABLE pieces (pack INTEGER, start INTEGER, length INTEGER, digest BLOB, key BLOB, at INTEGER,
    PRIMARY KEY (pack, key, at)) WITHOUT ROWID;
CREATE TABLE blocks (first BLOB PRIMARY KEY, data BLOB, entries INTEGER, bytes INTEGER, content BLOB, packs TEXT);
"""
_SETTINGS = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-4000", "temp_store=FILE")
_KNOWN = """
SELECT key, look, flags, 0 FROM files
    WHERE key > :after AND NOT EXISTS (SELECT 1 FROM fresh WHERE fresh.key = files.key)
UNION ALL SELECT key, look, flags, 1 FROM fresh WHERE key > :after AND body IS NOT NULL ORDER BY key LIMIT :rows
"""
_KNOWN_WITHOUT_FRESH = "SELECT key, look, flags, 0 FROM files WHERE key > :after ORDER BY key LIMIT :rows"
_ENTRIES = """
SELECT key, look, body FROM files WHERE key >= :first AND key < :end
    AND NOT EXISTS (SELECT 1 FROM fresh WHERE fresh.key = files.key)
UNION ALL SELECT key, look, body FROM fresh WHERE key >= :first AND key < :end AND body IS NOT NULL
ORDER BY key
"""
_BEYOND = b"\xff" * 8192  # greater than any key: a bound that SQLite can search by, which "or unbounded" is not


class Index:
    """One writer's knowledge. Used by one thread at a time."""

    def __init__(self, file: Path | None = None, *, is_in_memory: bool = False) -> None:
        """In a new file, which is unlinked at once; without a path, where SQLite puts its temporary files.

        After any sqlite3.Error (a full disk, for example) it is unusable: there is no journal to roll back with.
        """
        place = ":memory:" if is_in_memory else "" if file is None else file
        self._connection = sqlite3.connect(place, check_same_thread=False, isolation_level=None)
        self._unwritten: list[tuple[bytes, bytes, int, bytes]] = []  # rows of `fresh`
        self._unwritten_bytes = 0
        self._unwritten_chunks: dict[bytes, Location] = {}
        self._maybe_stored = bytearray(_DIGEST_BITS >> 3)  # a bit for each beginning of a digest in `chunks`
        for setting in _SETTINGS:
            self._db.execute(f"PRAGMA {setting}")
        self._db.execute("BEGIN")
        for statement in _SCHEMA.split(";"):
            self._db.execute(statement)
        if file is not None and not is_in_memory:
            with contextlib.suppress(OSError):
                file.unlink()  # it lives as long as this process

    @property
    def _db(self) -> sqlite3.Connection:
        """The database with all of it written. Rows are written in batches, chunks in the order of their digests:
        one by one, each would look for its page anew.
        """
        if self._unwritten:
            rows, self._unwritten, self._unwritten_bytes = self._unwritten, [], 0
            self._connection.executemany("INSERT OR REPLACE INTO fresh VALUES (?, ?, ?, ?)", rows)
        if self._unwritten_chunks:
            found, self._unwritten_chunks = sorted(self._unwritten_chunks.items()), {}
            chunks = ((digest, *location) for digest, location in found)
            self._connection.executemany("INSERT OR REPLACE INTO chunks VALUES (?, ?, ?, ?)", chunks)
        return self._connection

    # --- what is known of the folder

    def known(self) -> Iterator[Known]:
        """Everything known, by key; entries put in the meantime at or before the last key returned are not returned."""
        after: bytes | None = None
        is_plain = self._db.execute("SELECT 1 FROM fresh LIMIT 1").fetchone() is None
        while rows := self._page(after, is_plain=is_plain):
            yield from map(Known._make, rows)
            after = rows[-1][0]

    def _page(self, after: bytes | None, *, is_plain: bool) -> list[tuple[bytes, bytes, int, int]]:
        text = _KNOWN_WITHOUT_FRESH if is_plain else _KNOWN
        if after is None:
            text = text.replace("key > :after AND", "").replace("WHERE key > :after", "")
        return self._db.execute(text, {"after": after, "rows": _PAGE_ROWS}).fetchall()

    def put(self, key: bytes, look: bytes, flags: int, body: bytes) -> None:
        """Record an entry that was just read."""
        self._unwritten.append((key, look, flags, body))
        self._unwritten_bytes += len(body)
        if len(self._unwritten) >= _PAGE_ROWS or self._unwritten_bytes >= _MOST_UNWRITTEN_BYTES:
            _ = self._db

    def look_again(self, known: Known, look: bytes, flags: int) -> None:
        """The same content has a new look or a different trust."""
        table = "fresh" if known.is_fresh else "files"
        self._db.execute(f"UPDATE {table} SET look = ?, flags = ? WHERE key = ?", (look, flags, known.key))  # noqa: S608

    def gone(self, key: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO fresh VALUES (?, NULL, 0, NULL)", (key,))

    def known_of(self, key: bytes) -> Known | None:
        for table in ("fresh", "files"):
            text = f"SELECT key, look, flags, ?, body FROM {table} WHERE key = ?"  # noqa: S608
            if row := self._db.execute(text, (table == "fresh", key)).fetchone():
                return Known(row[0], row[1], row[2], bool(row[3])) if row[4] is not None else None
        return None

    def published_look(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT look FROM files WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def has_published(self) -> bool:
        """Whether the last checkpoint holds anything but the folder itself."""
        return self._db.execute("SELECT 1 FROM files WHERE key > x'' LIMIT 1").fetchone() is not None

    def body(self, key: bytes) -> bytes | None:
        """A file's chunks or a link's target, as last read."""
        for table in ("fresh", "files"):
            if row := self._db.execute(f"SELECT body FROM {table} WHERE key = ?", (key,)).fetchone():  # noqa: S608
                return bytes(row[0]) if row[0] is not None else None
        return None

    def as_before(self, key: bytes) -> bool:
        """Discard what was read since the last checkpoint; returns whether that checkpoint has it at all."""
        row = self._db.execute("SELECT look, flags, body FROM files WHERE key = ?", (key,)).fetchone()
        if row is None:
            self.gone(key)
            return False
        # UNSURE, with a look that no file has: it is read again at the next opportunity
        self._db.execute("INSERT OR REPLACE INTO fresh VALUES (?, ?, ?, ?)", (key, row[0], row[1] | UNSURE, row[2]))
        return True

    def has_changes(self) -> bool:
        """Whether anything but looks differs from what was published."""
        return (
            self._db.execute(
                "SELECT 1 FROM fresh LEFT JOIN files USING (key) WHERE fresh.body IS NOT files.body"
                " OR substr(fresh.look, 41) IS NOT substr(files.look, 41) LIMIT 1"  # the mode
            ).fetchone()
            is not None
        )

    def has_content(self) -> bool:
        """Whether there is anything to save besides the folder itself."""
        return (
            self._db.execute("SELECT 1 FROM fresh WHERE key > x'' AND body IS NOT NULL LIMIT 1").fetchone() is not None
        )

    def load(self, entries: Iterable[tuple[bytes, bytes, int, bytes]]) -> None:
        """Enter what was restored as published: (key, look, flags, body)."""
        self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", entries)

    def entries(self, after: bytes | None = None) -> Iterator[tuple[bytes, bytes, bytes]]:
        """(key, look, body) of everything loaded, by key."""
        text = "SELECT key, look, body FROM files WHERE ? IS NULL OR key > ? ORDER BY key LIMIT ?"
        while rows := self._db.execute(text, (after, after, _PAGE_ROWS)).fetchall():
            yield from rows
            after = rows[-1][0]

    def folders_from_below(self) -> Iterator[tuple[bytes, bytes]]:
        """(key, look) of all folders, innermost first."""
        text = "SELECT key, look FROM files WHERE (key = x'' OR substr(key, -1) = x'2f') AND (? IS NULL OR key < ?)"
        before: bytes | None = None
        while rows := self._db.execute(f"{text} ORDER BY key DESC LIMIT ?", (before, before, _PAGE_ROWS)).fetchall():
            yield from rows
            before = rows[-1][0]

    def has_file_as_folder(self) -> bool:
        text = (
            "SELECT 1 FROM files AS a JOIN files AS b ON b.key = substr(a.key, 1, length(a.key) - 1)"
            " WHERE substr(a.key, -1) = x'2f' LIMIT 1"
        )
        return self._db.execute(text).fetchone() is not None

    def totals(self) -> tuple[int, int]:
        """Number and bytes of the loaded files."""
        files = size = 0
        for _, look, _ in self.entries():
            if is_file(look):
                files += 1
                size += fields_of(look)[0]
        return files, size

    def set_looks(self, rows: Iterable[tuple[bytes, int, bytes]]) -> None:
        """Set (look, flags, key) of what was restored."""
        self._db.executemany("UPDATE files SET look = ?, flags = ? WHERE key = ?", rows)

    def clear(self) -> None:
        for table in ("files", "fresh", "chunks", "blocks", "pieces"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608

    def want(self, pieces: Iterable[Piece]) -> None:
        """Record pieces to be fetched."""
        self._db.executemany("INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?)", pieces)

    def wanted(self) -> Iterator[tuple[int, list[Piece]]]:
        """The pieces of each pack, file by file; the list is cleared at the end."""
        rows = self._db.execute("SELECT * FROM pieces ORDER BY pack, key, at")
        for pack, pieces in groupby(iter(rows.fetchone, None), key=lambda row: row[0]):
            yield int(pack), list(map(Piece._make, pieces))
        self._db.execute("DELETE FROM pieces")

    def published(self) -> None:
        """`fresh` is now what was published last."""
        self._db.execute("INSERT OR REPLACE INTO files SELECT * FROM fresh WHERE body IS NOT NULL")
        self._db.execute("DELETE FROM files WHERE key IN (SELECT key FROM fresh WHERE body IS NULL)")
        self._db.execute("DELETE FROM fresh")
        self._db.execute("COMMIT")
        self._db.execute("BEGIN")

    # --- what the store has

    def find(self, digest: bytes) -> Location | None:
        number = _bits_of(digest)
        if not self._maybe_stored[number >> 3] & 1 << (number & 7):
            return None
        if (unwritten := self._unwritten_chunks.get(digest)) is not None:
            return unwritten
        text = "SELECT pack, offset, length FROM chunks WHERE digest = ?"
        row = self._connection.execute(text, (digest,)).fetchone()
        return None if row is None else Location(*row)

    def stored(self, digest: bytes, location: Location) -> None:
        self._mark(digest)
        self._unwritten_chunks[digest] = location
        if len(self._unwritten_chunks) >= _MOST_UNWRITTEN_CHUNKS:
            _ = self._db

    def _mark(self, digest: bytes) -> bytes:
        number = _bits_of(digest)
        self._maybe_stored[number >> 3] |= 1 << (number & 7)
        return digest

    def learn_chunks(self) -> None:
        """From what was restored."""
        rows = self._db.execute("SELECT look, body FROM files")
        while page := rows.fetchmany(_PAGE_ROWS):
            self._db.executemany(
                "INSERT OR IGNORE INTO chunks VALUES (?, ?, ?, ?)",
                ((self._mark(c), *at) for look, body in page if is_file(look) for c, *at in chunks_in(body)),
            )

    def forget_packs(self, packs: set[int]) -> None:
        """These are not in the store, or soon will not be: their contents count as not stored."""
        for some in batched(sorted(packs), _PAGE_ROWS // 2):  # each reads all chunks
            self._db.execute(f"DELETE FROM chunks WHERE pack IN ({', '.join('?' * len(some))})", some)  # noqa: S608

    def forget_readings(self, packs: set[int]) -> None:
        """A pack did not arrive: files that need it must be read again."""
        after = b""
        text = "SELECT key, look, body FROM fresh WHERE key > ? AND body IS NOT NULL ORDER BY key LIMIT ?"
        while rows := self._db.execute(text, (after, _PAGE_ROWS)).fetchall():
            after = rows[-1][0]
            for key, look, body in rows:
                if is_file(look) and packs.intersection(pack for _, pack, _, _ in chunks_in(body)):
                    self._db.execute("DELETE FROM fresh WHERE key = ?", (key,))

    # --- the manifest's list

    def encode(self) -> Summary:
        """Update the blocks to what is known now, and sum them up."""
        starts = [bytes(first) for (first,) in self._db.execute("SELECT first FROM blocks ORDER BY first")]
        for first, end in zip(starts or [b""], [*starts[1:], None], strict=True):
            if not starts or self._is_stale(first, end):
                self._encode_range(first, end)
        return self._summary()

    def _is_stale(self, first: bytes, end: bytes | None) -> bool:
        text = "SELECT 1 FROM fresh WHERE key >= ? AND key < ? LIMIT 1"
        return self._db.execute(text, (first, end or _BEYOND)).fetchone() is not None

    def _encode_range(self, first: bytes, end: bytes | None) -> None:
        bounds = {"first": first, "end": end or _BEYOND}
        rows = self._db.execute(_ENTRIES, bounds)
        blocks = list(encoded_blocks(Entry(*row) for row in rows))
        self._db.execute("DELETE FROM blocks WHERE first >= :first AND first < :end", bounds)
        # the first block of a range keeps the range's own start, so that keys put before its first entry belong to it
        self._db.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)",
            ((first if n == 0 else block.first, *block.row()) for n, block in enumerate(blocks)),
        )

    def blocks_size(self) -> int:
        """Bytes of all blocks."""
        (size,) = self._db.execute("SELECT total(length(data)) FROM blocks").fetchone()
        return int(size)

    def block_data(self) -> Iterator[bytes]:
        for (data,) in self._db.execute("SELECT data FROM blocks ORDER BY first"):
            yield data

    def _summary(self) -> Summary:
        return sum_up(self._db.execute("SELECT entries, bytes, content, packs FROM blocks"))


def _bits_of(digest: bytes) -> int:
    return int.from_bytes(digest[:3], "little")


def batched(values: list[int], count: int) -> Iterator[list[int]]:
    """Slices of at most `count` values."""
    return (values[at : at + count] for at in range(0, len(values), count))
