"""Short ids, without a region: which job the first digits of an id mean."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.status import JobStatus
from spotbatch.runs import lookup

ONE = "28c73ab4-0000-4000-8000-000000000001"
OTHER = "28c73aff-0000-4000-8000-000000000002"


@dataclass
class Listed:
    """AWS Batch with a queue of two jobs, neither of which has a hexadecimal name."""

    def named(self, queue: str, name: str, *, limit: int) -> list[JobSummary]:
        return []

    def created_after(self, queue: str, moment: float, *, limit: int) -> list[JobSummary]:
        return [JobSummary(id=each, name="work", status=JobStatus.RUNNING) for each in (ONE, OTHER)]


def ids(written: str) -> list[str]:
    return lookup.job_ids(written, jobs=cast("Jobs", cast("Any", Listed())), queue="q", stack="none")


@pytest.fixture(autouse=True)
def _no_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_by_run_id", lambda *_, **__: None)


@pytest.mark.parametrize("written", ["28c73ab", "28c73ab4", "28c73ab4-0000", ONE[:-1]])
def test_the_first_digits_of_an_id_name_its_job(written: str) -> None:
    assert ids(written) == [ONE]
    assert ids(f"{written}:7") == [f"{ONE}:7"]


def test_digits_that_begin_two_ids_ask_for_more_of_them() -> None:
    with pytest.raises(InvalidInput, match="28c73a may be 2 jobs: write more of the id"):
        ids("28c73a")


@pytest.mark.parametrize("written", ["28c", "28c73abx", "ffff"])
def test_what_is_no_beginning_of_an_id_is_a_name_that_is_not_there(written: str) -> None:
    with pytest.raises(NotFound, match=f"no job of the name '{written}'"):
        ids(written)
