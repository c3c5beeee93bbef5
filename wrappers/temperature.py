"""A dream made more or less certain than it was learned."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.sampling import PerLane, check_temperature
from dreamgym.core.wrapper import ModelWrapper

S = TypeVar("S")


class Temperature(ModelWrapper[S], Generic[S]):
    """Dreams at another temperature: above 1 the dream is less certain and harder to exploit.

    Args:
        model: the world model.
        temperature: multiplies the temperature that `step` is called with.

    Raises:
        InvalidTemperature: if it is not a positive finite number.

    Source: Ha & Schmidhuber 2018, section 4.3 and table 2.
    """

    reads_info = False

    def __init__(self, model: WorldModel[S], temperature: float) -> None:
        super().__init__(model)
        self.temperature = check_temperature(temperature)

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return the transition at this wrapper's temperature times the caller's."""
        return self.model.step(state, action, noise, self.temperature * temperature)
