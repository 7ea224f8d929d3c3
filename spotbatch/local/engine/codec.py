"""The rulebook's values as JSON for the journal: validated when they are read back."""

from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.errors import Damaged
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler.events import JobSubmitted
from spotbatch.local.contract import ContainerSpec

Kept = ComputeEnvironment | JobQueue | ConsumableResource | JobSubmitted | ContainerSpec
T = TypeVar("T", ComputeEnvironment, JobQueue, ConsumableResource, JobSubmitted, ContainerSpec)

_ADAPTERS: Final[dict[type, TypeAdapter[Kept]]] = {
    kind: TypeAdapter(kind) for kind in (ComputeEnvironment, JobQueue, ConsumableResource, JobSubmitted, ContainerSpec)
}


def encode(value: Kept) -> str:
    return _ADAPTERS[type(value)].dump_json(value).decode()


def decode(kind: type[T], text: str) -> T:
    """Raises Unavailable if the text is not such a value: the journal is damaged, or of another version."""
    try:
        value = _ADAPTERS[kind].validate_json(text)
    except ValidationError as error:
        raise Damaged(f"the journal holds a {kind.__name__} that cannot be read: {error}") from error
    assert isinstance(value, kind)  # noqa: S101 - guaranteed by the adapter, for the type checker
    return value
