"""`Client.map`: a function of the user's own over many items, as jobs of the local region, without an image."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotbatch import Client, InvalidInput
from spotbatch.runs.function_call import RemoteTraceback, prepared
from spotbatch.runtime.call_item import item_of, other_version
from tests.contract.cli_world import CliWorld, cli_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliWorld]:
    with cli_world(tmp_path_factory.mktemp("map")) as made:
        yield made


@pytest.fixture
def client(world: CliWorld, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("SPOTBATCH_HOME", str(world.home))
    return Client(local=True)


class Refused(ValueError):
    """An exception of the user's own, which an image has never heard of."""


def tenth(number: int) -> tuple[int, float]:
    if number == 3:
        raise Refused(f"not {number}")
    return number, number / 10


def test_results_come_in_order_and_exceptions_with_their_remote_traceback(client: Client, world: CliWorld) -> None:
    mapped = client.map(tenth, range(5), name="tenths", return_exceptions=True)
    assert len(mapped) == 5
    first, second, third, failed, last = mapped
    assert (first, second, third, last) == ((0, 0.0), (1, 0.1), (2, 0.2), (4, 0.4))
    assert isinstance(failed, Refused)
    assert str(failed) == "not 3"
    assert isinstance(failed.__cause__, RemoteTraceback)
    assert "raise Refused" in str(failed.__cause__)
    assert mapped.run is not None
    assert [(each.index, each.input) for each in mapped.run.failures()] == [(3, "3")]
    assert "not 3" in world.run("doctor", mapped.run.id).out


def test_what_the_function_raises_is_raised_here_and_a_long_item_goes_as_a_file(client: Client) -> None:
    def length(data: bytes) -> int:
        if not data:
            raise Refused("nothing")
        return len(data)

    assert list(client.map(length, [b"x" * 50_000])) == [50_000]
    with pytest.raises(Refused, match="nothing"):
        next(client.map(length, [b"", b"y"]))


def test_no_items_are_no_jobs(client: Client) -> None:
    assert list(client.map(tenth, [])) == []


def test_what_cannot_be_sent_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="item 0 cannot be pickled"):
        prepared(tenth, [(each for each in "ab")], tries=1, code=None, folder=tmp_path)
    with pytest.raises(InvalidInput, match="at least 1, not 0"):
        prepared(tenth, [1], tries=0, code=None, folder=tmp_path)


def test_another_python_than_the_one_that_pickled_is_refused_in_the_job(tmp_path: Path) -> None:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert other_version({"python": here}) == ""
    assert "Python 2.7 pickled the function" in other_version({"python": "2.7"})
    (tmp_path / "item.pickle").write_bytes(b"pickle")
    assert item_of("1#pickle:cGlja2xl", "") == item_of("s3://bucket/a/item.pickle", str(tmp_path)) == b"pickle"
