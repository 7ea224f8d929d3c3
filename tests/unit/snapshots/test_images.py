"""Images are restored only if an agent with the same key dumped them, and are as they were."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.snapshots.images import BadImages, copy_sealed, seal, stuck_timers
from spotbatch.snapshots.protocol import SEAL_NAME

KEY = b"a key"


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[tuple[Path, int, int]]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "core-1.img").write_bytes(b"registers" * 1000)
    (source / "pages-1.img").write_bytes(os.urandom(100_000))
    (source / "dump.log").write_text("no image")
    opened = [os.open(each, os.O_RDONLY) for each in (source, target)]
    seal(opened[0], KEY, {"criu": "4"})
    yield source, opened[0], opened[1]
    for each in opened:
        os.close(each)


def test_what_was_sealed_is_copied_with_its_facts(folders: tuple[Path, int, int], tmp_path: Path) -> None:
    source, opened, target = folders
    assert copy_sealed(opened, target, KEY) == {"criu": "4"}
    assert sorted(each.name for each in (tmp_path / "target").iterdir()) == ["core-1.img", "pages-1.img"]
    assert (tmp_path / "target" / "pages-1.img").read_bytes() == (source / "pages-1.img").read_bytes()


def test_another_key_is_refused(folders: tuple[Path, int, int]) -> None:
    with pytest.raises(BadImages, match="not dumped by an agent that has this host's key"):
        copy_sealed(folders[1], folders[2], b"another")


def test_a_single_altered_byte_is_refused(folders: tuple[Path, int, int]) -> None:
    data = bytearray((folders[0] / "pages-1.img").read_bytes())
    data[500] ^= 1
    (folders[0] / "pages-1.img").write_bytes(data)
    with pytest.raises(BadImages, match=r"pages-1\.img is not as it was dumped"):
        copy_sealed(folders[1], folders[2], KEY)


def test_a_missing_image_is_refused(folders: tuple[Path, int, int]) -> None:
    (folders[0] / "core-1.img").unlink()
    with pytest.raises(BadImages, match=r"core-1\.img cannot be read"):
        copy_sealed(folders[1], folders[2], KEY)


def test_a_link_in_place_of_an_image_is_not_followed(folders: tuple[Path, int, int], tmp_path: Path) -> None:
    (folders[0] / "core-1.img").rename(tmp_path / "elsewhere")
    (folders[0] / "core-1.img").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadImages, match=r"core-1\.img cannot be read"):
        copy_sealed(folders[1], folders[2], KEY)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"facts": {}, "files": {}, "signature": 3}', "{" * 10_000])
def test_a_seal_that_is_none_is_refused(folders: tuple[Path, int, int], text: str) -> None:
    (folders[0] / SEAL_NAME).write_text(text)
    with pytest.raises(BadImages):
        copy_sealed(folders[1], folders[2], KEY)


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def file_entry(value_ns: int, interval_ns: int) -> bytes:
    """A `files.img` entry for a timerfd, as criu 4.2.1 wrote one."""
    numbers = {1: 300, 2: 2, 4: 1, 5: 0, 6: 0, 7: 0, 8: value_ns, 9: 0, 10: interval_ns}
    timer = b"".join(varint(at << 3) + varint(value) for at, value in numbers.items())
    timer += varint(3 << 3 | 2) + b"\x00"
    entry = (
        varint(1 << 3) + varint(12) + varint(2 << 3) + varint(300) + varint(12 << 3 | 2) + varint(len(timer)) + timer
    )
    return struct.pack("<I", len(entry)) + entry


def test_only_a_periodic_timer_without_time_left_is_stuck() -> None:
    head = b"12345678"
    assert stuck_timers(head) == 0
    assert stuck_timers(head + file_entry(0, 50_000_000)) == 1
    assert stuck_timers(head + file_entry(7, 50_000_000) + file_entry(0, 0) + file_entry(0, 1)) == 1
