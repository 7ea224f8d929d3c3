"""Unpacking the folder that a user sent along with the job (`spotbatch submit --code`), for the command to run in."""

import hashlib
import tarfile
from pathlib import Path

from spotbatch.batch import artifacts
from spotbatch.batch.environment import SPOTBATCH_ARTIFACTS_URL, SPOTBATCH_CODE
from spotbatch.batch.errors import Corrupt, InvalidSetting, Missing
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.download import download
from spotbatch.runtime.storage.store import Store

_PIECE = 1 << 20
_MOST_BYTES = 1 << 30  # unpacked: an archive has at most a few ten MiB, and one that holds more is no folder of code


def fetch_code(sha256: str, store: Store | None, folder: Path, limit: Limit) -> None:
    """Fetch and unpack the archive into a new folder. Nothing is ever made outside it.

    Raises:
        InvalidSetting: there is no store, the archive is not in it, or it holds what no folder of code does.
        Corrupt: what came back is not what was sent; another attempt may get it.
        StoreError: the store did not answer within the limit.
    """
    if store is None:
        raise InvalidSetting(f"{SPOTBATCH_CODE} needs {SPOTBATCH_ARTIFACTS_URL}, which is not set")
    archive = folder.with_suffix(".tar.gz")
    try:
        download(store, artifacts.code_archive(sha256), archive, limit)
    except Missing as error:
        raise InvalidSetting(
            f"the code of this job ({sha256[:12]}) is not in the store any more: submit it again"
        ) from error
    if (found := _sha256(archive)) != sha256:
        raise Corrupt(f"the code of this job came back with SHA-256 {found[:12]}, and {sha256[:12]} was sent")
    folder.mkdir()
    try:
        with tarfile.open(archive) as packed:
            if sum(member.size for member in packed.getmembers()) > _MOST_BYTES:
                raise InvalidSetting(
                    f"the code of this job ({sha256[:12]}) is more than {_MOST_BYTES >> 30} GiB unpacked"
                )
            packed.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise InvalidSetting(f"the code of this job ({sha256[:12]}) cannot be unpacked: {error}") from error
    archive.unlink()


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
