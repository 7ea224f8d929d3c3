"""The observing part of a template, for one region: events, rules, functions, metric filters and alarms."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.api import operations
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.http import Body, Head, Response
from spotbatch.local.api.region import Region
from spotbatch.local.changes import Change
from spotbatch.local.engine.group_commit import say
from spotbatch.local.events import emission, moto_hooks, shapes, state_machines
from spotbatch.local.events.alarm_watch import AlarmWatch
from spotbatch.local.events.bus import Bus
from spotbatch.local.events.functions import requests
from spotbatch.local.events.functions.function import RETRY_SECONDS, Function
from spotbatch.local.events.functions.invoker import Invoker
from spotbatch.local.events.metrics import AlarmChange, Metrics
from spotbatch.local.events.moto_side import MotoSide
from spotbatch.local.events.rule import Rule, kinds_wanted, rule_of
from spotbatch.local.events.shapes import Event, Kind
from spotbatch.local.events.targets import Targets
from spotbatch.local.faults import EventFault
from spotbatch.local.moto_bridge import MotoBridge

_GATHER_SECONDS: Final = 0.1
_UNTIL_LOADED_SECONDS: Final = 2.0  # importing moto takes as long as a thousand jobs: let a short run finish first
_KNOWN: Final = ("jobQueue", "jobName", "jobDefinition")  # of a job's event, before it is rendered
_MOST_REMEMBERED: Final = 4096
_RULE: Final = "AWS::Events::Rule"


class Monitor:
    """Receives all changes; does nothing while no rule wants them."""

    def __init__(
        self,
        *,
        moto: MotoBridge,
        account_id: str,
        region: str,
        home: Path,
        environment: Mapping[str, str],
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        fault_of: Callable[[int], EventFault | None] = lambda _number: None,
    ) -> None:
        self._moto = moto
        self._account_id = account_id
        self._region_name = region
        self._loop = asyncio.get_running_loop()
        self._region: Region | None = None
        self._environment = environment
        self._known: list[Rule] | None = None  # the current rules, as long as nothing may have changed them
        self._wanted: frozenset[Kind] = frozenset()
        self._may_take: dict[tuple[str, ...], bool] = {}  # whether a rule may take such a job's events
        self._memory = emission.Memory()
        self.side = MotoSide(account_id=account_id, region=region)
        self.invoker = Invoker(
            folder=home / "functions",
            environment=environment,
            write_log=self._write_log,
            send=self._send,
            retry_seconds=retry_seconds,
        )
        self._targets = Targets(
            moto=moto, side=self.side, invoker=self.invoker, submit_job=self._submit_job, put_event=self._put_event
        )
        self.bus = Bus(
            rules=self.rules,
            deliver=self._targets.deliver,
            send=self._targets.send,
            account_id=account_id,
            region=region,
            first_wait_seconds=lambda: _GATHER_SECONDS if moto.is_loaded else _UNTIL_LOADED_SECONDS,
            fault_of=fault_of,
        )

        self._metrics = Metrics(account_id=account_id, region=region)
        self._alarms = AlarmWatch(
            evaluate=lambda: moto.run(self._metrics.evaluate, time.time()),
            has_alarms=lambda: moto.is_settled and self._metrics.has_alarms(),
            tell=self._tell_alarm,
        )

    def attach(self, region: Region) -> None:
        """The region whose jobs and hosts the events describe."""
        self._region = region

    def install_hooks(self) -> None:
        """Let moto call us, on its threads; called on one of them, once moto is loaded."""
        state_machines.install(dict(self._environment))
        later = self._loop.call_soon_threadsafe
        hooks = moto_hooks.Hooks(
            on_put_event=lambda bus, rule, event: _unless_closed(later, self._put_by_api, bus, rule, event),
            on_invoke=lambda arn, event: _unless_closed(later, self._invoke_by_service, arn, event),
            on_logs=self._metrics.take_logs,
            on_metrics=lambda: _unless_closed(later, self._alarms.look_soon),
        )
        moto_hooks.install(hooks)

    async def close(self) -> None:
        """End deliveries and functions."""
        await self._alarms.close()
        await self.bus.close()
        await self.invoker.close()

    # ---- rules ----

    def rules(self) -> Sequence[Rule]:
        """The enabled rules, from templates and from PutRule."""
        if self._known is None:
            promised = [
                rule_of(content, name=name, account_id=self._account_id, region=self._region_name)
                for name, content in self._moto.promised(_RULE).items()
            ]
            found = {(rule.bus, rule.name): rule for rule in promised if rule is not None}
            if self._moto.is_settled:
                found = {(rule.bus, rule.name): rule for rule in self.side.rules()}
            elif self._moto.is_loaded:
                found |= {(rule.bus, rule.name): rule for rule in self.side.rules()}
            self._known = list(found.values())
            self._wanted = kinds_wanted([rule for rule in self._known if rule.bus == "default"], shapes.KINDS)
        return self._known

    def rules_changed(self) -> None:
        """A stack was loaded or removed, or a request to EventBridge was answered."""
        self._known = None
        self._may_take.clear()
        self.bus.rules_changed()  # this reads them

    def resources_made(self) -> None:
        """What templates promised now exists in moto: a new alarm gets its first state."""
        self.rules_changed()
        self._alarms.look_soon()

    def service_was_asked(self, service: str) -> None:
        """A moto service answered a request: for some services that may affect what is done here."""
        if service in ("events", "cloudformation"):  # cloudformation: stacks that are moto's
            self.rules_changed()
        if service in ("monitoring", "cloudformation"):
            self._alarms.look_soon()

    @property
    def is_wanted(self) -> bool:
        """Whether any rule wants what the engine reports."""
        return bool(self._wanted)

    def observe(self, changes: Sequence[Change]) -> None:
        """The changes of one commit. Nothing is rendered here."""
        region, wanted = self._region, self._wanted
        if not wanted or region is None:
            return
        kept = [change for change in changes if not wanted.isdisjoint(emission.kinds_of(change))]
        if kept:
            self.bus.put(functools.partial(self._events_of, region, kept), count=sum(map(emission.count_of, kept)))

    def rebalance_recommended(self, instance_ids: Sequence[str]) -> None:
        """EC2 recommends leaving these hosts; they keep running."""
        region = self._region
        if region is not None and instance_ids and shapes.REBALANCE in self._wanted:
            at, memory = time.time(), self._memory
            self.bus.put(lambda: emission.rebalance(region, instance_ids, at, memory), count=len(instance_ids))

    def _events_of(self, region: Region, changes: Sequence[Change]) -> Iterator[Event]:
        for change in changes:
            yield from emission.events_of(region, change, self._wanted, self._memory, self._may_take_job)

    def _may_take_job(self, status: str, members: Mapping[str, Any]) -> bool:
        """Before a job's detail is rendered: whether any rule may take it, by what is the same for all of an array."""
        rules = self.rules()
        known = {name: members[name] for name in _KNOWN if name in members}
        key = (status, *known.values())
        found = self._may_take.get(key)
        if found is None:
            source, detail_type = shapes.JOB_STATE
            event = {"source": source, "detail-type": detail_type, "detail": {**known, "status": status}}
            found = any(rule.may_take(event) for rule in rules if rule.bus == "default")
            if len(self._may_take) >= _MOST_REMEMBERED:
                self._may_take.clear()
            self._may_take[key] = found
        return found

    # ---- what moto and functions ask for ----

    def _put_by_api(self, bus: str, rule: str, event: Mapping[str, Any]) -> None:
        """PutEvents: moto has built the event; its time is a number there."""
        at = event.get("time")
        made = {**event, "time": shapes.moment(float(at)) if isinstance(at, int | float) else str(at)}
        made.pop("ingestion-time", None)
        self.bus.put(lambda: [made], bus=bus, only=rule)

    def _put_event(self, bus: str, event: Mapping[str, Any]) -> None:
        self.bus.put(lambda: [dict(event)], bus=bus)

    def _invoke_by_service(self, arn: str, event: bytes) -> None:
        async def call() -> None:
            self.invoker.invoke_later(await self._targets.function(arn), event)

        self._keep(call())

    def _keep(self, work: Any) -> None:
        if self._region is not None:
            self._region.keep(self._loop.create_task(work))
        else:
            work.close()

    async def _submit_job(self, asked: Mapping[str, Any]) -> None:
        if self._region is None:
            raise InvalidInput("the region is not up yet")
        try:
            await operations.perform(self._region, "SubmitJob", dict(asked))
        except ApiError as error:
            raise InvalidInput(error.message) from error

    async def _write_log(self, group: str, stream: str, lines: Sequence[str]) -> None:
        now = round(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines if line]
        with contextlib.suppress(RuntimeError):  # the region closes
            await self._moto.run(functools.partial(self.side.put_logs, group, stream, events, makes_group=True))

    async def _send(self, arn: str, message: str) -> None:
        try:
            await self._targets.send(arn, message)
        except Exception as error:  # noqa: BLE001 - the destination does not exist: Lambda drops the record too
            say(f"functions: a record for {arn} is dropped: {error!s:.300}")

    async def _tell_alarm(self, change: AlarmChange) -> None:
        """Perform the alarm's actions, and send an event (user guide, "Alarm events and EventBridge")."""
        for arn in change.actions:
            try:
                if arn.startswith("arn:aws:sns:"):
                    await self._moto.run(self.side.publish, arn, change.message, change.subject)
                else:
                    await self._targets.send(arn, change.message)
            except (NotFound, InvalidInput) as error:
                say(f"alarm {change.name}: {error}")
        now = time.time()
        event = shapes.envelope(
            shapes.ALARM_STATE,
            {
                "alarmName": change.name,
                "state": {"value": change.after.value, "reason": change.reason, "timestamp": shapes.precise(now)},
                "previousState": {"value": change.before.value},
            },
            at=now,
            account_id=self._account_id,
            region=self._region_name,
            resources=[change.arn],
        )
        self.bus.put(lambda: [event])

    # ---- requests ----

    async def answer_lambda(self, head: Head, body: Body) -> Response | None:
        """The response to an invocation; None for what is moto's."""

        async def find(name: str, qualifier: str) -> Function:
            return await self._targets.function(name, qualifier)

        return await requests.answer(find, self.invoker, head, body)


def _unless_closed(later: Any, *arguments: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        later(*arguments)
