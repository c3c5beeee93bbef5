"""Following what really happens with a world model: the features that a policy needs in the real environment."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from dreamgym.core.codec import action_dim, encode_action, encode_obs
from dreamgym.core.model import WorldModel
from dreamgym.core.tree import named_leaves


class Filter:
    """Keeps the posterior's mean of one real episode; it draws no random numbers.

    Args:
        model: the world model.
    """

    def __init__(self, model: WorldModel[Any]) -> None:
        self.model = model
        self.state: Any = None

    @torch.no_grad()
    def observe(self, obs: Any, action: Any = None) -> np.ndarray:
        """Return the features `[F]` after an observation in env units.

        Args:
            obs: what the env shows.
            action: the action in env units that led there; None begins an episode.
        """
        model = self.model
        if action is None or self.state is None:
            self.state = model.initial(1)
        device = next(iter(named_leaves(self.state).values())).device
        batch = {k: np.asarray(v)[None] for k, v in obs.items()} if isinstance(obs, dict) else np.asarray(obs)[None]
        encoded = (
            torch.zeros(1, action_dim(model.action_space))
            if action is None
            else encode_action(model.action_space, np.asarray(action)[None])
        )
        self.state = model.observe(
            self.state,
            encoded.to(device),
            encode_obs(model.observation_space, batch, device),
            torch.tensor([action is None], device=device),
            torch.zeros(1, model.noise_dim, device=device),
        )
        return model.features(self.state)[0].cpu().numpy()
