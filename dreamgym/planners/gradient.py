"""A planner that climbs: gradients of the imagined return with respect to the actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel
from dreamgym.core.sampling import most_likely
from dreamgym.errors import InvalidArgument, InvalidModel
from dreamgym.planners.planner import (
    Plan,
    Planner,
    PlannerConfig,
    ValueFn,
    bounds,
    check_counts,
    check_positive,
    half_range,
    idle_actions,
)
from dreamgym.planners.proposal import definite, numbers_each, uniform_actions
from dreamgym.planners.rollout import Luck, candidate_returns

_WARM_LOGIT = 2.0  # of what the last plan would do: 0.88 of the probability where there are two actions


@dataclass(frozen=True, kw_only=True)
class GradientConfig(PlannerConfig):
    """How many sequences climb, how often and how far."""

    num_candidates: int = 8
    """N, sequences that climb side by side: the last plan or an idle one, and random ones."""
    num_iterations: int = 20
    """Steps up the gradient."""
    learning_rate: float = 0.1
    """Adam's, in half ranges of a Box action, in logits of a Discrete one."""
    num_futures: int = 1
    """Imagined futures of each candidate, whose returns are averaged; they stay the same from step to step."""
    common_noise: bool = False
    """Let all candidates meet the same luck."""


class GradientAscent(Planner):
    """Ascent on sequences of actions through a differentiable model; the best that any of them came by is done.

    Box actions keep to their bounds by projection. A Discrete action is the likeliest under some logits, which get the
    gradient of their softmax (straight through). A candidate that leaves the finite numbers has no gradient any more;
    what it came by before counts.

    Args:
        config: sizes and settings.
        value_fn: what is still to be earned beyond the horizon, differentiable; nothing if None.

    Raises:
        InvalidArgument: if a setting cannot be meant.

    Source: Bengio et al. 2013 for the straight-through gradient; Kingma & Ba 2015 for the step.
    """

    config_class = GradientConfig

    def __init__(self, config: GradientConfig | None = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_counts(self.config, "num_candidates", "num_iterations", "num_futures")
        check_positive(self.config, "learning_rate")

    @property
    def width(self) -> int:
        """How many lanes are imagined for each lane that is planned."""
        return int(self.config.num_candidates * self.config.num_futures)

    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        if not model.differentiable:
            raise InvalidArgument(
                f"{type(model).__name__} says that it is not differentiable; GradientAscent needs a model that is. "
                "Plan with cem, mppi, random or tree, which do not."
            )
        config, space = self.config, model.action_space
        fallback = definite(space, idle_actions(space, len(seed), config.horizon, seed.device))
        fallback = fallback if before is None else definite(space, before)
        climbed = _climber(space, self._first(space, seed, before))
        best = fallback[:, None].repeat(1, config.num_candidates, 1, 1)  # [B, N, H, A]
        value = torch.full(best.shape[:2], -torch.inf, device=seed.device)  # [B, N]
        luck = Luck(model, seed, config.num_candidates, config.num_futures, config.horizon, config.common_noise)
        rows = [luck.next() for _ in range(config.horizon)]
        optimizer = torch.optim.Adam([climbed.where], lr=config.learning_rate)
        for i in range(config.num_iterations + 1):
            with torch.enable_grad():
                actions = climbed.actions()
                returns = candidate_returns(model, state, actions, rows.__getitem__, config, self.value_fn)
            better = returns.isfinite() & (returns > value)
            best = torch.where(better[:, :, None, None], actions.detach(), best)
            value = torch.where(better, returns.detach(), value)
            if i < config.num_iterations:
                climbed.where.grad = _gradient(model, returns, climbed.where)
                optimizer.step()
                climbed.project()
        chosen, lane = value.argmax(1), torch.arange(len(seed), device=seed.device)
        finite = value[lane, chosen].isfinite()
        steps = torch.full_like(seed, (config.num_iterations + 1) * self.width * config.horizon)
        return Plan(best[lane, chosen], value[lane, chosen].masked_fill(~finite, torch.nan), finite, steps)

    def _first(self, space: Any, seed: Tensor, before: Tensor | None) -> Tensor:
        """Return where the candidates begin, `[B, N, H, A]`: actions of a Box, logits of a Discrete space."""
        config, each = self.config, numbers_each(space)
        discrete = isinstance(space, spaces.Discrete)
        shape = (config.num_candidates, config.horizon, int(space.n) if discrete else each)
        count = torch.zeros_like(seed)
        numbers = noise.normal(seed, noise.CANDIDATE, count, shape[0] * shape[1] * shape[2]).view(len(seed), *shape)
        idle = idle_actions(space, len(seed), config.horizon, seed.device)
        first = numbers if discrete else uniform_actions(space, numbers)
        last = idle if before is None else before
        first[:, 0] = _WARM_LOGIT * (last - idle) / (1 - 1 / shape[2]) if discrete and shape[2] > 1 else last
        return first


class _BoxClimber:
    """Actions of a Box, in half ranges."""

    def __init__(self, space: spaces.Box, first: Tensor) -> None:
        self._scale, (self._low, self._high) = half_range(space, first.device), bounds(space, first.device)
        self.where = (first / self._scale).requires_grad_()  # [B, N, H, A]

    def actions(self) -> Tensor:
        """Return the actions `[B, N, H, A]` in model units."""
        return self.where * self._scale

    def project(self) -> None:
        """Move what has left the bounds back to them."""
        self.where.copy_(torch.clamp(self.where, self._low / self._scale, self._high / self._scale))


class _DiscreteClimber:
    """Logits of Discrete actions."""

    def __init__(self, first: Tensor) -> None:
        self.where = first.clone().requires_grad_()  # [B, N, H, A]

    def actions(self) -> Tensor:
        """Return one-hots `[B, N, H, A]` whose gradients are the softmax's."""
        soft = self.where.softmax(-1)
        return most_likely(self.where.detach()) + soft - soft.detach()

    def project(self) -> None:
        """Do nothing: logits have no bounds."""


def _climber(space: Any, first: Tensor) -> _BoxClimber | _DiscreteClimber:
    return _DiscreteClimber(first) if isinstance(space, spaces.Discrete) else _BoxClimber(space, first)


def _gradient(model: WorldModel[Any], returns: Tensor, where: Tensor) -> Tensor:
    """Return what to descend, `[B, N, H, A]`, with 0 for candidates whose return or gradient is not finite."""
    (slope,) = (
        torch.autograd.grad(returns, where, torch.ones_like(returns), allow_unused=True)
        if returns.requires_grad
        else (None,)
    )
    if slope is None:
        raise InvalidModel(
            f"no gradient of {type(model).__name__}'s rewards reaches the action; set `differentiable = False`, "
            "or remove no_grad and argmax from its step."
        )
    usable = returns.isfinite() & slope.flatten(2).isfinite().all(2)
    return torch.where(usable[:, :, None, None], -slope, 0.0)
