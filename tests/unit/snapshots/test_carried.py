"""The files that go with a snapshot: everything that changed, and nothing else."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from spotbatch.runtime.snapshot.carried import READ, Carried, check_read, digests, open_files, written_outside
from spotbatch.runtime.snapshot.refusal import NoSnapshot


def make(root: Path) -> Carried:
    """A folder as each attempt finds it, with a checkpoint folder and the runtime's own."""
    for name in ("input", "checkpoint", "own"):
        (root / name).mkdir(parents=True)
    (root / "input" / "data").write_text("as fetched")
    (root / "input" / "unwanted").write_text("as fetched")
    (root / "own" / "index").write_text("ours")
    return Carried([str(root)], whole=[str(root / "checkpoint")], without=[str(root / "own")])


def test_files_come_back_as_they_were_on_a_fresh_host(tmp_path: Path) -> None:
    root, packed = tmp_path / "root", tmp_path / "packed"
    packed.mkdir()
    carried = make(root)
    carried.remember()
    (root / "new").write_bytes(b"\0" * 5000)
    (root / "new").chmod(0o640)
    os.utime(root / "new", ns=(1_500_000_000_000_000_000, 1_500_000_000_250_000_000))
    os.link(root / "new", root / "same")
    (root / "link").symlink_to("new")
    (root / "folder" / "empty").mkdir(parents=True)
    os.mkfifo(root / "folder" / "fifo")
    (root / "input" / "data").write_text("overwritten")
    (root / "input" / "unwanted").unlink()
    (root / "checkpoint" / "state.tmp").write_text("half")
    carried.pack(packed)
    shutil.rmtree(root)

    again = make(root)
    (root / "checkpoint" / "old").write_text("of the checkpoint that was restored")
    again.remember()
    again.unpack(packed)
    assert (root / "new").read_bytes() == b"\0" * 5000
    assert stat.S_IMODE((root / "new").stat().st_mode) == 0o640
    assert (root / "new").stat().st_mtime == 1_500_000_000.25
    assert (root / "same").stat().st_ino == (root / "new").stat().st_ino
    assert (root / "link").readlink() == Path("new")
    assert (root / "folder" / "empty").is_dir()
    assert stat.S_ISFIFO((root / "folder" / "fifo").stat().st_mode)
    assert (root / "input" / "data").read_text() == "overwritten"
    assert not (root / "input" / "unwanted").exists()
    assert [each.name for each in (root / "checkpoint").iterdir()] == ["state.tmp"]
    assert (root / "own" / "index").read_text() == "ours"


def test_what_has_not_changed_is_not_carried(tmp_path: Path) -> None:
    carried = make(tmp_path / "root")
    carried.remember()
    assert [path for path in carried.changed() if "input" in path] == []
    assert carried.is_as_before(str(tmp_path / "root" / "input" / "data"))
    (tmp_path / "root" / "input" / "data").write_text("as fetched")
    assert not carried.is_as_before(str(tmp_path / "root" / "input" / "data")), "written again, if with the same bytes"


@pytest.mark.parametrize("name", ["/etc/outside", "{root}/../up", "{root}/own"])
def test_nothing_outside_the_folders_is_touched(tmp_path: Path, name: str) -> None:
    root, packed = tmp_path / "root", tmp_path / "packed"
    packed.mkdir()
    carried = make(root)
    carried.remember()
    carried.pack(packed)
    (packed / "deleted.json").write_text(json.dumps([name.format(root=root)]))
    with pytest.raises(NoSnapshot, match="a file where none may be"):
        carried.unpack(packed)
    assert (root / "own" / "index").exists()


def test_a_file_that_was_open_must_have_the_same_content(tmp_path: Path) -> None:
    file = tmp_path / "library"
    file.write_text("one")
    (tmp_path / READ).write_text(json.dumps(digests([str(file)])))
    check_read(tmp_path)
    file.write_text("two")
    with pytest.raises(NoSnapshot, match="has other content now"):
        check_read(tmp_path)
    file.unlink()
    with pytest.raises(NoSnapshot, match="cannot be read"):
        check_read(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc")
def test_open_files_are_found_and_those_written_outside_are_named(tmp_path: Path) -> None:
    carried = make(tmp_path / "root")
    inside, outside = tmp_path / "root" / "in", tmp_path / "out"
    with inside.open("w"), outside.open("a"), (tmp_path / "gone").open("w") as gone:
        Path(gone.name).unlink()
        found = dict(open_files(os.getpid()))
        assert found[str(inside)]
        assert found[str(outside)]
        assert str(outside) in written_outside([os.getpid()], carried)
        assert str(inside) not in written_outside([os.getpid()], carried)
        assert not any("gone" in path for path in found)
