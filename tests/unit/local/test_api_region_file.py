"""The region file: who may read it, and whether its region still runs."""

import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local import region_file
from spotbatch.local.region_file import RegionInfo


def info(home: Path, pid: int | None = None) -> RegionInfo:
    pid = pid or os.getpid()
    return RegionInfo(
        endpoint="http://127.0.0.1:4566",
        home=str(home),
        region="us-east-1",
        account_id="123456789012",
        access_key="LKIA",
        secret_key="hidden",
        artifacts=str(home / "my artifacts"),
        version="0.1.0",
        pid=pid,
        pid_started=region_file.process_started(pid),
    )


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    region_file.write(tmp_path, info(tmp_path))
    assert region_file.read(tmp_path) == info(tmp_path)


def test_only_its_owner_can_read_the_secret(tmp_path: Path) -> None:
    region_file.write(tmp_path, info(tmp_path))
    region_file.write(tmp_path, info(tmp_path))
    assert stat.S_IMODE((tmp_path / "region.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["region.json"]


def test_a_region_is_alive_while_its_process_runs(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        running = info(tmp_path, process.pid)
        assert region_file.is_alive(running)
        process.kill()
    assert not region_file.is_alive(running)


def test_another_process_with_the_same_pid_is_not_the_region(tmp_path: Path) -> None:
    assert not region_file.is_alive(replace(info(tmp_path), pid_started="1@earlier"))


def test_a_stopped_region_keeps_its_credentials_and_is_not_alive(tmp_path: Path) -> None:
    region_file.write(tmp_path, info(tmp_path))
    region_file.mark_stopped(tmp_path)
    stopped = region_file.read(tmp_path)
    assert stopped.secret_key == "hidden"
    assert not region_file.is_alive(stopped)


def test_a_folder_without_a_region_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="spotbatch local up"):
        region_file.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"endpoint": "x"}', "null"])
def test_a_broken_file_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "region.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"region\.json"):
        region_file.read(tmp_path)


def test_the_artifact_store_is_a_url_of_its_folder(tmp_path: Path) -> None:
    assert info(tmp_path).artifacts_url == f"file://{tmp_path}/my%20artifacts"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SPOTBATCH_HOME": "/a/b", "XDG_STATE_HOME": "/x"}, "/a/b"),
        ({"XDG_STATE_HOME": "/x"}, "/x/spotbatch"),
        ({}, str(Path("~/.local/state/spotbatch").expanduser())),
    ],
)
def test_the_default_home_follows_the_environment(environ: dict[str, str], expected: str) -> None:
    assert str(region_file.default_home(environ)) == expected
