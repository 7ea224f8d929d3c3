"""The page of a real run: one story, by the run's indexes, and the same money as `spotbatch cost`."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.web.fetcher import Fetcher
from spotbatch.web.poller import Poller
from spotbatch.web.render import Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.target import Target
from tests.contract.cli_world import STACK, CliWorld, cli_world
from tests.contract.local_api_region import until
from tests.contract.web_world import local_settings


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("story")) as made:
        yield made


def regions_of(target: Target) -> dict[str, str]:
    """A page's parts once all is read that there is to read."""
    poller = Poller(state=State(), scope=Scope(stack=STACK))
    poller.load(target)
    poller.fetcher.list_jobs()
    poller.fetcher.account(target)
    return Pages(state=poller.state, scope=poller.scope).regions(target)


def tile(html: str, label: str) -> str:
    found = re.search(rf"<dt>{label}</dt><dd>([^<]*)<", html)
    assert found is not None, html
    return found[1]


def test_a_run_that_was_repaired_is_succeeded_and_costs_what_the_command_says(world: CliWorld, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    names = tmp_path / "names.txt"
    names.write_text("".join(f"logs/app-{number:03d}.log\n" for number in range(6)))
    bad = f'case "$SPOTBATCH_INPUT" in *001*|*004*) [ -e {fixed} ];; esac'
    world.run("submit", "--name", "repair", "--inputs", str(names), "--", "sh", "-c", bad)
    until(lambda: world.run("watch", "repair", code=None).code is not None)
    fixed.touch()
    again = world.run("retry", "repair").out.strip()
    assert world.wait(again) == "SUCCEEDED"
    before = json.loads(world.run("cost", "repair", "--json").out)
    with local_settings(world.home):
        fetcher = Fetcher(state=State(), scope=Scope(stack=STACK))
        run_id = fetcher.run_of(fetcher.jobs.get(again))[0].environment["SPOTBATCH_RUN_ID"]
        page = regions_of(Target(kind="run", id=run_id))
    assert "SUCCEEDED <b>6</b>" in page["progress"]
    assert "FAILED" not in page["progress"]
    assert page["failures"].strip() == ""
    assert 'data-heat="5f55f5" data-indexes="0-5"' in page["children"]
    after = json.loads(world.run("cost", "repair", "--json").out)
    assert len(before["job_ids"]) == 2, "the command means the whole run too"
    paid = float(tile(page["money"], "Paid for hosts"))
    first, last = (round(float(each["paid_usd"]), 6) for each in (before, after))
    rounding = 2e-6  # the page shows six places
    assert first - rounding <= paid <= last + rounding, "the hosts may still be there, and cost more each second"
    assert last - first < 0.1 * last, "so the two bills leave room for one figure only"


def test_ten_thousand_ended_children_are_all_read_when_the_region_is_on_this_machine(world: CliWorld) -> None:
    job = world.submit("--name", "many", "--array", "10000", "--vcpus", "2", "--", "sleep", "600")
    world.run("cancel", job, "--yes")
    assert world.wait(job) == "FAILED"
    with local_settings(world.home):
        poller = Poller(state=State(), scope=Scope(stack=STACK))
        target = Target(kind="job", id=job)
        poller.load(target)
        children = poller.state.children_of(poller.state.members(target)[0])
        deadline = time.monotonic() + 60
        while children.unread and time.monotonic() < deadline:
            poller.fetcher.read_children(target, 2.0)
        page = Pages(state=poller.state, scope=poller.scope).regions(target)
    assert "not read yet" not in page["children"]
    assert "at least" not in page["progress"]
