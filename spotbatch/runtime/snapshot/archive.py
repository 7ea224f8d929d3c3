"""A snapshot in the store: images and files as checkpoints are kept (packed, compressed, verified), then a document."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from spotbatch.batch import artifacts
from spotbatch.batch.errors import Missing, SpotbatchError, StoreError
from spotbatch.batch.light_dataclass import as_dict
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.log import say
from spotbatch.runtime.settings import Identity
from spotbatch.runtime.snapshot.document import Snapshot, read_snapshot
from spotbatch.runtime.snapshot.refusal import NoSnapshot
from spotbatch.runtime.storage.store import Store

IMAGES, FILES = "images", "files"


class Archive:
    """The snapshots of one unit of work; only the newest is kept. Methods block."""

    def __init__(self, store: Store, identity: Identity, own: Path, check_fence: Callable[[Limit], object]) -> None:
        """`own` is a private folder on disk; `check_fence` raises Superseded if a newer attempt has begun."""
        self._store = store
        self._all = artifacts.snapshot_prefix(identity.run_id, identity.array_index)
        self._marker = artifacts.snapshot_marker(identity.run_id, identity.array_index)
        self._own = own
        self._check_fence = check_fence

    def new_prefix(self, attempt: int) -> str:
        return f"{self._all}/{attempt:02d}-{os.urandom(3).hex()}"

    def find(self, limit: Limit) -> Snapshot | None:
        """The unit's snapshot, if there is one that may be used. Raises StoreError."""
        try:
            data = retrying(lambda: self._store.get(self._marker), limit)
        except Missing:
            return None
        found = read_snapshot(data)
        if found is None or not found.prefix.startswith(f"{self._all}/") or ".." in found.prefix:
            say("the snapshot's document cannot be read: it is not used")
            return None
        return found

    def publish(self, snapshot: Snapshot, images: str, files: Path, limit: Limit) -> int:
        """Store everything, the document last; returns the bytes sent. Raises SpotbatchError, OSError."""
        sent = 0
        for name, folder in ((IMAGES, Path(images)), (FILES, files)):
            writer = Writer(self._store, f"{snapshot.prefix}/{name}", folder, scratch=self._own)
            writer.claim(limit)
            saved = writer.save(limit, is_asked=True)
            if saved.missed or not saved.name:
                raise StoreError(f"not all of the snapshot could be read: {sorted(saved.missed)[:3]}")
            sent += saved.uploaded_bytes
        self._check_fence(limit)
        retrying(lambda: self._store.put(self._marker, snapshot.to_json()), limit)
        return sent

    def fetch(self, snapshot: Snapshot, folder: Path, limit: Limit) -> int:
        """Fetch the images and files of a snapshot, every byte checked; returns the bytes received.

        Raises:
            NoSnapshot: something is missing or altered, even after it was read again. StoreError: no answer.
        """
        received = 0
        for name in (IMAGES, FILES):
            target = folder / name
            target.mkdir(parents=True)
            found = restore(self._store, f"{snapshot.prefix}/{name}", target, limit, self._own)
            if found.manifest is None:
                raise NoSnapshot(f"its {name} are missing or damaged")
            received += found.downloaded_bytes
        return received

    def mark_bad(self, snapshot: Snapshot, why: str, limit: Limit) -> None:
        """It is not tried again. Raises StoreError."""
        bad = Snapshot(**{**as_dict(snapshot), "bad": why})
        retrying(lambda: self._store.put(self._marker, bad.to_json()), limit)

    def drop(self, keep: str | None, limit: Limit) -> None:
        """Delete all snapshots but the one with this prefix; what cannot be deleted now stays."""
        with contextlib.suppress(SpotbatchError, OSError):
            if keep is None:
                self._store.delete([self._marker])
            keys = retrying(lambda: [key for key, _ in self._store.list(f"{self._all}/")], limit)
            self._store.delete(key for key in keys if keep is None or not key.startswith(f"{keep}/"))
