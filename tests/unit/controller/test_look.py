"""What one look costs: so many children at most, and what was not described is not taken for done."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import ArrayProperties, Attempt, Job
from spotbatch.batch.status import JobStatus
from spotbatch.controller.advance import Controller
from spotbatch.controller.look import MOST_DESCRIBED, look
from spotbatch.controller.run import Budget, Outcome, Run, Wishes
from spotbatch.controller.seen import Work
from tests.unit.controller.builders import NOW, a_run, begun

LOST = Attempt(started_at=NOW, stopped_at=NOW + 9, status_reason="Host EC2 (instance i-1) terminated.")


@dataclass
class Batch:
    """Arrays all of whose children were lost."""

    size: int
    described: int = 0
    terminated: list[str] = field(default_factory=list)

    def describe(self, job_ids: Sequence[str]) -> Sequence[Job]:
        self.described += len(job_ids)
        return [self._job(job_id) for job_id in job_ids]

    def _job(self, job_id: str) -> Job:
        _, _, child = job_id.partition(":")
        one = Job(id=job_id, name="work", queue="spot", definition="d:1", status=JobStatus.FAILED)
        if child:
            return replace(one, array_index=int(child), attempts=(LOST,), status_reason=LOST.status_reason)
        return replace(one, array=ArrayProperties(size=self.size, status_summary={JobStatus.FAILED: self.size}))

    def children(self, job_id: str, status: JobStatus) -> Sequence[int]:
        assert job_id
        return range(self.size) if status is JobStatus.FAILED else ()

    def terminate(self, job_ids: Iterable[str], reason: str) -> None:
        assert reason.startswith("spotbatch controller")
        self.terminated += job_ids

    def submit(self, request: Mapping[str, Any]) -> str:
        raise AssertionError(request)

    def tagged(self, *_: object) -> Sequence[str]:
        return ()


class Records:
    def work_of(self, *_: object) -> Work:
        return Work()

    def has_any(self, _run: Run) -> bool:
        return True

    def tell(self, _run: Run) -> None:
        return None


def arrays(count: int, size: int) -> Run:
    """A run of this many arrays."""
    run = begun(a_run(count * size, wishes=Wishes(on_demand_after=1)))
    parts = tuple(
        replace(run.parts[0], number=number, job_id=f"job-{number}", indexes=own, open=own)
        for number in range(1, count + 1)
        for own in [ArrayIndexes.span((number - 1) * size, size)]
    )
    return replace(run, parts=parts, next_number=count + 1)


def test_a_look_describes_so_many_children_and_the_rest_at_the_next() -> None:
    """A hundred thousand failures at once must not take longer than a call of the function has, again and again."""
    batch = Batch(size=2000)
    seen = look(arrays(4, 2000), batch, Records(), NOW + 60)
    assert [len(seen[number].units) for number in (1, 2, 3, 4)] == [2000, MOST_DESCRIBED - 2000, 0, 0]
    assert batch.described <= MOST_DESCRIBED + 4


def test_children_that_were_not_described_are_not_taken_for_done() -> None:
    batch = Batch(size=5000)
    seen = look(arrays(1, 5000), batch, Records(), NOW + 60)
    assert {unit.status for unit in seen[1].units.values()} == {JobStatus.FAILED}


@dataclass
class TooSmall:
    """A table whose item holds no run with a move in it."""

    run: Run

    def read(self, _run_id: str) -> Run:
        return self.run

    def write(self, run: Run) -> Run:
        if run.moves:
            raise InvalidInput("run run-1 has more than 380,000 bytes to keep")
        self.run = replace(run, revision=run.revision + 1)
        return self.run

    def active(self) -> Sequence[str]:
        return [self.run.run_id]


def test_a_run_that_grows_beyond_its_item_is_given_up_aloud_and_its_budget_is_not_exceeded() -> None:
    budget = Budget(max_usd=Decimal(10), spot_usd_per_hour=Decimal(1), on_demand_usd_per_hour=Decimal(3))
    run = begun(a_run(2, wishes=Wishes(on_demand_after=1, budget=budget)))
    store, batch = TooSmall(run=run), Batch(size=2)
    found = Controller(store=store, batch=batch, records=Records()).advance("run-1", NOW + 60)
    assert found is not None
    assert (found.outcome, batch.terminated) == (Outcome.FAILED, ["job-1"])
    assert "no longer under control: run run-1 has more than 380,000 bytes" in found.notes[-1].text
