"""Writing a record as JSON without importing `json`, which takes 2 ms of the processor time of each start."""

import math


def dumps(value: object, level: int = 0) -> str:
    """The text that `json.dumps(value, indent=1)` returns. What is rare in a record is left to that function."""
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    kind = type(value)
    if kind is int or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str) and value.isascii() and value.isprintable() and not ('"' in value or "\\" in value):
        return f'"{str.__str__(value)}"'
    if value == [] or value == {}:
        return "[]" if value == [] else "{}"
    inner, outer = "\n" + " " * (level + 1), "\n" + " " * level
    if kind is dict and value and all(type(name) is str for name in value):  # type: ignore[attr-defined]
        rows = (f"{dumps(name)}: {dumps(each, level + 1)}" for name, each in value.items())  # type: ignore[attr-defined]
        return f"{{{inner}{f',{inner}'.join(rows)}{outer}}}"
    if kind is list and value:
        return f"[{inner}{f',{inner}'.join(dumps(each, level + 1) for each in value)}{outer}]"  # type: ignore[attr-defined]
    import json

    return json.dumps(value)
