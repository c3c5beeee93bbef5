"""The interface that every world model implements, and what one step of it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from gymnasium import Space
from torch import Tensor, nn

from dreamgym.core.sampling import PerLane
from dreamgym.errors import MissingHead, NotDecodable

S = TypeVar("S")
"""A state: a frozen dataclass whose every leaf has the lane axis first."""

Obs = Tensor | dict[str, Tensor]
"""An observation in model units: pictures `[B, 3, h, w]` in [0, 1], vectors `[B, n]`, float32, or a dict of these."""


@dataclass(frozen=True)
class Transition(Generic[S]):
    """What one imagined step returns."""

    state: S
    """The state after the step."""
    reward: Tensor
    """`[B]` float32 in the real env's units: what this action earned."""
    termination: Tensor
    """`[B]` float32 in [0, 1]: the probability that this action ended the episode."""
    info: Mapping[str, Tensor] = field(default_factory=dict)
    """`[B, ...]` each, for example `"disagreement"`."""
    truncated: Tensor | None = None
    """`[B]` bool: the dream is cut off here, though nothing ended: a wrapper's doing. None is nowhere."""


@dataclass(frozen=True)
class Unrolled(Generic[S]):
    """What `H` imagined steps of `B` lanes return."""

    reward: Tensor
    """`[H, B]` env units."""
    termination: Tensor
    """`[H, B]`: the probability that the step ended the episode, if it had not ended before."""
    state: S
    """The state after the last step."""


def check_heads(model: WorldModel[S], transition: Transition[S]) -> Transition[S]:
    """Return `transition` if `model` predicted reward and termination; what it does not know is never made up.

    Raises:
        MissingHead: if one is None.
    """
    for name in ("reward", "termination"):
        if getattr(transition, name) is None:
            raise MissingHead(
                f"{type(model).__name__}.step gave no {name}; a dream needs one, and zeros are never made up. "
                f"Train a {name} head, or wrap the model in one that knows it."
            )
    return transition


class WorldModel(ABC, Generic[S]):
    """A learned simulator of one environment, stepped for `B` lanes at once.

    Every method is pure: it returns new values, edits nothing it was given and keeps no memory. Randomness arrives as
    `noise`, standard normals `[B, noise_dim]`; without it fresh noise is drawn from torch's default generator.
    """

    observation_space: Space[Any]
    """The space of the real env's observations, after its preprocessing."""
    action_space: Space[Any]
    """The space of the real env's actions."""
    noise_dim: int
    """How many standard normals one lane consumes in a call of `step` or `observe`."""
    feature_dim: int
    """F, the width of what `features` returns."""
    differentiable: ClassVar[bool] = True
    """Whether gradients flow from `step`'s results to its state and action."""

    @abstractmethod
    def initial(self, batch_size: int) -> S:
        """Return the empty memory of `batch_size` lanes: what is known before the first observation."""

    @abstractmethod
    def observe(self, state: S, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> S:
        """Return the state after something that really happened (the posterior).

        Args:
            state: the state before.
            action: `[B, A]` the action that led from `state` to `obs`; ignored where `is_first`.
            obs: the observation that followed, in model units.
            is_first: `[B]` bool, `obs` opens an episode: the memory of that lane starts afresh.
            noise: `[B, noise_dim]` standard normal; zeros give the posterior's mean.
        """

    @abstractmethod
    def step(self, state: S, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0) -> Transition[S]:
        """Return what the dream holds to happen next (the prior).

        Args:
            state: the state before.
            action: `[B, A]` env units for a Box, one-hot for a Discrete space.
            noise: `[B, noise_dim]` standard normal.
            temperature: above 1 makes the dream less certain, a number or `[B, 1]`; `core/sampling.py` has its meaning.
        """

    def unroll(
        self,
        state: S,
        actions: Sequence[Tensor],
        noise_fn: Callable[[int], Tensor],
        temperature: PerLane = 1.0,
    ) -> Unrolled[S]:
        """Return what some actions lead to: what so many calls of `step` do, for which a family may know a shorter way.

        A lane that leaves the finite numbers does not come back to them: the last state tells.

        Args:
            state: the state before.
            actions: H of `[B, A]`.
            noise_fn: the number of a step -> standard normals `[B, noise_dim]`, asked for once each, in order.
            temperature: as in `step`.

        Raises:
            MissingHead: if the model predicts no reward or no termination.
        """
        rewards, terminations = [], []
        for t, action in enumerate(actions):
            out = check_heads(self, self.step(state, action, noise_fn(t), temperature))
            state = out.state
            rewards.append(out.reward)
            terminations.append(out.termination)
        return Unrolled(torch.stack(rewards), torch.stack(terminations), state)

    def without_info(self) -> WorldModel[S]:
        """Return a model that dreams the same but may leave a step's `info` empty, if that saves it something.

        Planners, which look at rewards and endings alone, ask for it. It shares its weights with this one.
        """
        return self

    @abstractmethod
    def features(self, state: S) -> Tensor:
        """Return `[B, F]` float32, what a small policy sees of a state."""

    def decode(self, state: S) -> Obs:
        """Return the observation that a state stands for, in model units.

        Raises:
            NotDecodable: if the model has no decoder.
        """
        raise NotDecodable(f"{type(self).__name__} has no decoder; use observation='features' instead of pixels.")


@dataclass(frozen=True)
class SequenceBatch:
    """Windows of recorded episodes, in model units; an episode shorter than the window is padded at its end.

    `action[t]` leads from `obs[t]` to `obs[t + 1]` and produces `reward[t]` and `terminated[t]`.
    """

    obs: Tensor
    """`[B, T + 1, ...]`; padding repeats the last observation."""
    action: Tensor
    """`[B, T, A]`."""
    reward: Tensor
    """`[B, T]` env units."""
    terminated: Tensor
    """`[B, T]` float, 1 where the action ended the episode."""
    mask: Tensor
    """`[B, T]` float, 1 where the transition was recorded, 0 where it is padding."""
    is_first: Tensor
    """`[B]` bool, the window starts where its episode starts."""


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """How one stage of a world model is optimised."""

    steps: int = 10_000
    """Optimiser steps in all."""
    batch_size: int = 32
    """B, windows a step."""
    sequence_length: int = 32
    """T, actions a window; 0 gives single observations."""
    learning_rate: float = 1e-3
    """Adam's, constant for the first 60% of the steps, then linear to a tenth."""
    grad_clip: float = 100.0
    """Largest norm of the gradient of all of the stage's weights."""
    ending_share: float = 0.0
    """Share of windows that are made to hold a recorded termination, in [0, 1)."""


@runtime_checkable
class Trainable(Protocol):
    """What a world model that `dreamgym.training.fit` can train has besides the `WorldModel` interface."""

    stages: Mapping[str, StageConfig]
    """Stage name -> default optimisation, in training order."""

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        """Return the weights that a stage trains."""

    def stage_inputs(self, obs: Obs, stage: str) -> Tensor | None:
        """Return what a stage needs to know of each observation `[B, ...]`, or None to be given the observations.

        Called once for every recorded observation before the stage begins; the answers, kept in memory, are then what
        `SequenceBatch.obs` holds. It must not depend on weights that the stage trains.
        """

    def loss(self, batch: SequenceBatch, stage: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a stage and its named terms, detached, for the log."""


@runtime_checkable
class StageHooks(Protocol):
    """What a `Trainable` model may have too: a look at the data before a stage, and at held-out data after it.

    What the hooks find out belongs into buffers, which checkpoints hold: a resumed stage is not begun a second time.
    """

    def begin_stage(self, stage: str, batches: Iterator[SequenceBatch]) -> None:
        """Look at every recorded transition once, before the stage's first step; `obs` are the observations."""

    def end_stage(self, stage: str, batches: Iterator[SequenceBatch]) -> None:
        """Look at every held-out transition once, after the last step; `obs` is what `stage_inputs` gave.

        If no episode is held out, these are the transitions that the stage was trained on.
        """


@runtime_checkable
class OnePass(Protocol):
    """What a world model that takes each transition in once, without an optimiser, has besides `WorldModel`.

    `dreamgym.training.fit` shows it the data from first to last; an agent may hand it each transition as it happens.
    """

    def learn(self, batch: SequenceBatch) -> None:
        """Take in the recorded transitions of a batch."""

    def measure(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """Return named figures of how well each recorded transition of a batch is known, `[N]` each, for the card."""
