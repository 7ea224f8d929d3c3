"""The loop of `watch` in virtual time: how often it asks, and what it does while nobody answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import Unavailable
from spotbatch.batch.job import ArrayProperties, Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.output.screens import play
from spotbatch.runs.follow import Following
from spotbatch.runs.tracker import Progress, Tracker

A_MILLION = 1_000_000
CHILDREN = 10_000
PARENT = Job(id="a0", name="n", queue="q", definition="d:1", status=JobStatus.PENDING)


class Silent:
    """A screen that keeps what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def show(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def failure(self, failure: object) -> None: ...

    def note(self, line: str) -> None:
        self.notes.append(line)

    def end(self, jobs: Sequence[Job], progress: Progress, facts: str) -> None: ...

    def close(self) -> None: ...


@dataclass
class VirtualAws:
    """Answers DescribeJobs about arrays that are done after some time; counts, and fails while it is told to."""

    arrays: int = 100
    done_after: float = 600.0
    down: Callable[[float], bool] = lambda _: False
    now: float = 0.0
    calls: int = 0
    asked_at: list[float] = field(default_factory=list)

    def describe(self, ids: Sequence[str]) -> list[Job]:
        assert len(ids) <= 100, "as many as one call takes"
        self._called()
        if self.down(self.now):
            raise Unavailable("TooManyRequestsException: Too Many Requests")
        return [self._job(each) for each in ids]

    def money(self, tracker: Tracker) -> str:
        """The calls that a cost so far takes."""
        for _ in range(3):
            self._called()
        return f"{len(tracker.jobs)} arrays"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _called(self) -> None:
        self.calls += 1
        self.asked_at.append(self.now)

    def _job(self, job_id: str) -> Job:
        is_done = self.now >= self.done_after
        status = JobStatus.SUCCEEDED if is_done else JobStatus.RUNNING
        if ":" in job_id:
            return replace(PARENT, id=job_id, status=status)
        array = ArrayProperties(size=CHILDREN, status_summary={status: CHILDREN})
        return replace(PARENT, id=job_id, status=status if is_done else JobStatus.PENDING, array=array)


def follow(aws: VirtualAws, *, facts: Callable[[Tracker], str] = lambda _: "") -> Silent:
    screen = Silent()
    ids = [f"a{number}" for number in range(aws.arrays)]
    following = Following(
        jobs=cast("Jobs", cast("Any", aws)),
        tracker=Tracker(ids=ids),
        on_note=screen.note,
        clock=lambda: aws.now,
        sleep=aws.sleep,
        calls_made=lambda: aws.calls,
    )
    play(following, screen, facts)
    return screen


@pytest.fixture(autouse=True)
def _as_in_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def test_a_run_of_a_million_takes_less_than_one_call_a_second_with_its_money_too() -> None:
    aws = VirtualAws()
    assert aws.arrays * CHILDREN == A_MILLION
    follow(aws, facts=aws.money)
    assert aws.now >= aws.done_after
    assert aws.calls < aws.now
    in_a_minute = max(sum(begin <= each < begin + 60 for each in aws.asked_at) for begin in aws.asked_at)
    assert in_a_minute < 60


def test_throttling_is_waited_out_with_growing_pauses_and_said() -> None:
    aws = VirtualAws(arrays=1, down=lambda now: 30 < now < 330)
    screen = follow(aws)
    assert aws.now >= aws.done_after
    assert 5 <= len(screen.notes) <= 20, "it does not hammer"
    assert screen.notes[0] == "TooManyRequestsException: Too Many Requests; asking again in 1 s"
    assert screen.notes[-1].endswith("asking again in 30 s")


def test_after_half_an_hour_without_an_answer_it_gives_up() -> None:
    aws = VirtualAws(arrays=1, down=lambda now: now > 30)
    with pytest.raises(Unavailable):
        follow(aws)
    assert 1800 <= aws.now <= 1900
