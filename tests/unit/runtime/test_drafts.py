"""Packs that are written while they are read: whatever becomes of a draft, the checkpoint is whole."""

import random
from pathlib import Path

import pytest

from spotbatch.batch.errors import StoreError
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import Draft, FolderStore

MIB = 1024 * 1024
PREFIX = "runs/r/job/checkpoints"


class Fragile:
    """A draft that fails at one of the three things that are done with it."""

    def __init__(self, real: Draft, fails_at: str) -> None:
        self._real = real
        self._fails_at = fails_at

    def write(self, data: memoryview) -> None:
        self._fail("write")
        self._real.write(data)

    def read(self, offset: int, length: int) -> bytes:
        self._fail("read")
        return self._real.read(offset, length)

    def keep(self, key: str) -> None:
        self._fail("keep")
        self._real.keep(key)

    def drop(self) -> None:
        self._real.drop()

    def _fail(self, what: str) -> None:
        if what == self._fails_at:
            raise StoreError(f"no room ({what})")


class FragileDrafts(FolderStore):
    """Every second draft fails."""

    def __init__(self, root: Path, fails_at: str) -> None:
        super().__init__(root)
        self._fails_at = fails_at
        self.drafts = 0

    def draft(self, prefix: str) -> Draft | None:
        real = super().draft(prefix)
        assert real is not None
        self.drafts += 1
        return Fragile(real, self._fails_at) if self.drafts % 2 else real


def large_files(folder: Path) -> dict[str, bytes]:
    """Some MiB each; content that repeats within a pack, over packs and over files; a hole."""
    chance = random.Random(7)
    piece = chance.randbytes(MIB)
    contents = {
        "a": chance.randbytes(6 * MIB + 17),
        "b": piece * 6 + chance.randbytes(3 * MIB),
        "c": bytes(11 * MIB),
        "d": chance.randbytes(5 * MIB) + piece,
    }
    folder.mkdir()
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return contents


def restored(store: FolderStore, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    restore(store, PREFIX, folder, Limit(60))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob(".part-*"))


@pytest.mark.parametrize("fails_at", ["nothing", "write", "keep"])
def test_large_files_are_saved_whole_whether_drafts_can_be_written_and_kept_or_not(
    tmp_path: Path, fails_at: str
) -> None:
    store = FragileDrafts(tmp_path / "store", fails_at)
    contents = large_files(tmp_path / "folder")
    writer = Writer(store, PREFIX, tmp_path / "folder")
    writer.claim(Limit(60))
    saved = writer.save(Limit(60))
    assert store.drafts > 2
    assert saved.is_new
    assert saved.uploaded_bytes < 24 * MIB  # what repeats is there once, and so is the hole
    assert restored(store, tmp_path / "back") == contents
    assert leftovers(tmp_path) == []

    changed = contents["a"][: 4 * MIB] + b"new" + contents["a"][4 * MIB + 3 :]
    (tmp_path / "folder/a").write_bytes(changed)
    again = writer.save(Limit(60))
    assert again.uploaded_bytes < MIB
    assert restored(store, tmp_path / "again") == contents | {"a": changed}
    assert leftovers(tmp_path) == []


def test_a_draft_that_cannot_be_read_back_fails_the_save_and_the_next_one_is_whole(tmp_path: Path) -> None:
    store = FragileDrafts(tmp_path / "store", "read")
    contents = large_files(tmp_path / "folder")
    writer = Writer(store, PREFIX, tmp_path / "folder")
    writer.claim(Limit(60))
    with pytest.raises(StoreError, match="no room"):
        writer.save(Limit(60))
    assert leftovers(tmp_path) == []
    for _ in range(20):  # a draft fails each time, and what was sent before it is known
        try:
            writer.save(Limit(60))
        except StoreError:
            continue
        break
    assert restored(store, tmp_path / "back") == contents
    assert leftovers(tmp_path) == []
