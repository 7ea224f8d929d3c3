"""What a job requests compared with the instance types that an environment can launch. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from spotbatch.aws.inspection import Environment
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import JobRequest, ResourceRequirements
from spotbatch.pricing.catalogue import Catalogue, InstanceType
from spotbatch.pricing.instance_selection import Need


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """Why no instance type holds a job."""

    asked: str  # as 64 vCPUs
    cause: str
    evidence: str
    fix: str


def requirements_of(request: JobRequest, defined: ResourceRequirements) -> ResourceRequirements:
    """What each job of a request needs: as stated in the request, otherwise as in its definition."""
    return ResourceRequirements(
        vcpus=request.vcpus or defined.vcpus,
        memory_mib=request.memory_mib or defined.memory_mib,
        gpus=request.gpus or defined.gpus,
    )


def need_of(requirements: ResourceRequirements) -> Need:
    """The same in the form used for price comparisons."""
    return Need(vcpus=ceil(requirements.vcpus), memory_mib=requirements.memory_mib, gpus=requirements.gpus)


def types_of(environment: Environment, catalogue: Catalogue, *, only: str = "") -> list[InstanceType]:
    """The instance types that an environment launches, as far as they are in the catalogue."""
    found: list[InstanceType] = []
    for name in [only] if only else environment.instance_types:
        try:
            found += catalogue.expand([name])
        except NotFound:
            continue
    return found


def unknown_types(environment: Environment, catalogue: Catalogue) -> list[str]:
    """Types missing from the catalogue, with neither size nor price known."""
    return [name for name in environment.instance_types if not types_of(environment, catalogue, only=name)]


def fits(kind: InstanceType, needs: ResourceRequirements) -> bool:
    return kind.vcpus >= needs.vcpus and kind.usable_memory_mib >= needs.memory_mib and kind.gpus >= needs.gpus


def shortfall(needs: ResourceRequirements, types: Sequence[InstanceType]) -> Shortfall:
    """Which of vCPUs, memory and GPUs falls short, and how much is available."""
    most_vcpus = max(kind.vcpus for kind in types)
    roomy = max(types, key=lambda kind: kind.usable_memory_mib)
    if needs.gpus > max(kind.gpus for kind in types):
        asked = f"{needs.gpus} GPUs"
        cause, fix = "no instance type of the environment has so many GPUs", "add a GPU family to instance_types"
        evidence = f"the job asks for {needs.gpus} GPUs, the types have at most {max(kind.gpus for kind in types)}"
    elif needs.vcpus > most_vcpus:
        asked = f"{needs.vcpus} vCPUs"
        cause = "no instance type of the environment has so many vCPUs"
        evidence = f"the job asks for {needs.vcpus} vCPUs, the largest type has {most_vcpus}"
        fix = f"--vcpus {most_vcpus} or less, or larger instance_types"
    elif needs.memory_mib > roomy.usable_memory_mib:
        asked = f"{needs.memory_mib} MiB for jobs"
        cause = "no instance type of the environment has so much usable memory"
        evidence = (
            f"the job asks for {needs.memory_mib} MiB; {roomy.name} is sold with {roomy.memory_mib} MiB, of which jobs "
            f"get about {roomy.usable_memory_mib} (the ECS agent and the kernel take the rest)"
        )
        fix = f"--memory {roomy.usable_memory_mib} or less, or instance_types with more memory (r5)"
    else:
        asked = f"{needs.vcpus} vCPUs and {needs.memory_mib} MiB together"
        cause = "no single instance type has both the vCPUs and the memory"
        evidence = f"the job asks for {needs.vcpus} vCPUs and {needs.memory_mib} MiB together"
        fix = "ask for less of one of them, or add instance_types that have both"
    return Shortfall(asked=asked, cause=cause, evidence=evidence, fix=fix)
