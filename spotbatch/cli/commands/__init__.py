"""The commands: the module of each, and its line in `spotbatch --help`. Modules are imported only when run."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One command. `module` holds `app`, a typer.Typer. `is_local_too` is False if --local does not apply."""

    name: str
    module: str
    help: str
    section: str
    is_local_too: bool = True


_DAILY: Final = "The daily loop"
_MONEY: Final = "Money"
_CLOUD: Final = "AWS"
_HERE: Final = "On this machine"

COMMANDS: Final = tuple(
    Entry(name=name, module=f"spotbatch.cli.commands.{module}", help=text, section=section, is_local_too=too)
    for section, too, entries in (
        (
            _DAILY,
            True,
            (
                ("submit", "submit", "Send a command to AWS Batch: one job, an array, or one child an input."),
                ("watch", "watch", "Follow a job to its end: progress, retries, interruptions, failures."),
                ("list", "list_jobs", "The jobs of the queue, newest first."),
                ("show", "show", "One job's whole story: attempts, hosts, reasons, checkpoints."),
                ("logs", "logs", "What a job wrote; -f follows."),
                ("results", "results", "Fetch a job's outputs into a folder, and verify them."),
                ("cancel", "cancel", "Stop a job, or what is left of an array."),
                ("retry", "retry", "Run the failed children again, from their checkpoints."),
                ("dashboard", "dashboard", "All of this in a browser: children, hosts, money, logs, live."),
                ("doctor", "doctor", "Why does a job not run? The cause, the evidence and the fix."),
                ("audit", "audit", "What of a template or a live queue costs money, loses work, or cannot be updated."),
                ("interrupt", "interrupt", "Interrupt one of the stack's Spot hosts, as EC2 would."),
                ("events", "events", "What AWS Batch and EC2 told: job events, blocked queues, Spot notices."),
            ),
        ),
        (
            _MONEY,
            True,
            (
                ("cost", "cost", "What a job cost beside its on-demand twin, and what interruptions wasted."),
                ("estimate", "estimate", "What a run would cost on Spot and on demand."),
                ("simulate", "simulate", "Play a run against Spot traces, many times, with a seed."),
                ("prices", "prices", "Prices of instance types: show, fetch."),
            ),
        ),
        (
            _HERE,
            False,
            (
                ("local", "local", "AWS Batch on this machine: up, down, status, env, interrupt, load."),
                ("rehearse", "rehearse", "Is my job Spot-safe? Run it under interruptions and compare the result."),
                ("snapshots", "snapshots", "Dump a command at the notice and go on from there: install, check."),
                ("completion", "completion", "The shell's completion: bash, zsh, fish."),
            ),
        ),
        (
            _CLOUD,
            False,
            (
                ("deploy", "deploy", "Deploy the stack (what ./deploy.sh runs)."),
                ("cleanup", "cleanup", "Take the stack down, and say what is left (what ./cleanup.sh runs)."),
                ("image", "image", "Build the container image and push it to the stack's registry."),
            ),
        ),
    )
    for name, module, text in entries
)
BY_NAME: Final = {entry.name: entry for entry in COMMANDS}
