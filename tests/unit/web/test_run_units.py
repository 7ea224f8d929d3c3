"""A run that was repaired is told by its own indexes, each of them once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.run_units import index_of, run_units, standing_counts
from spotbatch.web.state import State
from tests.unit.web_builders import NOW, child, parent


def array(number: int, indexes: str, **counts: int) -> Job:
    """A job of a run that holds these indexes; the greater its number, the newer it is."""
    size = len(ArrayIndexes.parse(indexes))
    of = parent(max(2, size), name="work", status=JobStatus.PENDING, **counts)
    return replace(
        of,
        id=f"{number:08d}-0000-4000-8000-000000000000",
        created_at=NOW - 100 + number,
        environment={"SPOTBATCH_ARRAY_INDEXES": indexes},
        array=of.array if size > 1 else None,
        status=JobStatus.SUCCEEDED if size == 1 else of.status,
    )


def test_the_newest_job_that_was_given_an_index_stands_for_it() -> None:
    first, again, once_more = array(1, "0-12"), array(2, "3,7-9"), array(3, "8")
    units = run_units([first, again, once_more])
    assert len(units) == 13
    assert units.unit_id(2) == f"{first.id}:2"
    assert units.unit_id(3) == f"{again.id}:0"
    assert units.unit_id(7) == f"{again.id}:1"
    assert units.unit_id(8) == once_more.id
    assert units.unit_id(9) == f"{again.id}:3"
    assert units.unit_id(13) is None
    assert units.replaced == {first.id: 4, again.id: 1}


def test_a_list_that_does_not_ascend_keeps_the_places_of_its_children() -> None:
    of = array(1, "5,4,3")
    units = run_units([of])
    assert [units.unit_id(index) for index in (3, 4, 5)] == [f"{of.id}:2", f"{of.id}:1", f"{of.id}:0"]


def test_what_was_run_again_counts_as_its_newest_attempt_does() -> None:
    first = array(1, "0-12", SUCCEEDED=9, FAILED=4)
    again = array(2, "3,7-9", SUCCEEDED=2, RUNNING=2)
    counts = standing_counts([first, again], State().counts)
    assert {status: count for status, count in counts.items() if count} == {
        JobStatus.SUCCEEDED: 11,
        JobStatus.RUNNING: 2,
    }


def test_a_job_that_is_no_part_of_an_array_is_replaced_by_the_next_one() -> None:
    old = replace(child(0, JobStatus.FAILED), array_index=None, id="a" * 8)
    new = replace(old, id="b" * 8, status=JobStatus.SUCCEEDED)
    units = run_units([old, new])
    assert not units.stands(old)
    assert units.stands(new)
    assert sum(standing_counts([old, new], State().counts).values()) == 1


def test_a_child_of_a_retry_is_called_by_its_index_in_the_run() -> None:
    of = child(1, JobStatus.FAILED)
    assert index_of(of) == 1
    assert index_of(replace(of, environment={"SPOTBATCH_ARRAY_INDEXES": "3,17,40-45"})) == 17
    assert index_of(replace(of, environment={"SPOTBATCH_ARRAY_INDEXES": "somebody's own"})) == 1


@given(st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=5))
def test_every_index_of_a_run_has_one_unit_the_newest(held: list[set[int]]) -> None:
    members = []
    for number, indexes in enumerate(held):
        members.append(array(number, str(ArrayIndexes.of(indexes))))
    units = run_units(members)
    for index in range(32):
        newest = max((number for number, indexes in enumerate(held) if index in indexes), default=None)
        found = units.unit_id(index)
        if newest is None:
            assert found is None
        else:
            of = members[newest]
            assert found == (f"{of.id}:{sorted(held[newest]).index(index)}" if of.array is not None else of.id)
    assert [index for index, _ in units] == sorted(set().union(*held))
    assert sum(units.replaced.values()) == sum(map(len, held)) - len(units)


@pytest.mark.parametrize("status", [JobStatus.SUCCEEDED, JobStatus.FAILED])
def test_the_counts_of_a_run_are_as_many_as_its_indexes(status: JobStatus) -> None:
    first, again = array(1, "0-3", **{status.value: 4}), array(2, "1-3", RUNNING=3)
    counts = standing_counts([first, again], State().counts)
    assert counts == {**dict.fromkeys(JobStatus, 0), status: 1, JobStatus.RUNNING: 3}
