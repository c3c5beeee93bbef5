"""Distributions over actions, against densities worked out by hand."""

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.agents.heads import make_head
from dreamgym.errors import InvalidArgument, UnsupportedSpace

OPTIONS = {"distribution": "bounded_normal", "unimix": 0.1, "min_std": 0.1, "max_std": 1.0, "init_std": 0.9}
LEVER = spaces.Box(np.float32([-2, 0]), np.float32([2, 10]))


def head(space, **changes):
    return make_head(space, **{**OPTIONS, **changes})


def test_a_discrete_density_is_the_softmax_with_a_share_spread_evenly():
    out = torch.tensor([[math.log(3.0), 0.0]])  # probabilities 3/4 and 1/4; mixed .725 and .275
    h = head(spaces.Discrete(2))
    assert h.log_prob(out, torch.eye(2)).exp().tolist() == pytest.approx([0.725, 0.275])
    assert h.entropy(out).item() == pytest.approx(-(0.725 * math.log(0.725) + 0.275 * math.log(0.275)))
    assert h.mode(out).tolist() == [[1, 0]]


def test_discrete_draws_come_as_often_as_their_density_says_and_pass_gradients():
    out = torch.tensor([[math.log(3.0), 0.0]]).repeat(4000, 1).requires_grad_()
    h = head(spaces.Discrete(2))
    draws = h.draw(out, torch.randn(4000, 1, generator=torch.Generator().manual_seed(0)))
    assert draws.mean(0)[0].item() == pytest.approx(0.725, abs=0.03)
    assert set(draws[:, 0].detach().round(decimals=5).tolist()) == {0.0, 1.0}
    draws[:, 0].sum().backward()
    assert (out.grad[:, 0] > 0).all()


def test_a_bounded_normal_has_a_density_and_bounds_worked_out_by_hand():
    h = head(LEVER, init_std=0.55)  # half way between the smallest and the largest
    out = torch.tensor([[0.5, -9.0, 0.0, 0.0]])
    mean = torch.tensor([math.tanh(0.5), math.tanh(-9.0)])
    expected = sum(-0.5 * ((0.2 - m) / 0.55) ** 2 - math.log(0.55 * math.sqrt(2 * math.pi)) for m in mean.tolist())
    assert h.log_prob(out, torch.full((1, 2), 0.2)).item() == pytest.approx(expected, rel=1e-5)
    assert h.entropy(out).item() == pytest.approx(2 * math.log(0.55 * math.sqrt(2 * math.pi * math.e)), rel=1e-5)
    assert torch.allclose(h.draw(out, torch.ones(1, 2)), mean + 0.55)
    assert h.action(torch.tensor([[0.0, 0.0], [-3.0, 5.0]])).tolist() == [[0, 5], [-2, 10]]


def test_a_tanh_normal_never_leaves_the_bounds():
    h = head(LEVER, distribution="tanh_normal", init_std=5.0)
    out = torch.zeros(1, 4)
    assert torch.allclose(h.draw(out, torch.ones(1, 2)), torch.full((1, 2), 5.0), atol=0.11)
    assert h.action(torch.tensor([[50.0, -50.0]])).tolist() == [[2, 0]]
    assert h.action(h.mode(out)).tolist() == [[0, 5]]


@pytest.mark.parametrize("distribution", ["bounded_normal", "tanh_normal"])
def test_gradients_reach_the_mean_even_from_beyond_the_bounds(distribution):
    out = torch.zeros(1, 4, requires_grad=True)
    h = head(LEVER, distribution=distribution)
    h.action(h.draw(out, torch.full((1, 2), 2.0))).sum().backward()
    assert (out.grad[:, :2] > 0).all()


def test_actions_that_an_actor_cannot_take_are_refused_by_their_space():
    with pytest.raises(UnsupportedSpace, match=r"dreamer cannot act in MultiDiscrete\(\[2 3\]\); expected a Discrete"):
        head(spaces.MultiDiscrete([2, 3]))
    with pytest.raises(UnsupportedSpace, match=r"cannot act in Box\(-inf, inf.*, which has no bounds"):
        head(spaces.Box(-np.inf, np.inf, (1,)))
    with pytest.raises(InvalidArgument, match="distribution is 'cauchy'; expected one of 'bounded_normal', 'tanh_nor"):
        head(LEVER, distribution="cauchy")
