"""What commands write for programs: every kind of value that an answer holds has a JSON form."""

import json as standard
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.status import JobStatus
from spotbatch.cli.output import json


@dataclass(frozen=True, kw_only=True)
class Answer:
    record: AttemptRecord
    usd: Decimal


def test_an_attempts_record_is_written_by_its_fields_alone_and_within_other_values(
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = AttemptRecord(run_id="r", exit_code=3, warnings=["w"])
    for value in ({"record": record}, Answer(record=record, usd=Decimal("0.10"))):
        json.write(value)
        written = standard.loads(capsys.readouterr().out)["record"]
        assert (written["run_id"], written["exit_code"], written["warnings"]) == ("r", 3, ["w"])


def test_money_is_written_as_text_and_paths_and_statuses_as_their_words(capsys: pytest.CaptureFixture[str]) -> None:
    json.write_event({"usd": Decimal("0.10"), "to": Path("a/b"), "status": JobStatus.FAILED, "both": {1}})
    assert standard.loads(capsys.readouterr().out) == {"usd": "0.10", "to": "a/b", "status": "FAILED", "both": [1]}


def test_a_value_without_a_json_form_is_a_bug_that_is_named() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        json.write({"value": object()})
