"""What was asked for is done once the disk has it; the journal's write-ahead log is emptied beside its writer."""

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.local.engine import journal as journal_module
from spotbatch.local.engine.disk import Disk, Request
from spotbatch.local.engine.journal import Journal, Statement

ROW: Statement = ("INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)", ("k", "n", "{}", None))
LIMIT_SECONDS = 30.0


class SlowDisk(Journal):
    """A journal whose disk answers when the test says so, or fails: what a real one does cannot be had on demand."""

    def __init__(self, home: Path, trouble: Unavailable | None = None) -> None:
        super().__init__(home)
        self.trouble, self.syncs = trouble, 0
        self.gate, self.asked = threading.Event(), threading.Event()

    def sync(self) -> None:
        self.syncs += 1
        self.asked.set()
        assert self.gate.wait(LIMIT_SECONDS)
        if self.trouble is not None:
            raise self.trouble
        super().sync()


def request(then: Callable[[], None], *rows: Statement) -> Request:
    return Request(rows=rows, then=then, answer=asyncio.get_running_loop().create_future())


def write(journal: Journal, statements: int, *, first: int = 0) -> None:
    for number in range(first, first + statements):
        journal.write("INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)", ("kind", f"{number:05}", "{}" * 100, None))
        journal.commit()


def test_nothing_is_carried_out_before_the_disk_has_it_and_what_comes_meanwhile_goes_together(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, done = SlowDisk(tmp_path), list[int]()
        disk = Disk(journal, on_failed=lambda error: pytest.fail(str(error)))
        journal.commit([ROW])
        requests = [request(lambda each=each: done.append(each), ROW) for each in range(4)]  # type: ignore[misc]
        disk.carry_out(requests[:1])
        await asyncio.to_thread(journal.asked.wait, LIMIT_SECONDS)
        disk.carry_out(requests[1:])
        free = request(lambda: done.append(100))
        disk.carry_out([free])
        assert done == [100], "only what asks for no row"
        journal.gate.set()
        await asyncio.wait_for(asyncio.gather(*(each.answer for each in requests)), LIMIT_SECONDS)
        assert (done, journal.syncs) == ([100, 0, 1, 2, 3], 2)
        await disk.close()
        journal.close()

    asyncio.run(scenario())


def test_a_disk_that_fails_refuses_what_was_asked_for_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal, failures = SlowDisk(tmp_path, Unavailable("the disk is gone")), list[str]()
        journal.gate.set()
        disk = Disk(journal, on_failed=lambda error: failures.append(str(error)))
        asked = request(lambda: pytest.fail("carried out"), ROW)
        disk.carry_out([asked])
        with pytest.raises(Unavailable, match="the disk is gone"):
            await asyncio.wait_for(asked.answer, LIMIT_SECONDS)
        await disk.close()
        assert failures == ["the disk is gone"]
        journal.close()

    asyncio.run(scenario())


def test_a_log_that_cannot_be_synced_makes_the_journal_count_as_damaged(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "journal.sqlite-wal").rename(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match=r"the disk did not take the journal .* may be lost"):
        journal.sync()
    assert journal.is_damaged
    (tmp_path / "elsewhere").rename(tmp_path / "journal.sqlite-wal")
    journal.close()


def test_a_checkpoint_beside_the_writer_lets_the_log_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_CHECKPOINT_STATEMENTS", 50)
    journal = Journal(tmp_path)
    write(journal, 49)
    assert not journal.is_checkpoint_due
    write(journal, 1)
    assert journal.is_checkpoint_due
    journal.checkpoint()
    assert not journal.is_checkpoint_due
    log = tmp_path / "journal.sqlite-wal"
    size = log.stat().st_size
    write(journal, 10)
    assert log.stat().st_size == size, "written from its beginning again"
    journal.close()
    again = Journal(tmp_path)
    assert len(list(again.rows("SELECT name FROM resource"))) == 49
    again.close()


def test_the_log_stays_short_though_rows_are_written_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_CHECKPOINT_STATEMENTS", 200)
    monkeypatch.setattr(journal_module, "_LONG_LOG_BYTES", 1 << 20)
    monkeypatch.setattr(journal_module, "_SHORT_LOG_BYTES", 1 << 18)
    sizes = list[int]()

    async def submissions() -> None:
        journal = Journal(tmp_path)
        disk = Disk(journal, on_failed=failures.append)
        for number in range(3_000):
            write(journal, 1, first=number)
            waits = request(lambda: None, ROW)
            disk.carry_out([waits])
            disk.look_after()
            write(journal, 1, first=number)  # while the disk is waited for
            await waits.answer
            sizes.append((tmp_path / "journal.sqlite-wal").stat().st_size)
        await disk.close()
        journal.close()

    failures = list[Unavailable]()
    asyncio.run(submissions())
    assert not failures
    assert sum(after > before for before, after in pairwise(sizes)) > 500, "the log was written all the time"
    assert max(sizes) < 4 << 20, f"{max(sizes) / 1e6:.1f} MB"
