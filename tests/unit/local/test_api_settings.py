"""The region's arguments and its image table."""

from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local import settings_file
from spotbatch.local.image_table import read_images
from spotbatch.local.settings import RegionSettings, parse_arguments

TABLE = """
[[image]]
pattern = "*.dkr.ecr.*/flights:*"
entry_point = ["python3"]
path = ["/opt/bin"]
working_directory = "/tmp"
environment = { A = "1" }

[[image]]
pattern = "*"
"""


def first_start(*typed: str) -> RegionSettings:
    arguments = parse_arguments(typed)
    return settings_file.merged(None, arguments, {}).region_settings(arguments)


def test_defaults_are_aws_own(tmp_path: Path) -> None:
    settings = first_start("--home", str(tmp_path))
    assert settings.notice_seconds == 120
    assert settings.stop_grace_seconds == 30
    assert settings.keep_jobs_days == 7
    assert not settings.unsafe_no_auth
    assert settings.artifacts_folder == tmp_path / "artifacts"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--notice-seconds", "-1"],
        ["--notice-seconds", "nan"],
        ["--vcpu-quota", "0"],
        ["--keep-jobs-days", "-1"],
        ["--runner", "x"],
    ],
)
def test_a_value_out_of_range_is_bad_usage(arguments: list[str]) -> None:
    with pytest.raises(InvalidInput, match=arguments[0]):
        parse_arguments(arguments)


def test_an_account_id_has_twelve_digits() -> None:
    with pytest.raises(InvalidInput, match="12 digits, not '12'"):
        parse_arguments(["--account-id", "12"])


def test_a_template_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match=r"nowhere\.json"):
        parse_arguments(["--template", "nowhere.json"])


def test_the_image_table_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "images.toml"
    path.write_text(TABLE)
    first, second = read_images(path)
    assert first.entry_point == ("python3",)
    assert first.path == ("/opt/bin",)
    assert first.working_directory == Path("/tmp")
    assert first.environment == {"A": "1"}
    assert second.pattern == "*"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "not TOML"),
        ("[other]", r"\[\[image\]\]"),
        ("[image]\npattern='a'", r"\[\[image\]\]"),
        ("[[image]]", "pattern"),
        ("[[image]]\npattern='a'\npaths=[]", "paths"),
        ("[[image]]\npattern='a'\npath='b'", "path is a list"),
        ("[[image]]\npattern='a'\nenvironment={A=1}", "environment"),
        ("[[image]]\npattern='a'\nworking_directory=1", "working_directory"),
    ],
)
def test_a_wrong_image_table_is_refused_with_the_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "images.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_images(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "80x"], "must be a number, not '80x'"),
        (["--boot-seconds", "soon"], "must be a number, not 'soon'"),
        (["--seed", "1.5"], "must be a number, not '1.5'"),
        (["--pass-env", "TOKEN=x"], "without a value, not 'TOKEN=x'"),
        (["--region", "us_east"], "such as eu-central-1, not 'us_east'"),
    ],
)
def test_a_wrong_value_is_told_in_words(arguments: list[str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_arguments(arguments)


@pytest.mark.parametrize("name", ["us-east-1", "ap-southeast-4", "us-gov-west-1", "us-iso-east-1", "mx-central-1"])
def test_aws_own_names_of_regions_are_taken(name: str) -> None:
    assert first_start("--region", name).region == name
