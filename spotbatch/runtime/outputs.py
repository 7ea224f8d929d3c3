"""Storing the command's outputs, all or nothing, and keeping what a failed attempt leaves behind."""

import os
import stat
from collections.abc import Mapping

from spotbatch.batch.errors import BadName
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime import pending_outputs
from spotbatch.runtime.deadline import Limit, retrying
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.log import say
from spotbatch.runtime.pending_outputs import OutputFile
from spotbatch.runtime.storage.store import Store

WIDTH = 4
SMALL_BYTES = 8 * 1024 * 1024  # sent in one request
_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISDIR, "a link to a folder"),
)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Where the outputs of one unit are stored."""

    prefix: str  # prefix of the files, without a trailing slash
    marker: str  # written last
    pending: str  # written first


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """What was sent; empty if the store already had everything."""

    files: tuple[OutputFile, ...]
    uploaded_bytes: int

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def upload_outputs(store: Store, keys: Keys, folder: Path, limit: Limit) -> Uploaded:
    """Send every file of `folder` below the prefix, then the marker that lists them and makes them valid.

    Files that the marker in the store already lists with the same content are not sent again.

    Raises:
        StoreError: not all could be sent within the limit; then the marker is not written.
        BadName: an output that can never be one.
        OSError: a file or folder cannot be read.
    """
    files = list_outputs(folder)
    before = pending_outputs.read_listing(store, keys.marker, limit)
    new = [file for file in files if before.get(file.path) != file]
    if before and not new and len(before) == len(files):
        return Uploaded(files=tuple(files), uploaded_bytes=0)
    if new:
        retrying(lambda: store.put(keys.pending, pending_outputs.listing(files)), limit)
    if before and new:
        retrying(lambda: store.delete([keys.marker]), limit)  # the files that it lists are about to be overwritten
    return _send(store, keys, files, {file.path: folder / file.path for file in new}, limit)


def finish_upload(store: Store, keys: Keys, folder: Path | None, limit: Limit) -> Uploaded | None:
    """Finish what an earlier attempt began, from the store and from `folder` if that survived.

    None: nothing is pending, or a file is in neither place.

    Raises:
        StoreError: the store did not answer within the limit.
    """
    wanted = pending_outputs.read_listing(store, keys.pending, limit)
    if not wanted and folder is not None:  # not even the list could be sent
        wanted = {file.path: file for file in list_outputs(folder)}
    if not wanted:
        return None
    if pending_outputs.read_listing(store, keys.marker, limit):
        pending_outputs.forget(store, keys.pending, limit)
        return None  # they were complete: the command is run again because the user wants it
    here = pending_outputs.kept_here(folder, wanted)
    missing = set(wanted) - here
    if missing:
        missing -= pending_outputs.in_store(store, keys.prefix, {path: wanted[path] for path in missing}, limit)
    if missing:
        say(
            f"outputs of an attempt before were not all sent, and {len(missing)} of {len(wanted)} are gone with its "
            f"host (such as {min(missing)!r}): the command runs again from its last state"
        )
        return None
    say(f"the command has succeeded in an attempt before, and is not run again: {len(here)} outputs are left to send")
    files = [wanted[path] for path in sorted(wanted)]
    return _send(store, keys, files, {path: folder / path for path in here if folder is not None}, limit)


def _send(store: Store, keys: Keys, files: list[OutputFile], new: Mapping[str, Path], limit: Limit) -> Uploaded:
    """Send some of these files, then the marker that lists all of them."""

    def send(path: str) -> None:
        send_file(store, f"{keys.prefix}/{path}", new[path], limit)

    if new:
        from spotbatch.runtime.storage.parallel import in_parallel  # a command without outputs need not wait for it

        in_parallel(WIDTH, new, send)
    retrying(lambda: store.put(keys.marker, pending_outputs.listing(files)), limit)
    _remove_strays(store, keys.prefix, {file.path for file in files}, limit)
    if files:
        pending_outputs.forget(store, keys.pending, limit)
    return Uploaded(files=tuple(files), uploaded_bytes=sum(file.size for file in files if file.path in new))


def list_outputs(folder: Path, *, is_strict: bool = True) -> list[OutputFile]:
    """Regular files below the folder, following links to files, ordered by path. What cannot be an output is logged.

    Raises:
        BadName: a link that leads nowhere, unless it is not strict.
        OSError: a folder or file cannot be read.
    """
    found = []
    for top, folders, names in os.walk(folder, onerror=_raise):
        for name in folders + names:
            file = Path(top, name)
            shown = file.relative_to(folder).as_posix()
            try:
                mode = file.stat().st_mode
            except OSError as error:
                if not file.is_symlink():
                    raise
                _refuse_link(shown, file, error, is_strict=is_strict)
                continue
            if stat.S_ISREG(mode):
                found.append(pending_outputs.output_file(folder, file))
            elif not stat.S_ISDIR(mode) or file.is_symlink():
                kind = next((text for is_kind, text in _KINDS if is_kind(mode)), "no file")
                say(f"not saved: the output {shown!r} is {kind}")
    return sorted(found, key=lambda file: file.path)


def _refuse_link(shown: str, file: Path, error: OSError, *, is_strict: bool) -> None:
    text = f"the output {shown!r} is a link to {str(file.readlink())!r}, which leads nowhere ({error.strerror})"
    if is_strict:
        raise BadName(f"{text}: remove it, or write the file that it means")
    say(f"not saved: {text}")


def send_file(store: Store, key: str, file: Path, limit: Limit) -> None:
    """Send one file, in a single request if it is small and in parts if it is large."""
    if file.stat().st_size <= SMALL_BYTES:
        data = file.read_bytes()
        retrying(lambda: store.put(key, data), limit)
    else:
        retrying(lambda: store.put_file(key, file, limit.moved), limit)


def _raise(error: OSError) -> None:
    raise error


def _remove_strays(store: Store, prefix: str, paths: set[str], limit: Limit) -> None:
    """Remove files of an earlier attempt that was cut off while uploading and that the marker does not list."""
    present = retrying(lambda: [key for key, _ in store.list(f"{prefix}/")], limit)
    strays = [key for key in present if key.removeprefix(f"{prefix}/") not in paths]
    if strays:
        retrying(lambda: store.delete(strays), limit)
