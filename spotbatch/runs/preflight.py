"""Jobs that AWS Batch would accept but could never run are refused early: by `submit`, a dry run and the client.

A job that fits no instance type waits in its queue forever and, as a queue keeps its order, blocks all jobs behind it.
Unknowns (a type missing from the catalogue, a query that AWS refuses) never cause a refusal.
"""

from pathlib import Path
from typing import Final

from spotbatch.aws import session
from spotbatch.aws.inspection import Inspector, Queue
from spotbatch.aws.job_shapes import Definition
from spotbatch.aws.jobs import Jobs
from spotbatch.aws.price_cache import current_catalogue
from spotbatch.batch.errors import InvalidInput, SpotbatchError
from spotbatch.batch.job import JobRequest
from spotbatch.runs.capacity import fits, requirements_of, shortfall, types_of, unknown_types
from spotbatch.runs.code import file_at_home

_ANYWAY: Final = "--no-check sends it all the same"


def check(request: JobRequest, *, jobs: Jobs, folder: Path | None = None) -> None:
    """Raises InvalidInput for a job that would be accepted but could not run, with the value and the fix.

    `folder` is the user's current folder; None if the job brings its own code.
    """
    _check_program(request, folder)
    try:
        definition = jobs.definition(request.definition)
        queue = Inspector(batch=jobs.batch).queue(request.queue)
    except SpotbatchError:
        return  # SubmitJob gives a better message, and a role that may submit need not have read access
    _check_command(request, definition)
    _check_capacity(request, definition, queue)
    if not session.is_local():
        _check_architecture(definition, queue)


def _check_program(request: JobRequest, folder: Path | None) -> None:
    """In the local region images contain no files: a relative path finds nothing. On AWS it is a path in the image."""
    named = file_at_home(request.command or (), folder) if folder is not None and session.is_local() else None
    if named is not None:
        raise InvalidInput(
            f"{named} is a file of this folder, and a job does not run here: `--code .` sends this folder along with "
            f"the job (on AWS it may also be in the image, by `spotbatch image push`); {_ANYWAY}"
        )


def _check_command(request: JobRequest, definition: Definition) -> None:
    if not request.command and not definition.command and session.is_local():
        raise InvalidInput(
            f"the job has no command: job definition {definition.name} names none, and in the local region no image "
            "has one of its own: give it after `--`, as in `spotbatch submit -- python work.py`"
        )


def _check_capacity(request: JobRequest, definition: Definition, queue: Queue) -> None:
    usable = [each for each in queue.environments if each.is_usable]
    catalogue = current_catalogue()
    if not usable or any(unknown_types(each, catalogue) for each in usable):
        return
    needs = requirements_of(request, definition.requirements)
    types = [kind for each in usable for kind in types_of(each, catalogue)]
    if types and not any(fits(kind, needs) for kind in types):
        lack = shortfall(needs, types)
        raise InvalidInput(f"no instance type of this queue has {lack.asked}: {lack.evidence}; {lack.fix} ({_ANYWAY})")
    smallest = min((kind.vcpus for kind in types if fits(kind, needs)), default=0)
    most = max(each.max_vcpus for each in usable)
    if smallest > most:
        raise InvalidInput(
            f"the smallest host that holds the job has {smallest} vCPUs, and this queue has at most {most}: ask for "
            f"less, or raise max_vcpus ({_ANYWAY})"
        )


def _check_architecture(definition: Definition, queue: Queue) -> None:
    """Only an image in ECR can be checked for its architecture."""
    inspector = Inspector()
    try:
        _, built_for = inspector.image(definition.image)
    except SpotbatchError:
        return
    catalogue = current_catalogue()
    offered = {kind.architecture for each in queue.environments for kind in types_of(each, catalogue)}
    if built_for and offered and not offered & set(built_for):
        raise InvalidInput(
            f"the image {definition.image} is built for {', '.join(built_for)}, and this queue's hosts are "
            f"{', '.join(sorted(offered))}: docker buildx build --platform linux/amd64 (or linux/arm64)"
        )
