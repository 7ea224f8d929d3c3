"""The engine's two times, on clocks that the test turns."""

from dataclasses import dataclass

import pytest

from spotbatch.local.engine.clock import Clock


@dataclass
class Machine:
    utc: float = 1_700_000_000.0
    steady: float = 50.0

    def go_on(self, seconds: float) -> None:
        self.utc += seconds
        self.steady += seconds


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def clock(machine: Machine) -> Clock:
    return Clock(lambda: machine.utc, lambda: machine.steady)


def test_both_times_go_on_together(machine: Machine, clock: Clock) -> None:
    machine.go_on(10.0)
    assert (clock.now(), clock.steady()) == (1_700_000_010.0, 60.0)


def test_a_machine_that_slept_tells_the_time_of_day_and_has_waited_for_nothing(machine: Machine, clock: Clock) -> None:
    machine.utc += 3_600.0  # the steady clock of Linux does not count a suspend
    assert (clock.now(), clock.steady()) == (1_700_003_600.0, 50.0)
    machine.go_on(1.0)
    assert clock.now() == 1_700_003_601.0


def test_a_clock_that_is_put_back_does_not_put_back_what_is_told(machine: Machine, clock: Clock) -> None:
    machine.utc -= 3_600.0
    machine.go_on(2.0)
    assert clock.now() == 1_700_000_002.0
