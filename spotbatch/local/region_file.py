"""The file `region.json` in a region's home: where the running region is, and the credentials that it requires.

The region writes it once it is ready; the command line reads it. It contains a secret, so only its owner can read it.
"""

import contextlib
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from spotbatch.batch.environment import AWS_EC2_METADATA_DISABLED
from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable

FILE_NAME: Final = "region.json"
_PS_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionInfo:
    """The content of `region.json`. `pid` is None once the region has stopped."""

    endpoint: str  # http://127.0.0.1:PORT
    home: str
    region: str
    account_id: str
    access_key: str
    secret_key: str
    artifacts: str  # the folder of the local artifact store
    version: str
    pid: int | None
    pid_started: str  # when the process started, according to the kernel: a pid alone may have been reused

    @property
    def artifacts_url(self) -> str:
        """The artifact store's URL for jobs and the command line: file:///..."""
        return Path(self.artifacts).as_uri()

    def environment(self) -> dict[str, str]:
        """The variables with which any AWS client finds this region."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            AWS_EC2_METADATA_DISABLED: "true",
        }


def default_home(environ: Mapping[str, str] = os.environ) -> Path:
    """$SPOTBATCH_HOME, or `spotbatch` in the user's state folder."""
    if named := environ.get("SPOTBATCH_HOME"):
        return Path(named).expanduser()
    state = environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "spotbatch"


def command(words: str, home: Path) -> str:
    """`spotbatch local ...` as it must be typed for this home: with --home unless it is the default."""
    option = "" if home.absolute() == default_home().absolute() else f" --home {shlex.quote(str(home))}"
    return f"spotbatch local {words}{option}"


def read(home: Path) -> RegionInfo:
    """What the region in this folder last wrote.

    Raises NotFound if the file does not exist, InvalidInput if it is broken, Unavailable if it cannot be read.
    """
    path = home / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no local region in {home}: start one with `{command('up', home)}`") from None
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be read ({error.strerror}): it may be another user's; use another folder with --home"
        ) from error
    try:
        return RegionInfo(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            f"{path} is not a region file ({error}): remove it, then run `{command('up', home)}`"
        ) from error


def write(home: Path, info: RegionInfo) -> None:
    """Replace the file atomically, readable only by its owner."""
    scratch = home / f".{FILE_NAME}.{os.getpid()}"
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        json.dump(asdict(info), out, indent=2)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(home / FILE_NAME)


def mark_stopped(home: Path) -> None:
    """Record that the region has stopped. Its credentials stay: shells that hold them work after the next start."""
    with contextlib.suppress(NotFound):
        write(home, replace(read(home), pid=None, pid_started=""))


def is_alive(info: RegionInfo) -> bool:
    """Whether the process that wrote the file is still running (the same one, not another with its pid)."""
    return info.pid is not None and info.pid_started != "" and process_started(info.pid) == info.pid_started


def process_started(pid: int) -> str:
    """When a process started, in the kernel's own unit; "" if it does not exist, or is only a zombie."""
    try:
        # Field 22 of proc(5) stat; the name in field 2 may contain spaces and parentheses, so count from its end.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return _process_started_by_ps(pid) if not Path("/proc/self").exists() else ""
    except ProcessLookupError:
        return ""
    return "" if fields[0] == "Z" else f"{fields[19]}@{_boot_id()}"


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _process_started_by_ps(pid: int) -> str:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PS_TIMEOUT_SECONDS)
    return answer.stdout.strip()
