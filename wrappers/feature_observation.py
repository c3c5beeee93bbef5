"""A real env seen as its dream sees it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces

from dreamgym.core.codec import encode_action, encode_obs
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
        self.model = model
        self._both = observation == "both"
        features = spaces.Box(-np.inf, np.inf, (model.feature_dim,), np.float32)
        self.observation_space = (
            spaces.Dict({"pixels": env.observation_space, "features": features}) if self._both else features
        )
        self.state: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the env and begin with an empty memory."""
        obs, info = self.env.reset(seed=seed, options=options)
        self.state = self.model.initial(1)
        return self._observe(obs, None), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the env and filter what it shows."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return self._observe(obs, action), reward, terminated, truncated, info

    @torch.no_grad()
    def _observe(self, obs: Any, action: Any) -> Any:
        model = self.model
        device = next(iter(vars(self.state).values())).device
        given = np.zeros_like(self.action_space.sample()) if action is None else action
        batch = {k: np.asarray(v)[None] for k, v in obs.items()} if isinstance(obs, dict) else np.asarray(obs)[None]
        self.state = model.observe(
            self.state,
            encode_action(model.action_space, np.asarray(given)[None]).to(device),
            encode_obs(model.observation_space, batch, device),
            torch.tensor([action is None], device=device),
            torch.zeros(1, model.noise_dim, device=device),
        )
        features = model.features(self.state)[0].cpu().numpy()
        return {"pixels": obs, "features": features} if self._both else features
