"""`spotbatch deploy`: check, show the idle cost, synthesize once, bootstrap where needed, deploy, say what is next."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from spotbatch.aws import preflight, stack_outputs, stacks
from spotbatch.aws.preflight import Caller
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.cli import where
from spotbatch.cli.asking import agreed
from spotbatch.cli.options import YesOption
from spotbatch.cli.output import text

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)

_SYNTH_LIMIT_SECONDS: Final = 300
_CDK_LIMIT_SECONDS: Final = 3600
_CDK_MAJOR: Final = "2"  # the newest of npm is 3, which cannot read what this library writes
_HELP_STACK: Final = "The stack's name; several stacks can live side by side."
_HELP_SET: Final = "A setting of the stack, e.g. --set max_vcpus=64 --set egress=public (JSON values; repeatable)."

ProfileOption = Annotated[str | None, typer.Option("--profile", help="A profile of the AWS CLI.")]
RegionOption = Annotated[str | None, typer.Option("--region", help="The AWS region.")]
StackNameOption = Annotated[str, typer.Option("--stack-name", help=_HELP_STACK)]


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
    point_at(profile, region)
    project = _project()
    chosen = _settings(settings or [])
    cdk = _cdk(project)
    who = preflight.caller()
    text.say(f"account {who.account}, region {who.region}, stack {stack_name} (as {who.arn})")
    _check_state(stack_name)
    template = _synthesize(project, stack_name, who, chosen)
    _show_idle_cost(template)
    _check_quota(template)
    if dry_run:
        _say_what_would_be_done(stack_name)
        return
    if not agreed(f"Deploy {stack_name} to account {who.account} in {who.region}?", yes=yes):
        raise typer.Exit(1)
    _make_service_roles(yes=yes)
    _bootstrap(cdk, project, who, yes=yes)
    _run_cdk(cdk, project, ["deploy", stack_name, "--app", "cdk.out", "--require-approval", "never"])
    _say_what_next(stack_name)


def point_at(profile: str | None, region: str | None) -> None:
    """Make the choice this process's AWS settings, and those of the CDK that it starts."""
    if profile:
        where.use_profile(profile)
    if region:
        where.use_region(region)


def _project() -> Path:
    """The folder with app.py: the checkout that this runs from. Raises NotFound."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (folder / "app.py").is_file() and (folder / "cdk.json").is_file():
            return folder
    raise NotFound("there is no app.py and cdk.json here: run this in a checkout of spotbatch")


def _settings(given: Sequence[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise InvalidInput(f"--set takes KEY=VALUE, such as --set max_vcpus=64, not {each!r}")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value  # a plain word needs no quotes
    return found


def _cdk(project: Path) -> str:
    """The CDK's command line: the project's own, else one on PATH. Raises NotFound or InvalidInput with the fix."""
    own = project / "node_modules" / ".bin" / "cdk"
    found = str(own) if own.exists() else shutil.which("cdk")
    if found is None:
        raise NotFound(
            "the CDK's command line is missing: `npm install` here installs the right one (./deploy.sh does)"
        )
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=False, timeout=60)
    version = asked.stdout.strip()
    if not version.startswith(f"{_CDK_MAJOR}."):
        raise InvalidInput(f"{found} is version {version or 'unknown'}; version {_CDK_MAJOR} is needed: `npm install`")
    return found


def _check_state(stack: str) -> None:
    """Raises Unavailable for a stack in a state that a deployment cannot start from, with the way out."""
    now = stacks.status(stack)
    if now is None:
        return
    if now in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED", "CREATE_FAILED"):
        raise Unavailable(
            f"stack {stack} is {now}: it can only be removed. Run ./cleanup.sh --stack-name {stack}, then this again"
        )
    if now == "UPDATE_ROLLBACK_FAILED":
        raise Unavailable(
            f"stack {stack} is {now}: run `aws cloudformation continue-update-rollback --stack-name {stack}`, then this"
        )
    if now.endswith("_IN_PROGRESS"):
        raise Unavailable(f"stack {stack} is {now}: something else changes it; wait until that has ended")
    text.say(f"stack {stack} is there already ({now}): it will be updated")


def _synthesize(project: Path, stack: str, who: Caller, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Run app.py once; everything after works on cdk.out. The account's zones go in, or it would see two only."""
    zones = preflight.zones()
    context: dict[str, Any] = {
        "stack_name": stack,
        f"availability-zones:account={who.account}:region={who.region}": list(zones),
    }
    if settings:
        context["spotbatch"] = {**_settings_of_the_project(project), **settings}
    environment = {
        **os.environ,
        "CDK_DEFAULT_ACCOUNT": who.account,
        "CDK_DEFAULT_REGION": who.region,
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(project / "cdk.out"),
    }
    text.say(f"synthesizing for {len(zones)} zones ({', '.join(zones)}) ...")
    shutil.rmtree(project / "cdk.out", ignore_errors=True)
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=project, env=environment, check=False, timeout=_SYNTH_LIMIT_SECONDS
    )
    if run.returncode:
        raise InvalidInput("app.py could not be synthesized: what it printed above says why")
    found: Mapping[str, Any] = json.loads((project / "cdk.out" / f"{stack}.template.json").read_text(encoding="utf-8"))
    return found


def _settings_of_the_project(project: Path) -> Mapping[str, Any]:
    context = json.loads((project / "cdk.json").read_text(encoding="utf-8")).get("context", {})
    found: Mapping[str, Any] = context.get("spotbatch", {})
    return found


def _show_idle_cost(template: Mapping[str, Any]) -> None:
    from spotbatch.pricing.footprint import footprint, minimum_vcpus
    from spotbatch.pricing.units import PROVENANCE, idle_cost, total

    lines = idle_cost(footprint(template))
    text.say(f"while idle the stack costs about {total(lines):.2f} USD a month:")
    for line in lines:
        if line.usd > Decimal(0):
            text.say(f"  {line.usd:>8.2f}  {line.quantity:g} {line.description}")
    if kept := minimum_vcpus(template):
        text.say(f"  and the instances for {kept} vCPUs that min_vcpus keeps running")
    text.say(f"  ({PROVENANCE}; storage, logs and traffic come with use)")


def _check_quota(template: Mapping[str, Any]) -> None:
    wanted = max(
        (
            int(resource["Properties"]["ComputeResources"]["MaxvCpus"])
            for resource in template["Resources"].values()
            if resource["Type"] == "AWS::Batch::ComputeEnvironment"
        ),
        default=0,
    )
    quota = preflight.spot_vcpu_quota()
    if quota is not None and quota < wanted:
        text.say(
            f"warning: the account may run {quota} Spot vCPUs, the stack asks for up to {wanted}. Ask for more: "
            f"aws service-quotas request-service-quota-increase --service-code ec2 "
            f"--quota-code {preflight.SPOT_VCPU_QUOTA} --desired-value {wanted}"
        )


def _make_service_roles(*, yes: bool) -> None:
    for role in preflight.missing_service_roles():
        if not agreed(f"The account has no {role}, which AWS Batch on Spot needs. Create it?", yes=yes):
            raise Unavailable(f"without {role} no Spot instance can start")
        preflight.make_service_role(role)
        text.say(f"created {role}")


def _bootstrap(cdk: str, project: Path, who: Caller, *, yes: bool) -> None:
    version = preflight.bootstrap_version()
    if version >= preflight.LEAST_BOOTSTRAP_VERSION:
        return
    place = f"aws://{who.account}/{who.region}"
    if not agreed(f"The CDK has not been bootstrapped in {place} (once for each account and region). Do it?", yes=yes):
        raise Unavailable(f"without it nothing can be deployed: `cdk bootstrap {place}`")
    _run_cdk(cdk, project, ["bootstrap", place, "--app", "cdk.out"])


def _run_cdk(cdk: str, project: Path, arguments: list[str]) -> None:
    """Run the CDK where the user sees it. Raises Unavailable if it fails."""
    text.say(f"$ cdk {' '.join(arguments)}")
    run = subprocess.run([cdk, *arguments], cwd=project, check=False, timeout=_CDK_LIMIT_SECONDS)
    if run.returncode:
        raise Unavailable(f"`cdk {arguments[0]}` ended with exit code {run.returncode}: what it printed above says why")


def _say_what_would_be_done(stack: str) -> None:
    missing = preflight.missing_service_roles()
    text.say("dry run, nothing was changed. Without --dry-run this would:")
    for role in missing:
        text.say(f"  create the service-linked role {role}")
    if preflight.bootstrap_version() < preflight.LEAST_BOOTSTRAP_VERSION:
        text.say("  bootstrap the CDK in this account and region")
    text.say(f"  deploy {stack} from cdk.out")


def _say_what_next(stack: str) -> None:
    outputs = stack_outputs.read(stack)
    rows = [
        ["ECRRepositoryURI", outputs.repository_uri],
        ["JobQueueName", outputs.job_queue],
        ["JobDefinitionName", outputs.job_definition],
        ["ComputeEnvironmentName", outputs.compute_environment],
        ["ArtifactsBucketName", outputs.bucket],
        ["LogGroupName", outputs.log_group],
    ]
    text.table(["output", "value"], rows)
    text.say("next:")
    text.say(f"  spotbatch image push . --file examples/flights/Dockerfile --stack {stack}")
    text.say(f"  spotbatch submit --stack {stack} --name flights --array 12 --watch -- python -m flights.bootstrap")
    text.say("  spotbatch results flights results/")
