"""A region's faults on request: which ones, how often, and by what chance. Pure: no clock, no randomness.

Each fault is one that AWS is known to have; AWS publishes no rates for most of them, so those of `HOSTILE` are
higher than any reported, so that each occurs within minutes. Decisions depend only on the seed, the kind of fault
and a number (of the request, the attempt, the host), so that the order of events does not change them.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from spotbatch.batch.errors import InvalidInput, NotFound

_SHARES_OF_REQUESTS: Final = ("throttled", "server_errors", "lost_answers", "s3_slow_down")
_SHARES_OF_ATTEMPTS: Final = ("pull_failures", "docker_timeouts")
_SHARES_OF_HOSTS: Final = ("no_capacity", "never_join")
_SHARES_OF_NOTICES: Final = ("late_notices", "missing_notices")
_SHARES_OF_EVENTS: Final = ("duplicate_events", "late_events")
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "api": ("rate_limits", *_SHARES_OF_REQUESTS, "lagging_answers", "lag_seconds"),
    "attempts": (*_SHARES_OF_ATTEMPTS, "pull_hangs", "pull_hang_seconds", "docker_timeout_seconds"),
    "hosts": (
        *_SHARES_OF_HOSTS,
        *("join_timeout_seconds", "late_boots", "late_boot_seconds", "agent_disconnects", "agent_disconnect_seconds"),
    ),
    "notices": (*_SHARES_OF_NOTICES, "late_notice_seconds", "draining_off"),
    "events": (*_SHARES_OF_EVENTS, "late_event_seconds"),
    "clock": ("clock_skew_seconds",),
}
_MOST_SKEW_SECONDS: Final = 86_400.0
_MOST_SECONDS: Final = 3_600.0
NAMES: Final = ("none", "hostile")  # what --faults accepts besides files


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultPlan:
    """The rate of each fault: shares are fractions of 1, times are in seconds. The default has no faults."""

    # ---- of the table api ----
    rate_limits: bool = False  # AWS's published request rates apply, see api/rate_limits.py
    throttled: float = 0.0  # of the requests: refused because others in the account used up its rate
    server_errors: float = 0.0  # of the requests: answered with 500, and not carried out
    lost_answers: float = 0.0  # of the requests: carried out, but still answered with 500
    s3_slow_down: float = 0.0  # of S3's requests: 503 SlowDown, in addition to `throttled`
    lagging_answers: float = 0.0  # of the Describe, List and Get requests: answered with the state of some seconds ago
    lag_seconds: float = 0.0  # maximum lag
    # ---- of the table attempts ----
    pull_failures: float = 0.0  # of the attempts: CannotPullContainerError
    pull_hangs: float = 0.0  # of the attempts: they stay in STARTING this long, then begin
    pull_hang_seconds: float = 0.0
    docker_timeouts: float = 0.0  # of the attempts: DockerTimeoutError, after this time
    docker_timeout_seconds: float = 0.0  # ECS_CONTAINER_START_TIMEOUT is 3 minutes on AWS
    # ---- of the table hosts ----
    no_capacity: float = 0.0  # of the launches: EC2 has no capacity in that pool
    never_join: float = 0.0  # of the hosts: their agent never registers; they end after this time
    join_timeout_seconds: float = 0.0
    late_boots: float = 0.0  # of the hosts: they take this much longer
    late_boot_seconds: float = 0.0
    agent_disconnects: float = 0.0  # of the attempts' ends: the host's agent is disconnected then, for this time
    agent_disconnect_seconds: float = 0.0
    # ---- of the table notices ----
    late_notices: float = 0.0  # of the notices: they arrive this long before the end
    late_notice_seconds: float = 0.0
    missing_notices: float = 0.0  # of the notices: they never arrive
    draining_off: bool = False  # no host drains, whatever its user data says
    # ---- of the table events ----
    duplicate_events: float = 0.0  # of the events: EventBridge delivers them again, at most this much later
    late_events: float = 0.0  # of the events: they arrive late, after events that happened later
    late_event_seconds: float = 0.0
    # ---- of the table clock ----
    clock_skew_seconds: float = 0.0  # how far the region's clock is ahead of this machine's

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool):
                continue
            most = _MOST_SECONDS if each.name.endswith("_seconds") else 1.0
            if each.name == "clock_skew_seconds":
                if not -_MOST_SKEW_SECONDS <= value <= _MOST_SKEW_SECONDS:
                    raise InvalidInput(f"clock_skew_seconds is at most a day either way, not {value:g}")
            elif not 0 <= value <= most:
                raise InvalidInput(f"{each.name} is 0 to {most:g}, not {value:g}")
        groups = (_SHARES_OF_REQUESTS, _SHARES_OF_ATTEMPTS, _SHARES_OF_HOSTS, _SHARES_OF_NOTICES, _SHARES_OF_EVENTS)
        for names in groups:
            total = sum(getattr(self, name) for name in names)
            if total > 1:
                raise InvalidInput(f"{', '.join(names)} are at most 1 together, not {total:g}")

    @property
    def is_kind(self) -> bool:
        """Whether there are no faults at all."""
        return self == NO_FAULTS


NO_FAULTS: Final = FaultPlan()
HOSTILE: Final = FaultPlan(
    rate_limits=True,
    throttled=0.10,
    server_errors=0.03,
    lost_answers=0.03,
    s3_slow_down=0.10,
    lagging_answers=0.30,
    lag_seconds=2.0,
    pull_failures=0.06,
    pull_hangs=0.05,
    pull_hang_seconds=2.0,
    docker_timeouts=0.04,
    docker_timeout_seconds=1.0,
    no_capacity=0.15,
    never_join=0.10,
    join_timeout_seconds=3.0,
    late_boots=0.20,
    late_boot_seconds=2.0,
    agent_disconnects=0.10,
    agent_disconnect_seconds=2.0,
    late_notices=0.25,
    late_notice_seconds=1.0,
    missing_notices=0.20,
    draining_off=True,
    duplicate_events=0.05,
    late_events=0.10,
    late_event_seconds=3.0,
    clock_skew_seconds=90.0,
)
_BY_NAME: Final = {"none": NO_FAULTS, "hostile": HOSTILE}


def chance(seed: int, kind: str, number: int | str) -> float:
    """A number from 0 to 1 that looks random, and is the same for the same arguments."""
    digest = hashlib.blake2b(f"{seed}:{kind}:{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) / (1 << 64)


def pick(plan: FaultPlan, seed: int, kind: str, number: int | str, names: tuple[str, ...]) -> str | None:
    """Which of several mutually exclusive faults strikes here, each with its own share; None: none does."""
    place = chance(seed, kind, number)
    for name in names:
        place -= getattr(plan, name)
        if place < 0:
            return name
    return None


# ---- what is decided ----


def of_request(plan: FaultPlan, seed: int, service: str, number: int) -> str | None:
    """The fault of a service's request, by number: throttled, server_errors, lost_answers, s3_slow_down."""
    names = _SHARES_OF_REQUESTS if service == "s3" else _SHARES_OF_REQUESTS[:-1]
    return pick(plan, seed, f"request to {service}", number, names)


def lag_of_request(plan: FaultPlan, seed: int, service: str, number: int) -> float:
    """How far the response to a read request lags behind, in seconds; 0 for most."""
    if chance(seed, f"is {service} late", number) >= plan.lagging_answers:
        return 0.0
    return plan.lag_seconds * (0.25 + 0.75 * chance(seed, f"how late is {service}", number))


@dataclass(frozen=True, kw_only=True, slots=True)
class StartFault:
    """What happens to an attempt at its start: it waits, then begins, or fails with the agent's error."""

    wait_seconds: float
    failure: str | None  # pull_failures or docker_timeouts; None: it begins


def of_start(plan: FaultPlan, seed: int, attempt: int | str) -> StartFault | None:
    """The fault of an attempt's start; None for most."""
    failure = pick(plan, seed, "start", attempt, _SHARES_OF_ATTEMPTS)
    if failure is not None:
        wait = plan.docker_timeout_seconds if failure == "docker_timeouts" else 0.0
        return StartFault(wait_seconds=wait, failure=failure)
    if chance(seed, "pull", attempt) < plan.pull_hangs:
        return StartFault(wait_seconds=plan.pull_hang_seconds, failure=None)
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class BootFault:
    """How a host's boot goes wrong."""

    late_seconds: float  # beyond the usual time
    is_without_capacity: bool = False  # EC2 launches nothing
    never_joins: bool = False


def of_boot(plan: FaultPlan, seed: int, host: int) -> BootFault:
    """The fault of a host's boot, by its number; one without any of them for most."""
    name = pick(plan, seed, "launch", host, _SHARES_OF_HOSTS)
    if name is not None:
        late = plan.join_timeout_seconds if name == "never_join" else 0.0
        return BootFault(late_seconds=late, is_without_capacity=name == "no_capacity", never_joins=name == "never_join")
    is_late = chance(seed, "boot", host) < plan.late_boots
    return BootFault(late_seconds=plan.late_boot_seconds if is_late else 0.0)


def notice_seconds(plan: FaultPlan, seed: int, host: int, usual_seconds: float) -> float | None:
    """How long before a host's end its notice arrives; None: never."""
    name = pick(plan, seed, "notice", host, _SHARES_OF_NOTICES)
    if name == "missing_notices":
        return None
    return min(usual_seconds, plan.late_notice_seconds) if name == "late_notices" else usual_seconds


def agent_away_seconds(plan: FaultPlan, seed: int, attempt: int) -> float:
    """How long the agent of an attempt's host is disconnected at the attempt's end, in seconds; 0 for most.

    ECS developer guide, "Container instance state change events": the agent disconnects and reconnects several times an
    hour in normal operation. Meanwhile ECS hears of no task's end, and the agent of no new task.
    """
    return plan.agent_disconnect_seconds if chance(seed, "agent", attempt) < plan.agent_disconnects else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFault:
    """What happens to an event: it arrives late, or arrives once more after some time. Times are in seconds."""

    late_seconds: float = 0.0
    again_seconds: float | None = None


def of_event(plan: FaultPlan, seed: int, number: int) -> EventFault | None:
    """The fault of an event by its number; None for most.

    EventBridge reference, "Delivery level": at least once; EventBridge promises no order.
    """
    name = pick(plan, seed, "event", number, _SHARES_OF_EVENTS)
    if name is None:
        return None
    seconds = plan.late_event_seconds * chance(seed, "how late is an event", number)
    return EventFault(again_seconds=seconds) if name == "duplicate_events" else EventFault(late_seconds=seconds)


# ---- where a plan comes from ----


def named(name: str) -> FaultPlan:
    """The plan for a `--faults` value: none, hostile, or a file. Raises NotFound or InvalidInput."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"--faults {path} is not TOML: {error}") from error
    except OSError as error:
        raise NotFound(
            f"--faults {path} cannot be read: {error.strerror}; it takes {', '.join(NAMES)} or a file in TOML"
        ) from error
    return in_toml(text, str(path))


def in_toml(text: str, where: str) -> FaultPlan:
    """A plan from TOML text; faults not listed do not occur. Raises InvalidInput with the location."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{where} is not TOML: {error}") from error
    given: dict[str, Any] = {}
    for section, values in table.items():
        known = _SECTIONS.get(section)
        if known is None or not isinstance(values, dict):
            raise InvalidInput(f"{where}: there are the tables {', '.join(_SECTIONS)}, not {section!r}")
        for name, value in values.items():
            if name not in known:
                raise InvalidInput(f"{where}, [{section}]: there are {', '.join(known)}, not {name!r}")
            given[name] = _checked(name, value, f"{where}, [{section}]")
    try:
        return FaultPlan(**given)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error}") from error


def as_toml(rates: Mapping[str, object], where: str) -> str:
    """The text of a file with these faults, by the names of FaultPlan. Raises InvalidInput for one that is wrong."""
    sections: dict[str, list[str]] = {}
    for name, value in rates.items():
        section = next((each for each, known in _SECTIONS.items() if name in known), None)
        if section is None:
            known = ", ".join(each.name for each in fields(FaultPlan))
            raise InvalidInput(f"{where}: there is no fault {name!r}, but {known}")
        checked = _checked(name, value, where)
        shown = str(checked).lower() if isinstance(checked, bool) else repr(checked)
        sections.setdefault(section, []).append(f"{name} = {shown}")
    text = "".join(f"[{section}]\n" + "".join(f"{line}\n" for line in lines) for section, lines in sections.items())
    in_toml(text, where)
    return text


def _checked(name: str, value: object, where: str) -> bool | float:
    is_switch = isinstance(getattr(NO_FAULTS, name), bool)
    if is_switch and isinstance(value, bool):
        return value
    if not is_switch and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise InvalidInput(f"{where}: {name} is {'true or false' if is_switch else 'a number'}, not {value!r}")


def to_json(plan: FaultPlan) -> dict[str, Any]:
    """A plan for the region's settings file."""
    return asdict(plan)


def from_json(kept: Mapping[str, Any]) -> FaultPlan:
    """The plan from which `to_json` made this. Raises TypeError or InvalidInput for anything else."""
    return FaultPlan(**kept)
