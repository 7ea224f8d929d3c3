"""What may become of a file that is open while it is saved: the setting, and why a file is not taken as it is."""

from enum import StrEnum
from typing import NamedTuple


class OpenRule(StrEnum):
    """What SPOTBATCH_CHECKPOINT_OPEN_FILES may be."""

    AUTO = "auto"  # a file that is being written from start to end stays as before for a while; others are copied
    FROZEN = "frozen"  # all are copied at a moment at which the command stands still
    BEFORE = "before"  # the version before, or none: the command is never stopped


class Unfinished(NamedTuple):
    """Why a file may be the half of something."""

    why: str
    only_if_smaller: bool = False  # than it was at the last checkpoint: it was cut, and is being written anew
