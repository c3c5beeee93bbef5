"""What the scripts of benchmarks/libraries share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn


@pytest.fixture(scope="module")
def measure() -> Any:
    path = Path(__file__).parents[1] / "benchmarks" / "libraries" / "measure.py"
    spec = importlib.util.spec_from_file_location("library_measure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["library_measure"] = module  # dataclasses look their annotations up there
    spec.loader.exec_module(module)
    return module


def test_first_weights_are_orthogonal_with_a_gain_of_their_own_in_the_last_layer(measure: Any) -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(20, 8), nn.Tanh()), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
    assert measure.orthogonal(net, 0.01) is net
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    for layer, gain in zip(layers, (2**0.5, 2**0.5, 0.01), strict=True):
        product = layer.weight @ layer.weight.T  # [out, out], no layer here is wider than what it reads
        torch.testing.assert_close(product, gain**2 * torch.eye(len(product)), atol=1e-5, rtol=0)
        assert not layer.bias.any()


def test_a_car_is_trained_with_other_settings_than_a_game(measure: Any) -> None:
    game, car = measure.Train().ppo, measure.Train(dream="DreamCarRacing-v0").ppo
    assert (game.hidden, game.log_std) == (64, 0.0)
    assert (car.hidden, car.log_std) == (128, -1.0)


def test_options_reach_the_lanes(measure: Any) -> None:
    options = measure.Train(horizon=64, wrap=("tent:peak=4.2", "reward_shaping:points=[[0,0],[10,1]]"))
    assert options.env == {
        "max_episode_steps": 64,
        "wrap": [("tent", {"peak": 4.2}), ("reward_shaping", {"points": [[0, 0], [10, 1]]})],
    }
