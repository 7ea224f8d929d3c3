"""Sending chunks of files to the store, many small ones together in one object."""

from collections.abc import Callable

from spotbatch.runtime.checkpoints.manifest import Chunk
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.storage.parallel import Crew
from spotbatch.runtime.storage.store import Store

PACK_BYTES = 8 * 1024 * 1024
WIDTH = 4  # transfers beside each other; memory is at most WIDTH + 2 packs


class Upload:
    """Gathers chunks into packs and sends them, a few at a time."""

    def __init__(self, store: Store, prefix: str, limit: Limit, next_name: Callable[[], str]) -> None:
        self._store = store
        self._prefix = prefix
        self._limit = limit
        self._next_name = next_name
        self._crew: Crew[tuple[str, list[bytes], list[Chunk]]] | None = None
        self._name = ""
        self._parts: list[bytes] = []
        self._size = 0
        self._pending: list[Chunk] = []
        self.added: set[str] = set()
        self.arrived: dict[str, Chunk] = {}
        self.tried: dict[str, int] = {}
        self.sent_bytes = 0

    def add(self, digest: str, data: bytes) -> None:
        if digest in self.added:
            return
        self.added.add(digest)
        if not self._name:
            self._name = self._next_name()
        self._pending.append(Chunk(digest, self._name, self._size, len(data)))
        self._parts.append(data)
        self._size += len(data)
        if self._size >= PACK_BYTES:
            self._flush()

    def finish(self) -> None:
        """Wait for what is under way; raises the first error."""
        try:
            self._flush()
        finally:
            if self._crew is not None:
                self._crew.finish()

    def _flush(self) -> None:
        if not self._name:
            return
        if self._crew is None:
            self._crew = Crew(WIDTH, self._send)
        self.tried[self._name] = self._size
        pack = (self._name, self._parts, self._pending)
        self._name, self._parts, self._size, self._pending = "", [], 0, []
        self._crew.give(pack)

    def _send(self, pack: tuple[str, list[bytes], list[Chunk]]) -> None:
        name, parts, chunks = pack
        data = b"".join(parts)
        parts.clear()
        retrying(lambda: self._store.put(self._prefix + name, data), self._limit)
        self.sent_bytes += len(data)
        self.arrived.update((chunk.digest, chunk) for chunk in chunks)
