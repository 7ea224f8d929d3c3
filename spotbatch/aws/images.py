"""The stack's images: who may push, what was pushed, and the job definition that names it by its digest."""

import base64
from dataclasses import dataclass
from typing import Any, Final

from spotbatch.aws import session
from spotbatch.batch.errors import NotFound

# What RegisterJobDefinition takes, of all that DescribeJobDefinitions tells.
_REGISTERED: Final = (
    "jobDefinitionName", "type", "parameters", "schedulingPriority", "containerProperties", "retryStrategy",
    "propagateTags", "timeout", "tags", "platformCapabilities", "ecsProperties",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """What `docker login` needs for one registry, for twelve hours."""

    registry: str
    user: str
    password: str


def login(repository_uri: str) -> Login:
    """A login for the registry that holds a repository."""
    [found] = session.client("ecr").get_authorization_token()["authorizationData"]
    user, _, password = base64.b64decode(found["authorizationToken"]).decode().partition(":")
    return Login(registry=repository_uri.partition("/")[0], user=user, password=password)


def digest_of(repository_uri: str, tag: str) -> str | None:
    """The digest (sha256:...) of a pushed tag, or None where there is no such tag."""
    name = repository_uri.partition("/")[2]
    try:
        answer = session.client("ecr").describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])
    except NotFound:
        return None
    return answer["imageDetails"][0]["imageDigest"]


def register_with_image(definition: str, image: str) -> str:
    """Register the next revision of a job definition with another image, all else as in its newest; `name:revision`.

    Old revisions stay as they are: what runs, and what was submitted, keeps its image. Raises NotFound.
    """
    batch = session.client("batch")
    pages = batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=definition, status="ACTIVE")
    revisions: list[Any] = [each for page in pages for each in page["jobDefinitions"]]
    if not revisions:
        raise NotFound(f"there is no active job definition {definition!r}: deploy the stack first")
    newest = max(revisions, key=lambda each: int(each["revision"]))
    wanted = {key: newest[key] for key in _REGISTERED if newest.get(key) is not None}
    wanted["containerProperties"] = {**newest["containerProperties"], "image": image}
    made = batch.register_job_definition(**wanted)
    return f"{made['jobDefinitionName']}:{made['revision']}"
