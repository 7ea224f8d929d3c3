"""Starts a local region in the background and waits until it is ready; stops one and waits for its end."""

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from spotbatch.batch.errors import InvalidInput, NotFound, SpotbatchError, Unavailable
from spotbatch.local import region_file
from spotbatch.local.background_process import Background
from spotbatch.local.client import RegionClient
from spotbatch.local.region_file import RegionInfo

LOG_NAME: Final = "region.log"
UP_SECONDS: Final = 60.0
_DOWN_SECONDS: Final = 60.0
_LAST_LINES: Final = 15
_WARNING: Final = "spotbatch local: "  # prefix of the region's own lines
_POLL_SECONDS: Final = 0.05
_NEEDED: Final = ("httptools", "moto", "uvicorn")  # what the extra `local` installs


def start(
    folder: Path,
    arguments: Sequence[str],
    wait_seconds: float = UP_SECONDS,
    *,
    say: Callable[[str], object] = lambda _: None,
) -> RegionInfo:
    """Start a region in the background and wait until it is ready; `say` receives its warnings.

    Raises Unavailable on another system than Linux, if a library is missing, or, with the last lines of its log, if it
    ends or does not get ready.
    """
    if sys.platform != "linux":
        raise Unavailable(
            f"the local region needs Linux, and this is {sys.platform}: start it in a Linux machine or container "
            "on this computer (docs/local-region.md, Other systems); the other commands work here, on AWS"
        )
    if missing := [each for each in _NEEDED if importlib.util.find_spec(each) is None]:
        raise Unavailable(f"the local region needs {', '.join(missing)}: pip install 'spotbatch[local]'")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = folder / LOG_NAME
    begun = log.stat().st_size if log.exists() else 0
    process = Background.start([sys.executable, "-m", "spotbatch.local", "--home", str(folder), *arguments], log)
    try:
        info = _until_ready(process, folder, log, begun, wait_seconds)
    except BaseException:
        process.end(_DOWN_SECONDS)  # a region that never got ready must not be left behind
        raise
    for line in _said(log, begun):
        if line.startswith(_WARNING):
            say(line)
    return info


def stop(info: RegionInfo, wait_seconds: float) -> bool:
    """Ask a region to stop; whether it has ended within this time."""
    RegionClient(info=info).shut_down()
    deadline = time.monotonic() + wait_seconds
    while region_file.is_alive(info):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _until_ready(process: Background, folder: Path, log: Path, begun: int, wait_seconds: float) -> RegionInfo:
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        code = process.poll()
        if code is not None:
            raise _ended_at_once(code, log, begun)
        info = alive(folder)
        if info is not None and info.pid == process.pid:
            return info
        time.sleep(_POLL_SECONDS)
    raise Unavailable(f"the local region was not ready within {wait_seconds:g} s; {_last_words(log, begun)}")


def _ended_at_once(code: int, log: Path, begun: int) -> SpotbatchError:
    """Why the region did not start: its own error with its own exit code, otherwise the end of its log."""
    written = "\n".join(_said(log, begun))
    start = written.rfind(f"\n{_WARNING}") + 1 or (0 if written.startswith(_WARNING) else -1)
    kind = next((one for one in (InvalidInput, NotFound, Unavailable) if one.exit_code == code), None)
    if kind is None or start < 0:
        return Unavailable(f"the local region ended at once, with exit code {code}; {_last_words(log, begun)}")
    return kind(written[start:].removeprefix(_WARNING))


def _said(log: Path, begun: int) -> list[str]:
    """The lines of a region's log from the byte at which its start began."""
    with log.open("rb") as lines:
        lines.seek(begun)
        return lines.read().decode("utf-8", "replace").splitlines()


def _last_words(log: Path, begun: int) -> str:
    last = _said(log, begun)[-_LAST_LINES:]
    if not last:
        return f"it wrote nothing to {log}"
    return f"the end of {log}:\n" + "\n".join(f"  {line}" for line in last)


def alive(folder: Path) -> RegionInfo | None:
    """The region in a folder, if it is running."""
    try:
        info = region_file.read(folder)
    except NotFound:
        return None
    return info if region_file.is_alive(info) else None
