"""Rollouts inside a world model, as a pure function: for planners and for agents that learn in imagination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dreamgym.core.model import WorldModel
from dreamgym.core.sampling import check_temperature
from dreamgym.errors import InvalidArgument

S = TypeVar("S")


@dataclass(frozen=True)
class Imagined(Generic[S]):
    """An imagined rollout of `B` lanes over `H` steps."""

    features: Tensor
    """`[H + 1, B, F]`, of the start and of every state after it."""
    action: Tensor
    """`[H, B, A]` model units."""
    reward: Tensor
    """`[H, B]` env units."""
    termination: Tensor
    """`[H, B]`: the probability that the step ended the episode, if it had not ended before."""
    state: S
    """The state after the last step."""

    @property
    def survival(self) -> Tensor:
        """`[H, B]`: the probability that the episode was still running when the step was taken."""
        alive = torch.cumprod(1 - self.termination, 0)
        return torch.cat([torch.ones_like(alive[:1]), alive[:-1]])


def imagine(
    model: WorldModel[S],
    state: S,
    policy: Callable[[Tensor], Tensor],
    horizon: int,
    noise: Tensor | None = None,
    temperature: float = 1.0,
) -> Imagined[S]:
    """Return what happens in the dream when `policy` acts for `horizon` steps; episodes are not cut at their end.

    Nor are they where the model says `truncated`: the horizon is this function's. Gradients flow through it if the
    model is differentiable.

    Args:
        model: the world model.
        state: where the rollout begins, `B` lanes.
        policy: features `[B, F]` -> action `[B, A]` in model units.
        horizon: H, the number of steps.
        noise: `[H, B, noise_dim]` standard normal; drawn from torch's default generator if None.
        temperature: of the dream.

    Raises:
        InvalidArgument: if `horizon` or `temperature` is not positive, or `noise` is for another horizon.
    """
    check_temperature(temperature)
    if horizon < 1:
        raise InvalidArgument(f"horizon is {horizon}; expected at least 1 step.")
    if noise is not None and len(noise) != horizon:
        raise InvalidArgument(f"noise has {len(noise)} steps; expected horizon {horizon}.")
    features, actions, rewards, terminations = [model.features(state)], [], [], []
    for t in range(horizon):
        action = policy(features[-1])
        transition = model.step(state, action, None if noise is None else noise[t], temperature)
        state = transition.state
        features.append(model.features(state))
        actions.append(action)
        rewards.append(transition.reward)
        terminations.append(transition.termination)
    stack = torch.stack
    return Imagined(stack(features), stack(actions), stack(rewards), stack(terminations), state)
