"""Layers that world-model families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamgym.core.perceptron import make_perceptron
from dreamgym.core.share import mean_over_processes
from dreamgym.models.packed import PackedLinear, plain_torch


class LSTMCell(PackedLinear):
    """An LSTM cell with one bias vector and one matrix product a step; its gates lie as input, forget, output, cell.

    Args:
        input_dim: width of the input.
        hidden_dim: D, width of the memory.

    Source: Hochreiter & Schmidhuber 1997; the forget gate's bias starts at 1 (Gers et al. 2000).
    """

    def __init__(self, input_dim: int, hidden_dim: int) -> None:
        super().__init__(input_dim + hidden_dim, 4 * hidden_dim)
        self.input_dim, self.hidden_dim = input_dim, hidden_dim
        nn.init.ones_(self.bias[hidden_dim : 2 * hidden_dim])

    def step(self, inputs: list[Tensor], h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the memory `h, c` `[B, D]` after one input, given as the parts `[B, ...]` that are joined to it."""
        gates = self(torch.cat([*inputs, h], 1))  # [B, 4D]
        return self._gate(gates, c) if plain_torch() else self._gate_in_place(gates, c)

    def unroll(self, inputs: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Return `h` after each of the inputs `[B, T, input_dim]`, `[B, T, D]`."""
        weight_x, weight_h = self.weight.split([self.input_dim, self.hidden_dim], 1)
        driven = nn.functional.linear(inputs, weight_x, self.bias)  # [B, T, 4D]: one product for all of the inputs
        states = []
        for gates in driven.unbind(1):
            h, c = self._gate(torch.addmm(gates, h, weight_h.t()), c)
            states.append(h)
        return torch.stack(states, 1)  # [B, T, D]

    def _gate(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        opening, candidate = gates.split([3 * self.hidden_dim, self.hidden_dim], 1)
        take, keep, show = opening.sigmoid().chunk(3, 1)
        c = keep * c + take * candidate.tanh()
        return show * c.tanh(), c

    def _gate_in_place(self, gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same, overwriting `gates`; tanh(x) is had as 2 sigmoid(2x) - 1, which torch computes faster."""
        gates[:, 3 * self.hidden_dim :].mul_(2)
        take, keep, show, candidate = gates.sigmoid_().chunk(4, 1)
        c = (keep * c).sub_(take).addcmul_(take, candidate, value=2)
        return (2 * c).sigmoid_().mul_(show).mul_(2).sub_(show), c


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the entries of `x` where `mask`, of the same shape, is 1.

    Of a batch that processes share, it is our part of the whole batch's mean: the mean of these parts is that mean.
    """
    return (x * mask).sum() / mean_over_processes(mask.sum()).clamp(min=1)


def masked_mean_from(least: float, x: Tensor, mask: Tensor) -> Tensor:
    """Return `masked_mean`, or, where the whole batch's is below `least`, that number and no gradient."""
    mean = masked_mean(x, mask)
    return torch.where(mean_over_processes(mean) < least, torch.full_like(mean, least), mean)


def make_mlp(
    input_dim: int, output_dim: int, *, hidden_dim: int, layers: int, norm: str, activation: str, zero: bool = False
) -> nn.Sequential:
    """Return a perceptron `[B, input_dim]` -> `[B, output_dim]`.

    Args:
        input_dim, output_dim: widths of what goes in and out.
        hidden_dim: width of the hidden layers.
        layers: how many hidden layers.
        norm, activation: of the hidden layers, names that `core.perceptron` knows.
        zero: the first output is 0 whatever the input: a head that has learned nothing then says nothing.

    Raises:
        InvalidArgument: if norm or activation is unknown.
    """
    net = make_perceptron(input_dim, output_dim, [hidden_dim] * layers, activation, norm, PackedLinear)
    if zero:
        for parameter in net[-1].parameters():
            nn.init.zeros_(parameter)
    return net
