"""IAM's evaluation of identity policies, as far as the stack's own go: Allow and Deny, wildcards, two operators.

IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators". What the template leaves
to CloudFormation is filled in by `resolved`. Not here: boundaries, resource policies, sessions.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"
_KNOWN: Final = {"AWS::Partition": "aws", "AWS::Region": REGION, "AWS::AccountId": ACCOUNT}


class Policies:
    """The statements of a template's roles, by the beginning of the role's logical id."""

    def __init__(self, template: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """`names`: what the beginning of a logical id stands for, as ARN."""
        self._names = names
        self._statements: list[tuple[str, Mapping[str, Any]]] = []
        for each in template["Resources"].values():
            if each["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
                roles = [self.resolved(role) for role in each["Properties"]["Roles"]]
                for statement in each["Properties"]["PolicyDocument"]["Statement"]:
                    self._statements += [(role, statement) for role in roles]

    def allows(self, role: str, action: str, resource: str, **context: str) -> bool:
        """Whether a role may do this; `context`: condition keys, with __ for a colon."""
        keys = {name.replace("__", ":"): value for name, value in context.items()}
        effects = {
            statement["Effect"]
            for owner, statement in self._statements
            if owner.startswith(role)
            and any(_like(one, action) for one in _list(statement["Action"]))
            and any(_like(self.resolved(one), resource) for one in _list(statement["Resource"]))
            and self._holds(statement.get("Condition", {}), keys)
        }
        return effects == {"Allow"}

    def _holds(self, conditions: Mapping[str, Mapping[str, Any]], keys: Mapping[str, str]) -> bool:
        for operator, pairs in conditions.items():
            assert operator in ("StringEquals", "StringLike"), operator
            for key, wanted in pairs.items():
                values = [self.resolved(one) for one in _list(wanted)]
                if key not in keys:
                    return False
                if not any(_like(one, keys[key]) if operator == "StringLike" else one == keys[key] for one in values):
                    return False
        return True

    def resolved(self, value: Any) -> str:
        """A string of the template with its references filled in."""
        if isinstance(value, str):
            return value
        if "Fn::Join" in value:
            return "".join(self.resolved(each) for each in value["Fn::Join"][1])
        name: str = value["Ref"] if "Ref" in value else value["Fn::GetAtt"][0]
        if name in _KNOWN:
            return _KNOWN[name]
        return next((arn for start, arn in self._names.items() if name.startswith(start)), name)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _like(pattern: str, value: str) -> bool:
    words = "".join({"*": ".*", "?": "."}.get(each, re.escape(each)) for each in pattern)
    return re.fullmatch(words, value, re.DOTALL) is not None
