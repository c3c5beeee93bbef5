"""Rewards and endings that are known rather than learned, by the names that a config may give.

A dream on disk names one of these; it can never name a function of somebody else's file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from dreamgym.core.model import Obs
from dreamgym.errors import InvalidArgument

LEARNED, GIVEN = "learned", "given"

KnownFn = Callable[[Obs, Tensor, Obs], Tensor]
"""`(obs, action, next_obs)` in model units -> `[B]`: the reward in env units, or the probability of an ending."""


def always_one(obs: Obs, action: Tensor, next_obs: Obs) -> Tensor:
    """Return CartPole-v1's reward: 1 for every step."""
    return torch.ones_like(action[:, 0])


def pendulum_reward(obs: Obs, action: Tensor, next_obs: Obs) -> Tensor:
    """Return Pendulum-v1's reward: minus squared angle, speed and torque before the step."""
    assert isinstance(obs, Tensor)
    cos, sin, speed = obs.unbind(1)
    torque = action[:, 0].clamp(-2, 2)
    return -(torch.atan2(sin, cos).square() + 0.1 * speed.square() + 0.001 * torque.square())


def never(obs: Obs, action: Tensor, next_obs: Obs) -> Tensor:
    """Return 0: an episode that only a time limit ends."""
    return torch.zeros_like(action[:, 0])


def cart_pole_ending(obs: Obs, action: Tensor, next_obs: Obs) -> Tensor:
    """Return whether CartPole-v1's cart has left its track, or its pole leans more than 12 degrees."""
    assert isinstance(next_obs, Tensor)
    place, _, angle, _ = next_obs.unbind(1)
    return ((place.abs() > 2.4) | (angle.abs() > 12 * math.pi / 180)).float()


def hopper_ending(obs: Obs, action: Tensor, next_obs: Obs) -> Tensor:
    """Return whether Hopper-v5 has fallen: torso below 0.7 m, leaning by 0.2 rad, or a number beyond 100."""
    assert isinstance(next_obs, Tensor)
    healthy = (next_obs[:, 0] > 0.7) & (next_obs[:, 1].abs() < 0.2) & (next_obs[:, 1:].abs() < 100).all(1)
    return (~healthy).float()


REWARDS: dict[str, KnownFn] = {"cart_pole": always_one, "pendulum": pendulum_reward}
ENDINGS: dict[str, KnownFn] = {"never": never, "cart_pole": cart_pole_ending, "hopper": hopper_ending}


def known(what: str, name: str, table: Mapping[str, KnownFn], given: KnownFn | None) -> KnownFn | None:
    """Return the function that was given, or the one that a config names; None if it is to be learned.

    Args:
        what: `"reward"` or `"termination"`, for messages.
        name: `LEARNED`, `GIVEN`, or a name of `table`.
        table: functions by name.
        given: a function of the caller's own.

    Raises:
        InvalidArgument: if the name is unknown, or stands for a function that was given once and is not here.
    """
    if given is not None:
        return given
    if name == GIVEN:
        raise InvalidArgument(
            f"{what} is {GIVEN!r}: it was a Python function, which no file holds; pass {what}_fn to MlpEnsemble, or "
            f"name a known one: {', '.join(map(repr, table))}."
        )
    if name != LEARNED and name not in table:
        raise InvalidArgument(f"{what} is {name!r}; expected one of {', '.join(map(repr, (LEARNED, *table)))}.")
    return table.get(name)
