"""The temperature wrapper, and what every wrapper passes on."""

import math

import pytest
import torch
from dreamgym.wrappers.temperature import Temperature
from oracle import LEVER, NUMBERS, counting_starts, counting_world

from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidTemperature

START = counting_starts().sample(torch.zeros(1))
NOISE = torch.tensor([[1.0, 0.0]])


def test_temperatures_multiply():
    model = counting_world()
    action = torch.eye(3)[:1]
    assert Temperature(model, 4.0).step(START, action, NOISE).state.walk.item() == 2.0
    assert Temperature(model, 4.0).step(START, action, NOISE, 2.25).state.walk.item() == 3.0
    assert Temperature(Temperature(model, 4.0), 4.0).step(START, action, NOISE).state.walk.item() == 4.0


@pytest.mark.parametrize("bad", [0, -1, math.nan, "hot"])
def test_a_bad_temperature_is_refused_by_its_value(bad):
    with pytest.raises(InvalidTemperature, match=f"temperature is {bad!r}; expected a number above 0"):
        Temperature(counting_world(), bad)


def test_a_wrapper_passes_everything_on():
    model = counting_world(action_space=LEVER)
    wrapper = ModelWrapper(model)
    for name in ("observation_space", "action_space", "noise_dim", "feature_dim", "differentiable"):
        assert getattr(wrapper, name) == getattr(model, name)
    first, action = torch.ones(1, dtype=torch.bool), torch.ones(1, 1)
    obs = model.decode(START)
    assert wrapper.observation_space is NUMBERS
    assert wrapper.initial(2).t.shape == (2,)
    assert torch.equal(wrapper.observe(START, action, obs, first, NOISE).walk, NOISE[:, 1])
    assert wrapper.step(START, action, NOISE, 4.0).state.walk.item() == 2.0
    assert torch.equal(wrapper.decode(START), obs)
    assert torch.equal(wrapper.features(START), model.features(START))
