"""`spotbatch cost`: what a job cost compared with its on-demand twin, and what interruptions wasted."""

import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from spotbatch.aws import stack_outputs
from spotbatch.aws.jobs import Jobs
from spotbatch.batch.environment import STACK_TAG
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.batch.job import Job
from spotbatch.cli.options import JobArgument, JsonOption, QueueOption, StackOption
from spotbatch.cli.output import json, text
from spotbatch.pricing.completeness import Completeness, Coverage
from spotbatch.pricing.document import document_of
from spotbatch.pricing.reconcile import Day
from spotbatch.pricing.reconcile import reconcile as reconciled
from spotbatch.pricing.report import CostReport, Group, shown_usd
from spotbatch.runs import lookup, parse

if TYPE_CHECKING:
    from spotbatch.pricing.cur import HostDay

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_SHOWN_GROUPS: Final = 20
_BAR_CELLS: Final = 24
_ACCOUNT_DIGITS: Final = 12


@app.command()
def cost(
    job: JobArgument,
    by: Annotated[str | None, typer.Option(help="Also by job, array, queue, day or tag:NAME.")] = None,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Beside what AWS billed, by day (Cost Explorer: 0.01 USD a request).")
    ] = False,
    tag: Annotated[
        str | None,
        typer.Option(help="With --reconcile: a cost allocation tag, KEY=VALUE (default: the stack's)."),
    ] = None,
    focus: Annotated[
        Path | None, typer.Option(help="Also write the bill as FOCUS 1.2 (CSV): a row for what each attempt cost.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="With --focus: the billing account's 12 digits (default: the one in use).")
    ] = None,
    cur: Annotated[
        Path | None,
        typer.Option(help="Beside split cost allocation data: a CSV of the Cost and Usage Report, gzipped or not."),
    ] = None,
    queue: QueueOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a job or a run cost beside its on-demand twin, and what interruptions, retries and idle hosts wasted.

    Examples:

    spotbatch cost flights --by day

    spotbatch cost flights --reconcile

    spotbatch cost flights --focus flights.csv
    """
    from spotbatch.runs.bill import bill

    if account is not None and focus is None:
        raise InvalidInput("--account is of --focus: give that too")
    if tag is not None and not reconcile:
        raise InvalidInput("--tag says whose bill to look at: give --reconcile too")
    jobs = Jobs()
    run = jobs.describe(lookup.job_ids(job, jobs=jobs, stack=stack, queue=queue))
    if not run:
        raise NotFound(f"there is no job {job!r} here any more (AWS Batch forgets a job about a week after its end)")
    made = bill(jobs, run, stack=stack)
    groups = made.report.by(by) if by else ()
    days = _billed(run, made.report, tag, stack) if reconcile else ()
    hosts = _allocated(cur, made.report) if cur else ()
    if focus:
        _write_focus(focus, made.report, account)
    if as_json:
        allocated = {"allocated": hosts} if cur else {}
        billed = {"billed": [day.to_json() for day in days]} if reconcile else {}
        plain = {"job_id": run[0].id, "job_ids": [one.id for one in run], **document_of(made.report)}
        known = {"completeness": made.completeness.to_json(), "gathering_notes": list(made.notes)}
        return json.write({**plain, **billed, **allocated, **known})
    _show(run, made.report, made.completeness)
    _show_groups(by or "", groups, made.completeness)
    if reconcile:
        _show_billed(days)
    if cur:
        _show_allocated(hosts)
    for line in (*made.notes, *(made.report.notes if made.report.hosts else ())):
        text.say(f"note: {line}")
    for line in made.report.sources if made.report.hosts else ():
        text.say(text.styled(f"prices: {line}", "dim"))
    return None


def _billed(run: Sequence[Job], report: CostReport, tag: str | None, stack: str | None) -> tuple[Day, ...]:
    """The report's days next to Cost Explorer's."""
    from spotbatch.aws.prices import billed_by_day

    now = time.time()
    given = parse.pairs([tag] if tag else [], option="--tag") or {STACK_TAG: stack_outputs.read(stack).stack}
    pair = next(iter(given.items()))
    start = min(one.created_at or now for one in run)
    stop = max(one.stopped_at or now for one in run)
    return reconciled(report, billed_by_day(pair, start=start, stop=stop))


def _write_focus(path: Path, report: CostReport, account: str | None) -> None:
    from spotbatch.aws import preflight
    from spotbatch.pricing.focus import focus_csv

    if account is not None and not (len(account) == _ACCOUNT_DIGITS and account.isdecimal()):
        raise InvalidInput(f"an AWS account has {_ACCOUNT_DIGITS} digits, not {account!r}")
    written = focus_csv(report, account=account or preflight.caller().account)
    try:
        path.write_text(written, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"--focus {path}: it cannot be written there ({error.strerror})") from error
    text.hint(f"wrote {path}: {written.count(chr(10)) - 1:,} charges, FOCUS 1.2; estimates, not an invoice")


def _allocated(path: Path, report: CostReport) -> "tuple[HostDay, ...]":
    from spotbatch.pricing.cur import beside, read_split

    try:
        raw = path.read_bytes()
    except OSError as error:
        raise NotFound(f"no Cost and Usage Report can be read from {path}: {error.strerror}") from error
    return beside(report, read_split(str(path), raw, {each.instance_id for each in report.hosts}))


def _show_allocated(hosts: "Sequence[HostDay]") -> None:
    text.say()
    rows = [
        (one.day, one.instance_id, *(shown_usd(usd) for usd in (one.split_usd, one.unused_usd, one.reckoned_usd)))
        for one in hosts[:_SHOWN_GROUPS]
    ]
    text.table(("DAY (UTC)", "HOST", "AWS: TASKS", "AWS: UNUSED", "RECKONED"), rows, right=(2, 3, 4))
    billed, reckoned = sum(one.allocated_usd for one in hosts), sum(one.reckoned_usd for one in hosts)
    text.say(f"AWS allocated {shown_usd(Decimal(billed))} on these hosts, and we reckon {shown_usd(Decimal(reckoned))}")
    text.hint(
        "AWS's figures hold every task on these hosts, ours this run's part; AWS divides by the hour and by what was "
        "reserved or used, so that tasks, unlike hosts, need not agree"
    )


def _show_billed(days: Sequence[Day]) -> None:
    text.say()
    rows = [
        (
            day.day,
            shown_usd(day.reckoned_usd),
            "nothing yet" if day.billed_usd is None else shown_usd(day.billed_usd),
            "" if day.difference_usd is None else shown_usd(day.difference_usd),
        )
        for day in days
    ]
    text.table(("DAY (UTC)", "RECKONED", "AWS BILLED", "AWS MORE BY"), rows, right=(1, 2, 3))
    text.hint(
        "AWS's figure holds all that carries the tag: other runs, volumes, the NAT gateway. Cost Explorer runs a day "
        "behind, and knows a tag only once it is activated as a cost allocation tag"
    )


def _show_groups(by: str, groups: Sequence[Group], known: Completeness) -> None:
    if not groups:
        return
    text.say()
    rows = [
        (one.name, shown_usd(one.paid_usd), shown_usd(one.on_demand_usd), str(one.attempts), str(one.interruptions))
        for one in groups[:_SHOWN_GROUPS]
    ]
    text.table((by, _so(known, "PAID").upper(), "ON DEMAND", "ATTEMPTS", "INTERRUPTED"), rows, right=(1, 2, 3, 4))


def _show(run: Sequence[Job], report: CostReport, known: Completeness) -> None:
    more = f" and {text.count(len(run) - 1, 'more job')}" if len(run) > 1 else ""
    called = f"{run[0].name} ({run[0].id}{more})"
    if not report.hosts:
        return text.say(f"{called} has run on no host that is known: it cost nothing that can be shown")
    reclaimed = f", {report.reclaimed_hosts} of them reclaimed" if report.reclaimed_hosts else ""
    head = (
        f"{called}: {text.count(len(report.attempts), 'attempt')} on {text.count(len(report.hosts), 'host')}{reclaimed}"
    )
    text.say(text.styled(head, "bold"))
    percent = "" if report.saving_percent is None else f"  ({report.saving_percent:.0f} %)"
    lacks = known.coverage is Coverage.AT_LEAST
    _amount(_so(known, "paid for the hosts"), report.paid_usd, _why(known))
    _amount(_so(known, "the same work on demand"), report.on_demand_undisturbed_usd)
    _amount("saved, of what is known" if lacks else _so(known, "saved"), report.saving_usd, percent)
    if report.credit_usd:
        _amount("waived in a host's first hour", report.credit_usd)
    from spotbatch.runs.bill import VOLUME_GIB

    for line in report.other:
        _amount(f"beside it: {line.description}", line.usd, f"  ({VOLUME_GIB} GiB a host)")
    waived = ", with what was waived" if report.credit_usd else ""
    text.say(f"{_so(known, 'where it went')}{waived}: {shown_usd(report.gross_usd)}")
    for part, amount in report.parts.items():
        if round(amount, 6):  # amounts shown as zero are left out
            share = amount / report.gross_usd if report.gross_usd else Decimal(0)
            bar = "█" * round(share * _BAR_CELLS) or "▏"
            text.say(f"  {part.value:<24}{shown_usd(amount):>16}  {share * 100:5.1f} %  {bar}")
    for packed in report.packing:
        text.say(packed.text)
    for advice in report.advice:
        text.say(f"{'warning' if advice.is_warning else 'advice'}: {advice.text}")
    return None


def _so(known: Completeness, label: str) -> str:
    """A label with the qualifier of its figure."""
    return {Coverage.SO_FAR: f"{label} so far", Coverage.AT_LEAST: f"{label}, at least"}.get(known.coverage, label)


def _why(known: Completeness) -> str:
    """Why a total is incomplete, if no note says so already."""
    return f"  ({known.why[0]})" if known.coverage is Coverage.SO_FAR else ""


def _amount(label: str, amount: Decimal, more: str = "") -> None:
    text.say(f"  {label:<30}{shown_usd(amount):>16}{more}")
