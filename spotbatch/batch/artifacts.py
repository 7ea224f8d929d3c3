"""Where a run's artifacts are stored below the store's URL: the contract between runtime, CLI and cost report.

    runs/<run id>/<unit>/checkpoints/...     written and pruned by the runtime
    runs/<run id>/<unit>/output/...          the command's outputs, once it succeeded
    runs/<run id>/<unit>/output.json         the marker, written last: lists the outputs; without it there are none
    runs/<run id>/<unit>/output.pending.json   the same list, written first: while it exists, uploads are outstanding
    runs/<run id>/<unit>/attempts/<n>.json   the record of attempt n
    runs/<run id>/<unit>/failed/<n>/...      last log lines and partial outputs of a failed attempt
    runs/<run id>/<unit>/snapshots/...       the memory and files of a command that was dumped (docs/snapshots.md)
    runs/<run id>/<unit>/snapshot.json       the document of the newest, written last: without it there is none
    runs/<run id>/<unit>/progress.json       the command's latest progress report
    runs/<run id>/inputs/<n>.json            lines from n * 1000 on of the run's list of inputs, one per child
    runs/<run id>/run.json                   the jobs of a run that consists of more than one job
    runs/<run id>/controller.json            what the controller did for a run under its control, and why
    runs/code/<sha256>.tar.gz                a folder sent with jobs (`submit --code`), stored once per content

A unit is `job` for a job that is not an array, and the five-digit index for a child of an array. A host known to a
recording machine (the local region) is stored in `hosts/<instance id>.json`.
"""

from spotbatch.batch.light_types import Final

INPUTS_A_LIST: Final = 1000


def run_prefix(run_id: str) -> str:
    """The folder of a run, without a trailing slash."""
    return f"runs/{run_id}"


def unit_name(array_index: int | None) -> str:
    """`job`, or the array index in five digits (an array has at most 10,000 children)."""
    return "job" if array_index is None else f"{array_index:05d}"


def unit_prefix(run_id: str, array_index: int | None) -> str:
    """The folder of one job, or of one child of an array."""
    return f"{run_prefix(run_id)}/{unit_name(array_index)}"


def output_prefix(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/output"


def output_marker(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/output.json"


def output_pending(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/output.pending.json"


def attempt_record(run_id: str, array_index: int | None, attempt: int) -> str:
    return f"{unit_prefix(run_id, array_index)}/attempts/{attempt:02d}.json"


def checkpoint_prefix(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/checkpoints"


def failed_prefix(run_id: str, array_index: int | None, attempt: int) -> str:
    return f"{unit_prefix(run_id, array_index)}/failed/{attempt:02d}"


def snapshot_prefix(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/snapshots"


def snapshot_marker(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/snapshot.json"


def progress_key(run_id: str, array_index: int | None) -> str:
    return f"{unit_prefix(run_id, array_index)}/progress.json"


def input_list(run_id: str, array_index: int) -> str:
    """The object that holds a child's input line, among `INPUTS_A_LIST` of them: a JSON list of strings."""
    return f"{run_prefix(run_id)}/inputs/{array_index // INPUTS_A_LIST:05d}.json"


def run_manifest(run_id: str) -> str:
    return f"{run_prefix(run_id)}/run.json"


def controller_story(run_id: str) -> str:
    return f"{run_prefix(run_id)}/controller.json"


def code_archive(sha256: str) -> str:
    """A packed folder, by the SHA-256 of the archive in hexadecimal."""
    return f"{run_prefix('code')}/{sha256}.tar.gz"
