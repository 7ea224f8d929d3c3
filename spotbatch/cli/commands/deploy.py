"""`spotbatch deploy`: check, synthesize once, show the idle cost, bootstrap where needed, deploy, say what is next."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from spotbatch.aws import images, preflight, quotas, stack_outputs, stacks, teardown
from spotbatch.aws.preflight import Caller
from spotbatch.aws.stacks import Stack
from spotbatch.batch.errors import Denied, InvalidInput, Unavailable
from spotbatch.cli.confirm import agreed
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, StackNameOption, interruptible, point_at
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text
from spotbatch.deployment import cdk, docker, egress
from spotbatch.deployment.deploy_target import DeployTarget, check_stack_name

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

_TAG: Final = "image_tag"  # the setting that names the image
_RANGE: Final = "vpc_cidr"  # the setting that no live stack can change
_SCRIPT: Final = "deploy.sh"
_ONLY_TO_BE_REMOVED: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED")
_HELP_SET: Final = "A setting of the stack, e.g. --set max_vcpus=64 --set egress=public (JSON values; repeatable)."


@app.command(epilog="Example: spotbatch deploy --region eu-west-1 --set egress=public --dry-run")
def deploy(
    stack_name: StackNameOption = stack_outputs.DEFAULT_STACK,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_HELP_SET)] = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and synthesize; change nothing on AWS.")] = False,
    yes: YesOption = False,
) -> None:
    """Deploy the stack into your AWS account. Safe to interrupt and to run again."""
    check_stack_name(stack_name)
    point_at(profile, region)
    target = DeployTarget(stack=stack_name, profile=profile, region=region)
    folder = cdk.project()
    with interruptible("the same command"), cdk.alone(folder):
        _deploy(target, folder, settings or [], dry_run=dry_run, yes=yes)


def _deploy(target: DeployTarget, folder: Path, given: list[str], *, dry_run: bool, yes: bool) -> None:
    chosen = cdk.settings(given)
    program = cdk.program(folder)
    who = preflight.caller()
    text.say(f"account {who.account}, region {who.region}, stack {target.stack} (as {who.arn})")
    old = _ready(target, dry_run=dry_run)
    deployed = stacks.template(old.stack_id) if old and old.status != stacks.EMPTY else {}
    if not deployed:
        chosen = _with_egress(folder, chosen, may_ask=not (dry_run or yes))
    zones = preflight.zones(cdk.zones_of(deployed))
    template = cdk.synthesize(folder, target.stack, who, chosen, zones=zones, say=text.say)
    before, after = _settings_in(deployed), _settings_in(template)
    if old and deployed:
        _show_changes(before, after)
        _show_jobs(old, template)
    _show_idle_cost(template)
    _check_quotas(template, target)
    _check_docker()
    if dry_run:
        _say_what_would_be_done(target, old)
        return
    if not agreed(f"Deploy {target.stack} to account {who.account} in {who.region}?", yes=yes):
        raise typer.Exit(1)
    if old and old.status == stacks.EMPTY:
        stacks.delete(old, say=text.say)
    _make_service_roles(yes=yes)
    _bootstrap(program, folder, who, target, yes=yes)
    arguments = ["deploy", target.stack, "--app", "cdk.out", "--require-approval", "never"]
    cdk.run(program, folder, arguments, again=target.script(_SCRIPT), say=text.say)
    if _TAG in before and _TAG in after and before[_TAG] != after[_TAG]:
        _say_if_not_pushed(target.stack, after[_TAG])
    else:
        _keep_pushed_image(target.stack)
    _say_what_next(target)


def _with_egress(folder: Path, chosen: Mapping[str, Any], *, may_ask: bool) -> Mapping[str, Any]:
    """The settings, with the way out that somebody chooses now and that cdk.json then remembers.

    Asked once, before a first deployment, since it decides what an idle stack costs; not where it has been said, and
    not where nobody can be asked.
    """
    if egress.is_chosen(folder, chosen):
        return chosen
    options = egress.choices()
    text.say("how hosts reach AWS decides what the stack costs while nothing runs (the rest of it: see below):")
    rows = [[each.name, f"{each.usd_a_month:,.2f} USD", each.words] for each in options]
    text.table(["egress", "a month", ""], rows, right=(1,))
    if not (may_ask and sys.stdin.isatty()):
        text.say(f"- {options[0].name} is taken; another one with --set {egress.SETTING}=NAME, or in cdk.json")
        return chosen
    names = [each.name for each in options]
    name = ""
    while name not in names:
        name = typer.prompt(f"Which ({', '.join(names)})?", default=names[0], err=True)
    egress.remember(folder, name)
    text.say(f"cdk.json remembers it: context.{cdk.CONTEXT_KEY}.{egress.SETTING} = {name}")
    return chosen


def _ready(target: DeployTarget, *, dry_run: bool) -> Stack | None:
    """The stack as it is, once nothing changes it. Raises Unavailable, with the way out, where nothing can start."""
    now = stacks.find(target.stack) if dry_run else stacks.settled(target.stack, say=text.say)
    if now is None:
        return None
    if now.status == stacks.EMPTY:
        text.say(f"stack {now.name} is {now.status}: a first deployment was interrupted before it made anything;")
        text.say("  the empty stack is removed first")
    elif now.status in _ONLY_TO_BE_REMOVED:
        raise Unavailable(
            f"stack {now.name} is {now.status}: it can only be removed{_because(now)}. Run "
            f"{target.script('cleanup.sh')}, mend the cause, then run this again"
        )
    elif now.status == "UPDATE_ROLLBACK_FAILED":
        raise Unavailable(
            f"stack {now.name} is {now.status}{_because(now)}. Run `aws cloudformation continue-update-rollback "
            f"--stack-name {now.name}{target.aws}`, then this again"
        )
    elif not now.is_ours:
        raise InvalidInput(
            f"the stack {now.name} is there, and was not made by deploy.sh: deploying would replace all that is in it. "
            f"Choose another --stack-name"
        )
    else:
        text.say(f"stack {now.name} is there already ({now.status}): it will be updated")
    return now


def _because(stack: Stack) -> str:
    reasons = stacks.failures(stack.stack_id)
    return f" ({'; '.join(reasons)})" if reasons else ""


def _settings_in(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that a template was made with; nothing for one that does not say so."""
    found: Mapping[str, Any] = template.get("Metadata", {}).get(cdk.CONTEXT_KEY, {})
    return found


def _show_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Settings come with each run and are not remembered: one that was given last time and not now falls back."""
    changed = [key for key in after if key in before and before[key] != after[key]]
    if not changed:
        return
    if _RANGE in changed:
        raise InvalidInput(
            f"{_RANGE} is {before[_RANGE]!r} in the stack that is there, and cannot become {after[_RANGE]!r}: its "
            f"network would be replaced while hosts, addresses and gateways hold on to it. Keep it "
            f"(--set {_RANGE}={before[_RANGE]}), or deploy a second stack with --stack-name"
        )
    text.say("settings that change:")
    for key in changed:
        text.say(f"  {key}: {_shown(before[key])} -> {_shown(after[key])}")
    text.say("  (to keep one, give it with --set, or write it into cdk.json, where it stays)")


def _show_jobs(old: Stack, template: Mapping[str, Any]) -> None:
    """What an update means for jobs that are there."""
    counts = {queue: len(teardown.open_jobs(queue)) for queue in old.queues}
    for output, queue in old.outputs.items():
        if counts.get(queue) and output not in template.get("Outputs", {}):
            text.say(
                f"warning: the queue {queue} goes with this update, and ends its {text.count(counts[queue], 'job')}"
            )
            counts[queue] = 0
    count = sum(counts.values())
    if not count:
        return
    policies = [each.get("Properties", {}).get("UpdatePolicy", {}) for each in template["Resources"].values()]
    minutes = [policy["JobExecutionTimeoutMinutes"] for policy in policies if "JobExecutionTimeoutMinutes" in policy]
    grace = f"have {min(minutes)} minutes to end" if minutes else "end at once"
    text.say(f"note: {text.count(count, 'job')} running or waiting. Should the update replace hosts, jobs on them")
    text.say(f"  {grace}, and are then retried")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _show_idle_cost(template: Mapping[str, Any]) -> None:
    from spotbatch.cli.output.idle_cost import show_lines
    from spotbatch.pricing.units import PROVENANCE

    usd = show_lines(template)
    text.say(f"while nothing runs the stack costs about {usd:.2f} USD a month; what jobs use and store comes on top")
    text.say(f"  (prices: {PROVENANCE}; `spotbatch estimate --idle` shows this again)")


def _check_quotas(template: Mapping[str, Any], target: DeployTarget) -> None:
    for quota, wanted in quotas.demands(template).items():
        allowed = quotas.limit(quota)
        if allowed is not None and allowed < wanted:
            so = f"It works, with {allowed} at most" if allowed else "It deploys, but there no job can start"
            text.say(
                f"warning: this account may run {allowed} vCPUs at once of the quota {quota.name!r}, and the stack "
                f"asks for up to {wanted}. {so}. Ask AWS for more:"
            )
            text.say(
                f"  aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {quota.code} "
                f"--desired-value {wanted}{target.aws}"
            )


def _check_docker() -> None:
    problem = docker.missing()
    if problem:
        text.say(f"note: {problem}. The stack deploys without it; `spotbatch image push` needs it")


def _make_service_roles(*, yes: bool) -> None:
    for role in _missing_service_roles():
        if not agreed(f"The account has no {role}, which AWS Batch on Spot needs. Create it?", yes=yes):
            raise Unavailable(f"without {role} no Spot instance can start")
        preflight.make_service_role(role)
        text.say(f"created {role}")


def _missing_service_roles() -> Sequence[str]:
    """None where the caller may not look: whoever may deploy but not read IAM has had them made by somebody else."""
    try:
        return preflight.missing_service_roles()
    except Denied as error:
        text.say(f"note: whether the account has the roles of AWS Batch and Spot cannot be told: {error}")
        return ()


def _needs_bootstrap() -> bool:
    """Not where the caller may not look: `cdk deploy` says it in its own words if there is no bootstrap."""
    try:
        return preflight.bootstrap_version() < preflight.LEAST_BOOTSTRAP_VERSION
    except Denied as error:
        text.say(f"note: whether the CDK is bootstrapped here cannot be told: {error}")
        return False


def _bootstrap(program: str, folder: Path, who: Caller, target: DeployTarget, *, yes: bool) -> None:
    if not _needs_bootstrap():
        return
    where = f"aws://{who.account}/{who.region}"
    if not agreed(f"The CDK has not been bootstrapped in {where} (once for each account and region). Do it?", yes=yes):
        raise Unavailable(f"without it nothing can be deployed: `cdk bootstrap {where}{target.aws}`")
    cdk.run(program, folder, ["bootstrap", where, "--app", "cdk.out"], again=target.script(_SCRIPT), say=text.say)


def _keep_pushed_image(stack: str) -> None:
    """A deployment's revision names the image by the template's tag; if nobody pushed that, the last pushed one counts.

    Without this, a change of settings after `image push` would leave jobs with an image that is not there. Not so for a
    tag that is new: whoever asks for one will push it.
    """
    outputs = stack_outputs.read(stack)
    kept = images.last_pushed(outputs.job_definition, outputs.repository_uri)
    if kept is None:
        return
    revision = images.register_with_image(outputs.job_definition, kept)
    text.say(f"{revision} keeps the image that was pushed last, {kept}")


def _say_if_not_pushed(stack: str, tag: str) -> None:
    uri = stack_outputs.read(stack).repository_uri
    if uri and images.digest_of(uri, tag) is None:
        text.say(f"note: {uri}:{tag} is not there yet: push it, or an image of any tag with `spotbatch image push`")


def _say_what_would_be_done(target: DeployTarget, old: Stack | None) -> None:
    text.say("dry run, nothing was changed. Without --dry-run this would:")
    if old and old.status.endswith("_IN_PROGRESS") and old.status != stacks.EMPTY:
        text.say(f"  wait until CloudFormation has ended what it does ({old.status})")
    for role in _missing_service_roles():
        text.say(f"  create the service-linked role {role}")
    if _needs_bootstrap():
        text.say("  bootstrap the CDK in this account and region")
    verb = "update" if old and old.status != stacks.EMPTY else "create"
    text.say(f"  {verb} the stack {target.stack} from cdk.out")


def _say_what_next(target: DeployTarget) -> None:
    outputs = stack_outputs.read(target.stack)
    rows = [
        ["ECRRepositoryURI", outputs.repository_uri],
        ["JobQueueName", outputs.job_queue],
        ["JobDefinitionName", outputs.job_definition],
        ["ComputeEnvironmentName", outputs.compute_environment],
        ["ArtifactsBucketName", outputs.bucket],
        ["LogGroupName", outputs.log_group],
    ]
    text.table(["output", "value"], rows)
    options = f" --stack {target.stack}{target.aws}"
    text.say("next:")
    text.say(f"  spotbatch image push . --file examples/flights/Dockerfile{options}")
    text.say(f"  spotbatch submit{options} --name flights --array 12 --watch -- python -m flights.bootstrap")
    text.say(f"  spotbatch results flights results/{options}")
