"""The controller of jobs with a deadline: at each tick it looks, asks the policy, and moves the job accordingly.

A move is stored before it begins, so that a region killed at any moment completes it at its next start:
the job is terminated (it gets SIGTERM, saves, and exits), and is submitted to the other queue under the same run id.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from spotbatch.batch import artifacts as layout
from spotbatch.batch.attempt_outcome import outcome_of
from spotbatch.batch.errors import InvalidInput, SpotbatchError, Unavailable
from spotbatch.batch.status import JobStatus
from spotbatch.local.api import operations, service_model
from spotbatch.local.api.errors import ApiError
from spotbatch.local.api.region import ENVIRONMENT, QUEUE, Region
from spotbatch.local.contract import UnitView
from spotbatch.local.deadline.observation import view_of, why
from spotbatch.local.deadline.progress import done_seconds
from spotbatch.local.deadline.run import PART_TAG, DeadlineRun, Outcome, place_of, promise_from, promise_of
from spotbatch.policy.interface import Move, Pilot, Policy, View

KIND: Final = "deadline"
MOVE_REASON: Final = "spotbatch: moved to meet its deadline"
MOST_AT_ONCE: Final = 16  # each has a table of tens of megabytes
START_SECONDS: Final = 5.0  # in addition to the boot: the container's start, the restore, and work since the last save
_SEARCHED: Final = 200  # a queue's newest jobs, searched for a submission whose answer was lost
_ASK_AGAIN_SECONDS: Final = 5.0


@dataclass(kw_only=True)
class Deadlines:
    """All promises of one region."""

    region: Region
    artifacts: Path
    policy: Policy
    boot_seconds: float
    clock: Callable[[], float] = time.time
    _kept: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def take_up(self) -> None:
        """Resume what was promised before the region last stopped."""
        for document in self.region.documents(KIND).values():
            promise = promise_from(document)
            if promise.outcome == "running":
                self._begin(promise)

    async def promise(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Accept a job with a deadline; returns once it is submitted. Raises InvalidInput or ApiError."""
        if len(self._kept) >= MOST_AT_ONCE:
            raise InvalidInput(
                f"{MOST_AT_ONCE} jobs with deadlines are under way, and no more fit: wait for one to end"
            )
        made = promise_of(asked, now=self.clock(), changeover_seconds=self.boot_seconds + START_SECONDS)
        if made.run_id in self.region.documents(KIND):
            raise InvalidInput(f"a run {made.run_id} with a deadline is there already: give another name")
        made = replace(made, spot_queue=self._name(made.spot_queue), on_demand_queue=self._name(made.on_demand_queue))
        going = made.goes("SPOT", made.created_at, "")
        service_model.check("SubmitJob", going.next_request())
        pilot = await self._pilot(made)
        first = View(0.0, 0.0, Move.WAIT, 0.0, is_spot_available=True)
        move = pilot.decide(first)
        going = made.goes(place_of(move), made.created_at, why(made, first, move))
        await self._write(going)
        try:
            begun = await self._submit(going)
        except ApiError:
            await self.region.engine.delete_resource(KIND, made.run_id)  # it was refused: nothing was promised
            raise
        self._begin(begun, pilot)
        return {"run_id": begun.run_id, "job_id": begun.parts[-1].job_id, "deadline_at": begun.deadline_at}

    def _name(self, queue: str) -> str:
        """The name of an existing queue, by its name or ARN."""
        return str(self.region.get(QUEUE, queue)["jobQueueName"])

    async def _pilot(self, promise: DeadlineRun) -> Pilot:
        """Solving the table takes a second or two, outside the event loop."""
        try:
            return await asyncio.to_thread(self.policy.start, promise.terms)
        except ImportError as error:
            raise Unavailable(f"a deadline needs numpy: pip install 'spotbatch[money]' ({error})") from error

    def _begin(self, promise: DeadlineRun, pilot: Pilot | None = None) -> None:
        task = asyncio.create_task(self._keep_safely(promise, pilot))
        self._kept[promise.run_id] = task
        self.region.keep(task)

    async def _keep_safely(self, promise: DeadlineRun, pilot: Pilot | None) -> None:
        """Any failure of one promise is reported, and retried: a job must not be stuck because of it."""
        try:
            while True:
                try:
                    return await self._keep(promise, pilot)
                except (ApiError, SpotbatchError, OSError) as error:
                    sys.stderr.write(f"deadline of {promise.run_id}: {error}; trying again\n")
                    await asyncio.sleep(_ASK_AGAIN_SECONDS)
                    promise = promise_from(self.region.documents(KIND)[promise.run_id])
        finally:
            self._kept.pop(promise.run_id, None)

    async def _keep(self, promise: DeadlineRun, given: Pilot | None) -> None:
        """Runs until the job has ended."""
        pilot = given if given is not None else await self._pilot(promise)
        changes = aiter(self.region.engine.changes())
        news = asyncio.ensure_future(anext(changes))
        decided_at, had = 0.0, Move.WAIT
        tick = promise.terms.tick_seconds
        try:
            while True:
                promise = await self._finish_move(promise)
                unit = self.region.engine.view(promise.parts[-1].job_id)
                if unit.status.is_terminal and not _is_lost(unit):
                    return await self._end(promise, unit)
                now = self.clock()
                view = self._see(promise, unit, now)
                is_lost = had is Move.SPOT and view.instance is not Move.SPOT
                if unit.status.is_terminal or is_lost or now - decided_at >= tick:
                    # A decision between two ticks counts as one in the policy's memory of ages: off by a tick at most.
                    decided_at, had = now, view.instance
                    promise = self._decide(promise, unit, view, pilot, now)
                    if promise.going is not None:
                        await self._write(promise)
                        continue
                await asyncio.wait({news}, timeout=max(0.01, decided_at + tick - self.clock()))
                if news.done():
                    news = asyncio.ensure_future(anext(changes))
        finally:
            news.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await news

    def _see(self, promise: DeadlineRun, unit: UnitView, now: float) -> View:
        done = done_seconds(self.artifacts, promise.run_id, promise.work_seconds, now)
        seen = view_of(promise, unit, self.region.engine.hosts(), done, now, self.boot_seconds)
        return seen if self._takes_spot(promise) else seen._replace(is_spot_available=seen.instance is Move.SPOT)

    def _takes_spot(self, promise: DeadlineRun) -> bool:
        """Whether an environment of the Spot queue launches any hosts."""
        order = self.region.get(QUEUE, promise.spot_queue)["computeEnvironmentOrder"]
        environments = [self.region.find(ENVIRONMENT, one["computeEnvironment"]) for one in order]
        return any(each is not None and each["state"] == "ENABLED" for each in environments)

    @staticmethod
    def _decide(promise: DeadlineRun, unit: UnitView, view: View, pilot: Pilot, now: float) -> DeadlineRun:
        late = view.elapsed_seconds >= promise.terms.deadline_seconds
        move = Move.ON_DEMAND if late else pilot.decide(view)
        to = place_of(move)
        has_what_it_needs = to == promise.parts[-1].place or move is view.instance  # a Spot queue may have a fallback
        if has_what_it_needs and not unit.status.is_terminal:
            return promise
        return promise.goes(to, now, why(promise, view, move))

    async def _finish_move(self, promise: DeadlineRun) -> DeadlineRun:
        """End the job where it is, and submit it to its new place. Can be repeated after a crash, from any point."""
        if promise.going is None:
            return promise
        if promise.parts:
            job_id = promise.parts[-1].job_id
            if not self.region.engine.view(job_id).status.is_terminal:
                reason = f"{MOVE_REASON}: {promise.going.why}"
                await operations.perform(self.region, "TerminateJob", {"jobId": job_id, "reason": reason})
            unit = await self._ended(job_id)
            if not (_is_lost(unit) or unit.status_reason.startswith(MOVE_REASON)):
                return await self._write(replace(promise, going=None))  # it ended on its own at that moment
        return await self._submit(promise)

    async def _ended(self, job_id: str) -> UnitView:
        """The job once it has ended; its grace period and the engine limit how long that takes."""
        changes = self.region.engine.changes()
        unit = self.region.engine.view(job_id)
        while not unit.status.is_terminal:
            await anext(changes)
            unit = self.region.engine.view(job_id)
        await changes.aclose()  # type: ignore[attr-defined]  # it is a generator
        return unit

    async def _submit(self, promise: DeadlineRun) -> DeadlineRun:
        job_id = self._submitted_before(promise)
        if job_id is None:
            answer: Any = await operations.perform(self.region, "SubmitJob", promise.next_request())
            job_id = str(answer["jobId"])
        return await self._write(promise.went(job_id, self.clock()))

    def _submitted_before(self, promise: DeadlineRun) -> str | None:
        """The job of a move that was submitted just before the region was killed."""
        assert promise.going is not None  # noqa: S101 - callers come from `goes`
        wanted = f"{promise.run_id}/{len(promise.parts) + 1}"
        newest = self.region.engine.list_jobs(queue=promise.queue_of(promise.going.to))[:_SEARCHED]
        for job_id in newest:
            tags: Any = self.region.engine.described(job_id).get("tags", {})
            if tags.get(PART_TAG) == wanted:
                return job_id
        return None

    async def _end(self, promise: DeadlineRun, unit: UnitView) -> None:
        ended_at = unit.stopped_at or self.clock()
        outcome: Outcome = "failed"
        if unit.status is JobStatus.SUCCEEDED:
            outcome = "met" if ended_at <= promise.deadline_at else "late"
        await self._write(promise.ended(outcome, ended_at))

    async def _write(self, promise: DeadlineRun) -> DeadlineRun:
        """To the journal, which is authoritative, and to a file among the run's artifacts, for `spotbatch show`."""
        await self.region.engine.put_resource(KIND, promise.run_id, promise.to_document())
        file = self.artifacts / layout.deadline_story(promise.run_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".part-{os.getpid()}-{file.name}")
        beside.write_text(json.dumps(promise.to_story(), indent=1), encoding="utf-8")
        beside.replace(file)
        return promise


def _is_lost(unit: UnitView) -> bool:
    """Whether a job FAILED because interruptions used up its retries: it then continues as a new job."""
    if unit.status is not JobStatus.FAILED or not unit.attempts or unit.is_terminated or unit.is_cancelled:
        return False
    last = unit.attempts[-1]
    return outcome_of(exit_code=last.exit_code, reason=last.reason, status_reason=last.status_reason).may_go_on
