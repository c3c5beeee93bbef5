"""A real env seen as its dream sees it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamgym.core.filter import Filter
from dreamgym.core.model import WorldModel


class FeatureObservation(gym.Wrapper[Any, Any, Any, Any]):
    """Filters real observations through a world model: features instead of, or beside, what the env shows.

    This is the one Gymnasium wrapper among the model wrappers: a policy that was trained on a dream's features needs
    it to act in the real env. It takes the posterior's mean, so it draws no random numbers.

    Args:
        env: a real env with the model's spaces.
        model: the world model.
        observation: "features", or "both" for a Dict of "pixels" and "features".
    """

    def __init__(self, env: gym.Env[Any, Any], model: WorldModel[Any], observation: str = "features") -> None:
        super().__init__(env)
        self._both = observation == "both"
        features = spaces.Box(-np.inf, np.inf, (model.feature_dim,), np.float32)
        self.observation_space = (
            spaces.Dict({"pixels": env.observation_space, "features": features}) if self._both else features
        )
        self._filter = Filter(model)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and begin with an empty memory."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._observe(obs, None), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env and filter what it shows."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(obs, action), reward, terminated, truncated, info

    @property
    def state(self) -> Any:
        """The world model's state of this moment, one lane; None before the first reset."""
        return self._filter.state

    def _observe(self, obs: Any, action: Any) -> Any:
        features = self._filter.observe(obs, action)
        return {"pixels": obs, "features": features} if self._both else features
