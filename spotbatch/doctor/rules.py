"""Why a job does not run: pure rules over the observed facts. Each finding has a cause, the evidence and the fix."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from spotbatch.batch.attempt_outcome import interruptions_of
from spotbatch.batch.job import Job
from spotbatch.batch.placement import BlockedReason
from spotbatch.batch.status import JobStatus
from spotbatch.doctor.attempt_warnings import warned
from spotbatch.doctor.capacity import fits_nowhere, local_quota, price_cap, quota, wrong_architecture
from spotbatch.doctor.case import Case, Finding, Weight, certain, likely, normal
from spotbatch.doctor.failures import why_failed
from spotbatch.runs.units import run_again_count, run_size
from spotbatch.wording import count

# How the status reason begins of a job that AWS Batch considers to block its queue.
_BLOCKED: Final = ("CAPACITY:", "MISCONFIGURATION:", "ACTION_REQUIRED", "UNDETERMINED")
_MORE_PLACES: Final = (
    "more instance types and zones, a higher bid_percentage, or an on-demand environment behind the Spot one"
)


def diagnose(case: Case) -> list[Finding]:
    """The findings, causes first."""
    rules = _RULES.get(case.job.status, _WAITING)
    found = [finding for rule in rules for finding in rule(case)]
    if not _has_cause(found) and case.job.status is JobStatus.RUNNABLE:
        # the region's own limit explains what AWS Batch's message and the wait for Spot only suggest
        found += list(local_quota(case)) or list(_blocked(case)) or list(_capacity(case))
    order = list(Weight)
    return sorted(found, key=lambda finding: order.index(finding.weight))


def _has_cause(found: Iterable[Finding]) -> bool:
    return any(finding.weight is Weight.CAUSE for finding in found)


# ---- the queue and its environments ----


def _queue_is_off(case: Case) -> Iterator[Finding]:
    queue = case.around.queue
    if queue.state != "ENABLED":
        yield certain(
            "the job queue is disabled",
            evidence=f"queue {queue.name}: state {queue.state}",
            fix=case.aws(f"batch update-job-queue --job-queue {queue.name} --state ENABLED"),
        )
    if queue.status == "INVALID":
        yield certain(
            "the job queue is invalid",
            evidence=f"queue {queue.name}: {queue.status_reason or queue.status}",
            fix="mend what the reason says, then update the queue",
        )


def _no_environment(case: Case) -> Iterator[Finding]:
    environments = case.around.queue.environments
    if any(each.is_usable for each in environments):
        return
    for each in environments:
        if each.status == "INVALID":
            yield certain(
                "the compute environment is INVALID",
                evidence=f"{each.name}: {each.status_reason or 'no reason given'}",
                fix="mend the role, the launch template or the subnets that the reason names; then "
                + case.aws(f"batch update-compute-environment --compute-environment {each.name} --state ENABLED"),
            )
        elif each.state != "ENABLED":
            yield certain(
                "the compute environment is disabled",
                evidence=f"{each.name}: state {each.state}",
                fix=case.aws(f"batch update-compute-environment --compute-environment {each.name} --state ENABLED"),
            )
        else:
            yield likely(
                "the compute environment is still being changed",
                evidence=f"{each.name}: status {each.status}",
                fix="wait until its status is VALID",
            )


# ---- image, network, roles ----


def _image_is_missing(case: Case) -> Iterator[Finding]:
    if case.around.is_image_there is False:
        yield certain(
            "the image is not in the registry",
            evidence=f"ECR has no {case.around.image}",
            fix=f"docker push {case.around.image}, or name an image that is there",
        )


def _no_way_out(case: Case) -> Iterator[Finding]:
    closed = case.around.subnets_without_way_out
    if closed:
        sure = certain if len(closed) == _subnets(case) else likely
        yield sure(
            "subnets have no way to ECR, ECS and CloudWatch",
            evidence=f"no internet or NAT gateway, and no endpoint for ECR: {', '.join(closed)}",
            fix="add a route, or interface endpoints (ecr.api, ecr.dkr, ecs, logs) and a gateway endpoint for S3",
        )


def _subnets(case: Case) -> int:
    return len({subnet for each in case.around.queue.environments for subnet in each.subnets})


def _role_is_missing(case: Case) -> Iterator[Finding]:
    if case.around.missing_roles:
        yield certain(
            "a role that is needed does not exist",
            evidence=", ".join(case.around.missing_roles),
            fix="deploy the stack again, or name a role that exists",
        )


# ---- normal waiting ----


def _waits_for_others(case: Case) -> Iterator[Finding]:
    ahead = case.around.ahead
    own = case.job.id
    place = next((at for at, each in enumerate(ahead or ()) if own in (each, each.partition(":")[0])), None)
    usable = [each for each in case.around.queue.environments if each.is_usable]
    if not usable:
        return
    full = [each for each in usable if each.desired_vcpus is not None and each.desired_vcpus >= each.max_vcpus > 0]
    if len(full) == len(usable):
        yield normal(
            "all environments are at their limit: the job waits for a host to be free",
            evidence=", ".join(f"{each.name}: {each.desired_vcpus} of {each.max_vcpus} vCPUs" for each in full),
            fix="wait, or raise maxvCpus (context key max_vcpus)",
        )
    if ahead and (place or (place is None and case.job.status is JobStatus.RUNNABLE)):
        where = f"it is number {place + 1}" if place else f"{len(ahead)} jobs or more stand before it"
        name, why = _head_in_words(case, ahead[0])
        yield normal(
            "other jobs are before it in the queue",
            evidence=f"{where} in {case.around.queue.name}; the first is {name}{why}",
            fix=f"spotbatch doctor {ahead[0]}" if why else "wait, or use a queue of higher priority",
        )


def _head_in_words(case: Case, head_id: str) -> tuple[str, str]:
    """The job at the front of the queue, and what it waits for according to AWS Batch."""
    head = case.head
    if head is None:
        return head_id, ""
    return f"{head.name} ({head.id})", f", which waits: {head.status_reason}" if _is_blocked(head) else ""


def _is_blocked(job: Job) -> bool:
    return job.status is JobStatus.RUNNABLE and job.status_reason.startswith(_BLOCKED)


def _blocked(case: Case) -> Iterator[Finding]:
    """AWS Batch's own message about the job at the front of its queue (user guide, "Resolve blocked job queues")."""
    reason = case.job.status_reason
    if reason.startswith(BlockedReason.NO_CAPACITY):
        spot = any(each.is_spot for each in case.around.queue.environments)
        yield certain(
            "EC2 has no host for it now: no capacity, a price above the cap, or a quota that is used up",
            evidence=reason,
            fix=f"{_MORE_PLACES}; `spotbatch prices show` has today's Spot prices" if spot else _MORE_PLACES,
        )
    elif _is_blocked(case.job):
        yield certain(
            "AWS Batch says what it lacks",
            evidence=reason,
            fix="mend what the reason names: https://docs.aws.amazon.com/batch/latest/userguide/troubleshooting.html",
        )


def _capacity(case: Case) -> Iterator[Finding]:
    """The last resort if nothing else explains it: hosts are still starting, or EC2 has no capacity."""
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
        yield normal(
            "it waits for a Spot host (a minute or two is usual)",
            evidence=f"{evidence}{cap}",
            fix=f"after ten minutes: {_MORE_PLACES}",
        )


def _dependencies(case: Case) -> Iterator[Finding]:
    for each in case.dependencies:
        if each.status is JobStatus.SUCCEEDED:
            continue
        evidence = f"{each.name} ({each.id}) is {each.status}"
        if each.status is JobStatus.FAILED:
            fix = f"spotbatch retry {each.id}, then submit this job again"
            yield certain("a job that it depends on has FAILED", evidence=evidence, fix=fix)
        else:
            fix = f"spotbatch watch {each.id}"
            yield normal("it waits for a job that it depends on", evidence=evidence, fix=fix)


def _children_run(case: Case) -> Iterator[Finding]:
    array = case.job.array
    if array is None or case.dependencies:
        return
    counts = ", ".join(f"{status} {count}" for status, count in array.status_summary.items() if count)
    yield normal(
        "the parent of an array is PENDING while its children run",
        evidence=counts or "its children are being made",
        fix=f"spotbatch watch {case.called}",
    )


def _starting(case: Case) -> Iterator[Finding]:
    yield normal(
        "its host pulls the image and starts the container",
        evidence=f"image {case.around.image}" if case.around.image else "the job has a host",
        fix="if it stays so for minutes: a smaller image, or `spotbatch show` for the reason of its last attempt",
    )


def _running(case: Case) -> Iterator[Finding]:
    lost = interruptions_of(case.job)
    evidence = f"attempt {len(case.job.attempts)} of {case.job.attempts_allowed}"
    yield normal(
        "it runs",
        evidence=f"{evidence}, {count(lost, 'interruption')} before" if lost else evidence,
        fix=f"spotbatch logs -f {case.job.id}",
    )


def _fine(case: Case) -> Iterator[Finding]:
    job = case.job
    if case.is_run:
        again = run_again_count(case.run)
        evidence = f"{count(run_size(case.run), 'child')}, {again:,} of them after they were run again"
    elif job.array is not None:
        evidence = "all children have"
    else:
        evidence = f"after {count(max(1, len(job.attempts)), 'attempt')}"
    yield normal("it has SUCCEEDED", evidence=evidence, fix=f"spotbatch results {case.called} DEST")


Rule = Callable[[Case], Iterable[Finding]]
_PLACE: Final[tuple[Rule, ...]] = (
    _queue_is_off,
    _no_environment,
    fits_nowhere,
    wrong_architecture,
    quota,
    price_cap,
)
_AROUND: Final[tuple[Rule, ...]] = (_image_is_missing, _no_way_out, _role_is_missing)
_WAITING: Final[tuple[Rule, ...]] = (*_PLACE, *_AROUND, _waits_for_others, warned)
_RULES: Final[dict[JobStatus, tuple[Rule, ...]]] = {
    JobStatus.SUBMITTED: (_dependencies, *_PLACE),
    JobStatus.PENDING: (_dependencies, _children_run, *_PLACE),
    JobStatus.RUNNABLE: _WAITING,
    JobStatus.STARTING: (*_AROUND, _starting),
    JobStatus.RUNNING: (_running, warned),
    JobStatus.FAILED: (_dependencies, why_failed, warned),
    JobStatus.SUCCEEDED: (_fine, warned),
}
