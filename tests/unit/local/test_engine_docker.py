"""The command line that makes an attempt a container, and what is said where there is no engine. Needs no Docker."""

from pathlib import Path

import pytest

from spotbatch.batch.errors import Unavailable
from spotbatch.local.contract import ContainerSpec
from spotbatch.local.engine.docker import Docker, Mount, run_command
from spotbatch.local.engine.leaked_processes import cookie_of


def order(tmp_path: Path, **asked: object) -> tuple[list[str], dict[str, str]]:
    return run_command(
        Docker(tmp_path, "/usr/bin/docker"),
        name="n",
        job_id="j:3",
        container=ContainerSpec(image="i:1", command=("run", "--fast"), memory_mib=512, vcpus=2, gpus=1),
        asked=asked,
        variables={"SECRET": "s3cret", "PATH": "/opt/bin", "DOCKER_HOST": "tcp://elsewhere"},
        mounts=[Mount(folder=Path("/a"), is_read_only=True), Mount(folder=Path("/b"), is_read_only=False)],
    )


def test_limits_mounts_and_labels_are_dockers_options_and_the_command_comes_last(tmp_path: Path) -> None:
    command, _ = order(tmp_path)
    assert command[:3] == ["/usr/bin/docker", "run", "--pull=never"]
    assert {"--memory=512m", "--memory-swap=512m", "--cpu-shares=2048", "--gpus=1", "--network=host"} <= set(command)
    assert {"--volume=/a:/a:ro", "--volume=/b:/b"} <= set(command)
    assert {f"--label=spotbatch.region={cookie_of(tmp_path)}", "--label=spotbatch.job=j:3"} <= set(command)
    assert command[-3:] == ["i:1", "run", "--fast"]
    assert not any(each.startswith("--entrypoint") for each in command)


def test_values_go_by_the_environment_and_only_dockers_own_names_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    command, environment = order(tmp_path)
    assert "--env=SECRET" in command
    assert not any("s3cret" in each for each in command)
    assert environment["SECRET"] == "s3cret"
    assert {"--env=PATH=/opt/bin", "--env=DOCKER_HOST=tcp://elsewhere"} <= set(command)
    assert environment["PATH"] == "/usr/bin:/bin"
    assert "DOCKER_HOST" not in environment


def test_docker_gets_nothing_else_of_the_callers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET_OF_THE_CALLER", "do not tell")
    assert "A_SECRET_OF_THE_CALLER" not in Docker(tmp_path, "docker").environment


def test_what_a_job_definition_says_of_a_container_becomes_dockers_options(tmp_path: Path) -> None:
    command, _ = order(
        tmp_path,
        user="1000",
        readonlyRootFilesystem=True,
        privileged=False,
        linuxParameters={"initProcessEnabled": True, "sharedMemorySize": 64},
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
        volumes=[{"name": "v", "host": {"sourcePath": "/data"}}, {"name": "w", "host": {}}],
        mountPoints=[
            {"sourceVolume": "v", "containerPath": "/in", "readOnly": True},
            {"sourceVolume": "w", "containerPath": "/scratch"},
        ],
    )
    assert {"--user=1000", "--read-only", "--init", "--shm-size=64m", "--ulimit=nofile=10:20"} <= set(command)
    assert "--volume=/data:/in:ro" in command
    assert "--privileged" not in command


def test_without_dockers_program_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"no `docker` on PATH.*--runner process"):
        Docker.find(tmp_path)


def test_without_an_engine_the_error_has_dockers_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Unavailable, match=r"Cannot connect to the Docker daemon.*DOCKER_HOST"):
        Docker.find(tmp_path)
