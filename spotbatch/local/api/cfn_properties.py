"""Converts CloudFormation properties of AWS Batch resources to parameters of the API's operations.

CloudFormation's names are the API's, capitalized: `MaxvCpus` is `maxvCpus`. So the API's own service model, shipped
with botocore, tells which properties exist; the differences are listed here. A test checks all of it against the
resource schemas that CloudFormation publishes and cfn-lint ships (tests/unit/local/test_cfn_properties.py).
"""

import difflib
from collections.abc import Mapping
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from spotbatch.batch.errors import InvalidInput
from spotbatch.local.api import service_model
from spotbatch.local.api.region import Document

OPERATIONS: Final[dict[str, str]] = {  # in dependency order
    "AWS::Batch::SchedulingPolicy": "CreateSchedulingPolicy",
    "AWS::Batch::ConsumableResource": "CreateConsumableResource",
    "AWS::Batch::ComputeEnvironment": "CreateComputeEnvironment",
    "AWS::Batch::JobQueue": "CreateJobQueue",
    "AWS::Batch::JobDefinition": "RegisterJobDefinition",
}
# Properties that only CloudFormation has, by type and position in it.
ONLY_HERE: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("AWS::Batch::ComputeEnvironment", ""): frozenset({"ReplaceComputeEnvironment", "UpdatePolicy"}),
    ("AWS::Batch::ComputeEnvironment", "ComputeResources"): frozenset({"UpdateToLatestImageVersion"}),
    ("AWS::Batch::JobDefinition", ""): frozenset({"ResourceRetentionPolicy"}),
}
# Members of the API's structures that CloudFormation lacks (so far) outside of node ranges, or spells differently.
NOT_THERE: Final[dict[str, frozenset[str]]] = {
    "ContainerProperties": frozenset({"instanceType"}),
    "EksContainerSecurityContext": frozenset({"capabilities", "seccompProfile"}),
    "EksPodProperties": frozenset({"securityContext"}),
}
_NODE_RANGES: Final = "NodeRangeProperties"
_SPELT: Final = {"s3filesVolumeConfiguration": "S3FilesVolumeConfiguration"}


def parameters_of(kind: str, properties: Any, where: str) -> tuple[Document, Document]:
    """The operation's parameters, and the properties that only CloudFormation has. Raises InvalidInput.

    `properties` contain no functions any more; `where` is their location in the template.
    """
    if not isinstance(properties, Mapping):
        raise InvalidInput(f"{where} must be an object")
    own = {name: properties[name] for name in ONLY_HERE.get((kind, ""), ()) if name in properties}
    shape = service_model.input_shape(OPERATIONS[kind])
    parameters: Document = _as_api(shape, properties, kind, "", where)
    return parameters, own


def names_of(shape: StructureShape, kind: str, place: str) -> dict[str, str | None]:
    """The properties that CloudFormation has at a position, and their API names; None for its own."""
    hidden = frozenset() if _NODE_RANGES in place else NOT_THERE.get(shape.name, frozenset())
    names: dict[str, str | None] = {_SPELT.get(name, name[0].upper() + name[1:]): name for name in shape.members}
    names = {name: member for name, member in names.items() if member not in hidden}
    return {**names, **dict.fromkeys(ONLY_HERE.get((kind, place), ()))}


def _as_api(shape: Shape, value: Any, kind: str, place: str, where: str) -> Any:
    """Converts CloudFormation's spelling (MaxvCpus, "10", "managed") to the API's (maxvCpus, 10, "MANAGED")."""
    if isinstance(shape, StructureShape) and isinstance(value, Mapping):
        return _structure(shape, value, kind, place, where)
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_as_api(shape.member, one, kind, f"{place}[]", f"{where}[{i}]") for i, one in enumerate(value)]
    if isinstance(shape, MapShape):
        return _as_map(value, where)
    if shape.type_name in ("integer", "long"):
        return _as_whole(value)
    if shape.type_name in ("float", "double") and isinstance(value, str | int):
        return _as_number(value)
    if shape.type_name == "boolean" and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    return _as_text(shape, value) if shape.type_name == "string" else value


def _structure(shape: StructureShape, value: Mapping[str, Any], kind: str, place: str, where: str) -> Document:
    names = names_of(shape, kind, place)
    found: Document = {}
    for name, one in value.items():
        if name not in names:
            raise InvalidInput(f"{where}.{name}: {_unknown(kind, place, str(name), list(names))}")
        member = names[name]
        if member is not None:
            inner = f"{place}.{name}".lstrip(".")
            found[member] = _as_api(shape.members[member], one, kind, inner, f"{where}.{name}")
    return found


def _unknown(kind: str, place: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(known))}"
    return f"{place or kind} of {kind} has no property {name}; {hint}" if place else f"{kind} has no {name}; {hint}"


def _as_whole(value: Any) -> Any:
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_number(value: str | int) -> Any:
    try:
        return float(value)
    except ValueError:
        return value  # a value that is not a number is reported by the overall check


def _as_text(shape: Shape, value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    by_lower = {name.lower(): name for name in getattr(shape, "enum", None) or ()}
    return by_lower.get(value.lower(), value) if isinstance(value, str) else value


def _as_map(value: Any, where: str) -> Any:
    """Some CloudFormation types have tags as an object, others as a list of Key and Value."""
    if isinstance(value, list):
        try:
            return {str(one["Key"]): str(one["Value"]) for one in value}
        except (TypeError, KeyError):
            raise InvalidInput(f"{where}: a list of tags holds a Key and a Value each") from None
    return {str(name): _as_tag(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _as_tag(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
