"""Shaped rewards and the tent: what they change and what they leave alone."""

import pytest
import torch
from dreamgym.wrappers.reward_shaping import tent
from target import TargetState, TargetWorld

from dreamgym.core.check import check_world_model
from dreamgym.errors import InvalidArgument
from dreamgym.registry import WRAPPERS


@pytest.mark.parametrize(("peak", "slope", "expected"), [(0.5, -0.5, 0.25), (0.5, 0.0, 0.5), (1.0, -0.5, 1.0)])
def test_the_reward_falls_above_the_peak(peak: float, slope: float, expected: float) -> None:
    world = TargetWorld()
    state, best = TargetState(torch.full((1, 1), 1 / 3)), torch.zeros(1, 1)  # pays 1: the target is tanh(0)
    assert tent(world, peak, slope).step(state, best).reward.item() == pytest.approx(expected)


def test_rewards_below_the_peak_and_all_else_stay_as_they_are() -> None:
    world = TargetWorld(termination=0.5)
    state, action, noise = TargetState(torch.randn(64, 1)), torch.rand(64, 1) * 2 - 1, torch.randn(64, 1)
    plain, folded = world.step(state, action, noise), tent(world, 0.5).step(state, action, noise)
    below = plain.reward <= 0.5
    assert 0 < below.sum() < 64
    assert torch.equal(folded.reward[below], plain.reward[below])
    assert (folded.reward[~below] < 0.5).all()
    assert torch.equal(folded.state.x, plain.state.x)
    assert torch.equal(folded.termination, plain.termination)


def test_a_reward_that_is_no_number_stays_none() -> None:
    out = tent(TargetWorld(edge=0.0), 0.5).step(TargetState(torch.zeros(1, 1)), torch.ones(1, 1))
    assert out.reward.isnan().all()


@pytest.mark.parametrize(("peak", "slope"), [(4.2, 0.5), (float("nan"), -0.5), (4.2, float("-inf"))])
def test_a_slope_that_pays_for_excess_is_refused(peak: float, slope: float) -> None:
    with pytest.raises(InvalidArgument, match=f"peak is {peak} and slope {slope}; expected finite numbers"):
        tent(TargetWorld(), peak, slope)


def test_it_is_registered_and_keeps_the_contract() -> None:
    assert WRAPPERS.load("tent") is tent
    check_world_model(tent(TargetWorld(), peak=0.5))
