"""Pages as HTML: other people's text stays text, 10,000 children stay small, and what is not asked for is not there."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spotbatch.aws.job_shapes import JobSummary
from spotbatch.aws.logs import LogEvent
from spotbatch.batch.job import ArrayProperties, Job
from spotbatch.batch.status import JobStatus
from spotbatch.doctor.case import Finding, Weight
from spotbatch.web.export import inline
from spotbatch.web.fetcher import log_key
from spotbatch.web.render import SCRIPTS
from spotbatch.web.state import State
from spotbatch.web.story import Findings, Story
from spotbatch.web.target import Target
from tests.unit.web_builders import ARRAY, NOW, TARGET, Shown, child, counted, pages_of, parent, shown

RUN = Target(kind="run", id="r")

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 40503 * 40503 }}"


class Tags(HTMLParser):
    """Every tag of a page, and every attribute."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]


def is_harmless(html: str) -> bool:
    found = Tags(html)
    return (
        "img" not in found.tags
        and not any(name.startswith("on") for name in found.attributes)
        and "1640493009" not in html
    )


def test_hostile_text_of_every_kind_stays_text() -> None:
    bad = replace(
        child(0, JobStatus.FAILED, interrupted=True, reason=EVIL),
        name=EVIL,
        status_reason=EVIL,
        queue=EVIL,
        definition=EVIL,
        tags={EVIL: EVIL},
        attempts=tuple(replace(each, reason=EVIL) for each in child(0, JobStatus.FAILED, reason=EVIL).attempts),
    )
    world = shown(replace(parent(2, FAILED=1, RUNNING=1), name=EVIL, status_reason=EVIL), [bad], with_bill=True)
    assert is_harmless(world.pages.page(TARGET).html)
    target = Target(kind="job", id=f"{ARRAY}:0")
    detail = world.state.detail(bad.id)
    finding = Finding(weight=Weight.CAUSE, cause=EVIL, evidence=EVIL, fix=EVIL)
    detail.findings = Findings(found=(finding,), unseen=(EVIL,))
    detail.story = Story(told={1: [(EVIL, EVIL)]}, input=EVIL, progress=EVIL)
    log = world.state.detail(log_key(target))
    log.log, log.log_stream = [LogEvent(at=NOW, text=EVIL, stream="s")], EVIL
    world.state.gaps = {EVIL: EVIL}
    assert is_harmless(world.pages.regions(target)["notice"])
    world.state.trouble = EVIL
    world.state.said = {target.id: (EVIL, NOW)}
    html = world.pages.page(target).html
    assert html.count("&lt;script&gt;alert(1)") >= 12
    assert is_harmless(html)
    assert Tags(html).tags.count("script") == len(SCRIPTS), "our own, and no other"


def test_characters_that_control_or_reverse_text_are_spelt_out_wherever_they_stand() -> None:
    bad = "\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07 \u202egnp.exe \x00"
    unit = replace(child(0, JobStatus.FAILED, reason=bad), name=bad, status_reason=bad, tags={bad: bad})
    world = shown(replace(parent(2, FAILED=1, RUNNING=1), name=bad), [unit])
    target = Target(kind="job", id=f"{ARRAY}:0")
    finding = Finding(weight=Weight.CAUSE, cause=bad, evidence=bad, fix=bad)
    detail = world.state.detail(unit.id)
    detail.findings, detail.story = Findings(found=(finding,)), Story(told={1: [(bad, bad)]}, input=bad)
    log = world.state.detail(log_key(target))
    log.log, log.log_stream = [LogEvent(at=NOW, text=bad, stream="s")], bad
    for html in (world.pages.page(target).html, world.pages.page(TARGET).html):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", html)
        assert "red\\x07 \\x1b]0;title\\x07 \\u202egnp.exe \\x00" in html


def test_the_list_stays_harmless_too() -> None:
    world = shown(parent(2), [])
    world.state.take_listed([JobSummary(id=f"x{EVIL}", name=EVIL, status=JobStatus.FAILED, created_at=NOW)])
    assert is_harmless(world.pages.page(Target(kind="list")).html)


def test_live_pages_have_no_inline_script_and_no_inline_style() -> None:
    world = shown(parent(30, RUNNABLE=30), [], with_bill=True)
    for target in (TARGET, Target(kind="list")):
        html = world.pages.page(target).html
        assert "<style" not in html
        assert "style=" not in html
        scripts = re.findall(r"<script[^>]*>", html)
        assert scripts == [f'<script src="/static/{name}" defer>' for name in SCRIPTS]


def ten_thousand() -> tuple[Job, list[Job]]:
    children = [child(index, JobStatus.SUCCEEDED, interrupted=index % 7 == 0) for index in range(6_000)]
    children += [child(index, JobStatus.FAILED, reason=f"reason {index % 3}") for index in range(6_000, 6_300)]
    children += [child(index, JobStatus.RUNNING) for index in range(6_300, 6_400)]
    return counted(10_000, children), children


def test_ten_thousand_children_are_few_elements_and_few_bytes() -> None:
    of, children = ten_thousand()
    world = shown(of, children, with_bill=True)
    html = world.pages.page(TARGET).html
    assert len(Tags(html).tags) < 1_700, "fifty rows, and no element for each child"
    assert len(html.encode()) < 250_000
    assert re.search(r'data-heat="[^"]{10000}"', html)


def test_news_of_ten_thousand_children_hold_what_changed_and_no_more() -> None:
    of, children = ten_thousand()
    world = shown(of, children)
    before = world.pages.regions(TARGET)
    world.state.take([replace(children[6_300], status=JobStatus.SUCCEEDED, stopped_at=NOW)], NOW)
    after = world.pages.regions(TARGET)
    assert {name for name in after if after[name] != before[name]} == {"children", "progress"}


def test_failures_are_told_by_their_reason_and_not_one_by_one() -> None:
    of, children = ten_thousand()
    html = shown(of, children).pages.regions(TARGET)["failures"]
    assert html.count("<li>") == 3
    assert "<b>100</b>" in html
    assert "exit code 1: reason 2" in html


def test_a_failure_names_the_input_that_it_stands_for() -> None:
    failed = child(3, JobStatus.FAILED, reason="<b>bad</b>")
    world = shown(parent(4, FAILED=1, RUNNING=3), [failed], with_bill=True)
    named = replace(world.state.accounts[ARRAY], inputs={failed.id: "s3://raw/<i>.csv"})
    world.state.accounts[ARRAY] = named
    assert "child 3 · <code>s3://raw/&lt;i&gt;.csv</code>" in world.pages.regions(TARGET)["failures"]


def test_forms_are_there_only_with_a_token() -> None:
    world = shown(parent(2, RUNNING=1, FAILED=1), [child(0, JobStatus.FAILED)])
    assert "<form method=" not in world.pages.page(TARGET).html.replace('<form class="goto" method="get"', "")
    with_token = replace(world.pages, csrf_token="t0k3n").page(TARGET).html
    assert with_token.count('name="token" value="t0k3n"') == 2
    assert 'action="/jobs/' in with_token


def test_ids_on_a_page_are_unique() -> None:
    of, children = ten_thousand()
    ids = Tags(shown(of, children, with_bill=True).pages.page(TARGET).html).ids
    assert len(ids) == len(set(ids))


def test_an_export_stands_for_itself() -> None:
    of, children = ten_thousand()
    html = shown(of, children, with_bill=True).pages.page(TARGET, inline=inline()).html
    assert re.findall(r'(?:href|src|action)="([^"]*)"', html) == ["#main"]
    assert "data-live" not in html
    assert "default-src &#39;none&#39;" in html


def test_a_page_without_answers_says_so_and_stays_up() -> None:
    world = shown(parent(2), [])
    world.state.trouble = "the local region does not answer"
    html = world.pages.page(Target(kind="job", id="unknown")).html
    assert "the local region does not answer" in html
    assert "Nothing is known of it yet." in html


def test_a_run_of_several_jobs_is_one_row_and_one_page() -> None:
    first = replace(parent(3, SUCCEEDED=3, status=JobStatus.SUCCEEDED), environment={"SPOTBATCH_RUN_ID": "my-run"})
    later = {"SPOTBATCH_ARRAY_INDEXES": "3-4", "SPOTBATCH_RUN_ID": "my-run"}
    second = replace(parent(2, RUNNING=2), id=ARRAY.replace("0a", "0b", 1), created_at=NOW - 10, environment=later)
    world = shown(first, [])
    world.state.take([second], NOW)
    world.state.take_listed(
        JobSummary(id=job.id, name=job.name, status=job.status, created_at=job.created_at) for job in (first, second)
    )
    rows = world.pages.regions(Target(kind="list"))["runs"]
    assert rows.count('<li class="run" ') == 1
    assert 'href="/runs/my-run"' in rows
    world.state.runs["my-run"] = (first.id, second.id)
    page = world.pages.page(Target(kind="run", id="my-run")).html
    assert "3 of 5" in page
    assert page.count("data-heat=") == 1, "one run, one heat map"
    assert 'data-heat="55544" data-indexes="0-4"' in page


def test_a_run_of_a_hundred_arrays_is_counted_whole_and_drawn_in_part() -> None:
    arrays = [
        replace(
            parent(10_000, RUNNABLE=10_000),
            id=f"{number:08d}-0000-4000-8000-000000000000",
            environment={"SPOTBATCH_ARRAY_INDEXES": f"{number * 10_000}-{number * 10_000 + 9_999}"},
        )
        for number in range(100)
    ]
    world = shown(arrays[0], [])
    world.state.take(arrays, NOW)
    world.state.runs["million"] = tuple(job.id for job in arrays)
    html = world.pages.page(Target(kind="run", id="million")).html
    assert "0 of 1,000,000" in html
    assert f'data-heat="{"2" * 40_000}" data-indexes="0-39999"' in html
    assert len(world.state.children) == 4


def test_a_very_long_line_of_a_log_is_cut_and_colours_are_left_out() -> None:
    world = shown(parent(2, RUNNING=2), [child(0, JobStatus.RUNNING)])
    target = Target(kind="job", id=f"{ARRAY}:0")
    world.state.detail(log_key(target)).log = [
        LogEvent(at=NOW, text="\x1b[31mred\x1b[0m" + "x" * 1_000_000, stream="s")
    ]
    html = world.pages.regions(target)["log"]
    assert len(html) < 4_000
    assert "redxxx" in html
    assert "1,000,003 characters" in html


def test_what_an_action_did_is_told_for_a_minute() -> None:
    world = shown(parent(2, RUNNING=2), [])
    world.state.said = {ARRAY: ("it is being stopped", NOW)}
    assert "it is being stopped" in world.pages.regions(TARGET)["head"]
    later = replace(world.pages, now=lambda: NOW + 61)
    assert "it is being stopped" not in later.regions(TARGET)["head"]


def test_pictures_are_drawn_once_for_a_bill() -> None:
    of, children = ten_thousand()
    world = shown(of, children, with_bill=True)
    account = world.state.accounts[ARRAY]
    drawn = world.pages.drawings.of(ARRAY, account)
    world.pages.regions(TARGET)
    assert world.pages.drawings.of(ARRAY, account)[0] is drawn[0]
    assert world.pages.drawings.of(ARRAY, replace(account))[0] is not drawn[0]


def run_of(arrays: int, size: int) -> Shown:
    """A run of several arrays, each half done."""
    state = State(as_of=NOW)
    half = {JobStatus.SUCCEEDED: size // 2, JobStatus.RUNNABLE: size - size // 2}
    whole = ArrayProperties(size=size, status_summary=half)
    jobs = [
        replace(
            parent(size),
            id=f"{number:08x}-0000-4000-8000-000000000001",
            array=whole,
            environment={"SPOTBATCH_ARRAY_INDEXES": f"{number * size}-{number * size + size - 1}"},
        )
        for number in range(arrays)
    ]
    state.take(jobs, NOW)
    state.runs["r"] = tuple(job.id for job in jobs)
    return Shown(state=state, pages=pages_of(state))


def test_a_run_shows_how_far_each_of_its_arrays_is_however_many_there_are() -> None:
    regions = run_of(30, 10_000).pages.regions(RUN)
    assert "150,000 of 300,000" in regions["progress"]
    assert regions["head"].count("<li>") == regions["head"].count("50 %") == 30
    assert 'href="/jobs/0000001d-0000-4000-8000-000000000001"' in regions["head"]
    assert 'data-indexes="0-39999"' in regions["children"]
    assert "The children of 26 more arrays are drawn on pages of their own" in regions["children"]


def test_many_small_arrays_are_all_drawn() -> None:
    children = run_of(30, 100).pages.regions(RUN)["children"]
    assert 'data-indexes="0-2999"' in children
    assert "pages of their own" not in children


def test_the_rate_of_a_run_counts_all_of_its_arrays() -> None:
    world = run_of(6, 10_000)
    for job in list(world.state.jobs.values()):
        more = {JobStatus.SUCCEEDED: 5_100, JobStatus.RUNNABLE: 4_900}
        world.state.take([replace(job, array=ArrayProperties(size=10_000, status_summary=more))], NOW + 60)
    assert world.state.units_per_second(world.state.members(RUN)) == pytest.approx(600 / 60)


def test_what_was_run_again_with_success_counts_no_more_as_failed() -> None:
    first = parent(12, status=JobStatus.FAILED, SUCCEEDED=11, FAILED=1)
    again = replace(
        child(0, JobStatus.SUCCEEDED),
        id="0a0a0a0a-0000-4000-8000-000000000002",
        environment={"SPOTBATCH_ARRAY_INDEXES": "7", "SPOTBATCH_RUN_ID": ARRAY},
    )
    world = shown(first, [])
    world.state.take([again], NOW)
    world.state.take_listed(
        JobSummary(id=job.id, name=job.name, status=job.status, created_at=job.created_at) for job in (first, again)
    )
    row = world.pages.regions(Target(kind="list"))["runs"]
    assert "12 of 12" in row
    assert "s-FAILED" not in row
    assert f"<code>{ARRAY[:8]}</code>" in row, "the id of a run is its first job's, and is shown as short"


def test_a_run_that_failed_says_how_many_did() -> None:
    of = parent(12, status=JobStatus.FAILED, SUCCEEDED=9, FAILED=3)
    world = shown(of, [])
    world.state.take_listed([JobSummary(id=of.id, name=of.name, status=of.status, created_at=of.created_at)])
    row = world.pages.regions(Target(kind="list"))["runs"]
    assert "<span>3 of 12</span>" in row
    assert "12 of 12 done: SUCCEEDED 9, FAILED 3" in row, "for who does not see the bar"


def test_money_that_ec2_waives_is_a_line_so_that_the_lines_add_up() -> None:
    world = shown(
        parent(2, SUCCEEDED=2), [child(0, JobStatus.SUCCEEDED), child(1, JobStatus.SUCCEEDED)], with_bill=True
    )
    account = world.state.accounts[ARRAY]
    assert "waived" not in world.pages.regions(TARGET)["money"]
    entries = tuple(replace(each, paid_usd=each.gross_usd / 2) for each in account.report.entries)
    world.state.accounts[ARRAY] = replace(account, report=replace(account.report, entries=entries))
    assert "waived in a host's first hour" in world.pages.regions(TARGET)["money"]


def test_a_run_that_was_repaired_is_one_story_by_its_own_indexes() -> None:
    failed = [child(index, JobStatus.FAILED, reason="bad file") for index in (3, 7, 8, 9)]
    done = [child(index, JobStatus.SUCCEEDED) for index in range(13) if index not in (3, 7, 8, 9)]
    first = replace(parent(13, status=JobStatus.FAILED, SUCCEEDED=9, FAILED=4), stopped_at=NOW - 60)
    again_id = ARRAY.replace("0a", "0b", 1)
    own = {"SPOTBATCH_ARRAY_INDEXES": "3,7-9", "SPOTBATCH_RUN_ID": ARRAY}
    again = replace(
        parent(4, status=JobStatus.FAILED, SUCCEEDED=3, FAILED=1), id=again_id, environment=own, created_at=NOW - 50
    )
    repaired = [
        replace(
            child(place, JobStatus.SUCCEEDED if place != 2 else JobStatus.FAILED, reason="worse"),
            id=f"{again_id}:{place}",
        )
        for place in range(4)
    ]
    world = shown(first, [*failed, *done])
    world.state.take([again], NOW)
    world.state.children_of(again)
    world.state.take(repaired, NOW)
    world.state.take_listed(
        JobSummary(id=job.id, name=job.name, status=job.status, created_at=job.created_at) for job in (first, again)
    )
    world.state.runs[ARRAY] = (first.id, again_id)
    row = world.pages.regions(Target(kind="list"))["runs"]
    page = world.pages.regions(Target(kind="run", id=ARRAY))
    assert "1 of 13" in row
    assert "s-FAILED" in row
    assert f'href="/runs/{ARRAY}"' in row
    assert "13 of 13" in page["progress"]
    assert "FAILED <b>1</b>" in page["progress"], "list and page agree"
    assert page["failures"].count("<li>") == 1
    assert "exit code 1: worse" in page["failures"]
    assert "child 8 ·" in page["failures"], "by the run's index, not by the place in the retry's array"
    assert 'data-indexes="0-12"' in page["children"]
    assert 'data-heat="555f555ff6f' not in page["children"]
    assert 'data-heat="555f555fgf555"' in page["children"], "f: SUCCEEDED, g: FAILED, both after more than one attempt"


def test_what_was_not_read_is_unknown_and_never_another_value() -> None:
    """10,000 ended children, of which a hundred were read."""
    children = [child(index, JobStatus.SUCCEEDED) for index in range(100)]
    of = parent(10_000, status=JobStatus.FAILED, SUCCEEDED=9_000, FAILED=1_000)
    world = shown(of, children, with_bill=True)
    world.state.accounts[ARRAY] = replace(world.state.accounts[ARRAY], unread=9_900)
    regions = world.pages.regions(TARGET)
    assert f'data-heat="{"5" * 100}{"." * 9_900}"' in regions["children"]
    assert re.search(r'dot unread"></span>not read yet</th><td class="num">9,900<', regions["children"])
    assert "at least: 100 of 10,000 read" in regions["progress"]
    assert "idle, or not read yet" in regions["hosts"]
    assert regions["money"].count("at least") >= 3
    assert "tile good" not in regions["money"] + regions["progress"], "no saving before the bill is whole"


def test_a_sum_that_may_grow_says_so() -> None:
    world = shown(parent(2, RUNNING=2), [child(0, JobStatus.RUNNING), child(1, JobStatus.RUNNING)], with_bill=True)
    world.state.accounts[ARRAY] = replace(world.state.accounts[ARRAY], is_over=False)
    money = world.pages.regions(TARGET)["money"]
    assert "USD · so far" in money
    whole = shown(
        parent(2, SUCCEEDED=2), [child(0, JobStatus.SUCCEEDED), child(1, JobStatus.SUCCEEDED)], with_bill=True
    )
    assert "so far" not in whole.pages.regions(TARGET)["money"]


def test_a_run_in_which_nothing_succeeded_saved_nothing() -> None:
    failed = [child(index, JobStatus.FAILED, reason="no") for index in range(3)]
    world = shown(parent(3, status=JobStatus.FAILED, FAILED=3), failed, with_bill=True)
    regions = world.pages.regions(TARGET)
    assert "tile good" not in regions["money"] + regions["progress"]
    assert "no work was done" in regions["money"]
