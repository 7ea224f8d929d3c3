"""A template's parameters: given values or defaults, checked against the template's own rules.

CloudFormation user guide, "Parameters".
"""

import re
from collections.abc import Mapping
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.template_values import Value, mapping, short, text

_LIST: Final = re.compile(r"CommaDelimitedList|List<.+>")
_SSM_VALUE: Final = re.compile(r"AWS::SSM::Parameter::Value<(.+)>")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


def values_of(stack: str, sections: Mapping[str, Value], given: Mapping[str, str]) -> dict[str, str]:
    """The text of each parameter that has a value, by name. Raises InvalidInput for what the template forbids."""
    if unknown := sorted(given.keys() - sections.keys()):
        known = ", ".join(sorted(sections)) or "none"
        raise InvalidInput(f"template of {stack}: it has no parameter {', '.join(unknown)}; it has {known}")
    found: dict[str, str] = {}
    missing: list[str] = []
    for name, one in sections.items():
        parameter = mapping(one, f"template of {stack}: Parameters.{name}")
        if name in given or "Default" in parameter:
            found[name] = _checked(stack, name, parameter, given[name] if name in given else parameter["Default"])
        else:
            missing.append(name)
    if missing:
        options = " ".join(f"--parameter {name}=VALUE" for name in missing)
        raise InvalidInput(f"template of {stack}: these parameters have no default: give {options}")
    return found


def _checked(stack: str, name: str, parameter: Mapping[str, Value], given: Value) -> str:
    where = f"template of {stack}: parameter {name}"
    value = ",".join(map(str, given)) if isinstance(given, list) else text(given, where)
    items = [one.strip() for one in value.split(",")] if is_list(parameter) else [value]
    said = parameter.get("ConstraintDescription")
    refused = f"{where}: {short(value)} is refused: "
    allowed = parameter.get("AllowedValues")
    if allowed is not None and not set(items) <= {text(one, where) for one in allowed}:
        raise InvalidInput(f"{refused}{said or f'allowed are {short(allowed)}'}")
    pattern = parameter.get("AllowedPattern")
    if pattern is not None and not all(_fits(text(pattern, where), one, where) for one in items):
        raise InvalidInput(f"{refused}{said or f'it must look like {pattern}'}")
    if "Number" in str(parameter.get("Type")):
        _check_numbers(parameter, items, refused)
    low, high = (_limit(parameter, member) for member in ("MinLength", "MaxLength"))
    if (low is not None and len(value) < low) or (high is not None and len(value) > high):
        raise InvalidInput(f"{refused}{said or f'it has {len(value)} characters, not {low or 0} to {high}'}")
    return value


def _check_numbers(parameter: Mapping[str, Value], items: list[str], refused: str) -> None:
    low, high = (_limit(parameter, member) for member in ("MinValue", "MaxValue"))
    for one in items:
        if not _NUMBER.fullmatch(one):
            raise InvalidInput(f"{refused}it must be a number")
        if (low is not None and float(one) < low) or (high is not None and float(one) > high):
            said = parameter.get("ConstraintDescription")
            raise InvalidInput(f"{refused}{said or f'it must be between {low} and {high}'}")


def _limit(parameter: Mapping[str, Value], member: str) -> float | None:
    value = parameter.get(member)
    return float(text(value, member)) if value is not None else None


def _fits(pattern: str, value: str, where: str) -> bool:
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error as error:
        raise InvalidInput(f"{where}: AllowedPattern {pattern!r} is no pattern: {error}") from error


def is_list(parameter: Mapping[str, Value]) -> bool:
    """Whether a Ref to it returns a list: CommaDelimitedList, List<...>, and such values of SSM parameters."""
    kind = str(parameter.get("Type", ""))
    inner = _SSM_VALUE.fullmatch(kind)
    return _LIST.fullmatch(inner[1] if inner else kind) is not None


def is_ssm_value(parameter: Mapping[str, Value]) -> bool:
    """Whether its text names an SSM parameter, whose value a Ref returns."""
    return _SSM_VALUE.fullmatch(str(parameter.get("Type", ""))) is not None
