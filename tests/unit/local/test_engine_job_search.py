"""Lists of jobs by any filter are what a walk through all jobs would give, page by page."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from spotbatch.batch.status import STATUSES, JobStatus
from spotbatch.local.contract import JobFilter, JobPlace
from spotbatch.local.engine import job_search
from spotbatch.local.engine.job_search import JobSearch
from spotbatch.local.engine.journal import Journal

SEED = 20261129
JOBS = 600


@dataclass(frozen=True, kw_only=True)
class Row:
    number: int
    job_id: str
    name: str
    queue: str
    created_at: float
    definition: str
    share: str
    status: JobStatus | None  # None: its row is written, but it is not taken yet


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    rng = random.Random(SEED)
    statuses = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING, JobStatus.RUNNABLE]
    return [
        Row(
            number=number,
            job_id=f"{number:08x}-0000-4000-8000-000000000000",
            name=rng.choice(["a", "A", "ab", "Abc", "b", "b-1", "c_"]),
            queue=rng.choice(["q", "q", "other"]),
            created_at=1000.0 + number // 3,
            definition=rng.choice(["work:1", "work:2", "work2:1", "Work:1"]),
            share=rng.choice(["", "s", "t"]),
            status=rng.choice(statuses) if number % 50 else None,
        )
        for number in range(1, JOBS + 1)
    ]


@pytest.fixture(scope="module", params=[job_search._FEW, 10], ids=["sorted", "walked"])
def search(
    request: pytest.FixtureRequest, rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JobSearch]:
    journal = Journal(tmp_path_factory.mktemp("search"))
    for row in rows:
        ended = row.status is not None and row.status.is_terminal
        code = STATUSES.index(row.status) if ended and row.status else None
        journal.write(
            "INSERT INTO job "
            "(job_no, id, name, queue, created_at, log_group, definition, share, packed, status, ended_at) "
            "VALUES (?, ?, ?, ?, ?, '', ?, ?, x'', ?, ?)",
            (
                row.number, row.job_id, row.name, row.queue, row.created_at, row.definition, row.share, code,
                row.created_at + 5 if ended else None,
            ),
        )  # fmt: skip
    journal.commit()
    by_number = {row.number: row for row in rows}
    patch = pytest.MonkeyPatch()
    patch.setattr(job_search, "_FEW", request.param)
    yield JobSearch(journal, lambda number: by_number[number].status)
    patch.undo()
    journal.close()


def passes(row: Row, where: JobFilter | None) -> bool:
    if where is None:
        return True
    if where.member == "created_at":
        moment = float(where.value)
        return row.created_at > moment if where.is_after else row.created_at < moment
    found, value = getattr(row, where.member), str(where.value)
    if where.member == "name":
        found, value = found.lower(), value.lower()
    return bool(found.startswith(value)) if where.is_prefix else bool(found == value)


WHERES = [
    None,
    JobFilter(member="name", value="A"),
    JobFilter(member="name", value="a", is_prefix=True),
    JobFilter(member="name", value="", is_prefix=True),
    JobFilter(member="name", value="nobody"),
    JobFilter(member="definition", value="work:1"),
    JobFilter(member="definition", value="work:", is_prefix=True),
    JobFilter(member="definition", value="wo", is_prefix=True),
    JobFilter(member="share", value="s"),
    JobFilter(member="created_at", value=1100.0),
    JobFilter(member="created_at", value=1100.0, is_after=True),
]


@pytest.mark.parametrize("status", [None, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.RUNNING, JobStatus.PENDING])
@pytest.mark.parametrize("where", WHERES, ids=str)
def test_a_list_is_what_a_walk_through_all_jobs_gives(
    search: JobSearch, rows: list[Row], where: JobFilter | None, status: JobStatus | None
) -> None:
    wanted = [
        (row.number, row.job_id)
        for row in reversed(rows)
        if row.queue == "q" and row.status is not None and status in (None, row.status) and passes(row, where)
    ]
    assert search.find(queue="q", status=status, where=where, limit=JOBS) == wanted
    pages, after = list[tuple[int, str]](), None
    while page := search.find(queue="q", status=status, where=where, after=after, limit=7):
        pages += page
        after = JobPlace(job_id=page[-1][1], created_at=rows[page[-1][0] - 1].created_at)
    assert pages == wanted


def test_a_list_goes_on_behind_a_job_that_was_forgotten_meanwhile(search: JobSearch, rows: list[Row]) -> None:
    place = JobPlace(job_id="ffffffff-0000-4000-8000-000000000000", created_at=rows[299].created_at)
    found = search.find(queue="q", after=place, limit=1)
    older = [row for row in rows if row.queue == "q" and row.status and row.created_at < place.created_at]
    assert found == [(older[-1].number, older[-1].job_id)]
