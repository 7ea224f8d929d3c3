"""Times and lines of job logs."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from spotbatch.local.engine.logs import LogReader, Marks, log_file, task_id


def read(file: Path, *, is_over: bool, offset: int = 0, limit: int = 100) -> tuple[list[str], int]:
    lines, after = LogReader().read(file, began_at=100.0, is_over=is_over, offset=offset, limit=limit)
    return [line for _, line in lines], after


def test_a_task_id_is_32_hexadecimal_digits_and_its_own_for_every_attempt() -> None:
    ids = {task_id(job, 7, index, attempt) for job in ("a", "b") for index in (0, 1) for attempt in (1, 2)}
    assert len(ids) == 8
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


def test_a_last_line_without_its_end_waits_until_the_attempt_is_over(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("one\ntw")
    assert read(file, is_over=False) == (["one"], 4)
    assert read(file, is_over=True) == (["one", "tw"], 6)


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("a\nb\nc\n")
    first, offset = read(file, is_over=True, limit=2)
    rest, _ = read(file, is_over=True, offset=offset)
    assert (first, rest) == (["a", "b"], ["c"])


def test_what_is_no_utf_8_is_shown_and_not_lost(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"\xff\xfe\r\nok\n")
    assert read(file, is_over=True)[0] == ["\ufffd\ufffd", "ok"]


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert read(Path(log_file(tmp_path, task_id("a", 1, 0, 1))), is_over=False) == ([], 0)


@given(st.lists(st.tuples(st.integers(1, 1_000_000), st.floats(0, 1e9)), max_size=50))
def test_times_never_go_back_along_a_log(notes: list[tuple[int, float]]) -> None:
    marks = Marks(times=[5.0])
    for offset, when in notes:
        marks.note(offset, when)
    times = [marks.time_of(offset) for offset in range(0, 1_000_001, 10_007)]
    assert times == sorted(times)
    assert times[0] >= 5.0
