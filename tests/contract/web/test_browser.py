"""The dashboard in real Chromium: it loads, lives, survives the region's restart, and is accessible.

SPOTBATCH_SCREENSHOTS=folder keeps the pictures there, to be looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.cli_world import IMAGES, STACK, CliWorld, cli_world, template
from tests.contract.local_api_region import running, until
from tests.contract.web_world import PHONE, WIDE, Browser, WebWorld, browser, chromium, number_in, web_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium

pytestmark = pytest.mark.browser
STEPS = """cd $SPOTBATCH_CHECKPOINT_DIR; n=$(cat n 2>/dev/null || echo 0)
while [ $n -lt 8 ]; do n=$((n+1)); echo $n > n.new; mv n.new n; echo "step $n"
until [ $n -lt 4 ] || [ -e "$GATE" ]; do sleep 0.1; done; done
[ "$AWS_BATCH_JOB_ARRAY_INDEX" != 3 ]"""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A region in which an array has run, with a reclaim and a failure, and one that runs on; a dashboard for it."""

    world: CliWorld
    web: WebWorld
    chromium: "Chromium"
    ended: str
    blocked: str


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        chromium() as started,
        cli_world(tmp_path_factory.mktemp("browser")) as world,
        web_world(world, "--actions") as web,
    ):
        gate = tmp_path_factory.mktemp("gate") / "open"  # the steps wait there until the reclaim is over
        ended = world.submit("--name", "steps", "--array", "12", "--env", f"GATE={gate}", "--", "sh", "-c", STEPS)
        until(lambda: is_running(world, ended))
        until(lambda: "step 4" in world.run("logs", f"{ended}:0", code=None).out)
        busy = next(host.instance_id for host in world.admin.hosts() if host.running)
        assert world.admin.interrupt(instance_ids=[busy], notice_seconds=3)
        until(lambda: any(host.instance_id == busy and host.ended_at for host in world.admin.hosts()))
        gate.touch()
        world.wait(ended)
        blocked = world.submit("--no-check", "--name", "too-big", "--vcpus", "64", "--memory", "900G", "--", "true")
        yield Stage(world=world, web=web, chromium=started, ended=ended, blocked=blocked)


def is_running(world: CliWorld, array: str) -> bool:
    """Whether all children of the array run, so that whichever host is reclaimed has one on it."""
    described = world.region.client("batch").describe_jobs(jobs=[array])["jobs"][0]
    return bool(described["arrayProperties"]["statusSummary"].get("RUNNING") == 12)


def heard(seen: Browser, count: int) -> None:
    """Wait until so many news came."""
    until(lambda: news(seen) >= count)  # the page's policy allows no script that is evaluated from a string


def news(seen: Browser) -> int:
    return int(seen.page.locator("body").get_attribute("data-heard") or 0)


def test_the_list_leads_to_a_run_and_the_run_to_a_child(stage: Stage, tmp_path: Path) -> None:
    with browser(stage.chromium, tmp_path) as seen:
        seen.page.goto(stage.web.printed)
        seen.page.get_by_role("link", name="steps").wait_for()
        seen.picture("list")
        assert "key=" not in seen.page.url
        seen.page.get_by_role("link", name="steps").click()
        seen.page.get_by_role("heading", name="Hosts").wait_for()
        seen.page.get_by_role("heading", name="Money").wait_for()
        assert seen.page.locator("path.reclaim").count() >= 1, "the reclaim is marked"
        seen.page.locator("#r-failures").get_by_text("exit code 1").first.wait_for()
        seen.picture("array")
        seen.page.get_by_role("link", name="attempts and log").click()
        seen.page.get_by_text("step 8", exact=True).wait_for()
        seen.page.locator("#r-findings").get_by_text("the command itself failed").first.wait_for()
        seen.picture("child")
        assert seen.complaints == []


def test_an_interrupted_child_tells_of_its_notice_and_what_it_resumed_from(stage: Stage, tmp_path: Path) -> None:
    with browser(stage.chromium, tmp_path) as seen:
        seen.page.goto(stage.web.url(f"/jobs/{stage.ended}"))
        index = number_in(seen.page.get_by_role("row", name="more attempts").inner_text())
        seen.page.get_by_label("Open child").fill(str(index))
        seen.page.get_by_role("button", name="Open").click()
        attempts = seen.page.locator("#r-attempts")
        attempts.get_by_text("from checkpoint").wait_for()
        told = attempts.inner_text()
        assert "interrupted" in told
        assert "Notice" in told
        assert "Resumed" in told
        seen.picture("resumed")
        assert seen.complaints == []


def test_a_page_lives_while_jobs_run(stage: Stage, tmp_path: Path) -> None:
    go = tmp_path / "go"
    stage.world.run("cancel", stage.blocked, "--yes")  # it would hold up the queue
    script = f'echo started; until [ -e {go} ] || [ "$AWS_BATCH_JOB_ARRAY_INDEX" = 1 ]; do sleep 0.1; done'
    job = stage.world.submit("--name", "living", "--array", "4", "--", "sh", "-c", script)
    with browser(stage.chromium, tmp_path) as seen:
        seen.page.goto(stage.web.url(f"/jobs/{job}"))
        seen.page.locator("#r-progress", has_text=re.compile(r"RUNNING 3\D")).wait_for()
        seen.page.locator("#r-progress", has_text=re.compile(r"SUCCEEDED 1\D")).wait_for()
        seen.picture("live")
        go.touch()
        seen.page.locator("#r-progress", has_text="100 %").wait_for()
        assert seen.page.locator("#r-head .chip").inner_text() == "SUCCEEDED"
        assert seen.complaints == []


def test_a_heat_map_is_one_canvas_and_its_children_are_reached_by_keyboard(stage: Stage, tmp_path: Path) -> None:
    with browser(stage.chromium, tmp_path) as seen:
        seen.page.goto(stage.web.url(f"/jobs/{stage.ended}"))
        canvas = seen.page.locator("[data-heat] canvas")
        canvas.focus()
        for key in ("End", "Home", "ArrowRight", "ArrowRight", "ArrowRight"):
            seen.page.keyboard.press(key)
        assert "child 3 · FAILED" in seen.page.locator(".heat-said").inner_text()
        seen.picture("keyboard")
        heard(seen, news(seen) + 1)
        assert seen.page.evaluate("document.activeElement.tagName") == "CANVAS", "news do not steal the focus"
        seen.page.keyboard.press("Enter")
        seen.page.wait_for_url(f"**/jobs/{stage.ended}:3")
        assert seen.complaints == []


@pytest.mark.parametrize(
    ("name", "size", "dark"), [("light", WIDE, False), ("dark", WIDE, True), ("phone", PHONE, False)]
)
def test_axe_finds_nothing_serious(stage: Stage, tmp_path: Path, name: str, size: tuple[int, int], dark: bool) -> None:
    pages = {"list": "/", "array": f"/jobs/{stage.ended}", "child": f"/jobs/{stage.ended}:3"}
    with browser(stage.chromium, tmp_path, size=size, dark=dark) as seen:
        for page, path in pages.items():
            seen.page.goto(stage.web.url(path))
            wanted = "Runs" if page == "list" else "Money"
            seen.page.get_by_role("heading", name=wanted, exact=True).wait_for()
            seen.picture(f"{page}-{name}")
            assert seen.serious() == [], page
            assert seen.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
                f"{page} is too wide"
            )
        assert seen.complaints == []


def test_cancel_asks_first_and_acts_from_the_page(stage: Stage, tmp_path: Path) -> None:
    job = stage.world.submit("--name", "endless", "--", "sh", "-c", "while :; do sleep 0.2; done")
    with browser(stage.chromium, tmp_path) as seen:
        seen.page.goto(stage.web.url(f"/jobs/{job}"))
        assert not seen.page.get_by_role("button", name="Yes, stop it").is_visible()
        seen.page.get_by_text("Cancel …").click()
        seen.page.get_by_role("button", name="Yes, stop it").click()
        seen.page.get_by_text("endless is being stopped").wait_for()
        assert stage.world.wait(job) == "FAILED"
        seen.page.locator("#r-head .chip.s-FAILED").wait_for()
        seen.page.get_by_text("somebody stopped it").wait_for()
        assert seen.complaints == []


def test_an_export_opens_from_the_disk_and_asks_nothing_of_the_network(stage: Stage, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    stage.world.run("dashboard", "--run", stage.ended, "--export", str(report))
    with browser(stage.chromium, tmp_path, offline=True) as seen:
        seen.page.goto(report.as_uri())
        assert seen.page.get_by_role("heading", name="steps").is_visible()
        for heading in ("Failures", "Hosts", "Money"):
            assert seen.page.get_by_role("heading", name=heading, exact=True).is_visible()
        assert seen.page.locator("[data-heat] canvas").count() == 1
        seen.picture("export")
        assert seen.serious() == []
        assert seen.requests == [report.as_uri()]
        assert seen.complaints == []


def test_ten_thousand_children_are_drawn_with_few_elements(stage: Stage, tmp_path: Path) -> None:
    job = stage.world.submit(
        "--name", "many", "--array", "10000", "--no-check", "--vcpus", "64", "--memory", "900G", "--", "true"
    )
    try:
        with browser(stage.chromium, tmp_path) as seen:
            seen.page.goto(stage.web.url(f"/jobs/{job}"))
            seen.page.locator("[data-heat] canvas").wait_for()
            heard(seen, 2)
            assert len(seen.page.locator("[data-heat]").get_attribute("data-heat") or "") == 10_000
            assert int(seen.page.evaluate("document.querySelectorAll('*').length")) < 1_000
            seen.picture("ten-thousand")
            assert seen.complaints == []
    finally:
        stage.world.run("cancel", job, "--yes")


def test_a_page_survives_the_restart_of_the_region_and_says_so_meanwhile(stage: Stage, tmp_path: Path) -> None:
    home = tmp_path / "home"
    images = tmp_path / "images.toml"
    images.write_text(IMAGES)
    options = ("--boot-seconds", "0.05", "--images", str(images))
    with browser(stage.chromium, tmp_path / "pictures") as seen:
        with running(home, *options) as region:
            region.admin.load_stack(STACK, template())
            world = CliWorld(region=region, home=home)
            job = world.submit("--name", "before", "--", "sh", "-c", "echo here; sleep 600")
            dashboard = web_world(world)
            web = dashboard.__enter__()
            seen.page.goto(web.url(f"/jobs/{job}"))
            seen.page.locator("#r-log", has_text="here").wait_for()
        try:
            seen.page.get_by_text("No answer.").wait_for()
            assert "before" in seen.page.locator("h1").inner_text(), "what is known stays"
            seen.picture("no-answer")
            with running(home, *options) as region:
                seen.page.locator(".trouble").wait_for(state="detached")
                CliWorld(region=region, home=home).run("cancel", job, "--yes")
                seen.page.locator("#r-head .chip.s-FAILED").wait_for()
            assert seen.complaints == []
        finally:
            dashboard.__exit__(None, None, None)
