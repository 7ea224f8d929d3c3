"""The folders that attempts run in: reused while they are left empty, since rmdir takes milliseconds."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

_MOST_SPARE: Final = 256


class Scratch:
    """Provides an empty folder per attempt, and takes it back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spare: list[str] = []
        self._taken: dict[int, str] = {}
        self._made = 0

    def open(self) -> None:
        """Start clean: leftovers of an earlier run are removed."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)

    def take(self, attempt_id: int) -> str:
        """An empty folder for an attempt."""
        if self._spare:
            folder = self._spare.pop()
        else:
            self._made += 1
            folder = f"{self._folder}/{self._made}"
            os.mkdir(folder, 0o700)  # noqa: PTH102 - names are kept as strings: it is faster
        self._taken[attempt_id] = folder
        return folder

    def give_back(self, attempt_id: int, *, is_dead: bool) -> str | None:
        """The attempt is over. An empty folder becomes a spare; a non-empty one is returned for removal.

        So is that of an attempt whose processes may still be alive: they may still write there.
        """
        folder = self._taken.pop(attempt_id, None)
        if folder is None:
            return None
        with contextlib.suppress(OSError):
            if is_dead and len(self._spare) < _MOST_SPARE and not os.listdir(folder):  # noqa: PTH208 - ten times as fast
                self._spare.append(folder)
                return None
        return folder

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
