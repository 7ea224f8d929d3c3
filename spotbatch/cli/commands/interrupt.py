"""`spotbatch interrupt`: interrupt one of the stack's Spot hosts as EC2 would, through AWS Fault Injection Service."""

import time
from typing import Final

import typer

from spotbatch.aws import stack_outputs
from spotbatch.aws.experiments import Experiments, ExperimentState
from spotbatch.batch.errors import NotFound, Unavailable
from spotbatch.cli.options import JsonOption, StackOption
from spotbatch.cli.output import json, text

_WAIT_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 2.0
_BEGINNING: Final = frozenset({"pending", "initiating"})

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def interrupt(stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Interrupt one Spot host of the stack: a rebalance recommendation and the two-minute notice, then EC2 takes it.

    FIS chooses the host among those that run. It needs the stack's setting fault_injection, and costs 0.10 USD a minute
    on AWS. In the local region `spotbatch local interrupt` does the same for any template, by host and number.

    Example: spotbatch interrupt && spotbatch watch convert
    """
    outputs = stack_outputs.read(stack)
    if not outputs.interruption_experiment:
        raise NotFound(
            f"the stack {outputs.stack} has no experiment that interrupts hosts: "
            "./deploy.sh --set fault_injection=true adds it; in the local region `spotbatch local interrupt` needs none"
        )
    begun = _begun(Experiments(), outputs.interruption_experiment)
    if as_json:
        json.write({"experiment_id": begun.experiment_id, "status": begun.status, "reason": begun.reason})
    if begun.status == "failed":
        raise Unavailable(f"the experiment {begun.experiment_id} failed: {begun.reason}")
    if not as_json:
        text.say(
            f"experiment {begun.experiment_id} is {begun.status}: one Spot host of {outputs.stack} has its notice and "
            "goes in two minutes"
        )


def _begun(experiments: Experiments, template_id: str) -> ExperimentState:
    """The experiment once FIS has found its target, or its state after a minute."""
    state = experiments.start(template_id)
    give_up = time.monotonic() + _WAIT_SECONDS
    while state.status in _BEGINNING and time.monotonic() < give_up:
        time.sleep(_PAUSE_SECONDS)
        state = experiments.state(state.experiment_id)
    return state
