"""Turns a move into SubmitJob's input. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from spotbatch.aws.job_shapes import retry_shape
from spotbatch.batch.environment import SPOTBATCH_ARRAY_INDEXES, SPOTBATCH_RUN_ID
from spotbatch.batch.retry import spot_safe
from spotbatch.controller.run import Move, Place, Run

RUN_TAG: Final = "spotbatch-controlled"  # the run's id: marks a job that the controller manages
PART_TAG: Final = "spotbatch-controlled-part"  # the move's number: used to find a submission whose answer was lost


def tags_of(run: Run, move: Move) -> dict[str, str]:
    """The tags that distinguish the jobs of a run, and of one of its moves, from all others."""
    return {RUN_TAG: run.run_id, PART_TAG: str(move.number)}


def request_of(run: Run, move: Move) -> dict[str, Any]:
    """SubmitJob's input for a move."""
    given = run.request
    overrides: Mapping[str, Any] = given.get("containerOverrides", {})
    own = {SPOTBATCH_RUN_ID: run.run_id}
    if run.size:
        own[SPOTBATCH_ARRAY_INDEXES] = str(move.indexes)
    found = {
        **given,
        "jobQueue": run.queue_of(move.need.place),
        "containerOverrides": {
            **overrides,
            "environment": _named(overrides.get("environment", []), own, "name"),
            "resourceRequirements": _named(
                overrides.get("resourceRequirements", []), {"MEMORY": str(move.need.memory_mib)}, "type"
            ),
        },
        "tags": {**given.get("tags", {}), **tags_of(run, move)},
    }
    if any(len(part.indexes.common(move.indexes)) for part in run.parts):
        found.pop("dependsOn", None)  # they have run before, so their dependencies are already met
    if len(move.indexes) > 1:
        found["arrayProperties"] = {"size": len(move.indexes)}
    if (attempts := _attempts(run, move)) is not None:
        found["retryStrategy"] = _retry(given.get("retryStrategy"), attempts)
    return found


def _named(given: Any, own: Mapping[str, str], key: str) -> list[dict[str, str]]:
    """A list of named values with ours added."""
    kept = [dict(each) for each in given if each.get(key) not in own]
    return [*kept, *({key: name, "value": value} for name, value in own.items())]


def _attempts(run: Run, move: Move) -> int | None:
    """How many attempts AWS Batch may make; on Spot no more than may be lost there. None: as submitted."""
    most = run.wishes.on_demand_after
    return max(1, most - move.need.losses) if most is not None and move.need.place is Place.SPOT else None


def _retry(given: Mapping[str, Any] | None, attempts: int) -> dict[str, Any]:
    if given is not None:
        return {**given, "attempts": min(attempts, int(given.get("attempts", attempts)))}
    return retry_shape(spot_safe(attempts))
