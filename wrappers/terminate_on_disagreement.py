"""A dream that ends where it does not know what it says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.core.wrapper import ModelWrapper, disagreement
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


class TerminateOnDisagreement(ModelWrapper[S], Generic[S]):
    """Ends the episode at a step about which the members of the model disagree too much, for training policies.

    What a policy earns here it earns where the model knows what it says: beyond that lies nothing but the penalty. A
    step that left the finite numbers is left as it is.

    Args:
        model: a world model that reports `info["disagreement"]`; its family says in which unit.
        threshold: disagreement above which a step is not believed.
        penalty: lost by such a step, which earns nothing else, env units; large beside what an episode can still earn,
            or, where every step costs, ending early is what pays.

    Raises:
        InvalidArgument: if a number is negative or not finite.

    Source: Kidambi et al. 2020 (MOReL), definition 1: its state HALT is an ending here, and it costs the penalty once.
    """

    def __init__(self, model: WorldModel[S], threshold: float, penalty: float = 0.0) -> None:
        super().__init__(model)
        for name, value in (("threshold", threshold), ("penalty", penalty)):
            if not (math.isfinite(value) and value >= 0):
                raise InvalidArgument(f"{name} is {value}; expected a finite number of at least 0, e.g. 1.0.")
        self.threshold, self.penalty = float(threshold), float(penalty)

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return the wrapped model's transition, with an ending where it is not to be believed.

        Raises:
            MissingHead: if the model reports no disagreement.
        """
        out = self.model.step(state, action, noise, temperature)
        unknown = (disagreement(self.model, out) > self.threshold) & (out.reward.abs() < math.inf)
        reward = torch.where(unknown, -self.penalty, out.reward)
        return replace(out, reward=reward, termination=torch.where(unknown, 1.0, out.termination))
