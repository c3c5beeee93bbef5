"""A perceptron from anywhere becomes a policy that does the same, or is refused by what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from target import target
from torch import nn

from dreamgym.bridges.export import export_perceptron
from dreamgym.core.policy import load_policy
from dreamgym.errors import InvalidArgument, PolicyMismatch


def test_it_acts_as_the_layers_do(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(1, 7), nn.ELU(), nn.Linear(7, 5), nn.ELU(), nn.Linear(5, 5))
    policy = export_perceptron(net, target(num_actions=5), path=tmp_path / "policy.safetensors")
    features = torch.linspace(-3, 3, 50)[:, None]
    assert policy.act(features).tolist() == net(features).argmax(1).tolist()
    assert load_policy(tmp_path / "policy.safetensors").act(features).tolist() == policy.act(features).tolist()
    assert policy.config.dream == "Target-v0"


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [nn.Linear(1, 5), nn.Tanh()],
        [nn.Tanh(), nn.Linear(1, 5)],
        [nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 5)],
        [nn.Linear(1, 5), nn.GELU(), nn.Linear(5, 5)],
        [nn.Bilinear(1, 1, 5)],
    ],
)
def test_other_layers_are_refused_by_their_names(layers: list[nn.Module]) -> None:
    names = ", ".join(f"'{type(layer).__name__}'" for layer in layers)
    with pytest.raises(InvalidArgument, match=rf"the policy's layers are \[{names}\]; expected Linear layers"):
        export_perceptron(layers, target(num_actions=5))


def test_other_widths_are_refused_by_their_numbers() -> None:
    with pytest.raises(PolicyMismatch, match="the policy has 4 raw outputs; Target-v0 expects 5"):
        export_perceptron([nn.Linear(1, 4)], target(num_actions=5))
    with pytest.raises(PolicyMismatch, match="sees 2 features; Target-v0 has 1"):
        export_perceptron([nn.Linear(2, 5)], target(num_actions=5))
