"""`spotbatch cost`: what a job cost beside its on-demand twin, and what interruptions wasted."""

from decimal import Decimal
from typing import Annotated, Final

import typer

from spotbatch.aws.jobs import Jobs
from spotbatch.batch.job import Job
from spotbatch.cli import finding
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.pricing.report import CostReport, shown_usd

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_SHOWN_GROUPS: Final = 20
_BAR_CELLS: Final = 24


@app.command()
def cost(
    job: JobArgument,
    by: Annotated[str | None, typer.Option(help="Also by job, array, queue, day or tag:NAME.")] = None,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a job cost beside its on-demand twin, and what interruptions, retries and idle hosts wasted."""
    from spotbatch.cli.billing import bill

    jobs = Jobs()
    found = jobs.get(finding.job_id(job, jobs=jobs, stack=stack, queue=queue))
    made = bill(jobs, found, stack=stack)
    groups = made.report.by(by) if by else ()
    if as_json:
        return json.write({"job_id": found.id, **made.report.to_json(), "gathering_notes": list(made.notes)})
    _show(found, made.report)
    if groups:
        text.say()
        rows = [
            (one.name, shown_usd(one.paid_usd), shown_usd(one.on_demand_usd), str(one.attempts), str(one.interruptions))
            for one in groups[:_SHOWN_GROUPS]
        ]
        text.table((by or "", "PAID", "ON DEMAND", "ATTEMPTS", "INTERRUPTED"), rows, right=(1, 2, 3, 4))
    for line in (*made.notes, *(made.report.notes if made.report.hosts else ())):
        text.say(f"note: {line}")
    for line in made.report.sources if made.report.hosts else ():
        text.say(text.styled(f"prices: {line}", "dim"))
    return None


def _show(job: Job, report: CostReport) -> None:
    if not report.hosts:
        return text.say(f"{job.name} ({job.id}) has run on no host that is known: it cost nothing that can be shown")
    reclaimed = f", {report.reclaimed_hosts} of them reclaimed" if report.reclaimed_hosts else ""
    head = f"{job.name} ({job.id}): {len(report.attempts)} attempts on {len(report.hosts)} hosts{reclaimed}"
    text.say(text.styled(head, "bold"))
    percent = "" if report.saving_percent is None else f"  ({report.saving_percent:.0f} %)"
    _amount("paid for the hosts", report.paid_usd)
    _amount("the same work on demand", report.on_demand_undisturbed_usd)
    _amount("saved", report.saving_usd, percent)
    if report.credit_usd:
        _amount("waived in a host's first hour", report.credit_usd)
    text.say("where it went")
    for part, amount in report.parts.items():
        if amount:
            share = amount / report.gross_usd if report.gross_usd else Decimal(0)
            bar = "█" * round(share * _BAR_CELLS) or "▏"
            text.say(f"  {part.value:<24}{shown_usd(amount):>16}  {share * 100:5.1f} %  {bar}")
    for advice in report.advice:
        text.say(f"{'warning' if advice.is_warning else 'advice'}: {advice.text}")
    return None


def _amount(label: str, amount: Decimal, more: str = "") -> None:
    text.say(f"  {label:<30}{shown_usd(amount):>16}{more}")
