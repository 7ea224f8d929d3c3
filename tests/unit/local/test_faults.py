"""What faults a region is started with, and whom they strike: by the seed and a number alone."""

from dataclasses import fields
from pathlib import Path

import pytest

from spotbatch.batch.errors import InvalidInput, NotFound
from spotbatch.local import faults
from spotbatch.local.faults import HOSTILE, NO_FAULTS, FaultPlan

MANY = 20_000


def share(struck: int) -> float:
    return struck / MANY


def test_the_same_arguments_are_struck_alike_and_another_seed_strikes_others() -> None:
    first = [faults.of_request(HOSTILE, 7, "batch", number) for number in range(500)]
    assert first == [faults.of_request(HOSTILE, 7, "batch", number) for number in reversed(range(500))][::-1]
    assert first != [faults.of_request(HOSTILE, 8, "batch", number) for number in range(500)]
    assert first != [faults.of_request(HOSTILE, 7, "logs", number) for number in range(500)]


@pytest.mark.parametrize("name", ["throttled", "server_errors", "lost_answers"])
def test_a_fault_of_requests_strikes_as_often_as_its_rate_says(name: str) -> None:
    struck = sum(faults.of_request(HOSTILE, 3, "batch", number) == name for number in range(MANY))
    assert share(struck) == pytest.approx(getattr(HOSTILE, name), rel=0.15)


def test_slow_down_is_for_s3_alone() -> None:
    plan = FaultPlan(s3_slow_down=1.0)
    assert faults.of_request(plan, 0, "s3", 1) == "s3_slow_down"
    assert faults.of_request(plan, 0, "batch", 1) is None


def test_answers_lag_at_most_as_far_as_was_asked_for() -> None:
    lags = [faults.lag_of_request(HOSTILE, 1, "batch", number) for number in range(MANY)]
    assert share(sum(lag > 0 for lag in lags)) == pytest.approx(HOSTILE.lagging_answers, rel=0.1)
    assert 0 < max(lags) <= HOSTILE.lag_seconds


def test_starts_fail_wait_or_go_well_as_often_as_their_rates_say() -> None:
    found = [faults.of_start(HOSTILE, 2, number) for number in range(MANY)]
    assert share(sum(one is not None and one.failure == "pull_failures" for one in found)) == pytest.approx(
        HOSTILE.pull_failures, rel=0.2
    )
    assert any(one is not None and one.failure is None and one.wait_seconds for one in found)
    assert not any(faults.of_start(NO_FAULTS, 2, number) for number in range(100))


def test_boots_and_notices_go_wrong_in_each_way_and_never_without_being_asked_to() -> None:
    boots = [faults.of_boot(HOSTILE, 4, number) for number in range(MANY)]
    assert share(sum(one.is_without_capacity for one in boots)) == pytest.approx(HOSTILE.no_capacity, rel=0.15)
    assert share(sum(one.never_joins for one in boots)) == pytest.approx(HOSTILE.never_join, rel=0.15)
    assert any(one.late_seconds == HOSTILE.late_boot_seconds for one in boots)
    assert {faults.of_boot(NO_FAULTS, 4, number).late_seconds for number in range(100)} == {0.0}
    notices = {faults.notice_seconds(HOSTILE, 4, number, 120.0) for number in range(100)}
    assert notices == {None, HOSTILE.late_notice_seconds, 120.0}
    assert {faults.notice_seconds(NO_FAULTS, 4, number, 120.0) for number in range(100)} == {120.0}


def test_events_come_twice_or_late_as_often_as_their_rates_say() -> None:
    found = [faults.of_event(HOSTILE, 6, number) for number in range(MANY)]
    twice = [one for one in found if one is not None and one.again_seconds is not None]
    late = [one for one in found if one is not None and one.again_seconds is None]
    assert share(len(twice)) == pytest.approx(HOSTILE.duplicate_events, rel=0.15)
    assert share(len(late)) == pytest.approx(HOSTILE.late_events, rel=0.15)
    assert max(one.late_seconds for one in late) <= HOSTILE.late_event_seconds
    assert not any(faults.of_event(NO_FAULTS, 6, number) for number in range(100))


def test_agents_are_away_as_often_and_as_long_as_was_asked_for() -> None:
    away = [faults.agent_away_seconds(HOSTILE, 5, number) for number in range(MANY)]
    assert set(away) == {0.0, HOSTILE.agent_disconnect_seconds}
    assert share(sum(map(bool, away))) == pytest.approx(HOSTILE.agent_disconnects, rel=0.15)
    assert not any(faults.agent_away_seconds(NO_FAULTS, 5, number) for number in range(100))


def test_a_late_notice_is_never_earlier_than_a_usual_one() -> None:
    plan = FaultPlan(late_notices=1.0, late_notice_seconds=60.0)
    assert faults.notice_seconds(plan, 0, 1, 5.0) == 5.0


def test_a_file_names_the_faults_that_there_are_and_nothing_else_happens(tmp_path: Path) -> None:
    file = tmp_path / "faults.toml"
    file.write_text("[api]\nthrottled = 0.5\nrate_limits = true\n[notices]\ndraining_off = true\n", encoding="utf-8")
    assert faults.named(str(file)) == FaultPlan(throttled=0.5, rate_limits=True, draining_off=True)
    assert faults.named("hostile") is HOSTILE
    assert faults.named("none").is_kind


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[api]\nthrotled = 0.5\n", "'throtled'"),
        ("[ap]\nthrottled = 0.5\n", "'ap'"),
        ("throttled = 0.5\n", "'throttled'"),
        ("[api]\nthrottled = 1.5\n", "throttled is 0 to 1, not 1.5"),
        ("[api]\nthrottled = -0.1\n", "throttled is 0 to 1"),
        ("[api]\nthrottled = nan\n", "throttled is 0 to 1"),
        ("[api]\nthrottled = 'often'\n", "is a number, not 'often'"),
        ("[api]\nrate_limits = 1\n", "is true or false, not 1"),
        ("[api]\nthrottled = 0.6\nlost_answers = 0.6\n", "at most 1 together"),
        ("[clock]\nclock_skew_seconds = 1e6\n", "at most a day"),
        ("[api\n", "is not TOML"),
    ],
)
def test_a_file_that_means_nothing_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=r"faults\.toml") as caught:
        faults.in_toml(text, "faults.toml")
    assert says in str(caught.value)


def test_a_name_that_there_is_not_says_which_there_are() -> None:
    with pytest.raises(NotFound, match="none, hostile or a file"):
        faults.named("hostle")


def test_a_plan_comes_back_from_the_settings_file_as_it_was() -> None:
    assert faults.from_json(faults.to_json(HOSTILE)) == HOSTILE


def test_every_fault_stands_in_a_table_of_the_file_and_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "local-region.md").read_text(encoding="utf-8")
    for each in fields(FaultPlan):
        value = "true" if isinstance(each.default, bool) else "0.5"
        tables = ("api", "attempts", "hosts", "notices", "events", "clock")
        assert any(reads(f"[{table}]\n{each.name} = {value}\n") for table in tables), each.name
        assert f"`{each.name}`" in text, each.name


def reads(text: str) -> bool:
    try:
        faults.in_toml(text, "")
    except InvalidInput:
        return False
    return True


def test_rates_by_name_become_a_file_that_means_the_same() -> None:
    rates = {name: value for name, value in faults.to_json(HOSTILE).items() if value != getattr(NO_FAULTS, name)}
    assert faults.in_toml(faults.as_toml(rates, "here"), "here") == HOSTILE


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"pull_failures": 2.0}, "pull_failures is 0 to 1"),
        ({"pull_failures": "often"}, "pull_failures is a number"),
        ({"draining_off": 1}, "draining_off is true or false"),
    ],
)
def test_a_rate_that_is_wrong_is_refused_before_a_region_starts(rates: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        faults.as_toml(rates, "here")
