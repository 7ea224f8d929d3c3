"""What happens to a file that is open for writing, or keeps changing, for longer than a save waits."""

import os
import re
import time
from collections.abc import Sequence
from fnmatch import translate

from spotbatch.runtime.checkpoints.open_rule import OpenRule, Unfinished
from spotbatch.runtime.process.open_files import FileId, OpenFiles

STREAM_SECONDS = 30.0  # a file that is written from start to end for longer than this is considered a log


class OpenPolicy:
    """Remembers since when each file has been open, and decides by the rule."""

    def __init__(self, rule: OpenRule = OpenRule.AUTO) -> None:
        self.rule = rule
        self._open_since: dict[FileId, float] = {}

    def observe(self, opened: OpenFiles) -> None:
        now = time.monotonic()
        self._open_since = {file: self._open_since.get(file, now) for file in opened.writers}

    def unfinished(self, file: FileId, opened: OpenFiles, why: str) -> Unfinished | None:
        """Whether it is being written from start to end, so that a copy would be incomplete.

        A file also open for reading may equally be a growing store: only a truncated one is being rewritten.
        """
        held = opened.writers.get(file)
        if held is None or held.appends or self.rule is OpenRule.FROZEN:
            return None
        if self.rule is OpenRule.BEFORE:
            return Unfinished(why)
        age_seconds = time.monotonic() - self._open_since.get(file, time.monotonic())
        if not held.is_stream or age_seconds >= STREAM_SECONDS:
            return None
        return Unfinished(why, only_if_smaller=held.is_read)


def unfinished_below(
    folder: str, exclude: Sequence[str], opened: OpenFiles, policy: OpenPolicy
) -> dict[str, Unfinished]:
    """Paths below a folder that would be incomplete if their writers ended now, and how to describe them."""
    top = os.path.realpath(os.fsencode(folder)) + b"/"
    is_excluded = re.compile("|".join(map(translate, exclude)) or r"(?!)").match
    found = {}
    for file, held in opened.writers.items():
        if held.appends or not held.path.startswith(top):
            continue
        path = os.fsdecode(held.path[len(top) :])
        if any(is_excluded(name) for name in path.split("/")):
            continue
        unfinished = policy.unfinished(file, opened, "it was being written when the command ended")
        if unfinished is not None:
            found[path] = unfinished
    return found
