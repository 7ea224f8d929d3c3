"""The control plane's documents, and what the scheduler derives from them: environments, queues, and the quota."""

import json
from collections.abc import Mapping
from typing import Final

from spotbatch.batch.consumable import ConsumableResource
from spotbatch.batch.errors import NotFound, SpotbatchError, Unavailable
from spotbatch.batch.placement import ComputeEnvironment, JobQueue
from spotbatch.batch.scheduler import Scheduler
from spotbatch.batch.scheduler import events as ev
from spotbatch.local.contract import EngineSettings, Json, Rules
from spotbatch.local.engine import codec
from spotbatch.local.engine.group_commit import GroupCommit, say
from spotbatch.local.engine.machine_quota import MachineQuota

ENVIRONMENT: Final = "compute-environment"
QUEUE: Final = "job-queue"
CONSUMABLE: Final = "consumable-resource"
_PUT: Final = "INSERT OR REPLACE INTO resource VALUES (?, ?, ?, ?)"
_DELETE: Final = "DELETE FROM resource WHERE kind = ? AND name = ?"

Kept = tuple[Json, str | None]  # a document, and the rules' view of it as stored in the journal


class ControlPlane:
    """Keeps documents for the endpoint; informs the scheduler of those that concern its rules."""

    def __init__(self, *, settings: EngineSettings, commit: GroupCommit, scheduler: Scheduler) -> None:
        self._commit = commit
        self._scheduler = scheduler
        self._documents: dict[str, dict[str, Json]] = {}
        self._rules: dict[tuple[str, str], str | None] = {}
        is_ours = settings.is_quota_of_machine and settings.vcpu_quota is not None
        self._machine_quota = MachineQuota(settings.vcpu_quota or 0, self.environments_of) if is_ours else None
        commit.carry_out({ev.ResourceConsumed: lambda command: self._keep_consumed(command.resource.name)})

    # ---- documents ----

    def documents(self, kind: str) -> Mapping[str, Json]:
        """All documents of a kind, by name."""
        return self._documents.get(kind, {})

    async def put(self, kind: str, name: str, body: Json, *, rules: Rules | None = None) -> None:
        """Store a document. Returns once it is on disk. Raises Unavailable or InvalidInput, changing nothing."""
        before = self._kept(kind, name)
        kept = self._rules.get((kind, name)) if rules is None else codec.encode(rules)
        self._remember(kind, name, (body, kept))  # at once: two callers must not both create it
        try:
            row = (kind, name, to_json(body), kept)
            await self._commit.accept((_PUT, row), then=lambda: self._tell(rules))
        except SpotbatchError as error:
            self._take_back(kind, name, before, is_written=not isinstance(error, Unavailable))
            raise

    async def delete(self, kind: str, name: str) -> None:
        """Delete a document. Raises NotFound, or Unavailable, changing nothing."""
        if name not in self.documents(kind):
            raise NotFound(f"there is no {kind} {name!r}")
        await self._commit.accept((_DELETE, (kind, name)), then=lambda: self._deleted(kind, name))

    def _kept(self, kind: str, name: str) -> Kept | None:
        body = self.documents(kind).get(name)
        return None if body is None else (body, self._rules.get((kind, name)))

    def _remember(self, kind: str, name: str, kept: Kept) -> None:
        self._documents.setdefault(kind, {})[name], self._rules[kind, name] = kept

    def _forget(self, kind: str, name: str) -> None:
        del self._documents[kind][name]
        self._rules.pop((kind, name), None)

    def _take_back(self, kind: str, name: str, before: Kept | None, *, is_written: bool) -> None:
        if before is None:
            self._forget(kind, name)
        else:
            self._remember(kind, name, before)
        if is_written and before is None:
            self._commit.write(_DELETE, (kind, name))
        elif is_written and before is not None:
            self._commit.write(_PUT, (kind, name, to_json(before[0]), before[1]))

    # ---- what the scheduler makes of them ----

    def _tell(self, rules: Rules | None) -> None:
        if isinstance(rules, ComputeEnvironment | JobQueue):
            self._environments_changed()
        if isinstance(rules, ComputeEnvironment):
            self._commit.apply(ev.EnvironmentPut(environment=rules))
        elif isinstance(rules, JobQueue):
            self._commit.apply(ev.QueuePut(queue=rules))
        elif isinstance(rules, ConsumableResource):
            self._commit.apply(ev.ConsumablePut(resource=rules))
            self._keep_consumed(rules.name)

    def _deleted(self, kind: str, name: str) -> None:
        if name not in self.documents(kind):
            return  # another caller was quicker
        self._forget(kind, name)
        if self._scheduler.has_queue(name) and kind == QUEUE:
            self._commit.apply(ev.QueueRemoved(name=name))
        elif self._scheduler.environment(name) is not None and kind == ENVIRONMENT:
            self._commit.apply(ev.EnvironmentRemoved(name=name))
        elif self._scheduler.consumable(name) is not None and kind == CONSUMABLE:
            self._commit.apply(ev.ConsumableRemoved(name=name))

    def _keep_consumed(self, name: str) -> None:
        """What jobs have used up for good belongs to the resource: it must outlive their rows and a restart."""
        found, body = self._scheduler.consumable(name), self.documents(CONSUMABLE).get(name)
        if found is None or body is None:
            return
        rules = codec.encode(found[0])
        if self._rules.get((CONSUMABLE, name)) != rules:
            self._rules[CONSUMABLE, name] = rules
            self._commit.journal.write(_PUT, (CONSUMABLE, name, to_json(body), rules))

    def environments_of(self, queue: str) -> list[ComputeEnvironment]:
        """A queue's environments according to the documents, whether or not the scheduler knows them yet."""
        rules = self._rules.get((QUEUE, queue))
        names = () if rules is None else codec.decode(JobQueue, rules).environments
        kept = (self._rules.get((ENVIRONMENT, name)) for name in names)
        return [codec.decode(ComputeEnvironment, one) for one in kept if one is not None]

    def widen_quota(self, rules: ev.JobSubmitted) -> None:
        """The default quota keeps no job from running."""
        if self._machine_quota is not None and self._machine_quota.takes(rules.queue, rules.requirements):
            self._scheduler.set_quota(self._machine_quota.vcpus)
            say(f"hosts have {self._machine_quota.vcpus} vCPUs together from now on: a job fits on no smaller host")

    def _environments_changed(self) -> None:
        if self._machine_quota is not None:
            self._machine_quota.environments_changed()
            for job_no in self._scheduler.job_numbers():
                if not self._scheduler.status(job_no).is_terminal:
                    self.widen_quota(self._scheduler.submitted(job_no))

    # ---- after a start ----

    def restore_documents(self) -> None:
        """Read the journal's documents; the scheduler gets them from `restore_queues` and `restore_environments`."""
        for kind, name, body, rules in self._commit.journal.rows("SELECT kind, name, body, rules FROM resource"):
            self._remember(kind, name, (json.loads(body), rules))

    def restore_queues(self) -> None:
        for (kind, _), rules in self._rules.items():
            if kind == QUEUE and rules is not None:
                self._commit.apply(ev.QueuePut(queue=codec.decode(JobQueue, rules)))

    def restore_consumables(self) -> None:
        for (kind, _), rules in self._rules.items():
            if kind == CONSUMABLE and rules is not None:
                self._commit.apply(ev.ConsumablePut(resource=codec.decode(ConsumableResource, rules)))

    def restore_environments(self) -> None:
        for (kind, _), rules in self._rules.items():
            if kind == ENVIRONMENT and rules is not None:
                self._commit.apply(ev.EnvironmentPut(environment=codec.decode(ComputeEnvironment, rules)))


def to_json(body: Json) -> str:
    """A document as stored in the journal."""
    return json.dumps(body, separators=(",", ":"))
