"""The deterministic memories of recurrent state-space models: a gated recurrent unit, dense or in blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dreamgym.core.perceptron import ACTIVATIONS, NORMS
from dreamgym.models.packed import PackedLinear, plain_torch


class DenseGru(nn.Module):
    """A layer that reads latent and action, and a gated recurrent unit that remembers them.

    Args:
        stoch_dim: width of the latent.
        action_dim: A.
        deter_dim: D, width of the memory.
        hidden_dim: width of the layer before the unit.
        norm: of that layer and of the gates, one of `NORMS`.
        activation: of that layer, one of `ACTIVATIONS`.
        gates_norm: of the gates, if it is another one.

    Source: Hafner et al. 2021 (Dreamer V2). Its reset gate multiplies the candidate's sum of input and memory; Keras'
    and cuDNN's, which PlaNet and Dreamer V1 have, only what the memory adds to it. The update gate's bias of -1 lets a
    new memory last.
    """

    def __init__(
        self,
        stoch_dim: int,
        action_dim: int,
        deter_dim: int,
        hidden_dim: int,
        norm: str,
        activation: str,
        gates_norm: str | None = None,
    ) -> None:
        super().__init__()
        self.read = PackedLinear(stoch_dim + action_dim, hidden_dim)
        self.read_norm = NORMS[norm](hidden_dim)
        self.activation = ACTIVATIONS[activation]()
        self.gates = PackedLinear(hidden_dim + deter_dim, 3 * deter_dim)
        self.gates_norm = NORMS[norm if gates_norm is None else gates_norm](3 * deter_dim)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """Return the next memory `[B, D]`."""
        x = self.activation(self.read_norm(self.read(torch.cat([stoch, action], 1))))
        gates = self.gates_norm(self.gates(torch.cat([x, deter], 1)))  # [B, 3D]
        reset, candidate, update = gates.chunk(3, 1)
        return _remember(deter, reset, candidate, update)


class BlockGru(nn.Module):
    """A gated recurrent unit whose recurrent weights are block-diagonal, which lets a large memory stay cheap.

    Args:
        stoch_dim: width of the latent.
        action_dim: A.
        deter_dim: D, width of the memory, a multiple of `blocks`.
        hidden_dim: width to which memory, latent and action are each brought before they are shown to every block.
        norm: one of `NORMS`.
        activation: one of `ACTIVATIONS`.
        blocks: how many.

    Source: Hafner et al. 2025 (Dreamer V3, "Mastering diverse control tasks through world models"), methods.
    """

    def __init__(
        self, stoch_dim: int, action_dim: int, deter_dim: int, hidden_dim: int, norm: str, activation: str, blocks: int
    ) -> None:
        super().__init__()
        widths = (deter_dim, stoch_dim, action_dim)
        self.read = nn.ModuleList(
            nn.Sequential(PackedLinear(width, hidden_dim), NORMS[norm](hidden_dim), ACTIVATIONS[activation]())
            for width in widths
        )
        self.blocks = blocks
        self.mix = BlockLinear(deter_dim + 3 * hidden_dim * blocks, deter_dim, blocks)
        self.mix_norm = NORMS[norm](deter_dim)
        self.activation = ACTIVATIONS[activation]()
        self.gates = BlockLinear(deter_dim, 3 * deter_dim, blocks)

    def forward(self, deter: Tensor, stoch: Tensor, action: Tensor) -> Tensor:
        """Return the next memory `[B, D]`."""
        seen = torch.cat([layer(x) for layer, x in zip(self.read, (deter, stoch, action), strict=True)], 1)
        seen = seen[:, None].expand(-1, self.blocks, -1)  # [B, blocks, 3 * hidden]
        x = torch.cat([deter.unflatten(1, (self.blocks, -1)), seen], 2).flatten(1)
        x = self.activation(self.mix_norm(self.mix(x)))  # [B, D]
        gates = self.gates(x).unflatten(1, (self.blocks, 3, -1))
        reset, candidate, update = (part.flatten(1) for part in gates.unbind(2))  # [B, D] each
        return _remember(deter, reset, candidate, update)


def _remember(deter: Tensor, reset: Tensor, candidate: Tensor, update: Tensor) -> Tensor:
    """Return the memory `[B, D]` after gates `[B, D]` each."""
    candidate = reset.sigmoid() * candidate
    # torch computes tanh(x) = 2 sigmoid(2x) - 1 in a fifth of the time of its tanh
    candidate = candidate.tanh() if plain_torch() else candidate.mul_(2).sigmoid_().mul_(2).sub_(1)
    return torch.lerp(deter, candidate, (update - 1).sigmoid())


class BlockLinear(nn.Module):
    """A linear layer whose weight is block-diagonal.

    Args:
        input_dim, output_dim: widths, multiples of `blocks`.
        blocks: how many.
    """

    def __init__(self, input_dim: int, output_dim: int, blocks: int) -> None:
        super().__init__()
        bound = (input_dim // blocks) ** -0.5
        self.weight = nn.Parameter(
            torch.empty(blocks, input_dim // blocks, output_dim // blocks).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(torch.zeros(output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, output_dim]` of `[B, input_dim]`."""
        blocks = x.unflatten(1, (len(self.weight), -1)).transpose(0, 1)  # [blocks, B, input_dim / blocks]
        return torch.bmm(blocks, self.weight).transpose(0, 1).flatten(1) + self.bias
