"""Why a job does not run: rules over what was seen, pure. Each finding has a cause, the evidence and the fix."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from spotbatch.aws.inspection import Environment
from spotbatch.batch.errors import NotFound
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.status import JobStatus
from spotbatch.cli.failures import why_failed
from spotbatch.cli.findings import Case, Finding, Weight
from spotbatch.cli.progress import is_interruption
from spotbatch.pricing.catalogue import Catalogue, InstanceType


def diagnose(case: Case) -> list[Finding]:
    """The findings, causes first."""
    rules = _RULES.get(case.job.status, _WAITING)
    found = [finding for rule in rules for finding in rule(case)]
    if not any(finding.weight is Weight.CAUSE for finding in found) and case.job.status is JobStatus.RUNNABLE:
        found += _capacity(case)
    order = list(Weight)
    return sorted(found, key=lambda finding: order.index(finding.weight))


# ---- the queue and its environments ----


def _queue_is_off(case: Case) -> Iterator[Finding]:
    queue = case.around.queue
    if queue.state != "ENABLED":
        yield Finding(
            weight=Weight.CAUSE,
            cause="the job queue is disabled",
            evidence=f"queue {queue.name}: state {queue.state}",
            fix=f"aws batch update-job-queue --job-queue {queue.name} --state ENABLED",
        )
    if queue.status == "INVALID":
        yield Finding(
            weight=Weight.CAUSE,
            cause="the job queue is invalid",
            evidence=f"queue {queue.name}: {queue.status_reason or queue.status}",
            fix="mend what the reason says, then update the queue",
        )


def _no_environment(case: Case) -> Iterator[Finding]:
    environments = case.around.queue.environments
    if any(each.is_usable for each in environments):
        return
    for each in environments:
        if each.status == "INVALID":
            yield Finding(
                weight=Weight.CAUSE,
                cause="the compute environment is INVALID",
                evidence=f"{each.name}: {each.status_reason or 'no reason given'}",
                fix="mend the role, the launch template or the subnets that the reason names; then "
                f"aws batch update-compute-environment --compute-environment {each.name} --state ENABLED",
            )
        elif each.state != "ENABLED":
            yield Finding(
                weight=Weight.CAUSE,
                cause="the compute environment is disabled",
                evidence=f"{each.name}: state {each.state}",
                fix=f"aws batch update-compute-environment --compute-environment {each.name} --state ENABLED",
            )
        else:
            yield Finding(
                weight=Weight.LIKELY,
                cause="the compute environment is still being changed",
                evidence=f"{each.name}: status {each.status}",
                fix="wait until its status is VALID",
            )


# ---- what the job asks for against what the environments can launch ----


def _fits_nowhere(case: Case) -> Iterator[Finding]:
    """vCPUs, memory, GPUs and architecture against every instance type; the environment's own limit."""
    usable = [each for each in case.around.queue.environments if each.is_usable]
    if not usable:
        return
    types = [kind for each in usable for kind in _types(each, case.types)]
    needs = case.job.requirements
    if types and not any(_fits(kind, needs) for kind in types):
        yield _too_big(needs, types)
        return
    limit = max(each.max_vcpus for each in usable)
    smallest = min((kind.vcpus for kind in types if _fits(kind, needs)), default=needs.vcpus)
    if types and smallest > limit:
        yield Finding(
            weight=Weight.CAUSE,
            cause="no host that fits the job fits into the environment",
            evidence=f"the smallest host that fits has {smallest} vCPUs, maxvCpus is {limit}",
            fix="raise maxvCpus (context key max_vcpus), or ask for less",
        )


def _types(environment: Environment, catalogue: Catalogue) -> list[InstanceType]:
    found: list[InstanceType] = []
    for name in environment.instance_types:
        try:
            found += catalogue.expand([name])
        except NotFound:
            continue
    return found


def _fits(kind: InstanceType, needs: ResourceRequirements) -> bool:
    return kind.vcpus >= needs.vcpus and kind.usable_memory_mib >= needs.memory_mib and kind.gpus >= needs.gpus


def _too_big(needs: ResourceRequirements, types: Sequence[InstanceType]) -> Finding:
    """Which of vCPUs, memory and GPUs it is, and how much there is."""
    most_vcpus = max(kind.vcpus for kind in types)
    roomy = max(types, key=lambda kind: kind.usable_memory_mib)
    if needs.gpus > max(kind.gpus for kind in types):
        cause, fix = "no instance type of the environment has so many GPUs", "add a GPU family to instance_types"
        evidence = f"the job asks for {needs.gpus} GPUs, the types have at most {max(kind.gpus for kind in types)}"
    elif needs.vcpus > most_vcpus:
        cause = "no instance type of the environment has so many vCPUs"
        evidence = f"the job asks for {needs.vcpus} vCPUs, the largest type has {most_vcpus}"
        fix = f"--vcpus {most_vcpus} or less, or larger instance_types"
    elif needs.memory_mib > roomy.usable_memory_mib:
        cause = "no instance type of the environment has so much usable memory"
        evidence = (
            f"the job asks for {needs.memory_mib} MiB; {roomy.name} is sold with {roomy.memory_mib} MiB, of which jobs "
            f"get about {roomy.usable_memory_mib} (the ECS agent and the kernel take the rest)"
        )
        fix = f"--memory {roomy.usable_memory_mib} or less, or instance_types with more memory (r5)"
    else:
        cause = "no single instance type has both the vCPUs and the memory"
        evidence = f"the job asks for {needs.vcpus} vCPUs and {needs.memory_mib} MiB together"
        fix = "ask for less of one of them, or add instance_types that have both"
    return Finding(weight=Weight.CAUSE, cause=cause, evidence=evidence, fix=fix)


def _wrong_architecture(case: Case) -> Iterator[Finding]:
    built_for = case.around.image_architectures
    usable = [each for each in case.around.queue.environments if each.is_usable]
    offered = {kind.architecture for each in usable for kind in _types(each, case.types)}
    if built_for and offered and not offered & set(built_for):
        yield Finding(
            weight=Weight.CAUSE,
            cause="the image is built for another architecture than the hosts have",
            evidence=f"image: {', '.join(built_for)}; hosts: {', '.join(sorted(offered))}",
            fix="build it for them: docker buildx build --platform linux/amd64 (or linux/arm64)",
        )


def _quota(case: Case) -> Iterator[Finding]:
    for each in case.around.queue.environments:
        quota = case.around.quota_vcpus.get(each.is_spot)
        kinds = [kind for kind in _types(each, case.types) if _fits(kind, case.job.requirements)]
        if quota is None or not kinds:
            continue
        smallest = min(kind.vcpus for kind in kinds)
        name = "All Standard Spot Instance Requests" if each.is_spot else "Running On-Demand Standard instances"
        if quota < smallest:
            yield Finding(
                weight=Weight.CAUSE,
                cause="the account's vCPU quota is smaller than one host",
                evidence=f"quota {name}: {quota:.0f} vCPUs; the smallest host that fits has {smallest}",
                fix="ask for more in Service Quotas (EC2); an answer takes hours to days",
            )
        elif quota < each.max_vcpus:
            yield Finding(
                weight=Weight.LIKELY,
                cause="the account's vCPU quota is below the environment's limit",
                evidence=f"quota {name}: {quota:.0f} vCPUs; {each.name} may want {each.max_vcpus}",
                fix="if hosts stop coming before maxvCpus, ask for more in Service Quotas (EC2)",
            )


def _price_cap(case: Case) -> Iterator[Finding]:
    """Spot prices above the environment's cap. The prices known here may be means, so this is never certain."""
    for each in case.around.queue.environments:
        kinds = [kind for kind in _types(each, case.types) if _fits(kind, case.job.requirements)]
        known = [(kind, kind.spot_usd_per_hour) for kind in kinds if kind.spot_usd_per_hour is not None]
        if not each.is_spot or not each.bid_percentage or not known:
            continue
        share = {kind.name: price * 100 / kind.on_demand_usd_per_hour for kind, price in known}
        if min(share.values()) > each.bid_percentage:
            cheapest = min(share, key=lambda name: share[name])
            yield Finding(
                weight=Weight.LIKELY,
                cause="Spot prices are above the environment's cap",
                evidence=f"{each.name}: at most {each.bid_percentage} % of the on-demand price; {cheapest} is at "
                f"{share[cheapest]:.0f} %",
                fix="raise bid_percentage, or add instance types; `spotbatch prices refresh` asks for today's prices",
            )


# ---- image, network, roles ----


def _image_is_missing(case: Case) -> Iterator[Finding]:
    if case.around.is_image_there is False:
        yield Finding(
            weight=Weight.CAUSE,
            cause="the image is not in the registry",
            evidence=f"ECR has no {case.around.image}",
            fix=f"docker push {case.around.image}, or name an image that is there",
        )


def _no_way_out(case: Case) -> Iterator[Finding]:
    closed = case.around.subnets_without_way_out
    if closed:
        yield Finding(
            weight=Weight.CAUSE if len(closed) == _subnets(case) else Weight.LIKELY,
            cause="subnets have no way to ECR, ECS and CloudWatch",
            evidence=f"no internet or NAT gateway, and no endpoint for ECR: {', '.join(closed)}",
            fix="add a route, or interface endpoints (ecr.api, ecr.dkr, ecs, logs) and a gateway endpoint for S3",
        )


def _subnets(case: Case) -> int:
    return len({subnet for each in case.around.queue.environments for subnet in each.subnets})


def _role_is_missing(case: Case) -> Iterator[Finding]:
    if case.around.missing_roles:
        yield Finding(
            weight=Weight.CAUSE,
            cause="a role that is needed does not exist",
            evidence=", ".join(case.around.missing_roles),
            fix="deploy the stack again, or name a role that exists",
        )


# ---- what it waits for although nothing is wrong ----


def _waits_for_others(case: Case) -> Iterator[Finding]:
    ahead = case.around.ahead
    own = case.job.id
    place = next((at for at, each in enumerate(ahead or ()) if own in (each, each.partition(":")[0])), None)
    usable = [each for each in case.around.queue.environments if each.is_usable]
    if not usable:
        return
    full = [each for each in usable if each.desired_vcpus is not None and each.desired_vcpus >= each.max_vcpus > 0]
    if len(full) == len(usable):
        yield Finding(
            weight=Weight.NORMAL,
            cause="all environments are at their limit: the job waits for a host to be free",
            evidence=", ".join(f"{each.name}: {each.desired_vcpus} of {each.max_vcpus} vCPUs" for each in full),
            fix="wait, or raise maxvCpus (context key max_vcpus)",
        )
    if place:
        yield Finding(
            weight=Weight.NORMAL,
            cause="other jobs are before it in the queue",
            evidence=f"it is number {place + 1} in {case.around.queue.name}; the first is {ahead[0] if ahead else ''}",
            fix="wait, or use a queue of higher priority",
        )
    elif ahead and place is None and own not in ahead and case.job.status is JobStatus.RUNNABLE:
        yield Finding(
            weight=Weight.NORMAL,
            cause="other jobs are before it in the queue",
            evidence=f"{len(ahead)} jobs or more stand at the front of {case.around.queue.name}",
            fix="wait, or use a queue of higher priority",
        )


def _capacity(case: Case) -> Iterator[Finding]:
    """The last thought, when nothing else explains it: EC2 has no such host now, or none below the price cap."""
    for each in case.around.queue.environments:
        if not each.is_usable or not each.is_spot:
            continue
        if each.desired_vcpus:
            evidence = (
                f"{each.name} wants {each.desired_vcpus} vCPUs: a host is being launched, or EC2 has none to give"
            )
        else:
            evidence = f"{each.name} has {len(each.instance_types)} instance types"
        cap = f", at most {each.bid_percentage} % of the on-demand price" if each.bid_percentage else ""
        yield Finding(
            weight=Weight.NORMAL,
            cause="it waits for a Spot host (a minute or two is usual)",
            evidence=f"{evidence}{cap}",
            fix="after ten minutes: more instance types and zones, a higher bid_percentage, or an on-demand "
            "environment behind the Spot one",
        )


def _dependencies(case: Case) -> Iterator[Finding]:
    for each in case.dependencies:
        if each.status is JobStatus.SUCCEEDED:
            continue
        is_bad = each.status is JobStatus.FAILED
        yield Finding(
            weight=Weight.CAUSE if is_bad else Weight.NORMAL,
            cause="a job that it depends on has FAILED" if is_bad else "it waits for a job that it depends on",
            evidence=f"{each.name} ({each.id}) is {each.status}",
            fix=f"spotbatch retry {each.id}, then submit this job again" if is_bad else f"spotbatch watch {each.id}",
        )


def _children_run(case: Case) -> Iterator[Finding]:
    array = case.job.array
    if array is None or case.dependencies:
        return
    counts = ", ".join(f"{status} {count}" for status, count in array.status_summary.items() if count)
    yield Finding(
        weight=Weight.NORMAL,
        cause="the parent of an array is PENDING while its children run",
        evidence=counts or "its children are being made",
        fix=f"spotbatch watch {case.job.id}",
    )


def _starting(case: Case) -> Iterator[Finding]:
    yield Finding(
        weight=Weight.NORMAL,
        cause="its host pulls the image and starts the container",
        evidence=f"image {case.around.image}" if case.around.image else "the job has a host",
        fix="if it stays so for minutes: a smaller image, or `spotbatch show` for the reason of its last attempt",
    )


def _running(case: Case) -> Iterator[Finding]:
    lost = sum(is_interruption(attempt) for attempt in case.job.attempts)
    evidence = f"attempt {len(case.job.attempts)} of {case.job.attempts_allowed}"
    yield Finding(
        weight=Weight.NORMAL,
        cause="it runs",
        evidence=f"{evidence}, {lost} interruptions before" if lost else evidence,
        fix=f"spotbatch logs -f {case.job.id}",
    )


def _fine(case: Case) -> Iterator[Finding]:
    yield Finding(
        weight=Weight.NORMAL,
        cause="it has SUCCEEDED",
        evidence=f"after {max(1, len(case.job.attempts))} attempts",
        fix=f"spotbatch results {case.job.id} DEST",
    )


Rule = Callable[[Case], Iterable[Finding]]
_PLACE: Final[tuple[Rule, ...]] = (
    _queue_is_off,
    _no_environment,
    _fits_nowhere,
    _wrong_architecture,
    _quota,
    _price_cap,
)
_AROUND: Final[tuple[Rule, ...]] = (_image_is_missing, _no_way_out, _role_is_missing)
_WAITING: Final[tuple[Rule, ...]] = (*_PLACE, *_AROUND, _waits_for_others)
_RULES: Final[dict[JobStatus, tuple[Rule, ...]]] = {
    JobStatus.SUBMITTED: (_dependencies, *_PLACE),
    JobStatus.PENDING: (_dependencies, _children_run, *_PLACE),
    JobStatus.RUNNABLE: _WAITING,
    JobStatus.STARTING: (*_AROUND, _starting),
    JobStatus.RUNNING: (_running,),
    JobStatus.FAILED: (_dependencies, why_failed),
    JobStatus.SUCCEEDED: (_fine,),
}
