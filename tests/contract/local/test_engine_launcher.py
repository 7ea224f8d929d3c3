"""The helpers that start processes: how many there are, and what the region hears when one of two is lost."""

import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spotbatch.local.engine.helper_link import Calls, Plan, Start
from spotbatch.local.engine.launcher import Launcher, helpers_for

LIMIT_SECONDS = 30.0


@dataclass
class News:
    """What a launcher tells, and a bell for whoever waits for it."""

    started: dict[int, int] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def calls(self) -> Calls:
        return Calls(
            on_started=lambda attempt, pid: self.started.update({attempt: pid}),
            on_failed=lambda attempt, why: pytest.fail(f"attempt {attempt}: {why}"),
            on_overran=lambda attempt, used: pytest.fail(f"attempt {attempt}: {used} bytes"),
            on_ended=lambda attempt, code: self.ended.update({attempt: code}),
            on_lost=self._lost,
            news_begins=lambda: None,
            news_ends=self.bell.set,
        )

    def _lost(self) -> None:
        self.lost += 1
        self.bell.set()

    async def until(self, *, started: int = 0, ended: int = 0, lost: int = 0) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(self.started) < started or len(self.ended) < ended or self.lost < lost:
                await self.bell.wait()
                self.bell.clear()


def order(attempt_id: int, folder: Path, *command: str) -> Start:
    plan = Plan(number=attempt_id, argv=command, environment={"PATH": os.defpath}, memory_bytes=1 << 30)
    log = str(folder / "logs" / f"{attempt_id}.log")
    return Start(attempt_id=attempt_id, plan=plan, own_environment={}, folder=str(folder), log=log)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize(("cores", "helpers"), [(1, 1), (2, 1), (3, 1), (4, 2), (64, 2)])
def test_a_second_helper_comes_with_cores_for_it(cores: int, helpers: int) -> None:
    assert helpers_for(cores) == helpers


def test_two_helpers_share_the_attempts(tmp_path: Path) -> None:
    async def scenario() -> None:
        news = News()
        launcher = Launcher(news.calls(), helpers=2)
        launcher.open()
        try:
            for attempt_id in range(4):
                launcher.start(order(attempt_id, tmp_path, "sleep", "60"))
            await news.until(started=4)
            parents = [parent_of(news.started[each]) for each in range(4)]
            assert parents[0] == parents[2] != parents[1] == parents[3]
            for attempt_id in range(4):
                launcher.signal(attempt_id, signal.SIGTERM)
            await news.until(ended=4)
            assert set(news.ended.values()) == {128 + signal.SIGTERM}
        finally:
            await launcher.close()

    asyncio.run(scenario())


def test_with_one_of_two_helpers_all_are_lost_once_and_new_ones_serve(tmp_path: Path) -> None:
    async def scenario() -> None:
        news = News()
        launcher = Launcher(news.calls(), helpers=2)
        launcher.open()
        try:
            for attempt_id in range(2):
                launcher.start(order(attempt_id, tmp_path, "sleep", "60"))
            await news.until(started=2)
            os.kill(parent_of(news.started[0]), signal.SIGKILL)
            await news.until(lost=1)
            os.killpg(news.started[0], signal.SIGKILL)  # an orphan: finding those is not the launcher's part
            launcher.open_again()
            launcher.start(order(3, tmp_path, "true"))
            await news.until(ended=1)
            assert (news.lost, news.ended) == (1, {3: 0})
        finally:
            await launcher.close()

    asyncio.run(scenario())
