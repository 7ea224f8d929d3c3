"""Saving and restoring a checkpoint folder: what is sent, what is kept, what is refused."""

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from spotbatch.batch.errors import Missing, StoreError, Superseded, Torn
from spotbatch.runtime.checkpoints import restore as restoring
from spotbatch.runtime.checkpoints.folder import chunk_bytes
from spotbatch.runtime.checkpoints.manifest import MOST_SMALL_PACKS
from spotbatch.runtime.checkpoints.names import manifest_names
from spotbatch.runtime.checkpoints.reader import Reader
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.results import Restored, Saved
from spotbatch.runtime.checkpoints.room import make_room
from spotbatch.runtime.checkpoints.upload import PACK_BYTES
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.download import Stream
from spotbatch.runtime.storage.store import FolderStore

MIB = 1024 * 1024
PREFIX = "runs/r/job/checkpoints"


class Life:
    """One attempt: a folder, a store, a writer that has claimed its epoch and restored."""

    def __init__(self, tmp_path: Path, number: int, store: FolderStore | None = None) -> None:
        self.folder = tmp_path / f"life-{number}"
        self.folder.mkdir()
        self.store = store or FolderStore(tmp_path / "store")
        self.writer = Writer(self.store, PREFIX, self.folder, exclude=("*.tmp",), processes=lambda: (os.getpid(),))
        self.writer.claim(Limit(5))
        self.restored: Restored = restore(self.store, PREFIX, self.folder, Limit(5))
        self.writer.start_from(self.restored)

    def write(self, name: str, data: bytes) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"{file.name}.tmp")
        beside.write_bytes(data)
        beside.replace(file)

    def save(self, seconds: float = 5, *, is_asked: bool = False) -> Saved:
        saved = self.writer.save(Limit(seconds), is_asked=is_asked)
        if saved.is_new:
            self.writer.prune(Limit(5))
        return saved

    def content(self) -> dict[str, bytes]:
        return {
            file.relative_to(self.folder).as_posix(): file.read_bytes()
            for file in sorted(self.folder.rglob("*"))
            if file.is_file()
        }


def keys(store: FolderStore, kind: str) -> list[str]:
    return sorted(key for key, _ in store.list(f"{PREFIX}/{kind}/"))


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_what_was_saved_comes_back_with_modes_times_folders_and_links(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("deep/er/state", noise(1, 3 * MIB + 5))
    life.write("empty", b"")
    (life.folder / "hollow").mkdir(mode=0o700)
    (life.folder / "link").symlink_to("deep/er/state")
    (life.folder / "deep/er/state").chmod(0o640)
    before = (life.folder / "deep/er/state").stat()
    life.save()
    again = Life(tmp_path, 2)
    after = (again.folder / "deep/er/state").stat()
    assert again.content() == life.content()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert (again.folder / "hollow").stat().st_mode & 0o777 == 0o700
    assert str((again.folder / "link").readlink()) == "deep/er/state"


def test_nothing_is_sent_when_nothing_changed_even_after_a_restore(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("state", noise(1, MIB))
    assert life.save().is_new
    assert not life.save().is_new
    again = Life(tmp_path, 2)
    assert again.save().uploaded_bytes < 1000  # a copy of the manifest, in this attempt's name
    assert not again.save().is_new
    assert len(keys(again.store, "packs")) == 1


def test_attempts_that_make_no_progress_do_not_push_out_the_checkpoint_before(tmp_path: Path) -> None:
    first = Life(tmp_path, 1)
    for number in (1, 2):
        first.write("state", noise(number, MIB))
        first.save()
    for number in range(2, 6):
        Life(tmp_path, number).save()
    assert len(keys(first.store, "packs")) == 2
    (tmp_path / "store" / keys(first.store, "packs")[1]).unlink()
    assert Life(tmp_path, 9).content() == {"state": noise(1, MIB)}


def test_an_empty_folder_is_no_checkpoint_until_one_was_saved(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    assert not life.save().is_new
    life.write("state", b"x")
    assert life.save().is_new
    (life.folder / "state").unlink()
    with pytest.raises(Torn, match="emptied"):
        life.save(0.1)  # it may be about to be filled anew
    assert life.save(is_asked=True).is_new
    assert Life(tmp_path, 2).content() == {}


def test_of_a_large_file_only_the_changed_part_is_sent(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    data = bytearray(noise(1, 20 * MIB))
    life.write("state", bytes(data))
    assert life.save().uploaded_bytes > 20 * MIB
    data[5 * MIB + 17] ^= 1
    life.write("state", bytes(data))
    assert life.save().uploaded_bytes < 1.1 * MIB
    assert Life(tmp_path, 2).content() == {"state": bytes(data)}


def test_a_file_that_was_only_touched_or_renamed_is_not_sent_again(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("state", noise(1, 2 * MIB))
    life.save()
    os.utime(life.folder / "state")
    assert not life.save().is_new
    (life.folder / "state").rename(life.folder / "renamed")
    assert life.save().uploaded_bytes < 2000
    assert list(Life(tmp_path, 2).content()) == ["renamed"]


def test_many_small_files_travel_together(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    for number in range(500):
        life.write(f"part/{number}", noise(number, 100))
    life.save()
    assert len(keys(life.store, "packs")) == 1
    assert Life(tmp_path, 2).content() == life.content()


def test_a_change_in_place_within_the_same_clock_tick_is_seen(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    file = life.folder / "state"
    for number in range(12):
        file.write_bytes(b"%08d" % number)
        life.save()
        restored = tmp_path / f"seen-{number}"
        restored.mkdir()
        restore(life.store, PREFIX, restored, Limit(5))
        assert (restored / "state").read_bytes() == b"%08d" % number


def test_two_whole_checkpoints_stay_and_older_ones_go_with_their_packs(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    for number in range(6):
        life.write("state", noise(number, MIB))
        life.save()
    assert len(keys(life.store, "manifests")) == 2
    assert len(keys(life.store, "packs")) == 2


def test_what_a_killed_attempt_left_half_done_is_cleared_away(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("state", b"1")
    life.save()
    life.store.put(f"{PREFIX}/packs/000001-abcdef-000077", b"never listed by a manifest")
    again = Life(tmp_path, 2)
    again.write("state", b"2")
    again.save()
    assert not [key for key in keys(again.store, "packs") if "abcdef" in key]
    assert len(keys(again.store, "claims")) == 1


@pytest.mark.parametrize("kind", ["manifests", "packs"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_says_so(
    tmp_path: Path, kind: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path, 1)
    for number in (1, 2):
        life.write("state", noise(number, 2 * MIB))
        life.save()
    victim = tmp_path / "store" / keys(life.store, kind)[-1]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(data if damage == "flip" else data[: len(data) // 2])
    again = Life(tmp_path, 2)
    assert again.content() == {"state": noise(1, 2 * MIB)}
    if (kind, damage) != ("manifests", "remove"):  # a manifest that is gone never was
        assert "falling back to the one before" in capsys.readouterr().err
    again.write("state", noise(3, MIB))
    again.save()
    assert Life(tmp_path, 3).content() == {"state": noise(3, MIB)}


def test_when_all_checkpoints_are_damaged_nothing_is_restored_and_none_is_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = Life(tmp_path, 1)
    life.write("state", b"1")
    life.save()
    (tmp_path / "store" / keys(life.store, "manifests")[0]).write_bytes(b"no manifest")
    again = Life(tmp_path, 2)
    assert again.content() == {}
    assert len(again.restored.unverified) == 1
    assert "reading it again" in capsys.readouterr().err
    for number in range(4):
        again.write("state", b"%d" % number)
        again.save()
    assert keys(life.store, "manifests")[0] in keys(again.store, "manifests")


def test_an_attempt_that_was_replaced_can_neither_prune_nor_pass_for_the_newest(tmp_path: Path) -> None:
    old = Life(tmp_path, 1)
    old.write("state", b"old")
    old.save()
    new = Life(tmp_path, 2)
    new.write("state", b"new")
    new.save()
    old.write("state", b"from beyond")
    with pytest.raises(Superseded):
        old.save()
    assert Life(tmp_path, 3).content() == {"state": b"new"}


@contextmanager
def held_open(file: Path, mode: str) -> Iterator[None]:
    with file.open(mode) as opened:
        opened.write(b"half")
        opened.flush()
        yield


class Crossed(FolderStore):
    """Lets something happen just before the first object is written."""

    def __init__(self, root: Path, first: Callable[[], object]) -> None:
        super().__init__(root)
        self._first: Callable[[], object] | None = first

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        first, self._first = self._first, None
        if first is not None:
            first()
        super().put(key, data)


def test_two_attempts_that_begin_at_the_same_moment_do_not_share_an_epoch(tmp_path: Path) -> None:
    root = tmp_path / "store"
    one = Writer(FolderStore(root), PREFIX, tmp_path / "one")
    other = Writer(Crossed(root, lambda: one.claim(Limit(5))), PREFIX, tmp_path / "other")
    other.claim(Limit(5))
    assert one.epoch < other.epoch
    with pytest.raises(Superseded):
        one.prune(Limit(5))


def test_a_file_that_is_being_written_to_its_end_stays_as_it_was_and_the_rest_is_saved(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("state", b"whole")
    life.save()
    with held_open(life.folder / "state", "wb"):
        life.write("other", b"new")
        saved = life.save()
        assert saved.is_new
        assert list(saved.missed) == ["state"]
        found = tmp_path / "found"
        found.mkdir()
        restore(life.store, PREFIX, found, Limit(5))
        assert {file.name: file.read_bytes() for file in found.iterdir()} == {"other": b"new", "state": b"whole"}
    after = life.save()
    assert after.is_new
    assert not after.missed
    assert Life(tmp_path, 2).content() == {"other": b"new", "state": b"half"}


def test_a_log_that_is_only_appended_to_is_saved_while_it_is_open(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    with held_open(life.folder / "log", "ab"):
        assert life.save().is_new
    assert Life(tmp_path, 2).content() == {"log": b"half"}


def test_names_that_are_excluded_are_neither_saved_nor_waited_for(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("state", b"1")
    (life.folder / "x.tmp").write_bytes(b"half")
    life.save()
    assert Life(tmp_path, 2).content() == {"state": b"1"}


class Full(FolderStore):
    """A store that takes only so many packs."""

    room = 1

    def put(self, key: str, data: bytes | bytearray | memoryview) -> None:
        if "/packs/" in key:
            if self.room <= 0:
                raise StoreError("no answer")
            self.room -= 1
        super().put(key, data)

    def draft(self, prefix: str) -> None:
        """It takes whole objects only, as S3 does."""


def test_a_save_that_failed_half_way_does_not_send_again_what_had_arrived(tmp_path: Path) -> None:
    store = Full(tmp_path / "store")
    life = Life(tmp_path, 1, store)
    life.write("state", noise(1, 24 * MIB))
    with pytest.raises(StoreError):
        life.save(0.1)
    store.room = 100
    assert 19 * MIB < life.save().uploaded_bytes < 21 * MIB  # all but the pack that had arrived
    assert Life(tmp_path, 2).content() == life.content()


def test_storage_stays_within_a_small_multiple_of_the_content(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    for number in range(8):
        life.write(f"part-{number}", noise(number, MIB))
    life.save()
    for turn in range(30):
        life.write(f"part-{turn % 7}", noise(100 + turn, MIB))
        life.save()
    stored = sum(size for _, size in life.store.list(f"{PREFIX}/packs/"))
    assert stored <= 4 * 8 * MIB
    assert Life(tmp_path, 2).content() == life.content()


def test_many_small_packs_are_joined(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    for number in range(MOST_SMALL_PACKS + 20):
        life.write(f"part-{number}", noise(number, 50))
        life.save()
    assert len(keys(life.store, "packs")) <= MOST_SMALL_PACKS + 2
    assert Life(tmp_path, 2).content() == life.content()


def test_times_of_folders_and_links_and_the_mode_of_the_folder_itself_come_back(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.write("deep/state", b"1")
    (life.folder / "link").symlink_to("deep")
    life.folder.chmod(0o750)
    for name, mtime_ns in {"deep": 10**18 + 1, "link": 10**18 + 2, ".": 10**18 + 3}.items():
        os.utime(life.folder / name, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    life.save()
    folder = Life(tmp_path, 2).folder
    assert [(folder / name).lstat().st_mtime_ns - 10**18 for name in ("deep", "link", ".")] == [1, 2, 3]
    assert folder.stat().st_mode & 0o777 == 0o750


def test_after_a_restore_nothing_is_read_again_to_see_that_nothing_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(tmp_path, 1)
    for number in range(20):
        life.write(f"part-{number}", noise(number, 1000))
    life.save()
    again = Life(tmp_path, 2)
    again.write("new", b"1")
    read: list[int] = []
    honest = Reader.read

    def counted(self: Reader, descriptor: int, size: int, before: bytes | None, base: int = 0) -> bytes:
        read.append(size)
        return honest(self, descriptor, size, before, base)

    monkeypatch.setattr(Reader, "read", counted)
    assert again.save().is_new
    assert set(read) == {1}


def test_somebody_elses_objects_are_left_alone(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    life.store.put(f"{PREFIX}/manifests/readme.txt", b"mine")
    life.store.put(f"{PREFIX}/packs/readme.txt", b"mine")
    life.write("state", b"1")
    life.save()
    assert life.store.get(f"{PREFIX}/packs/readme.txt") == b"mine"
    assert len(manifest_names(life.store, PREFIX)) == 1
    with pytest.raises(Missing):
        life.store.get(f"{PREFIX}/manifests/none")


def test_a_sparse_file_comes_back_sparse_and_whole(tmp_path: Path) -> None:
    first = Life(tmp_path, 1)
    with (first.folder / "sparse").open("wb") as file:
        file.write(b"head")
        file.seek(64 * MIB)
        file.write(b"tail")
    first.save()
    second = Life(tmp_path, 2)
    found = (second.folder / "sparse").stat()
    assert found.st_size == 64 * MIB + 4
    assert found.st_blocks * 512 < 4 * MIB
    assert second.content() == first.content()


def test_chunks_never_outgrow_a_pack_so_that_memory_stays_bounded() -> None:
    assert chunk_bytes(1) == MIB // 4
    assert chunk_bytes(16 * 1024 * MIB) == PACK_BYTES
    assert chunk_bytes(1024 * 1024 * MIB) == PACK_BYTES


def test_hard_links_are_saved_as_files_of_their_own_and_their_content_travels_once(tmp_path: Path) -> None:
    first = Life(tmp_path, 1)
    first.write("a", noise(1, MIB))
    os.link(first.folder / "a", first.folder / "b")
    assert first.save().uploaded_bytes < 1.1 * MIB
    assert Life(tmp_path, 2).content() == first.content()


def test_any_name_that_a_file_may_have_comes_back(tmp_path: Path) -> None:
    first = Life(tmp_path, 1)
    names = [b"two\nlines", b"\xff\xfe", "ü".encode(), b" ", b"-rf", b"*", b"\x01", b"n" * 255]
    for name in names:
        (first.folder / os.fsdecode(name)).write_bytes(name)
    (first.folder / os.fsdecode(b"link\xff")).symlink_to(os.fsdecode(b"nowhere\xfe\n"))
    first.save()
    second = Life(tmp_path, 2)
    assert sorted(os.fsencode(each.name) for each in second.folder.iterdir()) == sorted([*names, b"link\xff"])
    assert all((second.folder / os.fsdecode(name)).read_bytes() == name for name in names)
    link = second.folder / os.fsdecode(b"link\xff")
    assert os.fsencode(link.readlink()) == b"nowhere\xfe\n"


class Unwell(FolderStore):
    """Lists everything, and says of what it is asked for that it is missing, a number of times."""

    def __init__(self, root: Path, kind: str, times: int) -> None:
        super().__init__(root)
        self.kind = kind
        self.times = times

    def _is_missing(self, key: str) -> bool:
        is_hit = self.times > 0 and f"/{self.kind}/" in key
        self.times -= is_hit
        return is_hit

    def get(self, key: str, on_bytes: Callable[[int], object] = lambda _: None) -> bytes:
        if self._is_missing(key):
            raise Missing(f"{key} is not there")
        return super().get(key, on_bytes)

    def open_at(self, key: str, offset: int, version: str) -> Stream:
        if self._is_missing(key):
            raise Missing(f"{key} is not there")
        return super().open_at(key, offset, version)


@pytest.fixture
def two_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(restoring, "_FIRST_PAUSE_SECONDS", 0.01)
    life = Life(tmp_path, 1)
    for number in range(2):
        life.write("state", noise(number, 1000))
        life.save()
    return tmp_path


@pytest.mark.parametrize("kind", ["manifests", "packs"])
def test_what_is_listed_and_said_to_be_missing_is_asked_for_until_it_comes(two_checkpoints: Path, kind: str) -> None:
    store = Unwell(two_checkpoints / "store", kind, times=9)
    assert Life(two_checkpoints, 2, store).content()["state"] == noise(1, 1000)
    assert store.times == 0


@pytest.mark.parametrize("kind", ["manifests", "packs"])
def test_what_stays_missing_although_it_is_listed_is_no_reason_to_fall_back(two_checkpoints: Path, kind: str) -> None:
    folder = two_checkpoints / "filled"
    folder.mkdir()
    with pytest.raises(StoreError, match="nothing is begun anew"):
        restore(Unwell(two_checkpoints / "store", kind, times=10**6), PREFIX, folder, Limit.standing_still(1.5))
    assert len(keys(FolderStore(two_checkpoints / "store"), "manifests")) == 2


def test_a_volume_with_its_own_lost_and_found_is_an_empty_checkpoint_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_volume(number: int) -> Path:
        volume = tmp_path / f"life-{number}"
        (volume / "lost+found").mkdir(parents=True, mode=0o700)
        (volume / "lost+found" / "#12").write_bytes(b"not ours")
        return volume

    monkeypatch.setattr(os.path, "ismount", lambda path: Path(os.fsdecode(path)).name.startswith("life-"))
    store = FolderStore(tmp_path / "store")
    first, second = with_volume(1), with_volume(2)
    make_room(first)
    make_room(second)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["life-1", "life-2"]  # nothing was moved aside
    writer = Writer(store, PREFIX, first)
    writer.claim(Limit(5))
    assert not writer.save(Limit(5)).is_new
    (first / "state").write_bytes(b"1")
    saved = writer.save(Limit(5), is_asked=True)
    assert (saved.is_new, saved.missed) == (True, {})
    restore(store, PREFIX, second, Limit(5))
    assert sorted(each.name for each in second.iterdir()) == ["lost+found", "state"]
    assert (second / "lost+found" / "#12").read_bytes() == b"not ours"


def test_a_huge_sparse_file_comes_back_in_less_time_than_its_zeros_take_to_hash(tmp_path: Path) -> None:
    life = Life(tmp_path, 1)
    with (life.folder / "sparse").open("wb") as out:
        out.write(b"begin")
        out.seek(256 * MIB)
        out.write(b"end")
    life.save(60, is_asked=True)
    folder = tmp_path / "back"
    folder.mkdir()
    began = time.process_time()
    restore(life.store, PREFIX, folder, Limit(60))
    took = time.process_time() - began
    began = time.process_time()
    hashlib.sha256(bytes(256 * MIB))
    assert took < time.process_time() - began
    found = (folder / "sparse").stat()
    assert (found.st_size, found.st_blocks * 512 < 2 * MIB) == (256 * MIB + 3, True)
    assert (folder / "sparse").read_bytes() == (life.folder / "sparse").read_bytes()
