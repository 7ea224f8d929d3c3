"""Times and lines of job logs."""

import os
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


def test_a_line_is_cut_where_awss_log_driver_cuts_it(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"x" * 262_118 + b"\n" + b"y" * 262_119 + b"\n")
    lines, _ = read(file, is_over=True)
    assert [len(line) for line in lines] == [262_118, 262_118, 1]


def test_empty_lines_are_passed_over_and_a_limit_counts_the_others(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"\n\na\n\r\n\nb\nc\n")
    assert read(file, is_over=True, limit=2) == (["a", "b"], 9)


def test_a_log_that_is_not_there_yet_has_no_lines(tmp_path: Path) -> None:
    assert read(Path(log_file(tmp_path, task_id("a", 1, 0, 1))), is_over=False) == ([], 0)


NOTES = st.lists(
    st.tuples(st.integers(1, 1_000_000), st.floats(0, 1e9), st.floats(0, 1e9)),
    max_size=50,
)


@given(NOTES)
def test_times_never_go_back_along_a_log(notes: list[tuple[int, float, float]]) -> None:
    marks = Marks(5.0)
    for offset, written_at, looked_at in notes:
        marks.note(offset, written_at, looked_at)
    times = [marks.time_of(offset) for offset in range(0, 1_000_001, 10_007)]
    assert times == sorted(times)
    assert times[0] >= 5.0


@given(NOTES)
def test_a_line_keeps_its_time_and_what_is_seen_later_is_not_older_than_the_look_before(
    notes: list[tuple[int, float, float]],
) -> None:
    marks, told, youngest = Marks(5.0), dict[int, float](), 5.0
    for offset, written_at, looked_at in notes:
        marks.note(offset, written_at, looked_at)
        new = [each for each in range(0, marks.end, 10_007) if each not in told]
        assert all(marks.time_of(each) >= youngest for each in new)
        assert told == {each: marks.time_of(each) for each in told}
        told |= {each: marks.time_of(each) for each in new}
        youngest = max(youngest, looked_at)


def test_what_is_followed_for_long_keeps_the_times_of_its_last_lines() -> None:
    marks = Marks(0.0)
    for number in range(1, 3_000):
        marks.note(number * 10, float(number), number + 0.5)
    last = {offset: marks.time_of(offset) for offset in range(28_000, 29_990, 7)}
    for number in range(3_000, 3_400):
        marks.note(number * 10, float(number), number + 0.5)
    assert last == {offset: marks.time_of(offset) for offset in last}


def test_whoever_follows_a_growing_log_gets_each_line_once(tmp_path: Path) -> None:
    file, moment = tmp_path / "log", 1_000.0
    reader, written, got = LogReader(clock=lambda: moment), list[str](), list[str]()
    since = 0.0
    for step in range(200):
        moment += 0.25
        piece = f"line {step}\nhalf of {step}"  # each look finds a line that is not whole yet
        with file.open("a") as target:
            target.write(f" and the rest\n{piece}" if step else piece)
        os.utime(file, (moment, moment - 0.004))  # as coarse as the kernel's clock
        lines, _ = reader.read(file, began_at=1_000.0, is_over=False, offset=0, limit=10_000)
        new = [(at, line) for at, line in lines if at >= since and line not in got]
        got += [line for _, line in new]
        written += ([f"half of {step - 1} and the rest"] if step else []) + [f"line {step}"]
        since = max([since, *(at for at, _ in new)])
    assert got == written
