"""What stacks hold in other services and must survive a restart: the items of tables, and whether rules are enabled.

moto keeps everything in memory. A DynamoDB write is durable before it is answered, and so is EnableRule (DynamoDB
developer guide, "How it works"); with moto alone a region that was killed would forget the runs under control.
Only resources of loaded templates are stored: what requests created is moto's, and lost with it.
"""

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spotbatch.local.api.http import Body, Head, Response

if TYPE_CHECKING:
    from spotbatch.local.moto_bridge import MotoBridge

TABLE: Final = "AWS::DynamoDB::Table"
RULE: Final = "AWS::Events::Rule"
_OF_ONE_ITEM: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem"})
_OF_MANY: Final = frozenset({"BatchWriteItem", "TransactWriteItems", "ExecuteStatement", "BatchExecuteStatement"})
_STATES: Final = {"EnableRule": "ENABLED", "DisableRule": "DISABLED"}
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (of TEXT, id TEXT, body TEXT NOT NULL, PRIMARY KEY (of, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (name TEXT PRIMARY KEY, state TEXT NOT NULL, base TEXT NOT NULL) WITHOUT ROWID;
"""

Item = Mapping[str, Any]  # attribute name to {"S": ...} and so on, as the API has it


class StateStore:
    """An SQLite file in the region's home, made by the first write. May be used from any thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._bases: dict[str, str] = {}  # the state of each rule in its template

    def items(self, table: str) -> list[dict[str, Any]]:
        """The items of a table as last written."""
        return [json.loads(body) for (body,) in self._read("SELECT body FROM items WHERE of = ?", (table,))]

    def write_item(self, table: str, key: str, item: Item | None) -> None:
        """Write one item, or remove it (None)."""
        if item is None:
            self._write([("DELETE FROM items WHERE of = ? AND id = ?", (table, key))])
        else:
            self._write([("INSERT OR REPLACE INTO items VALUES (?, ?, ?)", (table, key, json.dumps(item)))])

    def write_table(self, table: str, items: Mapping[str, Item]) -> None:
        """Write the whole content of a table."""
        rows = [("INSERT INTO items VALUES (?, ?, ?)", (table, key, json.dumps(one))) for key, one in items.items()]
        self._write([("DELETE FROM items WHERE of = ?", (table,)), *rows])

    def write_rule(self, name: str, state: str) -> None:
        """Write whether a rule is enabled."""
        base = self._bases.get(name, "ENABLED")
        self._write([("INSERT OR REPLACE INTO rules VALUES (?, ?, ?)", (name, state, base))])

    def with_state(self, kind: str, name: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
        """A rule with its own state instead of its template's, unless the template's has changed since."""
        if kind != RULE:
            return content
        base = self._bases[name] = str(content.get("State", "ENABLED"))
        rows = self._read("SELECT state FROM rules WHERE name = ? AND base = ?", (name, base))
        return {**content, "State": rows[0][0]} if rows else content

    def drop(self, kind: str, name: str) -> None:
        """A stack's resource is removed, and its content with it."""
        if kind == TABLE:
            self._write([("DELETE FROM items WHERE of = ?", (name,))])
        elif kind == RULE:
            self._write([("DELETE FROM rules WHERE name = ?", (name,))])

    def close(self) -> None:
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _read(self, query: str, values: tuple[str, ...]) -> list[tuple[str, ...]]:
        with self._lock:
            return self._connected().execute(query, values).fetchall() if self._open or self._file.exists() else []

    def _write(self, changes: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        with self._lock:
            connection = self._connected()
            with connection:
                for query, values in changes:
                    connection.execute(query, values)

    def _connected(self) -> sqlite3.Connection:
        if self._open is None:
            self._open = sqlite3.connect(self._file, check_same_thread=False)
            self._open.execute("PRAGMA journal_mode = WAL")
            self._open.executescript(_SCHEMA)
        return self._open


class DurableState:
    """moto's answers, each given only after what it changed in a stack's tables and rules is stored."""

    def __init__(self, *, moto: "MotoBridge", store: StateStore, account_id: str, region: str) -> None:
        self._moto = moto
        self._store = store
        self._account_id = account_id
        self._region = region
        self._turn = asyncio.Lock()  # moto evaluates a condition and writes in two steps: one write at a time

    async def answer(self, head: Head, body: Body) -> Response:
        service, _, action = head.header("x-amz-target").partition(".")
        if service.startswith("DynamoDB_") and action in _OF_ONE_ITEM | _OF_MANY:
            async with self._turn:
                response = await self._moto.answer(head, body)
                if response.status == 200:
                    await self._moto.run(self._keep, action, json.loads(body.read()))
            return response
        response = await self._moto.answer(head, body)
        if service == "AWSEvents" and action in _STATES and response.status == 200:
            self._keep_rule(json.loads(body.read()), _STATES[action])
        return response

    def _keep_rule(self, asked: Mapping[str, Any], state: str) -> None:
        name = str(asked.get("Name", ""))
        if name in self._moto.promised(RULE):
            self._store.write_rule(name, state)

    def _keep(self, action: str, asked: Mapping[str, Any]) -> None:
        """Store what a write has left; called on one of moto's threads."""
        from moto.dynamodb.models import dynamodb_backends

        backend: Any = dynamodb_backends[self._account_id][self._region]
        promised = self._moto.promised(TABLE)
        if action in _OF_MANY:
            for name in promised:
                table = backend.tables[name]
                self._store.write_table(name, {_key(table, one): one for one in map(_plain, table.all_items())})
            return
        name = str(asked["TableName"]).rpartition("/")[2]
        if name not in promised:
            return
        table = backend.tables[name]
        given = asked.get("Item") or asked["Key"]
        found = backend.get_item(name, {each: given[each] for each in _key_names(table)})
        self._store.write_item(name, _key(table, given), _plain(found) if found is not None else None)


def _plain(item: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = item.to_json()["Attributes"]
    return attributes


def _key_names(table: Any) -> list[str]:
    return [one["AttributeName"] for one in table.schema]


def _key(table: Any, item: Item) -> str:
    return json.dumps([item[name] for name in _key_names(table)])
