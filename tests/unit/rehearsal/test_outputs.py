"""Two runs' outputs beside each other: the file that differs, and where in it."""

import pytest

from spotbatch.rehearsal.outputs import Output, differences


def place(one: bytes | None, other: bytes | None) -> str:
    [found] = differences({0: {"f": Output(sha256="a", head=one)}}, {0: {"f": Output(sha256="b", head=other)}})
    return found.in_words


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (b"a\nb\nc", b"a\nB\nc", "f of child 0 differs in line 2: 'b' and 'B'"),
        (b"same", b"same and more", "f of child 0 differs in line 1: 'same' and 'same and more'"),
        (b"\0" * 9 + b"x", b"\0" * 9 + b"y", "f of child 0 differs from byte 9 on"),
        (None, b"x", "f of child 0 differs somewhere (it is too large to say where)"),
    ],
)
def test_the_place_is_a_line_in_texts_and_a_byte_elsewhere(one: bytes | None, other: bytes, said: str) -> None:
    assert place(one, other) == said


def test_files_that_only_one_run_has_are_named_and_equal_ones_are_not() -> None:
    same, mine, theirs = Output(sha256="1"), Output(sha256="2"), Output(sha256="3")
    found = differences({None: {"same": same, "mine": mine}}, {None: {"same": same, "theirs": theirs}})
    assert [each.in_words for each in found] == [
        "mine differs (it is missing in the other run)",
        "theirs differs (only the other run has it)",
    ]
