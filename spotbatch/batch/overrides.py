"""How long the overrides of a job may be: SubmitJob accepts more, and the job then fails at its start.

AWS Batch passes what a submission changes to ECS as a task override, which has at most 8,192 characters, including
its JSON syntax (API reference of ECS, RunTask). Jobs above the limit end FAILED with ECS's own message (reported in
ASFHyP3/hyp3 #3041, Netflix/metaflow #977). AWS Batch adds its own variables, so that less is left: others report
that 7,680 characters failed. What else it adds is not published.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from spotbatch.batch import environment as names

MAX_OVERRIDES_LENGTH: Final = 8192
OVERRIDES_TOO_LONG: Final = f"Container Overrides length must be at most {MAX_OVERRIDES_LENGTH}"
_CONTAINER: Final = "default"
_A_JOB_ID: Final = "0" * 36
_AN_INDEX: Final = "0000"


def overrides_length(
    *,
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    requirements: Mapping[str, str] | None = None,
    queue: str = "",
    compute_environment: str = "",
    is_array: bool = False,
) -> int:
    """The length of the override that ECS gets: what the submission changes, and AWS Batch's own variables.

    `command` is the one set by the submission or filled with its parameters; empty if the definition's applies.
    """
    own = {
        names.AWS_BATCH_JOB_ID: f"{_A_JOB_ID}:{_AN_INDEX}" if is_array else _A_JOB_ID,
        names.AWS_BATCH_JOB_ATTEMPT: "1",
        names.AWS_BATCH_CE_NAME: compute_environment,
        names.AWS_BATCH_JQ_NAME: queue,
        **({names.AWS_BATCH_JOB_ARRAY_INDEX: _AN_INDEX} if is_array else {}),
    }
    override: dict[str, object] = {
        "name": _CONTAINER,
        "environment": [{"name": name, "value": value} for name, value in {**(environment or {}), **own}.items()],
    }
    if command:
        override["command"] = list(command)
    if requirements:
        override["resourceRequirements"] = [{"type": kind, "value": value} for kind, value in requirements.items()]
    return len(json.dumps({"containerOverrides": [override]}, separators=(",", ":"), ensure_ascii=False))
