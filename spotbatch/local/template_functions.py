"""CloudFormation's intrinsic functions (user guide, "Intrinsic function reference"): those that need no cloud."""

import ipaddress
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.template_values import NO_VALUE, Value, listed, mapping, pair, short, text, whole

if TYPE_CHECKING:
    from spotbatch.local.template import Template

_SUB: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_ZONES: Final = "abc"
_MOST_BLOCKS: Final = 256  # of Fn::Cidr


def _ref(template: "Template", argument: Value, where: str, _depth: int) -> Value:
    return template.reference(text(argument, where), where)


def _get_att(template: "Template", argument: Value, where: str, depth: int) -> Value:
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    logical_id, name = pair(parts, where)
    return template.attribute(text(logical_id, where), text(template.resolve(name, where, depth), where), where)


def _join(template: "Template", argument: Value, where: str, depth: int) -> str:
    separator, parts = pair(argument, where)
    values = listed(template.resolve(parts, where, depth), where)
    return text(separator, where).join(text(value, where) for value in values)


def _split(template: "Template", argument: Value, where: str, depth: int) -> list[str]:
    separator, whole_text = pair(argument, where)
    return text(template.resolve(whole_text, where, depth), where).split(text(separator, where))


def _select(template: "Template", argument: Value, where: str, depth: int) -> Value:
    place, items = pair(argument, where)
    values = listed(template.resolve(items, where, depth), where)
    chosen = text(template.resolve(place, where, depth), where)
    if not chosen.isdecimal() or int(chosen) >= len(values):
        raise InvalidInput(f"{where}: there is no item {chosen!r} among {len(values)}")
    return values[int(chosen)]


def _sub(template: "Template", argument: Value, where: str, depth: int) -> str:
    pattern, variables = (argument, {}) if isinstance(argument, str) else pair(argument, where)
    named = mapping(variables, f"{where}, its variables")

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            return f"${{{match[2]}}}"  # ${!literal}
        name = match[2].strip()
        if name in named:
            return text(template.resolve(named[name], where, depth), where)
        if "." in name:
            logical_id, _, attribute = name.partition(".")
            return text(template.attribute(logical_id, attribute, where), where)
        return text(template.reference(name, where), where)

    return _SUB.sub(replacement, text(pattern, where))


def _get_azs(template: "Template", argument: Value, where: str, depth: int) -> list[str]:
    region = template.resolve(argument, where, depth) or template.region
    return [f"{text(region, where)}{letter}" for letter in _ZONES]


def _if(template: "Template", argument: Value, where: str, depth: int) -> Value:
    if not isinstance(argument, list) or len(argument) != 3:
        raise InvalidInput(f"{where}: Fn::If has a condition and two values")
    name, when_true, when_false = argument
    return template.resolve(when_true if template.condition(name, where) else when_false, where, depth)


def _find_in_map(template: "Template", argument: Value, where: str, depth: int) -> Value:
    arguments = listed(argument, where)
    keys = [text(template.resolve(key, where, depth), where) for key in arguments[:3]]
    if len(keys) < 3:
        raise InvalidInput(f"{where}: Fn::FindInMap names a mapping and two keys, not {short(argument)}")
    found: Value = template.body.get("Mappings", {})
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return _map_default(template, arguments, keys, where, depth)
        found = found[key]
    return found


def _map_default(template: "Template", arguments: list[Value], keys: list[str], where: str, depth: int) -> Value:
    """AWS::LanguageExtensions: a fourth argument, {"DefaultValue": ...}."""
    last = arguments[3] if len(arguments) == 4 else None
    if isinstance(last, Mapping) and "DefaultValue" in last:
        return template.resolve(last["DefaultValue"], where, depth)
    raise InvalidInput(f"{where}: the mappings have no {'.'.join(keys)}")


def _base64(template: "Template", argument: Value, where: str, depth: int) -> str:
    return b64encode(text(template.resolve(argument, where, depth), where).encode()).decode()


def _import_value(template: "Template", argument: Value, where: str, depth: int) -> str:
    name = text(template.resolve(argument, where, depth), where)
    value = template.imported(name)
    if value is None:
        raise InvalidInput(
            f"template of {template.stack}: {where}: no stack that is loaded here exports {name!r}: load the one that "
            f"does, or give it by --import '{name}=VALUE'"
        )
    return value


def _cidr(template: "Template", argument: Value, where: str, depth: int) -> list[str]:
    """Blocks of 2 ** bits addresses, `count` of them from the start of a block."""
    arguments = listed(template.resolve(argument, where, depth), where)
    if not 2 <= len(arguments) <= 3:
        raise InvalidInput(f"{where}: Fn::Cidr has a block, a count and the bits of a host, not {short(arguments)}")
    try:
        block = ipaddress.ip_network(text(arguments[0], where), strict=False)
    except ValueError as error:
        raise InvalidInput(f"{where}: Fn::Cidr needs an address block: {error}") from error
    count = whole(arguments[1], where)
    bits = whole(arguments[2], where) if len(arguments) == 3 else 8
    prefix = block.max_prefixlen - bits
    if not 1 <= count <= _MOST_BLOCKS or not block.prefixlen <= prefix <= block.max_prefixlen:
        raise InvalidInput(f"{where}: {block} has no {count} blocks of {bits} bits")
    if count > 2 ** (prefix - block.prefixlen):
        raise InvalidInput(f"{where}: {block} has no {count} blocks of {bits} bits")
    blocks = block.subnets(new_prefix=prefix)
    return [str(next(blocks)) for _ in range(count)]


def _to_json_string(template: "Template", argument: Value, where: str, depth: int) -> str:
    return json.dumps(template.resolve(argument, where, depth), separators=(",", ":"))


def _length(template: "Template", argument: Value, where: str, depth: int) -> int:
    return len(listed(template.resolve(argument, where, depth), where))


def _transform(template: "Template", argument: Value, where: str, _depth: int) -> Value:
    name = argument.get("Name") if isinstance(argument, Mapping) else argument
    raise InvalidInput(
        f"template of {template.stack}: {where}: the macro {short(name)} runs in the cloud only; give the template as "
        "it is after its macros (`aws cloudformation get-template --template-stage Processed`)"
    )


FUNCTIONS: Final[dict[str, Callable[["Template", Value, str, int], Value]]] = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Join": _join,
    "Fn::Split": _split,
    "Fn::Select": _select,
    "Fn::Sub": _sub,
    "Fn::GetAZs": _get_azs,
    "Fn::If": _if,
    "Fn::FindInMap": _find_in_map,
    "Fn::Base64": _base64,
    "Fn::ImportValue": _import_value,
    "Fn::Cidr": _cidr,
    "Fn::ToJsonString": _to_json_string,
    "Fn::Length": _length,
    "Fn::Transform": _transform,
}
CONDITION_FUNCTIONS: Final = frozenset({"Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not"})
_MAX_DEPTH: Final = 60


def refuse_unknown(value: Value, where: str, depth: int = 0) -> None:
    """Raises InvalidInput for any Fn:: name that CloudFormation does not have, wherever it occurs."""
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"{where} is nested too deep")
    if isinstance(value, list):
        for place, one in enumerate(value):
            refuse_unknown(one, f"{where}[{place}]", depth + 1)
    if isinstance(value, Mapping):
        for name, one in value.items():
            allowed = CONDITION_FUNCTIONS if where.startswith("Conditions") else ()
            if str(name).startswith("Fn::") and name not in FUNCTIONS and name not in allowed:
                raise InvalidInput(f"{where}: the function {name} is not known here; known are {sorted(FUNCTIONS)}")
            refuse_unknown(one, f"{where}.{name}", depth + 1)


def without_no_values(items: list[Value]) -> list[Value]:
    """The items without those set to AWS::NoValue."""
    return [item for item in items if item is not NO_VALUE]
