"""The public names with their types, as a user's program sees them: `make check` reads this with mypy --strict.

What stands here is a promise: a change that makes mypy fail here breaks somebody's program.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import assert_type

import boto3

from spotbatch import (
    Client,
    InvalidInput,
    InvalidJob,
    JobFailed,
    JobRequest,
    NotFound,
    Run,
    SpotbatchError,
    Unavailable,
)
from spotbatch.aws.logs import LogEvent
from spotbatch.runs.bill import Bill
from spotbatch.runs.control_story import ControlStory
from spotbatch.runs.follow import Look
from spotbatch.runs.results import Results
from spotbatch.runs.tracker import Progress
from spotbatch.runs.units import FailedUnit

Client()
Client(local=True)
client = Client(session=boto3.Session(), stack="Mine", queue="q", definition="d")

run = client.submit(
    ["python", "convert.py"],
    name="convert",
    inputs="s3://bucket/raw/",
    vcpus=2,
    memory="4G",
    gpus=0,
    retries=5,
    timeout="2h",
    env={"A": "b"},
    parameters={"key": "value"},
    tags={"team": "flights"},
    after=["other", client.run("first")],
    after_each=[],
    sequential=False,
    queue="q",
    definition="d",
)
assert_type(run, Run)
assert_type(client.submit(("true",), inputs=Path("lines.txt")), Run)
assert_type(client.submit(["true"], inputs=["a", "b"], memory=4096, timeout=90.0), Run)
assert_type(client.submit(["true"], array=10), Run)
assert_type(client.submit(JobRequest(name="n", queue="q", definition="d")), Run)
assert_type(client.run("convert"), Run)

assert_type(run.id, str)
assert_type(run.name, str)
assert_type(run.job_ids, tuple[str, ...])
assert_type(run.progress(), Progress)
assert_type(run.follow(), Iterator[Look])
assert_type(run.follow(timeout=60), Iterator[Look])
assert_type(run.wait(), Progress)
assert_type(run.wait(3600, check=False), Progress)
assert_type(run.results("out/"), Results)
assert_type(run.results(Path("out")).missing, tuple[int, ...])
assert_type(run.cost(), Bill)
assert_type(run.cost().paid_usd, Decimal)
assert_type(run.cost().saving_percent, float | None)
assert_type(run.failures(), list[FailedUnit])
assert_type(run.failures()[0].index, int | None)
assert_type(run.logs(index=7, tail=10), Iterator[LogEvent])
assert_type(run.retry(), Run)
assert_type(run.cancel(), tuple[str, ...])
assert_type(run.cancel("why"), tuple[str, ...])

kinds: tuple[type[SpotbatchError], ...] = (InvalidInput, InvalidJob, NotFound, Unavailable, JobFailed)


async def from_asyncio() -> None:
    """Each method in a thread."""
    assert_type(await asyncio.to_thread(run.wait, timeout=60), Progress)


assert_type(client.submit(["true"], deadline="6h", work=600, changeover="5m", on_demand_after=2), Run)
assert_type(client.submit(["true"], grow_memory="2x:16G", max_usd="20"), Run)
assert_type(run.control(), ControlStory | None)
assert_type(run.retry(max_usd=Decimal(40)), Run)
