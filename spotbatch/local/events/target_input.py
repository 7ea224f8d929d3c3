"""What a rule's target receives: the event, a part of it, a constant, or a template with parts of it. Pure.

Source: EventBridge user guide, "Input transformation"; API reference, Target and InputTransformer.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_NAME: Final = re.compile(r"<([A-Za-z0-9_.-]+)>")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_-]+)|\[([0-9]+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_MISSING: Final = object()


_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def has_input(target: Mapping[str, Any]) -> bool:
    """Whether a target receives anything but the whole event."""
    return any(target.get(name) is not None for name in ("Input", "InputPath", "InputTransformer"))


def text_of(event: Any) -> str:
    """An event, or a part of it, as a target receives it."""
    return _ENCODER.encode(event)


def message_for(target: Mapping[str, Any], event: Mapping[str, Any], *, rule_arn: str, rule_name: str) -> str:
    """The text that the target receives. `target` has the members of PutTargets."""
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath") is not None:
        found = at_path(event, str(target["InputPath"]))
        return text_of(None if found is _MISSING else found)
    transformer = target.get("InputTransformer")
    if not isinstance(transformer, Mapping):
        return text_of(event)
    paths = transformer.get("InputPathsMap") or {}
    values = {name: at_path(event, str(path)) for name, path in paths.items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_name,
        "aws.events.event.ingestion-time": event.get("time", ""),
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    return filled(str(transformer.get("InputTemplate", "")), values)


def filled(template: str, values: Mapping[str, Any]) -> str:
    """A template with its <names> replaced: verbatim within a string, as JSON elsewhere.

    A path without a match is empty within a string; elsewhere it is null, which the guide leaves open.
    """
    found = []
    place = 0
    is_quoted = False
    for match in _NAME.finditer(template):
        between = template[place : match.start()]
        is_quoted ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        value = values.get(match[1], _MISSING)
        found += [between, _in_text(value) if is_quoted else json.dumps(None if value is _MISSING else value)]
        place = match.end()
    return "".join([*found, template[place:]])


def _in_text(value: Any) -> str:
    if value is _MISSING:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text, ensure_ascii=False)[1:-1]  # its quotes are escaped, so that the string stays one


def at_path(event: Any, path: str) -> Any:
    """The value at a JSON path ($.detail.x, $.resources[0], $['detail-type']); a marker of ours if there is none."""
    steps = list(_STEP.finditer(path, 1)) if path.startswith("$") else []
    if path != "$" + "".join(one[0] for one in steps):
        return _MISSING
    for one in steps:
        name = next((part for part in (one[1], one[3], one[4]) if part is not None), None)
        if name is not None and isinstance(event, Mapping) and name in event:
            event = event[name]
        elif name is None and isinstance(event, list) and int(one[2]) < len(event):
            event = event[int(one[2])]
        else:
            return _MISSING
    return event
