"""What every operation needs: the engine, this region's names, and the region's resources."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import Names
from spotbatch.local.contract import LAUNCH_TEMPLATE as LAUNCH_TEMPLATE
from spotbatch.local.contract import Engine, UnitView

# The resources' documents, as DescribeX returns them. Their keys are AWS's; the service model checked their shapes.
Document = dict[str, Any]

ENVIRONMENT: Final = "compute-environment"
QUEUE: Final = "job-queue"
DEFINITION: Final = "job-definition"
POLICY: Final = "scheduling-policy"
CONSUMABLE: Final = "consumable-resource"
JOB_TAGS: Final = "job-tags"
STACK: Final = "stack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixed:
    """A job's constant members, without those of its container, or of its task if it has ecsProperties."""

    members: Document
    container: Document
    task: Document | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """JSON without its braces: a job's constant members, and those of its container."""

    members: bytes
    container: bytes
    task: Document | None = None  # for a job with ecsProperties: they are there, with the container's results


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What DescribeJobs last returned for a job or child, and what that was based on."""

    view: UnitView
    json: bytes


@dataclass(kw_only=True, slots=True)
class Region:
    """One local region, from the perspective of its operations."""

    engine: Engine
    names: Names
    artifacts_url: str
    idle_seconds: float = 60.0
    clock: Callable[[], float] = time.time
    user_data_of: Callable[[Mapping[str, str]], str | None] = lambda _named: None  # of a launch template at moto's EC2
    rendered: dict[str, Rendered] = field(default_factory=dict)  # by job id, without an index; see described.py
    fixed: dict[str, Fixed] = field(default_factory=dict)  # by job id, without an index: for events
    answers: dict[str, Answer] = field(default_factory=dict)  # by the id of a job or child
    _forgotten: int = 0  # jobs that the engine had forgotten when an answer was last reused
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def documents(self, kind: str) -> Mapping[str, Document]:
        """All documents of a kind, by name. Copies: their content may be changed and put back."""
        return {name: dict(body) for name, body in self.engine.resources(kind).items()}

    def find(self, kind: str, reference: str) -> Document | None:
        """The document that a name or ARN refers to, or None. A copy."""
        body = self.engine.resources(kind).get(self.names.name_of(kind, reference))
        return dict(body) if body is not None else None

    def get(self, kind: str, reference: str) -> Document:
        """The document that a name or ARN refers to. Raises ClientException if there is none."""
        found = self.find(kind, reference)
        if found is None:
            raise ClientException(f"{kind} {reference[:300]!r} does not exist")
        return found

    def follow_forgotten(self) -> None:
        """Before answers are reused: drop all of them if the engine has forgotten jobs since."""
        if (count := self.engine.jobs_forgotten()) != self._forgotten:
            self._forgotten = count
            self.forget_rendered()

    def forget_rendered(self) -> None:
        """Render DescribeJobs' output again: something usually constant has changed."""
        self.rendered.clear()
        self.fixed.clear()
        self.answers.clear()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Keep a reference to work that continues after its response was sent."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop all work in progress."""
        for task in self._tasks:
            task.cancel()
