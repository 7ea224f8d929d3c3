"""pytest's fixtures: `spotbatch_region` and its family. Loaded by every pytest run, so it imports nothing heavy.

def test_my_job(spotbatch_region):
    batch = spotbatch_region.client("batch")
    job = batch.submit_job(jobName="a", jobQueue=spotbatch_region.queue, jobDefinition=spotbatch_region.definition,
                           containerOverrides={"command": ["python", "work.py"]})
    spotbatch_region.reclaim()
    assert spotbatch_region.wait(job["jobId"])["status"] == "SUCCEEDED"
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from spotbatch.testing.region import Region

_SCOPE = "spotbatch_region_scope"
_SCOPES = ("session", "package", "module", "class", "function")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting: how long a region lives."""
    parser.addini(_SCOPE, "scope of spotbatch_region: session, package, module, class or function", default="session")


def _scope(fixture_name: str, config: pytest.Config) -> Any:  # noqa: ARG001 - pytest calls it by these names
    scope = str(config.getini(_SCOPE))
    if scope not in _SCOPES:
        raise pytest.UsageError(f"{_SCOPE} is one of {', '.join(_SCOPES)}, not {scope!r}")
    return scope


@pytest.fixture(scope=_scope)
def spotbatch_region_options() -> Sequence[str]:
    """Options of `python -m spotbatch.local` for the region; override it, e.g. with ("--seed", "7")."""
    return ()


@pytest.fixture(scope=_scope)
def spotbatch_region(
    spotbatch_region_options: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Region]":
    """A local region with a Spot queue and a job definition. Stopped at the end of its scope."""
    from spotbatch.batch.errors import Unavailable
    from spotbatch.batch.job import ResourceRequirements
    from spotbatch.rehearsal.private_region import started_region
    from spotbatch.testing.region import Region

    needs = ResourceRequirements(vcpus=1, memory_mib=256)
    folder = tmp_path_factory.mktemp("spotbatch-region")
    try:
        with started_region(folder, spotbatch_region_options, needs=needs, max_vcpus=64, notice_seconds=2.0) as info:
            yield Region(info=info)
    except Unavailable as error:
        if "pip install" in str(error):
            pytest.fail(str(error), pytrace=False)
        raise


@pytest.fixture
def spotbatch_environment(spotbatch_region: "Region", monkeypatch: pytest.MonkeyPatch) -> "Region":
    """The region, with this process's AWS settings pointing at it during the test, for code with its own clients."""
    import os

    for name in list(os.environ):
        if name.startswith(("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN")):
            monkeypatch.delenv(name)
    for name, value in spotbatch_region.environment().items():
        monkeypatch.setenv(name, value)
    return spotbatch_region


@pytest.fixture
def spotbatch_batch(spotbatch_region: "Region") -> Any:
    """The region's boto3 client for AWS Batch."""
    return spotbatch_region.client("batch")


@pytest.fixture
def spotbatch_s3(spotbatch_region: "Region") -> Any:
    """The region's boto3 client for S3."""
    return spotbatch_region.client("s3")
