"""Where jobs are sent: the queue and the definition, given by the user or found in the stack's outputs."""

from dataclasses import dataclass

from spotbatch.aws import stack_outputs
from spotbatch.batch.errors import NotFound


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A queue, a job definition, and the stack's bucket if the stack was queried."""

    queue: str
    definition: str
    bucket: str = ""


def destination(*, stack: str | None = None, queue: str | None = None, definition: str | None = None) -> Destination:
    """Query the stack for what was not given. Raises like `stack_outputs.read`."""
    if queue and definition:
        return Destination(queue=queue, definition=definition)
    outputs = stack_outputs.read(stack)
    found = Destination(
        queue=queue or outputs.job_queue, definition=definition or outputs.job_definition, bucket=outputs.bucket
    )
    if not found.queue or not found.definition:
        raise NotFound(f"stack {outputs.stack} has no outputs JobQueueName and JobDefinitionName: is it one of ours?")
    return found


def queue_of(*, stack: str | None = None, queue: str | None = None) -> str:
    """The given queue, or the stack's."""
    return queue or destination(stack=stack).queue
