"""What comes damaged, late or not at all once: inputs, lists of inputs, code, and listings of checkpoints."""

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from spotbatch.batch import artifacts
from spotbatch.runtime.storage.location import open_store
from tests.contract import fault_proxy as faults_of
from tests.contract.fault_proxy import Faults, Plan, Request
from tests.contract.runtime.test_bad_storage import always, behind, first_get_of, make, outputs
from tests.contract.runtime_world import BUCKET, moto_s3, s3_environment, spot

SHOW = """
import hashlib, os, pathlib
for path in pathlib.Path(os.environ["SPOTBATCH_INPUT_DIR"]).rglob("*"):
    if path.is_file(): print("input", path.name, hashlib.sha256(path.read_bytes()).hexdigest())
print("line", os.environ.get("SPOTBATCH_INPUT"))
"""
COUNT = """
import os, sys
from spotbatch.runtime import checkpoint
n = int(checkpoint.read("n") or 0)
print("found", n, flush=True)
for n in range(n + 1, n + 4):
    checkpoint.write("n", b"%d" % n)
    assert checkpoint.save()
os.kill(os.getppid(), 9)
"""
DATA = random.Random(5).randbytes(100_000)
SHOWN = f"input x {hashlib.sha256(DATA).hexdigest()}"
ONCE = [faults_of.FLIP, faults_of.HALF_ANSWER, faults_of.NOT_THERE]
show = (sys.executable, "-c", SHOW)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_s3() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(url).items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=url).put_object(Bucket=BUCKET, Key="in/x", Body=DATA)
        yield url


@pytest.mark.parametrize("what", ONCE)
def test_an_input_that_comes_changed_once_is_fetched_again(endpoint: str, tmp_path: Path, what: str) -> None:
    with behind(Faults(endpoint, plan=first_get_of("/in/x", what)), tmp_path) as world:
        code, text = world.run(*show, SPOTBATCH_INPUTS=f"s3://{BUCKET}/in/x")
    assert code == 0, text
    assert SHOWN in text


def test_an_input_that_comes_changed_each_time_is_another_hosts_chance(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint, plan=always("/in/x", faults_of.FLIP)), tmp_path) as world:
        code, text = world.run(*show, SPOTBATCH_INPUTS=f"s3://{BUCKET}/in/x")
    assert code == 210
    assert "input x" not in text


def test_an_input_whose_tag_is_no_checksum_arrives(endpoint: str, tmp_path: Path) -> None:
    """As with objects that are encrypted with a key of KMS: the same content twice is what is stored."""
    faults = Faults(endpoint, plan=lambda request: faults_of.OTHER_TAG if "/in/x" in request.path else faults_of.NONE)
    with behind(faults, tmp_path) as world:
        code, text = world.run(*show, SPOTBATCH_INPUTS=f"s3://{BUCKET}/in/x")
    assert code == 0, text
    assert SHOWN in text


@pytest.mark.parametrize("what", ONCE)
def test_a_list_of_inputs_that_comes_changed_once_is_fetched_again(endpoint: str, tmp_path: Path, what: str) -> None:
    with behind(Faults(endpoint, plan=first_get_of("/inputs/", what)), tmp_path) as world:
        lines = json.dumps([f"s3://{BUCKET}/in/x", "b"]).encode()
        open_store(world.url).put(artifacts.input_list("work", 0), lines)
        code, text = world.run(*show, SPOTBATCH_INPUT_LIST="1", AWS_BATCH_JOB_ARRAY_INDEX="0")
    assert code == 0, text
    assert f"line s3://{BUCKET}/in/x" in text
    assert SHOWN in text


@pytest.mark.parametrize("part", ["first/job/output.json", "first/job/output/out"])
@pytest.mark.parametrize("what", ONCE)
def test_outputs_of_another_run_that_come_changed_once_are_fetched_again(
    endpoint: str, tmp_path: Path, what: str, part: str
) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        assert world.run(*outputs(2, 100), SPOTBATCH_RUN_ID="first")[0] == 0
    with behind(Faults(endpoint, plan=first_get_of(part, what)), tmp_path) as world:
        code, text = world.run(*show, SPOTBATCH_INPUTS="outputs:first")
    assert code == 0, text
    assert text.count("input out-") == 2


@pytest.mark.parametrize("url", ["s3://no bucket/x", "s3://b\u00fccket/x", "s3://%2F/x"])
def test_a_name_that_no_bucket_has_is_a_wrong_setting(tmp_path: Path, url: str) -> None:
    with spot(tmp_path, **s3_environment("http://127.0.0.1:9")) as world:
        (tmp_path / "store/runs/work/inputs").mkdir(parents=True)
        (tmp_path / "store" / artifacts.input_list("work", 0)).write_text(json.dumps([url]))
        code, text = world.run(*show, SPOTBATCH_INPUT_LIST="1", AWS_BATCH_JOB_ARRAY_INDEX="0")
    assert code == 125
    assert "Traceback" not in text


def late(share: float, seed: int) -> Plan:
    """So many listings are answered as they were the time before."""
    chance = random.Random(seed)

    def plan(request: Request) -> str:
        return faults_of.STALE_LIST if request.is_list and chance.random() < share else faults_of.NONE

    return plan


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_listings_that_are_late_cost_no_work(endpoint: str, tmp_path: Path, share: float) -> None:
    faults = Faults(endpoint)
    with behind(faults, tmp_path, SPOTBATCH_CHECKPOINT_SECONDS="60") as world:
        for life in range(4):
            text = world.run(sys.executable, "-c", COUNT)[1]
            assert f"found {3 * life}\n" in text
            assert "checkpoint failed" not in text
            faults.plan = late(share, seed=life)
        assert faults.injected[faults_of.STALE_LIST]


def test_somebody_elses_odd_keys_in_the_store_hide_nothing(endpoint: str, tmp_path: Path) -> None:
    with behind(Faults(endpoint), tmp_path) as world:
        assert world.run(*make(1, 1000))[0] == 3
        unit = f"{tmp_path.name}/runs/work/job"
        for key in ("manifests//x", "manifests/../x", "claims//y", "manifests/a\x01b", "packs/./z", "manifests/"):
            boto3.client("s3", endpoint_url=endpoint).put_object(
                Bucket=BUCKET, Key=f"{unit}/checkpoints/{key}", Body=b""
            )
        for key in ("attempts/\u00b2.json", "attempts//.json", "attempts/0x.json"):
            boto3.client("s3", endpoint_url=endpoint).put_object(Bucket=BUCKET, Key=f"{unit}/{key}", Body=b"[" * 99999)
        code, text = world.run(*make(1, 1000))
    assert code == 3, text
    assert "found 1" in text


def test_an_output_whose_key_is_too_long_for_s3_ends_in_220(endpoint: str, tmp_path: Path) -> None:
    deep = "/".join(["a" * 200] * 6)
    with behind(Faults(endpoint), tmp_path) as world:
        code, text = world.run("sh", "-c", f'cd "$SPOTBATCH_OUTPUT_DIR"; mkdir -p {deep}; echo hi > {deep}/b')
    assert code == 220, text
    assert "1024 bytes" in text
