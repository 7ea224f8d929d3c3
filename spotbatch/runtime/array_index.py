"""Which part of a run this job is: its index in the whole run, and its line in the list of inputs.

A run may be spread over several arrays (more than 10,000 inputs), or an array may hold only some of a run's children
(those rerun after they failed). `SPOTBATCH_ARRAY_INDEXES` then lists their indexes.
"""

import os
from collections.abc import MutableMapping

from spotbatch.batch import artifacts
from spotbatch.batch import environment as env
from spotbatch.batch.errors import InvalidInput, InvalidSetting
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.settings import Identity
from spotbatch.runtime.storage.download import fetch_bytes, reading_again
from spotbatch.runtime.storage.store import Store


def apply_array_index(variables: MutableMapping[str, str] = os.environ) -> None:
    """Set AWS_BATCH_JOB_ARRAY_INDEX to the index in the whole run, for us and for the command.

    Raises:
        InvalidSetting: the indexes cannot be read, or this child is beyond them.
    """
    text = variables.pop(env.SPOTBATCH_ARRAY_INDEXES, "").strip()
    if not text:
        return
    own = variables.get(env.AWS_BATCH_JOB_ARRAY_INDEX) or "0"  # a job that is not an array has a single index
    from spotbatch.batch.array_indexes import ArrayIndexes  # most jobs have no such variable, and need no import

    try:
        index = ArrayIndexes.parse(text).at(int(own)) if own.isdecimal() else None
    except InvalidInput as error:
        raise InvalidSetting(f"{env.SPOTBATCH_ARRAY_INDEXES}: {error}") from error
    if index is None:
        raise InvalidSetting(f"{env.SPOTBATCH_ARRAY_INDEXES}={text!r} has no index for child {own}")
    variables[env.AWS_BATCH_JOB_ARRAY_INDEX] = str(index)


def fetch_own_input(
    identity: Identity, store: Store | None, limit: Limit, variables: MutableMapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Put the child's line into SPOTBATCH_INPUT; return it for fetching if it is an object's URL.

    Raises:
        InvalidSetting: there is no store, no index, or no such line.
        Missing, StoreError: the list is not there, or the store does not answer.
    """
    if variables.get(env.SPOTBATCH_INPUT_LIST) != "1":
        return ()
    index = identity.array_index
    if store is None or index is None:
        raise InvalidSetting(f"{env.SPOTBATCH_INPUT_LIST} needs {env.SPOTBATCH_ARTIFACTS_URL} and a child of an array")
    key = artifacts.input_list(identity.run_id, index)
    lines = _lines(reading_again(lambda: fetch_bytes(store, key, limit), limit), key)
    place = index % artifacts.INPUTS_A_LIST
    if place >= len(lines):
        raise InvalidSetting(f"the run's list of inputs has no line for child {index}")
    line = lines[place]
    variables[env.SPOTBATCH_INPUT] = line
    return (line,) if line.startswith(("s3://", "file://")) and not line.endswith("/") else ()


def _lines(data: bytes, key: str) -> list[str]:
    """Raises InvalidSetting if the text is not a list of lines."""
    import json  # 2 ms, which a job without a list need not pay

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if type(found) is not list or not all(type(line) is str for line in found):
        raise InvalidSetting(
            f"{key} is no list of inputs as `spotbatch submit --inputs` writes it: submit the run again"
        )
    return found
