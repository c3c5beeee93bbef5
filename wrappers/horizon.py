"""A dream that is cut off before it has drifted too far."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.core.tree import device_of, num_lanes
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


@dataclass(frozen=True)
class Timed(Generic[S]):
    """A state of a dream and how far it is from reality."""

    inner: S
    """The wrapped model's state."""
    steps: Tensor
    """`[B]` int64, dreamed since something real was seen."""


class Horizon(ModelWrapper[Timed[S]], Generic[S]):
    """Cuts a dream off after some steps: truncated, never terminated, so that a learner asks what would have followed.

    It is what `max_episode_steps` does, as a part of the model: it counts from what was really seen, whichever env or
    agent dreams. `imagine` and planners look as far ahead as they are told to and are not cut.

    Args:
        model: the world model.
        horizon: H, steps from a real situation to the cut.

    Raises:
        InvalidArgument: if it is no whole number of at least 1.

    Source: the short rollouts of Janner et al. 2019 (MBPO), section 4.2.
    """

    reads_info = False

    def __init__(self, model: WorldModel[S], horizon: int) -> None:
        super().__init__(model)
        if not isinstance(horizon, int) or isinstance(horizon, bool) or horizon < 1:
            raise InvalidArgument(f"horizon is {horizon!r}; expected a whole number of at least 1 step.")
        self.horizon = horizon

    def begin(self, state: S) -> Timed[S]:
        """Return dreams of no steps."""
        return Timed(state, torch.zeros(num_lanes(state), dtype=torch.int64, device=device_of(state)))

    def inner(self, state: Timed[S]) -> S:
        """Return the wrapped model's states."""
        return state.inner

    def step(
        self, state: Timed[S], action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[Timed[S]]:
        """Return the wrapped model's transition, truncated from the last step of the horizon on."""
        out = self.model.step(state.inner, action, noise, temperature)
        steps = state.steps + 1
        over = steps >= self.horizon
        truncated = over if out.truncated is None else out.truncated | over
        return replace(out, state=Timed(out.state, steps), truncated=truncated)
