"""`spotbatch image push` against a region, with a `docker` on PATH that plays the engine's part.

A real Docker engine is asked for where one answers; here the registering, which is ours, is what is tested.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_api_region import CONTAINER, RunningRegion, running

IMAGE_ID = "0123456789abcdef" + "0" * 48

# A docker that knows one image, and whose `push` puts a manifest into the registry as Docker does, through moto's ECR.
FAKE_DOCKER = """#!{python}
import json, os, sys
with open(os.environ["FAKE_DOCKER_LOG"], "a") as log:
    log.write(json.dumps(sys.argv[1:]) + chr(10))
verb = sys.argv[1]
if verb == "version":
    if os.environ.get("FAKE_DOCKER_ENGINE") == "off":
        sys.exit("Cannot connect to the Docker daemon")
    print("28.0.0")
elif verb == "image":
    if sys.argv[-1] == "unknown":
        sys.exit("No such image")
    print("sha256:{image_id}")
elif verb == "login":
    assert sys.stdin.read()
elif verb == "push":
    import boto3
    repository, tag = sys.argv[2].partition("/")[2].split(":")
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    config = {{"digest": "sha256:{image_id}"}}
    manifest = json.dumps({{"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []}})
    boto3.client("ecr").put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)
"""


@dataclass(frozen=True, kw_only=True)
class World:
    region: RunningRegion
    folder: Path

    def push(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SPOTBATCH_"))}
        return subprocess.run(
            [sys.executable, "-m", "spotbatch.cli.main", "image", "push", *arguments],
            env={
                **clean,
                **self.region.info.environment(),
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "FAKE_DOCKER_LOG": str(self.folder / "docker.log"),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def docker_calls(self) -> list[list[str]]:
        log = self.folder / "docker.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def revisions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.region.client("batch").describe_job_definitions(
            jobDefinitionName="definition", status="ACTIVE"
        )["jobDefinitions"]
        return sorted(found, key=lambda each: int(each["revision"]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER.format(python=sys.executable, image_id=IMAGE_ID))
    docker.chmod(0o755)
    with running(tmp_path / "region") as region:
        uri = region.client("ecr").create_repository(repositoryName="images")["repository"]["repositoryUri"]
        region.client("batch").register_job_definition(
            jobDefinitionName="definition",
            type="container",
            containerProperties=CONTAINER,
            timeout={"attemptDurationSeconds": 600},
            retryStrategy={"attempts": 7},
            tags={"Project": "ours"},
        )
        outputs = {"ECRRepositoryURI": uri, "JobQueueName": "queue", "JobDefinitionName": "definition"}
        body = {"Resources": {}, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}
        region.client("cloudformation").create_stack(StackName="S", TemplateBody=json.dumps(body))
        yield World(region=region, folder=tmp_path)


def test_a_push_registers_a_revision_that_names_the_image_by_digest_and_keeps_all_else(world: World) -> None:
    run = world.push("--image", "mine", "--stack", "S")
    assert run.returncode == 0, run.stderr
    before, after = world.revisions()
    image = after["containerProperties"]["image"]
    assert "/images@sha256:" in image
    assert image in run.stdout
    assert after["containerProperties"] == {**before["containerProperties"], "image": image}
    for kept in ("timeout", "retryStrategy", "tags", "type"):
        assert after[kept] == before[kept]


def test_the_tag_follows_from_the_content_and_is_pushed_once(world: World) -> None:
    assert world.push("--image", "mine", "--stack", "S").returncode == 0
    again = world.push("--image", "mine", "--stack", "S")
    assert again.returncode == 0, again.stderr
    assert "was pushed before" in again.stdout
    pushes = [call for call in world.docker_calls() if call[0] == "push"]
    assert [call[1].rpartition(":")[2] for call in pushes] == [IMAGE_ID[:16]]


def test_the_registrys_password_is_typed_and_never_an_argument_and_the_login_ends(world: World) -> None:
    run = world.push("--image", "mine", "--stack", "S")
    calls = world.docker_calls()
    assert next(c for c in calls if c[0] == "login")[:4] == ["login", "--username", "AWS", "--password-stdin"]
    assert calls[-1][0] == "logout"
    token = world.region.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert token not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("--image", "unknown"), {}, 3, "no image 'unknown'"),
        ((), {}, 2, "FOLDER"),
        (("/nowhere",), {}, 3, "/nowhere"),
        (("--image", "mine"), {"FAKE_DOCKER_ENGINE": "off"}, 4, "no Docker engine answers"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(
    world: World, arguments: tuple[str, ...], environment: dict[str, str], code: int, words: str
) -> None:
    run = world.push(*arguments, "--stack", "S", **environment)
    assert run.returncode == code, run.stderr
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert len(world.revisions()) == 1


def test_the_examples_dockerfile_builds_where_a_docker_engine_answers() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    if not _docker_answers():
        pytest.skip("no Docker engine answers here")
    command = ["docker", "build", "-f", "examples/flights/Dockerfile", "-t", "spotbatch-test", "."]
    subprocess.run(command, cwd=root, check=True, timeout=280)


def _docker_answers() -> bool:
    import shutil

    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=30).returncode == 0
