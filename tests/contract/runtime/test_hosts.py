"""spotrun on hosts that are about to go, that killed the attempt before, or that cannot number attempts."""

import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.runtime.log import say_on_change
from spotbatch.runtime.storage.store import FolderStore
from tests.contract.runtime_world import Spot, record, spot, wait_for


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path) as made:
        yield made


def test_an_attempt_that_begins_under_a_notice_waits_for_its_host_to_go(world: Spot) -> None:
    """A host that does not drain is offered to the next attempt at once: leaving at once would use all of them up."""
    (world.folder / "notice-1.json").write_text(json.dumps({"action": "terminate", "time": "2999-01-01T00:00:00Z"}))
    run = world.start("sh", "-c", "echo began")
    run.wait_for_text("waits up to 315 s for the host to go")
    wait_for(lambda: record(world.folder, 1)["outcome"] == "interrupted", "the record, before the host is gone")
    assert run.process.poll() is None
    run.terminate()
    assert run.wait() == 210
    assert "began" not in run.text()
    assert record(world.folder, 1)["exit_code"] == 210


def test_the_wait_for_the_host_ends_when_the_host_stays(world: Spot, monkeypatch: pytest.MonkeyPatch) -> None:
    from spotbatch.runtime import attempt
    from spotbatch.runtime.attempt import Attempt
    from spotbatch.runtime.settings import read_settings

    monkeypatch.setattr(attempt, "AFTER_NOTICE_SECONDS", 0.3)
    world.runs.append(world.start("true"))  # for its notice file alone
    world.runs[0].wait()
    world.runs[0].give_notice(1.0)
    began = time.monotonic()
    settings = read_settings(
        {
            "SPOTBATCH_NOTICE_FILE": str(world.runs[0].notice),
            "SPOTBATCH_SCRATCH_DIR": str(world.folder),
            "SPOTBATCH_ARTIFACTS_URL": world.url,
            "SPOTBATCH_RUN_ID": "other",
        }
    )
    assert Attempt(settings, ["sh", "-c", "echo began"]).run() == 210
    assert 1.0 < time.monotonic() - began < 30.0


def test_what_killed_attempts_left_half_written_in_the_store_is_cleared_by_the_next(world: Spot) -> None:
    unit = world.folder / "store/runs/work/job"
    left = [unit / "checkpoints/packs/.part-77-1", unit / "output/deep/.part-77-2", unit / ".part-1-3"]
    living = unit / "output/.part-88-1"
    for part in [*left, living]:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")
    with living.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        code, _ = world.run("sh", "-c", 'echo done > "$SPOTBATCH_OUTPUT_DIR/x"')
        assert code == 0
        assert not any(part.exists() for part in left)
        assert living.exists()
    world.run("true")
    assert not living.exists()


def test_a_write_whose_part_was_cleared_away_in_the_wrong_moment_is_written_again(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("unit/a", b"1")
    cleared: list[int] = []

    class Crossed(FolderStore):
        def put_crossed(self, key: str) -> None:
            def write(descriptor: int) -> None:
                if not cleared:  # as if somebody had cleared it between its making and its lock
                    cleared.append(1)
                    next(tmp_path.rglob(".part-*")).unlink()
                import os

                os.write(descriptor, b"whole")

            self._into_place(key, write)

    Crossed(tmp_path).put_crossed("unit/b")
    assert store.get("unit/b") == b"whole"


@pytest.mark.parametrize("number", [None, "1"])
def test_an_attempt_that_could_not_begin_does_not_take_another_attempts_record(world: Spot, number: str | None) -> None:
    numbered = {} if number is None else {"AWS_BATCH_JOB_ATTEMPT": number}
    assert world.run("true", AWS_BATCH_JOB_ID="one", **numbered)[0] == 0
    before = record(world.folder, 1)
    code, text = world.run("true", AWS_BATCH_JOB_ID="two", SPOTBATCH_INPUTS="file:///nowhere/at/all", **numbered)
    assert code == 125, text
    assert record(world.folder, 1) == before
    assert record(world.folder, 2)["outcome"] == "not_restored"


def test_a_save_that_is_refused_again_and_again_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        say_on_change("refused", f"s3://b/r/packs/000001-4a2b0c-{number:06d}: the role may not do this")
    say_on_change("refused", "s3://b/r/packs/000001-4a2b0c-000009: there is no such bucket")
    assert capsys.readouterr().err.count("\n") == 2
