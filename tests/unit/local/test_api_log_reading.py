"""Queries job logs backwards: only the end of the file that is asked for is touched."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.local.engine import logs
from spotbatch.local.engine.logs import LogReader


@given(
    text=st.text(alphabet="ab\n", max_size=400),
    block=st.sampled_from([1, 2, 7, 64]),
    limit=st.integers(1, 9),
    is_over=st.booleans(),
)
def test_read_backwards_in_pieces_a_log_is_what_it_is_forwards(
    text: str, block: int, limit: int, is_over: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("logs") / "a.log"
    file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_BLOCK_BYTES", block)
        patch.setattr(logs, "_LINE_BYTES", 8)  # lines longer than this are several events
        reader = LogReader()
        forwards, end = reader.read(file, began_at=0.0, is_over=is_over, offset=0, limit=1000)
        backwards: list[tuple[float, str]] = []
        stop: int | None = None
        is_later = False
        while True:
            stop, lines, after = reader.read_back(file, began_at=0.0, is_over=is_over, stop=stop, limit=limit)
            assert len(lines) <= limit
            assert is_later or after == end
            backwards, is_later = [*lines, *backwards], True
            if stop == 0:  # there may be none before that: empty lines are no events
                break
    assert [line for _, line in backwards] == [line for _, line in forwards]


def test_the_end_of_a_long_log_is_read_without_the_rest_of_it(tmp_path: Path) -> None:
    file = tmp_path / "long.log"
    with file.open("wb") as sink:
        sink.truncate(8 << 30)  # a sparse file: reading all of its 8 GiB would take many seconds
        sink.seek(8 << 30)
        sink.write(b"\nthe\nend\n")
    begin, lines, end = LogReader().read_back(file, began_at=0.0, is_over=False, stop=None, limit=2)
    assert [line for _, line in lines] == ["the", "end"]
    assert (begin, end) == ((8 << 30) + 1, (8 << 30) + 9)


def test_a_log_that_is_not_there_yet_has_no_lines_backwards_either(tmp_path: Path) -> None:
    assert LogReader().read_back(tmp_path / "no", began_at=0.0, is_over=False, stop=None, limit=9) == (0, [], 0)
