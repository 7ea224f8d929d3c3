"""How many commits the journal must hold, kept apart from it: SQLite ends a write-ahead log at the first bad byte.

It takes all that stands behind that byte for a transaction that was cut off (sqlite.org/fileformat2.html, "The
Checkpoint Algorithm": frames count up to the first whose checksum is wrong), says nothing, and opens an older state.
So each commit counts itself in the journal, and after it in this file. The file is never ahead of the journal: a kill
of the region between the two leaves it one behind, which is no damage. After a power loss the log may lack what the
disk had not taken yet, so that in another boot of the machine only what was synced is asked for.
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
    """Two records at fixed places: what was committed in which boot of the machine, and what the disk has for sure."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME
        self._boot = _boot_id()
        self._descriptor: int | None = None

    def expected(self) -> int | None:
        """How many commits the journal must hold; None if that is not known (no file, or a damaged one)."""
        committed, synced = self._records()
        if committed is None or synced is None:
            return None
        is_same_boot = self._boot != "" and committed[1] == self._boot
        return max(committed[0], synced[0]) if is_same_boot else synced[0]

    def open(self, count: int) -> None:
        """Begin with what the journal holds, of which the disk may not have all. Raises OSError."""
        synced = self._records()[1]
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.committed(count)
        self.synced(min(count, synced[0]) if synced else 0)

    def committed(self, count: int) -> None:
        """The journal holds so many commits, and a kill of the region cannot undo them."""
        self._write(count, 0)

    def synced(self, count: int) -> None:
        """The disk has them. May be called from another thread."""
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
        """In place, without a sync: a count that comes too late on the disk asks for less, and is no false alarm."""
        if self._descriptor is not None:
            text = f"{count:020d} {self._boot or '-'}"
            line = f"{text} {zlib.crc32(text.encode()):08x}".ljust(_RECORD_BYTES - 1) + "\n"
            with suppress(OSError):  # a full disk: the count stays behind, which is safe
                os.pwrite(self._descriptor, line.encode(), place)


def _record(raw: bytes) -> Record | None:
    """(count, boot) of a record; None for one that is not whole."""
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
