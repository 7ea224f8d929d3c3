"""The digests of a file's chunks, computed by a few threads ahead of whoever takes them."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from spotbatch.runtime.checkpoints.folder import MIB, OpenFile
from spotbatch.runtime.storage.parallel import Crew

WIDTH = 2  # SHA-256 runs at 1 to 2 GB/s a core; more threads would take the command's cores
PART_BYTES = MIB  # handed to a thread at once: several chunks, since each hand-over costs some 20 us
AHEAD_BYTES = 4 * MIB  # read before it is taken; at least one part, which may be larger in a huge file


@dataclass(kw_only=True, eq=False)
class _Part:
    """Neighbouring chunks of one file, and what a thread found in them."""

    file: OpenFile
    spans: list[tuple[int, int]]
    found: list[tuple[str, bytes]] = field(default_factory=list)
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        return sum(length for _, length in self.spans)

    def read(self) -> None:
        try:
            self.found = [_digested(self.file.read(offset, length)) for offset, length in self.spans]
        except BaseException as error:  # noqa: BLE001 - raised again where the part is taken
            self.error = error
        finally:
            self.done.set()

    def taken(self) -> list[tuple[str, bytes]]:
        self.done.wait()
        if self.error is not None:
            raise self.error
        return self.found


class Hashing:
    """Threads that read and hash; they start with the first file that is worth it."""

    def __init__(self) -> None:
        self._crew: Crew[_Part] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._crew is not None:
            self._crew.finish()

    def chunks(self, file: OpenFile) -> Iterator[tuple[str, bytes]]:
        """The file's chunks in order: SHA-256 in hex, and content.

        Raises:
            Torn: it became shorter than it was when it was opened.
        """
        parts = _parts(file)
        if len(parts) == 1:
            parts[0].read()  # a small file: no thread is worth its while
            yield from parts[0].taken()
            return
        if self._crew is None:
            self._crew = Crew(WIDTH, _Part.read)
        ahead = max(1, AHEAD_BYTES // parts[0].size)
        under_way: deque[_Part] = deque()
        try:
            for part in parts:
                self._crew.give(part)
                under_way.append(part)
                if len(under_way) > ahead:
                    yield from under_way.popleft().taken()
            while under_way:
                yield from under_way.popleft().taken()
        finally:
            for part in under_way:
                part.done.wait()  # the caller closes the file


def _parts(file: OpenFile) -> list[_Part]:
    parts = [_Part(file=file, spans=[])]
    for offset, length in file.spans():
        if parts[-1].spans and parts[-1].size + length > PART_BYTES:
            parts.append(_Part(file=file, spans=[]))
        parts[-1].spans.append((offset, length))
    return parts


def _digested(data: bytes) -> tuple[str, bytes]:
    return hashlib.sha256(data).hexdigest(), data
