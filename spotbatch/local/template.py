"""A CloudFormation template in one account and region: resolves its functions, and refuses unknown ones.

Only what is needed is resolved: the Batch resources, a few names, the outputs. The rest of a stack (network, roles,
alarms) only gets names, since the local region has no use for it.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from spotbatch.batch.errors import InvalidInput
from spotbatch.local import template_parameters
from spotbatch.local.template_functions import FUNCTIONS, refuse_unknown, without_no_values
from spotbatch.local.template_names import ATTRIBUTES, NAME_PROPERTIES, made_up, made_up_attribute
from spotbatch.local.template_values import NO_VALUE, Value, listed, mapping, short, text

_PARTITION: Final = "aws"
_MAX_DEPTH: Final = 60
_OURS: Final = "AWS::Batch::"
# User guide, "Template sections", and "Resource attribute reference".
_SECTIONS: Final = frozenset({
    "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Rules", "Mappings", "Conditions", "Transform",
    "Hooks", "Resources", "Outputs", "Globals",
})  # fmt: skip
_RESOURCE_MEMBERS: Final = frozenset({
    "Type", "Properties", "DependsOn", "Condition", "Metadata", "DeletionPolicy", "UpdateReplacePolicy",
    "CreationPolicy", "UpdatePolicy",
})  # fmt: skip
_DYNAMIC: Final = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")

# Lookup in this region's Parameter Store or Secrets Manager: (service, name) to the value, None if there is none.
Lookup = Callable[[str, str], str | None]


def _nothing(_service: str, _name: str) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource of a template; its properties are not resolved yet."""

    logical_id: str
    type: str
    properties: Mapping[str, Value]
    keeps_when_deleted: bool = False  # DeletionPolicy: Retain
    keeps_when_replaced: bool = False  # UpdateReplacePolicy: Retain


@dataclass(kw_only=True, slots=True)
class Template:
    """A template in one account and region, under a stack's name."""

    stack: str
    body: Mapping[str, Value]
    account_id: str
    region: str
    given: Mapping[str, str] = field(default_factory=dict)  # values of parameters
    imports: Mapping[str, str] = field(default_factory=dict)  # what other stacks export
    lookup: Lookup = _nothing
    revision_of: Callable[[str], int] = lambda _name: 1  # the revision of the job definition with this name
    replaced: Mapping[str, int] = field(default_factory=dict)  # how often a resource without a name was replaced
    parameters: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _conditions: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises InvalidInput for a template that CloudFormation would not accept."""
        here = f"template of {self.stack}"
        if unknown := sorted(self.body.keys() - _SECTIONS):
            raise InvalidInput(f"{here}: a template has no section {', '.join(unknown)}")
        for section in ("Resources", "Outputs", "Conditions", "Parameters", "Mappings"):
            refuse_unknown(mapping(self.body.get(section) or {}, f"{here}: {section}"), section)
        if not self.body.get("Resources"):
            raise InvalidInput(f"{here}: it has no Resources; give a synthesized CloudFormation template")
        self.parameters = template_parameters.values_of(self.stack, self._section("Parameters"), self.given)

    def _section(self, name: str) -> Mapping[str, Value]:
        section: Mapping[str, Value] = self.body.get(name) or {}
        return section

    def resources(self) -> list[Resource]:
        """The resources whose conditions are true, in template order. Raises InvalidInput for a malformed one."""
        found = []
        for logical_id, one in self._section("Resources").items():
            where = f"template of {self.stack}: Resources.{logical_id}"
            if not isinstance(one, Mapping) or not isinstance(one.get("Type"), str):
                raise InvalidInput(f"{where} needs a Type")
            if unknown := sorted(one.keys() - _RESOURCE_MEMBERS):
                raise InvalidInput(f"{where}: a resource has no {', '.join(unknown)}, but {sorted(_RESOURCE_MEMBERS)}")
            if self._holds(one):
                found.append(self._resource(logical_id, one, where))
        return found

    def _resource(self, logical_id: str, one: Mapping[str, Value], where: str) -> Resource:
        wanted = one.get("DependsOn") or []
        for other in [wanted] if isinstance(wanted, str) else listed(wanted, f"{where}.DependsOn"):
            if other not in self._section("Resources"):
                raise InvalidInput(f"{where}: DependsOn names {other!r}, which is no resource of the template")
        return Resource(
            logical_id=logical_id,
            type=one["Type"],
            properties=mapping(one.get("Properties") or {}, f"{where}.Properties"),
            keeps_when_deleted=str(one.get("DeletionPolicy", "")).startswith("Retain"),
            keeps_when_replaced=one.get("UpdateReplacePolicy") == "Retain",
        )

    def outputs(self) -> Iterator[tuple[str, str, str, str]]:
        """For each output the key, the value, the description, and the name of the export or ""."""
        for key, one in self._section("Outputs").items():
            where = f"Outputs.{key}"
            if self._holds(mapping(one, where)):
                value = text(self.resolve(one.get("Value"), f"{where}.Value"), f"{where}.Value")
                export = (one.get("Export") or {}).get("Name", "")
                name = text(self.resolve(export, f"{where}.Export.Name"), f"{where}.Export.Name")
                yield key, value, str(one.get("Description", "")), name

    def _holds(self, one: Mapping[str, Value]) -> bool:
        condition = one.get("Condition")
        return condition is None or self.condition(condition, "Condition")

    def resolve(self, value: Value, where: str, depth: int = 0) -> Value:
        """The value without functions; members set to AWS::NoValue are left out. Raises InvalidInput with its place."""
        if depth > _MAX_DEPTH:
            raise InvalidInput(f"template of {self.stack}: {where} is nested too deep, or refers to itself")
        if isinstance(value, list):
            return without_no_values([self.resolve(one, f"{where}[{i}]", depth + 1) for i, one in enumerate(value)])
        if not isinstance(value, Mapping):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            function = FUNCTIONS.get(name)
            if function is not None:
                return function(self, argument, f"{where}.{name}", depth + 1)
        members = {name: self.resolve(one, f"{where}.{name}", depth + 1) for name, one in value.items()}
        return {name: one for name, one in members.items() if one is not NO_VALUE}

    def with_dynamic_references(self, value: Value, where: str) -> Value:
        """The value with {{resolve:service:name}} looked up in this region. Raises InvalidInput if there is none."""
        if isinstance(value, list):
            return [self.with_dynamic_references(one, f"{where}[{i}]") for i, one in enumerate(value)]
        if isinstance(value, Mapping):
            return {name: self.with_dynamic_references(one, f"{where}.{name}") for name, one in value.items()}
        return _DYNAMIC.sub(lambda match: self._dynamic(match, where), value) if isinstance(value, str) else value

    def _dynamic(self, match: re.Match[str], where: str) -> str:
        service = "secretsmanager" if match[1] == "secretsmanager" else "ssm"
        found = self.lookup(service, match[2])
        if found is None:
            put = "secretsmanager create-secret" if service == "secretsmanager" else "ssm put-parameter"
            raise InvalidInput(
                f"template of {self.stack}: {where}: {match[0]} is not in this region: put it with `aws {put}` first"
            )
        return found

    def physical_id(self, logical_id: str) -> str:
        """The name of a resource: its own if it has one, otherwise one derived from the stack's and its logical id."""
        if logical_id not in self._names:
            one = self.body["Resources"][logical_id]
            self._names[logical_id] = self._made_up(logical_id)  # so that a loop terminates
            own = (one.get("Properties") or {}).get(NAME_PROPERTIES.get(one["Type"], ""))
            name = self._own_name(one["Type"], own, f"Resources.{logical_id}") if own is not None else NO_VALUE
            if name is not NO_VALUE:
                self._names[logical_id] = text(name, f"Resources.{logical_id}")
        return self._names[logical_id]

    def rename(self, logical_id: str) -> None:
        """Use a new generated name for a resource that is replaced."""
        self.replaced = {**self.replaced, logical_id: self.replaced.get(logical_id, 0) + 1}
        self._names.pop(logical_id, None)

    def has_own_name(self, logical_id: str) -> bool:
        """Whether the template itself names it: then a replacement would need the same name twice."""
        return self.physical_id(logical_id) != self._made_up(logical_id)

    def _own_name(self, kind: str, own: Value, where: str) -> Value:
        """A name that only the cloud can resolve (from a macro, another account) counts as none for a foreign type."""
        try:
            return self.with_dynamic_references(self.resolve(own, where), where)
        except InvalidInput:
            if kind.startswith(_OURS):
                raise
            return NO_VALUE

    def _made_up(self, logical_id: str) -> str:
        place = f"{self.account_id}/{self.region}/{self.stack}/{logical_id}"
        if again := self.replaced.get(logical_id):
            place += f"/{again}"
        return made_up(self.body["Resources"][logical_id]["Type"], self.stack, logical_id, place)

    def attribute(self, logical_id: str, name: str, where: str) -> Value:
        """Fn::GetAtt, or a Ref's value (name "Ref"). Raises InvalidInput for attributes that Batch's resources lack.

        Values of other services are made up: always the same, and in the attribute's usual format.
        """
        one = self.body["Resources"].get(logical_id)
        if not isinstance(one, Mapping) or "Type" not in one:
            raise InvalidInput(f"template of {self.stack}: {where} names {logical_id!r}, which is no resource of it")
        if not self._holds(one):
            raise InvalidInput(f"template of {self.stack}: {where} names {logical_id!r}, whose condition does not hold")
        physical = self.physical_id(logical_id)
        pattern = ATTRIBUTES.get((one["Type"], name))
        if pattern is None:
            return physical if name == "Ref" else self._foreign(logical_id, one, name, where)
        if one["Type"] == "AWS::Batch::JobDefinition":
            physical = f"{physical}:{self.revision_of(physical)}"
        return pattern.format(n=physical, r=self.region, a=self.account_id)

    def _foreign(self, logical_id: str, one: Mapping[str, Value], name: str, where: str) -> Value:
        if one["Type"].startswith(_OURS):
            raise InvalidInput(f"template of {self.stack}: {where}: {one['Type']} has no attribute {name}")
        own = (one.get("Properties") or {}).get(name)  # such as a VPC's CidrBlock
        if own is not None:
            return self.resolve(own, where)
        return made_up_attribute(one["Type"], name, self.physical_id(logical_id), self.region, self.account_id)

    def imported(self, name: str) -> str | None:
        """The value that another stack, or the caller, exports under a name."""
        return self.imports.get(name)

    def reference(self, name: str, where: str) -> Value:
        """Ref: a pseudo parameter, a parameter, or a resource."""
        if name in (pseudo := self._pseudo()):
            return pseudo[name]
        if name not in self.parameters:
            return self.attribute(name, "Ref", where)
        parameter, value = self.body["Parameters"][name], self.parameters[name]
        if template_parameters.is_ssm_value(parameter):
            value = self._stored(value, where)
        return [one.strip() for one in value.split(",")] if template_parameters.is_list(parameter) else value

    def _stored(self, name: str, where: str) -> str:
        """The value of an SSM parameter; AWS's own public ones (mostly images) are made up if moto lacks them."""
        found = self.lookup("ssm", name)
        if found is None and name.startswith("/aws/service/"):
            return f"ami-{hashlib.sha256(name.encode()).hexdigest()[:17]}"
        if found is None:
            raise InvalidInput(
                f"template of {self.stack}: {where}: there is no SSM parameter {name} in this region: put it with "
                "`aws ssm put-parameter` first"
            )
        return found

    def _pseudo(self) -> dict[str, Value]:
        return {
            "AWS::AccountId": self.account_id,
            "AWS::Region": self.region,
            "AWS::Partition": _PARTITION,
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.stack,
            "AWS::StackId": self.stack_id,
            "AWS::NoValue": NO_VALUE,
            "AWS::NotificationARNs": [],
        }

    @property
    def stack_id(self) -> str:
        """The stack's ARN: always the same for the same name."""
        return stack_arn(self.stack, self.account_id, self.region)

    def condition(self, name: Value, where: str) -> bool:
        """Whether a named condition is true."""
        if not isinstance(name, str) or name not in self._section("Conditions"):
            raise InvalidInput(f"template of {self.stack}: {where}: there is no condition {name!r}")
        if name not in self._conditions:
            self._conditions[name] = False  # so that a loop terminates
            self._conditions[name] = self.evaluate(self.body["Conditions"][name], f"Conditions.{name}")
        return self._conditions[name]

    def evaluate(self, rule: Value, where: str) -> bool:
        """Evaluate a condition's expression."""
        if isinstance(rule, Mapping) and len(rule) == 1:
            name, argument = next(iter(rule.items()))
            if name == "Condition":
                return self.condition(argument, where)
            if name == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:
                left, right = (_comparable(self.resolve(one, where)) for one in argument)
                return bool(left == right)
            if name in ("Fn::And", "Fn::Or", "Fn::Not") and isinstance(argument, list) and argument:
                results = [self.evaluate(one, where) for one in argument]
                return not results[0] if name == "Fn::Not" else (all if name == "Fn::And" else any)(results)
        raise InvalidInput(f"template of {self.stack}: {where} is no condition that is known here: {short(rule)}")


def stack_arn(stack: str, account_id: str, region: str) -> str:
    """The ARN of a stack: always the same for the same name."""
    digest = hashlib.sha256(f"{account_id}/{region}/{stack}".encode()).hexdigest()
    unique = f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
    return f"arn:aws:cloudformation:{region}:{account_id}:stack/{stack}/{unique}"


def _comparable(value: Value) -> Value:
    """Parameters are strings: `true` and `"true"`, 3 and "3" are equal in a condition."""
    return text(value, "Fn::Equals") if isinstance(value, str | int | float) else value
