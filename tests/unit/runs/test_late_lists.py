"""Lists that come later than the counts of what they list: what FAILED is told whole, or not at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from spotbatch.aws.job_shapes import job_of
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import Unavailable
from spotbatch.runs.units import failed_of

JOB = "00000001-0000-4000-8000-000000000000"


@dataclass(kw_only=True)
class LateBatch:
    """AWS Batch as far as ListJobs goes: it knows of so many failed children at each call, at last of all."""

    known: Sequence[int]
    calls: int = 0
    slept: list[float] = field(default_factory=list)

    def get_paginator(self, operation: str) -> "LateBatch":
        assert operation == "list_jobs"
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        assert asked == {"arrayJobId": JOB, "jobStatus": "FAILED"}
        count = self.known[min(self.calls, len(self.known) - 1)]
        self.calls += 1
        yield {"jobSummaryList": [self.child(index) for index in range(count)]}

    @staticmethod
    def child(index: int) -> dict[str, Any]:
        array = {"index": index}
        return {"jobId": f"{JOB}:{index}", "jobName": "a", "status": "FAILED", "createdAt": 1, "arrayProperties": array}


def failures(batch: LateBatch) -> list[int | None]:
    parent = job_of(
        {
            "jobId": JOB,
            "jobName": "a",
            "jobQueue": "q",
            "jobDefinition": "d:1",
            "status": "FAILED",
            "createdAt": 1,
            "arrayProperties": {"size": 5, "statusSummary": {"FAILED": 3, "SUCCEEDED": 2}},
            "container": {},
        }
    )
    jobs = Jobs(batch=batch, sleep=batch.slept.append)  # type: ignore[arg-type]
    return [each.index for each in failed_of(jobs, [parent])]


def test_a_list_that_is_short_of_its_count_is_asked_for_again() -> None:
    batch = LateBatch(known=(1, 2, 3))
    assert failures(batch) == [0, 1, 2]
    assert batch.calls == 3


def test_a_whole_list_is_asked_for_once() -> None:
    batch = LateBatch(known=(3,))
    assert failures(batch) == [0, 1, 2]
    assert (batch.calls, batch.slept) == (1, [])


def test_a_list_that_stays_short_is_no_answer() -> None:
    batch = LateBatch(known=(2,))
    with pytest.raises(Unavailable, match="lists 2 of the 3 children"):
        failures(batch)
    assert sum(batch.slept) > 10
