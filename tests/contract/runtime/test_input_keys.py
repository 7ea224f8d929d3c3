"""Inputs whose keys are no paths: each child gets its own bytes, or an error that names the key, at once."""

import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from spotbatch.batch import artifacts
from spotbatch.runs.inputs import find_inputs
from spotbatch.runtime.storage.location import open_store
from tests.contract import fault_proxy as faults_of
from tests.contract.fault_proxy import Faults
from tests.contract.runtime_world import Spot, moto_s3, s3_environment, spot

SHOW = """
import json, os, pathlib
top = pathlib.Path(os.environ["SPOTBATCH_INPUT_DIR"])
print("FOUND" + json.dumps({p.relative_to(top).as_posix(): p.read_text() if p.is_file() else None
                            for p in sorted(top.rglob("*"))}))
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_s3() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_environment(url).items():
            patch.setenv(name, value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield url


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path) -> Any:
    """A bucket of one's own: other tests' objects have odd names too."""
    name = f"in-{zlib.crc32(str(tmp_path).encode())}"
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=name)

    class Made:
        url = f"s3://{name}"

        def put(self, *keys: str, body: str | None = None) -> None:
            for key in keys:
                client.put_object(Bucket=name, Key=key, Body=(key if body is None else body).encode())

    return Made()


@pytest.fixture
def world(endpoint: str, tmp_path: Path) -> Iterator[Spot]:
    with spot(tmp_path, **s3_environment(endpoint)) as made:
        yield made


def fetched(world: Spot, *urls: str, **more: str) -> tuple[int, dict[str, str | None], str]:
    code, text = world.run(sys.executable, "-c", SHOW, SPOTBATCH_INPUTS=" ".join(urls), **more)
    found = [json.loads(line.removeprefix("FOUND")) for line in text.splitlines() if line.startswith("FOUND")]
    return code, found[0] if found else {}, text


def test_every_child_of_a_prefix_gets_its_own_bytes(world: Spot, bucket: Any) -> None:
    names = ["p", "/p", "./p", "x/../p", "//p", "t\tab", "sp ace", "pl+us", "%2f", "q?x#y", "\x7f", "é", "e\u0301"]
    keys = [f"day/{name}" for name in [*names, "*[!a]", "back\\s", "x" * 255]]
    bucket.put(*keys)
    lines = find_inputs(f"{bucket.url}/day/").lines
    assert sorted(lines) == sorted(f"{bucket.url}/{key}" for key in keys)
    open_store(world.url).put(artifacts.input_list("work", 0), json.dumps(lines).encode())
    got = {}
    for index, line in enumerate(lines):
        code, found, text = fetched(world, SPOTBATCH_INPUT_LIST="1", AWS_BATCH_JOB_ARRAY_INDEX=str(index))
        assert code == 0, text
        got[line] = next(iter(found.values()))
    assert got == {f"{bucket.url}/{key}": key for key in keys}


def test_a_prefix_with_two_slashes_is_another_prefix(bucket: Any) -> None:
    bucket.put("day/p", "day//p", "day//deep/q")
    assert find_inputs(f"{bucket.url}/day//").lines == (f"{bucket.url}/day//deep/q", f"{bucket.url}/day//p")


@pytest.mark.parametrize(
    ("keys", "below", "found"),
    [
        (["con/x"], "con/", {"x": "con/x"}),
        (["con/a", "con/a b", "con/é/ü"], "con/", {"a": "con/a", "a b": "con/a b", "é": None, "é/ü": "con/é/ü"}),
        (["day//p", "day//q"], "day//", {"p": "day//p", "q": "day//q"}),
        (["./p"], "./", {"p": "./p"}),
        (["con/t\tb"], "con/", {"t\tb": "con/t\tb"}),
        (["/lead/x"], "/lead/", {"x": "/lead/x"}),
        (["con/" + "x" * 255], "con/", {"x" * 255: "con/" + "x" * 255}),
    ],
)
def test_a_folder_of_inputs_is_what_lies_below_its_prefix(
    world: Spot, bucket: Any, keys: list[str], below: str, found: dict[str, str | None]
) -> None:
    bucket.put(*keys)
    code, got, text = fetched(world, f"{bucket.url}/{below}")
    assert code == 0, text
    assert got == found


def test_markers_of_folders_are_empty_folders(world: Spot, bucket: Any) -> None:
    bucket.put("con/", "con/empty/", "con/full/", body="")
    bucket.put("con/x", "con/full/y")
    code, found, text = fetched(world, f"{bucket.url}/con/")
    assert code == 0, text
    assert found == {"x": "con/x", "empty": None, "full": None, "full/y": "con/full/y"}


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (["a/b", "a//b"], "'/b'"),
        (["a/./b"], "'./b'"),
        (["a/x/../../b"], "'x/../../b'"),
        (["a/x", "a/x/y"], "'x/y'"),
        (["a/" + "x" * 256], "'xxx"),
        (["a/marker/"], "'a/marker/'"),
        (["a/"], "'a/'"),
    ],
)
def test_what_no_file_can_have_ends_at_once_with_its_key(world: Spot, bucket: Any, keys: list[str], named: str) -> None:
    bucket.put(*keys)
    code, _, text = fetched(world, f"{bucket.url}/a/")
    assert code == 125, text
    assert named in text
    assert "FOUND" not in text
    assert "Traceback" not in text


def test_a_last_name_that_no_file_has_ends_at_once(world: Spot, bucket: Any) -> None:
    bucket.put("a/..", "a/.")
    for key in ("a/..", "a/."):
        code, _, text = fetched(world, f"{bucket.url}/{key}")
        assert code == 125, text
        assert key in text


def test_more_than_a_page_of_odd_keys_is_listed_whole(world: Spot, bucket: Any) -> None:
    bucket.put(*(f"many//{number:04d}" for number in range(1005)), body="1")
    code, found, text = fetched(world, f"{bucket.url}/many//")
    assert code == 0, text
    assert len(found) == 1005


@pytest.mark.parametrize("what", [faults_of.THROTTLE, faults_of.CUT_ANSWER, faults_of.EXPIRED, faults_of.RESET])
@pytest.mark.parametrize("key", ["day/p", "day//p"])
def test_inputs_arrive_whole_though_the_store_fails_now_and_then(
    endpoint: str, bucket: Any, tmp_path: Path, what: str, key: str
) -> None:
    bucket.put(key, body="0123456789" * 400_000)
    plan = {1: what, 2: what}
    with (
        Faults(endpoint, plan=lambda request: plan.get(request.nth, faults_of.NONE)) as faults,
        spot(tmp_path, **s3_environment(faults.url)) as world,
    ):
        code, found, text = fetched(world, f"{bucket.url}/{key}")
        assert code == 0, text
        assert found == {"p": "0123456789" * 400_000}


def test_a_missing_object_and_a_missing_bucket_are_named(world: Spot, bucket: Any) -> None:
    for url in (
        f"{bucket.url}/no//thing",
        f"{bucket.url}/nothing",
        f"{bucket.url}/nothing/",
        "s3://no-such-bucket-x/y//z",
    ):
        code, _, text = fetched(world, url)
        assert code == 125, text
        assert url in text or url.removesuffix("/") in text
        assert "Traceback" not in text


def test_a_named_pipe_is_no_input_and_holds_nobody_up(world: Spot, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in/pipe")
    (tmp_path / "in/file").write_text("1", encoding="ascii")
    code, found, text = fetched(world, (tmp_path / "in").as_uri() + "/")
    assert code == 0
    assert found == {"file": "1"}
    assert "is no file" in text
    assert fetched(world, (tmp_path / "in/pipe").as_uri())[0] == 125
