"""The convolutional variational autoencoder of the 2018 world model: 64x64 pictures to a short code and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dreamgym.models.packed import PRECISIONS, Derived, plain_torch

KERNELS = (5, 5, 6, 6)
"""Of the decoder's convolutions, which grow 1 pixel to 5, 13, 30 and 64."""


class ConvVae(nn.Module):
    """V of the paper: four convolutions down, a Gaussian code, four transposed convolutions up.

    Args:
        latent_dim: Z, width of the code.
        channels: of the four convolutions; the decoder mirrors them.

    Source: Ha & Schmidhuber 2018, appendix A.1.
    """

    precision = "fp32"
    """Of the decoder while no gradient is wanted."""

    def __init__(self, latent_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        c1, c2, c3, c4 = channels
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, 2) for i, o in ((3, c1), (c1, c2), (c2, c3), (c3, c4)))
        self.code = nn.Linear(4 * c4, 2 * latent_dim)
        self.grow = nn.Linear(latent_dim, 4 * c4)
        widths = (4 * c4, c3, c2, c1, 3)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(i, o, k, 2) for i, o, k in zip(widths[:-1], widths[1:], KERNELS, strict=True)
        )
        self._fast = Derived(_fast_weights)

    def encode(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, Z]` of the codes of pictures `[B, 3, 64, 64]` in [0, 1]."""
        x = obs.contiguous(memory_format=torch.channels_last)
        for conv in self.down:
            x = conv(x).relu()  # [B, c, 31, 31], 14, 6, 2
        mean, log_variance = self.code(x.flatten(1)).float().chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Return pictures `[B, 3, 64, 64]` in [0, 1] of codes `[B, Z]`."""
        if not plain_torch():
            return self._decode_fast(z)
        first = self.up[0]
        assert isinstance(first, nn.ConvTranspose2d)
        assert first.bias is not None
        # on a 1x1 map a transposed convolution is a matrix product
        x = self.grow(z) @ first.weight.permute(0, 2, 3, 1).flatten(1)  # [B, 5 * 5 * c3], channels last
        x = x.unflatten(1, (KERNELS[0], KERNELS[0], -1)).permute(0, 3, 1, 2) + first.bias[:, None, None]
        for conv in self.up[1:]:
            x = conv(x.relu())  # [B, c, 13, 13], 30, 64
        return x.float().sigmoid()

    def _decode_fast(self, z: Tensor) -> Tensor:
        weights = [w for layer in (self.grow, *self.up) for w in (layer.weight, layer.bias)]
        (weight, bias), *convs = self._fast(PRECISIONS[self.precision], *weights)
        x = nn.functional.linear(z, weight, bias).relu_().to(PRECISIONS[self.precision])
        x = x.unflatten(1, (KERNELS[0], KERNELS[0], -1))  # [B, 5, 5, c3]
        for index, (weight, bias) in enumerate(convs):
            x = nn.functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=2)
            x = x.relu_() if index < 2 else x
            x = x.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(2, 3)  # [B, h, 2, w, 2, c]
            x = x.flatten(3, 4).flatten(1, 2)  # [B, 2h, 2w, c]
            x = x[:, :-1, :-1] if KERNELS[index + 1] == 5 else x
        return x.float().sigmoid_().permute(0, 3, 1, 2)


def _fast_weights(dtype: torch.dtype, *weights: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return weight and bias of four layers that decode as the five do whose weights and biases are given.

    The first two, with no activation between them, are one product. A transposed convolution of stride 2 is a
    convolution that computes the four pixels of each 2x2 block as channels, for which there are faster routines.
    """
    grow, grow_bias, first, first_bias, *convs = weights
    product = first.permute(2, 3, 1, 0).flatten(0, 2)  # [5 * 5 * c3, 4 * c4]
    layers = [(product @ grow, product @ grow_bias + first_bias.repeat(first[0, 0].numel()))]
    for weight, bias in zip(convs[::2], convs[1::2], strict=True):
        weight = nn.functional.pad(weight, (0, 6 - weight.shape[3], 0, 6 - weight.shape[2]))  # [I, O, 6, 6]
        blocks = weight.unflatten(3, (3, 2)).unflatten(2, (3, 2)).flip(2, 4)  # [I, O, 3, 2, 3, 2]
        weight = blocks.permute(3, 5, 1, 0, 2, 4).flatten(0, 2)  # [2 * 2 * O, I, 3, 3]
        layers.append((weight.to(dtype, memory_format=torch.channels_last), bias.repeat(4).to(dtype)))
    return layers
