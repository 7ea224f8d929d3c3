"""Saving the checkpoint folder: what changed goes into packs, and a manifest written last makes it a checkpoint."""

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from spotbatch.batch.errors import Corrupt, Missing, StoreError, Superseded, Torn
from spotbatch.runtime.checkpoints.folder import Listing, Look, OpenFile, list_folder, open_for_saving
from spotbatch.runtime.checkpoints.hashing import Hashing
from spotbatch.runtime.checkpoints.manifest import (
    CLAIMS,
    MANIFESTS,
    PACKS,
    Chunk,
    Manifest,
    ManifestName,
    SavedFile,
    chunks_of,
    content_id,
    scattered,
    to_bytes,
)
from spotbatch.runtime.checkpoints.restore import manifest_names, read_manifest
from spotbatch.runtime.checkpoints.upload import Upload
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.log import say_on_change
from spotbatch.runtime.process.process_tree import writers
from spotbatch.runtime.storage.store import Store

_EPOCH = re.compile(r"[0-9]{1,18}")
KEEP = 2  # whole checkpoints
SETTLE_SECONDS = 2.0  # how long a save waits for files that are being written


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """One save that was acknowledged by the store."""

    manifest: Manifest
    is_new: bool  # False: nothing had changed since the last one, and nothing was sent
    looked_at: float  # UTC epoch seconds when the folder was in this state
    uploaded_bytes: int = 0
    seconds: float = 0.0


NOTHING = Manifest(epoch=0, sequence=0, writer="", saved_at=0.0, files=(), folders=(), links=(), packs={})


class _Reference(NamedTuple):
    """What pruning must know of a checkpoint."""

    content: str
    packs: set[str]


class _Known(NamedTuple):
    """A file as it was when its content was last read."""

    look: Look
    saved: SavedFile


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
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._folder = str(folder)
        self._exclude = exclude
        self._processes = processes  # the processes that may be writing in the folder
        self._writer = os.urandom(3).hex()
        self._epoch = 0
        self._sequence = 0
        self._packs_made = 0
        self._last = NOTHING
        self._known: dict[str, _Known] = {}
        self._published: dict[str, Look] = {}
        self._chunks: dict[str, Chunk] = {}  # by digest: what is in the store
        self._stored: dict[str, int] = {}  # packs that may be in the store: bytes by name
        self._references: dict[ManifestName, _Reference] = {}
        self._corrupt: set[ManifestName] = set()  # could not be verified here: never deleted by us
        self._unreadable: set[ManifestName] = set()  # of these, those of which not even the list of packs is known
        self._has_listed_packs = False

    @property
    def epoch(self) -> int:
        return self._epoch

    def claim(self, limit: Limit) -> None:
        """Take the next epoch, before anything is restored: an older attempt that still runs will see it and stop."""
        epochs = [name.epoch for name in retrying(lambda: manifest_names(self._store, self._prefix), limit)]
        epochs += [_epoch_of(claim) for claim in retrying(self._claims, limit)]
        self._epoch = max(epochs, default=0) + 1
        # Somebody may have looked when we did: then both of us see it here, or one of us.
        while rivals := self._claimed_beside(limit):
            self._epoch += 1 if self._writer < min(rivals) else 2

    def _claimed_beside(self, limit: Limit) -> list[str]:
        """Claim the epoch; other writers that have claimed the same."""
        own = f"{self._epoch:06d}-{self._writer}"
        retrying(lambda: self._store.put(f"{self._prefix}/{CLAIMS}/{own}", b""), limit)
        same = [claim for claim in retrying(self._claims, limit) if _epoch_of(claim) == self._epoch and claim != own]
        return [claim.partition("-")[2] for claim in same]

    def start_from(self, manifest: Manifest | None, corrupt: Iterable[ManifestName] = ()) -> None:
        """What has just been restored into the folder is known, and need not be sent again."""
        self._corrupt = set(corrupt)
        if manifest is None:
            return
        self._last = manifest
        self._stored.update(manifest.packs)
        self._chunks = {chunk.digest: chunk for chunk in chunks_of(manifest)}
        self._refer_to(manifest)
        looks = list_folder(self._folder, self._exclude).files
        self._known = {each.path: _Known(looks[each.path], each) for each in manifest.files if each.path in looks}
        self._published = {path: known.look for path, known in self._known.items()}

    def save(self, limit: Limit) -> Saved:
        """Publish the folder as it is now, unless that is what was published last.

        Raises:
            Torn: a file is being written and did not come to rest.
            StoreError: the store did not take it within the limit. What it took is not sent again.
            Superseded: a newer attempt has begun.
        """
        began = time.monotonic()
        looked_at = time.time()
        if self._is_as_published(list_folder(self._folder, self._exclude)):
            return Saved(manifest=self._last, is_new=False, looked_at=looked_at)
        for digest in scattered(self._last):
            self._chunks.pop(digest, None)  # read and sent anew, together
        upload = Upload(self._store, f"{self._prefix}/{PACKS}/", limit, self._next_pack)
        try:
            files, listing, looked_at = self._snapshot(upload, limit)
        finally:
            self._learn(upload)
        manifest = self._manifest(files, listing)
        if self._is_last_ours() and content_id(manifest) == content_id(self._last):
            self._published = {path: known.look for path, known in self._known.items()}
            return Saved(manifest=self._last, is_new=False, looked_at=looked_at)
        data = to_bytes(manifest)
        self._sequence += 1  # before it is sent: what seems to have failed may have landed, and its name is taken
        retrying(lambda: self._store.put(f"{self._prefix}/{MANIFESTS}/{manifest.name}", data), limit)
        self._last = manifest
        self._refer_to(manifest)
        self._published = {path: known.look for path, known in self._known.items()}
        seconds = time.monotonic() - began
        uploaded = upload.sent_bytes + len(data)
        return Saved(manifest=manifest, is_new=True, looked_at=looked_at, uploaded_bytes=uploaded, seconds=seconds)

    def prune(self, limit: Limit) -> None:
        """Delete all but the newest whole checkpoints, manifests before packs.

        Raises:
            StoreError, Superseded.
        """
        claims = self.check_fence(limit)
        names = retrying(lambda: manifest_names(self._store, self._prefix), limit)
        if not self._has_listed_packs:
            listed = retrying(lambda: list(self._store.list(f"{self._prefix}/{PACKS}/")), limit)
            self._stored.update((PurePosixPath(key).name, size) for key, size in listed)
            self._has_listed_packs = True
        kept = self._newest_whole(names, limit)
        gone = [name for name in names if name not in kept and name not in self._corrupt]
        needed, unknown_epoch = self._packs_of_others(names, limit)
        needed = needed.union(*(self._references[name].packs for name in kept))
        self._store.delete(f"{self._prefix}/{MANIFESTS}/{name}" for name in gone)
        unneeded = [
            name for name in self._stored if name not in needed and unknown_epoch < _epoch_of(name) <= self._epoch
        ]
        self._store.delete(f"{self._prefix}/{PACKS}/{name}" for name in unneeded)
        self._store.delete(f"{self._prefix}/{CLAIMS}/{name}" for name in claims if _epoch_of(name) < self._epoch)
        self._forget(set(unneeded), gone)

    def check_fence(self, limit: Limit) -> list[str]:
        """The claims on this work. Raises Superseded where a newer attempt has made one."""
        claims = retrying(self._claims, limit)
        if any(_epoch_of(claim) > self._epoch for claim in claims):
            raise Superseded("a newer attempt of this work has begun; this one saves no more")
        return claims

    def _newest_whole(self, names: list[ManifestName], limit: Limit) -> list[ManifestName]:
        """The newest few that differ: a copy does not count as one more."""
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
        """What those need that could not be verified here, and that are therefore not ours to delete: another host may
        find them whole. Of one that cannot even be read, everything up to its epoch; 0 where all can be read.
        """
        needed: set[str] = set()
        unknown_epoch = 0
        for name in self._corrupt.intersection(names):
            if self._is_read(name, limit):
                needed |= self._references[name].packs
            else:
                unknown_epoch = max(unknown_epoch, name.epoch)
        return needed, min(unknown_epoch, self._epoch - 1)

    def _is_read(self, name: ManifestName, limit: Limit) -> bool:
        """Whether we know what a manifest refers to. One that cannot be read is remembered as such."""
        if name in self._references:
            return True
        if name in self._unreadable:
            return False
        try:
            self._refer_to(read_manifest(self._store, self._prefix, name, limit))
        except (Corrupt, Missing):
            self._unreadable.add(name)
            self._corrupt.add(name)
            return False
        return True

    def _refer_to(self, manifest: Manifest) -> None:
        name = ManifestName(manifest.epoch, manifest.sequence, manifest.writer)
        self._references[name] = _Reference(content_id(manifest), set(manifest.packs))

    def _forget(self, packs: set[str], manifests: Iterable[ManifestName]) -> None:
        for name in manifests:
            self._references.pop(name, None)
        if packs:
            self._stored = {name: size for name, size in self._stored.items() if name not in packs}
            self._chunks = {digest: chunk for digest, chunk in self._chunks.items() if chunk.pack not in packs}

    def _claims(self) -> list[str]:
        names = (PurePosixPath(key).name for key, _ in self._store.list(f"{self._prefix}/{CLAIMS}/"))
        return [name for name in names if _EPOCH.fullmatch(name.partition("-")[0])]

    def _next_pack(self) -> str:
        self._packs_made += 1
        return f"{self._epoch:06d}-{self._writer}-{self._packs_made:06d}"

    def _learn(self, upload: Upload) -> None:
        """Wait for what is under way; chunks that arrived are known even if the save as a whole fails."""
        try:
            upload.finish()
        finally:
            self._stored.update(upload.tried)
            self._chunks.update(upload.arrived)

    def _manifest(self, files: dict[str, SavedFile], listing: Listing) -> Manifest:
        placed = tuple(
            SavedFile(
                path=path,
                mode=each.mode,
                mtime_ns=each.mtime_ns,
                chunks=tuple(self._chunks[chunk.digest] for chunk in each.chunks),
            )
            for path, each in sorted(files.items())
        )
        packs = {chunk.pack: self._stored[chunk.pack] for each in placed for chunk in each.chunks}
        return Manifest(
            epoch=self._epoch,
            sequence=self._sequence + 1,
            writer=self._writer,
            saved_at=time.time(),
            files=placed,
            folders=tuple(sorted(listing.folders.items())),
            links=tuple(sorted(listing.links.items())),
            packs=packs,
        )

    def _is_last_ours(self) -> bool:
        """Whether the last checkpoint is of this attempt. A restored one is published once more, as a copy that costs
        one small object: else an older attempt that still runs could publish after it, and be restored instead of it.
        """
        return self._last.epoch == self._epoch or self._last is NOTHING

    def _is_as_published(self, listing: Listing) -> bool:
        if not self._is_last_ours():
            return False
        is_same = tuple(sorted(listing.folders.items())) == self._last.folders
        is_same = is_same and tuple(sorted(listing.links.items())) == self._last.links
        return is_same and listing.files == self._published

    # --- looking at the folder: read what changed, then look again; equal looks mean that it was all so at one moment

    def _snapshot(self, upload: Upload, limit: Limit) -> tuple[dict[str, SavedFile], Listing, float]:
        give_up: float | None = None  # counted from the end of the first reading, which may take long
        pause_seconds = 0.02
        while True:
            listing = list_folder(self._folder, self._exclude)
            if listing.others:
                say_on_change("others", f"not saved, since they are no files: {', '.join(listing.others[:5])}")
            with Hashing() as hashing:
                torn = self._read_all(listing, upload, limit, hashing)
            looked_at = time.time()
            again = list_folder(self._folder, self._exclude)
            torn += self._being_written(listing)
            now = time.monotonic()
            give_up = give_up or now + min(SETTLE_SECONDS, limit.left_seconds() / 2)
            is_late = now >= give_up
            if torn and is_late:
                raise Torn(_torn_text(torn))
            if not torn and (is_late or self._is_unchanged(listing, again)):
                known = {path: self._known[path] for path in listing.files if path in self._known}
                self._known = known
                return {path: each.saved for path, each in known.items()}, listing, looked_at
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, 0.25)

    def _read_all(self, listing: Listing, upload: Upload, limit: Limit, hashing: Hashing) -> list[str]:
        """Read the files whose look is new; answers those that were written meanwhile."""
        torn = []
        for path, look in listing.files.items():
            known = self._known.get(path)
            if known is not None and known.look == look and self._is_stored(known.saved, upload):
                continue
            if limit.is_over():
                raise StoreError("the time for this save is over")
            limit.moved()  # a folder that takes long to read does not stand still
            try:
                with open_for_saving(self._folder, path) as file:
                    saved = self._read(file, upload, hashing, limit)
                    if file.was_written() and not self._only_grew(file):
                        torn.append(path)
                    self._known[path] = _Known(file.look, saved)
            except FileNotFoundError:
                self._known.pop(path, None)  # the second look will differ, and we begin anew
            except Torn:
                self._known.pop(path, None)
                torn.append(path)
        return torn

    def _read(self, file: OpenFile, upload: Upload, hashing: Hashing, limit: Limit) -> SavedFile:
        chunks = []
        for digest, data in hashing.chunks(file):
            limit.moved(len(data))
            if digest not in self._chunks:
                upload.add(digest, data)
            chunks.append(Chunk(digest, "", 0, len(data)))
        return SavedFile(path=file.path, mode=file.look.mode, mtime_ns=file.look.mtime_ns, chunks=tuple(chunks))

    def _is_stored(self, saved: SavedFile, upload: Upload) -> bool:
        return all(chunk.digest in self._chunks or chunk.digest in upload.added for chunk in saved.chunks)

    def _being_written(self, listing: Listing) -> list[str]:
        """Files changed since the last checkpoint that the command holds open to write, other than to append."""
        fresh = {
            (known.look.device, known.look.inode): path
            for path, known in self._known.items()
            if path in listing.files and self._published.get(path) != known.look
        }
        if not fresh:
            return []
        return [fresh[key] for key, appends in writers(self._processes()).items() if key in fresh and not appends]

    def _only_grew(self, file: OpenFile) -> bool:
        """A file that all its writers only append to was, at its old length, just what was read."""
        now = os.fstat(file.descriptor)
        held = writers(self._processes())
        return now.st_size >= file.look.size and held.get((now.st_dev, now.st_ino), False)

    def _is_unchanged(self, listing: Listing, again: Listing) -> bool:
        if (listing.folders, listing.links) != (again.folders, again.links):
            return False
        if not listing.files.keys() == again.files.keys() <= self._known.keys():
            return False
        changed = [path for path, look in again.files.items() if self._known[path].look != look]
        if not changed:
            return True
        held = writers(self._processes())
        return all(_has_grown(self._known[path].look, again.files[path], held) for path in changed)


def _has_grown(before: Look, now: Look, held: dict[tuple[int, int], bool]) -> bool:
    same = (before.inode, before.device, before.mode) == (now.inode, now.device, now.mode)
    return same and now.size >= before.size and held.get((now.device, now.inode), False)


def _epoch_of(name: str) -> int:
    head = name.partition("-")[0]
    return int(head) if _EPOCH.fullmatch(head) else 1 << 62  # not ours: never deleted


def _torn_text(paths: list[str]) -> str:
    names = ", ".join(sorted(set(paths))[:5])
    return (
        f"being written, so not saved: {names}. Write beside and rename into place, or name it in "
        "SPOTBATCH_CHECKPOINT_EXCLUDE"
    )
