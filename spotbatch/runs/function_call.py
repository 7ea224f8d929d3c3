"""Sending a Python function and its items to jobs, and getting their results back: `Client.map`'s pickles.

The function is sent through the artifact store, like the `--code` folder, with cloudpickle and a small program that
calls it, so that a job needs only the same Python. Items are sent as the run's inputs.
"""

import base64
import binascii
import hashlib
import json
import pickle
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spotbatch import __version__
from spotbatch.aws.artifacts import Artifacts, read_json
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.runs.code import Code, with_files
from spotbatch.runs.inputs import PICKLE_MARK, Inputs

RESULT: Final = "result.pickle"
FOLDER: Final = ".spotbatch_map"
PROGRAM: Final = f"{FOLDER}/call_item.py"
_ERROR_MARK: Final = "spotbatch-exception:"  # as call_item.py writes it
_INLINE_CHARACTERS: Final = 6000  # an input is a line of at most 8,192; a longer item gets its own file
_LABEL_CHARACTERS: Final = 60


class RemoteTraceback(Exception):
    """The traceback of an exception raised in a job; set as the exception's `__cause__`."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FunctionCall:
    """What is sent: the function in its folder, and one input per item."""

    code: Code
    inputs: Inputs


def prepared(
    function: Callable[[Any], Any], items: Sequence[Any], *, tries: int, code: Code | None, folder: Path
) -> FunctionCall:
    """Pickle a function and its items. Long items are written into `folder`, which must exist until they are sent.

    Raises InvalidInput for what cannot be pickled.
    """
    import cloudpickle

    if tries < 1:
        raise InvalidInput(f"tries is how often the function is called for an item, at least 1, not {tries}")
    with _whole_module(function, is_code_sent=code is not None):
        pickled = _dumped(function, f"the function {_name_of(function)}")
    versions = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "cloudpickle": cloudpickle.__version__,
        "spotbatch": __version__,
        "tries": tries,
    }
    files = {
        PROGRAM: (Path(__file__).parents[1] / "runtime" / "call_item.py").read_bytes(),
        f"{FOLDER}/function.pickle": pickled,
        f"{FOLDER}/versions.json": json.dumps(versions).encode(),
    }
    home = Path(cloudpickle.__file__).parent
    files |= {f"{FOLDER}/cloudpickle/{each.name}": each.read_bytes() for each in sorted(home.glob("*.py"))}
    return FunctionCall(code=with_files(code, files), inputs=_inputs(items, folder))


def function_name(function: Callable[[Any], Any]) -> str:
    """A job's name for a function."""
    return _name_of(function).strip("<>").replace(".", "-")[:60] or "map"


def _inputs(items: Sequence[Any], folder: Path) -> Inputs:
    pickled = [_dumped(item, f"item {number}") for number, item in enumerate(items)]
    encoded = (base64.b64encode(data).decode() for data in pickled)
    lines = [f"{_label(item)}{PICKLE_MARK}{text}" for item, text in zip(items, encoded, strict=True)]
    if all(len(line) <= _INLINE_CHARACTERS for line in lines):
        return Inputs.of_lines(lines, source="map")
    paths = [folder / f"item-{number:07d}.pickle" for number in range(len(pickled))]
    for path, data in zip(paths, pickled, strict=True):
        path.write_bytes(data)
    return Inputs(source="map", files=tuple(paths))


def _label(item: object) -> str:
    """How an item is shown next to its child: its own text, in one short line."""
    try:
        text = " ".join(repr(item).split())
    except Exception:  # noqa: BLE001 - a repr of the user's own may raise anything
        text = type(item).__name__
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 3]}..."


def _dumped(value: object, what: str) -> bytes:
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        raise InvalidInput(f"{what} cannot be pickled, so it cannot be sent to a job: {error}") from error


def _name_of(function: Callable[[Any], Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


@contextmanager
def _whole_module(function: Callable[[Any], Any], *, is_code_sent: bool) -> Iterator[None]:
    """A function from the user's own module is sent with the module, unless the module's folder is sent.

    Installed packages (site-packages, the standard library) are expected in the job's image.
    """
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", "") or "")
    file = getattr(module, "__file__", None)
    places = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    is_installed = file is None or any(Path(file).is_relative_to(each) for each in places)
    if is_code_sent or module is None or module.__name__ == "__main__" or is_installed:
        yield
    else:
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


def result_of(store: Artifacts, run_id: str, index: int) -> tuple[Any] | None:
    """What the function returned for an item, in a tuple; None if it is not there yet. Raises Unavailable."""
    try:
        marker = read_json(store, layout.output_marker(run_id, index))
    except NotFound:
        return None
    [found] = [each for each in marker["files"] if each["path"] == RESULT] or [None]
    data = store.read(f"{layout.output_prefix(run_id, index)}/{RESULT}")
    if found is None or hashlib.sha256(data).hexdigest() != found["sha256"]:
        raise Unavailable(f"the result for item {index} of run {run_id} is not what the job saved: run it again")
    return (pickle.loads(data),)  # noqa: S301 - the caller's own function made it


def error_in(lines: Iterable[str]) -> Exception | None:
    """The exception that a job reported in its log, with the remote traceback as its cause; None if there is none."""
    for line in reversed(list(lines)):
        _, mark, text = line.partition(_ERROR_MARK)
        if not mark:
            continue
        try:
            error, remote = pickle.loads(base64.b64decode(text))  # noqa: S301 - as above
        except (binascii.Error, pickle.UnpicklingError, AttributeError, ImportError, EOFError, TypeError, ValueError):
            return None
        if not isinstance(error, Exception):
            error = RuntimeError(remote.strip().rpartition("\n")[2])
        error.__cause__ = RemoteTraceback(remote)
        found: Exception = error
        return found
    return None


def items_folder() -> "tempfile.TemporaryDirectory[str]":
    """Where long items are kept until they are sent."""
    return tempfile.TemporaryDirectory(prefix="spotbatch-map-")
