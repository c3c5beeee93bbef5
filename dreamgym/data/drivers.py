"""Who chooses the actions while experience is recorded: chance, an env's own scripts, or what a caller brings."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np

from dreamgym.errors import InvalidArgument, UnknownName
from dreamgym.registry import import_target


@runtime_checkable
class Driver(Protocol):
    """Chooses actions; it may hold a policy, or read the hidden state of the env."""

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """Begin an episode; called after `env.reset`. Every random choice of the episode comes from `rng`."""

    def act(self, obs: Any) -> Any:
        """Return the next action, in the units of `env.action_space`."""


DriverLike = str | Driver | Callable[[], Driver]
"""A driver, a function or class that makes one, or `"module:function"`; picklable if several processes record."""


class RandomDriver:
    """Draws actions from the action space and holds each of them for up to `max_hold` steps."""

    def __init__(self, max_hold: int = 1) -> None:
        self.max_hold = max_hold

    def reset(self, env: gym.Env[Any, Any], rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._space = env.action_space
        self._space.seed(int(rng.integers(2**31)))
        self._rng = rng
        self._left = 0

    def act(self, obs: Any) -> Any:
        """Return a random action, or the one being held."""
        if self._left == 0:
            self._left = int(self._rng.integers(1, self.max_hold + 1))
            self._action = self._space.sample()
        self._left -= 1
        return self._action


BUILT_IN: dict[str, DriverLike] = {
    "random": RandomDriver,
    "random_holds": partial(RandomDriver, max_hold=16),
    "uniform": RandomDriver,  # the same where an env calls another driver "random"
}


def find_drivers(env: str) -> tuple[dict[str, DriverLike], dict[str, float]]:
    """Return the drivers there are for an env, by name, and its default mixture (name -> share).

    They are those of `BUILT_IN`, and the `DRIVERS` and `MIXTURE` of the module that makes the env.
    """
    module: Any = None
    if is_function(env):
        module = importlib.import_module(env.partition(":")[0])
    else:
        entry_point = gym.spec(env).entry_point
        if isinstance(entry_point, str):
            module = importlib.import_module(entry_point.partition(":")[0])
    drivers = {**BUILT_IN, **getattr(module, "DRIVERS", {})}
    return drivers, dict(getattr(module, "MIXTURE", {"random": 1.0}))


def is_function(env: str) -> bool:
    """Return whether an env is named as `module:function` rather than by a Gymnasium id.

    >>> is_function("dreamgym.real.dodge:make"), is_function("dreamgym:Dodge-v0"), is_function("CartPole-v1")
    (True, False, False)
    """
    return env.partition(":")[2].isidentifier()


def make_driver(driver: DriverLike) -> Driver:
    """Return the driver that a `DriverLike` stands for."""
    if isinstance(driver, str):
        return make_driver(import_target(driver))
    if isinstance(driver, Driver) and not isinstance(driver, type):
        return driver
    made = driver()
    if not isinstance(made, Driver):
        raise InvalidArgument(
            f"driver {driver!r} made a {type(made).__name__}; expected an object with reset(env, rng) and act(obs)."
        )
    return made


def check_mixture(mixture: Mapping[str, float], drivers: Mapping[str, DriverLike]) -> dict[str, float]:
    """Return the shares of a mixture, normalised, in the order of their names.

    Raises:
        UnknownName: if a driver of the mixture does not exist.
        InvalidArgument: if a share is negative or all are zero.
    """
    for name, share in mixture.items():
        if name not in drivers:
            raise UnknownName("driver", name, drivers)
        if not 0 <= share < float("inf"):
            raise InvalidArgument(f"driver {name!r} has share {share}; expected a number >= 0.")
    total = sum(mixture.values())
    if total == 0:
        raise InvalidArgument(f"the driver shares {dict(mixture)} add up to 0; give at least one a positive share.")
    return {name: mixture[name] / total for name in sorted(mixture)}
