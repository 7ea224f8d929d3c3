"""`spotbatch simulate`: the command from its arguments to its bytes."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from spotbatch.cli.main import main

SMALL = ["simulate", "--jobs", "40", "--time", "20m", "--runs", "3", "--cores", "1", "--types", "c5", "--rate", "1"]
OF_A_TRACE = ["simulate", "--deadline", "5h", "--time", "4h", "--price-ratio", "3", "--changeover", "6m"]
DEADLINE = [*OF_A_TRACE, "--runs", "4"]


def test_the_same_seed_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--seed", "5", "--json"]) == 0
    first = capsys.readouterr().out
    assert main([*SMALL, "--seed", "5", "--json"]) == 0
    assert capsys.readouterr().out == first
    assert main([*SMALL, "--seed", "6", "--json"]) == 0
    assert capsys.readouterr().out != first
    document = json.loads(first)
    assert document["is_simulated"] is True
    assert len(document["runs"]) == 3
    assert all(run["succeeded"] == 40 for run in document["runs"])


def test_the_table_names_its_sources_and_that_it_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL) == 0
    out = capsys.readouterr().out
    assert "simulated, not measured on AWS" in out
    assert "saving over on-demand" in out


def test_pictures_are_written(tmp_path: Path) -> None:
    assert main([*SMALL, "--plot", str(tmp_path / "p.png"), "--gantt", str(tmp_path / "g.png")]) == 0
    assert (tmp_path / "p.png").stat().st_size > 1000
    assert (tmp_path / "g.png").stat().st_size > 1000


def test_a_deadline_gives_the_policy_table_with_nobody_of_ours_late(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DEADLINE, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    policies = {each["name"]: each for each in document["policies"]}
    assert document["sources"] == ["the price ratio: as given"]
    assert set(policies) >= {"on-demand", "UP as coded", "ours", "omniscient optimum"}
    assert policies["ours"]["late"] == 0
    assert policies["omniscient optimum"]["mean_saving"] >= policies["ours"]["mean_saving"]


def test_variants_are_compared_with_one_seed_and_drawn_in_one_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "p.png"
    assert main([*SMALL, "--compare", "fleet", "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "seed 0 for all" in out
    assert "25 % of the jobs on demand" in out
    assert picture.stat().st_size > 1000
    assert main([*SMALL, "--compare", "checkpoint", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [len(each["usd"]) for each in document["answers"]] == [3] * len(document["answers"])
    assert main([*SMALL, "--compare", "moons"]) == 2
    assert "pools, checkpoint, fleet, regions" in capsys.readouterr().err


def test_a_job_may_move_between_the_zones_and_egress_is_priced(capsys: pytest.CaptureFixture[str]) -> None:
    zones = ["--together", "--zones", "us-east-1a,us-west-2a", "--checkpoint-size", "50G", "--types", "g5"]
    assert main([*DEADLINE, *zones, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    scores = {each["name"]: each for each in document["policies"]}
    assert scores["joint table"]["late"] == 0
    assert scores["joint table"]["mean_usd"] >= scores["omniscient optimum"]["mean_usd"]
    assert any("egress" in line for line in document["sources"])
    assert main([*SMALL, "--together"]) == 2
    assert "--together is for one job with a --deadline" in capsys.readouterr().err


def test_a_trace_gives_the_weather_and_its_polarity_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "t.json"
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 600}, "data": ([1] * 30 + [0] * 3) * 5}))
    assert main([*SMALL, "--trace", str(trace)]) == 2
    assert "--polarity available or --polarity reclaimed" in capsys.readouterr().err
    assert main([*SMALL, "--trace", str(trace), "--polarity", "available", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["capacity"] == "CapacityFromTrace"
    assert main([*OF_A_TRACE, "--trace", str(trace), "--polarity", "available", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["terms"]["tick_seconds"] == 600.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--time", "soon"], "a length of time is written as"),
        (["--jobs", "0"], "can be simulated, not 0"),
        (["--vcpus", "5000"], "no pool takes a job of 5000 vCPUs"),
        (["--polarity", "up", "--trace", "/dev/null"], "--polarity is available or reclaimed, not 'up'"),
        (["--trace", "/no/such/file.csv"], "no trace can be read"),
    ],
)
def test_bad_input_is_named_with_its_value(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *arguments]) in (2, 3)
    assert message in capsys.readouterr().err


def test_the_bill_of_the_first_run_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--no-notice", "--bill", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    bill = document["bill"]
    assert Decimal(bill["paid_usd"]) == pytest.approx(Decimal(document["runs"][0]["usd"]), abs=Decimal("0.000001"))
    assert sum(map(Decimal, bill["parts_usd"].values())) == pytest.approx(
        Decimal(bill["gross_usd"]), abs=Decimal("0.00000001")
    )
    assert main([*SMALL, "--bill"]) == 0
    assert "the bill of the first run" in capsys.readouterr().out


def test_runs_that_never_ended_have_no_saving_and_say_how_many_jobs_did_not_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "down.json"
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 3600}, "availability": [0] * 199 + [1]}))
    hopeless = [*SMALL, "--trace", str(trace), "--give-up", "2d"]
    assert main(hopeless) == 0
    out = capsys.readouterr().out
    assert "100.0" not in out
    assert "3 of 3 runs were given up" in out
    assert "120 jobs did not end" in out
    assert main([*hopeless, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [run["saving_percent"] for run in document["runs"]] == [None] * 3
    assert document["summary"]["saving_percent"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "--trace", "t.json"], "--trace and --model"),
        (["--polarity", "available"], "--polarity is of a --trace"),
        (["--deadline", "50h", "--gantt", "g.png"], "--gantt"),
        (["--deadline", "50h", "--bill"], "--bill"),
        (["--zones", ","], "--zones names no zone"),
        (["--types", ","], "--types names no instance type"),
        (["--vcpus", "512"], "the largest"),
        (["--price-ratio", "3"], "--price-ratio"),
        (["--deadline", "50h", "--price-ratio", "0"], "--price-ratio must be more than 0"),
        (["--deadline", "50h", "--give-up", "2d"], "--give-up is of many jobs"),
        (["--deadline", "50h", "--trace", "t.json"], "every window of the trace"),
        (["--deadline", "50h", "--runs", "0"], "--runs is 1 to"),
        (["--give-up", "0"], "--give-up must be longer than 0 s"),
        (["--time", "0"], "--time must be longer than 0 s"),
    ],
)
def test_options_that_would_do_nothing_or_name_nothing_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMALL, *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said) < 300


def test_a_trace_without_any_capacity_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "reclaimed.json"
    trace.write_text(json.dumps({"metadata": {"gap_seconds": 3600}, "availability": [0] * 10}))
    for options in (SMALL, OF_A_TRACE):
        assert main([*options, "--trace", str(trace)]) == 2
        assert "is its polarity right?" in capsys.readouterr().err


def test_no_percentage_is_minus_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DEADLINE, "--changeover", "5s"]) == 0  # on-demand saves -0.03 %
    assert "-0.0 %" not in capsys.readouterr().out
