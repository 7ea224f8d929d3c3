"""What a local region is started with: the arguments of `python -m spotbatch.local`, and the image table."""

import argparse
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar, cast

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.contract import ImageEntry
from spotbatch.local.region_file import default_home
from spotbatch.policy.trace import Polarity, Trace, traces_in

_IMAGE_KEYS: Final = {"pattern", "entry_point", "path", "working_directory", "environment"}
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_REGION: Final = re.compile(r"[a-z]{2,3}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionSettings:
    """How the region runs. Times are seconds."""

    home: Path
    port: int = 0  # 0: the port of the last start if it is free, else any
    region: str = "us-east-1"
    account_id: str = "123456789012"
    artifacts: Path | None = None  # None: `artifacts` in the home
    templates: tuple[Path, ...] = ()
    unsafe_no_auth: bool = False
    images: tuple[ImageEntry, ...] = ()
    pass_env: tuple[str, ...] = ()  # variables of the caller that jobs get too
    notice_seconds: float = 120.0
    boot_seconds: float = 1.0
    idle_seconds: float = 60.0
    stop_grace_seconds: float = 30.0
    vcpu_quota: int | None = None
    reclaims_per_host_hour: float = 0.0
    traces: tuple[Trace, ...] = ()
    trace_speed: float = 1.0
    seed: int = 0
    runner: Literal["process", "docker", "auto"] = "process"

    @property
    def artifacts_folder(self) -> Path:
        """Where local artifacts are plain files."""
        return (self.artifacts or self.home / "artifacts").absolute()


def parse_arguments(arguments: Sequence[str]) -> RegionSettings:
    """The settings that a command line asks for. Raises InvalidInput or NotFound; argparse exits on bad usage."""
    given = _parser().parse_args(arguments)
    if not _ACCOUNT.fullmatch(given.account_id):
        raise InvalidInput(f"--account-id is 12 digits, not {given.account_id!r}")
    for template in given.template:
        _must_exist("--template", template)
    return RegionSettings(
        home=given.home.absolute(),
        port=given.port,
        region=given.region,
        account_id=given.account_id,
        artifacts=given.artifacts,
        templates=tuple(path.absolute() for path in given.template),
        unsafe_no_auth=given.unsafe_no_auth,
        images=read_images(given.images) if given.images else (),
        pass_env=tuple(given.pass_env),
        notice_seconds=given.notice_seconds,
        boot_seconds=given.boot_seconds,
        idle_seconds=given.idle_seconds,
        stop_grace_seconds=given.stop_grace_seconds,
        vcpu_quota=given.vcpu_quota,
        reclaims_per_host_hour=given.reclaims_per_host_hour,
        traces=_traces(given.trace_file, given.trace_polarity) if given.trace_file else (),
        trace_speed=given.trace_speed,
        seed=given.seed,
        runner=cast("Literal['process', 'docker', 'auto']", given.runner),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spotbatch.local",
        description="Run a local AWS Batch region on 127.0.0.1 until SIGTERM or SIGINT.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--home", type=Path, default=default_home(), help="the region's folder (default: %(default)s)")
    add("--port", type=_port, default=0, help="0 (default): the port of the last start if it is free, else any")
    add(
        "--region", type=_region, default="us-east-1", help="the name that the region answers to (default: %(default)s)"
    )
    add("--account-id", default="123456789012", help="default: %(default)s")
    add("--artifacts", type=Path, help="the folder of the artifact store (default: artifacts in the home)")
    add("--template", type=Path, action="append", default=[], metavar="FILE", help="a synthesized template to load")
    add("--images", type=Path, metavar="FILE", help="TOML: what stands for each container image on this machine")
    passed = "a variable of the caller that jobs get too"
    add("--pass-env", type=_variable, action="append", default=[], metavar="NAME", help=passed)
    add("--unsafe-no-auth", action="store_true", help="accept unsigned requests: any local program can run code")
    _add_spot_arguments(parser)
    return parser


def _add_spot_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--notice-seconds", type=_seconds, default=120.0, help="from a Spot notice to the reclaim (default: 120)")
    add("--boot-seconds", type=_seconds, default=1.0, help="from a host's launch to its start (default: 1)")
    add("--idle-seconds", type=_seconds, default=60.0, help="a host without attempts is kept so long (default: 60)")
    add("--stop-grace-seconds", type=_seconds, default=30.0, help="from SIGTERM to SIGKILL (default: 30)")
    add("--vcpu-quota", type=_positive, metavar="N", help="vCPUs of all hosts together (default: no quota)")
    add("--reclaims-per-host-hour", type=_seconds, default=0.0, help="seeded random reclaims (default: 0)")
    add("--trace-file", type=Path, metavar="FILE", help="Spot capacity by zone from a recorded trace (CSV or JSON)")
    add("--trace-polarity", type=Polarity, choices=[*Polarity], help="what a 1 means, where the trace does not say")
    add("--trace-speed", type=_factor, default=1.0, help="so many seconds of the trace pass in one (default: 1)")
    add("--seed", type=_whole, default=0, help="of everything random (default: 0)")
    add("--runner", choices=("process", "docker", "auto"), default="process", help="default: process")


def _number(kind: Callable[[str], Number], text: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def _whole(text: str) -> int:
    return _number(int, text)


def _variable(text: str) -> str:
    if not text or "=" in text:
        raise argparse.ArgumentTypeError(f"takes the name of a variable of yours, without a value, not {text!r}")
    return text


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(f"a region is named as AWS names it, such as eu-central-1, not {text!r}")
    return text


def _port(text: str) -> int:
    port = _number(int, text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"a port is 0 to 65535, not {port}")
    return port


def _seconds(text: str) -> float:
    value = _number(float, text)
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return value


def _positive(text: str) -> int:
    value = _number(int, text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return value


def _factor(text: str) -> float:
    value = _number(float, text)
    if not 1e-3 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be 0.001 to 1000000, not {text}")
    return value


def _traces(path: Path, polarity: Polarity | None) -> tuple[Trace, ...]:
    _must_exist("--trace-file", path)
    try:
        return tuple(traces_in(path, path.read_bytes(), polarity))
    except OSError as error:
        raise NotFound(f"--trace-file {path} cannot be read: {error.strerror}") from error
    except InvalidInput as error:
        raise InvalidInput(str(error).replace("--polarity", "--trace-polarity")) from error


def _must_exist(argument: str, path: Path) -> None:
    if not path.is_file():
        raise NotFound(f"{argument} {path}: there is no such file")


def read_images(path: Path) -> tuple[ImageEntry, ...]:
    """The image table: `[[image]]` tables with a pattern, and what stands for the images that it matches."""
    _must_exist("--images", path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
    rows = table.get("image", [])
    if set(table) - {"image"} or not isinstance(rows, list):
        raise InvalidInput(f"{path} holds [[image]] tables and nothing else, not {sorted(table)}")
    return tuple(_image(row, f"{path}, image {number}") for number, row in enumerate(rows, start=1))


def _image(row: Mapping[str, object], where: str) -> ImageEntry:
    if not isinstance(row, dict):
        raise InvalidInput(f"{where}: write [[image]], with two brackets")
    if unknown := set(row) - _IMAGE_KEYS:
        raise InvalidInput(f"{where}: {sorted(unknown)} is unknown; allowed are {sorted(_IMAGE_KEYS)}")
    pattern = row.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        raise InvalidInput(f"{where}: pattern is the image's name, with * for any part of it, not {pattern!r}")
    folder = row.get("working_directory")
    if not isinstance(folder, str | None):
        raise InvalidInput(f"{where}: working_directory is a folder, not {folder!r}")
    environment = row.get("environment", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise InvalidInput(f"{where}: environment is a table of strings, not {environment!r}")
    return ImageEntry(
        pattern=pattern,
        entry_point=_strings(row, "entry_point", where),
        path=_strings(row, "path", where),
        working_directory=Path(folder).expanduser() if folder is not None else None,
        environment=environment,
    )


def _strings(row: Mapping[str, object], key: str, where: str) -> tuple[str, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise InvalidInput(f"{where}: {key} is a list of strings, not {value!r}")
    return tuple(value)
