"""The stack's images: who may push, what was pushed, and the job definition that refers to it by digest."""

import base64
import re
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import NotFound

# The members of DescribeJobDefinitions' output that RegisterJobDefinition accepts.
_REGISTERED: Final = (
    "jobDefinitionName", "type", "parameters", "schedulingPriority", "containerProperties", "retryStrategy",
    "propagateTags", "timeout", "tags", "platformCapabilities", "ecsProperties",
)  # fmt: skip
_OF_AWS: Final = "aws:"
_GRAVITON: Final = re.compile(r"a1\b|[a-z]+\d+g")  # EC2 user guide, "Instance type naming conventions"


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """What `docker login` needs for one registry, for twelve hours."""

    registry: str
    user: str
    password: str


def login(repository_uri: str) -> Login:
    """Get a login for the registry that holds a repository."""
    [found] = session.client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return Login(registry=repository_uri.partition("/")[0], user=user, password=password)


def digest_of(repository_uri: str, tag: str) -> str | None:
    """The digest (sha256:...) of a pushed tag, or None if there is no such tag."""
    return _digest(repository_uri, imageTag=tag)


def _digest(repository_uri: str, **named: str) -> str | None:
    name = repository_uri.partition("/")[2]
    try:
        answer = session.client("ecr").describe_images(repositoryName=name, imageIds=[named])  # type: ignore[list-item]
    except NotFound:
        return None
    return answer["imageDetails"][0]["imageDigest"]


def platform_of(environment: str) -> str:
    """The platform of a compute environment's instances: linux/amd64, or linux/arm64 for Graviton. Raises NotFound."""
    found = session.client("batch").describe_compute_environments(computeEnvironments=[environment])
    if not found["computeEnvironments"]:
        raise NotFound(f"there is no compute environment {environment!r}: deploy the stack first")
    types = found["computeEnvironments"][0].get("computeResources", {}).get("instanceTypes", [])
    return "linux/arm64" if any(_GRAVITON.match(each) for each in types) else "linux/amd64"


def register_with_image(definition: str, image: str) -> str:
    """Register a new revision of a job definition with another image, otherwise unchanged; returns `name:revision`.

    Old revisions stay unchanged: running and submitted jobs keep their image. Raises NotFound.
    """
    revisions = _revisions(definition)
    if not revisions:
        raise NotFound(f"there is no active job definition {definition!r}: deploy the stack first")
    newest = revisions[-1]
    wanted = {key: newest[key] for key in _REGISTERED if newest.get(key) is not None}
    wanted["containerProperties"] = {**newest["containerProperties"], "image": image}
    # Tags with this prefix are reserved for AWS (CloudFormation's have it): AWS refuses them from anyone else.
    wanted["tags"] = {key: value for key, value in newest.get("tags", {}).items() if not key.startswith(_OF_AWS)}
    made = session.client("batch").register_job_definition(**wanted)
    return f"{made['jobDefinitionName']}:{made['revision']}"


def last_pushed(definition: str, repository_uri: str) -> str | None:
    """The image digest in an older revision that the newest should use; None if nothing needs fixing.

    A fix is needed if the newest revision names a tag of the repository that was never pushed.
    """
    revisions = _revisions(definition)
    images = [str(each.get("containerProperties", {}).get("image", "")) for each in revisions]
    if not repository_uri or not images:
        return None
    repository, _, tag = images[-1].rpartition(":")
    if repository != repository_uri or digest_of(repository_uri, tag) is not None:
        return None
    for image in reversed(images[:-1]):
        repository, _, digest = image.partition("@")
        if repository == repository_uri and digest and _digest(repository_uri, imageDigest=digest):
            return image
    return None


def _revisions(definition: str) -> list[Any]:
    """The active revisions, oldest first."""
    batch = session.client("batch")
    pages = batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=definition, status="ACTIVE")
    return sorted((each for page in pages for each in page["jobDefinitions"]), key=lambda each: int(each["revision"]))
