"""A folder of the user's own code, sent with a job: packed, stored once per content, unpacked by the runtime.

So a one-line change needs no new image. Files ignored by git or `.spotbatchignore` are not sent; without git, the
usual folders that can be regenerated are left out.
"""

import hashlib
import io
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from spotbatch.aws.artifacts import Artifacts
from spotbatch.batch import artifacts as layout
from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.wording import size

if TYPE_CHECKING:
    import tarfile

IGNORE_FILE: Final = ".spotbatchignore"
MOST_BYTES: Final = 50 << 20  # packed: anything larger belongs in an image or among the inputs
_MOST_FILES: Final = 20_000
_LEFT_OUT: Final = (
    ".git",
    ".hg",
    ".svn",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".mypy_cache",
    ".pytest_cache",
)
_INTERPRETERS: Final = ("python", "python3", "sh", "bash", "zsh", "node", "ruby", "perl", "Rscript", "julia", "php")


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """A packed folder and the SHA-256 of the archive, in hexadecimal."""

    archive: bytes
    sha256: str
    files: int


def pack(folder: Path) -> Code:
    """Pack a folder: the same files produce the same archive, at any time and on any machine.

    Raises NotFound if there is no such folder, InvalidInput if it is too large or a link leads out of it.
    """
    if not folder.is_dir():
        raise NotFound(f"--code {folder}: there is no such folder")
    names = [name for name in sorted(_names(folder)) if not _is_ignored(name, _patterns(folder))]
    if not names:
        raise InvalidInput(f"--code {folder}: there is no file to send: all are ignored, or it is empty")
    if len(names) > _MOST_FILES:
        raise InvalidInput(
            f"--code {folder}: {len(names):,} files, at most {_MOST_FILES:,}: name what is not needed in {IGNORE_FILE}"
        )
    _check_sizes(folder, names)
    archive = _packed(folder, names)
    return Code(archive=archive, sha256=hashlib.sha256(archive).hexdigest(), files=len(names))


def with_files(code: Code | None, files: Mapping[str, bytes]) -> Code:
    """A packed folder with more files in it, by their relative paths; of these alone if there is no folder."""
    import tarfile

    out = io.BytesIO()
    with _packing(out) as packed:
        if code is not None:
            with tarfile.open(fileobj=io.BytesIO(code.archive)) as before:
                for entry in before.getmembers():
                    packed.addfile(entry, before.extractfile(entry) if entry.isreg() else None)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            packed.addfile(entry, io.BytesIO(content))
    archive = out.getvalue()
    if len(archive) > MOST_BYTES:
        raise InvalidInput(
            f"the function and the folder with it are {size(len(archive))} packed, at most {size(MOST_BYTES)}: give "
            "large data as items, or by its place on S3"
        )
    count = len(files) + (code.files if code is not None else 0)
    return Code(archive=archive, sha256=hashlib.sha256(archive).hexdigest(), files=count)


def send_code(store: Artifacts, code: Code) -> None:
    """Upload it to the store, unless it is already there."""
    key = layout.code_archive(code.sha256)
    if not any(found.key == key for found in store.list(key)):
        store.write(key, code.archive)


def file_at_home(command: Iterable[str], folder: Path) -> str | None:
    """The local program or script that a command names by relative path, which no job would find; None if none."""
    words = list(command)
    if not words:
        return None
    named = words[0] if "/" in words[0] else None
    if Path(words[0]).name.rstrip("0123456789.") in {each.rstrip("3") for each in _INTERPRETERS}:
        script = next((word for word in words[1:2]), "")
        named = script if script and not script.startswith("-") else None
    if named is None or Path(named).is_absolute():
        return None
    return named if (folder / named).is_file() else None


def _names(folder: Path) -> list[str]:
    """The files below a folder, by their relative paths; from git's own list if it has one."""
    asked = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(asked, capture_output=True, check=False)
    except OSError:
        return list(_walked(folder))
    if listed.returncode != 0:
        return list(_walked(folder))
    names = (os.fsdecode(name) for name in listed.stdout.split(b"\0") if name)
    return [name for name in dict.fromkeys(names) if os.path.lexists(folder / name) and not (folder / name).is_dir()]


def _walked(folder: Path) -> Iterator[str]:
    for top, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each not in _LEFT_OUT]
        linked = [each for each in folders if Path(top, each).is_symlink()]
        for name in (*files, *linked):
            yield Path(top, name).relative_to(folder).as_posix()


def _patterns(folder: Path) -> list[str]:
    try:
        lines = (folder / IGNORE_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{folder / IGNORE_FILE} cannot be read: {error}") from error
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def _is_ignored(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern matches its whole path, a folder above it, or any single name in its path."""
    parts = name.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatchcase(each, pattern) for pattern in patterns for each in (*above, *parts))


def _check_sizes(folder: Path, names: Iterable[str]) -> None:
    sizes = sorted(((folder / name).lstat().st_size, name) for name in names)
    whole = sum(each for each, _ in sizes)
    if whole > 4 * MOST_BYTES:
        _refuse(folder, whole, sizes)


def _refuse(folder: Path, whole: int, sizes: list[tuple[int, str]]) -> None:
    largest = ", ".join(f"{name} ({size(each)})" for each, name in reversed(sizes[-3:]))
    raise InvalidInput(
        f"--code {folder}: {size(whole)} is too much to send along with a job (at most {size(MOST_BYTES)} packed); the "
        f"largest are {largest}: name what is not needed in {IGNORE_FILE}, and send data with --inputs"
    )


def _packed(folder: Path, names: Iterable[str]) -> bytes:
    out = io.BytesIO()
    sizes: list[tuple[int, str]] = []
    with _packing(out) as packed:
        for name in names:
            entry = packed.gettarinfo(str(folder / name), arcname=name)
            if entry is None or not (entry.isfile() or entry.issym() or entry.islnk()):
                raise InvalidInput(
                    f"--code {folder}: {name} is no file (a socket, pipe or device): name it in {IGNORE_FILE}"
                )
            _check_link(folder, name, entry)
            entry.uid = entry.gid = entry.mtime = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.mode & 0o100 else 0o644
            sizes.append((entry.size, name))
            if entry.isfile():
                with (folder / name).open("rb") as content:
                    packed.addfile(entry, content)
            else:
                packed.addfile(entry)
    archive = out.getvalue()
    if len(archive) > MOST_BYTES:
        _refuse(folder, len(archive), sorted(sizes))
    return archive


@contextmanager
def _packing(out: BinaryIO) -> "Iterator[tarfile.TarFile]":
    """An archive to be filled, whose bytes depend on what goes into it alone."""
    import gzip
    import tarfile

    with (
        gzip.GzipFile(fileobj=out, mode="wb", mtime=0, compresslevel=6) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as packed,
    ):
        yield packed


def _check_link(folder: Path, name: str, entry: "tarfile.TarInfo") -> None:
    if entry.islnk():  # a second name of a packed file: its content again, so that order does not matter
        entry.type = b"0"  # tarfile.REGTYPE
        entry.size = (folder / name).stat().st_size
        entry.linkname = ""
    if entry.issym():
        target = (folder / name).parent.joinpath(entry.linkname).resolve()
        if Path(entry.linkname).is_absolute() or not target.is_relative_to(folder.resolve()):
            raise InvalidInput(
                f"--code {folder}: {name} is a link to {entry.linkname}, outside the folder: name it in {IGNORE_FILE}"
            )
