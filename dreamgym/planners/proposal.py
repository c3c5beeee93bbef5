"""Where candidates come from: a distribution over sequences of actions that is fitted to the better ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from gymnasium import Space, spaces
from torch import Tensor
from torch.nn.functional import pad

from dreamgym.core.codec import action_dim
from dreamgym.core.sampling import most_likely
from dreamgym.planners.planner import bounds, half_range, idle_actions


@dataclass(frozen=True)
class Gaussian:
    """Independent normals, clipped to the bounds of a Box."""

    mean: Tensor
    """`[B, H, A]` model units."""
    std: Tensor
    """`[B, H, A]` model units."""
    low: Tensor
    """`[A]` the least action."""
    high: Tensor
    """`[A]` the largest action."""

    @property
    def mode(self) -> Tensor:
        """`[B, H, A]` the likeliest sequence."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Return sequences `[B, N, H, A]` that noise of this shape draws."""
        return torch.clamp(self.mean[:, None] + self.std[:, None] * noise, self.low, self.high)

    def refit(self, actions: Tensor, weight: Tensor) -> Gaussian:
        """Return the normals of weighted sequences `[B, N, H, A]`; lanes whose weights `[B, N]` are all 0 stay."""
        share, known = _shares(weight)
        mean = (share * actions).sum(1)  # [B, H, A]
        std = (share * (actions - mean[:, None]).square()).sum(1).sqrt()
        return replace(self, mean=torch.where(known, mean, self.mean), std=torch.where(known, std, self.std))


@dataclass(frozen=True)
class Categorical:
    """Independent choices among the actions of a Discrete space."""

    probs: Tensor
    """`[B, H, A]`, sums to 1 over the last axis."""
    smoothing: float
    """Share of the probability that a fit spreads evenly, so that no action dies out by chance."""

    @property
    def mode(self) -> Tensor:
        """`[B, H, A]` one-hots of the likeliest action of each step."""
        return most_likely(self.probs)

    def sample(self, noise: Tensor) -> Tensor:
        """Return sequences of one-hots `[B, N, H, A]` that noise `[B, N, H, 1]` draws, as `sample_categorical` does."""
        beyond = (torch.special.ndtr(noise) > self.probs.cumsum(2)[:, None, :, :-1]).float()  # [B, N, H, A - 1]
        return pad(beyond, (1, 0), value=1.0) - pad(beyond, (0, 1))

    def refit(self, actions: Tensor, weight: Tensor) -> Categorical:
        """Return the frequencies in weighted sequences `[B, N, H, A]`; lanes whose weights `[B, N]` are all 0 stay."""
        share, known = _shares(weight)
        probs = (1 - self.smoothing) * (share * actions).sum(1) + self.smoothing / actions.shape[3]
        return replace(self, probs=torch.where(known, probs, self.probs))


Proposal = Gaussian | Categorical


def numbers_each(space: Space[Any]) -> int:
    """Return how many standard normals it takes to draw one action."""
    return 1 if isinstance(space, spaces.Discrete) else action_dim(space)


def first_proposal(
    space: Space[Any], seed: Tensor, horizon: int, before: Tensor | None, std: float, trust: float, smoothing: float
) -> Proposal:
    """Return where the first candidates come from.

    Args:
        space: of the actions.
        seed: `[B]`, for the number of lanes and their device.
        horizon: H.
        before: `[B, H, A]` what the last plan would do, or None.
        std: of a Box action, in half ranges.
        trust: how likely a Discrete action of the last plan is taken as it is, in [0, 1].
        smoothing: of a `Categorical`.

    Raises:
        UnsupportedSpace: if the space is neither a Box nor a Discrete.
    """
    idle = idle_actions(space, len(seed), horizon, seed.device)
    if isinstance(space, spaces.Discrete):
        return Categorical(idle if before is None else torch.lerp(idle, before, trust), smoothing)
    scale = std * half_range(space, seed.device)
    return Gaussian(idle if before is None else before, scale.expand_as(idle).clone(), *bounds(space, seed.device))


def uniform_actions(space: Space[Any], noise: Tensor) -> Tensor:
    """Return sequences `[..., A]` that standard normals `[..., A]`, or `[..., 1]` for a Discrete space, draw.

    All of a range, or all actions, are equally likely; numbers without bounds are normals.
    """
    if isinstance(space, spaces.Discrete):
        choice = (torch.special.ndtr(noise.squeeze(-1)) * int(space.n)).long().clamp(max=int(space.n) - 1)
        return torch.nn.functional.one_hot(choice, int(space.n)).float()
    low, high = bounds(space, noise.device)
    bounded = low.isfinite() & high.isfinite()
    return torch.where(bounded, low + (high - low) * torch.special.ndtr(noise), noise.clamp(low, high))


def definite(space: Space[Any], actions: Tensor) -> Tensor:
    """Return actions `[..., A]` with the likeliest one chosen where a Discrete space has shares of several."""
    if isinstance(space, spaces.Discrete):
        return most_likely(actions)
    return actions


def _shares(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights `[B, N]` as shares `[B, N, 1, 1]` of their sum, and the lanes `[B, 1, 1]` where there is one."""
    total = weight.sum(1, keepdim=True)
    share = weight / torch.where(total > 0, total, 1)
    return share[:, :, None, None], (total > 0)[:, :, None]
