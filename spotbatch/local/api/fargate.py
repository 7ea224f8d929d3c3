"""AWS's rules for Fargate: compute environments, job definitions and submissions.

Sources: API reference, ComputeResource, ContainerProperties and ResourceRequirement; user guide, "Job definitions on
Fargate". The wordings are those reported in Netflix/metaflow #749 and insitro/redun #95; what AWS says of a missing
role or a wrong size of storage is not published.
"""

from typing import Any, Final

from spotbatch.batch.job import ResourceRequirements
from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.region import Document

FARGATE: Final = "FARGATE"
TYPES: Final = (FARGATE, "FARGATE_SPOT")
_NOT_OF_ENVIRONMENTS: Final = (
    "minvCpus", "desiredvCpus", "instanceTypes", "instanceRole", "allocationStrategy", "bidPercentage", "imageId",
    "launchTemplate", "ec2KeyPair", "ec2Configuration", "placementGroup", "spotIamFleetRole", "scalingPolicy", "tags",
)  # fmt: skip
_REQUIRED: Final = ("vcpus", "memory")  # as resource requirements
_NOT_OF_CONTAINERS: Final = (*_REQUIRED, "instanceType", "ulimits")
_NOT_OF_LINUX: Final = ("devices", "sharedMemorySize", "tmpfs", "maxSwap", "swappiness")
ONLY_FARGATE: Final = ("networkConfiguration", "fargatePlatformConfiguration", "ephemeralStorage", "runtimePlatform")
_STORAGE_GIB: Final = (21, 200)
_VERSIONS: Final = ("LATEST", "1.3.0", "1.4.0")
_GIB: Final = 1024


def _steps(first_gib: int, last_gib: int, step_gib: int = 1) -> frozenset[int]:
    return frozenset(range(first_gib * _GIB, last_gib * _GIB + 1, step_gib * _GIB))


# API reference, ResourceRequirement.value: the MiB that go with each number of vCPUs.
MEMORY_OF: Final[dict[str, frozenset[int]]] = {
    "0.25": frozenset({512}) | _steps(1, 2),
    "0.5": _steps(1, 4),
    "1": _steps(2, 8),
    "2": _steps(4, 16),
    "4": _steps(8, 30),
    "8": _steps(16, 60, 4),
    "16": _steps(32, 112, 8) | {122_880},
    "32": frozenset({61_440, 122_880, 249_856}),
}


def is_fargate(definition: Document) -> bool:
    """Whether a job definition is for Fargate."""
    return FARGATE in definition.get("platformCapabilities", ())


def check_resources(resources: Document) -> None:
    """computeResources of a Fargate environment. Raises ClientException."""
    for member in _NOT_OF_ENVIRONMENTS:
        if member in resources:
            raise _not_applicable(member)
    for member in ("subnets", "securityGroupIds"):
        if not resources.get(member):
            raise ClientException(f"computeResources.{member} must not be empty for {resources['type']}")
    if resources["maxvCpus"] < 1:
        raise ClientException(f"maxvCpus must be 1 or more, not {resources['maxvCpus']}")


def _not_applicable(member: str, instead: str = "") -> ClientException:
    return _refused(f"{member} is not applicable for Fargate.{instead}")


def _refused(why: str) -> ClientException:
    return ClientException(f"Error executing request, Exception : {why}")


def checked_capabilities(asked: Document) -> None:
    """platformCapabilities of a job definition: EC2 or Fargate. Raises ClientException."""
    capabilities = asked.get("platformCapabilities", [])
    if others := [one for one in capabilities if one not in ("EC2", FARGATE)]:
        raise ClientException(f"platformCapabilities: the local region has EC2 and FARGATE, not {others}")
    if len(set(capabilities)) > 1:
        raise ClientException(f"platformCapabilities can only be one of EC2 and FARGATE, not {capabilities}")
    if is_fargate(asked) and asked["type"] != "container":
        raise ClientException(f"jobs on Fargate must be of type container, not {asked['type']}")


def check_container(properties: Document) -> None:
    """containerProperties of a job on Fargate. Raises ClientException."""
    for member in _NOT_OF_CONTAINERS:
        if properties.get(member):
            raise _not_applicable(member, " Use resource requirements instead." if member in _REQUIRED else "")
    for member in _NOT_OF_LINUX:
        if member in properties.get("linuxParameters", {}):
            raise _not_applicable(member)
    if properties.get("privileged"):
        raise _not_applicable("privileged")
    if not properties.get("executionRoleArn"):
        raise ClientException("executionRoleArn must be given for jobs that run on Fargate")
    if any("sourcePath" in volume.get("host", {}) for volume in properties.get("volumes", [])):
        raise _not_applicable("volumes.host.sourcePath")
    size = properties.get("ephemeralStorage", {}).get("sizeInGiB", _STORAGE_GIB[0])
    if not _STORAGE_GIB[0] <= size <= _STORAGE_GIB[1]:
        raise ClientException(f"ephemeralStorage.sizeInGiB must be {_STORAGE_GIB[0]} to {_STORAGE_GIB[1]}, not {size}")
    version = properties.get("fargatePlatformConfiguration", {}).get("platformVersion", "LATEST")
    if version not in _VERSIONS:
        raise ClientException(f"platformVersion can only be one of {list(_VERSIONS)}, not {version[:50]!r}")
    requirements(properties)


def with_defaults(properties: Document) -> Document:
    """What AWS adds to the properties of a container on Fargate."""
    return {"fargatePlatformConfiguration": {"platformVersion": "LATEST"}, **properties}


def requirements(properties: Document) -> ResourceRequirements:
    """What one attempt needs: one of Fargate's combinations. Raises ClientException."""
    given: dict[str, Any] = {one["type"]: one["value"] for one in properties.get("resourceRequirements", [])}
    if "GPU" in given:
        raise _not_applicable("GPU")
    for kind in ("VCPU", "MEMORY"):
        if kind not in given:
            raise _refused(f"{kind} is not provided.")
    try:
        vcpus, memory = float(given["VCPU"]), int(given["MEMORY"])
    except ValueError:
        vcpus, memory = -1.0, -1
    if memory not in MEMORY_OF.get(f"{vcpus:g}", ()):
        asked = f"{vcpus:.2f} vCPU, {memory} MiB" if vcpus >= 0 else f"{given['VCPU']} vCPU, {given['MEMORY']} MiB"
        raise _refused(f"Fargate resource requirements ({asked}) not valid.")
    return ResourceRequirements(vcpus=int(vcpus) if vcpus >= 1 else vcpus, memory_mib=memory)
