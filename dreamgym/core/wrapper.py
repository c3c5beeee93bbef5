"""Model wrappers: `WorldModel -> WorldModel`, so that a change to a dream reaches RL libraries and planners alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor

from dreamgym.core.model import Obs, Transition, WorldModel
from dreamgym.core.sampling import PerLane
from dreamgym.errors import MissingHead

S = TypeVar("S")

WrapSpec = Sequence[tuple[str, Mapping[str, Any]]]
"""What `gym.make(..., wrap=[(name, kwargs), ...])` takes; the first wrapper is the innermost. JSON."""


class ModelWrapper(WorldModel[S], Generic[S]):
    """A world model that passes everything on to another one; a subclass overrides what it changes.

    A wrapper that has to remember something about a dream, the steps since it began for example, keeps it in a state of
    its own, around the wrapped model's: `begin` puts a dream's first memory there and `inner` takes the wrapped model's
    state out. Whatever is observed is where a dream may begin, and so is every state of a start bank.
    """

    reads_info: ClassVar[bool] = True
    """Whether what `step` returns, but for its own `info`, depends on the wrapped model's `info`."""

    def __init__(self, model: WorldModel[Any]) -> None:
        self.model = model
        self.observation_space = model.observation_space
        self.action_space = model.action_space
        self.noise_dim = model.noise_dim
        self.feature_dim = model.feature_dim

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through the wrapped model's step."""
        return self.model.differentiable

    def begin(self, state: Any) -> S:
        """Return this wrapper's states of dreams that begin in states of the wrapped model; compact ones stay so."""
        return state

    def inner(self, state: S) -> Any:
        """Return the wrapped model's states."""
        return state

    def without_info(self) -> WorldModel[S]:
        """Return this wrapper around a model that may leave `info` empty, unless it needs to know what that says."""
        if self.reads_info:
            return self
        quiet = copy(self)
        quiet.model = self.model.without_info()
        return quiet

    def initial(self, batch_size: int) -> S:
        """Return the wrapped model's empty memory."""
        return self.begin(self.model.initial(batch_size))

    def observe(self, state: S, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> S:
        """Return the wrapped model's posterior state, in which a dream may begin."""
        own = None if noise is None else noise[:, : self.model.noise_dim]
        return self.begin(self.model.observe(self.inner(state), action, obs, is_first, own))

    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return the wrapped model's transition."""
        return self.model.step(self.inner(state), action, noise, temperature)

    def decode(self, state: S) -> Obs:
        """Return the wrapped model's observation."""
        return self.model.decode(self.inner(state))

    def features(self, state: S) -> Tensor:
        """Return the wrapped model's features."""
        return self.model.features(self.inner(state))


def begin(wrapped: WorldModel[Any], model: WorldModel[Any], state: Any) -> Any:
    """Return the states of `wrapped` of dreams that begin in states of `model`, which it is wrapped around."""
    if wrapped is model or not isinstance(wrapped, ModelWrapper):
        return state
    return wrapped.begin(begin(wrapped.model, model, state))


def disagreement(model: WorldModel[Any], transition: Transition[Any]) -> Tensor:
    """Return `[B]`, how much the members of `model` disagree about a transition of it.

    Raises:
        MissingHead: if the model does not say.
    """
    if "disagreement" not in transition.info:
        while isinstance(model, ModelWrapper):
            model = model.model
        raise MissingHead(
            f"{type(model).__name__}.step reports no 'disagreement'; this wrapper needs a model with several members. "
            "Train an rssm with --model.reward-members 4, or an mlp_ensemble with --model.num-members 5."
        )
    return transition.info["disagreement"]
