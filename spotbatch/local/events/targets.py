"""Rule targets: delivers one message to one target, by the service in its ARN."""

import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events.functions.function import Function
from spotbatch.local.events.functions.invoker import Invoker
from spotbatch.local.events.moto_side import MotoSide
from spotbatch.local.events.target_input import has_input

Given = TypeVar("Given")
_STREAM_SECONDS: Final = 3600


class RunsInMoto(Protocol):
    """Runs a function on one of moto's threads."""

    async def run(self, function: Callable[..., Given], *arguments: Any) -> Given: ...


SubmitJob = Callable[[Mapping[str, Any]], Awaitable[None]]  # raises InvalidInput where AWS Batch would refuse it
PutEvent = Callable[[str, Mapping[str, Any]], None]  # to a bus of this region


@dataclass(frozen=True, kw_only=True, slots=True)
class Targets:
    """Delivers messages; raises NotFound or InvalidInput if a retry would fail the same way."""

    moto: RunsInMoto
    side: MotoSide
    invoker: Invoker
    submit_job: SubmitJob
    put_event: PutEvent

    async def function(self, name: str, qualifier: str = "") -> Function:
        """Raises NotFound."""
        return await self.moto.run(self.side.function, name, qualifier)

    async def deliver(self, target: Mapping[str, Any], messages: Sequence[str]) -> None:
        """Deliver messages to a rule's target, one by one; a log group gets them all at once."""
        arn = str(target.get("Arn", ""))
        if ":log-group:" in arn:
            await self._log(arn, target, messages)
            return
        for message in messages:
            await self._one(arn, target, message)

    async def send(self, arn: str, message: str) -> None:
        """Send to a queue, a topic, a function or a bus: the allowed dead-letter queues and destinations."""
        await self._one(arn, {}, message)

    async def _one(self, arn: str, target: Mapping[str, Any], message: str) -> None:
        match arn.split(":")[2:3]:
            case ["sns"]:
                await self.moto.run(self.side.publish, arn, message)
            case ["sqs"]:
                group = str((target.get("SqsParameters") or {}).get("MessageGroupId", ""))
                await self.moto.run(self.side.send, arn, message, group)
            case ["lambda"]:
                self.invoker.invoke_later(await self.function(arn), message.encode())
            case ["batch"]:
                await self.submit_job(_job_of(arn, target, message))
            case ["states"]:
                await self.moto.run(self.side.start_execution, arn, message)
            case ["events"] if ":event-bus/" in arn:
                self.put_event(arn.rpartition("/")[2], json.loads(message))
            case _:
                raise InvalidInput(f"the local region delivers no events to {arn}")

    async def _log(self, arn: str, target: Mapping[str, Any], messages: Sequence[str]) -> None:
        """EventBridge creates the streams itself, under unpublished names. Here: one per hour."""
        group = arn.partition(":log-group:")[2].removesuffix(":*")
        now = time.time()
        stream = f"events-{int(now // _STREAM_SECONDS)}"
        given = _log_event if has_input(target) else _logged
        entries = sorted((given(one, now) for one in messages), key=lambda one: int(one["timestamp"]))
        await self.moto.run(self.side.put_logs, group, stream, entries)


def _logged(message: str, now: float) -> dict[str, Any]:
    return {"timestamp": round(now * 1000), "message": message}


def _log_event(message: str, now: float) -> dict[str, Any]:
    """The event; or the output of an input transformer, {"timestamp": ..., "message": ...} (guide, log targets)."""
    try:
        found = json.loads(message)
    except ValueError:
        found = None
    if isinstance(found, dict) and found.keys() == {"timestamp", "message"}:
        try:
            return {"timestamp": int(found["timestamp"]), "message": str(found["message"])}
        except (TypeError, ValueError):
            pass
    return _logged(message, now)


def _job_of(queue_arn: str, target: Mapping[str, Any], message: str) -> dict[str, Any]:
    """SubmitJob's parameters: BatchParameters plus the input (AWS Batch user guide, "EventBridge targets").

    An input is {"Parameters": {...}, "ContainerOverrides": {...}}; an unmodified event is not one. Raises InvalidInput.
    """
    given: Mapping[str, Any] = target.get("BatchParameters") or {}
    if "JobDefinition" not in given or "JobName" not in given:
        raise InvalidInput(f"a rule for {queue_arn} needs BatchParameters with JobDefinition and JobName")
    asked: dict[str, Any] = {
        "jobName": given["JobName"],
        "jobQueue": queue_arn,
        "jobDefinition": given["JobDefinition"],
    }
    if size := (given.get("ArrayProperties") or {}).get("Size"):
        asked["arrayProperties"] = {"size": int(size)}
    if attempts := (given.get("RetryStrategy") or {}).get("Attempts"):
        asked["retryStrategy"] = {"attempts": int(attempts)}
    try:
        wanted = json.loads(message) if has_input(target) else {}
    except ValueError as error:
        raise InvalidInput(f"the input of a rule that starts a job is JSON, not {message[:200]!r}") from error
    for name, member in (("Parameters", "parameters"), ("ContainerOverrides", "containerOverrides")):
        if isinstance(wanted, dict) and isinstance(wanted.get(name), dict):
            asked[member] = _camel(wanted[name]) if name == "ContainerOverrides" else wanted[name]
    return asked


def _camel(value: Any) -> Any:
    """EventBridge capitalizes members, AWS Batch's API does not."""
    if isinstance(value, Mapping):
        return {name[:1].lower() + name[1:]: _camel(one) for name, one in value.items()}
    return [_camel(one) for one in value] if isinstance(value, list) else value
