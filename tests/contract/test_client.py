"""The Python client against a real local region: what the command line can do, a program can do."""

import asyncio
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import boto3
import pytest

from spotbatch import Client, InvalidInput, JobFailed, JobRequest, NotFound, Run, Unavailable
from spotbatch.aws import session
from spotbatch.batch.status import JobStatus
from tests.contract.cli_world import CliWorld, cli_world
from tests.contract.local_api_region import until

WRITE = 'echo "line of $SPOTBATCH_INPUT"; echo "$SPOTBATCH_INPUT" > $SPOTBATCH_OUTPUT_DIR/name'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("client")) as made:
        yield made


@pytest.fixture
def client(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> Client:
    """In a process whose own AWS settings name a place that is not there."""
    monkeypatch.setenv("SPOTBATCH_HOME", str(world.home))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_PROFILE", "there-is-none")
    return Client(local=True)


@pytest.fixture(autouse=True)
def _says_nothing(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """A library does not print."""
    yield
    assert capfd.readouterr() == ("", "")


def test_work_is_submitted_waited_for_and_its_results_logs_and_bill_are_fetched(client: Client, tmp_path: Path) -> None:
    run = client.submit(["sh", "-c", WRITE], name="fruit", inputs=["apple", "pear"], vcpus=1, memory="256M", retries=5)
    ended = run.wait(timeout=60)
    assert (ended.counts[JobStatus.SUCCEEDED], ended.total) == (2, 2)
    found = run.results(tmp_path)
    assert (found.files, found.fetched, found.missing) == (2, 2, ())
    assert (tmp_path / "00001" / "name").read_text() == "pear\n"
    assert [event.text for event in run.logs(index=1)] == ["line of pear"]
    bill = run.cost()
    assert 0 < bill.paid_usd < bill.on_demand_usd
    assert run.failures() == []


def test_following_yields_each_change_once_and_last_the_end(client: Client) -> None:
    run = client.submit(["sh", "-c", "sleep 1"], array=3)
    looks = list(run.follow(timeout=60))
    assert [look.is_last for look in looks] == [False] * (len(looks) - 1) + [True]
    assert looks[-1].progress.counts[JobStatus.SUCCEEDED] == 3
    states = [look.progress.counts for look in looks[:-1]]
    assert all(a != b for a, b in pairwise(states)), "what has not changed is not yielded"


def test_what_failed_is_told_and_run_again_as_the_same_run(client: Client, world: CliWorld, tmp_path: Path) -> None:
    fixed = tmp_path / "fixed"
    script = f'[ -e {fixed} ] || [ "$SPOTBATCH_INPUT" != pear ] || exit 1; {WRITE}'
    run = client.submit(["sh", "-c", script], name="mended", inputs=["apple", "pear", "plum"])
    with pytest.raises(JobFailed, match=r"1 of 3 in run mended-.* FAILED"):
        run.wait(timeout=60)
    (failed,) = run.failures()
    assert (failed.index, failed.input, failed.exit_code) == (1, "pear", 1)
    fixed.touch()
    assert run.retry().wait(timeout=60, check=False).is_over
    run.wait(timeout=60)
    assert run.failures() == []
    assert run.results(tmp_path / "out").files == 3
    assert len(run.job_ids) == 2
    with pytest.raises(NotFound, match=r"nothing of run mended-.* has FAILED"):
        run.retry()
    assert world.run("cost", "mended", "--json").json["job_ids"] == list(run.job_ids), "as the command line has it"


def test_a_run_is_found_by_its_name_its_id_a_jobs_id_or_its_first_digits(client: Client) -> None:
    client.submit(["true"], name="found", array=2).wait(timeout=60)
    run = client.submit(["false"], name="found", array=2, retries=0)
    assert run.wait(timeout=60, check=False).counts[JobStatus.FAILED] == 2
    run.retry()
    for named in ("found", run.id, run.job_ids[-1], run.job_ids[0][:8], f"{run.job_ids[1]}:0"):
        assert (client.run(named).id, client.run(named).job_ids) == (run.id, run.job_ids), named
    with pytest.raises(NotFound, match="no job of the name 'nothing-of-this-name'"):
        client.run("nothing-of-this-name")


def test_cancelling_stops_what_has_not_ended(client: Client) -> None:
    run = client.submit(["sleep", "600"])
    until(lambda: run.progress().counts[JobStatus.RUNNING], seconds=30)
    assert run.cancel("not needed") == run.job_ids
    assert run.wait(timeout=60, check=False).counts[JobStatus.FAILED] == 1
    assert run.cancel() == ()


def test_waiting_ends_with_its_timeout_and_the_work_goes_on(client: Client) -> None:
    run = client.submit(["sleep", "600"])
    with pytest.raises(TimeoutError, match=r"had not ended after 0\.5 s: it goes on"):
        run.wait(timeout=0.5)
    assert not run.progress().is_over
    run.cancel()


def test_a_run_waits_for_another_one(client: Client) -> None:
    first = client.submit(["true"], name="first")
    second = client.submit(["true"], name="second", after=[first])
    assert second.wait(timeout=60).counts[JobStatus.SUCCEEDED] == 1


def test_a_request_is_sent_as_it_is(client: Client, world: CliWorld) -> None:
    before = client.submit(["true"])
    queue = world.run("show", before.id, "--json").json["queue"]
    run = client.submit(JobRequest(name="exact", queue=queue, definition="work", command=("true",)))
    assert run.name == "exact"
    run.wait(timeout=60)


def test_a_session_of_the_callers_own_is_worked_with(
    world: CliWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = world.region.info
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    (tmp_path / "config").write_text(
        f"[profile mine]\nregion = {info.region}\nendpoint_url = {info.endpoint}\n"
        f"aws_access_key_id = {info.access_key}\naws_secret_access_key = {info.secret_key}\n"
    )
    mine = boto3.Session(profile_name="mine")
    monkeypatch.setenv("AWS_PROFILE", "another")
    run = Client(session=mine, stack="Tested").submit(["true"])
    assert run.wait(timeout=60).is_over


def test_without_a_region_the_client_says_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTBATCH_HOME", str(tmp_path))
    with pytest.raises(NotFound, match="spotbatch local up"):
        Client(local=True)


def test_a_region_that_went_away_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with cli_world(tmp_path) as passing:
        monkeypatch.setenv("SPOTBATCH_HOME", str(passing.home))
        run = Client(local=True).submit(["true"])
    with pytest.raises(Unavailable, match="does not answer"):
        run.progress()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"command": "python work.py"}, "a command is a list of words"),
        ({"command": ["true"], "memory": "much"}, "memory is written as"),
        ({"command": ["true"], "inputs": []}, "there are none"),
        ({"command": ["true"], "inputs": ["a\nb"]}, "input 1 of a list is one line"),
        ({"command": ["true"], "inputs": ["a"], "array": 3}, "leave --array 3 out"),
        ({"command": ["true"], "retries": 10}, "0 to 9"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_sent(
    client: Client, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        client.submit(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_threads_may_share_a_client_and_work_in_several_places_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Run] = []
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            run = client.submit(["true"], name=f"thread-{number}")
            for _ in run.follow(timeout=60):
                assert session.connection() is None, "between two looks the caller's own place holds"
            runs.append(run)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({run.id for run in runs}) == 6


def test_from_asyncio_it_is_called_in_threads(client: Client) -> None:
    async def main() -> list[int]:
        runs = await asyncio.gather(*(asyncio.to_thread(client.submit, ["true"]) for _ in range(3)))
        ended = await asyncio.gather(*(asyncio.to_thread(run.wait, timeout=60) for run in runs))
        return [each.counts[JobStatus.SUCCEEDED] for each in ended]

    assert asyncio.run(main()) == [1, 1, 1]


def test_following_a_large_run_takes_at_most_one_call_a_second(client: Client) -> None:
    run = client.submit(["sleep", "2"], array=40)
    looks = run.follow(timeout=120)
    next(looks)
    before, began = session.calls_made(), time.monotonic()
    for _ in looks:
        pass
    assert session.calls_made() - before <= (time.monotonic() - began) + 1
