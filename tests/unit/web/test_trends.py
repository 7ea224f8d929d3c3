"""Trends over runs: each figure of each run, oldest first; grey where it is not known, "at least" where it may grow."""

from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.batch.status import JobStatus
from spotbatch.web.account import Account
from spotbatch.web.choice import Choice
from spotbatch.web.progress import progress_of
from spotbatch.web.run_list import RunRow
from spotbatch.web.target import Target
from spotbatch.web.trends import TREND_HEIGHT, TRENDS_SHOWN, ended_rows, trends_of
from tests.unit.web_builders import NOW, bill, child, counted, shown

DAY = 86_400.0


def run(number: int, *, name: str = "nightly", took: float | None = 60.0, failed: int = 0) -> RunRow:
    return RunRow(
        key=f"k{number}",
        href=f"/jobs/k{number}",
        name=name,
        label=f"k{number}",
        kind="array of 4",
        progress=progress_of({JobStatus.SUCCEEDED: 4 - failed, JobStatus.FAILED: failed}),
        created_at=NOW - DAY * (40 - number),
        took_seconds=took,
        why="",
    )


def account(*, interrupted: int = 0, **changes: object) -> Account:
    units = [child(index, JobStatus.SUCCEEDED, interrupted=index < interrupted) for index in range(4)]
    return replace(Account(report=bill(units), at=NOW), **changes)  # type: ignore[arg-type]  # fields


def test_runs_that_have_ended_stand_from_oldest_to_newest_and_go_on_ones_do_not() -> None:
    rows = [run(number, took=None if number == 3 else 10.0) for number in range(6)]
    assert [row.key for row in ended_rows(list(reversed(rows)))] == ["k0", "k1", "k2", "k4", "k5"]
    assert len(ended_rows([run(number) for number in range(35)])) == TRENDS_SHOWN


def test_each_figure_is_drawn_relative_to_the_largest_and_said_in_words() -> None:
    found = trends_of(
        [run(0, took=30), run(1, took=60, failed=2)], {"k0": account(), "k1": account(interrupted=1)}, is_by_day=False
    )
    assert found is not None
    took, paid, interruptions, failed = found.plots
    assert [bar.height for bar in took.bars] == [TREND_HEIGHT / 2, TREND_HEIGHT]
    assert [bar.height for bar in failed.bars] == [0.0, TREND_HEIGHT]
    assert [bar.kind for bar in paid.bars] == ["known", "known"]
    assert interruptions.bars[1].said.endswith(": 1")
    assert took.top == "at most 1 min 00 s"


def test_what_was_not_read_is_grey_and_what_may_grow_is_at_least() -> None:
    found = trends_of([run(0), run(1)], {"k1": account(unread=3)}, is_by_day=False)
    assert found is not None
    paid = found.plots[1]
    assert [bar.kind for bar in paid.bars] == ["unknown", "partial"]
    assert paid.bars[0].said.endswith("not read yet")
    assert "at least" in paid.bars[1].said
    assert [bar.kind for bar in found.plots[0].bars] == ["known", "known"], "the time is known at once"
    assert found.has_unknown
    assert found.has_partial


def test_a_run_is_compared_with_the_one_of_its_name_before_it() -> None:
    found = trends_of([run(0), run(1, name="other"), run(2)], {}, is_by_day=False)
    assert found is not None
    assert [row.href_compared for row in found.rows] == ["/compare?a=/jobs/k0&b=/jobs/k2", "", ""]


def test_a_days_runs_are_summed_and_a_sum_that_lacks_one_is_partial() -> None:
    same_day = replace(run(5), key="k6", created_at=(run(5).created_at or 0.0) + 5)
    found = trends_of([run(4), run(5, failed=1), same_day], {"k4": account(), "k5": account()}, is_by_day=True)
    assert found is not None
    newest, oldest = found.rows
    assert (newest.runs, newest.took_seconds, newest.failed, newest.is_partial) == (2, 120.0, 1, True)
    assert newest.paid_usd == account().report.paid_usd
    assert (oldest.runs, oldest.is_partial) == (1, False)
    assert trends_of([], {}, is_by_day=True) is None
    nothing = trends_of([run(1)], {}, is_by_day=True)
    assert nothing is not None
    assert nothing.rows[0].paid_usd is None, "unknown, and not 0"
    assert isinstance(account().report.paid_usd, Decimal)


class Shapes(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.rects = 0
        self.feed(html)

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.rects += tag == "rect"


def test_the_page_has_a_bar_for_each_run_in_each_picture_and_hostile_names_stay_text() -> None:
    children = [child(index, JobStatus.SUCCEEDED) for index in range(4)]
    evil = "</title><script>alert(1)</script>"
    of = replace(counted(4, children), name=evil, status=JobStatus.SUCCEEDED, stopped_at=NOW - 60)
    world = shown(of, children, with_bill=True)
    world.state.is_listed = True

    world.state.take_listed([JobSummary(id=of.id, name=of.name, status=of.status, created_at=of.created_at)])
    html = world.pages.regions(Target(kind="trends"), Choice())["trends"]
    assert Shapes(html).rects == 4
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "USD" in html
