"""Rules on job definitions: retries, time, memory. The rulebook itself evaluates retry strategies."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from spotbatch.audit.facts import Facts, Resource, is_known, whole
from spotbatch.audit.finding import Finding, Level
from spotbatch.batch.errors import InvalidJob
from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.retry import Action, AttemptExit, EvaluateOnExit, RetryStrategy
from spotbatch.batch.status import (
    CANNOT_PULL_PREFIX,
    CANNOT_PULL_REASON,
    CONTAINER_EXITED,
    HOST_TERMINATED_PATTERN,
    NOT_STARTED,
    host_terminated,
)
from spotbatch.pricing.catalogue import InstanceType

_BATCH: Final = "https://docs.aws.amazon.com/batch/latest/userguide"
_RETRIES: Final = f"{_BATCH}/job_retries.html"
_TIMEOUTS: Final = f"{_BATCH}/job_timeouts.html"
_MEMORY: Final = f"{_BATCH}/memory-management.html"
_LOST_HOST: Final = AttemptExit(status_reason=host_terminated("i-0123456789abcdef0"))
_BUG: Final = AttemptExit(exit_code=1, reason=CONTAINER_EXITED, status_reason=CONTAINER_EXITED)
# The ECS agent's names; the user guide's own retry example has both.
_AGENT_ERRORS: Final = (
    AttemptExit(reason=f"{CANNOT_PULL_REASON} Error response from daemon", status_reason=NOT_STARTED),
    AttemptExit(status_reason=NOT_STARTED),
)


def lost_hosts_not_retried(facts: Facts) -> Iterator[Finding]:
    """A reclaim ends the job unless it is configured to be retried."""
    if not any(True for _ in facts.spot_hosts()):
        return
    for each, strategy in _strategies(facts):
        if strategy.decide(_LOST_HOST, 1) is not Action.RETRY:
            yield _retries(
                each,
                "lost-hosts-not-retried",
                risk="one Spot interruption and the job has FAILED",
                evidence=f"{_in_words(strategy)}: a job whose host EC2 has taken back is not tried again",
                fix=f"RetryStrategy: {{Attempts: 10, EvaluateOnExit: [{{Action: RETRY, OnStatusReason: "
                f"'{HOST_TERMINATED_PATTERN}'}}, "
                "{Action: EXIT, OnReason: '*'}]}",
            )


def bugs_retried(facts: Facts) -> Iterator[Finding]:
    """Without an EXIT entry everything unmatched is retried: every bug uses up all attempts."""
    for each, strategy in _strategies(facts):
        if strategy.decide(_BUG, 1) is Action.RETRY:
            yield _retries(
                each,
                "no-exit-entry",
                risk=f"a command that fails by its own bug is run {strategy.attempts} times, and paid for each time",
                evidence=f"{_in_words(strategy)}: exit code 1 is retried",
                fix="a last entry of EvaluateOnExit: {Action: EXIT, OnReason: '*'}",
            )


def agent_errors_not_retried(facts: Facts) -> Iterator[Finding]:
    """A briefly slow registry or Docker is no reason to give up on a job."""
    for each, strategy in _strategies(facts):
        if strategy.attempts > 1 and any(strategy.decide(one, 1) is Action.EXIT for one in _AGENT_ERRORS):
            yield _retries(
                each,
                "agent-errors-not-retried",
                risk="a slow registry or Docker on one host ends the job, and with one child its whole array",
                evidence=f"{_in_words(strategy)}: {CANNOT_PULL_REASON} or `{NOT_STARTED}` ends the job",
                fix=f"before the EXIT entry: {{Action: RETRY, OnReason: '{CANNOT_PULL_PREFIX}*'}}, "
                f"{{Action: RETRY, OnStatusReason: '{NOT_STARTED}'}}",
            )


def no_timeout(facts: Facts) -> Iterator[Finding]:
    """A job that hangs costs money until someone notices."""
    for each in facts.definitions():
        timeout = each.properties.get("Timeout")
        if not isinstance(timeout, Mapping) or not timeout.get("AttemptDurationSeconds"):
            yield Finding(
                rule="no-timeout",
                level=Level.WARNING,
                resource=each.id,
                path="Timeout.AttemptDurationSeconds",
                risk="a job that hangs runs, and is paid for, until somebody looks",
                evidence="Timeout is not set",
                fix="Timeout: {AttemptDurationSeconds: several times what a job takes}; it is of each attempt",
                source=_TIMEOUTS,
            )


def memory_that_no_host_gives(facts: Facts) -> Iterator[Finding]:
    """A host offers jobs less than its nominal memory, since the agent and the kernel keep a share."""
    offered: list[InstanceType] = []
    for _, compute in facts.hosts():
        kinds = facts.types_of(compute)
        if kinds is None:
            return  # what is not known may be large enough
        offered += kinds
    if not offered:
        return
    for each in facts.definitions():
        needs = _needs(each)
        if needs is None or any(_holds(kind, needs) for kind in offered):
            continue
        roomy = max(offered, key=lambda kind: kind.usable_memory_mib)
        yield Finding(
            rule="no-host-is-large-enough",
            level=Level.ERROR,
            resource=each.id,
            path="ContainerProperties.ResourceRequirements",
            risk="the job stays RUNNABLE for ever, and so do all behind it in the queue",
            evidence=f"asks for {needs.vcpus} vCPUs, {needs.memory_mib} MiB, {needs.gpus} GPUs; the roomiest type, "
            f"{roomy.name}, has {roomy.vcpus} vCPUs and gives jobs about {roomy.usable_memory_mib} of its "
            f"{roomy.memory_mib} MiB",
            fix=f"ask for less (as {roomy.usable_memory_mib} MiB), or name larger InstanceTypes",
            source=_MEMORY,
        )


def _holds(kind: InstanceType, needs: ResourceRequirements) -> bool:
    return kind.vcpus >= needs.vcpus and kind.usable_memory_mib >= needs.memory_mib and kind.gpus >= needs.gpus


def _needs(each: Resource) -> ResourceRequirements | None:
    """What a definition requests; None if that is not known."""
    container: Mapping[str, Any] = each.properties["ContainerProperties"]
    asked = {"VCPU": container.get("Vcpus"), "MEMORY": container.get("Memory"), "GPU": 0}
    listed = container.get("ResourceRequirements", [])
    if not isinstance(listed, list):
        return None
    asked |= {str(one.get("Type")): one.get("Value") for one in listed if isinstance(one, Mapping)}
    vcpus, memory, gpus = (whole(asked[name]) for name in ("VCPU", "MEMORY", "GPU"))
    if vcpus is None or memory is None or gpus is None:
        return None
    return ResourceRequirements(vcpus=vcpus, memory_mib=memory, gpus=gpus)


def _strategies(facts: Facts) -> Iterator[tuple[Resource, RetryStrategy]]:
    """Each definition with its strategy, except those that are partly unknown."""
    for each in facts.definitions():
        asked = each.properties.get("RetryStrategy", {})
        if not isinstance(asked, Mapping) or not is_known(dict(asked)):
            continue
        try:
            yield each, strategy_of(asked)
        except (InvalidJob, ValueError):
            continue  # AWS Batch refuses it with a better message


def strategy_of(asked: Mapping[str, Any]) -> RetryStrategy:
    """Convert CloudFormation's RetryStrategy to the rulebook's. Raises InvalidJob or ValueError."""
    return RetryStrategy(
        attempts=int(str(asked.get("Attempts", 1))),
        evaluate_on_exit=tuple(
            EvaluateOnExit(
                action=Action(str(entry.get("Action", "")).upper()),
                on_exit_code=entry.get("OnExitCode"),
                on_reason=entry.get("OnReason"),
                on_status_reason=entry.get("OnStatusReason"),
            )
            for entry in asked.get("EvaluateOnExit") or []
        ),
    )


def _in_words(strategy: RetryStrategy) -> str:
    attempts = f"Attempts: {strategy.attempts}"
    return f"{attempts}, {len(strategy.evaluate_on_exit)} entries" if strategy.evaluate_on_exit else attempts


def _retries(each: Resource, rule: str, *, risk: str, evidence: str, fix: str) -> Finding:
    return Finding(
        rule=rule, level=Level.WARNING, resource=each.id, path="RetryStrategy", risk=risk, evidence=evidence, fix=fix,
        source=_RETRIES,
    )  # fmt: skip
