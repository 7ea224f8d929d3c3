"""What the stack's event log group tells: AWS Batch's job events, blocked queues, EC2's Spot notices."""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from spotbatch.aws import session, stacks
from spotbatch.batch.errors import NotFound

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

_GROUP_TYPE: Final = "AWS::Logs::LogGroup"
GROUP_ID: Final = "WatchingEvents"  # app.py's construct path: the logical id begins so, a hash follows
_MOST_PAGES: Final = 500  # of 10,000 events or 1 MiB (API reference, FilterLogEvents)


class Kind(StrEnum):
    """What an event is about. The words are this project's; `DETAIL_TYPES` has AWS's."""

    JOB = "job"
    BLOCKED = "blocked"
    SPOT = "spot"


DETAIL_TYPES: Final = {
    "Batch Job State Change": Kind.JOB,
    "Batch Job Queue Blocked": Kind.BLOCKED,
    "EC2 Spot Instance Interruption Warning": Kind.SPOT,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event, at a time (UTC epoch seconds). `subject`: a job's id or an instance's; "" or None: not told."""

    at: float
    kind: Kind
    subject: str
    name: str = ""
    status: str = ""
    reason: str = ""
    exit_code: int | None = None
    attempts: int = 0  # that have ended
    queue: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which events; None or "": all. `job` takes an array's children in. Times are UTC epoch seconds."""

    after: float
    kind: Kind | None = None
    job: str = ""
    status: str = ""

    @property
    def phrase(self) -> str:
        """What CloudWatch Logs looks for by itself: a plain quoted term, which needs no pattern language."""
        if self.job:
            return f'"{self.job}"'
        types = [name for name, kind in DETAIL_TYPES.items() if kind is self.kind]
        return f'"{types[0]}"' if types else ""

    def takes(self, event: Event) -> bool:
        """The phrase may stand anywhere in an event; this is exact."""
        is_job = not self.job or event.subject == self.job or event.subject.startswith(f"{self.job}:")
        return is_job and self.kind in (None, event.kind) and self.status in ("", event.status)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The newest events, oldest first. `is_whole` is False where there were more than could be given or read."""

    events: tuple[Event, ...]
    is_whole: bool


def _client() -> "CloudWatchLogsClient":
    return session.client("logs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Events:
    """The event log group of a stack."""

    group: str
    logs: "CloudWatchLogsClient" = field(default_factory=_client)

    def newest(self, wanted: Wanted, *, limit: int) -> Found:
        """Raises NotFound where there is no such group."""
        kept: deque[Event] = deque(maxlen=limit)
        passed = pages = 0
        asked: dict[str, Any] = {"startTime": round(wanted.after * 1000)}
        if wanted.phrase:
            asked["filterPattern"] = wanted.phrase
        for page in self._pages(asked):
            chosen = [event for event in _read(page["events"]) if wanted.takes(event)]
            kept.extend(chosen)
            passed += len(chosen)
            pages += 1
            if pages == _MOST_PAGES:
                break
        ordered = tuple(sorted(kept, key=lambda event: event.at))
        return Found(events=ordered, is_whole=passed <= limit and pages < _MOST_PAGES)

    def _pages(self, asked: dict[str, Any]) -> Iterator[Any]:
        try:
            yield from self.logs.get_paginator("filter_log_events").paginate(logGroupName=self.group, **asked)
        except NotFound as error:
            raise NotFound(
                f"there is no log group {self.group}: --group names another, --region another region"
            ) from error


def group_of(stack: str) -> str:
    """The name of the stack's event log group, which CloudFormation made up. Raises NotFound."""
    for resource in stacks.summaries(stack):
        if resource["ResourceType"] == _GROUP_TYPE and resource["LogicalResourceId"].startswith(GROUP_ID):
            return str(resource["PhysicalResourceId"])
    raise NotFound(f"stack {stack} keeps no events: deploy it with the setting monitoring, or give --group")


def _read(found: Any) -> Iterator[Event]:
    """What is no event of ours is left out: others may write to the group too."""
    for each in found:
        try:
            told = json.loads(each["message"])
        except ValueError:
            continue
        if isinstance(told, dict) and told.get("detail-type") in DETAIL_TYPES and isinstance(told.get("detail"), dict):
            yield _event(told, each["timestamp"] / 1000)


def _event(told: Mapping[str, Any], written_at: float) -> Event:
    kind, detail = DETAIL_TYPES[told["detail-type"]], told["detail"]
    at = _moment(told.get("time"), written_at)
    if kind is Kind.SPOT:
        return Event(at=at, kind=kind, subject=str(detail.get("instance-id", "")), reason=_action(detail))
    # A blocked queue's event tells of the job at its head, in the form of a job's own (AWS Batch user guide).
    attempts = detail.get("attempts") or []
    return Event(
        at=at,
        kind=kind,
        subject=str(detail.get("jobId", "")),
        name=str(detail.get("jobName", "")),
        status=str(detail.get("status", "")),
        reason=_reason(detail) or _reason(attempts[-1] if attempts else {}),
        exit_code=(detail.get("container") or {}).get("exitCode"),
        attempts=len(attempts),
        queue=str(detail.get("jobQueue") or "").rpartition("/")[2],
    )


def _reason(told: Mapping[str, Any]) -> str:
    return str(told.get("statusReason") or "")


def _action(detail: Mapping[str, Any]) -> str:
    action = detail.get("instance-action")
    return f"EC2 will {action} it in two minutes" if action else ""


def _moment(written: object, otherwise: float) -> float:
    """EventBridge writes whole seconds, as 2026-11-23T09:44:22Z."""
    try:
        return datetime.fromisoformat(str(written)).timestamp()
    except ValueError:
        return otherwise
