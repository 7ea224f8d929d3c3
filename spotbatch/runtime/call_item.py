"""Sent with `Client.map`, and run by the job's own Python: calls the pickled function with one child's item.

Self-contained: spotbatch need not be installed alongside the function. Standard output belongs to the function;
errors go to standard error: a line from which the caller recreates the exception, and the traceback.
"""

import base64
import json
import os
import sys
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ERROR_MARK = "spotbatch-exception:"
MOST_ERROR_CHARACTERS = 12_000  # Docker cuts a line of a container at 16 KiB (its guide, "awslogs" and partial lines)
MOST_TRACEBACK_CHARACTERS = 5000
EXIT_FAILED = 1
EXIT_OTHER_VERSION = 3


def main() -> int:
    """Returns the exit code: 0, 1 if the function raised, 3 if this Python cannot read what was sent."""
    sent = json.loads((HERE / "versions.json").read_text(encoding="utf-8"))
    if problem := other_version(sent):
        return _refuse(problem)
    _note_our_version(sent["spotbatch"])
    sys.path.insert(0, str(HERE))  # the cloudpickle version that pickled, whatever is installed here
    sys.path.insert(0, str(HERE.parent))  # the folder that was sent along
    import cloudpickle

    if cloudpickle.__version__ != sent["cloudpickle"]:
        return _refuse(f"cloudpickle {cloudpickle.__version__} is here, and {sent['cloudpickle']} pickled the function")
    try:
        function = cloudpickle.loads((HERE / "function.pickle").read_bytes())
        item = item_of(os.environ["SPOTBATCH_INPUT"], os.environ.get("SPOTBATCH_INPUT_DIR", ""))
        value = _called(function, cloudpickle.loads(item), sent["tries"])
        result = cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises is its result
        _tell(cloudpickle, error)
        return EXIT_FAILED
    Path(os.environ["SPOTBATCH_OUTPUT_DIR"], "result.pickle").write_bytes(result)
    return 0


def other_version(sent: dict[str, Any]) -> str:
    """Why this Python cannot read another version's pickle; "" if it can. Byte code is specific to a minor version."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here == sent["python"]:
        return ""
    return f"this is Python {here}, and Python {sent['python']} pickled the function: use an image with that one"


def item_of(given: str, folder: str) -> bytes:
    """The pickled item: the end of a line, or the content of the file fetched from its URL."""
    _, mark, text = given.rpartition("#pickle:")
    return base64.b64decode(text) if mark else Path(folder, given.rpartition("/")[2]).read_bytes()


def _called(function: Any, item: Any, tries: int) -> Any:
    for number in range(1, tries):
        try:
            return function(item)
        except Exception:  # noqa: BLE001 - as above
            traceback.print_exc()
            sys.stderr.write(f"try {number} of {tries} failed: again in {2**number} s\n")
            time.sleep(2**number)
    return function(item)


def _tell(cloudpickle: Any, error: Exception) -> None:
    text = traceback.format_exc()
    try:
        pickled = base64.b64encode(cloudpickle.dumps((error, text[-MOST_TRACEBACK_CHARACTERS:]))).decode()
    except Exception:  # noqa: BLE001 - a user's own exception may fail to pickle in any way
        pickled = ""
    if not pickled or len(pickled) > MOST_ERROR_CHARACTERS:
        pickled = base64.b64encode(cloudpickle.dumps((None, text[-MOST_TRACEBACK_CHARACTERS:]))).decode()
    sys.stderr.write(f"{ERROR_MARK}{pickled}\n{text}")  # the log's last line is what people look at first
    sys.stderr.flush()


def _note_our_version(sent: str) -> None:
    """The image may have a different spotbatch than the caller; the pickles do not depend on it, a function may."""
    try:
        here = version("spotbatch")
    except PackageNotFoundError:
        return
    if here != sent:
        sys.stderr.write(f"spotbatch {here} is in this image, and {sent} sent the function\n")


def _refuse(problem: str) -> int:
    sys.stderr.write(f"{problem}\n")
    return EXIT_OTHER_VERSION


if __name__ == "__main__":
    sys.exit(main())
