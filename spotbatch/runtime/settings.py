"""The runtime's settings, read once from the environment; an invalid value stops it before the command starts."""

import math
import os
import signal
from collections.abc import Mapping

from spotbatch.batch import environment as env
from spotbatch.batch.errors import InvalidSetting
from spotbatch.batch.light_dataclass import dataclass, made_by
from spotbatch.runtime.checkpoints.open_rule import OpenRule
from spotbatch.runtime.light_path import Path

_RUN_ID_PUNCTUATION = "._=-"
_MOST_RUN_ID = 128
_SHA256_DIGITS, _HEX = 64, frozenset("0123456789abcdef")
DEFAULT_EXCLUDE = ("*.tmp", "*.part", "*.partial", "*.swp", "*~")


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """Docker's HEALTHCHECK terms and defaults, and the maximum age of the heartbeat file that counts as healthy."""

    command: tuple[str, ...] = ()
    heartbeat_seconds: float | None = None
    interval_seconds: float = 30.0
    timeout_seconds: float = 30.0
    retries: int = 3
    start_period_seconds: float = 0.0
    attempts: int = 2  # this many attempts of one job may end unhealthy and be retried


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whose attempt this is."""

    run_id: str
    job_id: str = ""
    array_index: int | None = None
    attempt: int | None = None
    instance_type: str = ""
    zone: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything set by variables. Times are seconds."""

    identity: Identity
    store_url: str | None = None
    checkpoint_folder: Path | None = None
    output_folder: Path | None = None
    input_folder: Path | None = None
    scratch_folder: Path | None = None
    notice_file: Path | None = None
    inputs: tuple[str, ...] = ()
    code: str | None = None  # the SHA-256 of the archive that the command runs in
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    open_rule: OpenRule = OpenRule.AUTO
    checkpoint_seconds: float | None = None  # None: by Daly's formula
    interruptions_per_hour: float = 0.05
    restore_seconds: float = 300.0
    upload_seconds: float = 600.0
    stop_seconds: float = 30.0
    grace_seconds: float = 30.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_hook: tuple[str, ...] = ()
    is_snapshot_wanted: bool = False
    snapshot_roots: tuple[str, ...] = ("/",)  # folders whose changes go with a snapshot
    health: HealthSettings = made_by(default_factory=HealthSettings)


def read_settings(variables: Mapping[str, str] = os.environ) -> Settings:
    """Settings from variables; an empty value counts as unset.

    Raises:
        InvalidSetting: with the variable, its value and what is allowed.
    """
    given = {name: value for name, value in variables.items() if value.strip()}
    read = _Reader(given)
    return Settings(
        identity=_identity(given, read),
        store_url=given.get(env.SPOTBATCH_ARTIFACTS_URL),
        checkpoint_folder=read.path(env.SPOTBATCH_CHECKPOINT_DIR),
        output_folder=read.path(env.SPOTBATCH_OUTPUT_DIR),
        input_folder=read.path(env.SPOTBATCH_INPUT_DIR),
        scratch_folder=read.path(env.SPOTBATCH_SCRATCH_DIR),
        notice_file=read.path(env.SPOTBATCH_NOTICE_FILE),
        inputs=tuple(given.get(env.SPOTBATCH_INPUTS, "").split()),
        code=read.sha256(env.SPOTBATCH_CODE),
        exclude=tuple(given.get(env.SPOTBATCH_CHECKPOINT_EXCLUDE, " ".join(DEFAULT_EXCLUDE)).split()),
        open_rule=read.open_rule(env.SPOTBATCH_CHECKPOINT_OPEN_FILES),
        checkpoint_seconds=read.seconds_or_none(env.SPOTBATCH_CHECKPOINT_SECONDS),
        interruptions_per_hour=read.number(env.SPOTBATCH_INTERRUPTIONS_PER_HOUR, 0.05, least=1e-6, most=3600),
        restore_seconds=read.seconds(env.SPOTBATCH_RESTORE_SECONDS, 300),
        upload_seconds=read.seconds(env.SPOTBATCH_UPLOAD_SECONDS, 600),
        stop_seconds=read.seconds(env.SPOTBATCH_STOP_SECONDS, 30),
        grace_seconds=read.seconds(env.SPOTBATCH_GRACE_SECONDS, 30),
        stop_signal=read.signal(env.SPOTBATCH_STOP_SIGNAL, signal.SIGTERM),
        stop_hook=read.words(env.SPOTBATCH_STOP_HOOK),
        is_snapshot_wanted=read.choice(env.SPOTBATCH_SNAPSHOT, ("off", "on-notice")) == "on-notice",
        snapshot_roots=tuple(given.get(env.SPOTBATCH_SNAPSHOT_ROOTS, "/").split(":")),
        health=HealthSettings(
            command=read.words(env.SPOTBATCH_HEALTH_COMMAND),
            heartbeat_seconds=read.seconds_or_none(env.SPOTBATCH_HEARTBEAT_SECONDS),
            interval_seconds=read.seconds(env.SPOTBATCH_HEALTH_INTERVAL_SECONDS, 30),
            timeout_seconds=read.seconds(env.SPOTBATCH_HEALTH_TIMEOUT_SECONDS, 30),
            retries=read.whole(env.SPOTBATCH_HEALTH_RETRIES, 3, least=1, most=1000),
            start_period_seconds=read.number(env.SPOTBATCH_HEALTH_START_PERIOD_SECONDS, 0, least=0, most=86400),
            attempts=read.whole(env.SPOTBATCH_UNHEALTHY_ATTEMPTS, 2, least=0, most=10),
        ),
    )


def _identity(given: Mapping[str, str], read: "_Reader") -> Identity:
    job_id = given.get(env.AWS_BATCH_JOB_ID, "")
    run_id = given.get(env.SPOTBATCH_RUN_ID) or job_id.partition(":")[0]
    if not run_id and env.SPOTBATCH_ARTIFACTS_URL in given:
        raise InvalidSetting(
            f"{env.SPOTBATCH_ARTIFACTS_URL} is set, but nothing names the work: set {env.SPOTBATCH_RUN_ID} "
            "(on AWS Batch the job's id does)"
        )
    if run_id and not _is_run_id(run_id):
        raise InvalidSetting(f"{env.SPOTBATCH_RUN_ID}={run_id!r}: up to 128 of A-Z a-z 0-9 . _ = - are allowed")
    has_index = env.AWS_BATCH_JOB_ARRAY_INDEX in given
    return Identity(
        run_id=run_id or "local",
        job_id=job_id,
        array_index=read.whole(env.AWS_BATCH_JOB_ARRAY_INDEX, 0, least=0, most=10**7) if has_index else None,
        attempt=read.whole(env.AWS_BATCH_JOB_ATTEMPT, 0, least=0, most=1000) or None,
        instance_type=given.get(env.SPOTBATCH_INSTANCE_TYPE, ""),
        zone=given.get(env.SPOTBATCH_ZONE, ""),
    )


def _is_run_id(text: str) -> bool:
    """Not a regular expression: `re` takes 4 ms to import."""
    is_allowed = text.isascii() and all(each.isalnum() or each in _RUN_ID_PUNCTUATION for each in text)
    return is_allowed and text[0].isalnum() and len(text) <= _MOST_RUN_ID


class _Reader:
    """Typed access to variables."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = given

    def path(self, name: str) -> Path | None:
        return Path(self._given[name]).absolute() if name in self._given else None

    def sha256(self, name: str) -> str | None:
        text = self._given.get(name)
        if text is not None and not (len(text) == _SHA256_DIGITS and _HEX.issuperset(text)):
            raise InvalidSetting(
                f"{name}={text!r}: 64 hexadecimal digits are wanted; `spotbatch submit --code` sets it"
            )
        return text

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        text = self._given.get(name)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise InvalidSetting(f"{name}={text!r}: a number from {least:g} to {most:g} is wanted")
        return value

    def seconds(self, name: str, default: float) -> float:
        return self.number(name, default, least=0.05, most=86400)

    def seconds_or_none(self, name: str) -> float | None:
        return self.seconds(name, 0) if name in self._given else None

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        value = self.number(name, default, least=least, most=most)
        if value != int(value):
            raise InvalidSetting(f"{name}={self._given[name]!r}: a whole number is wanted")
        return int(value)

    def signal(self, name: str, default: signal.Signals) -> signal.Signals:
        text = self._given.get(name, default.name).strip().upper()
        try:
            found = signal.Signals(int(text)) if text.isdigit() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
        except (KeyError, ValueError):
            raise InvalidSetting(f"{name}={text!r}: a signal's name or number is wanted, as SIGINT or 2") from None
        return found

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of these words; the first is the default."""
        text = self._given.get(name, allowed[0]).strip().lower()
        if text not in allowed:
            raise InvalidSetting(f"{name}={text!r}: one of {', '.join(allowed)} is wanted")
        return text

    def open_rule(self, name: str) -> OpenRule:
        text = self._given.get(name, OpenRule.AUTO).strip().lower()
        try:
            return OpenRule(text)
        except ValueError:
            raise InvalidSetting(f"{name}={text!r}: one of {', '.join(OpenRule)} is wanted") from None

    def words(self, name: str) -> tuple[str, ...]:
        """A command: run by the shell via `sh -c`, like HEALTHCHECK CMD in its shell form."""
        text = self._given.get(name)
        if text is None:
            return ()
        import shlex  # most starts have no command to check

        try:
            shlex.split(text)
        except ValueError as error:
            raise InvalidSetting(f"{name}={text!r} is no shell command: {error}") from None
        return ("/bin/sh", "-c", text)
