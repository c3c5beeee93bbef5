"""Exact worlds to plan in: their best plans can be said by hand, or solved for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core.model import Obs, Transition, WorldModel


@dataclass(frozen=True)
class PlaceState:
    x: Tensor  # [B]


class _PlaceWorld(WorldModel[PlaceState]):
    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    noise_dim = 1

    def initial(self, batch_size: int) -> PlaceState:
        return PlaceState(torch.zeros(batch_size))

    def observe(
        self, state: PlaceState, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None
    ) -> PlaceState:
        assert isinstance(obs, Tensor)
        return PlaceState(obs[:, 0])


class QuadraticWorld(_PlaceWorld):
    """`x' = 0.9 x + 0.5 a`, paid `-(x' - 1)^2 - 0.1 a^2`; with noise, x' moves by `std` times it.

    Actions above `cliff` leave the finite numbers, and the step there would have been paid `bait` more.
    """

    action_space: Any = spaces.Box(-4, 4, (1,), np.float32)
    feature_dim = 1

    def __init__(self, std: float = 0.0, cliff: float = np.inf, bait: float = 0.0) -> None:
        self.std, self.cliff, self.bait = std, cliff, bait

    def step(
        self, state: PlaceState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[PlaceState]:
        a = action[:, 0]
        x = 0.9 * state.x + 0.5 * a
        if self.std:
            assert noise is not None
            x = x + self.std * noise[:, 0]
        reward = -((x - 1) ** 2) - 0.1 * a**2 + self.bait * (a > self.cliff)
        x = torch.where(a > self.cliff, torch.nan, x)
        return Transition(PlaceState(x), reward, torch.zeros_like(x))

    def features(self, state: PlaceState) -> Tensor:
        return state.x[:, None].clone()

    @staticmethod
    def best(x: float, horizon: int) -> tuple[np.ndarray, float]:
        """Return the best actions `[H]` from x and their return, by solving the normal equations (std 0, no cliff)."""
        effect = np.array([[0.5 * 0.9 ** (t - s) if s <= t else 0.0 for s in range(horizon)] for t in range(horizon)])
        drift = x * 0.9 ** np.arange(1, horizon + 1)
        actions = np.linalg.solve(effect.T @ effect + 0.1 * np.eye(horizon), effect.T @ (1 - drift))
        reached = drift + effect @ actions
        return actions, float(-((reached - 1) ** 2).sum() - 0.1 * (actions**2).sum())


class TableWorld(_PlaceWorld):
    """Numbered places: tables `[S, n]` say where an action leads, what it earns and whether it ends the episode.

    A reward differs by `std` times the noise.
    """

    differentiable = False

    def __init__(
        self,
        after: Sequence[Sequence[int]],
        reward: Sequence[Sequence[float]],
        termination: Sequence[Sequence[float]] | None = None,
        std: float = 0.0,
    ) -> None:
        self.after, self.reward = torch.tensor(after), torch.tensor(reward, dtype=torch.float32)
        self.termination = torch.zeros_like(self.reward) if termination is None else torch.tensor(termination)
        self.std = std
        self.action_space = spaces.Discrete(self.after.shape[1])
        self.feature_dim = len(self.after)

    def step(
        self, state: PlaceState, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0
    ) -> Transition[PlaceState]:
        row = state.x.long(), action.argmax(1)
        reward = self.reward[row] + (self.std * noise[:, 0] if self.std and noise is not None else 0.0)
        return Transition(PlaceState(self.after[row].float()), reward, self.termination[row].clone())

    def features(self, state: PlaceState) -> Tensor:
        return torch.nn.functional.one_hot(state.x.long(), self.feature_dim).float()

    def best(self, place: int, horizon: int, discount: float = 1.0) -> float:
        """Return what can be earned from a place, by trying everything."""
        if horizon == 0:
            return 0.0
        return max(
            float(self.reward[place, a])
            + discount
            * float(1 - self.termination[place, a])
            * self.best(int(self.after[place, a]), horizon - 1, discount)
            for a in range(self.after.shape[1])
        )


def place(*x: float) -> PlaceState:
    """Return lanes in these places."""
    return PlaceState(torch.tensor(x, dtype=torch.float32))


def greedy_trap() -> TableWorld:
    """Return a world where action 0 earns 1 at once and then nothing; three times action 1 earns 5 with the last."""
    return TableWorld(after=[[4, 1], [4, 2], [4, 3], [4, 4], [4, 4]], reward=[[1, 0], [1, 0], [1, 5], [0, 0], [0, 0]])


def cliff(reward: float = 3.0) -> TableWorld:
    """Return a world where action 1 earns more but ends the episode; action 0 earns 1 for ever."""
    return TableWorld(after=[[0, 0]], reward=[[1, reward]], termination=[[0.0, 1.0]])
