"""The image table: what represents each container image on this machine."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.contract import ImageEntry

_KEYS: Final = {"pattern", "entry_point", "path", "working_directory", "environment"}


def read_images(path: Path) -> tuple[ImageEntry, ...]:
    """The `[[image]]` tables of a file. Relative folders in it are relative to the file's own folder.

    Raises NotFound if the file does not exist, InvalidInput with the location of an error in it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise NotFound(f"--images {path} cannot be read: {error.strerror}") from error
    return images_in(text, path)


def images_in(text: str, path: Path) -> tuple[ImageEntry, ...]:
    """The same for text that has already been read; `path` is its source."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
    rows = table.get("image", [])
    if set(table) - {"image"} or not isinstance(rows, list):
        raise InvalidInput(f"{path} holds [[image]] tables and nothing else, not {sorted(table)}")
    folder = path.absolute().parent
    return tuple(_image(row, f"{path}, image {number}", folder) for number, row in enumerate(rows, start=1))


def to_json(entry: ImageEntry) -> dict[str, Any]:
    """An entry for the region's settings file."""
    folder = entry.working_directory
    return {**asdict(entry), "working_directory": None if folder is None else str(folder)}


def from_json(kept: Mapping[str, Any]) -> ImageEntry:
    """The entry from which `to_json` made this. Raises TypeError or KeyError for anything else."""
    folder = kept["working_directory"]
    return ImageEntry(
        pattern=kept["pattern"],
        entry_point=tuple(kept["entry_point"]),
        path=tuple(kept["path"]),
        working_directory=None if folder is None else Path(folder),
        environment=dict(kept["environment"]),
    )


def _image(row: Mapping[str, object], where: str, folder: Path) -> ImageEntry:
    if not isinstance(row, dict):
        raise InvalidInput(f"{where}: write [[image]], with two brackets")
    if unknown := set(row) - _KEYS:
        raise InvalidInput(f"{where}: {sorted(unknown)} is unknown; allowed are {sorted(_KEYS)}")
    pattern = row.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        raise InvalidInput(f"{where}: pattern is the image's name, with * for any part of it, not {pattern!r}")
    working = row.get("working_directory")
    if not isinstance(working, str | None):
        raise InvalidInput(f"{where}: working_directory is a folder, not {working!r}")
    environment = row.get("environment", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise InvalidInput(f"{where}: environment is a table of strings, not {environment!r}")
    return ImageEntry(
        pattern=pattern,
        entry_point=_strings(row, "entry_point", where),
        path=tuple(str(_from(folder, part)) for part in _strings(row, "path", where)),
        working_directory=None if working is None else _from(folder, working),
        environment=environment,
    )


def _from(folder: Path, text: str) -> Path:
    return folder / Path(text).expanduser()


def _strings(row: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InvalidInput(f"{where}: {key} is a list of strings, not {value!r}")
    return tuple(value)
