"""Many jobs are terminated by few calls, and one by one where a region does not know the bulk call."""

from typing import Any

import pytest

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import Denied, InvalidInput, SpotbatchError, Unavailable

IDS = [f"job-{number}" for number in range(120)]


class Batch:
    """AWS Batch as far as these calls go; `bulk` is raised by the bulk call, `refused` are named in its errors."""

    def __init__(self, *, bulk: SpotbatchError | None = None, refused: tuple[str, ...] = ()) -> None:
        self.bulk, self.refused = bulk, refused
        self.at_once: list[int] = []
        self.one_by_one: list[str] = []

    def terminate_jobs(self, *, jobs: list[str], reason: str) -> dict[str, Any]:
        assert reason == "enough"
        if self.bulk is not None:
            raise self.bulk
        self.at_once.append(len(jobs))
        errors = [{"job": each, "code": "ClientException", "message": "no"} for each in jobs if each in self.refused]
        return {"successful": [each for each in jobs if each not in self.refused], "errors": errors}

    def terminate_job(self, *, jobId: str, reason: str) -> None:  # noqa: N803 - boto3's name
        self.one_by_one.append(jobId)


def terminated(batch: Any) -> Any:
    Jobs(batch=batch).terminate_all(IDS, "enough")
    return batch


def test_fifty_jobs_go_in_one_call() -> None:
    batch = terminated(Batch())
    assert (batch.at_once, batch.one_by_one) == ([50, 50, 20], [])


def test_what_the_bulk_call_does_not_take_is_asked_for_alone_so_that_its_error_is_raised_in_words() -> None:
    assert terminated(Batch(refused=("job-7", "job-99"))).one_by_one == ["job-7", "job-99"]


@pytest.mark.parametrize("error", [InvalidInput("UnknownOperation"), Denied("no such action")])
def test_where_a_region_does_not_know_the_bulk_call_jobs_are_terminated_one_by_one(error: SpotbatchError) -> None:
    assert terminated(Batch(bulk=error)).one_by_one == IDS


def test_a_region_that_does_not_answer_is_not_asked_a_hundred_times_more() -> None:
    batch = Batch(bulk=Unavailable("no answer"))
    with pytest.raises(Unavailable):
        terminated(batch)
    assert batch.one_by_one == []
