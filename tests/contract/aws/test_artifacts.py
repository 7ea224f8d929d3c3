"""The artifact store as the command line reads it: the same behaviour of a folder and of a bucket."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch.aws import stack_outputs
from spotbatch.aws.artifacts import Artifacts, open_artifacts, read_json
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from tests.contract.cli_world import CliWorld, cli_world, template


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("artifacts")) as made:
        made.region.client("s3").create_bucket(Bucket="store")
        yield made


@pytest.fixture(params=["folder", "bucket", "bucket below a prefix"])
def store(
    request: pytest.FixtureRequest, world: CliWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Artifacts:
    for name, value in world.region.info.environment().items():
        monkeypatch.setenv(name, value)
    if request.param == "folder":
        return open_artifacts((tmp_path / "a store").as_uri())
    return open_artifacts("s3://store" if request.param == "bucket" else "s3://store/deep/below")


def test_what_is_written_is_listed_read_and_downloaded(store: Artifacts, tmp_path: Path) -> None:
    store.write("runs/r/00001/output.json", b'{"a": 1}')
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    store.upload(tmp_path / "big", "runs/r/00001/output/b c%.bin")
    found = {each.key: each.size_bytes for each in store.list("runs/r")}
    assert found == {"runs/r/00001/output.json": 8, "runs/r/00001/output/b c%.bin": 3_000_000}
    assert read_json(store, "runs/r/00001/output.json") == {"a": 1}
    told: list[int] = []
    store.download("runs/r/00001/output/b c%.bin", tmp_path / "back", told.append)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()
    assert sum(told) == 3_000_000


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(store: Artifacts) -> None:
    store.write("runs/one/x", b"")
    store.write("runs/one-more/x", b"")
    assert [each.key for each in store.list("runs/one")] == ["runs/one/x"]


def test_a_file_that_a_running_job_removes_meanwhile_is_left_out(tmp_path: Path) -> None:
    store = open_artifacts(tmp_path.as_uri())
    store.write("runs/r/a", b"1")
    store.write("runs/r/b", b"2")
    store.write("runs/r/c", b"3")
    listed = store.list("runs/r")
    assert next(iter(listed)).key == "runs/r/a"
    (tmp_path / "runs/r/b").unlink()
    assert [each.key for each in listed] == ["runs/r/c"]


def test_what_is_not_there_is_not_found(store: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        store.read("nothing")
    with pytest.raises(NotFound):
        store.download("nothing", tmp_path / "x", lambda _: None)
    assert list(store.list("nothing")) == []


def test_json_that_is_damaged_is_told_with_its_place(store: Artifacts) -> None:
    store.write("broken.json", b"{")
    with pytest.raises(Unavailable, match=r"broken\.json is damaged"):
        read_json(store, "broken.json")


def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    store = open_artifacts((tmp_path / "store").as_uri())
    with pytest.raises(InvalidInput, match="leads out"):
        store.write("../outside", b"")


@pytest.mark.parametrize("url", ["http://x/y", "s3://", "store", "file://"])
def test_another_kind_of_url_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(InvalidInput, match="s3://bucket/prefix or file:///folder"):
        open_artifacts(url)


def test_the_only_stack_is_found_and_of_several_one_must_be_chosen(
    world: CliWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in world.region.info.environment().items():
        monkeypatch.setenv(name, value)
    found = stack_outputs.read()
    assert (found.stack, found.job_definition) == ("Tested", "work")
    world.admin.load_stack("Second", template())
    with pytest.raises(InvalidInput, match=r"Second, Tested.*--stack"):
        stack_outputs.read()
    assert stack_outputs.read("Second").stack == "Second"
    world.admin.load_stack(stack_outputs.DEFAULT_STACK, template())
    assert stack_outputs.read().stack == stack_outputs.DEFAULT_STACK
