"""spotrun in a real container: PID 1, a read-only root, no root user, the engine's own stop.

The image holds nothing: this machine's programs and this Python are mounted into it, so that nothing is downloaded.
Without a Docker engine these tests skip.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.docker_world import docker, why_no_engine
from tests.contract.runtime.test_command import count_to, output, python
from tests.contract.runtime_world import Spot, record, spot, wait_for
from tests.root import ROOT

IMAGE = "spotbatch-test-nothing"
USER = 65534
VARIABLES = ("ARTIFACTS_URL", "RUN_ID", "NOTICE_FILE", "SCRATCH_DIR", "CHECKPOINT_SECONDS", "STOP_SECONDS")


def mounted_folders() -> set[str]:
    """What a program of this machine needs to run elsewhere, and what this Python consists of."""
    needed = {Path("/usr"), Path("/lib"), Path("/lib64"), Path("/bin"), Path("/etc/ld.so.cache"), ROOT}
    needed |= {Path(sys.prefix), Path(sys.base_prefix)}
    inside_usr = {each for each in needed if each.parts[:2] == ("/", "usr") and each != Path("/usr")}
    return {str(each) for each in needed - inside_usr if each.exists() and not each.is_symlink()}


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    reason = why_no_engine()
    if reason is not None:
        pytest.skip(reason)
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        for name in ("tmp", "proc", "sys", "dev", "etc", "usr"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for link in (each for each in ("bin", "sbin", "lib", "lib64") if Path("/", each).is_symlink()):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, str(Path("/", link).readlink())
            tar.addfile(entry)
    docker("import", "-", IMAGE, data=root.getvalue())
    yield IMAGE
    subprocess.run(["docker", "rmi", "--force", IMAGE], capture_output=True, timeout=60, check=False)


@pytest.fixture
def world(image: str, tmp_path: Path) -> Iterator[Spot]:
    """A work folder that the user inside the container may write, and nothing else of it."""
    for folder in (tmp_path, tmp_path / "store", tmp_path / "scratch"):
        folder.mkdir(exist_ok=True)
        os.chown(folder, USER, USER)
    with spot(tmp_path) as made:
        yield made
    for number in range(1, len(made.runs) + 1):
        subprocess.run(["docker", "rm", "--force", name_of(made, number)], capture_output=True, timeout=60, check=False)


def name_of(world: Spot, number: int) -> str:
    return f"spotbatch-{os.getpid()}-{world.folder.name}-{number}"


def wrapper(world: Spot, *options: str) -> str:
    """`docker run` of the next attempt; like an ECS container, it ends when its PID 1, spotrun, ends."""
    mounts = [f"--volume={each}:{each}:ro" for each in sorted(mounted_folders())]
    variables = [f"--env=SPOTBATCH_{each}" for each in VARIABLES]
    return " ".join([
        "docker run --rm --network=none --read-only --tmpfs=/tmp --cap-drop=ALL --security-opt=no-new-privileges",
        f"--user={USER}:{USER} --name={name_of(world, len(world.runs) + 1)}",
        f"--workdir={world.folder} --volume={world.folder}:{world.folder}",
        "--env=PYTHONPATH --env=PYTHONDONTWRITEBYTECODE=1",
        *mounts, *variables, *options, IMAGE,
    ])  # fmt: skip


def test_it_runs_as_pid_1_on_a_read_only_root_as_a_user_without_rights(world: Spot) -> None:
    script = (
        "import os, pathlib\n"
        "assert os.getppid() == 1, os.getppid()\n"
        f"assert os.getuid() == {USER}\n"
        "try: pathlib.Path('/usr/x').write_text('x')\n"
        "except OSError as error: print('root:', error.strerror)\n"
        "pathlib.Path(os.environ['SPOTBATCH_OUTPUT_DIR'], 'result').write_text('7')\n"
    )
    started = world.start(*python(script), wrapper=wrapper(world, "--memory=200m"))
    assert started.wait() == 0, started.text()
    assert "root: Read-only file system" in started.text()
    assert output(world) == "7"
    assert record(world.folder, 1)["memory_limit_mib"] == 200.0


def test_docker_stop_saves_and_the_next_container_goes_on(world: Spot) -> None:
    first = world.start(*count_to(60), wrapper=wrapper(world))
    first.wait_for_text("at 10\n")
    docker("stop", "--time=30", name_of(world, 1))
    assert first.wait() == 210, first.text()
    reached = int([line for line in first.text().splitlines() if line.startswith("at ")][-1].split()[1])
    second = world.start(*count_to(60), wrapper=wrapper(world))
    assert second.wait() == 0, second.text()
    assert int(second.text().split("start ")[1].split()[0]) in (reached, reached + 1)
    assert output(world) == "60"


def test_a_container_killed_without_a_word_costs_no_more_than_since_its_last_save(world: Spot) -> None:
    first = world.start(*count_to(60), wrapper=wrapper(world))
    wait_for(lambda: any((world.folder / "store").rglob("manifests/*")), "a checkpoint")
    docker("kill", name_of(world, 1))
    assert first.wait() == 137
    second = world.start(*count_to(60), wrapper=wrapper(world))
    assert second.wait() == 0, second.text()
    assert int(second.text().split("start ")[1].split()[0]) > 0
    assert output(world) == "60"


def test_the_notice_reaches_the_container_through_a_read_only_folder(world: Spot) -> None:
    host = world.folder / "host"
    host.mkdir()
    option = f"--volume={host}:/run/spotbatch:ro"
    variables = {"SPOTBATCH_NOTICE_FILE": "/run/spotbatch/notice.json"}
    first = world.start(*count_to(2000), wrapper=wrapper(world, option), **variables)
    first.wait_for_text("at 5\n")
    first.notice = host / "notice.json"
    first.give_notice(120)
    assert first.wait() == 210, first.text()
    assert record(world.folder, 1)["interruption_cause"] == "notice"


def test_orphans_of_the_command_do_not_stay_as_zombies(world: Spot) -> None:
    script = (
        "import os, pathlib, subprocess, time\n"
        "for _ in range(5): subprocess.run(['sh', '-c', '(true; exit 3) & exit 0'], check=True)\n"
        "def zombies():\n"
        "    states = [p.read_text().rpartition(')')[2][1] for p in pathlib.Path('/proc').glob('[0-9]*/stat')]\n"
        "    return states.count('Z')\n"
        "give_up = time.monotonic() + 20\n"
        "while zombies():\n"
        "    assert time.monotonic() < give_up, 'zombies stay'\n"
        "    time.sleep(0.01)\n"
    )
    started = world.start(*python(script), wrapper=wrapper(world))
    assert started.wait() == 0, started.text()
