"""Attempts: from the scheduler's StartAttempt to a process group, and from its end back to the scheduler."""

import shutil
import signal
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Final

from spotbatch.batch.errors import Unavailable
from spotbatch.batch.scheduler import events as ev
from spotbatch.batch.status import (
    CANNOT_START_REASON,
    CONTAINER_EXITED,
    NOT_STARTED,
    OUT_OF_MEMORY_REASON,
    host_terminated,
)
from spotbatch.local.contract import ContainerSpec, EngineSettings, HostView
from spotbatch.local.engine import codec
from spotbatch.local.engine.container import Place, Unit, command_line, image_entry, own_variables, shared_variables
from spotbatch.local.engine.group_commit import GroupCommit
from spotbatch.local.engine.helper_link import MOST_PLANS, Calls, Plan, Start
from spotbatch.local.engine.hosts import Hosts
from spotbatch.local.engine.launcher import Launcher
from spotbatch.local.engine.leaked_processes import end_orphans
from spotbatch.local.engine.logs import log_file, task_id
from spotbatch.local.engine.scratch import Scratch
from spotbatch.local.engine.secrets import MissingSecret, fetched

_MIB: Final = 1 << 20
_CONTAINERS_KEPT: Final = 1_000
_OF_THE_UNIT: Final = "WHERE job_no = ? AND idx = ? AND attempt = ?"
_ATTEMPT_PLACED: Final = (
    "INSERT OR REPLACE INTO attempt (job_no, idx, attempt, task, instance_id, placed_at) VALUES (?, ?, ?, ?, ?, ?)"
)
_ATTEMPT_STARTED: Final = f"UPDATE attempt SET started_at = ? {_OF_THE_UNIT}"  # noqa: S608 - words of ours
_ATTEMPT_ENDED: Final = (
    f"UPDATE attempt SET stopped_at = ?, exit_code = ?, reason = ?, status_reason = ? {_OF_THE_UNIT}"  # noqa: S608
)
_ATTEMPT_RAN: Final = (
    "UPDATE attempt SET started_at = ?, stopped_at = ?, exit_code = ?, reason = ?, status_reason = ? "  # noqa: S608
    + _OF_THE_UNIT
)

UnitKey = tuple[int, int]


class Attempts(GroupCommit):
    """What runs, by an attempt id of our own: a unit may have a second attempt before news of its first comes."""

    host_book: Hosts

    def __init__(self, settings: EngineSettings) -> None:
        super().__init__(settings)
        self._scratch = Scratch(settings.home / "scratch")
        self._attempt_no = 0
        self._running: dict[int, tuple[int, int, int]] = {}  # attempt id -> (job, index, attempt)
        self._attempt_ids: dict[UnitKey, int] = {}
        self._started: dict[int, tuple[float, int]] = {}  # attempt id -> when, and the number of that row
        self._stopping: dict[int, str] = {}  # attempt id -> status reason
        self._overran: set[int] = set()  # attempt ids that were ended for their memory
        self._plan_no = 0
        self._plan = lru_cache(maxsize=MOST_PLANS)(self._make_plan)
        self._container = lru_cache(maxsize=_CONTAINERS_KEPT)(self._read_container)
        calls = Calls(
            on_started=self._process_started,
            on_failed=self._process_failed,
            on_overran=self._process_overran,
            on_ended=self._process_ended,
            on_lost=self._helper_lost,
            news_begins=self.news_begins,
            news_ends=self.news_ends,
        )
        self._launcher = Launcher(calls)

    def instance_id_of(self, host_no: int) -> str:
        return self.host_book.alive[host_no].instance_id

    def _note(self, command: ev.Command) -> None:
        match command:
            case ev.StartAttempt():
                self._note_start(command)
            case ev.StopAttempt(job_no=job_no, index=index):
                self._effects.append(lambda: self._stop((job_no, index), command.status_reason))
            case _:
                super()._note(command)

    def _note_start(self, command: ev.StartAttempt) -> None:
        """The intent goes to disk first; the process starts after the commit."""
        job_no, index, attempt = command.job_no, command.index, command.attempt
        host = self.host_book.alive[command.host_no]
        task = task_id(self.job_id(job_no), job_no, index, attempt)
        self.journal.write(_ATTEMPT_PLACED, (job_no, index, attempt, task, host.instance_id, self.now()))
        self._attempt_no += 1
        attempt_id = self._attempt_no
        self._running[attempt_id] = (job_no, index, attempt)
        self._attempt_ids[job_no, index] = attempt_id
        self._effects.append(lambda: self._start(attempt_id, host, task))

    def _start(self, attempt_id: int, host: HostView, task: str) -> None:
        if attempt_id not in self._running or self._is_closing:
            return  # its host went in the same turn
        try:
            self._order(attempt_id, host, task)
        except (OSError, Unavailable) as error:  # no room for its folder, or a row that cannot be read
            self._process_failed(attempt_id, str(error))

    def _order(self, attempt_id: int, host: HostView, task: str) -> None:
        job_no = self._running[attempt_id][0]
        container = self._container(job_no)
        if container.start_error:
            self.attempt_over(attempt_id, None, "", container.start_error)
            return
        secrets = fetched(self.settings.secret_of, container.secrets)
        if isinstance(secrets, MissingSecret):
            self.attempt_over(attempt_id, None, secrets.reason, NOT_STARTED)
            return
        plan, folder = self._plan(job_no, host)
        if not plan.argv:
            self._process_failed(attempt_id, "no command specified")
            return
        scratch = self._scratch.take(attempt_id)
        order = Start(
            attempt_id=attempt_id,
            plan=plan,
            own_environment=own_variables(self._unit(attempt_id), scratch, plan.environment) | secrets,
            folder=folder or scratch,
            log=log_file(self.log_folder, task),
        )
        self._launcher.start(order)

    def _make_plan(self, job_no: int, host: HostView) -> tuple[Plan, str | None]:
        """What a job's attempts on one host have in common, and the folder that its image's entry gives them."""
        container = self._container(job_no)
        entry = image_entry(self.settings.images, container.image)
        notice = self.host_book.notice_file(host.instance_id)
        shared = shared_variables(self.settings, entry, container, self._place(job_no), host, notice)
        memory_bytes = container.memory_mib * _MIB
        plan = self._new_plan(command_line(entry, container), shared, memory_bytes)
        return plan, str(entry.working_directory) if entry.working_directory else None

    def _new_plan(self, argv: Sequence[str], environment: Mapping[str, str], memory_bytes: int) -> Plan:
        self._plan_no += 1
        return Plan(number=self._plan_no, argv=argv, environment=environment, memory_bytes=memory_bytes)

    def _place(self, job_no: int) -> Place:
        submitted = self.scheduler.submitted(job_no)
        return Place(queue=submitted.queue, array_size=submitted.size)

    def _unit(self, attempt_id: int) -> Unit:
        job_no, index, attempt = self._running[attempt_id]
        is_child = self.scheduler.array_size(job_no) > 0
        return Unit(job_id=self.unit_id(job_no, index), attempt=attempt, array_index=index if is_child else None)

    def _process_started(self, attempt_id: int, pid: int) -> None:  # noqa: ARG002 - the helper signals by id
        unit = self._running.get(attempt_id)
        if unit is None:
            return
        now = self.now()
        self._started[attempt_id] = (now, self.journal.write(_ATTEMPT_STARTED, (now, *unit)))
        self.apply(ev.AttemptStarted(job_no=unit[0], index=unit[1], attempt=unit[2]))

    def _process_failed(self, attempt_id: int, why: str) -> None:
        """The command could not be started: the attempt fails as a container's would, and the engine goes on."""
        self.attempt_over(attempt_id, None, f"{CANNOT_START_REASON} {why}", NOT_STARTED)

    def _process_overran(self, attempt_id: int, used: int) -> None:  # noqa: ARG002 - AWS does not say how much either
        self._overran.add(attempt_id)

    def _process_ended(self, attempt_id: int, exit_code: int) -> None:
        reason = OUT_OF_MEMORY_REASON if attempt_id in self._overran else ""
        self._overran.discard(attempt_id)
        if self._is_closing and exit_code != 0:
            self._running.pop(attempt_id, None)  # the region stopped it: as lost as with its host, and tried again
            return
        self.attempt_over(attempt_id, exit_code, reason, self._stopping.get(attempt_id, CONTAINER_EXITED))

    def attempt_over(self, attempt_id: int, exit_code: int | None, reason: str, status_reason: str) -> None:
        """Journal the end of an attempt and let the rules decide. News of an attempt that is over does nothing."""
        unit = self._running.pop(attempt_id, None)
        if unit is None:
            return
        job_no, index, attempt = unit
        if self._attempt_ids.get((job_no, index)) == attempt_id:
            del self._attempt_ids[job_no, index]
        self._stopping.pop(attempt_id, None)
        now = self.now()
        self._write_end(attempt_id, unit, exit_code, reason, status_reason, now)
        left = self._scratch.give_back(attempt_id, is_dead=exit_code is not None)
        if left is not None:
            self._loop.run_in_executor(None, partial(shutil.rmtree, left, ignore_errors=True))
        self.apply(
            ev.AttemptEnded(
                job_no=job_no,
                index=index,
                attempt=attempt,
                exit_code=exit_code,
                reason=reason,
                status_reason=status_reason,
            ),
            at=now,
        )

    def _write_end(
        self,
        attempt_id: int,
        unit: tuple[int, int, int],
        exit_code: int | None,
        reason: str,
        status_reason: str,
        now: float,
    ) -> None:
        """One row for a start and an end that come in one turn, as those of short jobs do."""
        started_at, number = self._started.pop(attempt_id, (None, 0))
        if number and self.journal.withdraw(number):
            self.journal.write(_ATTEMPT_RAN, (started_at, now, exit_code, reason, status_reason, *unit))
        else:
            self.write_attempt_end(unit, exit_code, reason, status_reason, now)

    def write_attempt_end(
        self, unit: tuple[int, int, int], exit_code: int | None, reason: str, status_reason: str, now: float
    ) -> None:
        self.journal.write(_ATTEMPT_ENDED, (now, exit_code, reason, status_reason, *unit))

    def _stop(self, unit: UnitKey, reason: str) -> None:
        """SIGTERM, the grace, SIGKILL (user guide, "Job timeouts": 30 seconds)."""
        attempt_id = self._attempt_ids.get(unit)
        if attempt_id is None:
            return
        self._stopping[attempt_id] = reason
        self._signal(attempt_id, signal.SIGTERM)
        self._loop.call_later(self.settings.stop_grace_seconds, self._launcher_kill, attempt_id)

    def _signal(self, attempt_id: int, number: signal.Signals) -> None:
        self._launcher.signal(attempt_id, number)

    def _launcher_kill(self, attempt_id: int) -> None:
        if attempt_id in self._running and not self._is_closing:
            self._signal(attempt_id, signal.SIGKILL)

    def _helper_lost(self) -> None:
        """The helper process was killed: its processes are orphans. They are ended, and their attempts lost."""
        end_orphans(self.settings.home)
        self._launcher.open_again()
        for attempt_id, (job_no, index, _) in list(self._running.items()):
            host = self.scheduler.host_of(job_no, index)
            assert host is not None  # noqa: S101 - what runs here was placed here
            instance_id = self.host_book.alive[host].instance_id
            self.attempt_over(attempt_id, None, "", host_terminated(instance_id))

    def _read_container(self, job_no: int) -> ContainerSpec:
        return codec.decode(ContainerSpec, self.texts(job_no).container)
