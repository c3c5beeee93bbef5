"""A dream that pays otherwise than it was learned, where only a dream pays so much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


class RewardShaping(ModelWrapper[S], Generic[S]):
    """Maps the reward of a step through straight lines between points, for training policies; evaluate without it.

    Beyond the outer points the lines go on; a piece that maps each reward to itself leaves it as it is, to the bit.

    Args:
        model: the world model.
        points: two or more `(reward, shaped reward)`, rewards ascending, env units.

    Raises:
        InvalidArgument: if the points are not such.
    """

    reads_info = False

    def __init__(self, model: WorldModel[S], points: Sequence[Sequence[float]]) -> None:
        super().__init__(model)
        pairs = [tuple(point) for point in points] if isinstance(points, Sequence) else []
        sound = len(pairs) >= 2 and all(len(pair) == 2 and all(map(math.isfinite, pair)) for pair in pairs)
        if not sound or any(left[0] >= right[0] for left, right in pairwise(pairs)):
            raise InvalidArgument(
                f"points is {points!r}; expected two or more pairs of finite numbers, (reward, shaped reward), with "
                "ascending rewards, e.g. [(0, 0), (4, 4), (5, 3.5)]."
            )
        self.points = pairs

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return the wrapped model's transition with the shaped reward."""
        out = self.model.step(state, action, noise, temperature)
        return replace(out, reward=self.shape(out.reward))

    def shape(self, reward: Tensor) -> Tensor:
        """Return what rewards `[...]` are mapped to; what is no number stays none."""
        shaped = reward
        for i, ((x, y), (right, above)) in enumerate(pairwise(self.points)):
            slope = (above - y) / (right - x)
            piece = reward if slope == 1 and x == y else y + slope * (reward - x)
            shaped = piece if i == 0 else torch.where(reward > x, piece, shaped)
        return shaped


def tent(model: WorldModel[S], peak: float, slope: float = -0.5) -> RewardShaping[S]:
    """Return the world model with a reward that falls again above a peak.

    A policy finds the states in which a world model promises more than the real env ever paid. Where the largest real
    reward of a step is known, promises beyond it are worth less the larger they are.

    Args:
        model: the world model.
        peak: the reward of one step up to which nothing changes, env units.
        slope: of the reward above the peak; 0 caps it.

    Raises:
        InvalidArgument: if the slope is positive or a number is not finite.
    """
    if not (math.isfinite(peak) and math.isfinite(slope) and slope <= 0):
        raise InvalidArgument(
            f"peak is {peak} and slope {slope}; expected finite numbers, and a slope of at most 0, e.g. -0.5."
        )
    return RewardShaping(model, [(peak - 1, peak - 1), (peak, peak), (peak + 1, peak + slope)])
