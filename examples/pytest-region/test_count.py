"""Is count.py correct when its host is reclaimed? Needs only pytest and the plugin that comes with spotbatch."""

from pathlib import Path

import pytest

from spotbatch.testing.region import Region

PROGRAM = str(Path(__file__).with_name("count.py"))


def submitted(region: Region, limit: int) -> str:
    answer = region.client("batch").submit_job(
        jobName="count",
        jobQueue=region.queue,
        jobDefinition=region.definition,
        containerOverrides={"command": ["python", PROGRAM, str(limit)]},
        retryStrategy={"attempts": 5},
    )
    return str(answer["jobId"])


def test_it_adds_up(spotbatch_region: Region) -> None:
    job = spotbatch_region.wait(submitted(spotbatch_region, 5))
    assert job["status"] == "SUCCEEDED", spotbatch_region.log_of(job)
    assert spotbatch_region.output(job["jobId"], "sum") == b"10\n"


def test_it_goes_on_where_it_was_when_its_host_is_reclaimed(spotbatch_region: Region) -> None:
    job_id = submitted(spotbatch_region, 200)
    spotbatch_region.reclaim()
    job = spotbatch_region.wait(job_id)
    assert job["status"] == "SUCCEEDED", spotbatch_region.log_of(job)
    assert len(job["attempts"]) == 2
    assert spotbatch_region.output(job_id, "sum") == b"19900\n"


@pytest.mark.usefixtures("spotbatch_environment")
def test_code_that_makes_its_own_clients_finds_the_region() -> None:
    from spotbatch import Client

    run = Client(local=True).submit(["true"], name="plain")
    assert run.wait(timeout=60).done == 1
