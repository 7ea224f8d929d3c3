"""spotrun where this host's disk is full, its temporary folder cannot be written, or the store cannot be listed."""

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from spotbatch.runtime.checkpoints import folder as folder_module
from spotbatch.runtime.checkpoints.restore import restore
from spotbatch.runtime.checkpoints.writer import Writer
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import FolderStore
from tests.contract.runtime_world import spot
from tests.rights import without_roots_rights

COUNT = """
import os, sys
from spotbatch.runtime import checkpoint
print("found", checkpoint.read("n"), flush=True)
"""


def fill(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(4096))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1.6 MB."""
    disk = tmp_path / "small"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1600k", "none", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_scratch_folder_damages_no_checkpoint_and_saves_go_on(tmp_path: Path, small_disk: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        writer = Writer(FolderStore(tmp_path / "store"), "p", checkpoint, scratch=small_disk)
        writer.claim(Limit(9))
        (checkpoint / "n").write_text("1")
        writer.save(Limit(9))
        for number in range(3000):
            (checkpoint / f"{number:0100}").touch()
        with pytest.raises(OSError, match="No space left"):
            fill(filler)
        (checkpoint / "n").write_text("2")
        with pytest.raises(Exception, match="no room for the list"):
            writer.save(Limit(9))
        (checkpoint / "n").write_text("3")
        assert writer.save(Limit(9)).is_new
    again = tmp_path / "again"
    again.mkdir()
    restore(FolderStore(tmp_path / "store"), "p", again, Limit(9))
    assert len(list(again.iterdir())) == 3001
    assert (again / "n").read_text() == "3"


def test_a_restore_that_has_no_room_is_another_hosts_chance(tmp_path: Path, small_disk: Path) -> None:
    with spot(tmp_path) as world:
        make = COUNT + f"checkpoint.write('n', os.urandom({3 << 20})); assert checkpoint.save(); sys.exit(3)"
        assert world.run(sys.executable, "-c", make)[0] == 3
        code, text = world.run("true", SPOTBATCH_SCRATCH_DIR=str(small_disk))
        assert code == 210, text
        assert "No space left on device" in text
        assert str(small_disk) in text
        assert "Traceback" not in text


def test_a_large_folder_is_saved_where_the_systems_temporary_folder_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container with a read-only root and a volume for the scratch folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    monkeypatch.setattr(folder_module, "MOST_NAMES", 100)
    checkpoint, scratch = tmp_path / "checkpoint", tmp_path / "scratch"
    checkpoint.mkdir()
    scratch.mkdir()
    for number in random.Random(1).sample(range(1000), 350):
        (checkpoint / str(number)).write_text(str(number))
    writer = Writer(FolderStore(tmp_path / "store"), "p", checkpoint, scratch=scratch)
    writer.claim(Limit(9))
    assert writer.save(Limit(9)).is_new
    (tmp_path / "again").mkdir()
    restore(FolderStore(tmp_path / "store"), "p", tmp_path / "again", Limit(9), scratch)
    assert len(list((tmp_path / "again").iterdir())) == 350


def test_a_store_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    with spot(tmp_path) as world:
        make = COUNT + "checkpoint.write('n', b'7'); assert checkpoint.save(); sys.exit(3)"
        assert world.run(sys.executable, "-c", make)[0] == 3
        manifests = tmp_path / "store/runs/work/job/checkpoints/manifests"
        manifests.chmod(0)
        run = world.start(sys.executable, "-c", COUNT, wrapper=without_roots_rights())
        assert run.wait() == 125, run.text()
        assert "found" not in run.text()
        assert str(manifests) in run.text()
        manifests.chmod(0o755)
        assert "found b'7'" in world.run(sys.executable, "-c", COUNT)[1]


def test_an_output_whose_name_looks_like_ours_stays_when_the_work_is_run_again(tmp_path: Path) -> None:
    with spot(tmp_path) as world:
        for _ in range(2):
            assert world.run("sh", "-c", 'echo a > "$SPOTBATCH_OUTPUT_DIR/.part-1"')[0] == 0
            assert (tmp_path / "store/runs/work/job/output/.part-1").read_text() == "a\n"


def test_a_program_that_asks_for_a_save_goes_on_where_nobody_can_be_asked(tmp_path: Path) -> None:
    script = COUNT + "os.environ['SPOTBATCH_SAVE_REQUEST_FILE'] = '/proc/none'; print('saved', checkpoint.save())"
    with spot(tmp_path) as world:
        code, text = world.run(sys.executable, "-c", script)
        assert code == 0, text
        assert "saved False" in text
