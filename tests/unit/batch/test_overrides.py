"""How much a submission may change of its job definition."""

import pytest

from spotbatch.batch.environment import SPOTBATCH_SUBMISSION
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.job import JobRequest
from spotbatch.batch.overrides import MAX_OVERRIDES_LENGTH, overrides_length


def request(**more: object) -> JobRequest:
    return JobRequest(name="j", queue="q", definition="d", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more", [{"environment": {"A": "x" * 8000}}, {"command": ("x" * 8000,)}, {"command": ('"' * 4000,)}]
)
def test_a_request_that_would_fail_at_its_start_is_refused_before_it_is_sent(more: dict[str, object]) -> None:
    with pytest.raises(InvalidJob, match=r"at most 8192 characters together.*file on S3"):
        request(**more)


def test_the_characters_of_json_count_and_letters_of_any_language_are_one_each() -> None:
    plain = overrides_length(environment={"A": "x" * 100})
    assert overrides_length(environment={"A": "ü" * 100}) == plain
    assert overrides_length(environment={"A": '"' * 100}) == plain + 100


def test_what_fits_is_taken_and_the_longest_that_fits_leaves_room_for_awss_own_variables() -> None:
    mark = {SPOTBATCH_SUBMISSION: "0" * 16}  # identifies the submission, and is sent along
    room = MAX_OVERRIDES_LENGTH - overrides_length(environment={"A": "", **mark}, queue="q")
    assert 7500 < room < 8100
    request(environment={"A": "x" * room})
    with pytest.raises(InvalidJob):
        request(environment={"A": "x" * (room + 1)})
    with pytest.raises(InvalidJob):
        request(environment={"A": "x" * room}, array_size=2)  # a child's index is told in a variable too
