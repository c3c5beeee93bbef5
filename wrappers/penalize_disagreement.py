"""A dream that pays less where it does not know what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Generic, TypeVar

from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.core.wrapper import ModelWrapper, disagreement
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


class PenalizeDisagreement(ModelWrapper[S], Generic[S]):
    """Takes from a step's reward what the members of the model disagree about, for training policies.

    Where the recorded data end, members that agree on the data guess differently; a policy that is paid less there
    stays where the model knows what it says.

    Args:
        model: a world model that reports `info["disagreement"]`; its family says in which unit.
        weight: reward lost for each unit of disagreement.

    Raises:
        InvalidArgument: if the weight is negative or not finite.

    Source: Yu et al. 2020 (MOPO), equation 4, with what the members disagree about in place of the largest of their
    standard deviations.
    """

    def __init__(self, model: WorldModel[S], weight: float = 1.0) -> None:
        super().__init__(model)
        if not (math.isfinite(weight) and weight >= 0):
            raise InvalidArgument(f"weight is {weight}; expected a finite number of at least 0, e.g. 1.0.")
        self.weight = float(weight)

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return the wrapped model's transition with the penalty taken from the reward.

        Raises:
            MissingHead: if the model reports no disagreement.
        """
        out = self.model.step(state, action, noise, temperature)
        return replace(out, reward=out.reward - self.weight * disagreement(self.model, out))
