"""From observations to one code and back: convolutions for pictures, perceptrons for vectors, both for a Dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dreamgym.core.codec import action_dim
from dreamgym.core.model import Obs
from dreamgym.core.perceptron import ACTIVATIONS, NORMS
from dreamgym.core.spaces import is_image
from dreamgym.core.two_hot import symexp, symlog
from dreamgym.errors import UnsupportedSpace
from dreamgym.models.layers import make_mlp
from dreamgym.models.packed import PackedLinear
from dreamgym.models.sub_pixel import DoublingConv

ALONE = ""
"""The name of an observation that is no Dict."""


def parts(space: Space[Any]) -> dict[str, Space[Any]]:
    """Return the named parts of a Dict space, or the space itself by the name `ALONE`.

    Raises:
        UnsupportedSpace: if a part is no Box, no Discrete, or a picture whose sides are no multiples of 16.
    """
    found = dict(space.items()) if isinstance(space, spaces.Dict) else {ALONE: space}
    for part in found.values():
        if not isinstance(part, spaces.Box | spaces.Discrete):
            raise UnsupportedSpace(f"observation space {part} is not supported by rssm; expected a Box or a Discrete.")
        height, width = part.shape[:2] if is_image(part) else (0, 0)  # type: ignore[index]
        if height % 16 or width % 16:
            raise UnsupportedSpace(
                f"pictures of {height}x{width} are not supported by rssm; expected sides that are "
                "multiples of 16, for example 64x64. Resize the pictures first."
            )
    return found


def named(obs: Obs) -> Mapping[str, Tensor]:
    """Return the parts of an observation by the names of `parts`."""
    return obs if isinstance(obs, dict) else {ALONE: obs}


class Encoder(nn.Module):
    """Sees: all parts of an observation as one code `[B, code_dim]`.

    Args:
        space: of the observations.
        channels: of the four convolutions, each of stride 2.
        conv_norm, conv_activation: between them, the former over the channels.
        hidden_dim, layers, norm, activation: of the perceptron that reads the vectors.
        log: vectors are read as their symmetric logarithms.
    """

    def __init__(
        self,
        space: Space[Any],
        *,
        channels: Sequence[int],
        conv_norm: str,
        conv_activation: str,
        hidden_dim: int,
        layers: int,
        norm: str,
        activation: str,
        log: bool,
    ) -> None:
        super().__init__()
        found = parts(space)
        self.pictures = {name: part for name, part in found.items() if is_image(part)}
        self.vectors = [name for name in found if name not in self.pictures]
        self.log = log
        shapes = [cast(tuple[int, int, int], part.shape) for part in self.pictures.values()]
        self.convs = nn.ModuleList(_Down(colours, channels, conv_norm, conv_activation) for _, _, colours in shapes)
        self.code_dim = sum(channels[-1] * height * width // 256 for height, width, _ in shapes)
        if self.vectors:
            width = sum(action_dim(found[name]) for name in self.vectors)
            self.mlp = make_mlp(
                width, hidden_dim, hidden_dim=hidden_dim, layers=layers - 1, norm=norm, activation=activation
            )
            self.mlp.extend([NORMS[norm](hidden_dim), ACTIVATIONS[activation]()])
            self.code_dim += hidden_dim

    def forward(self, obs: Obs) -> Tensor:
        """Return `[B, code_dim]` of observations in model units."""
        given = named(obs)
        codes = [conv(given[name]) for conv, name in zip(self.convs, self.pictures, strict=True)]
        if self.vectors:
            vector = torch.cat([given[name] for name in self.vectors], 1)
            with torch.autocast(vector.device.type, enabled=False):  # bf16 is for pictures
                codes.append(self.mlp(symlog(vector) if self.log else vector))
        return codes[0] if len(codes) == 1 else torch.cat(codes, 1)


class Decoder(nn.Module):
    """Draws: what an `Encoder` with the same arguments saw, from features `[B, F]`.

    Args:
        bright_weight: the weight of a pixel's error is 1 plus this times the brightest of its colours, in [0, 1],
        odd_weight: plus this times how far its brightness, the mean of its colours, is from its mean over the batch.
    """

    def __init__(
        self,
        feature_dim: int,
        space: Space[Any],
        *,
        channels: Sequence[int],
        conv_norm: str,
        conv_activation: str,
        hidden_dim: int,
        layers: int,
        norm: str,
        activation: str,
        log: bool,
        bright_weight: float = 0.0,
        odd_weight: float = 0.0,
    ) -> None:
        super().__init__()
        found = parts(space)
        self.bright_weight, self.odd_weight = bright_weight, odd_weight
        self.pictures = {name: part for name, part in found.items() if is_image(part)}
        self.vectors = {name: action_dim(part) for name, part in found.items() if name not in self.pictures}
        self.log, self.alone = log, not isinstance(space, spaces.Dict)
        self.convs = nn.ModuleList(
            _Up(feature_dim, part.shape, channels, conv_norm, conv_activation)  # type: ignore[arg-type]
            for part in self.pictures.values()
        )
        if self.vectors:
            width = sum(self.vectors.values())
            self.mlp = make_mlp(
                feature_dim, width, hidden_dim=hidden_dim, layers=layers, norm=norm, activation=activation
            )

    def forward(self, features: Tensor) -> Obs:
        """Return observations in model units."""
        drawn = self._draw(features)
        if self.log:
            drawn.update({name: symexp(drawn[name]) for name in self.vectors})
        return drawn[ALONE] if self.alone else drawn

    def error(self, features: Tensor, obs: Obs) -> Tensor:
        """Return `[B]` squared errors, summed over weighted pixels and numbers, these as logarithms if read so."""
        drawn, given = self._draw(features), named(obs)
        total: Any = 0
        for name, x in drawn.items():
            target = symlog(given[name]) if self.log and name in self.vectors else given[name]
            # one operator, and no axis moved: pictures lie channels last, and each pass over them counts
            errors = nn.functional.mse_loss(x.float(), target, reduction="none")
            if name in self.pictures and (self.bright_weight or self.odd_weight):
                errors = errors * self._weights(target)
            total = total + errors.sum(tuple(range(1, x.ndim)))
        return total

    def _weights(self, pictures: Tensor) -> Tensor:
        """Return `[B, 1, h, w]`, how much each pixel's error counts."""
        weights: Any = 1
        if self.bright_weight:
            weights = weights + self.bright_weight * pictures.amax(1, keepdim=True)
        if self.odd_weight:
            grey = pictures.mean(1, keepdim=True)
            weights = weights + self.odd_weight * (grey - grey.mean(0)).abs()
        return weights

    def _draw(self, features: Tensor) -> dict[str, Tensor]:
        drawn = {name: conv(features) for conv, name in zip(self.convs, self.pictures, strict=True)}
        if self.vectors:
            with torch.autocast(features.device.type, enabled=False):  # bf16 is for pictures
                numbers = self.mlp(features.float()).split(list(self.vectors.values()), 1)
            drawn.update(zip(self.vectors, numbers, strict=True))
        return drawn


class _Down(nn.Module):
    def __init__(self, colours: int, channels: Sequence[int], norm: str, activation: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(i, o, 4, 2, 1) for i, o in zip((colours, *channels[:-1]), channels, strict=True)
        )
        self.norms = nn.ModuleList(NORMS[norm](o) for o in channels)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last) - 0.5
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(_over_channels(norm, conv(x)))  # [B, c, h / 2, w / 2]
        return x.flatten(1)


class _Up(nn.Module):
    def __init__(
        self, feature_dim: int, shape: tuple[int, int, int], channels: Sequence[int], norm: str, activation: str
    ) -> None:
        super().__init__()
        height, width, colours = shape
        self.shape = (height // 16, width // 16, channels[-1])
        self.grow = PackedLinear(feature_dim, height * width * channels[-1] // 256)
        widths = [*reversed(channels), colours]
        self.norms = nn.ModuleList(NORMS[norm](c) for c in widths[:-1])
        self.convs = nn.ModuleList(DoublingConv(i, o) for i, o in pairwise(widths))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: Tensor) -> Tensor:
        x = self.grow(features).unflatten(1, self.shape).permute(0, 3, 1, 2)  # [B, c, h / 16, w / 16], channels last
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = conv(self.activation(_over_channels(norm, x)))
        return x.float().sigmoid()


def _over_channels(norm: nn.Module, x: Tensor) -> Tensor:
    return x if isinstance(norm, nn.Identity) else norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
