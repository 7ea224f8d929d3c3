"""Unpacking a folder that was sent along: what was packed comes back, and nothing is made outside."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from spotbatch.batch import artifacts
from spotbatch.batch.errors import HostFault, InvalidSetting
from spotbatch.runs.code import pack
from spotbatch.runtime.code import fetch_code
from spotbatch.runtime.deadline import Limit
from spotbatch.runtime.storage.store import FolderStore


def fetched(tmp_path: Path, archive: bytes, sha256: str = "") -> Path:
    digest = sha256 or hashlib.sha256(archive).hexdigest()
    store = FolderStore(tmp_path / "store")
    store.put(artifacts.code_archive(digest), archive)
    fetch_code(digest, store, tmp_path / "code", Limit.standing_still(5))
    return tmp_path / "code"


def made_of(*members: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for member in members:
            packed.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    return made


def test_what_was_packed_comes_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    (home / "run").write_text("#!/bin/sh\n")
    (home / "run").chmod(0o755)
    (home / "deep" / "data").write_text("1")
    (home / "link").symlink_to("deep/data")
    code = fetched(tmp_path, pack(home).archive)
    assert (code / "run").stat().st_mode & 0o777 == 0o755
    assert (code / "link").read_text() == "1"
    assert not (tmp_path / "code.tar.gz").exists()


@pytest.mark.parametrize(
    "members",
    [
        (member("../evil"),),
        (member("/tmp/evil"),),
        (member("a/../../evil"),),
        (member("out", tarfile.SYMTYPE, "/etc"),),
        (member("out", tarfile.SYMTYPE, "../.."),),
        (member("out", tarfile.SYMTYPE, "sub"), member("out/evil")),
        (member("pipe", tarfile.FIFOTYPE),),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"),),
    ],
)
def test_an_archive_of_somebody_else_makes_nothing_outside(
    tmp_path: Path, members: tuple[tarfile.TarInfo, ...]
) -> None:
    with pytest.raises((InvalidSetting, FileExistsError)):
        fetched(tmp_path, made_of(*members))
    assert not (tmp_path.parent / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_an_archive_that_came_back_changed_is_for_another_attempt_and_one_that_is_gone_is_not(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match="did not come back as it was sent"):
        fetched(tmp_path, made_of(member("a")), sha256="0" * 64)
    with pytest.raises(InvalidSetting, match="not in the store any more"):
        fetch_code("1" * 64, FolderStore(tmp_path / "store"), tmp_path / "code", Limit.standing_still(5))
