"""The code of functions on disk: archives, each unpacked once, and the assets that the CDK puts by a template."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput

_MOST_BYTES: Final = 250 << 20  # unpacked (developer guide, "Lambda quotas")
_MADE: Final = (1980, 1, 1, 0, 0, 0)  # one timestamp for all members: the same folder yields the same archive


def archive_of_text(source: str) -> bytes:
    """CloudFormation's archive for a ZipFile: one file, index.py (template reference, AWS::Lambda::Function Code)."""
    return _archive(iter([("index.py", source.encode())]))


def _archive(members: Iterator[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name, _MADE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def unpacked(folder: Path, name: str, code: bytes) -> Path:
    """The folder with a function's unpacked archive. Raises InvalidInput if it is not an archive."""
    place = folder / hashlib.sha256(name.encode() + b"\0" + code).hexdigest()[:32]
    if place.is_dir():
        return place
    making = place.with_name(f"{place.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            size = sum(one.file_size for one in archive.infolist())
            if size > _MOST_BYTES:
                raise InvalidInput(f"the code of function {name} has {size} bytes unpacked; Lambda takes {_MOST_BYTES}")
            making.mkdir(parents=True, mode=0o700)
            archive.extractall(making)  # members cannot escape the folder: zipfile drops `..` and roots
    except zipfile.BadZipFile as error:
        raise InvalidInput(f"the code of function {name} is no ZIP archive: {error}") from error
    making.rename(place)
    return place


def assets_beside(template: Path) -> dict[str, Path]:
    """The assets of a synthesized stack by S3 key, as listed in `<stack>.assets.json`; empty if it does not exist.

    The schema is the CDK's cloud assembly: files.<hash>.source.path and .destinations.<name>.objectKey.
    """
    manifest = template.with_name(template.name.removesuffix(".template.json") + ".assets.json")
    try:
        files: Any = json.loads(manifest.read_text(encoding="utf-8"))["files"]
        return {
            str(place["objectKey"]): manifest.parent / one["source"]["path"]
            for one in files.values()
            if "path" in one["source"]
            for place in one["destinations"].values()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def asset_content(path: Path) -> bytes:
    """What the CDK would upload: a file as is, a folder as an archive."""
    if path.is_file():
        return path.read_bytes()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return _archive((str(one.relative_to(path)), one.read_bytes()) for one in files)
