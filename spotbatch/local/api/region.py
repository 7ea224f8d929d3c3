"""What every operation needs: the engine, this region's names, and the resources that it keeps."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from spotbatch.local.api.errors import ClientException
from spotbatch.local.api.names import Names
from spotbatch.local.contract import LAUNCH_TEMPLATE as LAUNCH_TEMPLATE
from spotbatch.local.contract import Engine, UnitView

# The resources' documents, as DescribeX answers them. Their keys are AWS's; the service model checked their shapes.
Document = dict[str, Any]

ENVIRONMENT: Final = "compute-environment"
QUEUE: Final = "job-queue"
DEFINITION: Final = "job-definition"
POLICY: Final = "scheduling-policy"
JOB_TAGS: Final = "job-tags"
STACK: Final = "stack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """JSON without its braces: a job's unchanging members, and those of its container."""

    members: bytes
    container: bytes
    task: Document | None = None  # of a job by ecsProperties: it stands there, with its container's results


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What DescribeJobs said of a job or child, and what it stood on."""

    view: UnitView
    json: bytes


@dataclass(kw_only=True, slots=True)
class Region:
    """One local region, as its operations see it."""

    engine: Engine
    names: Names
    artifacts_url: str
    idle_seconds: float = 60.0
    clock: Callable[[], float] = time.time
    user_data_of: Callable[[Mapping[str, str]], str | None] = lambda _named: None  # of a launch template at moto's EC2
    rendered: dict[str, Rendered] = field(default_factory=dict)  # by job id, without an index; see described.py
    answers: dict[str, Answer] = field(default_factory=dict)  # by the id of a job or child
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def documents(self, kind: str) -> Mapping[str, Document]:
        """All documents of a kind, by name. Copies: what they hold may be changed and put back."""
        return {name: dict(body) for name, body in self.engine.resources(kind).items()}

    def find(self, kind: str, reference: str) -> Document | None:
        """The document that a name or ARN means, or None. A copy."""
        body = self.engine.resources(kind).get(self.names.name_of(kind, reference))
        return dict(body) if body is not None else None

    def get(self, kind: str, reference: str) -> Document:
        """The document that a name or ARN means. Raises ClientException when there is none."""
        found = self.find(kind, reference)
        if found is None:
            raise ClientException(f"{kind} {reference[:300]!r} does not exist")
        return found

    def forget_rendered(self) -> None:
        """Render again what DescribeJobs says: something that never changes did."""
        self.rendered.clear()
        self.answers.clear()

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to work that goes on after its answer was sent."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop what still goes on."""
        for task in self._tasks:
            task.cancel()
