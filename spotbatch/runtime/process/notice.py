"""The interruption notice that the host writes to a file, in the form of EC2's `spot/instance-action`."""

from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime.light_path import Path

NOTICE_SECONDS = 120.0  # EC2's lead time, assumed if the notice does not give the time


@dataclass(frozen=True, kw_only=True)
class Notice:
    """The content of the host's notice."""

    action: str  # terminate, stop or hibernate
    at: float  # when it happens, in UTC epoch seconds


def read_notice(file: Path, now: float) -> Notice | None:
    """The notice, or None if there is none yet. A file that cannot be parsed still means: leave now.

    Source of the format: EC2 user guide, "Spot Instance interruption notices", instance-action.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError):
        return Notice(action="unknown", at=now + NOTICE_SECONDS)
    if not text.strip():
        return None  # created but not yet written
    import json
    from datetime import UTC, datetime  # only an attempt with a notice needs it

    try:
        said = json.loads(text)
        at = datetime.fromisoformat(str(said["time"]))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return Notice(action=str(said.get("action", "terminate")), at=at.timestamp())
    except (ValueError, KeyError, TypeError, AttributeError):
        return Notice(action="unknown", at=now + NOTICE_SECONDS)
