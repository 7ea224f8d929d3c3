"""pytest's fixtures: `spotbatch_region` and its family. Loaded by every pytest run, so it imports nothing heavy.

def test_my_job(spotbatch_region):
    batch = spotbatch_region.client("batch")
    job = batch.submit_job(jobName="a", jobQueue=spotbatch_region.queue, jobDefinition=spotbatch_region.definition,
                           containerOverrides={"command": ["python", "work.py"]})
    spotbatch_region.reclaim()
    assert spotbatch_region.wait(job["jobId"])["status"] == "SUCCEEDED"
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from spotbatch.testing.region import Region

_SCOPE = "spotbatch_region_scope"
_SCOPES = ("session", "package", "module", "class", "function")
_FAULTS = "spotbatch_faults"

# What a region's `faults=` takes: a name ("none", "hostile"), a TOML file, or rates by name: {"pull_failures": 0.2}.
Faults = str | Path | Mapping[str, object]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long a region lives, and the faults that it has."""
    parser.addini(_SCOPE, "scope of spotbatch_region: session, package, module, class or function", default="session")
    parser.addini(_FAULTS, "faults of spotbatch_region: none, hostile, or a file in TOML", default="none")
    parser.addoption("--spotbatch-faults", metavar="NAME|FILE", help="instead of the setting spotbatch_faults")


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
def spotbatch_faults(pytestconfig: pytest.Config) -> Faults:
    """The faults of spotbatch_region; override it, e.g. with "hostile" or {"pull_failures": 0.2}."""
    return str(pytestconfig.getoption("--spotbatch-faults") or pytestconfig.getini(_FAULTS))


@pytest.fixture(scope=_scope)
def spotbatch_region(
    spotbatch_region_options: Sequence[str], spotbatch_faults: Faults, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Region]":
    """A local region with a Spot queue and a job definition. Stopped at the end of its scope."""
    with _started(tmp_path_factory.mktemp("spotbatch-region"), spotbatch_region_options, spotbatch_faults) as region:
        yield region


@pytest.fixture
def spotbatch_new_region(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Callable[..., Region]]":
    """Starts a region for this test alone: spotbatch_new_region(faults={"pull_failures": 1.0}, options=())."""
    with contextlib.ExitStack() as regions:

        def start(*, faults: Faults = "none", options: Sequence[str] = ()) -> "Region":
            return regions.enter_context(_started(tmp_path_factory.mktemp("spotbatch-region"), options, faults))

        yield start


@contextlib.contextmanager
def _started(folder: Path, options: Sequence[str], faults: Faults) -> "Iterator[Region]":
    from spotbatch.batch.errors import InvalidInput, Unavailable
    from spotbatch.batch.job import ResourceRequirements
    from spotbatch.local.faults import as_toml
    from spotbatch.rehearsal.private_region import started_region
    from spotbatch.testing.region import Region

    needs = ResourceRequirements(vcpus=1, memory_mib=256)
    try:
        if isinstance(faults, Mapping):
            file = folder / "faults.toml"
            file.write_text(as_toml(faults, "faults"), encoding="utf-8")
            faults = file
        arguments = (*options, "--faults", str(faults))
        with started_region(folder, arguments, needs=needs, max_vcpus=64, notice_seconds=2.0) as info:
            yield Region(info=info)
    except InvalidInput as error:
        pytest.fail(str(error), pytrace=False)
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
