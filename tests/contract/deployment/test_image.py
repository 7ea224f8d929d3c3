"""`spotbatch image push` against a region, with a `docker` on PATH that plays the engine's part.

A real Docker engine is asked for where one answers; here the registering, which is ours, is what is tested.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from moto.backends import get_backend

from spotbatch.aws import images
from tests.contract.cli_world import Said, run
from tests.contract.deploy_world import ACCOUNT_ID, account_server
from tests.contract.deploy_world import account as new_account
from tests.contract.local_api_region import CONTAINER, ENVIRONMENT_RESOURCES, RunningRegion, running

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
elif verb == "build":
    with open(sys.argv[sys.argv.index("--iidfile") + 1], "w") as file:
        file.write("sha256:{image_id}")
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


def docker_answers() -> bool:
    """Whether there is an engine to build with."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=30).returncode == 0


@dataclass(frozen=True, kw_only=True)
class World:
    """A stack of a test's own in a region that all tests here share."""

    region: RunningRegion
    folder: Path
    stack: str

    @property
    def repository(self) -> str:
        """The repository's URI."""
        found = self.region.client("ecr").describe_repositories(repositoryNames=[self.stack.lower()])["repositories"]
        uri: str = found[0]["repositoryUri"]
        return uri

    def register(self, image: str = "busybox", **tags: str) -> None:
        self.region.client("batch").register_job_definition(
            jobDefinitionName=self.stack,
            type="container",
            containerProperties={**CONTAINER, "image": image},
            timeout={"attemptDurationSeconds": 600},
            retryStrategy={"attempts": 7},
            tags={"Project": "ours", **tags},
        )

    def push(self, *arguments: str, **environment: str) -> Said:
        settings = {
            **self.region.info.environment(),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAKE_DOCKER_LOG": str(self.folder / "docker.log"),
        }
        said = run("image", "push", *arguments, "--stack", self.stack, environ={**settings, **environment})
        assert "Traceback" not in said.err
        return said

    def docker_calls(self) -> list[list[str]]:
        log = self.folder / "docker.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def revisions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.region.client("batch").describe_job_definitions(
            jobDefinitionName=self.stack, status="ACTIVE"
        )["jobDefinitions"]
        return sorted(found, key=lambda each: int(each["revision"]))


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegion]:
    with running(tmp_path_factory.mktemp("images") / "region") as one:
        yield one


@pytest.fixture
def world(region: RunningRegion, tmp_path: Path) -> World:
    return make_world(region, tmp_path)


def make_world(
    region: RunningRegion, folder: Path, *, types: tuple[str, ...] = ("c5.large",), **settings: Any
) -> World:
    """A docker on PATH, and a stack with repository, environment and job definition."""
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(FAKE_DOCKER.format(python=sys.executable, image_id=IMAGE_ID))
    docker.chmod(0o755)
    world = World(region=region, folder=folder, stack=f"S{uuid.uuid4().hex[:8]}")
    region.client("ecr").create_repository(repositoryName=world.stack.lower(), **settings)
    region.client("batch").create_compute_environment(
        computeEnvironmentName=world.stack,
        type="MANAGED",
        computeResources={**ENVIRONMENT_RESOURCES, "instanceTypes": list(types)},
    )
    world.register()
    outputs = {
        "ECRRepositoryURI": world.repository,
        "JobQueueName": "queue",
        "JobDefinitionName": world.stack,
        "ComputeEnvironmentName": world.stack,
    }
    body = {"Resources": {}, "Outputs": {name: {"Value": value} for name, value in outputs.items()}}
    region.client("cloudformation").create_stack(StackName=world.stack, TemplateBody=json.dumps(body))
    return world


def test_a_push_registers_a_revision_that_names_the_image_by_digest_and_keeps_all_else(world: World) -> None:
    said = world.push("--image", "mine")
    assert said.code == 0, said.err
    before, after = world.revisions()
    image = after["containerProperties"]["image"]
    assert image.startswith(f"{world.repository}@sha256:")
    assert image in said.out
    assert after["containerProperties"] == {**before["containerProperties"], "image": image}
    for kept in ("timeout", "retryStrategy", "tags", "type"):
        assert after[kept] == before[kept]


def test_tags_that_are_awss_own_are_not_sent_back_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CloudFormation tags what it makes; from anybody else AWS Batch refuses them. So moto is given one by hand."""
    with account_server() as endpoint:
        made = new_account(endpoint, tmp_path)
        for name, value in made.environment().items():
            monkeypatch.setenv(name, value)
        batch = made.client("batch")
        arn = batch.register_job_definition(
            jobDefinitionName="work", type="container", containerProperties=CONTAINER, tags={"Project": "ours"}
        )["jobDefinitionArn"]
        backend: Any = get_backend("batch")[ACCOUNT_ID][made.region]
        backend.tagger.tag_resource(arn, [{"Key": "aws:cloudformation:stack-name", "Value": "S"}])
        assert "aws:cloudformation:stack-name" in batch.describe_job_definitions()["jobDefinitions"][0]["tags"]
        assert images.register_with_image("work", "repository@sha256:1") == "work:2"
        found = batch.describe_job_definitions(jobDefinitionName="work")["jobDefinitions"]
        [newest] = [each for each in found if each["revision"] == 2]
    assert newest["tags"] == {"Project": "ours"}


def test_the_tag_follows_from_the_content_and_is_pushed_once_so_immutable_tags_are_no_obstacle(
    region: RunningRegion, tmp_path: Path
) -> None:
    world = make_world(region, tmp_path, imageTagMutability="IMMUTABLE")
    assert world.push("--image", "mine").code == 0
    again = world.push("--image", "mine")
    assert again.code == 0, again.err
    assert "was pushed before" in again.out
    pushes = [call for call in world.docker_calls() if call[0] == "push"]
    assert [call[1].rpartition(":")[2] for call in pushes] == [IMAGE_ID[:16]]
    assert [each["containerProperties"]["image"].partition("@")[0] for each in world.revisions()] == [
        "busybox", world.repository, world.repository,
    ]  # fmt: skip


def test_the_registrys_password_is_typed_and_never_an_argument_and_the_login_ends(world: World) -> None:
    said = world.push("--image", "mine")
    calls = world.docker_calls()
    assert next(c for c in calls if c[0] == "login")[:4] == ["login", "--username", "AWS", "--password-stdin"]
    assert calls[-1][0] == "logout"
    token = world.region.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    assert token not in said.out + said.err


@pytest.mark.parametrize(("kind", "platform"), [("c5.large", "linux/amd64"), ("m6gd", "linux/arm64")])
def test_an_image_is_built_for_what_the_stacks_instances_are(
    region: RunningRegion, tmp_path: Path, kind: str, platform: str
) -> None:
    world = make_world(region, tmp_path, types=(kind,))
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    said = world.push(str(tmp_path))
    assert said.code == 0, said.err
    [build] = [call for call in world.docker_calls() if call[0] == "build"]
    assert build[build.index("--platform") + 1] == platform


def test_a_deployment_that_names_an_image_nobody_pushed_keeps_the_one_pushed_last(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template names `latest`; what `image push` pushed has a tag of its own."""
    assert world.push("--image", "mine").code == 0
    pushed = world.revisions()[-1]["containerProperties"]["image"]
    for name, value in world.region.info.environment().items():
        monkeypatch.setenv(name, value)
    assert images.last_pushed(world.stack, world.repository) is None, "the newest revision has it already"
    world.register(f"{world.repository}:latest")  # what the next deployment does
    assert images.last_pushed(world.stack, world.repository) == pushed
    world.region.client("ecr").batch_delete_image(
        repositoryName=world.stack.lower(), imageIds=[{"imageDigest": pushed.partition("@")[2]}]
    )
    assert images.last_pushed(world.stack, world.repository) is None, "it is not there any more"


def test_an_image_pushed_under_the_templates_own_tag_is_what_its_owner_wants(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.push("--image", "mine").code == 0
    tag = IMAGE_ID[:16]
    for name, value in world.region.info.environment().items():
        monkeypatch.setenv(name, value)
    world.register(f"{world.repository}:{tag}")
    assert images.last_pushed(world.stack, world.repository) is None
    world.register("public.ecr.aws/somebody/else:latest")
    assert images.last_pushed(world.stack, world.repository) is None


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (("--image", "unknown"), {}, 3, "no image 'unknown'"),
        ((), {}, 2, "FOLDER"),
        (("/nowhere",), {}, 3, "/nowhere"),
        (("--image", "mine"), {"FAKE_DOCKER_ENGINE": "off"}, 4, "no Docker engine answers"),
        (("--image", "mine"), {"PATH": "/nowhere"}, 3, "docker is not installed"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(
    world: World, arguments: tuple[str, ...], environment: dict[str, str], code: int, words: str
) -> None:
    said = world.push(*arguments, **environment)
    assert said.code == code, said.err
    assert words in said.err
    assert len(world.revisions()) == 1


@pytest.mark.skipif(not docker_answers(), reason="no Docker engine answers here")
def test_a_real_docker_builds_an_image_whose_tag_is_its_content(tmp_path: Path) -> None:
    """FROM scratch, so that nothing is fetched."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY greeting /\n")
    (tmp_path / "greeting").write_text("hello\n")
    names = []
    for content in ("hello\n", "hello\n", "goodbye\n"):
        (tmp_path / "greeting").write_text(content)
        command = [sys.executable, "-m", "spotbatch.cli.main", "image", "build", str(tmp_path)]
        run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
        names.append(run.stdout.splitlines()[-1])
    assert names[0] == names[1] != names[2]
    for each in set(names):
        subprocess.run(["docker", "image", "rm", each], capture_output=True, check=True, timeout=60)
