"""One look at a run and its consequences: read, decide, write, act. The next look repairs whatever fails in between.

A decision is written before anything is done, over the revision that it was based on. So two invocations never act
on the same decision twice, except for terminations, which may safely be repeated. SubmitJob has no idempotency
token, so a submission takes three steps: `asked_at` is written, the job is submitted, its id is written. If the
last one is missing, the job is looked for by its tags a minute later, and any duplicate is terminated.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from spotbatch.batch.array_indexes import ArrayIndexes
from spotbatch.batch.errors import InvalidInput, SpotbatchError
from spotbatch.controller.decide import MANY, Submit, Terminate, decide, steps_of
from spotbatch.controller.look import has_begun, look
from spotbatch.controller.ports import Batch, Conflict, Records, Store
from spotbatch.controller.request import request_of, tags_of
from spotbatch.controller.run import Move, Run
from spotbatch.controller.seen import MOVE_REASON

Apply = Callable[[Callable[[str], str], Iterable[str]], Iterable[str]]
EVENT_SECONDS: Final = 10.0  # events of a run that was looked at less than this ago are left to the next tick
_WRITES: Final = 5
_LONGEST_REASON: Final = 250


@dataclass(frozen=True, kw_only=True, slots=True)
class Controller:
    """The edges that the controller works on."""

    store: Store
    batch: Batch
    records: Records

    def tick(self, now: float, apply: Apply = map) -> list[str]:
        """Look at every run that is not over; returns a line for each thing that could not be done.

        `apply` is `map`, or a version of it that works on several at a time.
        """
        return [trouble for trouble in apply(lambda run_id: self._try(run_id, now), self.store.active()) if trouble]

    def _try(self, run_id: str, now: float) -> str:
        try:
            self.advance(run_id, now)
        except Conflict:
            return ""  # another invocation is working on it
        except SpotbatchError as error:  # of one run: the others are still looked at
            return f"{run_id}: {error}"
        return ""

    def heard(self, run_id: str, now: float) -> Run | None:
        """An event reported a job of this run."""
        run = self.store.read(run_id)
        if run is None or run.is_over:
            return None
        if run.size > MANY and run.looked_at is not None and now - run.looked_at < EVENT_SECONDS:
            return run  # ten thousand children may end within one minute
        return self.advance(run_id, now)

    def advance(self, run_id: str, now: float) -> Run | None:
        """One look at a run. Raises Conflict, Unavailable."""
        run = self.store.read(run_id)
        if run is None or run.is_over:
            return run
        before = run.notes
        seen = look(run, self.batch, self.records, now)
        if not run.may_split and has_begun(seen):
            run = replace(run, is_recorded=self.records.has_any(run))
        try:
            run = self.store.write(decide(run, seen, now))
        except InvalidInput as error:
            return self._give_up(run, error, now)
        for step in list(steps_of(run, now)):
            if isinstance(step, Terminate):
                self._terminate(step)
            else:
                run = self._submit(run, step, now)
        if run.notes != before:
            self.records.tell(run)
        return run

    def _give_up(self, run: Run, error: InvalidInput, now: float) -> Run:
        """The run cannot be kept any more: it is too large. It must not be left half controlled."""
        if run.wishes.budget is not None:  # which nobody would enforce
            living = [part.job_id for part in run.parts if len(part.open)]
            self.batch.terminate(living, f"{MOVE_REASON}: its budget cannot be kept: {error}"[:_LONGEST_REASON])
        run = self.store.write(run.given_up(now, str(error)))
        self.records.tell(run)
        return run

    def _terminate(self, step: Terminate) -> None:
        part = step.part
        if step.indexes == part.open:
            ids = [part.job_id]
        else:
            ids = [f"{part.job_id}:{part.indexes.child_of(index)}" for index in step.indexes]
        self.batch.terminate(ids, f"{MOVE_REASON}: {step.why}"[:_LONGEST_REASON])

    def _submit(self, run: Run, step: Submit, now: float) -> Run:
        move = step.move
        if step.is_search:
            return self._find(run, move, now)
        run = self.store.write(run.with_move(replace(move, asked_at=now)))
        try:
            job_id = self.batch.submit(request_of(run, move))
        except InvalidInput as error:
            return self._refused(run, move, error, now)
        return self._submitted(run, move, job_id, now)

    def _submitted(self, run: Run, move: Move, job_id: str, now: float) -> Run:
        """Record the outcome of a move, even if another invocation wrote something else in the meantime."""
        for _ in range(_WRITES):
            try:
                return self.store.write(run.submitted(move, job_id, now))
            except Conflict:
                newest = self.store.read(run.run_id)
                if newest is None or all(each.number != move.number for each in newest.moves):
                    raise  # another invocation found it
                run = newest
        raise Conflict(f"run {run.run_id} is written by others all the time")

    def _find(self, run: Run, move: Move, now: float) -> Run:
        """Find out what became of a submission whose answer was lost; if there is no such job it is submitted anew."""
        found = self.batch.tagged(run.queue_of(move.need.place), run.name, tags_of(run, move))
        self._end(found[1:])
        if found:
            return self._submitted(run, move, found[0], now)
        return self.store.write(run.with_move(replace(move, asked_at=None)))

    def _refused(self, run: Run, move: Move, error: InvalidInput, now: float) -> Run:
        """AWS Batch would always refuse it: its units have FAILED."""
        own = run.noted(now, f"{run.shown(move.indexes)} FAILED: {error}")
        own = replace(own, failed=own.failed.union(move.indexes))
        return self.store.write(own.with_move(replace(move, indexes=ArrayIndexes())))

    def _end(self, job_ids: Iterable[str]) -> None:
        extra = list(job_ids)
        if extra:
            self.batch.terminate(extra, f"{MOVE_REASON}: submitted twice")
