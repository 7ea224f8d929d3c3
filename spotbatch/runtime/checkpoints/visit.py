"""One pass through the checkpoint folder: known files are left alone, others are read or copied."""

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from spotbatch.batch.errors import Torn
from spotbatch.runtime.checkpoints.blocks import CHUNK, UNSURE, Known, chunks_in
from spotbatch.runtime.checkpoints.folder import Walk, fields_of, look_of
from spotbatch.runtime.checkpoints.frozen_copy import FrozenCopies
from spotbatch.runtime.checkpoints.reader import Reader
from spotbatch.runtime.checkpoints.trust import CLOCK_TICK_NS, FileSystems, is_too_young
from spotbatch.runtime.process.open_files import FileId, OpenFiles

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ENTRIES_BETWEEN_CHECKS = 512
_GONE = (FileNotFoundError, NotADirectoryError)


@dataclass(kw_only=True)
class Seen:
    """What one pass saw."""

    opened: OpenFiles
    began_ns: int = field(default_factory=time.time_ns)
    steady_ns: int = field(default_factory=time.monotonic_ns)
    newest_ns: int = 0  # the latest of all change times
    entries: int = 0  # excluding the folder itself
    differences: int = 0  # from what was known
    moving: set[bytes] = field(default_factory=set)  # changed after they were read
    held: dict[bytes, FileId] = field(default_factory=dict)  # new, and open for writing other than appending
    mapped: set[bytes] = field(default_factory=set)
    unreadable: dict[bytes, str] = field(default_factory=dict)

    @property
    def restless(self) -> set[bytes]:
        return self.moving | self.held.keys() | self.mapped

    def nothing_changed_since(self) -> bool:
        """Whether all is as it was when the pass began, by the file system's clock, which must not have been set."""
        passed_ns, clock_ns = time.monotonic_ns() - self.steady_ns, time.time_ns() - self.began_ns
        return self.newest_ns < self.began_ns - CLOCK_TICK_NS and abs(passed_ns - clock_ns) < CLOCK_TICK_NS // 4


class Visit:
    """Walks the folder alongside the index. With `copies`, files are copied there and read later."""

    def __init__(
        self,
        *,
        folder: str,
        exclude: tuple[str, ...],
        index: "Index",
        file_systems: FileSystems,
        seen: Seen,
        reader: Reader,
        is_first: bool,
        copies: FrozenCopies | None = None,
        without: frozenset[bytes] = frozenset(),
        scratch: Path | None = None,
    ) -> None:
        self._folder = os.fsencode(folder)
        self._walk = Walk(folder, exclude, scratch)
        self._index = index
        self._file_systems = file_systems
        self._seen = seen
        self._reader = reader
        self._is_first = is_first
        self._copies = copies
        self._without = without  # files that are left as they are known
        self._writers = {file: held for file, held in seen.opened.writers.items() if not held.appends}
        self._mapped_inodes = seen.opened.mapped_inodes
        top = os.path.realpath(self._folder) + b"/"
        self._mapped_keys = {p[len(top) :] for p in seen.opened.mapped_paths if p.startswith(top)}

    @property
    def others(self) -> list[bytes]:
        return self._walk.others

    def all(self) -> None:
        """Raises OSError if the folder itself cannot be inspected."""
        seen, is_alert = self._seen, self._seen.opened.is_blind
        has_maps, has_writers = bool(self._mapped_inodes or self._mapped_keys), bool(self._writers)
        rows: Iterator[Known] = self._index.known()
        known = next(rows, None)
        for key, found in self._walk:
            while known is not None and known.key < key:
                self._vanished(known)
                known = next(rows, None)
            mine = None
            if known is not None and known.key == key:
                mine, known = known, next(rows, None)
            if found.st_ctime_ns > seen.newest_ns:
                seen.newest_ns = found.st_ctime_ns
            seen.entries += 1
            if self._copies is not None and not seen.entries % _ENTRIES_BETWEEN_CHECKS:
                self._copies.check()
            look = look_of(found)
            if mine is not None and mine.look == look and not mine.flags and not is_alert:
                is_plain = not (has_maps and self._is_mapped(key, found)) and not (has_writers and mine.is_fresh)
                if is_plain and not (self._reader.given_up and self._is_given_up(key)):
                    continue
            self._visit(key, found, look, mine)
        while known is not None:
            self._vanished(known)
            known = next(rows, None)
        seen.entries -= 1  # the folder itself
        for key, why in self._walk.unreadable:
            seen.unreadable[key] = f"the folder cannot be read ({why})"

    def one(self, key: bytes) -> None:
        """The same for a single file."""
        try:
            found = os.lstat(self._folder + b"/" + key)
        except OSError:
            return
        self._visit(key, found, look_of(found), self._index.known_of(key))

    def _visit(self, key: bytes, found: os.stat_result, look: bytes, known: Known | None) -> None:
        if stat.S_ISREG(found.st_mode):
            return self._file(key, found, look, known)
        body = b""
        if stat.S_ISLNK(found.st_mode):
            try:
                body = os.readlink(self._folder + b"/" + key)  # noqa: PTH115 - on bytes
            except OSError:
                return self._differs(key)
        if known is None or fields_of(known.look)[5] != found.st_mode or self._index.body(key) != body:
            self._differs(key)
        if known is None or known.look != look:
            self._index.put(key, look, 0, body)
        return None

    def _file(self, key: bytes, found: os.stat_result, look: bytes, known: Known | None) -> None:
        seen, file = self._seen, (found.st_dev, found.st_ino)
        is_mapped = self._is_mapped(key, found)
        if is_mapped:
            seen.mapped.add(key)
        is_same = known is not None and known.look == look
        is_trusted = known is not None and not known.flags & UNSURE and not is_mapped and not seen.opened.is_blind
        is_trusted = is_trusted and not (self._reader.given_up and self._is_given_up(key))
        if known is not None and not is_same and not self._is_first and self._has_only_grown(known, found):
            return
        if key in self._without:
            return
        if file in self._writers and (known is None or known.is_fresh or not is_same):
            seen.held[key] = file
        if not (is_same and is_trusted):
            self._read(key, known)

    def _read(self, key: bytes, known: Known | None) -> None:
        seen = self._seen
        try:
            descriptor = os.open(self._folder + b"/" + key, _FLAGS)
        except _GONE:
            return self._differs(key)
        except OSError as error:
            seen.unreadable[key] = f"it cannot be read ({error.strerror})"
            return None
        try:
            if self._copies is not None:
                self._copies.add(key, descriptor)
            else:
                self._take(key, descriptor, known)
        except Torn:
            self._differs(key)
            seen.moving.add(key)
        except OSError as error:
            seen.unreadable[key] = f"it cannot be read ({error.strerror})"
        finally:
            os.close(descriptor)
        return None

    def _take(self, key: bytes, descriptor: int, known: Known | None) -> None:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return self._differs(key)
        if self.put(key, found, descriptor, 0, known):
            self._differs(key)
        now = os.fstat(descriptor)
        if look_of(now) != look_of(found) and not self._is_appended(now):
            self._seen.moving.add(key)
            self._seen.differences += 1
        return None

    def put(self, key: bytes, found: os.stat_result, descriptor: int, base: int, before: Known | None) -> bool:
        """Read a file's content and record it with the file's look; returns whether the content differs from `before`,
        which is what is known of it.
        """
        known_body = self._index.body(key) if before is not None and stat.S_ISREG(fields_of(before.look)[5]) else None
        body = self._reader.read(descriptor, found.st_size, known_body, base)
        look, flags = look_of(found), self._flags(key, found)
        is_same = before is not None and body == known_body and fields_of(before.look)[5] == found.st_mode
        if is_same and before is not None:
            self._index.look_again(before, look, flags)
        else:
            self._index.put(key, look, flags, body)
        return not is_same

    def _flags(self, key: bytes, found: os.stat_result) -> int:
        is_sure = (
            not self._is_mapped(key, found)
            and not self._seen.opened.is_blind
            and not is_too_young(found, time.time_ns())
            and self._file_systems.tells_of_writes(found.st_dev, os.fsdecode(self._folder))
        )
        return 0 if is_sure else UNSURE

    def _is_given_up(self, key: bytes) -> bool:
        """Whether some of its content is to be sent again."""
        body = self._index.body(key) if key and not key.endswith(b"/") else None
        if not body or len(body) % CHUNK.size:
            return False
        return any(pack in self._reader.given_up for _, pack, _, _ in chunks_in(body))

    def _differs(self, key: bytes) -> None:
        self._seen.differences += 1
        if not self._is_first:
            self._seen.moving.add(key)

    def _vanished(self, known: Known) -> None:
        if any(known.key.startswith(folder) for folder, _ in self._walk.unreadable):
            return
        self._differs(known.key)
        self._index.gone(known.key)

    def _is_mapped(self, key: bytes, found: os.stat_result) -> bool:
        if key in self._mapped_keys:
            return True
        return found.st_ino in self._mapped_inodes and (found.st_dev, found.st_ino) in self._seen.opened.mapped

    def _is_appended(self, found: os.stat_result) -> bool:
        held = self._seen.opened.writers.get((found.st_dev, found.st_ino))
        return held is not None and held.appends

    def _has_only_grown(self, known: Known, found: os.stat_result) -> bool:
        """If all writers of a file only append, it is unchanged up to the length at which it was read."""
        size, _, _, inode, device, mode = fields_of(known.look)
        is_same = (inode, device, mode) == (found.st_ino, found.st_dev, found.st_mode)
        return is_same and found.st_size >= size and self._is_appended(found)
