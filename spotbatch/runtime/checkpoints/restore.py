"""Restores the newest intact checkpoint: every byte is checked, what looks corrupt is read again from the store,
and only then is a checkpoint given up for the one before it."""

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from spotbatch.batch.errors import Corrupt, HostFault, Invalid, Missing, Refused, StoreError
from spotbatch.runtime.checkpoints.fetch import fetch_files
from spotbatch.runtime.checkpoints.layout import finish, prepare
from spotbatch.runtime.checkpoints.listing import Head, load, read_head
from spotbatch.runtime.checkpoints.names import MANIFESTS, PACKS, ManifestName, manifest_names
from spotbatch.runtime.checkpoints.results import Restored
from spotbatch.runtime.checkpoints.room import is_restore_under_way
from spotbatch.runtime.deadline import LONGEST_WAIT_SECONDS, Limit, retrying
from spotbatch.runtime.errors import is_index_lost
from spotbatch.runtime.log import say, say_on_change
from spotbatch.runtime.storage.download import download, reading_again
from spotbatch.runtime.storage.store import Store

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

_FIRST_PAUSE_SECONDS = 0.5


def restore(
    store: Store,
    prefix: str,
    folder: Path,
    limit: Limit,
    scratch: Path | None = None,
    *,
    seen: Iterable[ManifestName] = (),
) -> Restored:
    """Fill a folder with the newest intact checkpoint below `prefix`. The folder is empty, or holds what an earlier
    restore left there: pieces with the right checksum are not fetched again. `seen` are manifests shown by another
    listing: some stores' listings lag, and one that lacks the newest manifest must not cost its work.

    Raises:
        StoreError: the store did not answer within the limit: whether there is a checkpoint is unknown.
        OSError, HostFault: the folder cannot be filled.
    """
    try:
        return _restore(store, prefix, folder, limit, scratch, seen)
    except Exception as error:
        if is_index_lost(error):
            raise HostFault(
                f"there is no room for the list of the checkpoint's files in {scratch} ({error})"
            ) from error
        raise


def _restore(
    store: Store, prefix: str, folder: Path, limit: Limit, scratch: Path | None, seen: Iterable[ManifestName]
) -> Restored:
    found, patience = Restored(), _Patience(store, prefix, limit)
    while True:
        listed = retrying(lambda: manifest_names(store, prefix), limit)
        names = with_unlisted(store, prefix, {*listed, *seen}, limit)
        left = [name for name in names if name not in found.corrupt]
        if not left:
            if is_restore_under_way(folder):
                prepare(folder, None)
            return found
        manifest: Head | None = None
        try:
            index = _new_index(scratch)
            manifest = load_manifest(store, prefix, left[-1], index, limit, scratch)
            pending = prepare(folder, index)
            packs = f"{prefix}/packs"
            found.downloaded_bytes += fetch_files(store, packs, manifest.packs, index, pending, limit)
        except (Corrupt, Missing) as problem:
            if isinstance(problem, Missing) and patience.is_contradicted(left[-1], manifest):
                patience.wait(problem)
                continue
            say(f"checkpoint {left[-1]} is not whole ({problem}); falling back to the one before")
            found.corrupt.add(left[-1])
            if isinstance(problem, Invalid):
                found.invalid.add(left[-1])
        else:
            finish(folder, index, pending)
            found.manifest, found.index = manifest, index
            return found


class _Patience:
    """For a store that lists an object and then answers that it is missing: it is not well, or not the store at all.
    To fall back to an older checkpoint would throw work away for that; so it is asked again while the limit on
    standing still allows it.
    """

    def __init__(self, store: Store, prefix: str, limit: Limit) -> None:
        self._store = store
        self._prefix = prefix
        self._limit = limit
        self._give_up: float | None = None  # monotonic: listings that succeed are no progress
        self._pause_seconds = _FIRST_PAUSE_SECONDS

    def is_contradicted(self, name: ManifestName, manifest: Head | None) -> bool:
        """Whether a listing shows the manifest, or, once that has been read, all packs that it needs."""
        if manifest is None:
            return name in retrying(lambda: manifest_names(self._store, self._prefix), self._limit)
        packs = {pack for pack, _ in manifest.packs.values()}
        found = retrying(lambda: {key for key, _ in self._store.list(f"{self._prefix}/{PACKS}/")}, self._limit)
        return packs <= {key.rpartition("/")[2] for key in found}

    def wait(self, problem: Missing) -> None:
        """Raises StoreError when it is time to give up."""
        now = time.monotonic()
        if self._give_up is None:
            self._give_up = now + self._limit.left_seconds()
        if now + self._pause_seconds >= self._give_up:
            raise StoreError(f"{problem}, says the store, and lists it: nothing is begun anew on such an answer")
        say_on_change("contradiction", f"{problem}, says the store, and lists it: asking again")
        self._limit.wait(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_WAIT_SECONDS)


def with_unlisted(store: Store, prefix: str, names: Iterable[ManifestName], limit: Limit) -> list[ManifestName]:
    """These, oldest first, and those that follow the newest: a writer numbers its checkpoints consecutively, so
    the next can be requested by name, which a lagging listing cannot hide.
    """
    found = sorted(names)
    while found:
        newest = found[-1]
        following = newest._replace(sequence=newest.sequence + 1)
        if not _is_there(store, f"{prefix}/{MANIFESTS}/{following}", limit):
            break
        found.append(following)
    return found


def _is_there(store: Store, key: str, limit: Limit) -> bool:
    try:
        retrying(lambda: store.get_ranges(key, [(0, 1)]), limit)
    except (Missing, Refused):  # a role without list permission gets "refused" for missing objects
        return False
    except Corrupt:  # it exists, and is empty: its reader will report that
        return True
    return True


def load_manifest(
    store: Store, prefix: str, name: ManifestName, index: "Index", limit: Limit, scratch: Path | None = None
) -> Head:
    """Load one manifest's list into the index; read again if it does not match its checksum.

    Raises:
        Corrupt, Missing: it still does not match, or does not exist. Invalid: it may not be restored.
        StoreError: the store did not answer within the limit.
    """

    def load_anew(file: Path) -> Head:
        index.clear()
        return load(file, index)

    return _fetched(store, prefix, name, load_anew, limit, scratch)


def read_manifest(store: Store, prefix: str, name: ManifestName, limit: Limit, scratch: Path | None = None) -> Head:
    """The head of one manifest; raises as `load_manifest` does."""
    return _fetched(store, prefix, name, read_head, limit, scratch)


def _fetched(
    store: Store,
    prefix: str,
    name: ManifestName,
    understand: Callable[[Path], Head],
    limit: Limit,
    scratch: Path | None,
) -> Head:
    def read() -> Head:
        with tempfile.TemporaryDirectory(dir=scratch, prefix="manifest-") as folder:
            file = Path(folder, "manifest")
            download(store, f"{prefix}/{MANIFESTS}/{name}", file, limit)
            head = understand(file)
        if (head.epoch, head.sequence, head.writer) != tuple(name):
            raise Invalid(f"the manifest {name} calls itself {head.name}")
        return head

    return reading_again(read, limit)


def _new_index(scratch: Path | None) -> "Index":
    from spotbatch.runtime.checkpoints.index import Index  # SQLite costs 10 ms, which a first attempt need not pay

    return Index(None if scratch is None else scratch / f"index-{os.urandom(4).hex()}")
