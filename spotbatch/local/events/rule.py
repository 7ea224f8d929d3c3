"""An EventBridge rule with its targets, from moto or from a template. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.events.pattern import matches, may_match
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

    def may_take(self, known: Mapping[str, Any]) -> bool:
        """Whether an event with these members, and others that are not known yet, may match: before it is rendered."""
        return self.pattern is not None and may_match(self.pattern, known)


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
    return frozenset(
        (source, detail_type)
        for source, detail_type in kinds
        if any(rule.may_take({"source": source, "detail-type": detail_type}) for rule in of_patterns)
    )
