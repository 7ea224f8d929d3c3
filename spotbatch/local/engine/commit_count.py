"""How many commits the journal must hold, stored separately: SQLite ends a write-ahead log at the first bad byte.

It treats everything after that byte as a transaction that was cut off (sqlite.org/fileformat2.html, "The
Checkpoint Algorithm": frames count up to the first one with a wrong checksum), silently, and opens an older state.
So each commit is counted in the journal, and then in this file. The file is never ahead of the journal: if the region
is killed between the two it is one behind, which is harmless. After a power loss the log may lack what the
disk had not yet stored, so that after a reboot only what was synced is required.
"""

import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "journal.commits"
_RECORD_BYTES: Final = 128
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Record = tuple[int, str]  # (count, boot of the machine)


class CommitCount:
    """Two records at fixed positions: what was committed in which boot of the machine, and what is safely on disk."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self._boot = _boot_id()
        self._descriptor: int | None = None

    def expected(self) -> int | None:
        """How many commits the journal must hold; None if unknown (no file, or a damaged one)."""
        committed, synced = self._records()
        if committed is None or synced is None:
            return None
        is_same_boot = self._boot != "" and committed[1] == self._boot
        return max(committed[0], synced[0]) if is_same_boot else synced[0]

    def open(self, count: int) -> None:
        """Begin with the journal's content, which may not all be on disk yet. Raises OSError."""
        synced = self._records()[1]
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.committed(count)
        self.synced(min(count, synced[0]) if synced else 0)

    def committed(self, count: int) -> None:
        """The journal holds this many commits, and killing the region cannot undo them."""
        self._write(count, 0)

    def synced(self, count: int) -> None:
        """They are on disk. May be called from another thread."""
        self._write(count, _RECORD_BYTES)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _records(self) -> tuple[Record | None, Record | None]:
        raw = b""
        with suppress(OSError):
            raw = self.path.read_bytes()
        return _record(raw[:_RECORD_BYTES]), _record(raw[_RECORD_BYTES:])

    def _write(self, count: int, place: int) -> None:
        """In place, without a sync: a count that reaches the disk late requires less, and raises no false alarm."""
        if self._descriptor is not None:
            text = f"{count:020d} {self._boot or '-'}"
            line = f"{text} {zlib.crc32(text.encode()):08x}".ljust(_RECORD_BYTES - 1) + "\n"
            with suppress(OSError):  # full disk: the count stays behind, which is safe
                os.pwrite(self._descriptor, line.encode(), place)


def _record(raw: bytes) -> Record | None:
    """(count, boot) of a record; None if it is not intact."""
    with suppress(ValueError):
        text, _, checksum = raw.decode("ascii").strip().rpartition(" ")
        if int(checksum, 16) == zlib.crc32(text.encode()):
            count, _, boot = text.partition(" ")
            return int(count), boot
    return None


def _boot_id() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""
