"""The region's event bus: events are matched with rules and delivered, alongside the engine, never blocking it.

Delivery is at least once and not always in order, as with EventBridge. Events wait in memory in a compact form. While
more keep arriving, the bus uses little of the time, so that starting jobs takes priority over events: more once they
have waited for long, or many wait. What is delivered together costs one call of a target.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.engine.group_commit import say
from spotbatch.local.events import shapes
from spotbatch.local.events.rule import Rule
from spotbatch.local.events.shapes import Event
from spotbatch.local.events.target_input import has_input, message_for, text_of
from spotbatch.local.faults import EventFault

Deliver = Callable[[Mapping[str, Any], Sequence[str]], Any]
Source = Callable[[], Iterable[Event]]  # renders an item when its turn comes

_GATHER_SECONDS: Final = 0.1  # items that arrive together are delivered together
_MOST_AT_ONCE: Final = 100  # events
_BREATH: Final = 10  # events, after which the loop is yielded
_CALM_SECONDS: Final = 0.1  # without a change: then the region is no longer busy
# Shares of the time, while no more changes than this wait, and the first one for no more than these seconds.
_SHARES: Final = ((100_000, 10.0, 0.03), (200_000, 30.0, 0.25))
_GREATEST_SHARE: Final = 0.9
_LONGEST_PAUSE_SECONDS: Final = 5.0
_FIRST_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 300.0
# API reference, RetryPolicy: the defaults are also the maximums.
_MOST_TRIES: Final = 185
_MOST_AGE_SECONDS: Final = 86_400.0


@dataclass(kw_only=True, slots=True)
class _Waiting:
    source: Source
    left: int  # about how many of its events are still to come
    since: float  # of a steady clock
    bus: str = "default"
    only: str = ""  # a rule's name: moto has already selected it
    events: Iterator[Event] | None = None  # once it has begun
    was_struck: bool = False  # by a fault: it is late, or a duplicate


@dataclass(slots=True)
class _Delivery:
    rule: Rule
    target: Mapping[str, Any]
    messages: list[str]


class Bus:
    """`rules` returns the currently enabled rules; `deliver` sends messages to a target, or raises."""

    def __init__(
        self,
        *,
        rules: Callable[[], Sequence[Rule]],
        deliver: Deliver,
        send: Callable[[str, str], Any],
        account_id: str,
        region: str,
        clock: Callable[[], float] = time.time,
        first_wait_seconds: Callable[[], float] = lambda: _GATHER_SECONDS,
        fault_of: Callable[[int], EventFault | None] = lambda _number: None,
    ) -> None:
        self._rules = rules
        self._deliver = deliver
        self._send = send
        self._account_id = account_id
        self._region = region
        self._clock = clock
        self._first_wait_seconds = first_wait_seconds
        self._fault_of = fault_of
        self._event_no = 0
        self._waiting: deque[_Waiting] = deque()
        self._backlog = 0
        self._arrived = 0  # changes, so far
        self._some = asyncio.Event()
        self._retries: set[asyncio.Task[None]] = set()
        self._begun: dict[tuple[str, object], float] = {}  # when a schedule took effect
        self._fired = 0.0  # time of the last firing: no schedule fires twice for it
        self._timer: asyncio.TimerHandle | None = None
        self._pump: asyncio.Task[None] | None = None

    def put(self, source: Source, *, count: int = 1, bus: str = "default", only: str = "") -> None:
        """Something happened, about `count` events; they are rendered and delivered a little later."""
        self._waiting.append(_Waiting(source=source, left=count, since=time.monotonic(), bus=bus, only=only))
        self._backlog += count
        self._arrived += count
        self._some.set()
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._run())

    @property
    def backlog(self) -> int:
        """About how many events still wait for their first delivery."""
        return self._backlog

    async def close(self) -> None:
        """Stop; whatever waits is dropped, like everything held by moto."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._retries, *([self._pump] if self._pump is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- events ----

    async def _run(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(self._first_wait_seconds())
            arrived = self._arrived
            while self._waiting:
                began = time.perf_counter()
                share = self._share()
                try:
                    await asyncio.gather(*(self._first_try(one) for one in await self._matched()))
                except Exception as error:  # noqa: BLE001 - a bug here must not end all deliveries
                    say(f"events: {type(error).__name__}: {error}")
                taken = time.perf_counter() - began
                if self._arrived > arrived:  # more arrived since the batch before it was taken: the region is busy
                    await self._pause(min(_LONGEST_PAUSE_SECONDS, taken * (1 - share) / share))
                    arrived = self._arrived
            self._some.clear()

    def _share(self) -> float:
        """How much of the time is for events now."""
        age = time.monotonic() - self._waiting[0].since
        shares = (share for most, longest, share in _SHARES if self._backlog <= most and age <= longest)
        return next(shares, _GREATEST_SHARE)

    async def _pause(self, seconds: float) -> None:
        """Leave the time to others, until nothing more arrives."""
        end = time.monotonic() + seconds
        arrived = -1
        while arrived != self._arrived and (left := end - time.monotonic()) > 0:
            arrived = self._arrived
            await asyncio.sleep(min(left, _CALM_SECONDS))

    def _next_events(self) -> Iterator[tuple[_Waiting, Event]]:
        """The events of one batch, each rendered when it is asked for."""
        count = 0
        while self._waiting and count < _MOST_AT_ONCE:
            one = self._waiting[0]
            if one.events is None:
                one.events = iter(())  # should `source` raise, this was its only turn
                one.events = iter(one.source())
            for event in one.events:
                one.left -= 1
                self._backlog -= 1
                yield one, event
                count += 1
                if count == _MOST_AT_ONCE:
                    return
            self._backlog -= one.left
            self._waiting.popleft()
            count += 1  # also where no rule wanted anything

    async def _matched(self) -> list[_Delivery]:
        """The deliveries of one batch, with the messages to one target combined."""
        found: dict[tuple[str, str], _Delivery] = {}
        rules = self._rules()
        of_kind: dict[tuple[str, str, str, str], list[Rule]] = {}
        for number, (one, event) in enumerate(self._next_events(), start=1):
            kind = (one.bus, one.only, str(event.get("source")), str(event.get("detail-type")))
            if kind not in of_kind:
                of_kind[kind] = _for_kind(rules, *kind)
            takers = [rule for rule in of_kind[kind] if rule.takes(event)]
            if takers and not self._is_late(one, event):
                _add(found, takers, event)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        return list(found.values())

    def _is_late(self, one: _Waiting, event: Event) -> bool:
        """Whether a requested fault keeps an event back; another lets it arrive once more."""
        self._event_no += 1
        fault = None if one.was_struck else self._fault_of(self._event_no)
        if fault is None:
            return False
        again = fault.late_seconds if fault.again_seconds is None else fault.again_seconds
        asyncio.get_running_loop().call_later(again, self._put_again, one, event)
        return fault.again_seconds is None

    def _put_again(self, one: _Waiting, event: Event) -> None:
        self._waiting.append(
            _Waiting(
                source=lambda: [event], left=1, since=time.monotonic(), bus=one.bus, only=one.only, was_struck=True
            )
        )
        self._backlog += 1
        self._some.set()

    async def _first_try(self, delivery: _Delivery) -> None:
        if not await self._try(delivery):
            task = asyncio.get_running_loop().create_task(self._try_again(delivery))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)

    async def _try(self, delivery: _Delivery) -> bool:
        """False if a retry may succeed."""
        try:
            await self._deliver(delivery.target, delivery.messages)
        except (NotFound, InvalidInput) as error:
            await self._give_up(delivery, str(error))
        except Exception as error:  # noqa: BLE001 - anything that a service raises
            say(f"events: rule {delivery.rule.name}: {type(error).__name__}: {error!s:.300}; it is tried again")
            return False
        return True

    async def _try_again(self, delivery: _Delivery) -> None:
        policy = delivery.target.get("RetryPolicy") or {}
        tries = int(policy.get("MaximumRetryAttempts", _MOST_TRIES))
        end = self._clock() + float(policy.get("MaximumEventAgeInSeconds", _MOST_AGE_SECONDS))
        pause = _FIRST_RETRY_SECONDS
        for _ in range(tries):
            if self._clock() + pause > end:
                break
            await asyncio.sleep(pause)
            if await self._try(delivery):
                return
            pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
        await self._give_up(delivery, "its tries are used up")

    async def _give_up(self, delivery: _Delivery, reason: str) -> None:
        """Send to the target's dead-letter queue if it has one; otherwise the event is lost, as on AWS."""
        say(f"events: rule {delivery.rule.name}: not delivered: {reason}")
        arn = (delivery.target.get("DeadLetterConfig") or {}).get("Arn")
        if not arn:
            return
        for message in delivery.messages:
            try:
                await self._send(str(arn), message)
            except Exception as error:  # noqa: BLE001 - as above
                say(f"events: dead letters of rule {delivery.rule.name}: {type(error).__name__}: {error!s:.300}")

    # ---- schedules ----

    def rules_changed(self) -> None:
        """Re-read the schedules."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = max(self._clock(), self._fired)
        scheduled = {(rule.arn, rule.schedule): rule for rule in self._rules() if rule.schedule is not None}
        self._begun = {key: self._begun.get(key, now) for key in scheduled}
        due = [(when, rule) for key, rule in scheduled.items() if (when := self._next(key, rule, now)) is not None]
        if not due:
            return
        when = min(moment for moment, _ in due)
        firing = [rule for moment, rule in due if moment == when]
        self._timer = asyncio.get_running_loop().call_later(max(0.0, when - self._clock()), self._fire, firing, when)

    def _next(self, key: tuple[str, object], rule: Rule, now: float) -> float | None:
        return rule.schedule.following(now, self._begun[key]) if rule.schedule is not None else None

    def _fire(self, rules: Sequence[Rule], when: float) -> None:
        self._fired = when
        for rule in rules:
            event = shapes.envelope(
                shapes.SCHEDULED, {}, at=when, account_id=self._account_id, region=self._region, resources=[rule.arn]
            )
            deliveries: dict[tuple[str, str], _Delivery] = {}
            _add(deliveries, [rule], event)
            for one in deliveries.values():
                task = asyncio.get_running_loop().create_task(self._first_try(one))
                self._retries.add(task)
                task.add_done_callback(self._retries.discard)
        self.rules_changed()


def _for_kind(rules: Sequence[Rule], bus: str, only: str, source: str, detail_type: str) -> list[Rule]:
    """The rules that may take events of a kind: most are for others."""
    known = {"source": source, "detail-type": detail_type}
    return [rule for rule in rules if rule.bus == bus and only in ("", rule.name) and rule.may_take(known)]


def _add(found: dict[tuple[str, str], _Delivery], rules: Sequence[Rule], event: Event) -> None:
    whole = ""  # what most targets receive, written once
    for rule in rules:
        for number, target in enumerate(rule.targets):
            key = (rule.arn, str(target.get("Id", number)))
            delivery = found.get(key)
            if delivery is None:
                delivery = found[key] = _Delivery(rule, target, [])
            if has_input(target):
                message = message_for(target, event, rule_arn=rule.arn, rule_name=rule.name)
            else:
                message = whole = whole or text_of(event)
            delivery.messages.append(message)
