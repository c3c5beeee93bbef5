"""What a batched ensemble is measured against: the same ensemble, whose members are asked one after the other."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dreamgym.models.layers import make_mlp
from dreamgym.models.perceptrons import Perceptrons


class _OneByOne(nn.Module):
    """Answers as `Perceptrons` do, by a perceptron of torch's own layers for each."""

    precision = "one by one"

    def __init__(self, net: Perceptrons, activation: str) -> None:
        super().__init__()
        *hidden, last = (weight.shape for weight in net.weights)
        self.members = nn.ModuleList(
            make_mlp(
                net.weights[0].shape[1],
                last[2],
                hidden_dim=last[1],
                layers=len(hidden),
                norm="none",
                activation=activation,
            )
            for _ in range(net.num)
        )
        for i, member in enumerate(self.members):
            linear = [layer for layer in member if isinstance(layer, nn.Linear)]  # type: ignore[attr-defined]
            for layer, weight, bias in zip(linear, net.weights, net.biases, strict=True):
                layer.weight.data.copy_(weight[i].t())
                layer.bias.data.copy_(bias[i, 0])

    def forward(self, x: Tensor, members: Tensor | None = None) -> Tensor:
        """Return what the perceptrons say, `[E, B, output_dim]`."""
        chosen = self.members if members is None else [self.members[i] for i in members.tolist()]
        return torch.stack([member(x) for member in chosen])


def one_by_one(model: Any) -> Any:
    """Return a copy of a model whose ensemble is a loop over its members; None if it has no ensemble."""
    net = getattr(model, "net", None)
    if not isinstance(net, Perceptrons) or net.num == 1:
        return None
    looped = copy.deepcopy(model)
    looped.net = _OneByOne(net, model.config.activation)
    return looped
