"""Manifests that nobody should have written: refused whole, before anything is made, for the checkpoint before."""

import hashlib
import json
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotbatch.batch.errors import Invalid
from spotbatch.runtime.checkpoints.manifest import (
    FREELY_INFLATED_BYTES,
    Chunk,
    Manifest,
    SavedFile,
    from_bytes,
    to_bytes,
)
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.results import Restored
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import FolderStore

PREFIX = "runs/r/job/checkpoints"
PACK = "000001-abcdef-000001"
DATA = b"the state"
DIGEST = hashlib.sha256(DATA).hexdigest()


def body(**changed: Any) -> dict[str, Any]:
    """A good one, but for what is changed."""
    return {
        "epoch": 1,
        "sequence": 2,
        "writer": "abcdef",
        "saved_at": 1.5,
        "packs": [[PACK, len(DATA)]],
        "folders": [["deep", 0o755]],
        "links": [["link", "deep/state"]],
        "files": [["deep/state", 0o644, 10**18, [[DIGEST, 0, 0, len(DATA)]]]],
    } | changed


def signed(text: bytes) -> bytes:
    packed = zlib.compress(text)
    return b"spotbatch checkpoint 1 " + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


def encoded(**changed: Any) -> bytes:
    return signed(json.dumps(body(**changed)).encode())


def restored(tmp_path: Path, newest: bytes) -> tuple[Restored, Path]:
    """A good checkpoint, and a newer one of these bytes."""
    store, folder = FolderStore(tmp_path / "store"), tmp_path / "inside" / "folder"
    folder.mkdir(parents=True)
    store.put(f"{PREFIX}/packs/{PACK}", DATA)
    store.put(f"{PREFIX}/manifests/000001-00000001-abcdef", encoded(sequence=1))
    store.put(f"{PREFIX}/manifests/000001-00000002-abcdef", newest)
    return restore(store, PREFIX, folder, Limit(10)), folder


def file(path: str = "f", mode: Any = 0o644, time_ns: Any = 1, *chunks: Any) -> list[Any]:
    return [path, mode, time_ns, list(chunks)]


BAD: dict[str, Callable[[], bytes]] = {
    "a link through a link": lambda: encoded(links=[["a", "/outside"], ["a/evil", "/etc/passwd"]]),
    "a file through a link": lambda: encoded(links=[["a", "../.."]], files=[file("a/evil")]),
    "a file in no folder": lambda: encoded(files=[file("none/evil")]),
    "a file below a file": lambda: encoded(files=[file("a"), file("a/b")]),
    "a folder that is a link": lambda: encoded(folders=[["a", 0o755]], links=[["a", "/tmp"]]),
    "a climbing file": lambda: encoded(files=[file("../evil")]),
    "a climbing link": lambda: encoded(links=[["deep/../../evil", "x"]]),
    "a climbing folder": lambda: encoded(folders=[["..", 0o755]]),
    "an absolute file": lambda: encoded(files=[file("/tmp/evil")]),
    "an absolute folder": lambda: encoded(folders=[["/tmp/evil", 0o755]]),
    "a name of nothing": lambda: encoded(files=[file("deep//x")]),
    "a name with a zero": lambda: encoded(files=[file("a\0b")]),
    "a name too long": lambda: encoded(files=[file("x" * 256)]),
    "a name that no file has": lambda: encoded(files=[file("\ud800")]),
    "a dot": lambda: encoded(files=[file("deep/.")]),
    "one name twice": lambda: encoded(files=[file("a"), file("a")]),
    "the marker's place is a path like any other, twice": lambda: encoded(folders=[["a", 0o755], ["a", 0o755]]),
    "no files": lambda: signed(json.dumps({k: v for k, v in body().items() if k != "files"}).encode()),
    "no dictionary": lambda: signed(b"[1, 2]"),
    "no json": lambda: signed(b"{"),
    "no utf-8": lambda: signed(b'"\xff"'),
    "deep": lambda: signed(b"[" * 200_000 + b"]" * 200_000),
    "a huge number": lambda: signed(b'{"epoch": ' + b"9" * 5000 + b"}"),
    "a bomb": lambda: signed(bytes(FREELY_INFLATED_BYTES + 1)),
    "half of itself": lambda: _half(encoded()),
    "a text for a list": lambda: encoded(files="deep/state"),
    "a row too short": lambda: encoded(files=[["a", 1]]),
    "a text for a mode": lambda: encoded(files=[file("a", "0644")]),
    "a mode of all bits": lambda: encoded(files=[file("a", 1 << 40)]),
    "a negative mode": lambda: encoded(files=[file("a", -1)]),
    "a time beyond time": lambda: encoded(files=[file("a", 0o644, 1 << 70)]),
    "a broken time": lambda: encoded(files=[file("a", 0o644, 1.5)]),
    "true for one": lambda: encoded(epoch=True),
    "another pack": lambda: encoded(files=[file("a", 0o644, 1, [DIGEST, 1, 0, 9])]),
    "the pack before the first": lambda: encoded(files=[file("a", 0o644, 1, [DIGEST, -1, 0, 9])]),
    "beyond the pack": lambda: encoded(files=[file("a", 0o644, 1, [DIGEST, 0, 5, 9])]),
    "before the pack": lambda: encoded(files=[file("a", 0o644, 1, [DIGEST, 0, -1, 9])]),
    "a chunk of nothing": lambda: encoded(files=[file("a", 0o644, 1, [DIGEST, 0, 0, 0])]),
    "no digest": lambda: encoded(files=[file("a", 0o644, 1, ["x", 0, 0, 9])]),
    "a pack elsewhere": lambda: encoded(packs=[["../../other", 9]]),
    "a pack of more than memory": lambda: encoded(packs=[[PACK, 1 << 50]]),
    "another checkpoint's name": lambda: encoded(sequence=77),
    "a writer elsewhere": lambda: encoded(writer="../x"),
    "no time": lambda: signed(json.dumps(body(saved_at=float("nan"))).encode()),
    "a link to nothing": lambda: encoded(links=[["a", ""]]),
}


def _half(data: bytes) -> bytes:
    """A stream that ends in the middle, with a checksum that is right."""
    packed = data.partition(b"\n")[2]
    packed = packed[: len(packed) // 2]
    return b"spotbatch checkpoint 1 " + hashlib.sha256(packed).hexdigest().encode() + b"\n" + packed


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_manifest_gives_way_to_the_one_before_and_makes_nothing_outside(tmp_path: Path, kind: str) -> None:
    found, folder = restored(tmp_path, BAD[kind]())
    assert found.manifest is not None
    assert found.manifest.sequence == 1
    assert len(found.invalid) == 1
    assert (folder / "deep/state").read_bytes() == DATA
    assert sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "inside").rglob("*")) == [
        "inside/folder",
        "inside/folder/deep",
        "inside/folder/deep/state",
        "inside/folder/link",
    ]


def test_a_link_that_leads_out_is_a_link_and_nothing_is_written_through_it(tmp_path: Path) -> None:
    found, folder = restored(tmp_path, encoded(links=[["out", str(tmp_path / "nowhere")]]))
    assert found.manifest is not None
    assert found.manifest.sequence == 2
    assert (folder / "out").is_symlink()
    assert not (tmp_path / "nowhere").exists()


def test_rights_beyond_reading_writing_and_executing_are_not_restored(tmp_path: Path) -> None:
    files = [["deep/state", 0o6755, 1, [[DIGEST, 0, 0, len(DATA)]]]]
    _, folder = restored(tmp_path, encoded(files=files, folders=[["deep", 0o7755]]))
    assert stat.S_IMODE((folder / "deep/state").stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / "deep").stat().st_mode) == 0o755


def test_a_bomb_is_refused_without_being_inflated() -> None:
    import tracemalloc

    bomb = signed(bytes(FREELY_INFLATED_BYTES + 1))
    tracemalloc.start()
    with pytest.raises(Invalid):
        from_bytes(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < FREELY_INFLATED_BYTES * 2.5


def test_a_list_that_compresses_like_a_bomb_is_saved_such_that_it_can_be_read() -> None:
    chunk = Chunk(DIGEST, PACK, 0, 9)
    sparse = tuple(SavedFile(path=f"f{n}", mode=0, mtime_ns=0, chunks=(chunk,) * 2048) for n in range(200))
    manifest = Manifest(
        epoch=1, sequence=1, writer="a", saved_at=0.0, files=sparse, folders=(), links=(), packs={PACK: 9}
    )
    assert from_bytes(to_bytes(manifest)) == manifest
