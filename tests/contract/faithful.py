"""Holds every answer of the region against AWS's own service model: no member that AWS does not have, no wrong type."""

import json
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

_ANY_CASE = "RetryAction"  # the model has RETRY and EXIT; AWS is seen to answer retry and exit
_NOT_ALWAYS_THERE = {"startedAt"}  # the model calls it required, but a job that has not started has none
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "double": (int, float),
    "float": (int, float),
    "boolean": (bool,),
    "timestamp": (int, float),
}


def watch(client: Any) -> None:
    """From now on an answer to this client that AWS could not have given fails the test."""

    def check(response_dict: dict[str, Any], event_name: str, **_: Any) -> None:
        if response_dict["status_code"] == 200:
            operation = event_name.rpartition(".")[2]
            shape = client.meta.service_model.operation_model(operation).output_shape
            wrong = differences(json.loads(response_dict["body"] or "{}"), shape, operation)
            assert not wrong, f"AWS does not answer so: {wrong}"

    client.meta.events.register("response-received", check)


def differences(value: Any, shape: Shape | None, where: str) -> list[str]:
    """What of a JSON value does not fit a shape of the service model; a null is as good as nothing."""
    if value is None:
        return []
    if shape is None:
        return [f"{where}: nothing is answered"] if value else []
    if isinstance(shape, StructureShape):
        if not isinstance(value, dict):
            return [f"{where}: {type(value).__name__} for a structure"]
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        found = [f"{where}.{name} is unknown" for name in value if name not in names]
        required = set(shape.required_members) - _NOT_ALWAYS_THERE
        found += [f"{where}.{name} is missing" for name in sorted(required - value.keys())]
        for name in value.keys() & names.keys():
            found += differences(value[name], names[name], f"{where}.{name}")
        return found
    if isinstance(shape, ListShape):
        if not isinstance(value, list):
            return [f"{where}: {type(value).__name__} for a list"]
        return [one for item in value for one in differences(item, shape.member, f"{where}[]")]
    if isinstance(shape, MapShape):
        if not isinstance(value, dict):
            return [f"{where}: {type(value).__name__} for a map"]
        return [one for name, item in value.items() for one in differences(item, shape.value, f"{where}.{name}")]
    return _scalar_differences(value, shape, where)


def _scalar_differences(value: Any, shape: Shape, where: str) -> list[str]:
    if not isinstance(value, _SCALARS[shape.type_name]) or (isinstance(value, bool) and shape.type_name != "boolean"):
        return [f"{where}: {value!r:.60} for a {shape.type_name}"]
    allowed = getattr(shape, "enum", None)
    given = str(value).upper() if shape.name == _ANY_CASE else value
    if allowed and given not in allowed:
        return [f"{where}: {value!r:.60} is none of {allowed}"]
    return []
