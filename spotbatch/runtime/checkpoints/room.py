"""Making room for a restore: an empty folder, and the marker of one that is being filled."""

import os
import stat

from spotbatch.runtime.errors import local_error
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say

MARKER = ".spotbatch-restore-under-way"


def make_room(folder: Path) -> None:
    """An empty folder, or what an earlier restore left in it; anything else found there is moved aside, never
    deleted.

    Raises:
        InvalidSetting: the folder cannot be created or emptied. HostFault: not on this host.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_empty(folder) and not is_restore_under_way(folder):
            aside = _free_name(folder)
            folder.rename(aside)
            folder.mkdir()
            say(f"{folder} was not empty: what was in it is now in {aside}")
    except OSError as error:
        text = f"the checkpoint folder {folder} must be writable, and empty or such that it can be moved aside: {error}"
        raise local_error(text, error) from error


def is_empty(folder: Path) -> bool:
    """Raises OSError if it cannot be read."""
    with os.scandir(folder) as entries:
        return next(entries, None) is None


def is_restore_under_way(folder: Path) -> bool:
    try:
        return stat.S_ISREG((folder / MARKER).lstat().st_mode)
    except OSError:
        return False


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before-{number}")).exists():
        number += 1
    return aside
