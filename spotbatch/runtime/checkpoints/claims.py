"""Ensures a single attempt per work: each takes the next epoch, and an older one still running sees it and stops."""

import os

from spotbatch.batch.errors import Superseded
from spotbatch.runtime.checkpoints.names import CLAIMS, ManifestName, epoch_of, has_epoch, manifest_names
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.storage.store import Store


class Claims:
    """One writer's claim on the objects below a prefix."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self.writer = os.urandom(3).hex()
        self.epoch = 0
        self.names_seen: list[ManifestName] = []  # when the epoch was taken

    def take(self, limit: Limit, *, above: int = 0) -> None:
        """Take the next epoch before anything is restored: an older attempt still running will see it and stop.

        `above` is an epoch known to be taken, whatever the listings show.
        """
        self.names_seen = retrying(lambda: manifest_names(self._store, self._prefix), limit)
        epochs = [name.epoch for name in self.names_seen]
        epochs += [epoch_of(claim) for claim in retrying(self._all, limit)]
        self.epoch = max([*epochs, above]) + 1
        # Another attempt may have looked at the same time: then both of us see it here, or one of us does.
        while rivals := self._claimed_beside(limit):
            self.epoch += 1 if self.writer < min(rivals) else 2

    def check(self, limit: Limit) -> list[str]:
        """Check the claims on this work. Raises Superseded if a newer attempt has made one."""
        claims = retrying(self._all, limit)
        if any(epoch_of(claim) > self.epoch for claim in claims):
            raise Superseded("a newer attempt of this work has begun; this one saves no more")
        return claims

    def _claimed_beside(self, limit: Limit) -> list[str]:
        """Claim the epoch; returns other writers that have claimed the same one."""
        own = f"{self.epoch:06d}-{self.writer}"
        retrying(lambda: self._store.put(f"{self._prefix}/{CLAIMS}/{own}", b""), limit)
        same = [claim for claim in retrying(self._all, limit) if epoch_of(claim) == self.epoch and claim != own]
        return [claim.partition("-")[2] for claim in same]

    def _all(self) -> list[str]:
        names = (key.rpartition("/")[2] for key, _ in self._store.list(f"{self._prefix}/{CLAIMS}/"))
        return [name for name in names if has_epoch(name)]
