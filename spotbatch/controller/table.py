"""The controller's store: a DynamoDB table with one item per run, written by compare-and-set on its revision.

An item holds at most 400 KB (DynamoDB developer guide, "Quotas"); a run's parts and notes are limited so that it fits,
and a run that does not fit is refused. Runs that are not over have the attribute `active`, the key of a sparse index,
so that the minutely look reads only those. The table itself expires finished runs after a month.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import Damaged, InvalidInput, SpotbatchError
from spotbatch.controller.document import from_json, to_json
from spotbatch.controller.ports import Conflict
from spotbatch.controller.resources import EXPIRY, INDEX, KEY
from spotbatch.controller.run import Run

MOST_BYTES: Final = 380_000  # of the body as it is stored
_PACKED_FROM: Final = 20_000  # bytes: a longer body is compressed, to a third or less
_KEPT_SECONDS: Final = 30 * 86_400
_REFUSED: Final = "ConditionalCheckFailedException"  # API reference, PutItem


def _client() -> Any:
    return session.client("dynamodb")


def _stored(body: str) -> dict[str, Any]:
    """A body as an attribute's value: text, or compressed bytes."""
    data = body.encode()
    return {"S": body} if len(data) < _PACKED_FROM else {"B": zlib.compress(data)}


def _text(item: Mapping[str, Any]) -> str:
    """Raises Damaged for what is no body."""
    body = item["body"]
    try:
        return str(body["S"]) if "S" in body else zlib.decompress(body["B"]).decode()
    except (zlib.error, ValueError, KeyError) as error:
        raise Damaged(f"a run in the controller's table cannot be read: {error}") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A `Store` in the table with this name."""

    name: str
    dynamodb: Any = field(default_factory=_client)

    def read(self, run_id: str) -> Run | None:
        found = self.dynamodb.get_item(TableName=self.name, Key={KEY: {"S": run_id}}, ConsistentRead=True)
        item = found.get("Item")
        return from_json(_text(item), revision=int(item["revision"]["N"])) if item else None

    def create(self, run: Run) -> Run:
        """Put a new run under control. Raises Conflict if there already is one with its id."""
        return self._put(run, f"attribute_not_exists({KEY})", {})

    def write(self, run: Run) -> Run:
        return self._put(run, "revision = :known", {":known": {"N": str(run.revision)}})

    def active(self) -> Sequence[str]:
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.name,
            IndexName=INDEX,
            KeyConditionExpression=f"{INDEX} = :yes",
            ExpressionAttributeValues={":yes": {"S": "1"}},
        )
        return [item[KEY]["S"] for page in pages for item in page["Items"]]

    def _put(self, run: Run, condition: str, values: dict[str, Any]) -> Run:
        body = to_json(run)
        stored = _stored(body)
        if sum(len(each) for each in stored.values()) > MOST_BYTES:
            raise InvalidInput(f"run {run.run_id} has more than {MOST_BYTES:,} bytes to keep: it cannot be controlled")
        revision = run.revision + 1
        item = {KEY: {"S": run.run_id}, "revision": {"N": str(revision)}, "body": stored}
        if run.ended_at is None:
            item[INDEX] = {"S": "1"}
        else:
            item[EXPIRY] = {"N": str(int(run.ended_at) + _KEPT_SECONDS)}
        more = {"ExpressionAttributeValues": values} if values else {}
        try:
            self.dynamodb.put_item(TableName=self.name, Item=item, ConditionExpression=condition, **more)
        except SpotbatchError as error:
            if session.error_code(error) == _REFUSED:
                raise Conflict(f"run {run.run_id} was written by another one meanwhile") from error
            raise
        return from_json(body, revision=revision)
