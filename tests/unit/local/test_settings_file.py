"""What a region was started with is kept in its home, and what a start changes is said or refused."""

from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput
from spotbatch.local import settings_file
from spotbatch.local.engine.unfinished import Unfinished
from spotbatch.local.settings import FOREVER, Arguments, RegionSettings, parse_arguments
from spotbatch.local.settings_change import check_start
from spotbatch.local.settings_file import StartSettings

WAITING = Unfinished(jobs_of_image={"work:1": 2}, has_resources=True)
TABLE = """
[[image]]
pattern = "work:*"
entry_point = ["spotrun", "--"]
path = ["bin"]
working_directory = "../code"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    found = tmp_path / "home"
    found.mkdir()
    return found


@pytest.fixture
def images(tmp_path: Path) -> Path:
    file = tmp_path / "conf" / "images.toml"
    file.parent.mkdir()
    file.write_text(TABLE)
    return file


def start(home: Path, *typed: str, environ: dict[str, str] | None = None) -> StartSettings:
    """One start, as the region does it; its settings are kept."""
    made, _ = started(home, *typed, environ=environ)
    return made


def started(
    home: Path, *typed: str, environ: dict[str, str] | None = None, unfinished: Unfinished | None = None
) -> tuple[StartSettings, list[str]]:
    arguments = parse_arguments(["--home", str(home), *typed])
    before = settings_file.read(home)
    made = settings_file.merged(before, arguments, environ or {})
    lines = check_start(before, made, arguments, unfinished or Unfinished(), environ or {})
    settings_file.write(home, made)
    return made, lines


def region(home: Path, made: StartSettings) -> RegionSettings:
    return made.region_settings(Arguments(home=home))


def test_a_plain_start_has_all_that_the_last_one_was_given(home: Path, images: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("zone,timestamp_utc,available\nz,2024-01-01T00:00:00Z,1\nz,2024-01-01T00:01:00Z,0\n")
    given = start(
        home, "--images", str(images), "--pass-env", "TOKEN", "--notice-seconds", "4", "--vcpu-quota", "8",
        "--artifacts", str(tmp_path / "store"), "--seed", "7", "--trace-file", str(trace), "--trace-speed", "60",
        "--idle-seconds", "3", "--runner", "auto", "--region", "eu-central-1", "--port", "0",
        environ={"TOKEN": "secret"},
    )  # fmt: skip
    first = region(home, given)
    images.unlink()
    trace.unlink()
    again = region(home, start(home, environ={"TOKEN": "another"}))
    assert again == first
    assert (again.notice_seconds, again.vcpu_quota, again.seed, again.region) == (4.0, 8, 7, "eu-central-1")
    assert again.variables == {"TOKEN": "secret"}
    assert again.images[0].entry_point == ("spotrun", "--")
    assert len(again.traces) == 1


def test_relative_paths_mean_the_same_from_any_folder(
    home: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = region(home, start(home, "--images", "conf/images.toml", "--artifacts", "store"))
    monkeypatch.chdir("/")
    again = region(home, start(home))
    assert first.artifacts_folder == again.artifacts_folder == tmp_path / "store"
    assert again.images[0].path == (str(images.parent / "bin"),)
    assert again.images[0].working_directory == images.parent / "../code"


def test_a_start_says_what_it_goes_on_with_and_which_sources_it_does_not_follow(home: Path, images: Path) -> None:
    start(home, "--images", str(images), "--pass-env", "TOKEN", "--notice-seconds", "4", environ={"TOKEN": "a"})
    images.write_text("")
    made, lines = started(home, "--boot-seconds", "2", environ={"TOKEN": "b"})
    assert made.images
    text = "\n".join(lines)
    assert f"as at the last start: --notice-seconds 4.0 --images {images} --pass-env TOKEN" in text
    assert f"{images} has changed or is gone" in text
    assert "TOKEN has another value in this shell" in text
    assert "--forget-settings" in text


def test_what_is_typed_again_takes_the_place_of_what_was_kept(home: Path, images: Path) -> None:
    start(home, "--images", str(images), "--pass-env", "TOKEN", "--seed", "1", environ={"TOKEN": "a"})
    images.write_text(TABLE.replace("spotrun", "other"))
    made = start(home, "--images", str(images), "--pass-env", "TOKEN", "--seed", "2", environ={"TOKEN": "b"})
    assert made.images[0].entry_point == ("other", "--")
    assert made.variables == {"TOKEN": "b"}
    assert region(home, made).seed == 2


def test_a_start_may_begin_anew(home: Path, images: Path) -> None:
    start(home, "--images", str(images), "--pass-env", "TOKEN", "--seed", "1", environ={"TOKEN": "a"})
    made = start(home, "--forget-settings", "--idle-seconds", "5")
    assert region(home, made) == RegionSettings(home=home, idle_seconds=5.0)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--forget-settings"], r"image work:1 would run without spotrun --.*without the variables TOKEN"),
        (["--artifacts", "/elsewhere"], "checkpoints and outputs are in .*/home/artifacts, not in /elsewhere"),
        (["--runner", "docker"], "--runner is docker, and was process"),
    ],
)
def test_a_start_that_would_harm_jobs_that_wait_is_refused(
    home: Path, images: Path, typed: list[str], said: str
) -> None:
    start(home, "--images", str(images), "--pass-env", "TOKEN", environ={"TOKEN": "a"})
    with pytest.raises(InvalidInput, match=said) as refused:
        started(home, *typed, unfinished=WAITING)
    assert "2 jobs that have not ended" in str(refused.value)
    assert "--accept-changes" in str(refused.value)
    _, lines = started(home, *typed, "--accept-changes", unfinished=WAITING)
    assert any(line.startswith("for 2 jobs that have not ended") for line in lines)
    started(home, *typed)  # nobody waits


def test_an_image_table_without_the_image_of_a_job_that_waits_is_refused(home: Path, images: Path) -> None:
    start(home, "--images", str(images))
    images.write_text('[[image]]\npattern = "other"\n')
    with pytest.raises(InvalidInput, match="image work:1 would run without spotrun --"):
        started(home, "--images", str(images), unfinished=WAITING)
    images.write_text('[[image]]\npattern = "work:1"\n')
    with pytest.raises(InvalidInput, match="image work:1 would run without spotrun --"):
        started(home, "--images", str(images), unfinished=WAITING)


def test_a_start_that_changes_without_harm_says_what_changes(home: Path, images: Path) -> None:
    start(home, "--images", str(images), "--pass-env", "TOKEN", environ={"TOKEN": "a"})
    images.write_text(TABLE.replace("bin", "sbin"))
    typed = ["--images", str(images), "--pass-env", "TOKEN", "--notice-seconds", "5"]
    _, lines = started(home, *typed, environ={"TOKEN": "b"}, unfinished=WAITING)
    text = "\n".join(lines)
    assert "for 2 jobs that have not ended: the image table has other things for image work:1" in text
    assert "for 2 jobs that have not ended: other values of TOKEN" in text
    assert "for 2 jobs that have not ended: --notice-seconds is 5.0, and was its default" in text


def test_names_that_stand_in_arns_cannot_change(home: Path) -> None:
    start(home, "--region", "eu-central-1")
    with pytest.raises(InvalidInput, match="made with --region eu-central-1"):
        started(home, "--region", "us-east-1", unfinished=Unfinished(has_resources=True))
    with pytest.raises(InvalidInput, match="made with --region eu-central-1"):
        started(home, "--forget-settings", "--accept-changes", unfinished=Unfinished(has_resources=True))
    started(home, "--region", "us-east-1")  # an empty home


def test_a_home_that_was_moved_does_not_lose_the_checkpoints_of_jobs_that_wait(home: Path, tmp_path: Path) -> None:
    start(home)
    moved = home.rename(tmp_path / "moved")
    with pytest.raises(InvalidInput, match=f"are in {home}/artifacts, not in {moved}/artifacts"):
        started(moved, unfinished=WAITING)


def test_jobs_that_wait_in_a_home_without_settings_are_told(home: Path) -> None:
    _, lines = started(home, unfinished=WAITING)
    assert "it is not known what the region was started with" in lines[0]


def test_a_variable_that_is_not_there_is_told(home: Path) -> None:
    _, lines = started(home, "--pass-env", "NOWHERE")
    assert lines == ["--pass-env NOWHERE: there is no such variable here, and jobs get none"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 1}', '{"version": 99}', '{"version": 1, "options": 3}'])
def test_a_damaged_file_is_not_taken_for_no_settings(home: Path, text: str) -> None:
    (home / "settings.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"settings\.json"):
        settings_file.read(home)


def test_any_byte_cut_off_is_damage(home: Path, images: Path) -> None:
    start(home, "--images", str(images))
    whole = (home / "settings.json").read_bytes()
    for length in range(0, len(whole) - 2, 7):
        (home / "settings.json").write_bytes(whole[:length])
        with pytest.raises(InvalidInput, match="damaged"):
            settings_file.read(home)


def test_only_its_owner_can_read_it(home: Path) -> None:
    start(home)
    assert (home / "settings.json").stat().st_mode & 0o077 == 0


def test_a_start_that_fails_leaves_the_settings_as_they_were(home: Path) -> None:
    start(home, "--seed", "1")
    arguments = parse_arguments(["--home", str(home), "--seed", "2"])
    made = settings_file.merged(settings_file.read(home), arguments, {})
    with pytest.raises(RuntimeError), settings_file.kept_for_the_next_start(home, made):
        raise RuntimeError
    assert region(home, start(home)).seed == 1


def test_a_region_that_keeps_jobs_forever_says_so_as_it_is_typed(home: Path) -> None:
    start(home, "--keep-jobs-days", "forever", "--vcpu-quota", "none")
    made, lines = started(home)
    assert region(home, made).keep_jobs_days == FOREVER
    assert lines == ["as at the last start: --keep-jobs-days forever --vcpu-quota none (--forget-settings begins anew)"]
