"""The commands about money as a user types them: estimate, its picture and its sample, idle cost, prices."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from spotbatch.aws.price_cache import region_name
from spotbatch.batch.artifacts import attempt_record
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.cli import main


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION", "SPOTBATCH_LOCAL"):
        monkeypatch.setenv(name, "")  # so that it is absent again afterwards, even if the command itself sets it
        monkeypatch.delenv(name)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main.main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_an_estimate_shows_three_scenarios_and_where_its_prices_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "estimate", "--jobs", "40", "--time", "2h", "--deadline", "3h", "--samples", "100")
    assert code == 0
    for word in ("spot", "mixed", "on-demand", "as of 2026-07-20", "as of 2025-06-28", "save every", "shipped with"):
        assert word in out
    assert "< 3.0 %" in out, "100 samples cannot show less than 3 % with confidence"


def test_an_estimate_as_json_is_the_same_for_the_same_seed(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (
        run(capsys, "estimate", "--samples", "50", "--time", "20h", "--seed", "3", "--json")[1] for _ in range(2)
    )
    assert one == two
    found = json.loads(one)
    assert found["scenarios"]["spot"]["cost_usd"]["p50"] < found["scenarios"]["on-demand"]["cost_usd"]["p50"]
    assert found["types"][0]["spot_usd_per_job_hour"] is not None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs", "0"], "jobs of an estimate must be 1"),
        (["--memory", "9000G"], "can hold a job"),
        (["--types", "c5.lagre"], "did you mean c5.large"),
        (["--time", "soon"], "not 'soon'"),
        (["--types", "m5,m7g"], "arm64 and x86_64 cannot share a queue"),
        (["--types", "m5", "--architecture", "arm64"], "the types are of x86_64"),
        (["--types", ","], "none of the 0 types given"),
        (["--max-vcpus", "1"], "none of the 24 types given has 1 vCPUs or fewer"),
        (["--deadline", "0"], "deadline_seconds"),
        (["--seed", "-1"], "seed of an estimate must be 0"),
    ],
)
def test_wrong_input_is_refused_with_the_value_and_the_fix(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, out, err = run(capsys, "estimate", *arguments)
    assert code in (2, 3)
    assert words in err
    assert out == ""


def test_the_whole_catalogue_is_compared_within_one_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "estimate", "--types", "all", "--architecture", "arm64", "--samples", "20", "--json")
    assert code == 0
    assert len(json.loads(out)["types"]) > 50
    assert all("g" in each["instance_type"].partition(".")[0] for each in json.loads(out)["types"])


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_picture_of_an_estimate_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    picture = tmp_path / f"estimate.{kind}"
    code, _, err = run(capsys, "estimate", "--samples", "20", "--deadline", "9h", "--plot", str(picture))
    assert code == 0
    assert str(picture) in err
    assert picture.stat().st_size > 5_000


def test_a_picture_that_cannot_be_written_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "estimate", "--samples", "20", "--plot", str(tmp_path / "no" / "folder.png"))
    assert code == 2
    assert "could not be written" in err


def a_run(store: Path) -> Path:
    for index in range(3):
        record = AttemptRecord(
            run_id="r",
            job_id="j",
            array_index=index,
            attempt=1,
            instance_type="c5.large",
            zone="z",
            started_at=1000.0,
            ended_at=1000.0 + 60 * (index + 1),
            outcome="succeeded",
            checkpoints_saved=4,
            checkpoint_seconds=8.0,
            peak_memory_mib=1500.0,
        )
        path = store / attempt_record("r", index, 1)
        path.parent.mkdir(parents=True)
        path.write_bytes(record.to_json())
    return store


@pytest.mark.parametrize("place", ["{}", "{}/runs/r", "file://{}/runs/r"])
def test_an_estimate_is_made_from_a_sample_run(capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str) -> None:
    where = place.format(a_run(tmp_path / "store"))
    code, out, err = run(capsys, "estimate", "--sample", where, "--jobs", "300", "--samples", "50", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["work_seconds"] == 120.0
    assert found["memory_mib"] == 1920, "the peak and a fifth, in steps of 128"


def test_a_sample_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, "estimate", "--sample", str(tmp_path))
    assert code == 2
    assert "no attempt records lie below" in err


def a_template(folder: Path, **resources: object) -> Path:
    path = folder / "stack.template.json"
    path.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
    return path


def test_idle_cost_is_counted_in_a_template_and_says_that_its_prices_are_not_verified(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    template = a_template(
        tmp_path,
        Nat={"Type": "AWS::EC2::NatGateway"},
        Address={"Type": "AWS::EC2::EIP"},
        Environment={
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {"ComputeResources": {"MinvCpus": 4}},
        },
    )
    code, out, _ = run(capsys, "estimate", "--idle", "--template", str(template))
    assert code == 0
    assert "36.50 USD" in out
    assert "not verified here" in out
    assert "hosts of 4 vCPUs" in out
    found = json.loads(run(capsys, "estimate", "--idle", "--template", str(template), "--json")[1])
    assert (found["usd_per_month"], found["minimum_vcpus"]) == ("36.500", 4)


def test_idle_cost_says_what_changes_against_another_template_and_what_is_free(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Namespace": "own", "MetricName": "lost"}}
    counted = {"MetricTransformations": [{"MetricNamespace": "own", "MetricName": name} for name in ("lost", "kept")]}
    log_filter = {"Type": "AWS::Logs::MetricFilter", "Properties": counted}
    (tmp_path / "old").mkdir()
    old = a_template(tmp_path / "old", Nat={"Type": "AWS::EC2::NatGateway"}, Alarm=alarm)
    new = a_template(tmp_path, Nat={"Type": "AWS::EC2::Instance"}, Alarm=alarm, Filter=log_filter)
    code, out, err = run(capsys, "estimate", "--idle", "--template", str(new), "--against", str(old))
    assert code == 0, err
    assert "1 -> 0" in out
    assert "-32.85 USD" in out, "the NAT gateway goes"
    assert "2 metrics of its own are named" in out
    assert "a free tier takes off up to 0.10 USD" in out
    found = json.loads(run(capsys, "estimate", "--idle", "--template", str(new), "--against", str(old), "--json")[1])
    assert {each["item"] for each in found["changes"]} == {"nat_gateway", "nat_instance", "public_ipv4", "ebs_gp3_gib"}
    assert (found["custom_metrics"], found["free_tier_usd_per_month"]) == (2, "0.10")
    same = run(capsys, "estimate", "--idle", "--template", str(new), "--against", str(new))[1]
    assert "nothing that costs while idle changes" in same
    assert run(capsys, "estimate", "--against", str(old))[0] == 2


@pytest.mark.parametrize(("content", "words"), [("", "no template in JSON"), ("[]", "has no Resources")])
def test_what_is_no_template_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content, encoding="utf-8")
    code, _, err = run(capsys, "estimate", "--idle", "--template", str(path))
    assert code == 2
    assert words in err


def test_idle_cost_without_a_synthesized_template_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "estimate", "--idle")
    assert code == 3
    assert "python app.py" in err


def test_prices_are_shown_with_their_days_and_their_age(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "prices", "show", "--types", "c5.large,m7g.medium")
    assert code == 0
    assert "2026-07-20" in out
    assert "shipped with spotbatch" in err


def test_all_prices_come_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, "prices", "show", "--types", "all", "--json")[1])
    assert len(found["types"]) > 500


def test_prices_of_another_region_are_not_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "--region", "eu-west-1", "prices", "show", "--types", "c5.large")
    assert "prices of us-east-1; those of eu-west-1 are not known" in err


@pytest.mark.parametrize(
    ("config", "profile", "region"),
    [
        ("[default]\nregion = eu-west-1\n", "", "eu-west-1"),
        ("[default]\nregion = eu-west-1\n[profile work]\nregion=us-west-2\n", "work", "us-west-2"),
        ("[profile work]\noutput=json\n", "work", "us-east-1"),
        ("not a config", "", "us-east-1"),
    ],
)
def test_the_region_is_found_where_boto3_would_find_it(tmp_path: Path, config: str, profile: str, region: str) -> None:
    path = tmp_path / "config"
    path.write_text(config, encoding="utf-8")
    settings = {"AWS_CONFIG_FILE": str(path), "AWS_PROFILE": profile}
    assert region_name(settings) == region
    assert region_name({**settings, "AWS_REGION": "sa-east-1"}) == "sa-east-1"


def test_an_estimate_loads_no_library_for_pictures_or_for_aws() -> None:
    code = (
        "import sys; from spotbatch.cli import main;"
        "assert main.main(['estimate', '--samples', '20', '--json']) == 0;"
        "print([n for n in ('matplotlib', 'boto3', 'botocore', 'moto') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_small_run_does_not_look_as_if_it_cost_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "estimate", "--jobs", "3", "--time", "30s", "--samples", "20")
    (spot,) = (line for line in out.splitlines() if line.startswith("spot"))
    assert "0.00 USD" not in spot
    assert "0.00" in spot


def test_prices_that_a_local_region_makes_up_are_not_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from spotbatch.runs import endpoint

    monkeypatch.setattr(endpoint, "use_local", lambda: None)
    monkeypatch.setenv("SPOTBATCH_LOCAL", "1")
    code, _, said = run(capsys, "prices", "refresh")
    assert code == 2
    assert "no prices of its own" in said


def test_prices_of_no_type_are_no_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "prices", "show", "--types", " , ")
    assert code == 2
    assert "--types names no type" in said
