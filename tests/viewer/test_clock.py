"""The clock: steps at their own rate, stalls, pauses."""

import pytest

from dreamgym.errors import InvalidArgument
from dreamgym.viewer.clock import LONGEST, Clock


def test_steps_come_at_the_rate_whatever_the_pictures_do():
    for fps in (20, 50, 144):
        clock = Clock(12.5)
        assert sum(clock.advance(1 / fps) for _ in range(8 * fps)) in (99, 100)


def test_the_phase_is_the_share_of_the_step_that_has_passed():
    clock = Clock(10)
    assert clock.advance(0.025) == 0
    assert clock.phase == pytest.approx(0.25)
    assert clock.advance(0.1) == 1
    assert clock.phase == pytest.approx(0.25)
    clock.rate = 20.0
    assert clock.phase == pytest.approx(0.25)
    clock.restart()
    assert clock.phase == 0


def test_a_stall_is_not_made_up_for():
    clock = Clock(100)
    assert clock.advance(60.0) == round(LONGEST * 100)
    assert clock.advance(-1.0) == 0


def test_time_stands_still_while_paused():
    clock = Clock(10)
    clock.advance(0.05)
    clock.paused = True
    assert clock.advance(0.2) == 0
    assert clock.phase == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(InvalidArgument, match="the rate is .*; expected a positive number of steps a second"):
        Clock(rate)
