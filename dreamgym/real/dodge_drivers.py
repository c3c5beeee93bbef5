"""Scripted drivers for Dodge-v0: one at random, one that looks ahead, one that does nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import gymnasium as gym
import numpy as np

from dreamgym.real.dodge_world import SHIP_MAX_X, SHIP_MIN_X, SHIP_STEP, DodgeWorld, advance, hits
from dreamgym.real.drivers import Driver

HORIZON = 24  # steps, in which all but the slowest things have come down
COLUMNS = np.arange(SHIP_MIN_X, SHIP_MAX_X + 1, SHIP_STEP)  # where the ship can stand
LONGEST_HOLD = 8  # steps


class RandomDriver:
    """Draws an action and holds it for 1 to 8 steps, so that the ship gets about."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng
        self._hold = 0

    @property
    def is_holding(self) -> bool:
        """Whether the present action goes on."""
        return self._hold > 0

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        if self._hold == 0:
            self._action = int(self._rng.integers(3))
            self._hold = int(self._rng.integers(1, LONGEST_HOLD + 1))
        self._hold -= 1
        return self._action


class IdleDriver:
    """Goes to a column and stays there, whatever comes."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Choose a column; half of the time that where the ship is."""
        self._world = cast(DodgeWorld, env.unwrapped.world)  # type: ignore[attr-defined]
        self._column = int(rng.choice(COLUMNS) if rng.random() < 0.5 else self._world.ship[0])

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        return towards(self._column, int(self._world.ship[0]))


class EvasiveDriver:
    """Heads for the column where it would live longest, with whims: an action tells little about what it has seen.

    A driver that stood still only where nothing comes would teach a world model that standing still keeps things away.
    So it wanders while it is safe, and each episode draws the share of steps that random actions take over, each held
    for 1 to 8 steps. It reads the things from the env's state, but no more than the picture shows: a thing that has yet
    to branch is expected on both sides.
    """

    def __init__(self, noise_levels: tuple[float, ...] = (0.05, 0.15, 0.3, 0.5)) -> None:
        self.noise_levels = noise_levels
        self._whim = RandomDriver()

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw how noisy this episode is."""
        self._world = cast(DodgeWorld, env.unwrapped.world)  # type: ignore[attr-defined]
        self._rng = rng
        noise = float(rng.choice(self.noise_levels))
        self._whims = 2 * noise / ((LONGEST_HOLD + 1) * (1 - noise))  # begun a step: a hold lasts half of this
        self._favourite = int(rng.choice(COLUMNS))
        self._whim.reset(env, rng)

    def act(self, obs: np.ndarray) -> int:
        """Return 0, 1 or 2."""
        if self._rng.random() < 0.1:
            self._favourite = int(self._rng.choice(COLUMNS))
        if self._whim.is_holding or self._rng.random() < self._whims:
            return self._whim.act(obs)
        return best_action(self._world, self._favourite)


def best_action(world: DodgeWorld, favourite: int) -> int:
    """Return the action of lane 0 towards the column where the ship would live longest if it went there and stayed.

    Args:
        world: the game.
        favourite: column that it prefers among those that are equally good.
    """
    ship = int(world.ship[0])
    kind, x, y = (np.repeat(state[:1, None], 2, axis=0) for state in (world.kind, world.x, world.y))  # [2, 1, K]
    goes_right = np.array([[[False]], [[True]]])  # one future for each side
    alive = np.ones((2, len(COLUMNS)), dtype=bool)
    survival = np.zeros(len(COLUMNS))
    for step in range(1, HORIZON + 1):
        kind, x, y = advance(kind, x, y, goes_right)
        alive &= ~hits(kind, x, y, ship + np.clip(COLUMNS - ship, -SHIP_STEP * step, SHIP_STEP * step))
        survival += alive.mean(axis=0)
    target = int(COLUMNS[np.argmax(survival - np.abs(COLUMNS - favourite) * 1e-3)])
    return towards(target, ship)


def towards(column: int, ship: int) -> int:
    """Return the action that brings the ship nearer to a column, 0 where a step would take it no nearer."""
    if abs(column - ship) < (SHIP_STEP + 1) // 2:
        return 0
    return 1 if column < ship else 2


DRIVERS: dict[str, Callable[[], Driver]] = {"random": RandomDriver, "evasive": EvasiveDriver, "idle": IdleDriver}
MIXTURE: dict[str, float] = {"random": 0.3, "evasive": 0.5, "idle": 0.2}
