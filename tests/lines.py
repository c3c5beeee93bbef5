"""A ship on a line, and models of it that are exact, or wrong in a way that a report must find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core.model import Obs, Transition, WorldModel
from dreamgym.core.starts import StartBank
from dreamgym.errors import NotDecodable
from dreamgym.hub import LoadedDream

STEP, EDGE, LIMIT = 0.25, 2.0, 24
OBSERVATION_SPACE = spaces.Box(-10, 10, (2,), np.float32)
ACTION_SPACE = spaces.Discrete(3)


class LineEnv(gym.Env[np.ndarray, np.int64]):
    """The ship goes left, nowhere or right; it earns more the nearer it is to 0, and the edge ends the episode."""

    observation_space = OBSERVATION_SPACE
    action_space = ACTION_SPACE

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.obs = np.array([self.np_random.uniform(-1, 1), 0], np.float32)
        return self.obs, {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        push = np.float32((int(action) - 1) * STEP)
        self.obs = np.array([self.obs[0] + push, push], np.float32)
        x = float(self.obs[0])
        return self.obs, 1 - abs(x), abs(x) > EDGE, False, {}


MIXTURE = {"random_holds": 1.0}  # it gets about, so that many episodes end at the edge
gym.register("Line-v0", "lines:LineEnv", max_episode_steps=LIMIT)


@dataclass(frozen=True)
class LineState:
    obs: Tensor  # [B, 2]


class LineWorld(WorldModel[LineState]):
    """Knows the line, but for what it is told to get wrong."""

    observation_space = OBSERVATION_SPACE
    action_space = ACTION_SPACE
    noise_dim = 1
    feature_dim = 2

    def __init__(self, drift: float = 0.0, bonus: float = 0.0, ends: bool = True, decodes: bool = True) -> None:
        self.drift, self.bonus, self.ends, self.decodes = drift, bonus, ends, decodes

    def initial(self, batch_size: int) -> LineState:
        return LineState(torch.zeros(batch_size, 2))

    def observe(
        self, state: LineState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> LineState:
        assert isinstance(obs, Tensor)
        return LineState(obs)

    def step(
        self, state: LineState, action: Tensor, noise: Tensor | None = None, temperature: Any = 1.0
    ) -> Transition[LineState]:
        push = (action @ torch.arange(3.0) - 1) * STEP
        x = state.obs[:, 0] + push + self.drift
        over = (x.abs() > EDGE).float() * self.ends
        return Transition(LineState(torch.stack([x, push], 1)), 1 - x.abs() + self.bonus, over)

    def features(self, state: LineState) -> Tensor:
        return state.obs

    def decode(self, state: LineState) -> Tensor:
        if not self.decodes:
            raise NotDecodable("no pictures of lines")
        return state.obs


def line_dream(real: str = "Line-v0", **wrong: Any) -> LoadedDream:
    """Return a dream of the line that begins anywhere on it."""
    states = LineState(torch.stack([torch.linspace(-1, 1, 16), torch.zeros(16)], 1))
    starts = StartBank(states, torch.ones(16, dtype=torch.bool))
    return LoadedDream(LineWorld(**wrong), starts, {"id": "DreamLine", "real": real, "max_episode_steps": LIMIT})
