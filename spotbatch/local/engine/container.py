"""The inputs for starting one attempt: its command line, its environment, its folders."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Final

from spotbatch.batch import environment as names
from spotbatch.local.contract import ContainerSpec, EngineSettings, ImageEntry
from spotbatch.local.engine.leaked_processes import COOKIE_VARIABLE, cookie_of
from spotbatch.local.host_view import HostView

_PLAIN_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_IMAGES_OWN: Final = ("PATH", "HOME", "TMPDIR", "LANG")
_NO_ENTRY: Final = ImageEntry(pattern="*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One attempt at one unit, as AWS Batch identifies it to the container."""

    job_id: str  # for a child of an array: `<parent>:<index>`
    attempt: int
    array_index: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What AWS Batch tells every attempt of a job."""

    queue: str
    array_size: int  # 0 for a job that is not an array


@dataclass(frozen=True, kw_only=True, slots=True)
class OnHost:
    """What the host itself provides to its jobs."""

    host: HostView
    notice: Path  # where the interruption notice will appear
    metadata: str = ""  # base address of its metadata service; "" if its jobs cannot reach it


@lru_cache
def _uri_of(folder: Path) -> str:
    return folder.as_uri()


def image_entry(images: tuple[ImageEntry, ...], image: str) -> ImageEntry:
    """The first matching row of the image table; without one the command runs unchanged."""
    return next((entry for entry in images if fnmatchcase(image, entry.pattern)), _NO_ENTRY)


def command_line(entry: ImageEntry, container: ContainerSpec) -> list[str]:
    """The image's entry point followed by the job's command, as Docker combines them."""
    return [*entry.entry_point, *container.command]


def shared_variables(
    settings: EngineSettings, entry: ImageEntry, container: ContainerSpec, place: Place, on_host: OnHost
) -> dict[str, str]:
    """The variables shared by all attempts of a job on one host.

    Together with `own_variables` this is the complete environment: nothing of the region's own is passed on.
    """
    base = {
        "PATH": _PLAIN_PATH,
        "LANG": "C.UTF-8",
        **_of_the_region(settings, on_host),
        names.SPOTBATCH_ARTIFACTS_URL: _uri_of(settings.artifacts),
    }
    merged = {**base, **entry.environment, **container.environment, **_of_the_host(place, on_host)}
    merged[COOKIE_VARIABLE] = cookie_of(settings.home)
    if entry.path:
        merged["PATH"] = os.pathsep.join([*entry.path, merged["PATH"]])
    return merged


def own_variables(unit: Unit, scratch: str, shared: Mapping[str, str]) -> dict[str, str]:
    """The variables specific to one attempt; its folders, unless the job has set others."""
    own = {names.AWS_BATCH_JOB_ID: unit.job_id, names.AWS_BATCH_JOB_ATTEMPT: str(unit.attempt)}
    if unit.array_index is not None:
        own[names.AWS_BATCH_JOB_ARRAY_INDEX] = str(unit.array_index)
    for name in ("HOME", "TMPDIR"):
        if name not in shared:
            own[name] = scratch
    return own


def in_container(
    settings: EngineSettings, container: ContainerSpec, place: Place, unit: Unit, on_host: OnHost
) -> dict[str, str]:
    """The variables of an attempt in a container: the same, except that this machine's folders become the image's."""
    given = {name: value for name, value in _of_the_region(settings, on_host).items() if name not in _IMAGES_OWN}
    given[names.SPOTBATCH_ARTIFACTS_URL] = _uri_of(settings.artifacts)
    cookie = {COOKIE_VARIABLE: cookie_of(settings.home)}
    shared = {**given, **container.environment, **_of_the_host(place, on_host), **cookie}
    own = own_variables(unit, "", shared)
    return {**shared, **{name: value for name, value in own.items() if name not in _IMAGES_OWN}}


def _of_the_region(settings: EngineSettings, on_host: OnHost) -> Mapping[str, str]:
    """What every job gets, plus the metadata service's address as AWS's SDKs and CLI read it."""
    if not on_host.metadata:
        return settings.job_environment
    others = {name: one for name, one in settings.job_environment.items() if name != names.AWS_EC2_METADATA_DISABLED}
    return {**others, names.AWS_EC2_METADATA_SERVICE_ENDPOINT: on_host.metadata}


def _of_the_host(place: Place, on_host: OnHost) -> Mapping[str, str]:
    """AWS Batch's own variables (user guide, "AWS Batch job environment variables"), and the notice's path."""
    own = {
        names.AWS_BATCH_CE_NAME: on_host.host.environment,
        names.AWS_BATCH_JQ_NAME: place.queue,
        names.AWS_EXECUTION_ENV: "AWS_ECS_EC2",
        names.SPOTBATCH_NOTICE_FILE: str(on_host.notice),
        names.SPOTBATCH_INSTANCE_TYPE: on_host.host.instance_type,
        names.SPOTBATCH_ZONE: on_host.host.zone,
    }
    if on_host.host.is_fargate:  # no instance, and no notice but SIGTERM
        own[names.AWS_EXECUTION_ENV] = "AWS_ECS_FARGATE"
        del own[names.SPOTBATCH_NOTICE_FILE], own[names.SPOTBATCH_INSTANCE_TYPE]
    if place.array_size:
        own[names.AWS_BATCH_JOB_ARRAY_SIZE] = str(place.array_size)
    return own
