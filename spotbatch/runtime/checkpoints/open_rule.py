"""What to do with a file that is open while it is saved: the setting, and why a file is not taken as it is."""

from enum import StrEnum

from spotbatch.batch.light_types import NamedTuple


class OpenRule(StrEnum):
    """The allowed values of SPOTBATCH_CHECKPOINT_OPEN_FILES."""

    AUTO = "auto"  # a file being written from start to end keeps its old version for a while; others are copied
    FROZEN = "frozen"  # all are copied at a moment at which the command is frozen
    BEFORE = "before"  # the previous version, or none: the command is never frozen


class Unfinished(NamedTuple):
    """Why a file may be incomplete."""

    why: str
    only_if_smaller: bool = False  # than it was at the last checkpoint: it was truncated and is being rewritten
