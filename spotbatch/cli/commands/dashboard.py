"""`spotbatch dashboard`: a page in the browser on this machine, live or as one file."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import typer

from spotbatch.aws import session
from spotbatch.aws.artifacts import Artifacts
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import region_name
from spotbatch.batch.attempt_record import AttemptRecord
from spotbatch.batch.errors import InvalidInput, SpotbatchError, Unavailable
from spotbatch.batch.job import Attempt, Job
from spotbatch.batch.status import JobStatus
from spotbatch.cli.options import QueueOption, StackOption
from spotbatch.cli.output import text
from spotbatch.runs import artifact_store, destination, endpoint, lookup, records
from spotbatch.runs.inputs import InputNames, input_names
from spotbatch.runs.tracker import interruptions_of, is_interruption
from spotbatch.runs.units import redone_units, run_index
from spotbatch.web.export import export as page_of
from spotbatch.web.serve import prepare
from spotbatch.web.sources import Account, Actions, Finding, Findings, Sources, Story
from spotbatch.web.state import Target

app: Final = typer.Typer(add_completion=False, rich_markup_mode=None)
_UNITS_READ_AT_ONCE: Final = 20
_FAILED_NAMED: Final = 50
_ALL_READ_UP_TO: Final = 500  # units; of larger runs only those that were interrupted
_RECORDS_KEPT: Final = 5000


@app.command()
def dashboard(
    run: Annotated[
        str | None, typer.Option("--run", metavar="JOB", help="Begin with this run, job or array (id, name, run id).")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page of --run into one file, and serve nothing.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port (default: 8427, or any if that is taken).", min=0, max=65535)
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    actions: Annotated[bool, typer.Option("--actions", help="With buttons to cancel and retry.")] = False,
    queue: QueueOption = None,
    stack: StackOption = None,
) -> None:
    """Serve a page about runs on 127.0.0.1: live progress, children, hosts, money, logs. Read-only by default.

    The link that is printed has a key: without it nobody else on this machine sees the page. Ctrl-C ends it.
    """
    if export is not None:
        if run is None:
            raise InvalidInput("--export writes the page of one run: name it with --run JOB")
        return _export(run, export, queue, stack)
    jobs = Jobs()
    target = _target(run, jobs, queue, stack) if run is not None else None
    shown_queue = _queue(queue, stack, needs_one=run is None)
    served = prepare(
        sources_of(shown_queue, stack),
        port=port,
        actions=actions_of(stack) if actions else None,
        home=f"/{target.kind}s/{target.id}" if target is not None else "",
    )
    text.say(served.url)
    text.hint("read-only; --actions adds cancel and retry" if not actions else "with cancel and retry")
    text.hint("Ctrl-C ends it; jobs go on")
    if open_browser:
        import webbrowser

        webbrowser.open(served.url)
    try:
        served.run()
    except KeyboardInterrupt:
        text.hint("the dashboard has ended")
    return None


def _queue(queue: str | None, stack: str | None, *, needs_one: bool) -> str | None:
    """The queue whose runs are listed. A run that is named can be shown where there is no stack."""
    try:
        return destination.queue_of(stack=stack, queue=queue)
    except SpotbatchError:
        if needs_one:
            raise
        return None


def _target(run: str, jobs: Jobs, queue: str | None, stack: str | None) -> Target:
    """What `--run` means: one job, or a run of several."""
    ids = lookup.job_ids(run, jobs=jobs, stack=stack, queue=queue)
    return Target(kind="run", id=run) if len(ids) > 1 else Target(kind="job", id=ids[0])


def _export(run: str, path: Path, queue: str | None, stack: str | None) -> None:
    jobs = Jobs()
    target = _target(run, jobs, queue, stack)
    ids = lookup.job_ids(run, jobs=jobs, stack=stack, queue=queue)
    members = [jobs.get(each) for each in ids]
    open_ones = [job.id for job in members if not job.status.is_terminal]
    if open_ones:
        text.hint(f"{open_ones[0]} has not ended yet: the file has it as it stands now")
    page = page_of(sources_of(None, stack), jobs, target, members, time.time())
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"--export {path}: it cannot be written there ({error.strerror})") from error
    text.say(str(path))


def sources_of(queue: str | None, stack: str | None) -> Sources:
    """What the pages are made from: the same answers that the commands give."""
    kept = KeptRecords(stack=stack)
    return Sources(
        connect=_connect,
        place=lambda: "local region" if session.is_local() else f"AWS {region_name()}",
        queue=queue,
        words=text,
        run_id=artifact_store.run_id,
        members=lambda jobs, written: lookup.job_ids(written, jobs=jobs, stack=stack, queue=queue),
        account=lambda units, others: _account(kept, units, others),
        story=lambda job: _story(job, kept),
        findings=_findings,
        outcome=_outcome,
        is_interruption=is_interruption,
        interruptions_of=interruptions_of,
        redone_units=redone_units,
    )


def actions_of(stack: str | None) -> Actions:
    """What `--actions` allows: the same that `spotbatch cancel` and `spotbatch retry` do."""

    def stop(jobs: Jobs, job: Job) -> str:
        from spotbatch.runs.cancel import stop

        is_stopped = stop(jobs, job, "cancelled in the dashboard")
        return f"{job.name} is being stopped" if is_stopped else f"{job.name} has ended already ({job.status})"

    def again(jobs: Jobs, job: Job) -> str:
        from spotbatch.runs.retry import again, failed_indexes

        failed = failed_indexes(jobs, job)
        parts = again(jobs, job, failed, note=text.hint, stack=stack)
        return f"{len(failed)} run again from their checkpoints, as {', '.join(part.job_id for part in parts)}"

    return Actions(stop=stop, again=again)


def _connect() -> Jobs:
    """Clients for where the settings point now: a local region may have come back at another port."""
    if endpoint.wants_local():
        endpoint.use_local()
    return Jobs()


def _outcome(attempt: Attempt) -> str:
    from spotbatch.runs.attempt_story import outcome

    return outcome(attempt)


@dataclass(kw_only=True)
class KeptRecords:
    """The runtime's records, each unit's read once for every attempt that ended, some at a time."""

    stack: str | None
    _found: dict[tuple[str, int], list[AttemptRecord]] = field(default_factory=dict)
    _stores: dict[str, Artifacts] = field(default_factory=dict)
    _names: dict[str, InputNames] = field(default_factory=dict)

    def of(self, units: Sequence[Job]) -> tuple[list[AttemptRecord], tuple[str, ...]]:
        """What is known of the units' attempts that ended, and what to say of the rest."""
        wanted = [unit for unit in units if _ended_attempts(unit)]
        if len(wanted) > _ALL_READ_UP_TO:
            wanted = [unit for unit in wanted if any(is_interruption(each) for each in unit.attempts)]
        unread = [unit for unit in wanted if (unit.id, _ended_attempts(unit)) not in self._found]
        try:
            for unit in unread[:_UNITS_READ_AT_ONCE]:
                self._found[unit.id, _ended_attempts(unit)] = self.of_unit(unit)
        except SpotbatchError as error:
            return [], (f"the attempts' records cannot be read, so lost work is taken as whole attempts ({error})",)
        while len(self._found) > _RECORDS_KEPT:
            self._found.pop(next(iter(self._found)))
        left = max(0, len(unread) - _UNITS_READ_AT_ONCE)
        notes = (f"the records of {text.count(left, 'child')} are still being read",) if left else ()
        return [one for unit in wanted for one in self._found.get((unit.id, _ended_attempts(unit)), ())], notes

    def inputs_of(self, units: Sequence[Job]) -> dict[str, str]:
        """What the first of the failed units stand for; nothing where the run's list cannot be read."""
        failed = [unit for unit in units if unit.status is JobStatus.FAILED][:_FAILED_NAMED]
        try:
            for unit in failed:
                if unit.parent_id not in self._names:
                    self._names[unit.parent_id] = input_names(unit)
            named = {unit.id: self._names[unit.parent_id].of(run_index(unit)) for unit in failed}
        except SpotbatchError:
            return {}
        return {unit_id: mine for unit_id, mine in named.items() if mine}

    def of_unit(self, unit: Job) -> list[AttemptRecord]:
        """One unit's records as they stand now. Raises as the store does."""
        store = self._stores.get(unit.parent_id)
        if store is None:
            store = self._stores[unit.parent_id] = artifact_store.store_of(unit, stack=self.stack)
        return records.of_unit(store, artifact_store.run_id(unit), run_index(unit))


def _ended_attempts(unit: Job) -> int:
    return sum(attempt.stopped_at is not None for attempt in unit.attempts)


def _account(kept: KeptRecords, units: Sequence[Job], others: Sequence[Job]) -> Account:
    from spotbatch.runs.bill import bill_of

    found, notes = kept.of(units)
    made = bill_of(units, found, others=others)
    notes = (*notes, *made.notes)
    return Account(report=made.report, at=time.time(), notes=notes, inputs=kept.inputs_of(units))


def _story(job: Job, kept: KeptRecords) -> Story:
    """What the records tell of each attempt, the child's input, and its own report of progress."""
    from spotbatch.runs.attempt_story import told_by
    from spotbatch.runs.progress_report import OwnProgress

    try:
        matched = records.matched(job, kept.of_unit(job))
        told = {number: [_split(line) for line in told_by(record)] for number, record in matched.items()}
        own_input = input_names(job).of(run_index(job))
    except Unavailable:
        raise
    except SpotbatchError:
        told, own_input = {}, ""  # it kept nothing that can be read
    return Story(told=told, input=own_input, progress=OwnProgress()(job))


def _split(line: str) -> tuple[str, str]:
    label, _, rest = line.partition(" ")
    return label, rest.strip()


def _findings(jobs: Jobs, job: Job) -> Findings:
    from spotbatch.doctor.examine import examine
    from spotbatch.doctor.rules import diagnose

    case = examine(jobs, job)
    found = tuple(
        Finding(weight=each.weight.value, cause=each.cause, evidence=each.evidence, fix=each.fix)
        for each in diagnose(case)
    )
    return Findings(found=found, unseen=tuple(case.around.unseen))
