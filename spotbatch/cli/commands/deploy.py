"""`spotbatch deploy`: show what a deployment would do and cost, ask, deploy, and say what comes next."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from spotbatch.aws import preflight, stack_outputs, stacks
from spotbatch.aws.stack_outputs import StackOutputs
from spotbatch.aws.stacks import Stack
from spotbatch.cli.confirm import agreed
from spotbatch.cli.deploy_options import ProfileOption, RegionOption, StackNameOption, interruptible, point_at
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text
from spotbatch.deployment import cdk, docker, egress
from spotbatch.deployment import deploy as steps
from spotbatch.deployment.deploy import Deployed, Plan
from spotbatch.deployment.deploy_target import DeployTarget, check_stack_name

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

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
    old = steps.current(target, is_dry=dry_run, say=text.say)
    _show_stack(old)
    deployed = steps.template_of(old)
    if not deployed:
        chosen = _with_egress(folder, chosen, may_ask=not (dry_run or yes))
    plan = steps.plan(
        target, folder, chosen, program=program, caller=who, stack=old, deployed=deployed, say=text.say
    )  # fmt: skip
    if deployed:
        _show_changes(plan)
        _show_jobs(plan)
    _show_idle_cost(plan.template)
    _show_quotas(plan)
    _show_docker()
    if dry_run:
        _say_what_would_be_done(plan)
        return
    if not agreed(f"Deploy {target.stack} to account {who.account} in {who.region}?", yes=yes):
        raise typer.Exit(1)
    _show_deployed(steps.carry_out(plan, agreed=lambda question: agreed(question, yes=yes), say=text.say), target)


def _show_stack(now: Stack | None) -> None:
    if now is None:
        return
    if now.status == stacks.EMPTY:
        text.say(f"stack {now.name} is {now.status}: a first deployment was interrupted before it made anything;")
        text.say("  the empty stack is removed first")
    else:
        text.say(f"stack {now.name} exists ({now.status}): it will be updated")


def _with_egress(folder: Path, chosen: Mapping[str, Any], *, may_ask: bool) -> Mapping[str, Any]:
    """The settings, with the egress option that the user chooses now and that cdk.json then stores.

    Asked once, before the first deployment, since it determines what an idle stack costs; not if it is already set or
    nobody can be asked.
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


def _show_changes(plan: Plan) -> None:
    changed = steps.changed_settings(plan)
    if not changed:
        return
    text.say("settings that change:")
    for key, (before, after) in changed.items():
        text.say(f"  {key}: {_shown(before)} -> {_shown(after)}")
    text.say("  (to keep one, give it with --set, or write it into cdk.json, where it stays)")


def _show_jobs(plan: Plan) -> None:
    """What an update means for running or waiting jobs."""
    affected = steps.affected_jobs(plan)
    for queue, count in affected.ended.items():
        text.say(f"warning: this update removes the queue {queue} and ends its {text.count(count, 'job')}")
    if affected.others:
        grace = f"have {affected.grace_minutes} minutes to end" if affected.grace_minutes is not None else "end at once"
        text.say(
            f"note: {text.count(affected.others, 'job')} running or waiting. Should the update replace hosts, jobs"
        )
        text.say(f"  on them {grace}, and are then retried")


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _show_idle_cost(template: Mapping[str, Any]) -> None:
    from spotbatch.cli.output.idle_cost import show_lines
    from spotbatch.pricing.units import PROVENANCE

    usd = show_lines(template)
    text.say(f"while nothing runs the stack costs about {usd:.2f} USD a month; what jobs use and store comes on top")
    text.say(f"  (prices: {PROVENANCE}; `spotbatch estimate --idle` shows this again)")


def _show_quotas(plan: Plan) -> None:
    for short in steps.quota_shortfalls(plan.template):
        so = f"It works, with {short.allowed} at most" if short.allowed else "It deploys, but no job can start there"
        text.say(
            f"warning: this account may run {short.allowed} vCPUs at once of the quota {short.quota.name!r}, and the "
            f"stack asks for up to {short.wanted}. {so}. Ask AWS for more:"
        )
        text.say(
            f"  aws service-quotas request-service-quota-increase --service-code ec2 --quota-code {short.quota.code} "
            f"--desired-value {short.wanted}{plan.target.aws}"
        )


def _show_docker() -> None:
    problem = docker.missing()
    if problem:
        text.say(f"note: {problem}. The stack deploys without it; `spotbatch image push` needs it")


def _say_what_would_be_done(plan: Plan) -> None:
    text.say("dry run, nothing was changed. Without --dry-run this would:")
    if plan.is_update and plan.stack is not None and plan.stack.status.endswith("_IN_PROGRESS"):
        text.say(f"  wait until CloudFormation has finished what it is doing ({plan.stack.status})")
    for role in steps.missing_service_roles(say=text.say):
        text.say(f"  create the service-linked role {role}")
    if steps.needs_bootstrap(say=text.say):
        text.say("  bootstrap the CDK in this account and region")
    text.say(f"  {'update' if plan.is_update else 'create'} the stack {plan.target.stack} from cdk.out")


def _show_deployed(done: Deployed, target: DeployTarget) -> None:
    if done.kept_image is not None:
        text.say(f"{done.kept_by} keeps the image that was pushed last, {done.kept_image}")
    if done.missing_image is not None:
        text.say(f"note: {done.missing_image} does not exist yet: push it, or any other with `spotbatch image push`")
    _say_what_next(done.outputs, target)


def _say_what_next(outputs: StackOutputs, target: DeployTarget) -> None:
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
