"""The doctor where AWS Batch itself calls a queue or an environment INVALID, or is still at work on it.

The local region never finds a reason to; so its journal is told, while it is down, what AWS would have found.
"""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from spotbatch.local.engine.journal import FILE_NAME
from tests.contract.cli_world import STACK, CliWorld, template
from tests.contract.local_api_region import running

OPTIONS = ("--boot-seconds", "0.05", "--stop-grace-seconds", "2")


@pytest.mark.parametrize(
    ("kind", "status", "cause"),
    [
        ("compute-environment", "INVALID", "the compute environment is INVALID"),
        ("compute-environment", "UPDATING", "the compute environment is still being changed"),
        ("job-queue", "INVALID", "the job queue is invalid"),
    ],
)
def test_what_aws_calls_invalid_is_named_with_awss_reason(kind: str, status: str, cause: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, *OPTIONS) as region:
        region.admin.load_stack(STACK, template())
    reason = "CLIENT_ERROR - the instance profile does not exist"
    connection = sqlite3.connect(home / FILE_NAME)
    with connection:
        rows = connection.execute("SELECT name, body FROM resource WHERE kind = ?", (kind,)).fetchall()
        for name, body in rows:
            told = json.dumps({**json.loads(body), "status": status, "statusReason": reason})
            connection.execute("UPDATE resource SET body = ? WHERE kind = ? AND name = ?", (told, kind, name))
    connection.close()
    with running(home, *OPTIONS) as region:
        found: Any = CliWorld(region=region, home=home).run("doctor", "--json", code=None).json["findings"]
    (named,) = [each for each in found if each["cause"] == cause]
    if status == "INVALID":
        assert reason in named["evidence"]
    assert named["fix"]
