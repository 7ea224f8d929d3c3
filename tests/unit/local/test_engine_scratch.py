"""Scratch folders: empty for every attempt, used again only when nothing can be in the way."""

from pathlib import Path

from spotbatch.local.engine.scratch import Scratch


def opened(tmp_path: Path) -> Scratch:
    scratch = Scratch(tmp_path / "scratch")
    scratch.open()
    return scratch


def test_a_folder_that_was_left_empty_is_used_again(tmp_path: Path) -> None:
    scratch = opened(tmp_path)
    first = scratch.take(1)
    assert scratch.give_back(1, is_dead=True) is None
    assert scratch.take(2) == first


def test_a_folder_with_something_in_it_is_to_be_removed_and_not_used_again(tmp_path: Path) -> None:
    scratch = opened(tmp_path)
    first = scratch.take(1)
    (Path(first) / "left").write_text("behind")
    assert scratch.give_back(1, is_dead=True) == first
    second = scratch.take(2)
    assert second != first
    assert list(Path(second).iterdir()) == []


def test_a_folder_whose_attempt_may_still_write_is_not_used_again(tmp_path: Path) -> None:
    scratch = opened(tmp_path)
    first = scratch.take(1)
    assert scratch.give_back(1, is_dead=False) == first
    assert scratch.take(2) != first


def test_a_folder_that_the_job_removed_is_not_handed_out(tmp_path: Path) -> None:
    scratch = opened(tmp_path)
    Path(scratch.take(1)).rmdir()
    scratch.give_back(1, is_dead=True)
    assert Path(scratch.take(2)).is_dir()


def test_attempts_at_one_time_never_share_a_folder(tmp_path: Path) -> None:
    scratch = opened(tmp_path)
    assert len({scratch.take(number) for number in range(50)}) == 50


def test_what_an_earlier_region_left_is_gone_at_the_start_and_all_is_gone_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "1").mkdir(parents=True)
    (tmp_path / "scratch" / "1" / "old").touch()
    scratch = opened(tmp_path)
    assert list(Path(scratch.take(1)).iterdir()) == []
    scratch.close()
    assert not (tmp_path / "scratch").exists()
