"""Following what really happens with a world model: the features that a policy needs in the real environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dreamgym.core.codec import action_dim, encode_action, encode_obs
from dreamgym.core.model import SequenceBatch, WorldModel
from dreamgym.core.tree import concatenate, named_leaves, tree_map

S = TypeVar("S")


@torch.no_grad()
def observe_batch(model: WorldModel[S], batch: SequenceBatch) -> tuple[S, Tensor]:
    """Return the posterior states of all observations of a batch, and where imagination can begin.

    The memory begins afresh with each window, wherever in its episode that lies. Draws come from torch's default
    generator.

    Args:
        model: the world model.
        batch: windows of T actions whose `obs` are observations.

    Returns:
        A state of `(T + 1) * B` lanes, time first, and `[(T + 1) * B]` bool: the lane stands for an observation that
        was recorded, and from which the episode went on.
    """
    num_windows = len(batch.action)
    device = batch.action.device
    before = torch.cat([torch.zeros_like(batch.action[:, :1]), batch.action], 1)  # [B, T + 1, A]
    state = model.initial(num_windows)
    states = []
    for t in range(before.shape[1]):
        obs = tree_map(lambda x, t=t: x[:, t], batch.obs)
        state = model.observe(state, before[:, t], obs, torch.full((num_windows,), t == 0, device=device))
        states.append(state)
    going_on = batch.mask * (1 - batch.terminated)  # [B, T]
    valid = torch.cat([torch.ones_like(batch.mask[:, :1]), going_on], 1).bool()  # [B, T + 1]
    return concatenate(states), valid.t().flatten()


@torch.no_grad()
def observe_real(
    model: WorldModel[S],
    state: S | None,
    obs: Sequence[Any],
    action: Any = None,
    noise: Tensor | None = None,
) -> S:
    """Return the posterior of `B` real episodes, its mean unless noise is given; it draws no random numbers.

    Args:
        model: the world model.
        state: the posterior before; None begins with an empty memory.
        obs: what each of the `B` envs shows, in env units.
        action: `B` actions in env units that led there; None opens the episodes.
        noise: `[B, noise_dim]` standard normal; zeros, the posterior's mean, if None.
    """
    lanes = len(obs)
    if state is None:
        state = model.initial(lanes)
    device = next(iter(named_leaves(state).values())).device
    batch: Any = {k: np.stack([o[k] for o in obs]) for k in obs[0]} if isinstance(obs[0], dict) else np.stack(obs)
    encoded = (
        torch.zeros(lanes, action_dim(model.action_space))
        if action is None
        else encode_action(model.action_space, np.asarray(action))
    )
    return model.observe(
        state,
        encoded.to(device),
        encode_obs(model.observation_space, batch, device),
        torch.full((lanes,), action is None, device=device),
        torch.zeros(lanes, model.noise_dim, device=device) if noise is None else noise.to(device),
    )


class Filter:
    """Keeps the posterior of one real episode, its mean unless noise is given; it draws no random numbers.

    Args:
        model: the world model.
    """

    def __init__(self, model: WorldModel[Any]) -> None:
        self.model = model
        self.state: Any = None

    @torch.no_grad()
    def observe(self, obs: Any, action: Any = None, noise: Tensor | None = None) -> np.ndarray:
        """Return the features `[F]` after an observation in env units.

        Args:
            obs: what the env shows.
            action: the action in env units that led there; None begins an episode.
            noise: `[noise_dim]` standard normal; zeros, the posterior's mean, if None.
        """
        begun = None if action is None else self.state
        self.state = observe_real(
            self.model, begun, [obs], None if action is None else [action], None if noise is None else noise[None]
        )
        return self.model.features(self.state)[0].cpu().numpy()
