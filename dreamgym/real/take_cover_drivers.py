"""Scripted drivers for TakeCover. All are blind: what they do says nothing about what comes."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from dreamgym.real.drivers import Driver

STAY, RIGHT, LEFT = 0, 1, 2


class RandomHolds:
    """Draws an action and holds it for 1 to `longest` decisions, drawn once an episode from `longest`.

    Args:
        longest: the longest holds that an episode may have, decisions.
    """

    def __init__(self, longest: tuple[int, ...] = (1, 2, 4, 8)) -> None:
        self._choices = longest

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng
        self._longest = int(rng.choice(self._choices))
        self._left = 0

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        if self._left == 0:
            self._action = int(self._rng.integers(3))
            self._left = int(self._rng.integers(1, self._longest + 1))
        self._left -= 1
        return self._action


class Sweep:
    """Walks from side to side, turning after 8 to 32 decisions, with whims: random actions held for 1 to 4 decisions.

    It never looks, and yet lives three times as long as chance does: fireballs are aimed at where the player is.

    Args:
        noise: shares of decisions that whims take over, one of which an episode draws.
    """

    def __init__(self, noise: tuple[float, ...] = (0.0, 0.05, 0.15, 0.3)) -> None:
        self._choices = noise

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw period, first direction and noise."""
        self._rng = rng
        self._period = int(rng.integers(8, 33))
        self._time = int(rng.integers(2 * self._period))
        self._begun = float(rng.choice(self._choices)) / 2.5  # a decision: a whim lasts 2.5
        self._whim = self._left = 0

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        self._time += 1
        if self._left == 0 and self._rng.random() < self._begun:
            self._whim, self._left = int(self._rng.integers(3)), int(self._rng.integers(1, 5))
        if self._left:
            self._left -= 1
            return self._whim
        return RIGHT if self._time % (2 * self._period) < self._period else LEFT


class Idle:
    """Goes somewhere for up to 30 decisions and stands there."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw where to."""
        self._action, self._left = int(rng.choice([RIGHT, LEFT])), int(rng.integers(31))

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        self._left -= 1
        return self._action if self._left >= 0 else STAY


def segments() -> RandomHolds:
    """Return a driver that holds its actions for long, up to 24 decisions."""
    return RandomHolds((12, 24))


DRIVERS: dict[str, Callable[[], Driver]] = {
    "random": RandomHolds,
    "sweep": Sweep,
    "segments": segments,
    "idle": Idle,
}
MIXTURE: dict[str, float] = {"random": 0.25, "sweep": 0.55, "segments": 0.15, "idle": 0.05}
