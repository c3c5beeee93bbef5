"""Imagined rollouts of a world whose every figure is known."""

import pytest
import torch
from oracle import LEVER, counting_starts, counting_world

from dreamgym.core.imagine import imagine
from dreamgym.errors import InvalidArgument, InvalidTemperature

START = counting_starts().sample(torch.tensor([0.0, 0.2, 0.4]))  # starts 0, 1 and 3: lengths 3, 5 and 6


def rollout(horizon=5, policy=lambda features: torch.ones(len(features), 1), **kwargs):
    return imagine(counting_world(action_space=LEVER), START, policy, horizon, **kwargs)


def test_a_rollout_has_its_documented_shapes():
    out = rollout()
    assert out.features.shape == (6, 3, 4)
    assert out.action.shape == (5, 3, 1)
    assert out.reward.shape == out.termination.shape == out.survival.shape == (5, 3)
    assert out.state.t.tolist() == [5.0] * 3


def test_each_step_earns_what_the_action_before_it_earned():
    out = rollout(policy=lambda features: features[:, 1:2] + 1)  # acts t + 1
    assert out.features[:, 0, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert out.reward[:, 0].tolist() == pytest.approx([1.1, 2.2, 3.3, 4.4, 5.5])


def test_survival_is_the_probability_of_still_running_when_the_step_was_taken():
    assert rollout().survival[:, 0].tolist() == [1, 1, 1, 0, 0]  # the third step ends it
    out = imagine(counting_world(lengths=(0,), hazard=0.25, action_space=LEVER), START, lambda f: f[:, :1], 3)
    assert out.survival[:, 1].tolist() == pytest.approx([1, 0.75, 0.75**2])


def test_the_same_noise_imagines_the_same_and_no_noise_something_new():
    noise = torch.randn(5, 3, 2)
    one, two = (rollout(noise=noise) for _ in range(2))
    assert torch.equal(one.features, two.features)
    assert torch.allclose(one.state.walk, noise[:, :, 0].sum(0), atol=1e-5)
    assert not torch.equal(rollout().state.walk, rollout().state.walk)


def test_the_temperature_reaches_the_model():
    noise = torch.randn(5, 3, 2)
    assert torch.allclose(rollout(noise=noise, temperature=4.0).state.walk, 2 * rollout(noise=noise).state.walk)


def test_gradients_flow_from_the_last_reward_to_the_first_action():
    gain = torch.tensor(0.5, requires_grad=True)
    out = rollout(policy=lambda features: (gain * (1 + features[:, 2:3])).clamp(-2, 2))
    (slope,) = torch.autograd.grad(out.reward[1].sum(), gain)
    # the second action is g (1 + g): its slope is 1 + 2g, and it earns a tenth in each of three lanes
    assert slope.item() == pytest.approx(3 * 0.1 * (1 + 2 * 0.5))


def test_bad_arguments_are_refused_by_their_value():
    with pytest.raises(InvalidArgument, match="horizon is 0; expected at least 1 step"):
        rollout(horizon=0)
    with pytest.raises(InvalidArgument, match="noise has 4 steps; expected horizon 5"):
        rollout(noise=torch.zeros(4, 3, 2))
    with pytest.raises(InvalidTemperature, match="temperature is -1; expected a number above 0"):
        rollout(temperature=-1)
