"""Reads and writes moto's own objects on behalf of events. Each function runs on one of moto's threads.

moto must have been loaded. A missing target raises NotFound: such a delivery is not retried.
"""

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spotbatch.batch.errors import NotFound
from spotbatch.local.events.functions.function import DEFAULT_TIMEOUT_SECONDS, MOST_EVENT_AGE_SECONDS, Function, Retries
from spotbatch.local.events.rule import Rule, rule_of


@dataclass(frozen=True, kw_only=True, slots=True)
class MotoSide:
    """One account in one region of moto."""

    account_id: str
    region: str

    def rules(self) -> list[Rule]:
        """All enabled rules of all buses."""
        from moto.events.models import events_backends

        backend: Any = events_backends[self.account_id][self.region]
        found = [
            self._rule(one)
            for bus in list(backend.event_buses.values())
            for one in list(bus.rules.values())
            if not one.managed_by
        ]
        return [rule for rule in found if rule is not None]

    def _rule(self, one: Any) -> Rule | None:
        properties = {
            "State": one.state,
            "EventBusName": one.event_bus_name,
            "EventPattern": one.event_pattern.get_pattern() or None,
            "ScheduleExpression": one.scheduled_expression,
            "Targets": [dict(target) for target in one.targets],
        }
        return rule_of(properties, name=one.name, account_id=self.account_id, region=self.region)

    # ---- where events are delivered ----

    def put_logs(
        self, group: str, stream: str, events: Sequence[Mapping[str, Any]], *, makes_group: bool = False
    ) -> None:
        """Write log events, each with its timestamp and message. The stream is created if it does not exist."""
        from moto.logs.models import logs_backends

        backend: Any = logs_backends[self.account_id][self.region]
        if group not in backend.groups:
            if not makes_group:
                raise NotFound(f"there is no log group {group}")
            backend.create_log_group(group, {})
        if stream not in backend.groups[group].streams:
            backend.create_log_stream(group, stream)
        backend.put_log_events(group, stream, [dict(one) for one in events])

    def publish(self, topic_arn: str, message: str, subject: str = "") -> None:
        """Publish to an SNS topic; moto delivers it to the subscribers."""
        from moto.sns.models import sns_backends

        backend: Any = sns_backends[self.account_id][self.region]
        if topic_arn not in backend.topics:
            raise NotFound(f"there is no topic {topic_arn}")
        backend.topics[topic_arn].publish(message, subject=subject or None)

    def send(self, queue_arn: str, message: str, group_id: str = "") -> None:
        """Send to an SQS queue."""
        from moto.sqs.models import sqs_backends

        backend: Any = sqs_backends[self.account_id][self.region]
        name = queue_arn.rpartition(":")[2]
        if name not in backend.queues:
            raise NotFound(f"there is no queue {queue_arn}")
        deduplication = {"group_id": group_id, "deduplication_id": str(uuid.uuid4())} if group_id else {}
        backend.send_message(name, message, **deduplication)

    def start_execution(self, state_machine_arn: str, message: str) -> None:
        """Start an execution of a state machine."""
        from moto.stepfunctions import responses

        backend: Any = responses.get_backend(self.account_id, self.region)
        if not any(one.arn == state_machine_arn for one in backend.state_machines):
            raise NotFound(f"there is no state machine {state_machine_arn}")
        backend.start_execution(state_machine_arn, str(uuid.uuid4()), message)

    # ---- functions ----

    def function(self, name: str, qualifier: str = "") -> Function:
        """A function by name or ARN. Raises NotFound."""
        from moto.awslambda.models import lambda_backends

        backend: Any = lambda_backends[self.account_id][self.region]
        bare, given = _split(name)
        wanted = qualifier or given
        try:
            found = backend.get_function(bare, wanted or None)
        except Exception as error:  # moto has a separate exception for each kind of missing function
            arn = f"arn:aws:lambda:{self.region}:{self.account_id}:function:{bare}" + (f":{wanted}" if wanted else "")
            raise NotFound(f"Function not found: {arn}") from error
        return _function(found)


def _split(name: str) -> tuple[str, str]:
    """The bare name and the qualifier in a name, or a partial or full ARN."""
    tail = name.rpartition("function:")[2] if "function:" in name else name
    bare, _, qualifier = tail.partition(":")
    return bare, qualifier


def _function(found: Any) -> Function:
    archive = found.code.get("ZipFile") or getattr(found, "code_bytes", b"") or b""
    config = next(iter(found.event_invoke_config), None)
    given = config.response() if config is not None else {}
    destinations = given.get("DestinationConfig") or {}
    logging = getattr(found, "logging_config", {})
    reserved = found.reserved_concurrency
    return Function(
        name=found.function_name,
        arn=found.function_arn,
        runtime=str(found.run_time or ""),
        handler=str(found.handler or ""),
        code=_archive(archive),
        code_sha256=str(getattr(found, "code_sha_256", "")),
        environment={name: str(value) for name, value in (found.environment_vars or {}).items()},
        timeout_seconds=float(found.timeout or DEFAULT_TIMEOUT_SECONDS),
        memory_mib=int(found.memory_size or 128),
        version=str(found.version),
        log_group=str(logging.get("LogGroup") or f"/aws/lambda/{found.function_name}"),
        reserved=int(reserved) if reserved not in (None, "") else None,
        role=str(found.role or ""),
        retries=Retries(
            attempts=int(given.get("MaximumRetryAttempts", 2)),
            most_age_seconds=float(given.get("MaximumEventAgeInSeconds", MOST_EVENT_AGE_SECONDS)),
            on_failure=str((destinations.get("OnFailure") or {}).get("Destination", "")),
            on_success=str((destinations.get("OnSuccess") or {}).get("Destination", "")),
            dead_letters=str(getattr(found, "dead_letter_config", {}).get("TargetArn", "")),
        ),
    )


def _archive(content: bytes | str) -> bytes:
    """moto keeps the archive as received: bytes, or Base64."""
    raw = content.encode() if isinstance(content, str) else bytes(content)
    if raw[:2] == b"PK":
        return raw
    try:
        return base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return raw
