"""The tent: what it changes and what it leaves alone."""

import pytest
import torch
from dreamgym.wrappers.tent import TentReward
from target import TargetState, TargetWorld

from dreamgym.core.check import check_world_model
from dreamgym.errors import InvalidArgument
from dreamgym.registry import WRAPPERS


@pytest.mark.parametrize(("peak", "slope", "expected"), [(0.5, -0.5, 0.25), (0.5, 0.0, 0.5), (1.0, -0.5, 1.0)])
def test_the_reward_falls_above_the_peak(peak: float, slope: float, expected: float) -> None:
    world = TargetWorld()
    state, best = TargetState(torch.full((1, 1), 1 / 3)), torch.zeros(1, 1)  # pays 1: the target is tanh(0)
    assert TentReward(world, peak, slope).step(state, best).reward.item() == pytest.approx(expected)


def test_rewards_below_the_peak_and_all_else_stay_as_they_are() -> None:
    world = TargetWorld(termination=0.5)
    state, action, noise = TargetState(torch.randn(64, 1)), torch.rand(64, 1) * 2 - 1, torch.randn(64, 1)
    plain, tent = world.step(state, action, noise), TentReward(world, 0.5).step(state, action, noise)
    below = plain.reward <= 0.5
    assert 0 < below.sum() < 64
    assert torch.equal(tent.reward[below], plain.reward[below])
    assert (tent.reward[~below] < 0.5).all()
    assert torch.equal(tent.state.x, plain.state.x)
    assert torch.equal(tent.termination, plain.termination)


def test_a_reward_that_is_no_number_stays_none() -> None:
    out = TentReward(TargetWorld(edge=0.0), 0.5).step(TargetState(torch.zeros(1, 1)), torch.ones(1, 1))
    assert out.reward.isnan().all()


@pytest.mark.parametrize(("peak", "slope"), [(4.2, 0.5), (float("nan"), -0.5), (4.2, float("-inf"))])
def test_a_slope_that_pays_for_excess_is_refused(peak: float, slope: float) -> None:
    with pytest.raises(InvalidArgument, match=f"peak is {peak} and slope {slope}; expected finite numbers"):
        TentReward(TargetWorld(), peak, slope)


def test_it_is_registered_and_keeps_the_contract() -> None:
    assert WRAPPERS.load("tent") is TentReward
    check_world_model(TentReward(TargetWorld(), peak=0.5))
