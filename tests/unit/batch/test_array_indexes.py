"""The algebra of array indexes, held against plain sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.array_indexes import ArrayIndexes, spans
from spotbatch.batch.errors import InvalidInput

INDEXES = st.sets(st.integers(0, 60), max_size=40)


@given(INDEXES)
def test_text_is_read_back_as_what_was_written(indexes: set[int]) -> None:
    made = ArrayIndexes.of(indexes)
    assert list(made) == sorted(indexes)
    assert len(made) == len(indexes)
    if indexes:
        assert ArrayIndexes.parse(str(made)) == made


@given(INDEXES, INDEXES)
def test_it_is_the_algebra_of_sets(ours: set[int], theirs: set[int]) -> None:
    a, b = ArrayIndexes.of(ours), ArrayIndexes.of(theirs)
    assert a.without(b) == ArrayIndexes.of(ours - theirs)
    assert a.union(b) == ArrayIndexes.of(ours | theirs)
    assert a.common(b) == ArrayIndexes.of(ours & theirs)
    assert ArrayIndexes.span(0, 50).without(a) == ArrayIndexes.of(set(range(50)) - ours)


@given(INDEXES)
def test_each_child_has_one_index_and_each_index_one_child(indexes: set[int]) -> None:
    made = ArrayIndexes.of(indexes)
    assert [made.at(child) for child in range(len(made))] == sorted(indexes)
    assert [made.child_of(index) for index in sorted(indexes)] == list(range(len(made)))
    assert made.at(len(made)) is None
    assert made.at(-1) is None
    assert made.child_of(61) is None
    assert all((index in made) == (index in indexes) for index in range(62))


@given(INDEXES, st.integers(1, 10), st.integers(5, 20))
def test_chunks_hold_all_in_order_within_their_limits(indexes: set[int], most: int, longest: int) -> None:
    chunks = list(ArrayIndexes.of(indexes).chunks(most=most, longest_text=longest))
    assert [index for chunk in chunks for index in chunk] == sorted(indexes)
    assert all(0 < len(chunk) <= most and len(str(chunk)) <= longest for chunk in chunks)


def test_chunks_are_as_few_as_their_size_allows() -> None:
    chunks = ArrayIndexes.span(0, 25_000).chunks(most=10_000, longest_text=3000)
    assert [str(chunk) for chunk in chunks] == ["0-9999", "10000-19999", "20000-24999"]
    assert [str(chunk) for chunk in spans(20_001, most=10_000)] == ["0-9999", "10000-19999", "20000"]
    scattered = list(ArrayIndexes.of(range(0, 10_000, 2)).chunks(most=10_000, longest_text=3000))
    assert len(scattered) == 9, "24,389 characters in texts of 3,000"


def test_a_text_in_another_order_gives_the_children_in_that_order() -> None:
    written = ArrayIndexes.parse("17, 3,40-41,42")
    assert [written.at(child) for child in range(5)] == [17, 3, 40, 41, 42]
    assert written.child_of(3) == 1
    assert written.without(ArrayIndexes.parse("40")) == ArrayIndexes.parse("3,17,41-42")


@pytest.mark.parametrize(
    "text", ["", ",", "3,", "-3", "3-", "a", "3-1", "1-2-3", "1.5", "٣", "²", "0x3", "3 4", "9999999999", "0-999999999"]
)
def test_what_is_no_such_text_is_refused_with_the_text(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ArrayIndexes.parse(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("text", ["3,3", "1-5,5", "4,1-9"])
def test_an_index_named_twice_is_refused_since_two_children_would_do_the_same_work(text: str) -> None:
    with pytest.raises(InvalidInput, match="once"):
        ArrayIndexes.parse(text)


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(InvalidInput) as refused:
        ArrayIndexes.parse("1," * 5000)
    assert len(str(refused.value)) < 200


def test_a_person_is_shown_so_many_ranges_and_how_much_there_is_beyond() -> None:
    assert ArrayIndexes.of([3, 17, 40, 41, 42]).shown() == "3, 17, 40-42"
    assert ArrayIndexes.of(range(0, 10_000, 2)).shown(most=2) == "0, 2 and 4,998 more"
    assert ArrayIndexes().shown() == ""
