"""What people read: counts with their plural, and text of unknown origin that does nothing to a terminal."""

import pytest

from spotbatch.wording import count, harmless


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain ü \t tab", "plain ü \t tab"),
        ("two\nlines", "two\nlines"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\x1b]0;title\x07x", "\\x1b]0;title\\x07x"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("10 %\r50 %\r100 %", "100 %"),
        ("10 %\r100 %\r\nnext\r", "100 %\nnext"),
        ("bell\x07 null\x00 back\x08 del\x7f", "bell\\x07 null\\x00 back\\x08 del\\x7f"),
    ],
)
def test_text_of_unknown_origin_moves_no_cursor_and_hides_nothing(written: str, shown: str) -> None:
    assert harmless(written) == shown


def test_a_terminal_keeps_colours_and_nothing_else() -> None:
    assert harmless("\x1b[1;31mred\x1b[0m\x1b[2J", keep_colours=True) == "\x1b[1;31mred\x1b[0m\\x1b[2J"


def test_one_thing_is_singular() -> None:
    assert [count(n, "checkpoint") for n in (0, 1, 2)] == ["0 checkpoints", "1 checkpoint", "2 checkpoints"]
    assert count(12_000, "child") == "12,000 children"
