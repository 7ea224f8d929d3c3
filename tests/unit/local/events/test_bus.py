"""The bus delivers what rules take, tries again what failed, and fires schedules."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from spotbatch.batch.errors import NotFound
from spotbatch.local.events import bus as bus_module
from spotbatch.local.events.bus import Bus
from spotbatch.local.events.rule import Rule, rule_of
from spotbatch.local.events.shapes import JOB_STATE, envelope
from spotbatch.local.faults import EventFault


def rule(name: str, **properties: Any) -> Rule:
    made = rule_of(
        {"Targets": [{"Id": "t", "Arn": f"arn:aws:sqs:r:a:{name}"}], **properties},
        name=name,
        account_id="a",
        region="r",
    )
    assert made is not None
    return made


class World:
    """A bus whose deliveries are noted, and fail as often as is asked."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        failures: int = 0,
        error: type[Exception] = OSError,
        fault_of: Callable[[int], EventFault | None] = lambda _number: None,
    ) -> None:
        self.now = 1000.0
        self.delivered: list[tuple[str, str]] = []
        self.dead: list[tuple[str, str]] = []
        self.calls = 0
        self._failures = failures
        self._error = error
        self.some = asyncio.Event()
        self.bus = Bus(
            rules=lambda: rules,
            deliver=self._deliver,
            send=self._send,
            account_id="a",
            region="r",
            clock=lambda: self.now,
            first_wait_seconds=lambda: 0.0,
            fault_of=fault_of,
        )

    async def _deliver(self, target: Mapping[str, Any], messages: Sequence[str]) -> None:
        self.calls += 1
        if self._failures:
            self._failures -= 1
            raise self._error("not now")
        self.delivered += [(str(target["Arn"]), one) for one in messages]
        self.some.set()

    async def _send(self, arn: str, message: str) -> None:
        self.dead.append((arn, message))
        self.some.set()


def job(status: str) -> dict[str, Any]:
    return envelope(JOB_STATE, {"status": status}, at=0.0, account_id="a", region="r")


PATTERN = {"source": ["aws.batch"], "detail": {"status": ["FAILED"]}}


def test_only_what_a_rule_takes_is_delivered_and_to_each_of_them() -> None:
    async def scene() -> None:
        world = World([rule("one", EventPattern=PATTERN), rule("all", EventPattern={"source": ["aws.batch"]})])
        world.bus.put(lambda: [job("RUNNING"), job("FAILED")])
        await asyncio.wait_for(world.some.wait(), 10)
        await asyncio.sleep(0)
        await world.bus.close()
        assert sorted(arn.rpartition(":")[2] for arn, _ in world.delivered) == ["all", "all", "one"]

    asyncio.run(scene())


def test_a_wide_array_is_delivered_in_pieces_and_one_broken_source_stops_nothing() -> None:
    async def scene() -> None:
        world = World([rule("all", EventPattern={"source": ["aws.batch"]})])

        def broken() -> list[dict[str, Any]]:
            raise RuntimeError("a bug")

        world.bus.put(broken)
        world.bus.put(lambda: (job(str(number)) for number in range(1_000)), count=1_000)
        assert world.bus.backlog == 1_001
        async with asyncio.timeout(30):
            while len(world.delivered) < 1_000:
                world.some.clear()
                await world.some.wait()
                assert len(world.delivered) + world.bus.backlog >= 1_000
        async with asyncio.timeout(30):
            while world.bus.backlog:  # its last source has been seen to be empty
                await asyncio.sleep(0)
        await world.bus.close()
        assert [f'"status":"{number}"' in message for number, (_, message) in enumerate(world.delivered)] == [
            True
        ] * 1_000
        assert world.calls >= 1_000 / bus_module._MOST_AT_ONCE

    asyncio.run(scene())


def test_a_fault_delivers_an_event_twice_or_after_those_that_followed_it() -> None:
    struck = {1: EventFault(late_seconds=0.05), 2: EventFault(again_seconds=0.05)}

    async def scene() -> None:
        world = World([rule("all", EventPattern={"source": ["aws.batch"]})], fault_of=struck.get)
        world.bus.put(lambda: [job("first"), job("twice"), job("plain")], count=3)
        async with asyncio.timeout(30):
            while len(world.delivered) < 4:
                world.some.clear()
                await world.some.wait()
        await world.bus.close()
        found = [json.loads(message) for _, message in world.delivered]
        assert [one["detail"]["status"] for one in found[:2]] == ["twice", "plain"]
        assert sorted(one["detail"]["status"] for one in found[2:]) == ["first", "twice"]
        assert len({one["id"] for one in found}) == 3, "a duplicate has the id of its event"

    asyncio.run(scene())


def test_while_more_arrives_the_bus_leaves_the_time_to_others() -> None:
    async def scene() -> None:
        world = World([rule("all", EventPattern={"source": ["aws.batch"]})])

        def slow() -> list[dict[str, Any]]:
            end = time.thread_time() + 0.01
            while time.thread_time() < end:
                pass
            return [job("RUNNING")]

        begun, used = time.monotonic(), time.thread_time()
        while time.monotonic() - begun < 1.0:
            for _ in range(10):
                world.bus.put(slow)
            await asyncio.sleep(0.02)
        busy = (time.thread_time() - used) / (time.monotonic() - begun)
        assert world.bus.backlog > 100
        await world.bus.close()
        assert busy < 0.5, "without pauses it would be all of the time"

    asyncio.run(scene())


def test_a_delivery_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "_FIRST_RETRY_SECONDS", 0.001)

    async def scene() -> None:
        world = World([rule("one", EventPattern=PATTERN)], failures=3)
        world.bus.put(lambda: [job("FAILED")])
        await asyncio.wait_for(world.some.wait(), 10)
        await world.bus.close()
        assert len(world.delivered) == 1

    asyncio.run(scene())


def test_what_has_no_target_any_more_is_a_dead_letter_at_once() -> None:
    async def scene() -> None:
        targets = [{"Id": "t", "Arn": "arn:aws:sqs:r:a:gone", "DeadLetterConfig": {"Arn": "arn:aws:sqs:r:a:dead"}}]
        world = World([rule("one", EventPattern=PATTERN, Targets=targets)], failures=1, error=NotFound)
        world.bus.put(lambda: [job("FAILED")])
        await asyncio.wait_for(world.some.wait(), 10)
        await world.bus.close()
        assert [arn for arn, _ in world.dead] == ["arn:aws:sqs:r:a:dead"]

    asyncio.run(scene())


def test_a_schedule_fires_once_at_its_time() -> None:
    async def scene() -> None:
        world = World([rule("tick", ScheduleExpression="rate(1 minute)"), rule("one", EventPattern=PATTERN)])
        world.bus.rules_changed()
        assert not world.delivered
        world.now += 59.95
        world.bus.rules_changed()  # the count goes on where it began
        await asyncio.wait_for(world.some.wait(), 10)
        await asyncio.sleep(0.1)  # were it fired twice, it would be by now
        await world.bus.close()
        assert [arn for arn, _ in world.delivered] == ["arn:aws:sqs:r:a:tick"]
        assert '"Scheduled Event"' in world.delivered[0][1]

    asyncio.run(scene())


def test_a_disabled_rule_is_no_rule() -> None:
    assert rule_of({"State": "DISABLED", "EventPattern": PATTERN}, name="n", account_id="a", region="r") is None
