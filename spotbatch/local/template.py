"""Reading a synthesized CloudFormation template: its functions are resolved, and one that is unknown is refused.

Only what is asked for is resolved: the Batch resources, a few names, the outputs. The rest of a stack (network, roles,
alarms) gets names and nothing else, since the local region has no use for it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.template_names import ATTRIBUTES, NAME_PROPERTIES, made_up

Value = Any  # a JSON value; after `resolve` without functions
_SUB: Final = re.compile(r"\$\{(!?)([^}]*)\}")
_PARTITION: Final = "aws"
_MAX_DEPTH: Final = 60
_ZONES: Final = "abcdef"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of a template; the properties are not resolved yet."""

    logical_id: str
    type: str
    properties: Mapping[str, Value]


@dataclass(kw_only=True, slots=True)
class Template:
    """A template in one account and region, under one stack's name."""

    stack: str
    body: Mapping[str, Value]
    account_id: str
    region: str
    revision_of: Callable[[str], int] = lambda _name: 1  # which revision a job definition of this name has
    _names: dict[str, str] = field(default_factory=dict)
    _conditions: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises InvalidInput for a template that holds a function that is not known here."""
        for section in ("Resources", "Outputs", "Conditions"):
            if not isinstance(self.body.get(section, {}), Mapping):
                raise InvalidInput(f"template of {self.stack}: {section} must be an object")
            _refuse_unknown(self.body.get(section, {}), section, 0)
        if not self.body.get("Resources"):
            raise InvalidInput(
                f"template of {self.stack}: it has no Resources; give a synthesized CloudFormation template"
            )

    def resources(self) -> list[Resource]:
        """The resources whose conditions hold, in the template's order."""
        found = []
        for logical_id, one in self.body["Resources"].items():
            if not isinstance(one, Mapping) or not isinstance(one.get("Type"), str):
                raise InvalidInput(f"template of {self.stack}: Resources.{logical_id} needs a Type")
            if self._holds(one):
                properties = one.get("Properties", {})
                found.append(Resource(logical_id=logical_id, type=one["Type"], properties=properties))
        return found

    def outputs(self) -> dict[str, tuple[str, str]]:
        """Of each output its value and its description."""
        found = {}
        for key, one in self.body.get("Outputs", {}).items():
            if self._holds(one):
                value = self.resolve(one.get("Value"), f"Outputs.{key}.Value")
                found[key] = (_text(value, f"Outputs.{key}.Value"), str(one.get("Description", "")))
        return found

    def _holds(self, one: Mapping[str, Value]) -> bool:
        condition = one.get("Condition")
        return condition is None or self.condition(condition, "Condition")

    def resolve(self, value: Value, where: str, depth: int = 0) -> Value:
        """The value without functions; what Ref AWS::NoValue names is left out. Raises InvalidInput with the place."""
        if depth > _MAX_DEPTH:
            raise InvalidInput(f"template of {self.stack}: {where} is nested too deep, or refers to itself")
        if isinstance(value, list):
            items = (self.resolve(one, f"{where}[{place}]", depth + 1) for place, one in enumerate(value))
            return [item for item in items if item is not _NO_VALUE]
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            function = _FUNCTIONS.get(name)
            if function is not None:
                return function(self, argument, f"{where}.{name}", depth + 1)
        members = {name: self.resolve(one, f"{where}.{name}", depth + 1) for name, one in value.items()}
        return {name: one for name, one in members.items() if one is not _NO_VALUE}

    def physical_id(self, logical_id: str) -> str:
        """The name of a resource: its own where it has one, else one made from the stack's and its logical id."""
        if logical_id not in self._names:
            one = self.body["Resources"][logical_id]
            self._names[logical_id] = self._made_up(logical_id)  # so that a loop ends
            own = one.get("Properties", {}).get(NAME_PROPERTIES.get(one["Type"], ""))
            if own is not None:
                name = self.resolve(own, f"Resources.{logical_id}")
                if name is not _NO_VALUE:
                    self._names[logical_id] = _text(name, f"Resources.{logical_id}")
        return self._names[logical_id]

    def _made_up(self, logical_id: str) -> str:
        place = f"{self.account_id}/{self.region}/{self.stack}/{logical_id}"
        return made_up(self.body["Resources"][logical_id]["Type"], self.stack, logical_id, place)

    def attribute(self, logical_id: str, name: str, where: str) -> str:
        """Fn::GetAtt, or what a Ref gives (name "Ref"). Raises InvalidInput for an attribute that is not known here."""
        one = self.body["Resources"].get(logical_id)
        if one is None:
            raise InvalidInput(f"template of {self.stack}: {where} names {logical_id!r}, which is no resource of it")
        physical = self.physical_id(logical_id)
        pattern = ATTRIBUTES.get((one["Type"], name))
        if pattern is None:
            if name != "Ref":
                raise InvalidInput(
                    f"template of {self.stack}: {where}: attribute {name} of {one['Type']} is not known here"
                )
            return physical
        if one["Type"] == "AWS::Batch::JobDefinition":
            physical = f"{physical}:{self.revision_of(physical)}"
        return pattern.format(n=physical, r=self.region, a=self.account_id)

    def reference(self, name: str, where: str) -> Value:
        """Ref: a pseudo parameter, a parameter's default, or a resource."""
        if name in (pseudo := self._pseudo()):
            return pseudo[name]
        parameter = self.body.get("Parameters", {}).get(name)
        if parameter is not None:
            if "Default" not in parameter:
                raise InvalidInput(f"template of {self.stack}: {where}: parameter {name} has no default")
            return parameter["Default"]
        return self.attribute(name, "Ref", where)

    def _pseudo(self) -> dict[str, Value]:
        return {
            "AWS::AccountId": self.account_id,
            "AWS::Region": self.region,
            "AWS::Partition": _PARTITION,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.stack,
            "AWS::StackId": self.stack_id,
            "AWS::NoValue": _NO_VALUE,
            "AWS::NotificationARNs": [],
        }

    @property
    def stack_id(self) -> str:
        """The stack's ARN: always the same for the same name."""
        digest = hashlib.sha256(f"{self.account_id}/{self.region}/{self.stack}".encode()).hexdigest()
        unique = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
        return f"arn:aws:cloudformation:{self.region}:{self.account_id}:stack/{self.stack}/{unique}"

    def condition(self, name: Value, where: str) -> bool:
        """Whether a named condition holds."""
        if not isinstance(name, str) or name not in self.body.get("Conditions", {}):
            raise InvalidInput(f"template of {self.stack}: {where}: there is no condition {name!r}")
        if name not in self._conditions:
            self._conditions[name] = False  # so that a loop ends
            self._conditions[name] = self.evaluate(self.body["Conditions"][name], f"Conditions.{name}")
        return self._conditions[name]

    def evaluate(self, rule: Value, where: str) -> bool:
        """A condition's expression."""
        if isinstance(rule, Mapping) and len(rule) == 1:
            name, argument = next(iter(rule.items()))
            if name == "Condition":
                return self.condition(argument, where)
            if name == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:
                left, right = (self.resolve(one, where) for one in argument)
                return bool(left == right)
            if name in ("Fn::And", "Fn::Or", "Fn::Not") and isinstance(argument, list) and argument:
                results = [self.evaluate(one, where) for one in argument]
                return not results[0] if name == "Fn::Not" else (all if name == "Fn::And" else any)(results)
        raise InvalidInput(f"template of {self.stack}: {where} is no condition that is known here: {_short(rule)}")


class _NoValue:
    """What Ref AWS::NoValue gives: the member that holds it is left out."""


_NO_VALUE: Final = _NoValue()


def _ref(template: Template, argument: Value, where: str, _depth: int) -> Value:
    return template.reference(_text(argument, where), where)


def _get_att(template: Template, argument: Value, where: str, depth: int) -> Value:
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    logical_id, name = _pair(parts, where)
    return template.attribute(_text(logical_id, where), _text(template.resolve(name, where, depth), where), where)


def _join(template: Template, argument: Value, where: str, depth: int) -> str:
    separator, parts = _pair(argument, where)
    values = _list(template.resolve(parts, where, depth), where)
    return _text(separator, where).join(_text(value, where) for value in values)


def _split(template: Template, argument: Value, where: str, depth: int) -> list[str]:
    separator, text = _pair(argument, where)
    return _text(template.resolve(text, where, depth), where).split(_text(separator, where))


def _select(template: Template, argument: Value, where: str, depth: int) -> Value:
    place, items = _pair(argument, where)
    values = _list(template.resolve(items, where, depth), where)
    chosen = _text(template.resolve(place, where, depth), where)
    if not chosen.isdigit() or int(chosen) >= len(values):
        raise InvalidInput(f"{where}: there is no item {chosen!r} among {len(values)}")
    return values[int(chosen)]


def _sub(template: Template, argument: Value, where: str, depth: int) -> str:
    text, variables = (argument, {}) if isinstance(argument, str) else _pair(argument, where)
    if not isinstance(variables, Mapping):
        raise InvalidInput(f"{where}: the variables of Fn::Sub are an object")

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            return f"${{{match[2]}}}"  # ${!literal}
        name = match[2].strip()
        if name in variables:
            return _text(template.resolve(variables[name], where, depth), where)
        if "." in name:
            logical_id, _, attribute = name.partition(".")
            return template.attribute(logical_id, attribute, where)
        return _text(template.reference(name, where), where)

    return _SUB.sub(replacement, _text(text, where))


def _get_azs(template: Template, argument: Value, where: str, depth: int) -> list[str]:
    region = template.resolve(argument, where, depth) or template.region
    return [f"{region}{letter}" for letter in _ZONES[:3]]


def _if(template: Template, argument: Value, where: str, depth: int) -> Value:
    if not isinstance(argument, list) or len(argument) != 3:
        raise InvalidInput(f"{where}: Fn::If has a condition and two values")
    name, when_true, when_false = argument
    return template.resolve(when_true if template.condition(name, where) else when_false, where, depth)


def _find_in_map(template: Template, argument: Value, where: str, depth: int) -> Value:
    keys = _list(template.resolve(argument, where, depth), where)
    found: Value = template.body.get("Mappings", {})
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            raise InvalidInput(f"{where}: the mappings have no {'.'.join(map(str, keys))}")
        found = found[key]
    return found


def _base64(template: Template, argument: Value, where: str, depth: int) -> str:
    from base64 import b64encode

    return b64encode(_text(template.resolve(argument, where, depth), where).encode()).decode()


_FUNCTIONS: Final[dict[str, Callable[[Template, Value, str, int], Value]]] = {
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
}
_CONDITION_FUNCTIONS: Final = frozenset({"Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not"})


def _refuse_unknown(value: Value, where: str, depth: int) -> None:
    """Raises InvalidInput for any Fn:: name that is not known here, wherever it stands."""
    if depth > _MAX_DEPTH:
        raise InvalidInput(f"{where} is nested too deep")
    if isinstance(value, list):
        for place, one in enumerate(value):
            _refuse_unknown(one, f"{where}[{place}]", depth + 1)
    if isinstance(value, Mapping):
        for name, one in value.items():
            is_function = name.startswith("Fn::")
            allowed = _CONDITION_FUNCTIONS if where.startswith("Conditions") else ()
            if is_function and name not in _FUNCTIONS and name not in allowed:
                raise InvalidInput(f"{where}: the function {name} is not known here; known are {sorted(_FUNCTIONS)}")
            _refuse_unknown(one, f"{where}.{name}", depth + 1)


def _pair(value: Value, where: str) -> tuple[Value, Value]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise InvalidInput(f"{where} needs two arguments, not {_short(value)}")
    return value[0], value[1]


def _list(value: Value, where: str) -> list[Value]:
    if not isinstance(value, list):
        raise InvalidInput(f"{where} needs a list, not {_short(value)}")
    return value


def _text(value: Value, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(f"{where} needs a text, not {_short(value)}")
    return str(value)


def _short(value: Value) -> str:
    return json.dumps(value, default=str)[:200]


def stack_name_of(path: Path) -> str:
    """The stack that a file of `cdk.out` belongs to: `<stack>.template.json`."""
    return path.name.removesuffix(".json").removesuffix(".template")


def read_template(path: Path) -> dict[str, Value]:
    """A template file. Raises NotFound or InvalidInput."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"no template {path}: `python app.py` writes it below cdk.out") from None
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error}): give the template that `python app.py` writes") from error
    if not isinstance(body, dict):
        raise InvalidInput(f"{path} is no CloudFormation template")
    return body
