"""A dream that is more certain in one episode and less in the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane, check_temperature
from dreamgym.core.tree import device_of, num_lanes
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidTemperature

S = TypeVar("S")


@dataclass(frozen=True)
class Tempered(Generic[S]):
    """A state of a dream at a temperature of its own."""

    inner: S
    """The wrapped model's state."""
    temperature: Tensor
    """`[B, 1]`; 0 where the dream has not taken its first step, at which it is drawn."""


class RandomTemperature(ModelWrapper[Tempered[S]], Generic[S]):
    """Dreams each episode at a temperature drawn for it, so that a policy can count on none.

    The temperature is drawn at the first step of a dream and kept to its end. `info["temperature"]` tells it.

    Args:
        model: the world model.
        low, high: the range of the temperatures, whose logarithm is uniform.

    Raises:
        InvalidTemperature: if one is no positive finite number, or `high` is below `low`.

    Source: randomised dynamics, Peng et al. 2018, with the temperature of Ha & Schmidhuber 2018 as what is drawn.
    """

    reads_info = False

    def __init__(self, model: WorldModel[S], low: float = 0.7, high: float = 1.4) -> None:
        super().__init__(model)
        self.low, self.high = check_temperature(low), check_temperature(high)
        if self.high < self.low:
            raise InvalidTemperature(
                f"low is {low} and high {high}; expected low to be at most high, e.g. 0.7 and 1.4."
            )
        self.noise_dim = model.noise_dim + 1  # the last number draws the temperature

    def begin(self, state: S) -> Tempered[S]:
        """Return dreams whose temperature is yet to be drawn."""
        return Tempered(state, torch.zeros(num_lanes(state), 1, device=device_of(state)))

    def inner(self, state: Tempered[S]) -> S:
        """Return the wrapped model's states."""
        return state.inner

    def step(
        self, state: Tempered[S], action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[Tempered[S]]:
        """Return the transition at each lane's temperature times the caller's."""
        own = torch.randn_like(state.temperature) if noise is None else noise[:, -1:]
        drawn = self.low * torch.exp(math.log(self.high / self.low) * torch.special.ndtr(own))  # [B, 1]
        # drawn for every lane, so that one that begins never shifts another lane's noise
        drawn = torch.where(state.temperature > 0, state.temperature, drawn)
        out = self.model.step(state.inner, action, None if noise is None else noise[:, :-1], drawn * temperature)
        info = {"temperature": (drawn * temperature)[:, 0], **out.info}
        return replace(out, state=Tempered(out.state, drawn), info=info)
