"""A policy as a driver that records: what makes the next round of data, and the mistakes that it should learn from."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from dreamgym.core.filter import Filter
from dreamgym.errors import InvalidArgument
from dreamgym.evaluation.policies import make_policy
from dreamgym.hub import load

CORRELATION = 0.8  # of one decision's noise with the next one's: white noise averages out before it moves a car
LONGEST_HOLD = 16  # decisions


class PolicyDriver:
    """Acts in a real env by what a dream's model makes of its observations, with exploration.

    Args:
        dream: a registered dream's id, or a folder that `dreamgym train` wrote.
        policy: see `make_policy`.
        variant: which of a registered dream's variants.
        noise: each episode draws one of these. For a Box action it is the standard deviation of correlated Gaussian
            noise, in half ranges of the action; for a Discrete one the share of random decisions.
        random_share: share of decisions, in [0, 1), that random actions take over, each held for 1 to 16 decisions.

    Raises:
        InvalidArgument: if the noise is negative or the share no share.
        PolicyMismatch: if the policy was made for another dream.
    """

    def __init__(
        self,
        dream: str,
        policy: str = "shipped",
        variant: str | None = None,
        noise: tuple[float, ...] = (0.0, 0.1, 0.3),
        random_share: float = 0.05,
    ) -> None:
        if not noise or min(noise) < 0:
            raise InvalidArgument(f"noise is {noise}; expected one or more numbers that are not negative.")
        if not 0 <= random_share < 1:
            raise InvalidArgument(f"random_share is {random_share}; expected a number in [0, 1).")
        self._recipe = (dream, policy, variant, tuple(noise), random_share)
        opened = load(dream, variant)
        self._space = opened.model.action_space
        self._filter = Filter(opened.model)
        self._actor = make_policy(policy, opened)
        self._action: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._recipe  # another process loads its own

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """Begin an episode and draw how noisy it is."""
        *_, noise, random_share = self._recipe
        self._rng = rng
        self._level = float(rng.choice(noise))
        self._offset = np.zeros(self._space.shape or ())
        self._left, self._action = 0, None
        discrete = isinstance(self._space, spaces.Discrete)
        self._random_share = min(0.95, random_share + self._level) if discrete else random_share
        self._space.seed(int(rng.integers(2**31)))
        self._actor.reset([int(rng.integers(2**31))])

    def act(self, obs: Any) -> Any:
        """Return the policy's action with noise, or a random one that is being held."""
        features = self._filter.observe(obs, self._action)
        if self._left == 0 and self._rng.random() < _burst_rate(self._random_share):
            self._left = int(self._rng.integers(1, LONGEST_HOLD + 1))
            self._held = self._space.sample()
        if self._left > 0:
            self._left -= 1
            self._action = self._held
        else:
            self._action = self._with_noise(self._actor.act(torch.from_numpy(features)[None])[0])
        return self._action

    def _with_noise(self, action: Any) -> Any:
        space = self._space
        if not isinstance(space, spaces.Box):
            return action
        fresh = self._rng.standard_normal(space.shape)
        self._offset = CORRELATION * self._offset + np.sqrt(1 - CORRELATION**2) * self._level * fresh
        half_range = np.where(space.bounded_below & space.bounded_above, (space.high - space.low) / 2, 1.0)
        return np.clip(action + half_range * self._offset, space.low, space.high).astype(space.dtype)


def _burst_rate(share: float) -> float:
    """Return the probability that a free decision begins a burst, so that bursts take up `share` of all decisions."""
    mean_hold = (1 + LONGEST_HOLD) / 2
    return share / (share + mean_hold * (1 - share))
