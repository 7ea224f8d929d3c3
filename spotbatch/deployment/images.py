"""Pushes a container image to the stack's repository, and registers a job definition revision that names it."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from spotbatch.aws import images
from spotbatch.aws.stack_outputs import StackOutputs
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.deployment import docker

Say = Callable[[str], object]
PLATFORM: Final = "linux/amd64"
_BUILD_LIMIT_SECONDS: Final = 3600
_LOCAL_NAME: Final = "spotbatch-image"
_TAG_LENGTH: Final = 16  # hexadecimal digits of the image's id: identical content has the same tag


def platform_for(outputs: StackOutputs) -> str:
    """The platform to build an image for: that of the stack's instances."""
    return images.platform_of(outputs.compute_environment) if outputs.compute_environment else PLATFORM


def publish(name: str, outputs: StackOutputs, *, say: Say, show: Say) -> None:
    """Push an image that Docker has, once, and register a revision that refers to it by digest.

    `say` receives the findings, `show` the commands passed to Docker. Raises NotFound, Unavailable.
    """
    tag = _content_tag(name)
    digest = images.digest_of(outputs.repository_uri, tag)
    if digest is None:
        digest = _push(name, outputs.repository_uri, tag, show)
    else:
        say(f"{outputs.repository_uri}:{tag} was pushed before")
    revision = images.register_with_image(outputs.job_definition, f"{outputs.repository_uri}@{digest}")
    say(f"{revision} runs {outputs.repository_uri}@{digest}; `spotbatch submit` uses it from now on")


def build(folder: Path, file: Path | None, platform: str, *, show: Say) -> str:
    """Build, and tag with a tag derived from the content; returns the image's local name."""
    if not folder.is_dir():
        raise NotFound(f"there is no folder {folder} to build in")
    dockerfile = file or folder / "Dockerfile"
    if not dockerfile.is_file():
        raise NotFound(f"there is no Dockerfile {dockerfile}: name it with --file")
    with tempfile.TemporaryDirectory(prefix="spotbatch-image-") as scratch:
        written = Path(scratch, "id")  # not a tag, which another build could move in the meantime
        command = ["build", "--platform", platform, "--file", str(dockerfile), "--iidfile", str(written), str(folder)]
        docker.run(command, limit_seconds=_BUILD_LIMIT_SECONDS, say=show)
        image = written.read_text(encoding="utf-8").strip()
    name = f"{_LOCAL_NAME}:{_content_tag(image)}"
    docker.run(["tag", image, name], say=show)
    return name


def _content_tag(image: str) -> str:
    """A tag derived from the image's content. Raises NotFound if Docker does not have the image."""
    asked = docker.ask(["image", "inspect", "--format", "{{.Id}}", image])
    if asked.returncode:
        raise NotFound(f"Docker has no image {image!r}: `docker image ls` lists those that it has")
    return asked.stdout.strip().removeprefix("sha256:")[:_TAG_LENGTH]


def _push(name: str, repository_uri: str, tag: str, show: Say) -> str:
    """Log in, push, log out; returns the pushed image's digest."""
    target = f"{repository_uri}:{tag}"
    login = images.login(repository_uri)
    docker.run(["tag", name, target], say=show)
    docker.run(["login", "--username", login.user, "--password-stdin", login.registry], typed=login.password, say=show)
    try:
        docker.run(["push", target], limit_seconds=_BUILD_LIMIT_SECONDS, say=show)
    finally:
        docker.run(["logout", login.registry], say=show)
    digest = images.digest_of(repository_uri, tag)
    if digest is None:
        raise Unavailable(f"{target} was pushed, but the registry does not know it: try again")
    return digest
