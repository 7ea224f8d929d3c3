"""The file `settings.json` in a region's home: the region's start-up settings, for its next start.

Settings that a job's resumption depends on belong to the region, not to a command line that must be retyped: the image
table, the passed variables and the trace are stored in full, since their files and shell may have changed since.
The file contains values of variables, so only its owner can read it.
"""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound, Unavailable
from spotbatch.local import faults, image_table
from spotbatch.local.contract import ImageEntry
from spotbatch.local.faults import NO_FAULTS, FaultPlan
from spotbatch.local.settings import Arguments, Option, RegionSettings
from spotbatch.policy.trace import Polarity, traces_in

FILE_NAME: Final = "settings.json"
_TRACE_NAME: Final = "settings-trace"
_VERSION: Final = 1
_OF_THE_TRACE: Final = "trace_polarity"
_NOT_READABLE: Final = "give another --home, or remove it and start with all options that the region was started with"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file that was read at a start: its path, and its content."""

    path: str
    raw: bytes

    @property
    def has_changed(self) -> bool:
        """Whether the file's content has changed; one that is missing or cannot be read counts as changed."""
        try:
            return Path(self.path).read_bytes() != self.raw
        except OSError:
            return True


@dataclass(frozen=True, kw_only=True, slots=True)
class StartSettings:
    """The effective settings of a start: the options given or stored, and what was read for them."""

    options: Mapping[str, Option] = field(default_factory=dict)
    images: tuple[ImageEntry, ...] = ()
    images_file: SourceFile | None = None
    trace_file: SourceFile | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    artifacts_folder: str = ""  # as it is in this home: it is compared, not inherited
    faults: FaultPlan = NO_FAULTS
    faults_name: str = "none"  # as typed: for a file, its path; its content is stored
    python_folder: str = ""  # of the Python that runs the region: first on the PATH of jobs

    def region_settings(self, arguments: Arguments) -> RegionSettings:
        """The region's effective settings. Raises InvalidInput for a trace that cannot be read."""
        options: dict[str, Any] = {name: value for name, value in self.options.items() if name != _OF_THE_TRACE}
        if "artifacts" in options:
            options["artifacts"] = Path(options["artifacts"])
        return RegionSettings(
            home=arguments.home,
            templates=arguments.templates,
            parameters=arguments.parameters,
            imports=arguments.imports,
            unsafe_no_auth=arguments.unsafe_no_auth,
            images=self.images,
            variables=self.variables,
            faults=self.faults,
            traces=_traces(self.trace_file, self.options.get(_OF_THE_TRACE)),
            **options,
        )


def merged(kept: StartSettings | None, arguments: Arguments, environ: Mapping[str, str]) -> StartSettings:
    """The effective settings of a start: typed options override stored ones. Raises NotFound or InvalidInput."""
    before = StartSettings() if kept is None or arguments.forget_settings else kept
    options = {**before.options, **arguments.options}
    images, images_file = before.images, before.images_file
    if arguments.images is not None:
        images = image_table.read_images(arguments.images)
        images_file = _read(arguments.images, "--images")
    passed = {name: environ[name] for name in arguments.pass_env if name in environ}
    trace = before.trace_file if arguments.trace_file is None else _read(arguments.trace_file, "--trace-file")
    plan, plan_name = before.faults, before.faults_name
    if arguments.faults is not None:
        plan, plan_name = faults.named(arguments.faults), arguments.faults
    artifacts = options.get("artifacts", arguments.home / "artifacts")
    return StartSettings(
        options=options,
        images=images,
        images_file=images_file,
        trace_file=trace,
        variables={**before.variables, **passed},
        artifacts_folder=os.path.realpath(str(artifacts)),
        faults=plan,
        faults_name=plan_name,
        python_folder=str(Path(sys.executable).parent),
    )


def _read(path: Path, option: str) -> SourceFile:
    try:
        return SourceFile(path=str(path.absolute()), raw=path.read_bytes())
    except OSError as error:
        raise NotFound(f"{option} {path} cannot be read: {error.strerror}") from error


def _traces(file: SourceFile | None, polarity: Option | None) -> tuple[Any, ...]:
    if file is None:
        return ()
    try:
        return tuple(traces_in(PurePath(file.path), file.raw, None if polarity is None else Polarity(str(polarity))))
    except InvalidInput as error:
        raise InvalidInput(str(error).replace("--polarity", "--trace-polarity")) from error


# ---- the file ----


def read(home: Path) -> StartSettings | None:
    """The settings of this home's last start; None if there was none.

    Raises InvalidInput if the file is damaged or of a later version, Unavailable if it cannot be read.
    """
    path = home / FILE_NAME
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["version"] != _VERSION:
            raise InvalidInput(
                f"{path} has version {kept['version']}, this spotbatch reads {_VERSION}: {_NOT_READABLE}"
            )
        return _from_json(kept, home)
    except FileNotFoundError as error:
        if error.filename == str(path):
            return None
        raise InvalidInput(f"{error.filename}, which {path} names, is gone: {_NOT_READABLE}") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be read ({error.strerror}): give another --home") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"{path} is damaged ({error}): {_NOT_READABLE}") from error


def _from_json(kept: Mapping[str, Any], home: Path) -> StartSettings:
    images_file, trace_file = kept["images_file"], kept["trace_file"]
    return StartSettings(
        options=dict(kept["options"]),
        images=tuple(image_table.from_json(entry) for entry in kept["images"]),
        images_file=images_file and SourceFile(path=images_file["path"], raw=images_file["text"].encode()),
        trace_file=trace_file
        and SourceFile(path=trace_file["path"], raw=_whole(home / trace_file["copy"], trace_file)),
        variables=dict(kept["variables"]),
        artifacts_folder=str(kept["artifacts_folder"]),
        python_folder=str(kept["python_folder"]),
        faults=faults.from_json(kept.get("faults", {})),  # a file of an earlier version has none
        faults_name=str(kept.get("faults_name", "none")),
    )


def _whole(copy: Path, trace_file: Mapping[str, Any]) -> bytes:
    raw = copy.read_bytes()
    if hashlib.sha256(raw).hexdigest() != trace_file["sha256"]:
        raise ValueError(f"{copy} is not what was kept")
    return raw


@contextlib.contextmanager
def kept_for_the_next_start(home: Path, settings: StartSettings) -> Iterator[None]:
    """Write them; if the block fails, the file is restored. Raises Unavailable."""
    path = home / FILE_NAME
    before = path.read_bytes() if path.exists() else None
    write(home, settings)
    try:
        yield
    except BaseException:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            _put(home, FILE_NAME, before)
        raise
    for copy in home.glob(f"{_TRACE_NAME}-*"):
        if settings.trace_file is None or copy.name != _trace_to_json(settings.trace_file)["copy"]:
            copy.unlink(missing_ok=True)


def write(home: Path, settings: StartSettings) -> None:
    """Replace the file atomically, once it is on disk. Raises Unavailable."""
    images, trace = settings.images_file, settings.trace_file
    kept = {
        "version": _VERSION,
        "options": dict(settings.options),
        "images": [image_table.to_json(entry) for entry in settings.images],
        "images_file": images and {"path": images.path, "text": images.raw.decode()},
        "trace_file": trace and _trace_to_json(trace),
        "variables": dict(settings.variables),
        "artifacts_folder": settings.artifacts_folder,
        "python_folder": settings.python_folder,
        "faults": faults.to_json(settings.faults),
        "faults_name": settings.faults_name,
    }
    try:
        if trace is not None:
            _put(home, _trace_to_json(trace)["copy"], trace.raw)
        _put(home, FILE_NAME, (json.dumps(kept, indent=2) + "\n").encode())
    except OSError as error:
        raise Unavailable(f"{home / FILE_NAME} cannot be written ({error.strerror}): give another --home") from error


def _trace_to_json(trace: SourceFile) -> dict[str, str]:
    """The copy is named after its content, so that another trace does not overwrite what the file still refers to."""
    digest = hashlib.sha256(trace.raw).hexdigest()
    return {"path": trace.path, "copy": f"{_TRACE_NAME}-{digest[:16]}", "sha256": digest}


def _put(home: Path, name: str, raw: bytes) -> None:
    scratch = home / f".{name}.{os.getpid()}"
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(raw)
        out.flush()
        os.fsync(out.fileno())
    scratch.replace(home / name)
