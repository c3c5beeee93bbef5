"""A dream that stops paying for what only a dream can do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


class TentReward(ModelWrapper[S], Generic[S]):
    """Lets the reward of a step fall again above a peak, for training policies; evaluate without it.

    A policy finds the states in which a world model promises more than the real env ever paid. Where the largest real
    reward of a step is known, promises beyond it are worth less the larger they are.

    Args:
        model: the world model.
        peak: the reward of one step up to which nothing changes, env units.
        slope: of the reward above the peak; 0 caps it.

    Raises:
        InvalidArgument: if the slope is positive or a number is not finite.
    """

    def __init__(self, model: WorldModel[S], peak: float, slope: float = -0.5) -> None:
        super().__init__(model)
        if not (math.isfinite(peak) and math.isfinite(slope) and slope <= 0):
            raise InvalidArgument(
                f"peak is {peak} and slope {slope}; expected finite numbers, and a slope of at most 0, e.g. -0.5."
            )
        self.peak, self.slope = float(peak), float(slope)

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> Transition[S]:
        """Return the wrapped model's transition with the reward folded down above the peak."""
        out = self.model.step(state, action, noise, temperature)
        excess = (out.reward - self.peak).clamp(min=0)
        return replace(out, reward=torch.where(excess > 0, self.peak + self.slope * excess, out.reward))
