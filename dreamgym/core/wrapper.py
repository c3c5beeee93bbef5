"""Model wrappers: `WorldModel -> WorldModel`, so that a change to a dream reaches RL libraries and planners alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor

from dreamgym.core.model import Obs, Transition, WorldModel

S = TypeVar("S")

WrapSpec = Sequence[tuple[str, Mapping[str, Any]]]
"""What `gym.make(..., wrap=[(name, kwargs), ...])` takes; the first wrapper is the innermost. JSON."""


class ModelWrapper(WorldModel[S], Generic[S]):
    """A world model that passes everything on to another one; a subclass overrides what it changes."""

    def __init__(self, model: WorldModel[S]) -> None:
        self.model = model
        self.observation_space = model.observation_space
        self.action_space = model.action_space
        self.noise_dim = model.noise_dim
        self.feature_dim = model.feature_dim

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through the wrapped model's step."""
        return self.model.differentiable

    def initial(self, batch_size: int) -> S:
        """Return the wrapped model's empty memory."""
        return self.model.initial(batch_size)

    def observe(self, state: S, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> S:
        """Return the wrapped model's posterior state."""
        return self.model.observe(state, action, obs, is_first, noise)

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: float = 1.0) -> Transition[S]:
        """Return the wrapped model's transition."""
        return self.model.step(state, action, noise, temperature)

    def decode(self, state: S) -> Obs:
        """Return the wrapped model's observation."""
        return self.model.decode(state)

    def features(self, state: S) -> Tensor:
        """Return the wrapped model's features."""
        return self.model.features(state)
