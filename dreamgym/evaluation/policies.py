"""What acts in an evaluation: a policy's file, chance, or one action for ever; and a policy as a recording driver."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.codec import action_dim, check_action, describe
from dreamgym.core.policy import Policy, check_policy
from dreamgym.errors import InvalidArgument
from dreamgym.hub import LoadedDream, load_policy


@runtime_checkable
class Actor(Protocol):
    """Acts for several lanes at once."""

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin as many episodes as there are seeds; what a lane does depends on its own seed alone."""

    def act(self, features: Tensor) -> np.ndarray:
        """Return `[B, ...]` actions in env units for features `[B, F]`."""


PolicyLike = str | Path | Policy | Actor
"""`"shipped"`, `"random"`, `"constant:0,1,0"`, `"cycle:1x25,2x25"`, a policy's file, a policy, or what else can act."""


def make_policy(spec: PolicyLike, dream: LoadedDream) -> Actor:
    """Return what acts in a dream or its real twin.

    Args:
        spec: `"shipped"` for the policy in the dream's folder, `"random"`, `"constant:"` and an action's numbers,
            `"cycle:"` and choices with how often each is made before the next one's turn, a policy's file, a policy in
            memory, or an `Actor` of your own, which may have a memory of each lane.
        dream: where it acts.

    Raises:
        InvalidArgument: if the constant is no action of the dream, or a choice of the cycle.
        FileNotFoundError: if there is no such file, or the dream ships no policy.
        PolicyMismatch: if the policy was made for another dream.
    """
    space = dream.model.action_space
    if isinstance(spec, Policy):
        check_policy(spec, space, dream.model.feature_dim, dream.model_sha256, dream.name)
        return PolicyActor(spec)
    if isinstance(spec, Actor):
        return spec
    if spec == "random":
        return RandomActor(space)
    if str(spec).startswith("constant:"):
        return ConstantActor(parse_action(str(spec), space, dream.name))
    if str(spec).startswith("cycle:"):
        return CycleActor(parse_cycle(str(spec), space, dream.name))
    return PolicyActor(load_policy(spec, dream))


class PolicyActor:
    """Does what a policy says."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def reset(self, seeds: Sequence[int]) -> None:
        """Do nothing: a policy has no memory and draws nothing."""

    @torch.no_grad()
    def act(self, features: Tensor) -> np.ndarray:
        """Return the policy's actions."""
        return self.policy.act(features).cpu().numpy()


class RandomActor:
    """Draws every action from the action space; each lane from a generator of its own."""

    def __init__(self, space: Space[Any]) -> None:
        self._space = space
        self._lanes: list[Space[Any]] = []

    def reset(self, seeds: Sequence[int]) -> None:
        """Seed each lane."""
        self._lanes = [copy.deepcopy(self._space) for _ in seeds]
        for lane, seed in zip(self._lanes, seeds, strict=True):
            lane.seed(int(seed))

    def act(self, features: Tensor) -> np.ndarray:
        """Return one draw a lane."""
        return np.stack([lane.sample() for lane in self._lanes])


class ConstantActor:
    """Repeats one action."""

    def __init__(self, action: np.ndarray) -> None:
        self.action = action

    def reset(self, seeds: Sequence[int]) -> None:
        """Do nothing."""

    def act(self, features: Tensor) -> np.ndarray:
        """Return the action, once for each lane."""
        return np.repeat(self.action[None], len(features), axis=0)


class CycleActor:
    """Goes through a list of choices again and again, without looking."""

    def __init__(self, actions: np.ndarray) -> None:
        self.actions = actions
        self._time = 0

    def reset(self, seeds: Sequence[int]) -> None:
        """Begin the list anew."""
        self._time = 0

    def act(self, features: Tensor) -> np.ndarray:
        """Return the next choice, once for each lane."""
        action = self.actions[self._time % len(self.actions)]
        self._time += 1
        return np.repeat(action, len(features))


def parse_cycle(spec: str, space: Space[Any], owner: str) -> np.ndarray:
    """Return the choices, in order, that a text such as `"cycle:1x25,2x25"` gives: 25 times 1, 25 times 2.

    Raises:
        InvalidArgument: if it is no such text, or the dream has no such choices.
    """
    found = [re.fullmatch(r"(-?\d+)x([1-9]\d*)", part) for part in spec.partition(":")[2].split(",")]
    actions = [int(match[1]) for match in found if match for _ in range(int(match[2]))]
    if not all(found) or not all(action in space for action in actions):
        raise InvalidArgument(
            f"policy is {spec!r}; {owner} expects CHOICExTIMES,CHOICExTIMES with choices of {describe(space)}, "
            "e.g. 'cycle:0x10,1x10'."
        )
    return np.array(actions)


def parse_action(spec: str, space: Space[Any], owner: str) -> np.ndarray:
    """Return the action that a text such as `"constant:0,1,0"` or `"constant:2"` gives.

    Raises:
        InvalidArgument: if it holds no numbers, or these are no action of `space`.
    """
    expected = f"{owner} expects {action_dim(space) if isinstance(space, spaces.Box) else 1} of {describe(space)}"
    try:
        numbers = [float(part) for part in spec.partition(":")[2].split(",")]
        if isinstance(space, spaces.Discrete):
            (number,) = numbers
            action = np.array(int(number) if number.is_integer() else number)
        else:
            action = np.array(numbers, space.dtype).reshape(space.shape)
        return np.asarray(check_action(space, action[None], 1, owner))[0]
    except ValueError as error:  # InvalidAction is one, too
        raise InvalidArgument(
            f"policy is {spec!r}; {expected}, e.g. 'constant:{','.join(['0'] * action_dim(space))}'."
            if isinstance(space, spaces.Box)
            else f"policy is {spec!r}; {expected}, e.g. 'constant:{int(space.start)}'."  # type: ignore[attr-defined]
        ) from error
