"""Layers that world-model families share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PackedLinear(nn.Linear):
    """A linear layer."""


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
        return self._gate(self(torch.cat([*inputs, h], 1)), c)

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


def bf16_autocast(device: torch.device) -> torch.autocast:
    """Return a context for training in which convolutions and products run in bfloat16 where that is faster."""
    if device.type == "cpu":
        # absent from older torch; without these instructions bfloat16 is emulated, slower than float32
        fast = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    else:
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the entries of `x` where `mask`, of the same shape, is 1."""
    return (x * mask).sum() / mask.sum().clamp(min=1)
