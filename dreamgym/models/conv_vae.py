"""The convolutional variational autoencoder of the 2018 world model: 64x64 pictures to a short code and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

KERNELS = (5, 5, 6, 6)
"""Of the decoder's convolutions, which double 1 to 5, 13, 30 and 64 pixels."""


class ConvVae(nn.Module):
    """V of the paper: four convolutions down, a Gaussian code, four transposed convolutions up.

    Args:
        latent_dim: Z, width of the code.
        channels: of the four convolutions; the decoder mirrors them.

    Source: Ha & Schmidhuber 2018, appendix A.1.
    """

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

    def encode(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[B, Z]` of the codes of pictures `[B, 3, 64, 64]` in [0, 1]."""
        x = obs.contiguous(memory_format=torch.channels_last)
        for conv in self.down:
            x = conv(x).relu()  # [B, c, 31, 31], 14, 6, 2
        mean, log_variance = self.code(x.flatten(1)).float().chunk(2, 1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Return pictures `[B, 3, 64, 64]` in [0, 1] of codes `[B, Z]`."""
        first = self.up[0]
        x = self.grow(z)  # [B, 4 * c4]
        # on a 1x1 map a transposed convolution is a matrix product, for which there are faster routines
        x = x @ first.weight.permute(0, 2, 3, 1).flatten(1)  # [B, 5 * 5 * c3], channels last
        x = x.unflatten(1, (KERNELS[0], KERNELS[0], -1)).permute(0, 3, 1, 2) + first.bias[:, None, None]
        for conv in self.up[1:]:
            x = conv(x.relu())  # [B, c, 13, 13], 30, 64
        return x.float().sigmoid()
