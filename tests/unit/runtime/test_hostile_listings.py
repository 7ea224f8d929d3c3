"""Manifests of the second version that nobody should have written: refused whole, for the checkpoint before."""

import hashlib
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spotbatch.runtime.checkpoints import manifest_file
from spotbatch.runtime.checkpoints.blocks import FREELY_INFLATED_BYTES
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import FolderStore

PREFIX = "runs/r/job/checkpoints"
PACK = "000001-abcdef-000001"
DATA = b"the state"
DIGEST = hashlib.sha256(DATA).hexdigest()
FILE, FOLDER, LINK = 0o100644, 0o040755, 0o120777
CHUNK = [DIGEST, 7, 0, len(DATA)]
GOOD: list[Any] = [["", FOLDER, 5], ["deep/", FOLDER, 6], ["deep/state", FILE, 7, [CHUNK]], ["link", LINK, 8, "deep"]]


def block(rows: Any) -> bytes:
    return zlib.compress(json.dumps(rows).encode())


def encoded(*blocks: bytes, **head: Any) -> bytes:
    said = {
        "epoch": 1,
        "sequence": 2,
        "writer": "abcdef",
        "saved_at": 1.5,
        "content": "x",
        "packs": [[7, PACK, len(DATA)]],
    }
    out = io.BytesIO()
    manifest_file.write(out, said | head, blocks or [block(GOOD)])
    return out.getvalue()


def with_rows(*rows: Any) -> bytes:
    return encoded(block(sorted([*GOOD[:1], *rows])))


def file(path: str, *chunks: Any, mode: Any = FILE, mtime: Any = 1) -> list[Any]:
    return [path, mode, mtime, list(chunks)]


BAD: dict[str, Callable[[], bytes]] = {
    "a climbing file": lambda: with_rows(file("../evil")),
    "an absolute file": lambda: with_rows(file("/tmp/evil")),
    "a file in no folder": lambda: with_rows(file("none/evil")),
    "a file below a file": lambda: with_rows(file("a"), file("a/b")),
    "a file and a folder of one name": lambda: with_rows(file("a"), ["a/", FOLDER, 1]),
    "a link and a folder of one name": lambda: with_rows(["a", LINK, 1, "/"], ["a/", FOLDER, 1], file("a/evil")),
    "a file through a link": lambda: with_rows(["a", LINK, 1, "/tmp"], file("a/evil")),
    "out of order": lambda: encoded(block([*GOOD, file("a")])),
    "twice, in two blocks": lambda: encoded(block(GOOD), block([GOOD[-1]])),
    "a folder that calls itself a file": lambda: with_rows(["a/", FILE, 1, []]),
    "a file that calls itself a folder": lambda: with_rows(["a", FOLDER, 1]),
    "a device": lambda: with_rows(["a", 0o020644, 1, []]),
    "a name of nothing": lambda: with_rows(["a//", FOLDER, 1]),
    "a name with a zero": lambda: with_rows(file("a\0b")),
    "a name too long": lambda: with_rows(file("x" * 256)),
    "a name that no file has": lambda: with_rows(file("\ud800")),
    "a pack that is not listed": lambda: with_rows(file("a", [DIGEST, 8, 0, 9])),
    "beyond the pack": lambda: with_rows(file("a", [DIGEST, 7, 5, 9])),
    "a chunk of nothing": lambda: with_rows(file("a", [DIGEST, 7, 0, 0])),
    "a text for a mode": lambda: with_rows(["a", "0644", 1, []]),
    "a time beyond time": lambda: with_rows(file("a", mtime=1 << 70)),
    "a row too long": lambda: with_rows(["a", FILE, 1, [], 1]),
    "no list": lambda: encoded(block({"a": 1})),
    "a bomb": lambda: encoded(zlib.compress(b" " * (FREELY_INFLATED_BYTES + 1000) + b"[]")),
    "a pack's number twice": lambda: encoded(packs=[[7, PACK, 9], [7, "000001-abcdef-000002", 9]]),
    "a pack elsewhere": lambda: encoded(packs=[[7, "../../other", 9]]),
    "another checkpoint's name": lambda: encoded(sequence=77),
    "no content": lambda: encoded(content=None),
    "cut": lambda: encoded()[:-40],
    "a bit": lambda: encoded()[:-33] + bytes([encoded()[-33] ^ 1]) + encoded()[-32:],
}


def restored(tmp_path: Path, newest: bytes) -> tuple[int, Path]:
    store, folder = FolderStore(tmp_path / "store"), tmp_path / "inside" / "folder"
    folder.mkdir(parents=True)
    store.put(f"{PREFIX}/packs/{PACK}", DATA)
    store.put(f"{PREFIX}/manifests/000001-00000001-abcdef", encoded(sequence=1))
    store.put(f"{PREFIX}/manifests/000001-00000002-abcdef", newest)
    found = restore(store, PREFIX, folder, Limit(10))
    assert found.manifest is not None
    return found.manifest.sequence, folder


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_list_gives_way_to_the_checkpoint_before_and_makes_nothing_outside(tmp_path: Path, kind: str) -> None:
    sequence, folder = restored(tmp_path, BAD[kind]())
    assert sequence == 1
    assert (folder / "deep/state").read_bytes() == DATA
    assert sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "inside").rglob("*")) == [
        "inside/folder",
        "inside/folder/deep",
        "inside/folder/deep/state",
        "inside/folder/link",
    ]


def test_a_good_list_is_restored_with_its_times_and_without_setuid(tmp_path: Path) -> None:
    rows = [*GOOD[:2], ["deep/state", 0o106755, 7, [CHUNK]], GOOD[3]]
    sequence, folder = restored(tmp_path, encoded(block(rows)))
    assert sequence == 2
    assert (folder / "deep/state").stat().st_mode & 0o7777 == 0o755
    times = [(folder / name).lstat().st_mtime_ns for name in (".", "deep", "deep/state", "link")]
    assert times == [5, 6, 7, 8]


def test_a_bomb_behind_a_right_checksum_is_not_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    restored(tmp_path, BAD["a bomb"]())
    assert "reading it again" not in capsys.readouterr().err


def test_a_pack_that_is_longer_than_its_manifest_says_is_not_read_to_its_end(tmp_path: Path) -> None:
    store, folder = FolderStore(tmp_path / "store"), tmp_path / "folder"
    folder.mkdir()
    store.put(f"{PREFIX}/packs/{PACK}", DATA + bytes(1 << 20))
    store.put(f"{PREFIX}/manifests/000001-00000001-abcdef", encoded(sequence=1))
    found = restore(store, PREFIX, folder, Limit(10))
    assert found.manifest is None
    assert found.unverified
