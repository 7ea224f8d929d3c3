"""Deploying the stack: what exists, what would change, and the steps that change it.

Nothing here prints. `plan` synthesizes and changes nothing on AWS, the functions next to it assess the plan, and
`carry_out` deploys it; it asks `agreed` before it creates anything that outlives the stack.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch.aws import images, preflight, quotas, stack_outputs, stacks, teardown
from spotbatch.aws.preflight import Caller
from spotbatch.aws.quotas import Quota
from spotbatch.aws.stack_outputs import StackOutputs
from spotbatch.aws.stacks import Stack
from spotbatch.batch.errors import Denied, InvalidInput, Unavailable
from spotbatch.deployment import cdk
from spotbatch.deployment.deploy_target import DeployTarget

SCRIPT: Final = "deploy.sh"
_TAG: Final = "image_tag"  # the setting that names the image
_RANGE: Final = "vpc_cidr"  # the setting that cannot be changed on a live stack
_ONLY_TO_BE_REMOVED: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A deployment that has been synthesized but not started."""

    target: DeployTarget
    folder: Path
    program: str  # the CDK's command line
    caller: Caller
    stack: Stack | None  # None if there is no stack with this name
    deployed: Mapping[str, Any]  # the live stack's template; empty before the first deployment
    template: Mapping[str, Any]

    @property
    def is_update(self) -> bool:
        return self.stack is not None and self.stack.status != stacks.EMPTY

    @property
    def new_image_tag(self) -> str | None:
        """The tag that jobs will use, if this deployment changes it."""
        before, after = _settings_in(self.deployed).get(_TAG), _settings_in(self.template).get(_TAG)
        return after if before is not None and after is not None and before != after else None


@dataclass(frozen=True, kw_only=True, slots=True)
class AffectedJobs:
    """The jobs of a live stack, and how its update affects them."""

    ended: Mapping[str, int]  # keyed by the name of a queue that the update removes
    others: int
    grace_minutes: int | None  # grace period of jobs on a host that is replaced; None if they end at once


@dataclass(frozen=True, kw_only=True, slots=True)
class QuotaShortfall:
    """A vCPU quota of the account that is lower than what the stack may request."""

    quota: Quota
    allowed: int
    wanted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """A finished deployment."""

    outputs: StackOutputs
    kept_image: str | None = None  # the last pushed image, if a new revision of the definition keeps it
    kept_by: str | None = None  # that revision
    missing_image: str | None = None  # the image that jobs refer to but nobody has pushed yet


def current(target: DeployTarget, *, is_dry: bool, say: Say) -> Stack | None:
    """The stack, once no operation is in progress; a dry run does not wait for that. None if there is none.

    Raises Unavailable, with the way out, if no deployment can start; InvalidInput for a stack that is not ours.
    """
    now = stacks.find(target.stack) if is_dry else stacks.settled(target.stack, say=say)
    if now is None or now.status == stacks.EMPTY:
        return now
    if now.status in _ONLY_TO_BE_REMOVED:
        raise Unavailable(
            f"stack {now.name} is {now.status}: it can only be removed{_because(now)}. Run "
            f"{target.script('cleanup.sh')}, mend the cause, then run this again"
        )
    if now.status == "UPDATE_ROLLBACK_FAILED":
        raise Unavailable(
            f"stack {now.name} is {now.status}{_because(now)}. Run `aws cloudformation continue-update-rollback "
            f"--stack-name {now.name}{target.aws}`, then this again"
        )
    if not now.is_ours:
        raise InvalidInput(
            f"the stack {now.name} exists and was not made by deploy.sh: deploying would replace everything in it. "
            f"Choose another --stack-name"
        )
    return now


def template_of(stack: Stack | None) -> Mapping[str, Any]:
    """The template of a live stack; empty if nothing has been deployed."""
    return stacks.template(stack.stack_id) if stack is not None and stack.status != stacks.EMPTY else {}


def plan(
    target: DeployTarget,
    folder: Path,
    chosen: Mapping[str, Any],
    *,
    program: str,
    caller: Caller,
    stack: Stack | None,
    deployed: Mapping[str, Any],
    say: Say,
) -> Plan:
    """Synthesize the stack with the chosen settings. Raises InvalidInput for a wrong one."""
    zones = preflight.zones(cdk.zones_of(deployed))
    template = cdk.synthesize(folder, target.stack, caller, chosen, zones=zones, say=say)
    return Plan(
        target=target,
        folder=folder,
        program=program,
        caller=caller,
        stack=stack,
        deployed=deployed,
        template=template,
    )


def changed_settings(plan: Plan) -> Mapping[str, tuple[object, object]]:
    """Settings of the live stack that this deployment changes: old and new values.

    Settings are passed on each run and are not remembered: a setting given last time but not this time reverts to its
    default. Raises InvalidInput for a change that cannot be made to a live stack.
    """
    before, after = _settings_in(plan.deployed), _settings_in(plan.template)
    changed = {key: (before[key], after[key]) for key in after if key in before and before[key] != after[key]}
    if _RANGE in changed:
        raise InvalidInput(
            f"{_RANGE} is {before[_RANGE]!r} in the live stack and cannot become {after[_RANGE]!r}: its network would "
            f"be replaced while hosts, addresses and gateways still use it. Keep it (--set {_RANGE}={before[_RANGE]}), "
            f"or deploy a second stack with --stack-name"
        )
    return changed


def affected_jobs(plan: Plan) -> AffectedJobs:
    """The open jobs of the live stack's queues; CloudFormation removes the queues whose output is gone."""
    outputs = plan.stack.outputs if plan.stack is not None else {}
    counts = {queue: len(teardown.open_jobs(queue)) for queue in (plan.stack.queues if plan.stack else ())}
    ended = {
        queue: counts[queue]
        for output, queue in outputs.items()
        if counts.get(queue) and output not in plan.template.get("Outputs", {})
    }
    policies = [each.get("Properties", {}).get("UpdatePolicy", {}) for each in plan.template["Resources"].values()]
    minutes = [policy["JobExecutionTimeoutMinutes"] for policy in policies if "JobExecutionTimeoutMinutes" in policy]
    return AffectedJobs(
        ended=ended, others=sum(counts.values()) - sum(ended.values()), grace_minutes=min(minutes, default=None)
    )


def quota_shortfalls(template: Mapping[str, Any]) -> Sequence[QuotaShortfall]:
    """The quotas too low for all the vCPUs of the stack; quotas that the caller may not read are left out."""
    found = []
    for quota, wanted in quotas.demands(template).items():
        allowed = quotas.limit(quota)
        if allowed is not None and allowed < wanted:
            found.append(QuotaShortfall(quota=quota, allowed=allowed, wanted=wanted))
    return found


def missing_service_roles(*, say: Say) -> Sequence[str]:
    """None if the caller may not check: whoever may deploy but not read IAM has had them created by someone else."""
    try:
        return preflight.missing_service_roles()
    except Denied as error:
        say(f"note: whether the account has the roles of AWS Batch and Spot is unknown: {error}")
        return ()


def needs_bootstrap(*, say: Say) -> bool:
    """False if the caller may not check: `cdk deploy` itself reports a missing bootstrap."""
    try:
        return preflight.bootstrap_version() < preflight.LEAST_BOOTSTRAP_VERSION
    except Denied as error:
        say(f"note: whether the CDK is bootstrapped here is unknown: {error}")
        return False


def carry_out(plan: Plan, *, agreed: Callable[[str], bool], say: Say) -> Deployed:
    """Deploy it. Safe to interrupt and to rerun. Raises Unavailable if a required step is refused or fails."""
    if plan.stack is not None and plan.stack.status == stacks.EMPTY:
        stacks.delete(plan.stack, say=say)
    _make_service_roles(agreed=agreed, say=say)
    _bootstrap(plan, agreed=agreed, say=say)
    arguments = ["deploy", plan.target.stack, "--app", "cdk.out", "--require-approval", "never"]
    cdk.run(plan.program, plan.folder, arguments, again=plan.target.script(SCRIPT), say=say)
    outputs = stack_outputs.read(plan.target.stack)
    if (tag := plan.new_image_tag) is not None:
        uri = outputs.repository_uri
        is_missing = bool(uri) and images.digest_of(uri, tag) is None
        return Deployed(outputs=outputs, missing_image=f"{uri}:{tag}" if is_missing else None)
    return _with_pushed_image(outputs)


def _with_pushed_image(outputs: StackOutputs) -> Deployed:
    """A deployment's revision uses the template's image tag; if nobody pushed that tag, use the last pushed image.

    Without this, changing a setting after `image push` would leave jobs with an image that does not exist. This does
    not apply to a new tag: whoever asks for one will push it.
    """
    kept = images.last_pushed(outputs.job_definition, outputs.repository_uri)
    if kept is None:
        return Deployed(outputs=outputs)
    revision = images.register_with_image(outputs.job_definition, kept)
    return Deployed(outputs=stack_outputs.read(outputs.stack), kept_image=kept, kept_by=revision)


def _make_service_roles(*, agreed: Callable[[str], bool], say: Say) -> None:
    for role in missing_service_roles(say=say):
        if not agreed(f"The account has no {role}, which AWS Batch on Spot needs. Create it?"):
            raise Unavailable(f"without {role} no Spot instance can start")
        preflight.make_service_role(role)
        say(f"created {role}")


def _bootstrap(plan: Plan, *, agreed: Callable[[str], bool], say: Say) -> None:
    if not needs_bootstrap(say=say):
        return
    where = f"aws://{plan.caller.account}/{plan.caller.region}"
    if not agreed(f"The CDK has not been bootstrapped in {where} (once for each account and region). Do it?"):
        raise Unavailable(f"without it nothing can be deployed: `cdk bootstrap {where}{plan.target.aws}`")
    arguments = ["bootstrap", where, "--app", "cdk.out"]
    cdk.run(plan.program, plan.folder, arguments, again=plan.target.script(SCRIPT), say=say)


def _settings_in(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a template was made with; empty if it does not record them."""
    found: Mapping[str, Any] = template.get("Metadata", {}).get(cdk.CONTEXT_KEY, {})
    return found


def _because(stack: Stack) -> str:
    reasons = stacks.failures(stack.stack_id)
    return f" ({'; '.join(reasons)})" if reasons else ""
