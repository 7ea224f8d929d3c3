"""The controller's store against DynamoDB as moto has it: what is written over another one's write is refused."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from moto import mock_aws

from spotbatch.aws import session
from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import InvalidInput
from spotbatch.controller.ports import Conflict
from spotbatch.controller.resources import INDEX
from spotbatch.controller.run import Note, Outcome
from spotbatch.controller.table import Table
from tests.unit.controller.builders import NOW, a_run


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = session.client("dynamodb")
        client.create_table(
            TableName="runs",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("run_id", INDEX)],
            KeySchema=[{"AttributeName": "run_id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": INDEX,
                    "KeySchema": [{"AttributeName": INDEX, "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
        )
        yield Table(name="runs", dynamodb=client)


def test_a_run_is_kept_and_read_and_known_as_active_until_it_is_over(table: Table) -> None:
    assert table.read("run-1") is None
    run = table.create(a_run())
    assert table.read("run-1") == run
    assert table.active() == ["run-1"]
    over = table.write(replace(run, outcome=Outcome.SUCCEEDED, ended_at=NOW))
    assert table.active() == []
    assert table.read("run-1") == over


def test_a_write_over_what_another_one_wrote_is_refused_and_changes_nothing(table: Table) -> None:
    run = table.create(a_run())
    newer = table.write(run.noted(NOW, "one"))
    with pytest.raises(Conflict):
        table.write(run.noted(NOW, "two"))
    assert table.read("run-1") == newer
    with pytest.raises(Conflict):
        table.create(a_run())


def test_a_run_that_no_item_can_hold_is_refused_with_its_size(table: Table) -> None:
    rng = random.Random(1)
    notes = tuple(Note(at=NOW, text=rng.randbytes(4000).hex()) for _ in range(100))  # which compresses to a half
    run = replace(a_run(), notes=notes)
    with pytest.raises(InvalidInput, match="380,000 bytes"):
        table.create(run)


def test_a_long_run_is_kept_compressed_and_comes_back_as_it_was(table: Table) -> None:
    many = ArrayIndexes.of(range(0, 100_000, 2))
    made = table.create(replace(a_run(100_000), succeeded=many, failed=ArrayIndexes.of(range(1, 100_000, 2))))
    assert len(str(many)) > 280_000  # and as much again
    assert table.read("run-1") == made
