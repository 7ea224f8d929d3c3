"""Traces from files: what they say, which way up, and what is refused."""

import gzip
import json
from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.simulate.trace import Polarity, Trace, read_traces

ROWS = [
    "b,2023-02-15 22:00:00,1,0.5",
    "a,2023-02-15 22:00:00,0,0.6",
    "b,2023-02-15 22:05:00,0,0.5",
    "a,2023-02-15 22:05:00,1,0.7",
    "a,2023-02-15 22:10:00,1,0.7",
    "b,2023-02-15 22:10:00,1,0.5",
]


def csv_file(folder: Path, column: str = "available", rows: list[str] = ROWS) -> Path:
    path = folder / "trace.csv"
    path.write_text("\n".join([f"zone,timestamp_utc,{column},spot_usd_per_hour", *rows]) + "\n")
    return path


def json_file(folder: Path, **document: object) -> Path:
    path = folder / "trace.json"
    path.write_text(json.dumps({"metadata": {"gap_seconds": 600}} | document))
    return path


def test_a_csv_gives_one_trace_a_zone_with_its_prices(tmp_path: Path) -> None:
    a, b = read_traces(csv_file(tmp_path))
    assert (a.zone, a.available, a.tick_seconds, a.usd_per_hour) == ("a", (False, True, True), 300.0, (0.6, 0.7, 0.7))
    assert (b.zone, b.available) == ("b", (True, False, True))


def test_a_gzipped_file_is_the_same(tmp_path: Path) -> None:
    plain = csv_file(tmp_path)
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_traces(packed) == read_traces(plain)


def test_a_column_that_names_reclaims_is_turned_round(tmp_path: Path) -> None:
    a, _ = read_traces(csv_file(tmp_path, column="preempted"))
    assert a.available == (True, False, False)


def test_a_json_that_does_not_say_what_a_1_means_is_refused_until_told(tmp_path: Path) -> None:
    path = json_file(tmp_path, data=[0, 1, 1])
    with pytest.raises(InvalidInput, match="does not say whether a 1 means"):
        read_traces(path)
    assert read_traces(path, Polarity.RECLAIMED)[0].available == (True, False, False)
    assert read_traces(path, Polarity.AVAILABLE)[0].available == (False, True, True)


def test_a_file_and_a_caller_that_disagree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="says that a 1 means available"):
        read_traces(csv_file(tmp_path), Polarity.RECLAIMED)


def test_coarser_ticks_are_up_only_if_every_probe_was() -> None:
    trace = Trace(zone="a", tick_seconds=195.0, available=(True, True, True, True, False, True, True))
    assert trace.coarser(3).available == (True, False)
    assert trace.coarser(3).tick_seconds == 585.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,2023-02-15 22:00:00,2,"], "an entry of a trace is 0 or 1, not '2'"),
        (["a,yesterday,1,"], "line 2"),
        (["a,2023-02-15 22:00:00,1,"], "one probe only"),
        ([*ROWS, "a,2023-02-16 22:00:00,1,0.6"], "an even grid is needed"),
    ],
)
def test_a_csv_that_is_not_what_it_says_is_refused_with_the_place(
    tmp_path: Path, rows: list[str], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        read_traces(csv_file(tmp_path, rows=rows))


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no trace can be read"):
        read_traces(tmp_path / "missing.csv")
    with pytest.raises(InvalidInput, match="columns"):
        read_traces(csv_file(tmp_path, column="mood"))
    path = tmp_path / "other.json"
    path.write_text("[1, 2]")
    with pytest.raises(InvalidInput, match="gap_seconds"):
        read_traces(path)


@pytest.mark.parametrize(("name", "text"), [("t.csv", "zone,timestamp_utc,available\n"), ("t.json", "[]")])
def test_a_file_without_a_probe_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match="holds no probes"):
        read_traces(tmp_path / name)


def test_a_json_that_says_its_polarity_twice_and_differently_is_refused(tmp_path: Path) -> None:
    path = json_file(tmp_path, preempted=[1, 0], metadata={"gap_seconds": 600, "polarity": "available"})
    with pytest.raises(InvalidInput, match="calls its entries 'preempted'"):
        read_traces(path)


def test_two_traces_of_one_zone_are_refused_rather_than_one_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    one = {"metadata": {"gap_seconds": 600, "zone": "a"}, "availability": [1, 0]}
    path.write_text(json.dumps([one, one]))
    with pytest.raises(InvalidInput, match="2 traces of zone a"):
        read_traces(path)


def test_counts_are_available_from_the_threshold_on(tmp_path: Path) -> None:
    path = json_file(tmp_path, availability=[0, 4, 2, "3"])
    assert read_traces(path, threshold=3)[0].available == (False, True, False, True)
    assert read_traces(path, threshold=1)[0].available == (False, True, True, True)
    rows = tmp_path / "counts.csv"
    rows.write_text(
        "zone,timestamp_utc,available\na,2026-01-01T00:00:00,10\na,2026-01-01T00:10:00,1\na,2026-01-01T00:20:00,2\n"
    )
    assert read_traces(rows, threshold=2)[0].available == (True, False, True)


def test_counts_without_a_threshold_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="0 or 1, not 4: for counts of instances, give the --threshold"):
        read_traces(json_file(tmp_path, availability=[0, 4]))


@pytest.mark.parametrize("entry", [-1, 1.5, "many", None, "nan"])
def test_what_is_no_count_is_refused(tmp_path: Path, entry: object) -> None:
    with pytest.raises(InvalidInput, match="a count of instances is a whole number from 0"):
        read_traces(json_file(tmp_path, availability=[0, entry]), threshold=1)


def test_counts_of_reclaims_have_no_threshold(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="said to hold reclaims"):
        read_traces(json_file(tmp_path, preempted=[1, 0]), threshold=1)
    with pytest.raises(InvalidInput, match="at least 1, not 0"):
        read_traces(json_file(tmp_path, availability=[1, 0]), threshold=0)
