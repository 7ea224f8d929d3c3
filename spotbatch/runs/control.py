"""Runs under the controller: the user's request, checked before it is accepted.

The controller is a function of the stack (the setting `controller`), on AWS and in the local region. A run is entered
in its table here and given its first look here too, by the same code, so that its jobs are submitted at once.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from spotbatch import wording
from spotbatch.aws import session, stack_outputs
from spotbatch.aws.job_shapes import submit_shape
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.stack_outputs import StackOutputs
from spotbatch.batch.array_indexes import ArrayIndexes, spans
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_INPUT_LIST, SPOTBATCH_RUN_ID
from spotbatch.batch.errors import Denied, InvalidInput, NotFound, Unavailable
from spotbatch.batch.job import MAX_ARRAY_SIZE, JobRequest, ResourceRequirements
from spotbatch.controller.advance import Controller
from spotbatch.controller.decide import APART, STOP_SECONDS
from spotbatch.controller.edges import BatchJobs, StoredRecords, manifest_of
from spotbatch.controller.request import request_of
from spotbatch.controller.run import Budget, Deadline, Growth, Move, Need, Note, Outcome, Place, Run, Wishes
from spotbatch.controller.table import Table
from spotbatch.runs import artifact_store, control_checks
from spotbatch.runs.capacity import requirements_of
from spotbatch.runs.destination import Destination
from spotbatch.runs.endpoint import running_region
from spotbatch.runs.inputs import store_inputs
from spotbatch.runs.manifest import RunManifest, RunPart
from spotbatch.runs.request import JobOptions
from spotbatch.runs.submit import Submission, new_run_id, send_along
from spotbatch.runs.unit_price import UnitPrice, unit_price

MOST_RUNS: Final = 200  # at once: checking one takes about a tenth of a second of the function's 45
MOST_UNITS_IN_TIME: Final = 100  # each is checked every minute
_MOST_GROWTH: Final = 8  # times the initial memory, if no limit is given
_MOST_LOSSES: Final = 10  # AWS Batch's attempts per job
_CHANGEOVER_SECONDS: Final = 600  # boot, image, restore, and work since the last save


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """A controller, and the queues that it submits to: a stack's own, or the local region's for everything else."""

    stack: str  # "" if there is none
    spot_queue: str
    on_demand_queue: str  # "" if there is none
    table_name: str = ""  # "": the region's own, which is created when a run is put under control
    schedule_name: str = ""

    def opened(self) -> "Control":
        """With its table and its schedule. Raises Unavailable."""
        return self if self.table_name else _of_region(self)

    @property
    def table(self) -> Table:
        return Table(name=self.table_name)

    def wake(self) -> None:
        """Turn the controller's schedule on."""
        session.client("events").enable_rule(Name=self.schedule_name)


def control_of(asked: JobOptions, wanted: JobRequest, *, is_dry: bool = False) -> Control | None:
    """The controller, if something only it can do was requested. Raises InvalidInput, NotFound.

    In the local region, queues that no stack's controller serves are served by the region's own.
    """
    _check_words(asked, is_dry=is_dry)
    needs = (asked.on_demand_after, asked.grow_memory, asked.max_usd, asked.deadline_seconds)
    if all(one is None for one in needs):
        return None
    found = _stack_of(asked)
    if found is not None and found.controller_table and found.controller_schedule and _are_of(found, asked):
        return _of_stack(found)
    if session.is_local():
        default = found.on_demand_queue if found is not None and _name(wanted.queue) == _name(found.job_queue) else ""
        return Control(
            stack=found.stack if found is not None else "",
            spot_queue=_name(wanted.queue),
            on_demand_queue=_name(asked.on_demand_queue or default),
        )
    own = _outputs(asked.stack)
    raise InvalidInput(
        f"the controller of stack {own.stack} submits to its own queues {own.job_queue} and "
        f"{own.on_demand_queue or '(none on demand)'} only: leave --queue and --on-demand-queue out"
    )


def _check_words(asked: JobOptions, *, is_dry: bool) -> None:
    """Raises InvalidInput for options that do not belong together: nothing was asked of AWS yet."""
    if asked.deadline_seconds is None:
        work_seconds = None if is_dry else asked.work_seconds  # a dry run estimates with it
        if work_seconds is not None or asked.changeover_seconds is not None:
            raise InvalidInput("--work and --changeover belong to a --deadline: give that too")
        if asked.on_demand_queue is not None and asked.on_demand_after is None:
            raise InvalidInput("--on-demand-queue belongs to --deadline or --on-demand-after: give one of them too")
    elif asked.work_seconds is None:
        raise InvalidInput(
            "--deadline needs --work: how long one job takes on one host without interruption, as --work 5h "
            "(`spotbatch rehearse` measures a sample)"
        )


def _stack_of(asked: JobOptions) -> StackOutputs | None:
    """The stack's outputs. In the local region a stack is not needed: None if it has none for these options."""
    try:
        return stack_outputs.read(asked.stack)
    except (NotFound, InvalidInput):
        if session.is_local() and asked.stack is None and asked.queue is not None:
            return None
        raise


def _are_of(found: StackOutputs, asked: JobOptions) -> bool:
    """Whether the queues asked for are the stack's."""
    return all(
        wanted is None or _name(wanted) == _name(own)
        for wanted, own in ((asked.queue, found.job_queue), (asked.on_demand_queue, found.on_demand_queue))
    )


def _name(queue: str) -> str:
    """A queue's name, from its name or its ARN."""
    return queue.rpartition("/")[2]


def _of_stack(found: StackOutputs) -> Control:
    return Control(
        stack=found.stack,
        spot_queue=_name(found.job_queue),
        on_demand_queue=_name(found.on_demand_queue),
        table_name=found.controller_table,
        schedule_name=found.controller_schedule,
    )


def _of_region(control: Control) -> Control:
    from spotbatch.local.client import RegionClient

    made = RegionClient(info=running_region()).controller()
    return replace(control, table_name=made["ControllerTableName"], schedule_name=made["ControllerScheduleName"])


def _outputs(stack: str | None) -> StackOutputs:
    found = stack_outputs.read(stack)
    if not found.controller_table or not found.controller_schedule:
        raise NotFound(f"stack {found.stack} has no controller, which does this: {_make('controller', found.stack)}")
    return found


def _make(setting: str, stack: str) -> str:
    if session.is_local():
        return (
            f'set "{setting}": true under "spotbatch" in cdk.json, then: '
            f"python app.py && spotbatch local load cdk.out/{stack}.template.json"
        )
    return f"./deploy.sh --set {setting}=true"


# --- putting a run under control


def run_of(asked: JobOptions, prepared: Submission, control: Control, jobs: Jobs, *, now: float) -> Run:
    """The run as put under control. Raises InvalidInput or NotFound for what cannot be promised."""
    wanted = prepared.request
    size = prepared.inputs.count if prepared.inputs is not None else wanted.array_size or 0
    size = 0 if size == 1 else size
    needs = requirements_of(wanted, jobs.definition(wanted.definition).requirements)
    unknown = _check(asked, needs, control, size, jobs)
    price = unit_price(jobs, wanted) if asked.max_usd is not None or asked.deadline_seconds is not None else None
    memory = needs.memory_mib
    wishes = _wishes(asked, price, needs, _largest_memory(asked, needs, control, jobs), now)
    _check_budget(wishes.budget, max(1, size))
    run_id = wanted.environment.get(SPOTBATCH_RUN_ID) or new_run_id(wanted.name)
    own = {SPOTBATCH_RUN_ID: run_id, **({SPOTBATCH_INPUT_LIST: "1"} if prepared.inputs is not None else {})}
    longest = {SPOTBATCH_ARRAY_INDEXES: str(ArrayIndexes.span(0, size))} if size else {}
    # Built once with all its variables, so that what AWS Batch would refuse is refused here.
    replace(wanted, environment={**wanted.environment, **own, **longest}, array_size=None)
    shape = submit_shape(replace(wanted, environment={**wanted.environment, **own}, array_size=None))
    where = Destination(queue=wanted.queue, definition=wanted.definition, bucket=prepared.bucket)
    run = Run(
        run_id=run_id,
        name=wanted.name,
        created_at=now,
        size=size,
        spot_queue=control.spot_queue,
        on_demand_queue=control.on_demand_queue,
        request={key: value for key, value in shape.items() if key not in ("jobQueue", "arrayProperties")},
        wishes=wishes,
        memory_mib=memory,
        artifacts_url=artifact_store.store_at(jobs, where).url,
        inputs=prepared.inputs.source if prepared.inputs is not None else "",
    )
    need = Need(place=Place.SPOT, memory_mib=memory)
    held = spans(max(1, size), most=MAX_ARRAY_SIZE)
    moves = tuple(
        Move(number=number, indexes=each, need=need, at=now, why="submitted") for number, each in enumerate(held, 1)
    )
    notes = tuple(Note(at=now, text=line) for line in unknown)
    return replace(run, moves=moves, next_number=len(moves) + 1, notes=notes)


def _largest_memory(asked: JobOptions, needs: ResourceRequirements, control: Control, jobs: Jobs) -> int | None:
    """The most memory that a unit may grow to, by the hosts of its queues; None if it is not known."""
    if asked.grow_memory is None:
        return None
    moves_on_demand = asked.deadline_seconds is not None or asked.on_demand_after is not None
    queues = (control.spot_queue, control.on_demand_queue) if moves_on_demand else (control.spot_queue,)
    return control_checks.largest_memory_mib(queues, needs, jobs=jobs)


def _wishes(
    asked: JobOptions, price: UnitPrice | None, needs: ResourceRequirements, largest_mib: int | None, now: float
) -> Wishes:
    memory = needs.memory_mib
    deadline = budget = growth = None
    if asked.deadline_seconds is not None and asked.work_seconds is not None and price is not None:
        changeover = asked.changeover_seconds if asked.changeover_seconds is not None else _CHANGEOVER_SECONDS
        deadline = Deadline(
            at=now + asked.deadline_seconds,
            work_seconds=asked.work_seconds,
            changeover_seconds=changeover,
            price_ratio=float(price.on_demand_usd_per_hour / price.spot_usd_per_hour),
        )
        terms = deadline.terms(now)
        if not terms.is_feasible:
            least = terms.work_seconds + terms.changeover_seconds
            raise InvalidInput(
                f"a deadline of {wording.duration(asked.deadline_seconds)} cannot be promised: "
                f"{wording.duration(asked.work_seconds)} of work, and up to "
                f"{wording.duration(terms.changeover_seconds)} to get going on demand, take "
                f"{wording.duration(least)}: give that or more"
            )
    if asked.max_usd is not None and price is not None:
        budget = Budget(
            max_usd=asked.max_usd,
            spot_usd_per_hour=price.spot_usd_per_hour,
            on_demand_usd_per_hour=price.on_demand_usd_per_hour,
        )
    if asked.grow_memory is not None:
        factor, most = asked.grow_memory
        if most is not None and most <= memory:
            raise InvalidInput(f"--grow-memory grows to more than the job's memory of {memory} MiB, not to {most}")
        if most is not None and largest_mib is not None and most > largest_mib:
            raise InvalidInput(
                f"--grow-memory up to {most} MiB: no host of the queue has more than {largest_mib} MiB for jobs"
            )
        limits = (memory * _MOST_GROWTH if most is None else most, *(() if largest_mib is None else (largest_mib,)))
        growth = Growth(factor=factor, most_mib=min(limits))
    return Wishes(deadline=deadline, on_demand_after=asked.on_demand_after, growth=growth, budget=budget)


def _check_budget(budget: Budget | None, units: int) -> None:
    """Raises InvalidInput for a budget that would stop the run before it starts."""
    if budget is None:
        return
    least = budget.spot_usd_per_hour * units * Decimal(STOP_SECONDS) / 3600
    if budget.max_usd <= least:
        raise InvalidInput(
            f"--max-usd {budget.max_usd} is too little: to save and stop {units:,} on Spot may take "
            f"{wording.duration(STOP_SECONDS)}, which is {least:.4f} USD"
        )


def _check(asked: JobOptions, needs: ResourceRequirements, control: Control, size: int, jobs: Jobs) -> list[str]:
    """What could not be checked. Raises InvalidInput or NotFound for what the controller could not fulfil."""
    if asked.is_sequential:
        raise InvalidInput("the controller runs children anew, apart from each other: leave --sequential out")
    if asked.on_demand_after is not None and not 1 <= asked.on_demand_after <= _MOST_LOSSES:
        raise InvalidInput(f"--on-demand-after is 1 to {_MOST_LOSSES} losses, not {asked.on_demand_after}")
    spot = control_checks.spot_notes(control.spot_queue, needs, jobs=jobs)
    if asked.on_demand_after is None and asked.deadline_seconds is None:
        return spot
    if not control.on_demand_queue:
        raise NotFound(_no_on_demand_queue(control))
    has_deadline = asked.deadline_seconds is not None
    if has_deadline and (asked.after or asked.after_each):
        raise InvalidInput("nobody can promise when a job is done that waits for others: leave --after out")
    if has_deadline and size > MOST_UNITS_IN_TIME:
        raise InvalidInput(f"a deadline is for {MOST_UNITS_IN_TIME} children at most, not {size:,}")
    hosts = control_checks.on_demand_hosts(control.on_demand_queue, jobs=jobs)
    return [*spot, *control_checks.check_room(hosts, needs, max(1, size), is_at_once=has_deadline)]


def _no_on_demand_queue(control: Control) -> str:
    if not control.stack:
        return "there is no queue for on-demand capacity: name one with --on-demand-queue"
    made = f"stack {control.stack} has no queue for on-demand capacity: {_make('on_demand_queue', control.stack)}"
    return f"{made}; or name one with --on-demand-queue" if session.is_local() else made


def first_requests(run: Run) -> list[dict[str, Any]]:
    """The initial SubmitJob requests."""
    return [request_of(run, move) for move in run.moves]


def submit(jobs: Jobs, prepared: Submission, run: Run, control: Control) -> Run:
    """Put a run under control and check it for the first time. Raises InvalidInput if AWS Batch refuses the job."""
    send_along(jobs, prepared)
    if prepared.inputs is not None:
        where = Destination(
            queue=prepared.request.queue, definition=prepared.request.definition, bucket=prepared.bucket
        )
        store_inputs(artifact_store.store_at(jobs, where), run.run_id, prepared.inputs)
    control = control.opened()
    if len(control.table.active()) >= MOST_RUNS:
        raise Unavailable(f"{MOST_RUNS} runs are under control, and no more can be looked at each minute: wait for one")
    control.wake()  # before anything is promised: a caller who may not wake it must not promise
    control.table.create(run)
    return _first_look(jobs, run.run_id, control)


def _first_look(jobs: Jobs, run_id: str, control: Control) -> Run:
    control.wake()  # it may have gone to sleep just before the run was entered in its table
    controller = Controller(store=control.table, batch=BatchJobs(jobs=jobs), records=StoredRecords())
    try:
        found = controller.advance(run_id, time.time())
    except Unavailable:
        found = control.table.read(run_id)  # the controller does it within two minutes
    if found is None:
        raise NotFound(f"run {run_id} is not under control")
    if found.outcome is Outcome.FAILED or (len(found.failed) and not found.parts):
        raise InvalidInput(found.notes[-1].text)
    return found


def manifest(run: Run) -> RunManifest:
    """A run's manifest, as the controller writes it."""
    found = manifest_of(run)
    parts = tuple(RunPart(**part) for part in found.pop("parts"))
    return RunManifest(**found, parts=parts)


def resume(jobs: Jobs, run_id: str, max_usd: Decimal, *, stack: str | None) -> Run:
    """Resume a run that was stopped by its budget. Raises NotFound, InvalidInput."""
    control, run = _found(run_id, stack)
    budget = run.wishes.budget
    if run.outcome is not Outcome.STOPPED or budget is None:
        raise InvalidInput(f"run {run_id} was not stopped by a budget: it is {run.outcome}")
    if max_usd <= run.spent_usd:
        raise InvalidInput(
            f"--max-usd is for the whole run, which has cost about {run.spent_usd:.2f} USD: give more than that"
        )
    if not run.may_split and not StoredRecords().has_any(run):
        raise InvalidInput(f"run {run_id} cannot be resumed in part: {APART}; submit it again")
    now = time.time()
    need = Need(place=Place.SPOT, memory_mib=run.learnt_mib or run.memory_mib)
    again = replace(
        run,
        wishes=replace(run.wishes, budget=replace(budget, max_usd=max_usd)),
        stopped=ArrayIndexes(),
        outcome=Outcome.RUNNING,
        ended_at=None,
        looked_at=now,
        usd_per_hour=Decimal(0),
        notes=(*run.notes, Note(at=now, text=f"goes on, with up to {max_usd} USD for the whole run")),
    ).wanting(run.stopped, need, now, "it goes on with a new budget", ArrayIndexes())
    control.wake()
    control.table.write(again)
    return _first_look(jobs, run_id, control)


def is_known(run_id: str, stack: str | None) -> bool:
    """Whether a controller has this run; no if there is none, or no right to ask it."""
    try:
        _found(run_id, stack)
    except (NotFound, InvalidInput, Denied):
        return False
    return True


def _found(run_id: str, stack: str | None) -> tuple[Control, Run]:
    """A run, and the controller that it is under. Raises NotFound."""
    for control in _controls(stack):
        if (run := control.table.read(run_id)) is not None:
            return control, run
    raise NotFound(f"run {run_id} was never under control, or more than a month ago: --max-usd is for those")


def _controls(stack: str | None) -> Iterator[Control]:
    if not session.is_local():
        yield _of_stack(_outputs(stack))
        return
    with contextlib.suppress(NotFound, InvalidInput):  # no such stack, or no controller in it
        yield _of_stack(_outputs(stack))
    from spotbatch.local.controller_stack import NAME

    with contextlib.suppress(NotFound, InvalidInput):  # the region has none of its own yet
        yield replace(_of_stack(_outputs(NAME)), stack="")
