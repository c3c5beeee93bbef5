"""What an actor's network says, as a distribution over actions: draws, densities, and the action that each means."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.sampling import log_probs, most_likely, sample_categorical, sample_normal
from dreamgym.errors import InvalidArgument, UnsupportedSpace

DISTRIBUTIONS = ("bounded_normal", "tanh_normal")


class Head(Protocol):
    """A family of distributions over actions; `out` is `[..., num_outputs]`, what a network says."""

    num_outputs: int
    """How many numbers the network says."""
    noise_dim: int
    """How many standard normals a draw consumes."""

    def draw(self, out: Tensor, noise: Tensor) -> Tensor:
        """Return a draw `[B, A]` made of `noise [B, noise_dim]`; gradients reach `out`."""

    def mode(self, out: Tensor) -> Tensor:
        """Return the draw `[B, A]` that stands for the whole distribution."""

    def action(self, draw: Tensor) -> Tensor:
        """Return the action in model units that a draw means."""

    def log_prob(self, out: Tensor, draw: Tensor) -> Tensor:
        """Return `[...]` log-densities of draws `[..., A]`."""

    def entropy(self, out: Tensor) -> Tensor:
        """Return `[...]` in nats."""


class CategoricalHead:
    """Over a Discrete space: one-hot draws, with gradients straight through to the probabilities.

    Args:
        num_actions: A.
        unimix: share of the probability that is spread evenly, so that every action is tried for ever.
    """

    noise_dim = 1

    def __init__(self, num_actions: int, unimix: float) -> None:
        self.num_outputs, self.unimix = num_actions, unimix

    def draw(self, out: Tensor, noise: Tensor) -> Tensor:
        return sample_categorical(out[:, None], noise, unimix=self.unimix)[:, 0]

    def mode(self, out: Tensor) -> Tensor:
        return most_likely(out)

    def action(self, draw: Tensor) -> Tensor:
        return draw

    def log_prob(self, out: Tensor, draw: Tensor) -> Tensor:
        return (self._log_probs(out) * draw).sum(-1)

    def entropy(self, out: Tensor) -> Tensor:
        log_probs = self._log_probs(out)
        return -(log_probs.exp() * log_probs).sum(-1)

    def _log_probs(self, out: Tensor) -> Tensor:
        return log_probs(out, self.unimix)


class NormalHead:
    """Over a bounded Box: Gaussian draws in half ranges, which are squeezed into the bounds.

    A `"bounded_normal"` has its mean within the bounds, and draws beyond them count as the bound (Dreamer V3; V2 cuts
    the tails off instead). A `"tanh_normal"` is squeezed by tanh (V1, which first limits the mean to 5 tanh(mean / 5)).
    Densities are those of the draws: those of the actions differ by what no weight changes.

    Args:
        space: of the actions.
        distribution: one of `DISTRIBUTIONS`.
        min_std, max_std: of the draws; a `"tanh_normal"` has no largest one.
        init_std: what the standard deviation is about before anything is learned.
    """

    def __init__(self, space: spaces.Box, distribution: str, min_std: float, max_std: float, init_std: float) -> None:
        self.noise_dim = int(math.prod(space.shape))
        self.num_outputs = 2 * self.noise_dim
        self._low, self._high = (torch.as_tensor(x).flatten().float() for x in (space.low, space.high))
        self._tanh = distribution == "tanh_normal"
        self._min, self._max = min_std, max_std
        if self._tanh:
            self._offset = math.log(math.expm1(init_std - min_std))
        else:
            share = (init_std - min_std) / (max_std - min_std)
            self._offset = math.log(share / (1 - share))

    def draw(self, out: Tensor, noise: Tensor) -> Tensor:
        return sample_normal(*self._mean_std(out), noise)

    def mode(self, out: Tensor) -> Tensor:
        return self._mean_std(out)[0]

    def action(self, draw: Tensor) -> Tensor:
        # at the bounds of a bounded_normal gradients pass, as if it could go on
        inside = draw.tanh() if self._tanh else draw + (draw.clamp(-1, 1) - draw).detach()
        low, high = self._low.to(draw.device), self._high.to(draw.device)
        return low + (inside + 1) / 2 * (high - low)

    def log_prob(self, out: Tensor, draw: Tensor) -> Tensor:
        mean, std = self._mean_std(out)
        return (-0.5 * ((draw - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self, out: Tensor) -> Tensor:
        return (self._mean_std(out)[1].log() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def _mean_std(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = out.chunk(2, -1)
        if self._tanh:
            return mean, torch.nn.functional.softplus(std + self._offset) + self._min
        return mean.tanh(), self._min + (self._max - self._min) * (std + self._offset).sigmoid()


def make_head(
    space: Space[Any], *, distribution: str, unimix: float, min_std: float, max_std: float, init_std: float
) -> Head:
    """Return the head for an action space; the arguments are those of the two classes.

    Raises:
        UnsupportedSpace: if the space is neither a Discrete nor a bounded Box.
        InvalidArgument: if the distribution is unknown.
    """
    if distribution not in DISTRIBUTIONS:
        options = ", ".join(map(repr, DISTRIBUTIONS))
        raise InvalidArgument(f"distribution is {distribution!r}; expected one of {options}.")
    if isinstance(space, spaces.Discrete):
        return CategoricalHead(int(space.n), unimix)
    if not isinstance(space, spaces.Box):
        raise UnsupportedSpace(f"dreamer cannot act in {space}; expected a Discrete or a bounded Box.")
    if not space.is_bounded():
        raise UnsupportedSpace(
            f"dreamer cannot act in {space}, which has no bounds; wrap the env in gymnasium.wrappers.RescaleAction or "
            "give it bounds."
        )
    return NormalHead(space, distribution, min_std, max_std, init_std)
