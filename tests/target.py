"""An exact toy world for whatever learns: what it pays is known for every action, and so is the best policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core.model import Obs, Transition, WorldModel
from dreamgym.core.starts import StartBank
from dreamgym.hub import LoadedDream

GAIN, SHIFT = 1.5, -0.5


@dataclass(frozen=True)
class TargetState:
    x: Tensor  # [B, 1]


class TargetWorld(WorldModel[TargetState]):
    """Shows a number x, pays 1 - (a - tanh(GAIN x + SHIFT))^2 and goes on to a fresh x.

    Args:
        termination: the probability that a step ends the episode.
        edge: an action above it makes the world diverge.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    noise_dim = feature_dim = 1

    def __init__(self, termination: float = 0.0, edge: float = np.inf, num_actions: int = 0) -> None:
        self.termination, self.edge = termination, edge
        self.action_space = spaces.Discrete(num_actions) if num_actions else spaces.Box(-1, 1, (1,), np.float32)

    def initial(self, batch_size: int) -> TargetState:
        return TargetState(torch.zeros(batch_size, 1))

    def observe(
        self, state: TargetState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> TargetState:
        assert isinstance(obs, Tensor)
        return TargetState(obs)

    def step(
        self, state: TargetState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[TargetState]:
        if isinstance(self.action_space, spaces.Discrete):  # the actions cover [-1, 1] evenly
            action = action @ torch.linspace(-1, 1, int(self.action_space.n))[:, None]
        reward = 1 - (action - torch.tanh(GAIN * state.x + SHIFT))[:, 0].square()
        reward = torch.where(action[:, 0] > self.edge, torch.nan, reward)
        x = torch.randn_like(state.x) if noise is None else noise
        return Transition(TargetState(x), reward, torch.full_like(reward, self.termination))

    def features(self, state: TargetState) -> Tensor:
        return state.x.clone()

    def decode(self, state: TargetState) -> Obs:
        return state.x.clone()


@dataclass(frozen=True)
class ToyDream:
    """What `evolve` needs of a dream."""

    model: WorldModel[TargetState] = field(default_factory=TargetWorld)
    starts: StartBank[TargetState] = field(
        default_factory=lambda: StartBank(TargetState(torch.linspace(-2, 2, 41)[:, None]), torch.ones(41).bool())
    )
    name: str = "Target-v0"
    model_sha256: str = "5ha"


def target(**kwargs: Any) -> LoadedDream:
    """Return a `TargetWorld` with these arguments as a dream for the env shells."""
    toy = ToyDream(TargetWorld(**kwargs))
    return LoadedDream(toy.model, toy.starts, {"id": toy.name, "files": {"weights.safetensors": toy.model_sha256}})
