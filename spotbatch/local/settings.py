"""A local region's start-up settings: the arguments of `python -m spotbatch.local`."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NoReturn, TypeVar

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local.contract import ImageEntry
from spotbatch.local.faults import NO_FAULTS, FaultPlan
from spotbatch.local.region_file import default_home
from spotbatch.policy.trace import Polarity, Trace

_DEFAULT_ACCOUNT: Final = "123456789012"
_DEFAULT_REGION: Final = "us-east-1"
_ACCOUNT: Final = re.compile(r"[0-9]{12}")
_REGION: Final = re.compile(r"[a-z]{2,3}(-[a-z]{2,12}){1,3}-[0-9]{1,2}")

NO_QUOTA: Final = -1
FOREVER: Final = -1.0

Number = TypeVar("Number", int, float)
Option = str | int | float


@dataclass(frozen=True, kw_only=True, slots=True)
class RegionSettings:
    """How the region runs. Times are seconds."""

    home: Path
    port: int = 0  # 0: the port of the last start if it is free, otherwise any
    region: str = _DEFAULT_REGION
    account_id: str = _DEFAULT_ACCOUNT
    artifacts: Path | None = None  # None: `artifacts` in the home
    templates: tuple[Path, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)  # of the templates
    imports: Mapping[str, str] = field(default_factory=dict)  # what stacks that do not exist here would export
    unsafe_no_auth: bool = False
    images: tuple[ImageEntry, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)  # the caller's, passed on to jobs
    notice_seconds: float = 120.0
    boot_seconds: float = 1.0
    idle_seconds: float = 60.0
    stop_grace_seconds: float = 30.0
    keep_jobs_days: float = 7.0  # ended jobs are forgotten after this time; FOREVER: never
    vcpu_quota: int = 0  # 0: by the machine; NO_QUOTA: none
    draining: Literal["template", "on", "off"] = "template"
    reclaims_per_host_hour: float = 0.0
    traces: tuple[Trace, ...] = ()
    trace_speed: float = 1.0
    seed: int = 0
    runner: Literal["process", "docker", "auto"] = "process"
    faults: FaultPlan = NO_FAULTS

    @property
    def artifacts_folder(self) -> Path:
        """Where local artifacts are plain files."""
        return (self.artifacts or self.home / "artifacts").absolute()


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """What was typed at a start. Anything else is as at the last start of this home, or the default."""

    home: Path
    templates: tuple[Path, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    imports: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    pass_env: tuple[str, ...] = ()
    trace_file: Path | None = None
    faults: str | None = None  # a name, or a file
    unsafe_no_auth: bool = False
    forget_settings: bool = False  # start from the defaults, not from the settings of the last start
    accept_changes: bool = False  # even if waiting jobs may be harmed by them
    options: Mapping[str, Option] = field(default_factory=dict)  # the plain ones, by their names in RegionSettings


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Parse a command line. Raises InvalidInput, or NotFound for a file that does not exist."""
    given = vars(_parser().parse_args(arguments))
    if not _ACCOUNT.fullmatch(given.get("account_id", _DEFAULT_ACCOUNT)):
        raise InvalidInput(f"--account-id is 12 digits, not {given['account_id']!r}")
    for option in ("parameter", "import"):
        if given[option] and not given["template"]:
            raise InvalidInput(f"--{option} is for a --template: give that too, or use `spotbatch local load`")
    for option in ("template", "images", "trace_file"):
        for path in given[option] if option == "template" else [given[option]]:
            if path is not None and not path.is_file():
                raise NotFound(f"--{option.replace('_', '-')} {path}: there is no such file")
    return Arguments(
        home=given.pop("home").absolute(),
        templates=tuple(path.absolute() for path in given.pop("template")),
        parameters=dict(given.pop("parameter")),
        imports=dict(given.pop("import")),
        images=given.pop("images"),
        pass_env=tuple(given.pop("pass_env")),
        trace_file=given.pop("trace_file"),
        faults=given.pop("faults"),
        unsafe_no_auth=given.pop("unsafe_no_auth"),
        forget_settings=given.pop("forget_settings"),
        accept_changes=given.pop("accept_changes"),
        options=given,
    )


class _Parser(argparse.ArgumentParser):
    """A usage error is an error like any other: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{message}; `{self.prog} --help` lists the options")


def _parser() -> argparse.ArgumentParser:
    """Options that are stored have no default here: what was not typed must not look as if it were."""
    parser = _Parser(
        prog="python -m spotbatch.local",
        description="Run a local AWS Batch region on 127.0.0.1 until SIGTERM or SIGINT. What is not given is as at the "
        "last start of this home.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add("--home", type=Path, default=default_home(), help="the region's folder (default: %(default)s)")
    add("--port", type=_port, help="0 (default): the port of the last start if it is free, else any")
    add("--region", type=_region, help=f"the name that the region answers to (default: {_DEFAULT_REGION})")
    add("--account-id", help=f"default: {_DEFAULT_ACCOUNT}")
    add("--artifacts", type=_folder, help="the folder of the artifact store (default: artifacts in the home)")
    add("--template", type=Path, action="append", default=[], metavar="FILE", help="a synthesized template to load")
    parameter = "the value of a parameter of the templates; kept with the stack"
    add("--parameter", type=named_value, action="append", default=[], metavar="NAME=VALUE", help=parameter)
    imported = "what Fn::ImportValue gives where no loaded stack exports it; kept with the stack"
    add("--import", type=named_value, action="append", default=[], metavar="NAME=VALUE", help=imported)
    images = "TOML: what stands for each container image on this machine"
    add("--images", type=Path, default=None, metavar="FILE", help=images)
    passed = "a variable of the caller that jobs get too"
    add("--pass-env", type=_variable, action="append", default=[], metavar="NAME", help=passed)
    unsafe = "accept unsigned requests: any local program can run code; not kept for the next start"
    add("--unsafe-no-auth", action="store_true", default=False, help=unsafe)
    forget = "begin with the defaults and these options, not with what the last start had"
    add("--forget-settings", action="store_true", default=False, help=forget)
    accept = "start though what changes may do harm to jobs that wait"
    add("--accept-changes", action="store_true", default=False, help=accept)
    _add_spot_arguments(parser)
    return parser


def _add_spot_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--notice-seconds", type=_seconds, help="from a Spot notice to the reclaim (default: 120)")
    add("--boot-seconds", type=_seconds, help="from a host's launch to its start (default: 1)")
    add("--idle-seconds", type=_seconds, help="a host without attempts is kept so long (default: 60)")
    keep = "ended jobs are forgotten after so many days, or forever (default: 7, as on AWS)"
    add("--keep-jobs-days", type=_days, metavar="N", help=keep)
    add("--stop-grace-seconds", type=_seconds, help="from SIGTERM to SIGKILL (default: 30)")
    quota = "vCPUs of all hosts together, or none for no limit (default: by this machine's cores and memory)"
    add("--vcpu-quota", type=_quota, metavar="N", help=quota)
    draining = "whether hosts under notice get new jobs: as their launch template says (default), on: none, off: always"
    add("--draining", choices=("template", "on", "off"), help=draining)
    add("--reclaims-per-host-hour", type=_seconds, help="seeded random reclaims (default: 0)")
    trace = "Spot capacity by zone from a recorded trace (CSV or JSON)"
    add("--trace-file", type=Path, default=None, metavar="FILE", help=trace)
    add("--trace-polarity", type=Polarity, choices=[*Polarity], help="what a 1 means, where the trace does not say")
    add("--trace-speed", type=_factor, help="so many seconds of the trace pass in one (default: 1)")
    unkind = "how unkind the region is: none (default), hostile, or a file in TOML with the rate of each fault"
    add("--faults", default=None, metavar="NAME|FILE", help=unkind)
    add("--seed", type=_whole, help="of everything random (default: 0)")
    add("--runner", choices=("process", "docker", "auto"), help="default: process")


def named_value(text: str) -> tuple[str, str]:
    """NAME=VALUE; the value may be empty and may contain further equals signs."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"takes NAME=VALUE, not {text!r}")
    return name, value


def _number(kind: Callable[[str], Number], text: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}") from None


def _folder(text: str) -> str:
    return str(Path(text).expanduser().absolute())


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


def _days(text: str) -> float:
    if text == "forever":
        return FOREVER
    value = _number(float, text)
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be 0 or more days, or forever, not {text}")
    return value


def _quota(text: str) -> int:
    if text == "none":
        return NO_QUOTA
    value = _number(int, text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, or none, not {text}")
    return value


def _factor(text: str) -> float:
    value = _number(float, text)
    if not 1e-3 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"must be 0.001 to 1000000, not {text}")
    return value
