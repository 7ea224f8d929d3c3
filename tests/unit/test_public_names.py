"""What `import spotbatch` gives: the names, and how little it costs."""

import subprocess
import sys

import pytest

import spotbatch

NAMES = {
    "Client",
    "Run",
    "JobRequest",
    "SpotbatchError",
    "InvalidInput",
    "InvalidJob",
    "NotFound",
    "Unavailable",
    "JobFailed",
    "BrokenInvariant",
}
MOST_SECONDS = 0.03


def test_exactly_these_names_are_public() -> None:
    assert set(spotbatch.__all__) == NAMES
    assert set(dir(spotbatch)) == NAMES | {"__version__"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_public_name_is_there_and_is_said_what_it_is(name: str) -> None:
    assert getattr(spotbatch, name).__name__ == name
    assert getattr(spotbatch, name).__doc__


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'spotbatch' has no attribute 'Job'"):
        spotbatch.Job  # noqa: B018 - it is asked for on purpose


def test_a_client_is_imported_without_boto3_and_the_module_alone_in_milliseconds() -> None:
    code = (
        "import sys, time; before = set(sys.modules); began = time.process_time(); import spotbatch;"
        "took = time.process_time() - began; own = {each for each in sys.modules if each.startswith('spotbatch')};"
        "from spotbatch import Client; print(took, *sorted(own), 'boto3' in sys.modules, 'botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    took, *own, is_boto3, is_botocore = done.stdout.split()
    assert float(took) < MOST_SECONDS
    assert own == ["spotbatch", "spotbatch.batch", "spotbatch.batch.light_types"]
    assert (is_boto3, is_botocore) == ("False", "False")
