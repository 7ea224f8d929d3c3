"""From a CloudFormation template to facts. What is known only at deployment (parameters, other stacks) stays unknown.

The local region's own loader resolves what it can, value by value, so that one import does not hide the rest.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from spotbatch.audit.facts import ENVIRONMENT, UNKNOWN, Facts, Resource
from spotbatch.batch.errors import InvalidInput
from spotbatch.local.template import Template
from spotbatch.local.template_functions import FUNCTIONS
from spotbatch.local.template_parameters import is_list
from spotbatch.pricing.catalogue import Catalogue

_STACK: Final = "audited"
_ACCOUNT: Final = "123456789012"
_REFERENCES: Final = ("Ref", "Arn", "LaunchTemplateId", "GroupId", "SubnetId", "ComputeEnvironmentArn", "JobQueueArn")


def facts_of(body: Mapping[str, Any], *, types: Catalogue, region: str = "us-east-1") -> Facts:
    """The facts of a template. Raises InvalidInput if it is not a template, or contains no AWS Batch resources."""
    template = Template(stack=_STACK, body=_with_unknowns(body), account_id=_ACCOUNT, region=region)
    found = tuple(
        Resource(
            id=each.logical_id,
            type=each.type,
            properties=_resolved(template, dict(each.properties), each.logical_id),
            names=_names(template, each.logical_id),
        )
        for each in template.resources()
    )
    if not any(each.type.startswith("AWS::Batch::") for each in found):
        raise InvalidInput(
            f"the template has no resource of AWS Batch ({ENVIRONMENT}, ...), so there is nothing to audit"
        )
    return Facts(resources=found, types=types)


def user_data(launch_template: Resource) -> str | None:
    """A launch template's user data as text; None if it is not known, "" if there is none."""
    data = launch_template.properties.get("LaunchTemplateData", {})
    value = data.get("UserData", "") if isinstance(data, Mapping) else UNKNOWN
    try:
        text = base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        text = str(value)
    return None if text == UNKNOWN else text


def _with_unknowns(body: Mapping[str, Any]) -> dict[str, Any]:
    """The template with a placeholder for each parameter without a default."""
    parameters = body.get("Parameters")
    if not isinstance(parameters, Mapping):
        return dict(body)
    known = {
        name: one
        if not isinstance(one, Mapping) or "Default" in one
        else {"Type": "CommaDelimitedList" if is_list(one) else "String", "Default": UNKNOWN}
        for name, one in parameters.items()
    }
    return {**body, "Parameters": known}


def _resolved(template: Template, value: Any, where: str) -> Any:
    """The value with functions resolved; a placeholder if one cannot be resolved here."""
    if isinstance(value, list):
        return [_resolved(template, each, where) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in FUNCTIONS:
        try:
            return template.resolve(value, where)
        except InvalidInput:
            return _text_within(value)
    made = {name: _resolved(template, each, where) for name, each in value.items()}
    return {name: each for name, each in made.items() if isinstance(each, str | int | float | list | dict | bool)}


def _text_within(value: Any) -> str:
    """The known pieces of a text that cannot be fully assembled, such as user data with an import."""
    pieces = [each for each in _leaves(value) if len(each) > 20]
    return f"{UNKNOWN} {' '.join(pieces)}" if pieces else UNKNOWN


def _leaves(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [leaf for each in inner for leaf in _leaves(each)]


def _names(template: Template, logical_id: str) -> frozenset[str]:
    found = {template.physical_id(logical_id)}
    for attribute in _REFERENCES:
        try:
            found.add(str(template.attribute(logical_id, attribute, logical_id)))
        except InvalidInput:
            continue
    return frozenset(found)


def lines_of(text: str, facts: Facts) -> dict[str, int]:
    """The line (from 1) in a template's text on which each resource begins, if it can be found."""
    found: dict[str, int] = {}
    wanted = {each.id for each in facts.resources}
    for number, line in enumerate(text.splitlines(), start=1):
        key = line.strip().partition(":")[0].strip("\"' ")
        if key in wanted and line.strip() != key:
            found.setdefault(key, number)
    return found
