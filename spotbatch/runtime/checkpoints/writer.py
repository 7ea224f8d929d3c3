"""Saving the checkpoint folder: changes are stored in packs, and a manifest written last makes them a checkpoint."""

import io
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from spotbatch.batch.errors import Corrupt, HostFault, Missing
from spotbatch.runtime.checkpoints import manifest_file
from spotbatch.runtime.checkpoints.blocks import Summary
from spotbatch.runtime.checkpoints.claims import Claims
from spotbatch.runtime.checkpoints.manifest import scattered
from spotbatch.runtime.checkpoints.names import CLAIMS, MANIFESTS, PACKS, ManifestName, epoch_of, manifest_names
from spotbatch.runtime.checkpoints.open_policy import OpenPolicy, unfinished_below
from spotbatch.runtime.checkpoints.open_rule import OpenRule, Unfinished
from spotbatch.runtime.checkpoints.reader import Reader
from spotbatch.runtime.checkpoints.restore import read_manifest
from spotbatch.runtime.checkpoints.results import Restored, Saved
from spotbatch.runtime.checkpoints.room import is_empty
from spotbatch.runtime.checkpoints.snapshot import Folder
from spotbatch.runtime.checkpoints.upload import PACK_BYTES, Upload
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.errors import is_index_lost
from spotbatch.runtime.process.open_files import look_at
from spotbatch.runtime.storage.store import Store

if TYPE_CHECKING:
    from spotbatch.runtime.checkpoints.index import Index

KEEP = 2  # whole checkpoints


class _Reference(NamedTuple):
    """What pruning must know about a checkpoint."""

    content: str
    packs: set[str]


class Writer:
    """Saves one folder below one prefix. Used by one thread at a time."""

    def __init__(
        self,
        store: Store,
        prefix: str,
        folder: Path,
        *,
        exclude: tuple[str, ...] = (),
        processes: Callable[[], Iterable[int]] = tuple,
        scratch: Path | None = None,
        open_rule: OpenRule = OpenRule.AUTO,
        claims: Claims | None = None,
    ) -> None:
        """`processes` are those that may be writing to the folder; `scratch` is where our own files may go; `claims`
        are this attempt's existing claims, if any.
        """
        self._store = store
        self._prefix = prefix
        self._path = str(folder)
        self._exclude = exclude
        self._processes = processes
        self._scratch = scratch
        self._policy = OpenPolicy(open_rule)
        self._claims = claims or Claims(store, prefix)
        self._sequence = 0
        self._opened: tuple[Index, Folder] | None = None
        self._last: ManifestName | None = None
        self._summary = Summary(0, 0, "", {})  # of the last
        self._packs: dict[int, tuple[str, int]] = {}  # name and bytes of those that may be in the store, by number
        self._packs_made = 0
        self._stored: dict[str, int] = {}  # packs that may be in the store: bytes by name
        self._references: dict[ManifestName, _Reference] = {}
        self._corrupt: set[ManifestName] = set()  # could not be verified here: never deleted by us
        self._unreadable: set[ManifestName] = set()  # those of them whose list of packs is not even known
        self._has_listed_packs = False
        self._has_to_learn = False
        self._is_short_of_room = False  # where to create the index

    @property
    def epoch(self) -> int:
        return self._claims.epoch

    @property
    def newest(self) -> str:
        """The name of the last checkpoint that was restored or published; "" if there is none."""
        return str(self._last or "")

    def claim(self, limit: Limit) -> None:
        """Become the only attempt at this work: `Claims.take`."""
        self._claims.take(limit)

    def start_from(self, restored: Restored) -> None:
        """What has just been restored into the folder is known, and need not be sent again."""
        self._corrupt = set(restored.corrupt)
        head, index = restored.manifest, restored.index
        if head is None or index is None:
            return
        self._know(index)
        self._packs = dict(head.packs)
        self._packs_made = max(self._packs, default=0)
        self._stored.update(head.packs.values())
        self._last = ManifestName(head.epoch, head.sequence, head.writer)
        self._has_to_learn = True

    def warm_up(self) -> None:
        """Do in advance what a first save would spend time on: it may have to be quick."""
        self._known()

    def save(
        self, limit: Limit, *, is_asked: bool = False, half_written: Mapping[str, Unfinished] = MappingProxyType({})
    ) -> Saved:
        """Publish the folder as it is now, unless nothing has changed since the last publication.

        Args:
            is_asked: the program asserts that its files are complete now; nothing is waited for.
            half_written: files being written when the command was killed, and how to describe them.

        Raises:
            Torn: the folder does not exist, or is being rebuilt.
            StoreError: the store did not accept it within the limit. What was accepted is not sent again.
            Superseded: a newer attempt has begun.
        """
        if self._opened is None and self._is_empty():
            return Saved(name="", checkpoint_bytes=0, is_new=False, looked_at=time.time())
        try:
            return self._save(limit, is_asked=is_asked, half_written=half_written)
        except Exception as error:
            if not is_index_lost(error):
                raise
            raise self._lose_index(error) from error

    def _lose_index(self, error: Exception) -> HostFault:
        """It is no longer usable; the next one is kept in memory and starts out empty."""
        self._opened, self._has_to_learn, self._is_short_of_room = None, False, True
        return HostFault(
            f"no room for the list of the checkpoint's files in {self._scratch} ({error}): it is kept in memory from "
            "now on, and the folder is read anew at the next save"
        )

    def _save(self, limit: Limit, *, is_asked: bool, half_written: Mapping[str, Unfinished]) -> Saved:
        began = time.monotonic()
        index, folder = self._known()
        self._learn_what_was_restored(index)
        upload = Upload(self._store, f"{self._prefix}/{PACKS}/", limit, self._next_pack, index)
        given_up = scattered(self._summary.packs, {number: self._packs[number][1] for number in self._summary.packs})
        index.forget_packs(given_up)
        try:
            with Reader(index, upload, limit, given_up) as reader:
                half = {os.fsencode(path): why for path, why in half_written.items()}
                taken = folder.take(reader, limit, is_asked=is_asked, half_written=half)
        finally:
            self._learn(upload)
        missed = {os.fsdecode(key): why for key, why in taken.missed.items()}
        sent = self._publish(index, limit)
        return Saved(
            name=str(self._last or ""),
            checkpoint_bytes=self._summary.size,
            is_new=sent is not None,
            looked_at=taken.looked_at,
            uploaded_bytes=0 if sent is None else upload.sent_bytes + sent,
            seconds=0.0 if sent is None else time.monotonic() - began,
            missed=missed,
        )

    def _learn_what_was_restored(self, index: "Index") -> None:
        """At the first save, so that the command's start is not delayed."""
        if self._has_to_learn and self._last is not None:
            index.learn_chunks()
            self._summary = index.encode()
            packs = {self._packs[number][0] for number in self._summary.packs}
            self._references[self._last] = _Reference(self._summary.content, packs)
            self._has_to_learn = False

    def _publish(self, index: "Index", limit: Limit) -> int | None:
        """Returns the bytes of the manifest; None if the last one has the same content."""
        if self._is_last_ours() and not (index.has_changes() if self._last else index.has_content()):
            return None
        summary = index.encode()
        name = ManifestName(self._claims.epoch, self._sequence + 1, self._claims.writer)
        head = {
            "epoch": self._claims.epoch,
            "sequence": self._sequence + 1,
            "writer": self._claims.writer,
            "saved_at": time.time(),
            "content": summary.content,
            "entries": summary.entries,
            "bytes": summary.size,
            "packs": [[number, *self._packs[number]] for number in sorted(summary.packs)],
        }
        self._sequence += 1  # before sending: an upload that seems to have failed may have arrived under its name
        key = f"{self._prefix}/{MANIFESTS}/{name}"
        if index.blocks_size() <= PACK_BYTES:  # needs no space on a disk that may be full
            small = io.BytesIO()
            size = manifest_file.write(small, head, index.block_data())
            retrying(lambda: self._store.put(key, small.getvalue()), limit)
        else:
            with tempfile.NamedTemporaryFile(dir=self._scratch) as file:
                size = manifest_file.write(file, head, index.block_data())
                file.flush()
                retrying(lambda: self._store.put_file(key, Path(file.name)), limit)
        index.published()
        self._last, self._summary = name, summary
        self._references[name] = _Reference(summary.content, {self._packs[number][0] for number in summary.packs})
        return size

    def unfinished(self) -> dict[str, Unfinished]:
        """Files of the folder being written now, which would be incomplete if the command ended now."""
        return unfinished_below(self._path, self._exclude, look_at(self._processes()), self._policy)

    def prune(self, limit: Limit) -> None:
        """Delete all but the newest intact checkpoints, manifests before packs.

        Raises:
            StoreError, Superseded, HostFault, OSError.
        """
        try:
            self._prune(limit)
        except Exception as error:
            if not is_index_lost(error):
                raise
            raise self._lose_index(error) from error

    def _prune(self, limit: Limit) -> None:
        claims = self._claims.check(limit)
        names = self._names(limit)
        if any(name.epoch == self._claims.epoch and name.writer != self._claims.writer for name in names):
            self._rise_above(limit)
            names = self._names(limit)
        if not self._has_listed_packs:
            listed = retrying(lambda: list(self._store.list(f"{self._prefix}/{PACKS}/")), limit)
            self._stored.update((key.rpartition("/")[2], size) for key, size in listed)
            self._has_listed_packs = True
        kept = self._newest_whole(names, limit)
        gone = [name for name in names if name not in kept and name not in self._corrupt]
        needed, unknown_epoch = self._packs_of_others(names, limit)
        needed = needed.union(*(each.packs for name, each in self._references.items() if name not in gone))
        self._store.delete(f"{self._prefix}/{MANIFESTS}/{name}" for name in gone)
        unneeded = [
            name for name in self._stored if name not in needed and unknown_epoch < epoch_of(name) <= self._claims.epoch
        ]
        self._store.delete(f"{self._prefix}/{PACKS}/{name}" for name in unneeded)
        self._store.delete(f"{self._prefix}/{CLAIMS}/{name}" for name in claims if epoch_of(name) < self._claims.epoch)
        self._forget(set(unneeded), gone)

    def _names(self, limit: Limit) -> list[ManifestName]:
        """Those in the store, plus any of ours that a lagging listing does not show: they must not be lost."""
        return sorted({*retrying(lambda: manifest_names(self._store, self._prefix), limit), *self._references})

    def _rise_above(self, limit: Limit) -> None:
        """An attempt before us has the same epoch, since a listing did not show it when we claimed. What it saves later
        than we do would appear newer than ours: take another epoch, and publish ours once more.
        """
        self._claims.take(limit, above=self._claims.epoch)
        self._publish(self._known()[0], limit)

    def _newest_whole(self, names: list[ManifestName], limit: Limit) -> list[ManifestName]:
        """The newest few that differ: a copy does not count as another one."""
        kept: list[ManifestName] = []
        contents: set[str] = set()
        for name in reversed(names):
            if len(kept) == KEEP:
                break
            if name in self._corrupt or not self._is_read(name, limit):
                continue
            if self._references[name].content not in contents:
                contents.add(self._references[name].content)
                kept.append(name)
        return kept

    def _packs_of_others(self, names: list[ManifestName], limit: Limit) -> tuple[set[str], int]:
        """The packs of checkpoints that could not be verified here, and so are not ours to delete: another host may
        find them intact. For one that cannot even be read, everything up to its epoch; 0 if all can be read.
        """
        needed: set[str] = set()
        unknown_epoch = 0
        for name in self._corrupt.intersection(names):
            if self._is_read(name, limit):
                needed |= self._references[name].packs
            else:
                unknown_epoch = max(unknown_epoch, name.epoch)
        return needed, min(unknown_epoch, self._claims.epoch - 1)

    def _is_read(self, name: ManifestName, limit: Limit) -> bool:
        """Whether we know what a manifest refers to. An unreadable one is remembered as such."""
        if name in self._references:
            return True
        if name in self._unreadable:
            return False
        try:
            head = read_manifest(self._store, self._prefix, name, limit, self._scratch)
        except (Corrupt, Missing):
            self._unreadable.add(name)
            self._corrupt.add(name)
            return False
        self._references[name] = _Reference(head.content, set(dict(head.packs.values())))
        return True

    def _forget(self, packs: set[str], manifests: Iterable[ManifestName]) -> None:
        for name in manifests:
            self._references.pop(name, None)
        if packs:
            self._stored = {name: size for name, size in self._stored.items() if name not in packs}
            numbers = {number for number, (name, _) in self._packs.items() if name in packs}
            self._packs = {number: pack for number, pack in self._packs.items() if number not in numbers}
            self._known()[0].forget_packs(numbers)

    def _known(self) -> "tuple[Index, Folder]":
        """Created when first needed: a command that saves nothing does not pay for it."""
        if self._opened is None:
            from spotbatch.runtime.checkpoints.index import Index  # importing SQLite costs 10 ms

            file = None if self._scratch is None else self._scratch / f"index-{self._claims.writer}"
            self._know(Index(file, is_in_memory=self._is_short_of_room))
        assert self._opened is not None  # noqa: S101 - just created
        return self._opened

    def _know(self, index: "Index") -> None:
        folder = Folder(
            self._path,
            exclude=self._exclude,
            index=index,
            processes=self._processes,
            scratch=self._scratch,
            policy=self._policy,
        )
        self._opened = index, folder

    def _is_empty(self) -> bool:
        """Nothing was ever saved or restored, and nothing is there: the common case for a short command."""
        try:
            return is_empty(self._path)
        except OSError:
            return False

    def _next_pack(self) -> tuple[int, str]:
        self._packs_made += 1
        return self._packs_made, f"{self._claims.epoch:06d}-{self._claims.writer}-{self._packs_made:06d}"

    def _learn(self, upload: Upload) -> None:
        """Wait for transfers in progress; whatever arrived is known even if the save as a whole fails."""
        index, _ = self._known()
        try:
            upload.finish()
        finally:
            lost = upload.tried.keys() - upload.arrived
            if lost:
                index.forget_packs(lost)
                index.forget_readings(lost)
            self._packs.update({number: upload.tried[number] for number in upload.arrived})
            self._stored.update(upload.tried.values())  # including what seems lost: it may have arrived

    def _is_last_ours(self) -> bool:
        """Whether the last checkpoint is this attempt's. A restored one is published again, as a copy that costs
        one small object: otherwise an older attempt still running could publish after it, and be restored instead.
        """
        return self._last is None or self._last.epoch == self._claims.epoch
