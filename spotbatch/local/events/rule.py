"""An EventBridge rule with its targets, from moto or from a template. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events.pattern import matches
from spotbatch.local.events.schedule import Schedule, schedule_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What to match, and where to send it. The targets have the members of PutTargets."""

    name: str
    bus: str = "default"
    arn: str
    pattern: Mapping[str, Any] | None = None
    schedule: Schedule | None = None
    targets: Sequence[Mapping[str, Any]] = ()

    def takes(self, event: Mapping[str, Any]) -> bool:
        return self.pattern is not None and matches(self.pattern, event)

    def may_take(self, source: str, detail_type: str) -> bool:
        """Whether an event of this kind can match at all: a quick check without its detail."""
        return self._may_take({"source": source, "detail-type": detail_type})

    def may_take_status(self, source: str, detail_type: str, status: str) -> bool:
        """The same, given the status in its detail."""
        detail = (self.pattern or {}).get("detail")
        wanted = {"status": detail["status"]} if isinstance(detail, Mapping) and "status" in detail else {}
        return self.may_take(source, detail_type) and matches(wanted, {"status": status})

    def _may_take(self, head: Mapping[str, Any]) -> bool:
        return self.pattern is not None and matches(
            {name: wanted for name, wanted in self.pattern.items() if name in head}, head
        )


def rule_of(properties: Mapping[str, Any], *, name: str, account_id: str, region: str) -> Rule | None:
    """A rule from its CloudFormation properties; None if it is disabled or cannot be parsed."""
    if str(properties.get("State") or "ENABLED") == "DISABLED":
        return None
    bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
    pattern = properties.get("EventPattern")
    if isinstance(pattern, str):
        pattern = json.loads(pattern)
    expression = properties.get("ScheduleExpression")
    try:
        schedule = schedule_of(str(expression)) if expression else None
    except InvalidInput:
        return None
    inner = name if bus == "default" else f"{bus}/{name}"
    return Rule(
        name=name,
        bus=bus,
        arn=f"arn:aws:events:{region}:{account_id}:rule/{inner}",
        pattern=pattern or None,
        schedule=schedule,
        targets=tuple(properties.get("Targets") or ()),
    )


def kinds_wanted(rules: Iterable[Rule], kinds: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those of these (source, detail type) pairs that some rule may accept."""
    of_patterns = [rule for rule in rules if rule.pattern is not None]
    return frozenset(kind for kind in kinds if any(rule.may_take(*kind) for rule in of_patterns))
