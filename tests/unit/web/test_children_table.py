"""The table of children: searched, filtered and sorted by what stands in the address; what is unknown comes last."""

from dataclasses import replace

import pytest

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.array_children import ArrayChildren
from spotbatch.web.children_table import ChildrenTable, HostUse, children_table, host_uses
from spotbatch.web.choice import CHILD_ORDERS, NO_CHOICE, Choice, choice_of
from spotbatch.web.run_units import run_units
from spotbatch.web.target import Target
from tests.unit.web_builders import ARRAY, NOW, TARGET, bill, child, counted, shown


def table(
    children: list[Job], choice: Choice, *, size: int = 200, inputs: dict[str, str] | None = None
) -> ChildrenTable:
    of = counted(size, children)
    array = ArrayChildren(parent=of, size=size)
    for each in children:
        array.take_unit(each)
    uses = host_uses(bill(children))
    return children_table(run_units([of]), {ARRAY: array}, choice, uses=uses, inputs=inputs or {}, now=NOW)


def some() -> list[Job]:
    return [
        *(child(index, JobStatus.SUCCEEDED, interrupted=index % 7 == 3) for index in range(60)),
        *(child(index, JobStatus.FAILED, reason="no") for index in range(60, 63)),
    ]


def test_fifty_rows_a_page_and_each_child_on_one_of_them() -> None:
    pages = [table(some(), Choice(page=page)) for page in range(1, 5)]
    assert [len(each.rows) for each in pages] == [50, 50, 50, 50]
    assert [row.index for each in pages for row in each.rows] == list(range(200))
    assert table(some(), Choice(page=99)).page == 4


def test_what_was_not_read_has_no_values() -> None:
    last = table(some(), Choice(page=4)).rows[-1]
    assert last.status is JobStatus.RUNNABLE, "the array's own summary leaves no doubt of it"
    assert (last.unit, last.seconds, last.use) == (None, None, None)


@pytest.mark.parametrize("order", [each for each in CHILD_ORDERS if each])
def test_unknown_comes_last_in_every_order(order: str) -> None:
    rows = [row for page in range(1, 5) for row in table(some(), Choice(order=order, page=page)).rows]
    assert len(rows) == 200
    assert [row.unit is None for row in rows][-137:] == [True] * 137 or order == "input"


def test_a_status_a_number_and_a_text_narrow_it() -> None:
    assert [row.index for row in table(some(), Choice(status=JobStatus.FAILED)).rows] == [60, 61, 62]
    assert [row.index for row in table(some(), Choice(search="17")).rows] == [17]
    names = {f"{ARRAY}:{index}": f"logs/app-{index:03d}.log" for index in range(200)}
    assert [row.index for row in table(some(), Choice(search="APP-04"), inputs=names).rows] == list(range(40, 50))


def test_the_longest_first() -> None:
    rows = table(some(), Choice(order="duration")).rows
    assert [row.index for row in rows[:3]] == [3, 10, 17], "an interrupted child ran twice"
    assert rows[0].seconds == 900 + 740


def test_the_most_memory_of_any_attempt_is_shown() -> None:
    report = bill([child(0, JobStatus.SUCCEEDED)])
    assert host_uses(report)[f"{ARRAY}:0"] == HostUse(instance_id="arn:0", peak_memory_mib=None)


def test_a_choice_goes_into_the_address_and_comes_back() -> None:
    chosen = Choice(search="a&b=c", status=JobStatus.FAILED, order="duration", page=3)
    assert chosen.query() == "?q=a%26b%3Dc&status=FAILED&sort=duration&page=3"
    given = {"q": "a&b=c", "status": "FAILED", "sort": "duration", "page": "3"}
    assert choice_of(given, CHILD_ORDERS) == chosen
    assert NO_CHOICE.query() == ""


@pytest.mark.parametrize(
    "parameters",
    [{"status": "BROKEN"}, {"sort": "drop table"}, {"page": "-1"}, {"page": "x"}, {"page": "٣"}, {"page": "9" * 50}],
)
def test_what_is_no_choice_is_left_out(parameters: dict[str, str]) -> None:
    assert choice_of(parameters, CHILD_ORDERS) == NO_CHOICE


def test_what_was_searched_for_is_text_on_the_page() -> None:
    world = shown(counted(10, [child(0, JobStatus.FAILED)]), [child(0, JobStatus.FAILED)])
    evil = Choice(search='"><script>alert(1)</script>')
    html = world.pages.page(TARGET, evil).html
    assert "<script>alert" not in html
    assert "No child matches" in html
    assert "No run matches" in world.pages.page(Target(kind="list"), evil).html


def test_the_list_is_searched_filtered_and_sorted() -> None:
    of = counted(10, [child(0, JobStatus.FAILED)])
    world = shown(of, [])
    other = replace(of, id=ARRAY.replace("0a", "0c", 1), name="zebra", created_at=NOW - 10)
    world.state.take([other], NOW)
    world.state.take_listed(
        JobSummary(id=job.id, name=job.name, status=job.status, created_at=job.created_at) for job in (of, other)
    )
    target = Target(kind="list")

    def names(choice: Choice) -> list[str]:
        html = world.pages.regions(target, choice)["runs"]
        return [part.partition("<")[0] for part in html.split('">')[1:] if part.startswith(("zebra<", "work<"))]

    assert names(NO_CHOICE) == ["zebra", "work"]
    assert names(Choice(order="oldest")) == ["work", "zebra"]
    assert names(Choice(search="ZEB")) == ["zebra"]
    assert names(Choice(status=JobStatus.SUCCEEDED)) == []
