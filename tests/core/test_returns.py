"""Returns worked out by hand."""

import math

import pytest
import torch

from dreamgym.core.returns import lambda_returns, return_scale, update_range

REWARD = torch.tensor([[1.0], [2.0], [3.0]])
VALUE = torch.tensor([[-7.0], [10.0], [20.0], [30.0]])
GAMMA = torch.full((3, 1), 0.9)


def test_lambda_returns_are_what_the_recursion_gives_by_hand():
    # 3 + .9 * 30 = 30; 2 + .9 * (.5 * 20 + .5 * 30) = 24.5; 1 + .9 * (.5 * 10 + .5 * 24.5) = 16.525
    assert lambda_returns(REWARD, GAMMA, VALUE, 0.5)[:, 0].tolist() == pytest.approx([16.525, 24.5, 30.0])


def test_lambda_0_trusts_the_next_value_and_lambda_1_the_rewards():
    assert lambda_returns(REWARD, GAMMA, VALUE, 0.0)[:, 0].tolist() == pytest.approx([10.0, 20.0, 30.0])
    # 3 + .9 * 30 = 30; 2 + .9 * 30 = 29; 1 + .9 * 29 = 27.1
    assert lambda_returns(REWARD, GAMMA, VALUE, 1.0)[:, 0].tolist() == pytest.approx([27.1, 29.0, 30.0])


def test_nothing_counts_after_an_end_and_lanes_do_not_mix():
    discount = GAMMA.repeat(1, 2)
    discount[1, 0] = 0.0  # the first lane ends with its second step
    returns = lambda_returns(REWARD.repeat(1, 2), discount, VALUE.repeat(1, 2), 0.5)
    assert returns[:2, 0].tolist() == pytest.approx([6.4, 2.0])  # 1 + .9 * (.5 * 10 + .5 * 2)
    assert returns[:, 1].tolist() == pytest.approx([16.525, 24.5, 30.0])


def test_gradients_reach_rewards_and_the_last_value():
    reward, value = REWARD.clone().requires_grad_(), VALUE.clone().requires_grad_()
    lambda_returns(reward, GAMMA, value, 0.5)[0].sum().backward()
    assert reward.grad[:, 0].tolist() == pytest.approx([1, 0.45, 0.45**2])
    assert value.grad[:, 0].tolist() == pytest.approx([0, 0.45, 0.45**2, 0.45**2 * 0.9])


def test_the_range_of_returns_is_a_running_mean_of_percentiles():
    ends = update_range(torch.full((2,), math.nan), torch.arange(101.0).view(1, 101))
    assert ends.tolist() == pytest.approx([5, 95])
    ends = update_range(ends, torch.full((4, 3), 100.0))
    assert ends.tolist() == pytest.approx([5.95, 95.05])
    assert return_scale(ends).item() == pytest.approx(89.1)


def test_a_small_range_is_not_blown_up():
    assert return_scale(torch.tensor([0.2, 0.7])).item() == 1.0
    assert return_scale(torch.tensor([0.2, 0.7]), limit=0.1).item() == pytest.approx(0.5)
