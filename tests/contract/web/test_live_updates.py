"""What a person opened, focused, selected, typed or scrolled to is still so after news have come. In real Chromium."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotbatch.aws.logs import LogEvent
from spotbatch.batch.job import Job
from spotbatch.batch.status import JobStatus
from spotbatch.web.account import Account
from spotbatch.web.fetcher import log_key
from spotbatch.web.target import Target
from tests.contract.local_api_region import until
from tests.contract.web_pages import WebPages, web_pages
from tests.contract.web_world import PHONE, Browser, browser, chromium
from tests.unit.web_builders import ARRAY, NOW, bill, child, counted

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

pytestmark = pytest.mark.browser
SELECTED = "getSelection().toString()"
SELECT = "node => { const all = document.createRange(); all.selectNodeContents(node); getSelection().removeAllRanges(); getSelection().addRange(all); }"  # noqa: E501


@pytest.fixture(scope="module")
def started() -> Iterator["Chromium"]:
    with chromium() as made:
        yield made


@pytest.fixture
def pages() -> Iterator[WebPages]:
    with web_pages() as made:
        yield made


def put(pages: WebPages, children: list[Job], *, size: int = 40) -> None:
    """An array whose children stand like this, with its bill."""
    of = replace(counted(size, children), status_reason=f"waits for {len(children)} children")
    pages.state.take([of], NOW)
    pages.state.children_of(of)
    pages.state.take(children, NOW)
    pages.state.accounts[ARRAY] = Account(report=bill(children), at=NOW)
    pages.state.changed()


def some(failed: int, running: int) -> list[Job]:
    ended = [child(index, JobStatus.FAILED, reason=f"reason {index}") for index in range(failed)]
    return ended + [child(index, JobStatus.RUNNING) for index in range(failed, failed + running)]


def change(pages: WebPages, seen: Browser, children: list[Job], shown: str) -> None:
    """News of the children, until the page shows them."""
    put(pages, children)
    seen.page.locator("#r-progress", has_text=shown).wait_for()


def test_what_was_opened_typed_and_focused_is_still_there_after_an_update(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    put(pages, some(failed=1, running=30))
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        seen.page.locator("#r-progress", has_text="FAILED 1").wait_for()
        seen.page.get_by_text("What these figures are").click()
        seen.page.get_by_text("Cancel what is left").click()
        button = seen.page.get_by_role("button", name="Yes, stop it").element_handle()
        field = seen.page.get_by_label("Open child")
        field.fill("17")
        change(pages, seen, some(failed=3, running=20), "FAILED 3")
        assert button is not None
        assert button.evaluate("each => each.isConnected"), "who is about to press it must not press another"
        assert button.is_visible()
        assert seen.page.locator("#d-money").get_attribute("open") is not None
        assert field.input_value() == "17"
        assert field.evaluate("each => each === document.activeElement")
        assert seen.page.locator("#r-children").get_by_role("row", name="RUNNING 20").is_visible(), (
            "the rest is new there too"
        )
        seen.page.get_by_text("What these figures are").click()
        change(pages, seen, some(failed=4, running=19), "FAILED 4")
        assert seen.page.locator("#d-money").get_attribute("open") is None, "closed by hand stays closed"
        assert seen.complaints == []


def test_selected_text_stays_selected_even_where_it_changes(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    put(pages, some(failed=2, running=30))
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        reason = seen.page.get_by_text("exit code 1: reason 1")
        reason.evaluate(SELECT)
        change(pages, seen, [*some(failed=4, running=20)], "FAILED 4")
        assert seen.page.evaluate(SELECTED) == "exit code 1: reason 1"
        seen.page.locator("#r-progress .legend li", has_text="FAILED").locator("b").evaluate(SELECT)
        change(pages, seen, some(failed=4, running=11), "RUNNING 11")
        put(pages, some(failed=9, running=6))
        seen.page.locator("#r-progress", has_text="RUNNING 6").wait_for()
        assert seen.page.evaluate(SELECTED) == "4", "what is being copied is not changed below the hand"
        seen.page.evaluate("getSelection().removeAllRanges()")
        change(pages, seen, some(failed=9, running=5), "FAILED 9")
        assert seen.complaints == []


def test_the_keyboard_stays_where_it_was_in_the_heat_map(started: "Chromium", pages: WebPages, tmp_path: Path) -> None:
    put(pages, some(failed=2, running=30))
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        canvas = seen.page.locator("[data-heat] canvas")
        canvas.focus()
        for _ in range(5):
            seen.page.keyboard.press("ArrowRight")
        same = canvas.element_handle()
        assert same is not None
        change(pages, seen, some(failed=6, running=20), "FAILED 6")
        assert same.evaluate("each => each === document.activeElement")
        seen.page.keyboard.press("ArrowLeft")
        seen.page.keyboard.press("ArrowRight")
        assert "child 5 · FAILED" in seen.page.locator(".heat-said").inner_text(), "and it has the news"
        assert seen.complaints == []


def lines(first: int, last: int) -> list[LogEvent]:
    return [LogEvent(at=NOW + number, text=f"line {number}", stream="s") for number in range(first, last)]


def test_a_log_stays_where_it_was_scrolled_to_and_follows_its_end_otherwise(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    put(pages, some(failed=0, running=2), size=2)
    target = Target(kind="job", id=f"{ARRAY}:0")
    pages.state.detail(log_key(target)).log = lines(0, 300)
    with browser(started, tmp_path, size=PHONE) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}:0"))
        log = seen.page.locator(".log")
        until(lambda: bool(log.evaluate("each => each.scrollTop + each.clientHeight >= each.scrollHeight - 2")))
        log.evaluate("each => { each.scrollTop = 2000 }")
        before = log.evaluate("each => each.scrollTop")
        log.get_by_text("line 150", exact=True).evaluate(SELECT)
        seen.page.evaluate("window.scrollTo(0, 300)")
        at = seen.page.evaluate("window.scrollY")
        pages.state.detail(log_key(target)).log = lines(0, 320)
        pages.state.changed()
        log.get_by_text("line 319", exact=True).wait_for(state="attached")
        assert log.evaluate("each => each.scrollTop") == before
        assert seen.page.evaluate("window.scrollY") == at
        pages.state.detail(log_key(target)).log = lines(100, 420)  # the window moved on
        pages.state.changed()
        log.get_by_text("line 419", exact=True).wait_for(state="attached")
        assert seen.page.evaluate(SELECTED) == "line 150"
        log.evaluate("each => { each.scrollTop = each.scrollHeight }")
        pages.state.detail(log_key(target)).log = lines(100, 440)
        pages.state.changed()
        log.get_by_text("line 439", exact=True).wait_for(state="attached")
        until(lambda: bool(log.evaluate("each => each.scrollTop + each.clientHeight >= each.scrollHeight - 2")))
        assert seen.complaints == []


def test_the_page_stays_where_it_was_scrolled_to_when_something_grows_above(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    put(pages, some(failed=1, running=30))
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        money = seen.page.locator("#h-money")
        money.evaluate("each => window.scrollTo(0, each.getBoundingClientRect().top + scrollY - 200)")
        before = money.evaluate("each => each.getBoundingClientRect().top")
        change(pages, seen, some(failed=12, running=19), "FAILED 12")
        until(lambda: abs(money.evaluate("each => each.getBoundingClientRect().top") - before) < 3)
        assert seen.complaints == []


def test_what_is_searched_for_stands_in_the_address_and_stays_while_news_come(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    put(pages, some(failed=2, running=30))
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        rows = seen.page.locator("#r-table tbody tr")
        until(lambda: rows.count() == 40)
        search = seen.page.get_by_label("Search children")
        search.press_sequentially("1")
        until(lambda: rows.count() == 1)
        assert "?q=1" in seen.page.url
        assert search.evaluate("each => each === document.activeElement"), "one goes on typing"
        search.press_sequentially("7")
        until(lambda: rows.count() == 1 and "17" in rows.first.inner_text())
        change(pages, seen, some(failed=20, running=12), "FAILED 20")
        until(lambda: "FAILED" in rows.first.inner_text())
        assert rows.count() == 1
        seen.page.reload()
        until(lambda: rows.count() == 1)
        assert seen.page.get_by_label("Search children").input_value() == "17"
        seen.page.get_by_label("Search children").fill("")
        seen.page.get_by_label("Status").select_option("FAILED")
        until(lambda: rows.count() == 20)
        assert seen.page.url.endswith("?status=FAILED")
        assert seen.serious() == []
        assert seen.complaints == []


def test_forty_thousand_children_are_searched_and_updated_without_lag(
    started: "Chromium", pages: WebPages, tmp_path: Path
) -> None:
    """Four arrays of one run, all read; the limits leave room for a machine that is busy with other tests."""
    members = []
    for number in range(4):
        children = [child(index, JobStatus.SUCCEEDED) for index in range(10_000)]
        indexes = {"SPOTBATCH_ARRAY_INDEXES": f"{number * 10_000}-{number * 10_000 + 9_999}", "SPOTBATCH_RUN_ID": "r"}
        of = replace(counted(10_000, children), id=f"{number:08d}-0000-4000-8000-000000000000", environment=indexes)
        pages.state.take([of], NOW)
        pages.state.children_of(of)
        pages.state.take([replace(each, id=f"{of.id}:{each.array_index}") for each in children], NOW)
        members.append(of.id)
    pages.state.runs["r"] = tuple(members)
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url("/runs/r"))
        assert len(seen.page.locator("[data-heat]").get_attribute("data-heat") or "") == 40_000
        rows = seen.page.locator("#r-table tbody tr")
        seen.page.get_by_label("Search children").fill("39999")
        until(lambda: rows.count() == 1, seconds=10)
        assert seen.page.evaluate("document.querySelectorAll('*').length") < 1_200
        blocked = seen.page.evaluate(
            """async () => { const longest = []; const watch = new PerformanceObserver((list) => longest.push(
            ...list.getEntries().map((each) => each.duration))); watch.observe({ type: "longtask", buffered: true });
            await new Promise((done) => setTimeout(done, 1500)); return Math.max(0, ...longest); }"""
        )
        assert blocked < 1_000, f"the page stood still for {blocked:.0f} ms"
        assert seen.complaints == []


def test_a_page_is_below_three_screens_on_a_phone(started: "Chromium", pages: WebPages, tmp_path: Path) -> None:
    put(pages, [*some(failed=3, running=20), *(child(index, JobStatus.SUCCEEDED) for index in range(23, 40))])
    pages.state.last_lines = {f"{ARRAY}:{index}": tuple(f"line {n}" for n in range(5)) for index in range(3)}
    with browser(started, tmp_path, size=PHONE) as seen:
        seen.page.goto(pages.url(f"/jobs/{ARRAY}"))
        seen.page.locator("#r-money figure").wait_for()
        seen.picture("phone-array")
        height = seen.page.evaluate("document.documentElement.scrollHeight")
        assert height < 3 * PHONE[1], f"{height / PHONE[1]:.1f} screens"
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_two_runs_are_compared(started: "Chromium", pages: WebPages, tmp_path: Path) -> None:
    put(pages, some(failed=3, running=20))
    other = ARRAY.replace("0a", "0d", 1)
    of = replace(counted(5, [child(index, JobStatus.SUCCEEDED) for index in range(5)]), id=other, name="other")
    pages.state.take([of], NOW)
    pages.state.children_of(of)
    done = [replace(child(index, JobStatus.SUCCEEDED), id=f"{other}:{index}") for index in range(5)]
    pages.state.take(done, NOW)
    pages.state.accounts[other] = Account(report=bill(done), at=NOW)
    pages.state.is_listed = True
    with browser(started, tmp_path) as seen:
        seen.page.goto(pages.url(f"/compare?a=/jobs/{ARRAY}&b=/jobs/{other}"))
        figures = seen.page.get_by_role("table")
        figures.wait_for()
        assert "FAILED\t3\t0\t-100 %" in figures.inner_text()
        assert "other" in figures.inner_text()
        seen.picture("compare")
        assert seen.serious() == []
        assert seen.complaints == []
