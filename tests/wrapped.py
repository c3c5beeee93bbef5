"""What every registered wrapper is called with in tests, and a world that any of them can be put around."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.hub import LoadedDream
from dreamgym.testing.counting import Counted, counting_dream

ARGUMENTS: dict[str, dict[str, Any]] = {
    "horizon": {"horizon": 3},
    "penalize_disagreement": {"weight": 0.5},
    "random_temperature": {"low": 0.5, "high": 2.0},
    "reward_shaping": {"points": [[0, 0], [1, 2], [2, 2]]},
    "temperature": {"temperature": 1.3},
    "tent": {"peak": 1.0},
    "terminate_on_disagreement": {"threshold": 0.5, "penalty": 10.0},
}
"""Wrapper -> arguments, as JSON holds them: one line for a new one."""


class Doubtful(ModelWrapper[Counted]):
    """A counting world whose members disagree by the sum of the actions since the start."""

    def step(self, state: Counted, action: Tensor, noise: Any = None, temperature: Any = 1.0) -> Transition[Counted]:
        out = self.model.step(state, action, noise, temperature)
        return replace(out, info={**out.info, "disagreement": out.state.total.clone()})

    def without_info(self) -> WorldModel[Counted]:
        return self.model


def doubtful_dream(**kwargs: Any) -> LoadedDream:
    """Return `counting_dream` of a `Doubtful` world."""
    dream = counting_dream(**kwargs)
    return replace(dream, model=Doubtful(dream.model))
