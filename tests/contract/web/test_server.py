"""The dashboard's server in front of a real local region: who may ask, what it changes, and how often it asks AWS."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from spotbatch.aws import session
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.errors import Unavailable
from spotbatch.loopback import bind
from spotbatch.web import fetcher
from spotbatch.web.choice import Choice
from spotbatch.web.poller import Poller
from spotbatch.web.rate_limit import SECONDS_A_CALL
from spotbatch.web.render import Pages
from spotbatch.web.scope import Scope
from spotbatch.web.state import State
from spotbatch.web.target import Target
from tests.contract.cli_world import IMAGES, STACK, CliWorld, cli_world, template
from tests.contract.local_api_region import running, until
from tests.contract.web_world import WebWorld, local_settings, web_world

EVIL = "<script>alert(1)</script>"
FOREVER = ("sh", "-c", "while :; do sleep 0.2; done")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture(scope="module")
def web(world: CliWorld) -> Iterator[WebWorld]:
    with web_world(world) as made:
        yield made


@pytest.fixture(scope="module")
def acting(world: CliWorld) -> Iterator[WebWorld]:
    with web_world(world, "--actions") as made:
        yield made


def test_a_browser_without_the_key_sees_nothing(web: WebWorld) -> None:
    for path in ("/", "/live", "/static/live.js", "/jobs/x"):
        assert web.ask(path, headers={"Cookie": ""}).status == 403
    assert web.ask("/?key=wrong", headers={"Cookie": ""}).status == 403
    assert web.ask("/", headers={"Cookie": f"spotbatch-{web.port}=wrong"}).status == 403


def test_the_printed_link_becomes_a_cookie_and_leaves_the_address(web: WebWorld) -> None:
    answer = web.ask(f"/jobs/x?attempt=2&key={web.key}", headers={"Cookie": ""})
    assert (answer.status, answer.headers["location"]) == (303, "/jobs/x?attempt=2")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(web.cookie)
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_a_key_does_not_lead_to_another_server(web: WebWorld) -> None:
    answer = web.ask(f"//elsewhere.example/x?key={web.key}", headers={"Cookie": ""})
    assert answer.headers.get("location", "/").startswith("/x")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_hosts_and_other_origins_are_refused_even_with_the_cookie(web: WebWorld, headers: dict[str, str]) -> None:
    assert web.ask("/", headers=headers).status == 403


def test_it_listens_on_this_machine_only(web: WebWorld) -> None:
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    addresses = re.findall(rf"^\s*\d+: ([0-9A-F]+):{web.port:04X} [0-9A-F]+:0000 0A", listening, re.MULTILINE)
    assert addresses == ["0100007F"]


def test_every_answer_has_a_policy_that_allows_no_inline_script(web: WebWorld) -> None:
    for path in ("/", "/static/live.js", "/not-there", "/static/../app.py"):
        answer = web.ask(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert web.ask("/static/..%2fapp.py").status == 404


def test_without_the_flag_the_routes_that_change_something_do_not_exist(world: CliWorld, web: WebWorld) -> None:
    job = world.submit("--", *FOREVER)
    origin = {"Origin": f"http://127.0.0.1:{web.port}"}
    for action in ("cancel", "retry"):
        assert web.ask(f"/jobs/{job}/{action}", method="POST", body="token=x", headers=origin).status == 404
    assert "<form method=" not in web.ask(f"/jobs/{job}").text.replace('<form class="goto"', "")
    world.run("cancel", job, "--yes")


def test_an_action_wants_post_the_token_and_the_origin(world: CliWorld, acting: WebWorld) -> None:
    job = world.submit("--", *FOREVER)
    token = form_token(acting, job)
    origin = {"Origin": f"http://127.0.0.1:{acting.port}"}
    path = f"/jobs/{job}/cancel"
    assert acting.ask(path).status == 405
    assert acting.ask(path, method="POST", body=f"token={token}").status == 403, "no Origin"
    assert acting.ask(path, method="POST", body="token=wrong", headers=origin).status == 403
    assert acting.ask(path, method="POST", body="", headers=origin).status == 403
    assert acting.ask(path, method="POST", body=f"token={acting.key}", headers=origin).status == 403, "not the key"
    assert acting.ask(path, method="POST", body=f"token={token}", headers={**origin, "Cookie": ""}).status == 403
    assert acting.ask(path, method="POST", body="x" * 100_000, headers=origin).status == 403
    assert status_of(world, job) not in ("SUCCEEDED", "FAILED"), "nothing was changed so far"
    answer = acting.ask(path, method="POST", body=f"token={token}", headers=origin)
    assert (answer.status, answer.headers["location"]) == (303, f"/jobs/{job}")
    assert world.wait(job) == "FAILED"
    assert "is being stopped" in acting.ask(f"/jobs/{job}").text


def test_what_failed_is_run_again_from_the_page(world: CliWorld, acting: WebWorld, tmp_path: Path) -> None:
    job = world.submit("--name", "again", "--array", "2", "--", "sh", "-c", f"[ -e {tmp_path / 'fixed'} ]")
    world.wait(job)
    (tmp_path / "fixed").touch()
    token = form_token(acting, job)
    origin = {"Origin": f"http://127.0.0.1:{acting.port}"}
    assert acting.ask(f"/jobs/{job}/retry", method="POST", body=f"token={token}", headers=origin).status == 303
    said = acting.ask(f"/jobs/{job}").text
    new = re.search(r"2 run again from their checkpoints, as ([0-9a-f-]{36})", said)
    assert new is not None, said
    assert world.wait(new[1]) == "SUCCEEDED"


def form_token(web: WebWorld, job: str) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', web.ask(f"/jobs/{job}").text)
    assert found is not None
    return found[1]


def status_of(world: CliWorld, job: str) -> str:
    return str(world.region.client("batch").describe_jobs(jobs=[job])["jobs"][0]["status"])


def test_a_job_that_is_not_there_is_a_404_with_the_reason(web: WebWorld) -> None:
    answer = web.ask("/jobs/00000000-0000-4000-8000-000000000000")
    assert answer.status == 404
    assert "there is no job" in answer.text
    assert web.ask("/jobs/%3Cscript%3E").headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/{job}:abc",
        "/jobs/{job}:%C2%B2",
        "/jobs/{job}:99999999999999999999",
        "/jobs/{job}:-1",
        "/jobs/{job}?attempt=%C2%B2",
        "/jobs/{job}?attempt=99",
        "/jobs/{job}/child?index=%C2%B2",
        "/jobs/{job}/child?index=" + "9" * 6000,
        "/jobs/{job}/child?index=77",
        "/jobs/{job}/child",
        "/jobs/" + "x" * 5000,
        "/jobs/..%2f..%2fetc%2fpasswd",
        "/runs/nobody",
        "/runs/a:b",
        "/runs/%00",
        "/live/elsewhere/x",
        "/static/%2e%2e/app.py",
    ],
)
def test_strange_addresses_are_answered_and_break_nothing(world: CliWorld, web: WebWorld, path: str) -> None:
    job = world.submit("--name", "strange", "--array", "2", "--", "true")
    assert web.ask(f"/jobs/{job}").status == 200
    if path.startswith("/live"):
        assert web.ask(path).status == 404
    else:
        assert web.ask(path.format(job=job)).status in (200, 303, 400, 404)
    assert web.ask(f"/jobs/{job}").status == 200


def test_logs_and_tags_from_hostile_jobs_are_text(world: CliWorld, web: WebWorld) -> None:
    job = world.submit("--name", "evil", "--tag", f"k={EVIL}", "--", "sh", "-c", f"echo '{EVIL}'; exit 3")
    world.wait(job)
    news = listen(web, f"/live/jobs/{job}", lambda found: "alert" in found.get("log", "") and "attempts" in found)
    assert EVIL not in "".join(news.values())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in news["log"]
    assert EVIL not in web.ask(f"/jobs/{job}").text
    assert "exit code 3" in news["attempts"]


def test_a_page_gets_news_until_the_job_has_ended(world: CliWorld, web: WebWorld, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = world.submit("--array", "3", "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.1; done")
    listen(web, f"/live/jobs/{job}", lambda found: "RUNNING <b>3</b>" in found.get("progress", ""))
    go.touch()
    news = listen(web, f"/live/jobs/{job}", lambda found: "SUCCEEDED <b>3</b>" in found.get("progress", ""))
    assert "100 %" in news["progress"]
    assert 'data-heat="555"' in news["children"]


def listen(
    web: WebWorld, path: str, is_enough: Callable[[dict[str, str]], bool], seconds: float = 30.0
) -> dict[str, str]:
    """All regions of a page as its news bring them, until they satisfy."""
    regions: dict[str, str] = {}
    deadline = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", web.port), timeout=seconds) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nCookie: {web.cookie}\r\n\r\n"
        connection.sendall(head.encode())
        with connection.makefile("rb") as stream:
            for line in stream:
                assert time.monotonic() < deadline, f"nothing came in {seconds} s: {regions}"
                if line.startswith(b"data: "):
                    regions |= json.loads(line.removeprefix(b"data: "))
                    if is_enough(regions):
                        return regions
    raise AssertionError(f"the news ended: {regions}")


def test_nobody_looks_then_nobody_is_asked(world: CliWorld) -> None:
    with local_settings(world.home):
        poller = Poller(state=State(), scope=Scope(stack=STACK))
        before = session.calls_made()
        assert poller.turn() > 1000
        assert session.calls_made() == before


def test_trends_read_the_bills_of_ended_runs_one_after_the_other_and_then_rest(world: CliWorld) -> None:
    jobs = [world.submit("--name", "weekly", "--array", "2", "--", "true") for _ in range(2)]
    for job in jobs:
        world.wait(job)
    with local_settings(world.home):
        now = [0.0]
        state = State()
        scope = Scope(stack=STACK, queue=Jobs().get(jobs[0]).queue)
        poller = Poller(state=state, scope=scope, clock=lambda: now[0], is_local=lambda: True)
        target = Target(kind="trends", id="weekly")
        poller.load(target)
        state.watched[target] += 1
        for _ in range(60):
            now[0] += poller.turn()
            if all(job in state.accounts and state.accounts[job].is_over for job in jobs):
                break
        assert all(state.accounts[job].report.attempts for job in jobs), state.gaps
        html = Pages(state=state, scope=scope).regions(target, Choice(search="weekly"))["trends"]
        assert html.count("not read yet") == 0
        assert f'href="/compare?a=/jobs/{jobs[0]}' in html or f'href="/compare?a=/jobs/{jobs[1]}' in html


def test_an_array_of_ten_thousand_costs_less_than_one_call_a_second(world: CliWorld, tmp_path: Path) -> None:
    """The clock is the test's own: half an hour of looking at an array that cannot start, and at one that runs."""
    blocked = world.submit("--name", "many", "--array", "10000", "--vcpus", "2", "--", *FOREVER)
    try:
        with local_settings(world.home):
            now = [0.0]
            state = State()
            poller = Poller(state=state, scope=Scope(stack=STACK), clock=lambda: now[0], is_local=lambda: False)
            before = session.calls_made()
            target = Target(kind="job", id=blocked)
            poller.load(target)
            state.watched[target] += 1
            turns = 0
            while now[0] < 120:
                wait = poller.turn()
                now[0] += wait
                turns += wait == 0
            calls = session.calls_made() - before
            assert calls <= 120 / SECONDS_A_CALL + 20, calls
            assert turns > 20
            statuses = state.children_of(state.members(target)[0]).statuses()
            assert len(statuses) == 10_000
            assert None not in statuses
    finally:
        world.run("cancel", blocked, "--yes")


def test_the_poller_says_that_nobody_answers_and_goes_on_when_somebody_does(tmp_path: Path) -> None:
    home = tmp_path / "home"
    images = tmp_path / "images.toml"
    images.write_text(IMAGES)
    now = [0.0]
    with contextlib.ExitStack() as settings:
        with running(home, "--images", str(images)) as region:
            region.admin.load_stack(STACK, template())
            first = CliWorld(region=region, home=home)
            target = Target(kind="job", id=first.submit("--", "true"))
            first.wait(target.id)
            settings.enter_context(local_settings(home))
            poller = Poller(state=State(), scope=Scope(stack=STACK), clock=lambda: now[0])
            poller.state.watched[target] += 1
        poller.load(target)
        assert "spotbatch local up" in poller.state.trouble
        assert poller.state.find(target.id) is None
        with running(home, "--images", str(images)):
            poller.load(target)
            assert poller.state.find(target.id) is not None
            while poller.state.trouble and now[0] < 60:
                now[0] += poller.turn()
            assert not poller.state.trouble


def test_a_port_that_is_taken_is_an_error_with_the_fix() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(Unavailable, match="--port"):
            bind([int(other.getsockname()[1])], backlog=5)


def test_what_has_ended_is_read_once_and_then_left_alone(world: CliWorld) -> None:
    job = world.submit("--name", "over", "--array", "5", "--", "true")
    world.wait(job)
    with local_settings(world.home):
        now = [0.0]
        poller = Poller(state=State(), scope=Scope(stack=STACK), clock=lambda: now[0], is_local=lambda: False)
        target = Target(kind="job", id=job)
        before = session.calls_made()
        poller.load(target)
        poller.state.watched[target] += 1
        while now[0] < 600:
            now[0] += poller.turn()
        assert poller.state.accounts[job].report.paid_usd > 0
        assert session.calls_made() - before < 40, "ten minutes of looking at a finished array"


def test_the_list_is_whole_when_it_is_first_shown(world: CliWorld) -> None:
    job = world.submit("--name", "first-seen", "--", "true")
    world.wait(job)
    with web_world(world) as own:
        text = own.ask("/").text
    row = text[text.index("first-seen") :].partition("</li>")[0]
    assert "1 of 1" in row


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    job = world.submit("--name", "half-seen", "--array", "2", "--", "true")
    world.wait(job)

    def refused(*_: object, **__: object) -> NoReturn:
        raise Unavailable("the kept prices cannot be read: delete the file")

    with local_settings(world.home):
        now = [0.0]
        monkeypatch.setattr(fetcher, "account_of", refused)
        poller = Poller(state=State(), scope=Scope(stack=STACK), clock=lambda: now[0])
        target = Target(kind="job", id=job)
        poller.state.watched[target] += 1
        poller.load(target)
        asked = 0
        while now[0] < 30:
            wait = poller.turn()
            asked += wait == 0
            now[0] += wait
        assert poller.state.gaps == {"money": "the kept prices cannot be read: delete the file"}
        assert not poller.state.trouble
        assert asked < 10, "it is not tried all the time"
        page = Pages(state=poller.state, scope=Scope()).page(target).html
        assert "Not read: money. the kept prices cannot be read" in page
        assert "2 of 2" in page


def test_ctrl_c_ends_it_though_a_page_is_open(world: CliWorld) -> None:
    with contextlib.ExitStack() as stack:
        with web_world(world) as own:  # its end asserts a clean one within its limit
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", own.port), timeout=30))
            connection.sendall(
                f"GET /live HTTP/1.1\r\nHost: 127.0.0.1:{own.port}\r\nCookie: {own.cookie}\r\n\r\n".encode()
            )
            stream = stack.enter_context(connection.makefile("rb"))
            assert b"data: " in b"".join(stream.readline() for _ in range(20))
        assert own.process.returncode == 0


def test_an_export_names_what_it_cannot_do(world: CliWorld, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    assert "--run" in world.run("dashboard", "--export", str(report), code=2).err
    assert "there is no" in world.run("dashboard", "--run", "nobody", "--export", str(report), code=3).err
    job = world.submit("--name", "kept", "--", "true")
    world.wait(job)
    assert (
        "cannot be written" in world.run("dashboard", "--run", job, "--export", str(tmp_path / "no" / "x"), code=2).err
    )
    assert not report.exists()
    assert world.run("dashboard", "--run", "kept", "--export", str(report)).out.strip() == str(report)
    text = report.read_text()
    assert "kept" in text
    assert "Attempt 1 of" in text


def test_the_pages_of_a_run_named_at_the_start_need_no_list(world: CliWorld) -> None:
    job = world.submit("--name", "named", "--", "true")
    with web_world(world, "--run", "named") as own:
        assert f"/jobs/{job}?key=" in own.printed
        assert "named" in own.ask(f"/jobs/{job}").text


def test_open_gives_the_link_to_the_browser(world: CliWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked.new && mv {tmp_path}/asked.new {tmp_path}/asked\n')
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(script))
    with web_world(world, "--open") as own:
        until(lambda: (tmp_path / "asked").exists())
        assert (tmp_path / "asked").read_text().strip() == own.printed
