"""Shaped rewards and the tent: what they change and what they leave alone."""

import re

import pytest
import torch
from dreamgym.wrappers.reward_shaping import RewardShaping, tent
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


POINTS = [(-1.0, 0.0), (0.0, 0.0), (2.0, 1.0), (3.0, -1.0)]


def test_rewards_lie_on_the_lines_between_the_points_and_beyond_the_outer_ones() -> None:
    reward = torch.tensor([-5.0, -1.0, -0.5, 0.0, 1.0, 2.0, 2.5, 3.0, 4.0])
    shaped = RewardShaping(TargetWorld(), POINTS).shape(reward)
    assert shaped.tolist() == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 0.0, -1.0, -3.0]


def test_two_points_are_a_line_and_points_from_json_are_the_same() -> None:
    reward = torch.randn(8)
    assert torch.allclose(RewardShaping(TargetWorld(), [[0, 1], [1, 3]]).shape(reward), 2 * reward + 1)


def test_a_piece_that_changes_nothing_changes_no_bit_and_the_tent_is_what_it_was() -> None:
    reward = 10 * torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    for peak, slope in ((4.2, -0.5), (0.3, -0.7), (7.1, 0.0)):
        excess = (reward - peak).clamp(min=0)
        expected = torch.where(excess > 0, peak + slope * excess, reward)
        assert torch.equal(tent(TargetWorld(), peak, slope).shape(reward), expected)


def test_the_shaped_reward_is_what_a_step_pays() -> None:
    world = TargetWorld()
    state, action, noise = TargetState(torch.randn(64, 1)), torch.rand(64, 1) * 2 - 1, torch.randn(64, 1)
    wrapper = RewardShaping(world, POINTS)
    assert torch.equal(
        wrapper.step(state, action, noise).reward, wrapper.shape(world.step(state, action, noise).reward)
    )


@pytest.mark.parametrize(
    "bad", [[], [(0, 0)], [(0, 0), (0, 1)], [(1, 0), (0, 1)], [(0, 0), (1, float("nan"))], [(0, 0, 0), (1, 1, 1)], 3]
)
def test_points_that_are_no_map_are_refused(bad: object) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(f"points is {bad!r}; expected two or more pairs")):
        RewardShaping(TargetWorld(), bad)  # type: ignore[arg-type]
