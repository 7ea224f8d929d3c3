"""The folders and files that the command is given, created if missing, and the variables that name them."""

import contextlib
import os
from collections.abc import Mapping

from spotbatch.batch import artifacts
from spotbatch.batch import environment as env
from spotbatch.batch.light_dataclass import dataclass
from spotbatch.runtime.errors import local_error, may_pass
from spotbatch.runtime.light_path import Path
from spotbatch.runtime.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """All folders exist. What lies below `scratch` is ours and is removed at the end."""

    scratch: Path
    checkpoint: Path
    output: Path
    input: Path
    is_fixed: bool = False  # whether `scratch` has the same name in each attempt, which a snapshot needs
    kept: Path | None = None  # next to scratch: where things wait for the next attempt at this work on this machine

    @property
    def own(self) -> Path:
        """The runtime's own files, which no snapshot of the command may hold."""
        return self.scratch / ".runtime" if self.is_fixed else self.scratch

    @property
    def code(self) -> Path:
        """Where the submitted code folder is unpacked; does not exist if there was none."""
        return self.scratch / "code"

    @property
    def heartbeat_file(self) -> Path:
        return self.scratch / "heartbeat"

    @property
    def progress_file(self) -> Path:
        return self.scratch / "progress.json"

    @property
    def save_request_file(self) -> Path:
        return self.scratch / "save-request"

    @property
    def save_done_file(self) -> Path:
        return self.scratch / "save-done"

    @property
    def interrupted_file(self) -> Path:
        return self.scratch / "interrupted"

    def variables(self) -> dict[str, str]:
        """The variables set in the command's environment."""
        return {
            env.SPOTBATCH_CHECKPOINT_DIR: str(self.checkpoint),
            env.SPOTBATCH_OUTPUT_DIR: str(self.output),
            env.SPOTBATCH_INPUT_DIR: str(self.input),
            env.SPOTBATCH_HEARTBEAT_FILE: str(self.heartbeat_file),
            env.SPOTBATCH_PROGRESS_FILE: str(self.progress_file),
            env.SPOTBATCH_SAVE_REQUEST_FILE: str(self.save_request_file),
            env.SPOTBATCH_SAVE_DONE_FILE: str(self.save_done_file),
            env.SPOTBATCH_INTERRUPTED_FILE: str(self.interrupted_file),
        }

    def keep(self, what: str, folder: Path) -> None:
        """Leave one of our folders to the next attempt, if the user has named a place that may outlive this one."""
        if self.kept is not None and folder.is_relative_to(self.scratch):
            with contextlib.suppress(OSError):
                self.kept.mkdir(exist_ok=True)
                folder.rename(self.kept / what)

    def take(self, what: str, folder: Path) -> bool:
        """Retrieve what an earlier attempt left, as `folder`, which may exist if it is empty. No other attempt
        can also get it: it is renamed.
        """
        if self.kept is None or not folder.is_relative_to(self.scratch):
            return False
        try:
            (self.kept / what).rename(folder)
        except OSError:
            return False
        with contextlib.suppress(OSError):
            self.kept.rmdir()
        return True

    def remove(self) -> None:
        """Remove what we created; what the user named stays."""
        _remove_all(self.scratch)
        if self.scratch.exists():  # folders that the command left without write permission
            import shutil  # costs 5 ms, which most exits need not wait for

            for top, folders, _ in os.walk(self.scratch):
                for folder in (Path(top, name) for name in folders):
                    with contextlib.suppress(OSError):
                        if not folder.is_symlink():
                            folder.chmod(0o700)
            shutil.rmtree(self.scratch, ignore_errors=True)


def make_workspace(settings: Settings) -> Workspace:
    """Create what is missing.

    Raises:
        InvalidSetting: nothing here is writable. HostFault: not on this host.
    """
    try:
        if settings.scratch_folder is not None:
            settings.scratch_folder.mkdir(parents=True, exist_ok=True)
        fixed = _fixed_scratch(settings) if settings.is_snapshot_wanted else None
        scratch = fixed or _new_scratch(settings.scratch_folder)
        workspace = Workspace(
            scratch=scratch,
            checkpoint=settings.checkpoint_folder or scratch / "checkpoint",
            output=settings.output_folder or scratch / "output",
            input=settings.input_folder or scratch / "input",
            is_fixed=fixed is not None,
            kept=_kept_folder(settings),
        )
        for folder in (workspace.checkpoint, workspace.output, workspace.input, workspace.own):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise local_error(
            f"no folder can be made ({error}): mount a volume or tmpfs, and name it in {env.SPOTBATCH_SCRATCH_DIR}",
            error,
        ) from error
    return workspace


def _new_scratch(folder: Path | None) -> Path:
    """A new private folder, in the places that `tempfile.mkdtemp` would use; importing tempfile costs 10 ms.

    Raises:
        OSError: in none of the places.
    """
    problems: list[OSError] = []
    for place in _temporary_folders() if folder is None else [folder]:
        scratch = Path(place, f"spotrun-{os.urandom(6).hex()}").absolute()
        try:
            scratch.mkdir(mode=0o700)
        except OSError as error:
            problems.append(error)
        else:
            return scratch
    raise next((each for each in problems if may_pass(each)), problems[0])


def _fixed_scratch(settings: Settings) -> Path | None:
    """A new private folder of the same name in each container; None if it exists or cannot be made."""
    with contextlib.suppress(OSError):
        scratch = Path(settings.scratch_folder or _temporary_folders()[0], "spotrun-snapshot").absolute()
        scratch.mkdir(mode=0o700)
        return scratch
    return None


def _temporary_folders() -> list[str]:
    """In the order documented for `tempfile.gettempdir`."""
    named = [place for name in ("TMPDIR", "TEMP", "TMP") if (place := os.environ.get(name))]
    return [*named, "/tmp", "/var/tmp", "/usr/tmp", os.curdir]  # noqa: S108 - a new, private folder


def _remove_all(top: Path) -> None:
    """Remove a folder and its contents as far as possible; links are not followed."""
    for folder, folders, files in os.walk(os.fspath(top), topdown=False):
        for name in files:
            with contextlib.suppress(OSError):
                os.unlink(f"{folder}/{name}")  # noqa: PTH108 - possibly a hundred thousand of them
        for name in folders:
            path = f"{folder}/{name}"
            with contextlib.suppress(OSError):
                os.unlink(path) if os.path.islink(path) else os.rmdir(path)  # noqa: PTH106, PTH108, PTH114 - as above
    with contextlib.suppress(OSError):
        top.rmdir()


def _kept_folder(settings: Settings) -> Path | None:
    """One per work. Only below a scratch folder that the user has named: nobody would clean up another."""
    if settings.scratch_folder is None or settings.store_url is None:
        return None
    import hashlib  # loads OpenSSL, which only a user-defined scratch folder needs

    work = artifacts.unit_prefix(settings.identity.run_id, settings.identity.array_index)
    name = hashlib.sha256(f"{settings.store_url} {work}".encode(errors="surrogateescape")).hexdigest()[:16]
    return settings.scratch_folder / f"spotrun-kept-{name}"


def command_variables(workspace: Workspace, ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Our own environment, the workspace, and tracebacks of all threads when a Python command is aborted."""
    return {"PYTHONFAULTHANDLER": "1", **ours, **workspace.variables()}
