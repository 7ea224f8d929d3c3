"""What is checked before a promise: the on-demand queue's hosts and the account's quotas; what is not read is said."""

from collections.abc import Callable, Mapping

import pytest

from spotbatch.aws import quotas, session
from spotbatch.batch.errors import InvalidInput
from spotbatch.batch.job import ResourceRequirements
from spotbatch.pricing.catalogue import catalogue
from spotbatch.runs import control_checks
from spotbatch.runs.control_checks import Hosts, check_room, spot_notes

TYPES = tuple(catalogue().expand(["c5.xlarge", "m5.xlarge"]))
NEEDS = ResourceRequirements(vcpus=2, memory_mib=2000, gpus=0)
Limits = Callable[[Mapping[str, int | None]], None]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """What Service Quotas answers by code; None: it does not answer."""

    def given(by_code: Mapping[str, int | None]) -> None:
        monkeypatch.setattr(quotas, "limit", lambda quota: by_code.get(quota.code))
        monkeypatch.setattr(session, "is_local", lambda: False)

    return given


def hosts(max_vcpus: int = 64, *, unknown: tuple[str, ...] = ()) -> Hosts:
    return Hosts(queue="paid", max_vcpus=max_vcpus, types=() if unknown else TYPES, unknown=unknown)


def test_a_quota_that_holds_all_at_once_is_enough(limits: Limits) -> None:
    limits({"L-1216C47A": 20})
    assert check_room(hosts(), NEEDS, 10, is_at_once=True) == []


@pytest.mark.parametrize(
    ("units", "is_at_once", "quota", "most", "said"),
    [
        (11, True, 20, 64, "22 vCPUs, and the account may run 20 on demand: ask for more in Service Quotas"),
        (1, False, 0, 64, "2 vCPUs, and the account may run 0 on demand"),
        (10, True, None, 16, "20 vCPUs, and paid has at most 16"),
    ],
)
def test_what_has_no_room_on_demand_is_refused(
    limits: Limits, units: int, is_at_once: bool, quota: int | None, most: int, said: str
) -> None:
    limits({"L-1216C47A": quota})
    with pytest.raises(InvalidInput, match=said):
        check_room(hosts(most), NEEDS, units, is_at_once=is_at_once)


def test_what_no_on_demand_host_holds_is_refused(limits: Limits) -> None:
    limits({"L-1216C47A": 1000})
    with pytest.raises(InvalidInput, match="no instance type of paid has 64000 MiB"):
        check_room(hosts(), ResourceRequirements(vcpus=2, memory_mib=64_000, gpus=0), 1, is_at_once=False)


def test_a_quota_that_nobody_tells_is_unknown_and_said(limits: Limits) -> None:
    limits({})
    [line] = check_room(hosts(), NEEDS, 10, is_at_once=True)
    assert line.startswith("not checked: the account's on-demand vCPU quota (Running On-Demand Standard")
    both = check_room(hosts(unknown=("not checked: what hosts of z9.huge hold",)), NEEDS, 10, is_at_once=True)
    assert len(both) == 2


def test_a_spot_quota_of_nothing_is_said_and_refuses_nothing(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_checks, "hosts_of", lambda *_, **__: hosts())
    limits({"L-34B43A08": 0})
    jobs = None  # the hosts are given above
    [line] = spot_notes("spot", NEEDS, jobs=jobs)  # type: ignore[arg-type]
    assert line.startswith("the account may run 0 vCPUs on Spot, and a job has 2")
    limits({"L-34B43A08": 640})
    assert spot_notes("spot", NEEDS, jobs=jobs) == []  # type: ignore[arg-type]
