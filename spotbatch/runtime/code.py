"""Unpacking the folder submitted with the job (`spotbatch submit --code`), for the command to run in."""

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from spotbatch.batch import artifacts
from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL, SPOTBATCH_CODE
from spotbatch.batch.errors import Corrupt, HostFault, InvalidSetting, Missing
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.download import download, reading_again
from spotbatch.runtime.storage.store import Store

_PIECE = 1 << 20
_MOST_BYTES = 1 << 30  # unpacked: an archive has a few tens of MiB at most, and one with more is not a folder of code


def fetch_code(sha256: str, store: Store | None, folder: Path, limit: Limit) -> None:
    """Fetch and unpack the archive into a new folder. Nothing is ever created outside it.

    Raises:
        InvalidSetting: there is no store, the archive is not in it, or it contains what no folder of code does.
        HostFault: the data received is not what was sent; another attempt may succeed.
        StoreError: the store did not answer within the limit.
    """
    if store is None:
        raise InvalidSetting(f"{SPOTBATCH_CODE} needs {SPOTBATCH_ARTIFACTS_URL}, which is not set")
    archive = folder.with_suffix(".tar.gz")
    try:
        reading_again(lambda: download(store, artifacts.code_archive(sha256), archive, limit, sha256), limit)
    except Missing as error:
        raise InvalidSetting(
            f"the code of this job ({sha256[:12]}) is not in the store any more: submit it again"
        ) from error
    except Corrupt as error:
        raise HostFault(f"the code of this job did not come back as it was sent: {error}") from error
    try:
        with tarfile.open(archive) as packed:
            _unpack(packed, folder)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise InvalidSetting(f"the code of this job ({sha256[:12]}) cannot be unpacked: {error}") from error
    archive.unlink()


def _unpack(packed: tarfile.TarFile, folder: Path) -> None:
    """Files first and links last, so that nothing is written through a link. (tarfile's own filter came with 3.11.4.)

    Raises ValueError for what `submit --code` does not pack.
    """
    members = packed.getmembers()
    if sum(member.size for member in members) > _MOST_BYTES:
        raise ValueError(f"it is more than {_MOST_BYTES >> 30} GiB unpacked")
    folder.mkdir()
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.issym()):
            raise ValueError(f"{member.name!r} is no file or link of a folder")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if member.isreg() and (content := packed.extractfile(member)) is not None:
            with (folder / path).open("xb") as file:
                shutil.copyfileobj(content, file, _PIECE)
            (folder / path).chmod(member.mode & 0o755)
    for member in members:
        if member.issym():
            link = folder / member.name
            if not Path(os.path.normpath(link.parent / member.linkname)).is_relative_to(folder):
                raise ValueError(f"the link {member.name!r} leads out of the folder")
            link.symlink_to(member.linkname)
