"""What a scripted driver is; each real environment has its own, listed in its `DRIVERS` and mixed by its `MIXTURE`."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np


class Driver(Protocol):
    """Chooses actions for recording; may read the hidden state of the env that it drives.

    It must not act on what the observation cannot show: a driver that brakes for a curve beyond the picture teaches a
    world model that speed straightens the road.
    """

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Begin an episode; called after `env.reset`. Every random choice of the episode comes from `rng`."""

    def act(self, obs: np.ndarray) -> Any:
        """Return the next action, in the units of `env.action_space`."""
