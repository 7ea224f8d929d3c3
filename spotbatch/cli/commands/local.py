"""`spotbatch local`: AWS Batch on this machine: start it in the background and query it."""

import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.cli.output import json, text
from spotbatch.local import region_file
from spotbatch.local.client import RegionClient
from spotbatch.local.region_file import RegionInfo
from spotbatch.local.start import UP_SECONDS, alive, start, stop
from spotbatch.runs import parse

_DOWN_SECONDS: Final = 60.0

app: Final = typer.Typer(
    add_completion=False, rich_markup_mode=None, no_args_is_help=True, help="AWS Batch on this machine."
)
Home = Annotated[
    Path | None,
    typer.Option(help="The region's folder (default: $SPOTBATCH_HOME, or spotbatch in the user's state folder)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs.")]
# localstack/awscli-local #76; boto3's changelog of 1.28.0
_READERS_OF_ENDPOINT: Final = (
    "the AWS CLI reads AWS_ENDPOINT_URL from 1.29 and 2.13 on, boto3 from 1.28 on; an older one talks to AWS"
)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def up(
    ctx: typer.Context,
    home: Home = None,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait until it is ready.")] = UP_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Start the local region in the background.

    Other options go to the region itself: --template FILE, --images FILE, --port, --notice-seconds, --boot-seconds,
    --idle-seconds, --vcpu-quota, --reclaims-per-host-hour, --trace-file, --faults hostile, --seed, --pass-env NAME,
    --keep-jobs-days, --runner ... (`python -m spotbatch.local --help` lists them).
    """
    folder = _folder(home)
    if (running := alive(folder)) is not None:
        if ctx.args:
            raise InvalidInput(
                f"the region in {folder} runs already, with the settings of its start: "
                f"`{region_file.command('down', folder)}` first, or `{region_file.command('load TEMPLATE', folder)}`"
            )
        return _say_up(running, as_json=as_json, is_new=False)
    return _say_up(start(folder, ctx.args, wait_seconds, say=text.hint), as_json=as_json, is_new=True)


def _say_up(info: RegionInfo, *, as_json: bool, is_new: bool) -> None:
    if as_json:
        return json.write(_described(info))
    state = "is ready" if is_new else "runs already"
    text.say(f"the local region {state} at {info.endpoint} (pid {info.pid})")
    home = Path(info.home)
    here = "--local with any command"
    if home != region_file.default_home().absolute():
        here = f"export SPOTBATCH_HOME={shlex.quote(info.home)}, then {here}"
    text.hint(f'use it: {here}; or for every AWS tool: eval "$({region_file.command("env", home)})"')
    return None


def _described(info: RegionInfo) -> dict[str, object]:
    return {
        "endpoint": info.endpoint,
        "home": info.home,
        "region": info.region,
        "account_id": info.account_id,
        "artifacts": info.artifacts,
        "version": info.version,
        "pid": info.pid,
    }


@app.command()
def down(
    home: Home = None,
    wait_seconds: Annotated[float, typer.Option(help="How long to wait for its end.")] = _DOWN_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Stop the local region. Jobs that it accepted come back at the next `up`."""
    folder = _folder(home)
    info = alive(folder)
    if info is None:
        return json.write({"was_running": False}) if as_json else text.say(f"no local region runs in {folder}")
    if not stop(info, wait_seconds):
        raise Unavailable(f"the local region (pid {info.pid}) has not ended within {wait_seconds:g} s")
    return json.write({"was_running": True}) if as_json else text.say("the local region has stopped")


@app.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Where the local region is, and its hosts."""
    folder = _folder(home)
    info = alive(folder)
    if info is None:
        if as_json:
            return json.write({"is_running": False, "home": str(folder)})
        return text.say(f"no local region runs in {folder}: start one with `{region_file.command('up', folder)}`")
    hosts = [host for host in RegionClient(info=info).hosts() if host.ended_at is None]
    if as_json:
        return json.write({"is_running": True, **_described(info), "hosts": hosts})
    text.say(f"the local region {info.region} runs at {info.endpoint} (pid {info.pid}), in {info.home}")
    if not hosts:
        return text.say("no host is up: hosts are launched when jobs need them")
    rows = [
        (
            host.instance_id,
            host.instance_type,
            host.zone,
            "Spot" if host.is_spot else "on-demand",
            f"{host.vcpus}",
            f"{host.running}",
            "noticed" if host.noticed_at else "up" if host.started_at else "booting",
        )
        for host in hosts
    ]
    text.table(("HOST", "TYPE", "ZONE", "PURCHASE", "VCPUS", "ATTEMPTS", "STATE"), rows, right=(4, 5))
    return None


@app.command()
def env(home: Home = None, as_json: AsJson = False) -> None:
    """The variables by which every AWS tool finds the local region: eval "$(spotbatch local env)"."""
    variables = _running(_folder(home)).environment()
    if as_json:
        return json.write(variables)
    for name, value in variables.items():
        text.say(f"export {name}={shlex.quote(value)}")
    # last, so that it hides nothing if the output is evaluated as one line
    text.say(f"# {_READERS_OF_ENDPOINT}")
    return None


@app.command()
def interrupt(
    count: Annotated[int | None, typer.Argument(help="How many hosts, chosen by the region.", min=1)] = None,
    host: Annotated[list[str] | None, typer.Option(help="A host by its id; may be given again.")] = None,
    notice_seconds: Annotated[float | None, typer.Option(help="From the notice to the reclaim.", min=0)] = None,
    rebalance: Annotated[bool, typer.Option(help="Only recommend a rebalance: the hosts stay.")] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Reclaim Spot hosts, as EC2 does: the notice first, then the host is gone."""
    if rebalance and notice_seconds is not None:
        raise InvalidInput("--rebalance reclaims no host: it takes no --notice-seconds")
    if count is not None and host:
        raise InvalidInput(f"give a number of hosts or --host, not both ({count} and {', '.join(host)})")
    client = RegionClient(info=_running(_folder(home)))
    wanted = 0 if host else count or 1
    chosen = client.interrupt(count=wanted, instance_ids=host or (), notice_seconds=notice_seconds, rebalance=rebalance)
    if as_json:
        return json.write({"instance_ids": chosen})
    if not chosen:
        return text.say("no Spot host is up to be reclaimed")
    given = "rebalance recommendation" if rebalance else "interruption notice"
    return text.say(f"{given} given to {', '.join(chosen)}")


@app.command()
def load(
    template: Annotated[Path, typer.Argument(help="A synthesized template, cdk.out/NAME.template.json.")],
    name: Annotated[str | None, typer.Option(help="The stack's name (default: from the file's name).")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A parameter's value; repeat it for more.")
    ] = None,
    imported: Annotated[
        list[str] | None, typer.Option("--import", metavar="NAME=VALUE", help="What Fn::ImportValue gives.")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a stack's Batch resources from its template (JSON or YAML), or update them as CloudFormation would."""
    from spotbatch.local.template_file import read_template, stack_name_of

    if not template.is_file():
        raise NotFound(f"there is no file {template}: `cdk synth` or `python app.py` writes cdk.out/NAME.template.json")
    info = _running(_folder(home))
    loaded = RegionClient(info=info).load_stack(
        name or stack_name_of(template),
        read_template(template),
        parameters=parse.pairs(parameter or (), option="--parameter"),
        imports=parse.pairs(imported or (), option="--import"),
        file=str(template.absolute()),
    )
    if as_json:
        return json.write(loaded)
    text.say(f"stack {loaded['stack']}: {len(loaded['registered'])} Batch resources registered")
    for left in loaded.get("left", ()):
        text.say(f"  still there: {left}")
    for key, value in loaded["outputs"].items():
        text.say(f"  {key} = {value}")
    return None


def _folder(home: Path | None) -> Path:
    return (home or region_file.default_home()).absolute()


def _running(folder: Path) -> RegionInfo:
    info = alive(folder)
    if info is None:
        raise Unavailable(f"no local region runs in {folder}: start one with `{region_file.command('up', folder)}`")
    return info
