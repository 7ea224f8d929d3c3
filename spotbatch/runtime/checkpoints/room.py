"""Making room for a restore: an empty folder, and the marker of one that is being filled."""

import os
import stat

from spotbatch.runtime.errors import local_error
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say

_LOST_AND_FOUND = b"lost+found"
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


def is_empty(folder: str | os.PathLike[str]) -> bool:
    """Raises OSError if it cannot be read."""
    with os.scandir(folder) as entries:
        return all(is_of_the_file_system(folder, entry) for entry in entries)


def is_of_the_file_system(top: str | bytes | os.PathLike[str], entry: "os.DirEntry[str] | os.DirEntry[bytes]") -> bool:
    """Whether an entry of the checkpoint folder itself is `lost+found` of a volume that is mounted there (mkfs makes
    it, and only root may read it: mke2fs(8)). It is neither saved nor removed, and a folder with nothing else is empty.
    """
    is_named_so = os.fsencode(entry.name) == _LOST_AND_FOUND
    return is_named_so and entry.is_dir(follow_symlinks=False) and os.path.ismount(top)


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
