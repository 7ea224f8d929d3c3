"""AWS's own service model of Batch: identifies a request's operation, and checks the shape of its parameters."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import botocore.loaders
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from spotbatch.local.api.errors import ApiError, ClientException
from spotbatch.local.api.http import Head

_VERSION_PREFIX: Final = "/v1/"
_MAX_DEPTH: Final = 40
_ANY_CASE: Final = "RetryAction"  # API reference, EvaluateOnExit: "The values aren't case sensitive"
_MAX_INTEGER: Final = 2**31 - 1
_MAX_LONG: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A request to AWS Batch, parsed and checked against the service model."""

    operation: str
    parameters: dict[str, Any]


@cache
def _routes() -> dict[tuple[str, str], OperationModel]:
    """(method, fixed part of the path) of each operation."""
    description = botocore.loaders.Loader().load_service_model("batch", "service-2")
    model = ServiceModel(description, "batch")
    operations = [model.operation_model(name) for name in model.operation_names]
    return {(one.http["method"], one.http["requestUri"].partition("{")[0]): one for one in operations}


def parse(head: Head, body: bytes) -> Call:
    """The call made by a request. Raises ApiError where AWS Batch would refuse it."""
    operation, label = _find(head)
    shape = operation.input_shape
    given = _json_object(body)
    parameters = _known(shape, given, "") if shape is not None else {}
    if not isinstance(parameters, dict):
        raise ClientException("the body must be a JSON object")
    if shape is not None:
        _add_located(parameters, shape, head, label)
        _validate(shape, parameters)
    return Call(operation=operation.name, parameters=parameters)


def input_shape(operation: str) -> StructureShape:
    """The parameters that an operation takes."""
    shape = next(one.input_shape for one in _routes().values() if one.name == operation)
    if shape is None:
        raise ValueError(f"{operation} takes no parameters")
    return shape


def check(operation: str, parameters: dict[str, Any]) -> None:
    """Raises ApiError unless the parameters have the operation's shape; for requests that arrived another way."""
    shape = input_shape(operation)
    _known(shape, parameters, "")
    _validate(shape, parameters)


def _validate(shape: StructureShape, parameters: dict[str, Any]) -> None:
    report = ParamValidator().validate(parameters, shape)
    if report.has_errors():
        raise ClientException(f"Error executing request, Exception : {report.generate_report()}")
    empty = next(_empty_required(shape, parameters, ""), None)
    if empty is not None:
        raise ClientException(f"Error executing request, Exception : {empty} cannot be empty")


def _empty_required(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """The required members that hold an empty string, which counts as missing."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, one in value.items():
            place = f"{where}.{name}".lstrip(".")
            if one == "" and name in shape.required_members:
                yield place
            yield from _empty_required(shape.members[name], one, place)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        if not isinstance(shape.member, StructureShape | ListShape):
            return  # nothing below is a member
        for number, one in enumerate(value):
            yield from _empty_required(shape.member, one, f"{where}[{number}]")


def _find(head: Head) -> tuple[OperationModel, str]:
    path = head.raw_path.rstrip("/") if len(head.raw_path) > 1 else head.raw_path
    operation = _routes().get((head.method, path))
    if operation is not None:
        return operation, ""
    prefix = re.match(r"/v1/[a-z]+/", head.raw_path)
    operation = _routes().get((head.method, prefix[0])) if prefix else None
    if operation is None or prefix is None or "{" not in operation.http["requestUri"]:
        raise ApiError("UnknownOperationException", f"AWS Batch has no operation {head.method} {head.raw_path}", 404)
    return operation, unquote(head.raw_path[prefix.end() :])


def _json_object(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        value = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ApiError("SerializationException", f"the body is not JSON: {str(error)[:200]}") from error
    if not isinstance(value, dict):
        raise ApiError("SerializationException", f"the body must be a JSON object, not {type(value).__name__}")
    return value


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _known(shape: Shape, value: object, where: str, depth: int = 0) -> Any:
    """The value without members unknown to the model, and without nulls, since AWS ignores both."""
    if depth > _MAX_DEPTH:
        raise ClientException(f"{where} is nested too deep")
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = shape.members
        return {
            name: _known(members[name], one, f"{where}.{name}".lstrip("."), depth + 1)
            for name, one in value.items()
            if name in members and one is not None
        }
    if isinstance(shape, ListShape) and isinstance(value, list):
        if _is_any_text(shape.member) and all(
            isinstance(one, str) and one.isascii() and "\0" not in one for one in value
        ):
            return value  # such as the 100 ids of DescribeJobs
        return [_known(shape.member, one, f"{where}[{place}]", depth + 1) for place, one in enumerate(value)]
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {name: _known(shape.value, one, f"{where}.{name}", depth + 1) for name, one in value.items()}
    return _scalar(shape, value, where)


def _is_any_text(shape: Shape) -> bool:
    """Whether `_scalar` changes and refuses no plain text of this shape."""
    return shape.type_name == "string" and shape.name != _ANY_CASE and not getattr(shape, "enum", None)


def _scalar(shape: Shape, value: object, where: str) -> object:
    if isinstance(value, str):
        if shape.name == _ANY_CASE:
            value = value.upper()
        allowed = getattr(shape, "enum", None)
        if allowed and value not in allowed:
            message = f"{where} can only be one of {list(allowed)}, not {value[:200]!r}"
            raise ClientException(f"Error executing request, Exception : {message}")
        if "\0" in value or not _is_unicode(value):
            raise ApiError("SerializationException", f"{where} holds characters that no text has")
    limit = _MAX_INTEGER if shape.type_name == "integer" else _MAX_LONG
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > limit:
        raise ApiError("SerializationException", f"{where} is too large a number")
    return value


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded as UTF-8: JSON's escapes can contain half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _add_located(parameters: dict[str, Any], shape: StructureShape, head: Head, label: str) -> None:
    query = parse_qsl(head.query, keep_blank_values=True)
    for name, member in shape.members.items():
        location = member.serialization.get("location")
        if location == "uri":
            parameters[name] = label
        elif location == "querystring":
            values = [value for key, value in query if key == member.serialization.get("name", name)]
            if values:
                parameters[name] = values if member.type_name == "list" else values[0]
