"""A counting env and episodes whose every value names its step, for the traps of being off by one."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamgym.data import Dataset, DatasetWriter, Episode

OBS = spaces.Box(-np.inf, np.inf, (2,), np.float32)
ACTION = spaces.Discrete(3)


class CountingEnv(gym.Env[np.ndarray, int]):
    """Shows (seed, t); step t + 1 pays t + 1 plus a tenth of its action; ends after 2 + seed % 5 steps.

    It reuses one array for all observations, as real envs do.
    """

    observation_space = OBS
    action_space = ACTION

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.obs = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        assert seed is not None
        self.obs[:] = seed, 0
        return self.obs, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        time.sleep(self.pause)
        self.obs[1] += 1
        terminated = bool(self.obs[1] == 2 + self.obs[0] % 5)
        return self.obs, float(self.obs[1]) + float(action) / 10, terminated, False, {}


class Cycle:
    """A driver that acts 0, 1, 2, 0, 1, ..."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.t = -1

    def act(self, obs: np.ndarray) -> int:
        assert obs[1] == self.t + 1
        self.t += 1
        return self.t % 3


class Noise:
    """A driver whose actions come from the generator that it is handed."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        self.rng = rng

    def act(self, obs: np.ndarray) -> int:
        return int(self.rng.integers(3))


DRIVERS = {"cycle": Cycle, "noise": Noise}
MIXTURE = {"cycle": 0.5, "noise": 0.5}


def make() -> CountingEnv:
    return CountingEnv()


def make_slow() -> CountingEnv:
    return CountingEnv(pause=0.03)


def make_episode(length: int, first: int = 0, terminated: bool = True) -> Episode:
    """Return an episode whose every value names its step."""
    steps = np.arange(first, first + length + 1)
    return Episode(
        obs=np.stack([steps, -steps], 1).astype(np.float32),
        action=steps[:-1] % 3,
        reward=steps[1:].astype(np.float32),
        terminated=terminated,
        truncated=not terminated,
        meta={"seed": first},
    )


def write(folder, *lengths: int, terminated: bool = True, **kwargs: Any) -> Dataset:
    """Return a dataset whose episode i counts from 100 i."""
    with DatasetWriter(folder, "Toy-v0", OBS, ACTION, **kwargs) as writer:
        for i, length in enumerate(lengths):
            writer.add(make_episode(length, 100 * i, terminated), key=f"{i:03d}")
    return Dataset(folder)


class Dying(Cycle):
    """A driver that kills its process at its third action."""

    def act(self, obs: np.ndarray) -> int:
        if self.t == 1:
            os._exit(9)
        return super().act(obs)


class Faulty(Cycle):
    """A driver that raises at its second action."""

    def act(self, obs: np.ndarray) -> int:
        if self.t == 0:
            raise ZeroDivisionError("on purpose")
        return super().act(obs)
