"""What sequences of actions would earn in a dream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel, check_heads
from dreamgym.core.tree import finite_lanes, gather
from dreamgym.planners.planner import PlannerConfig, ValueFn

NoiseFn = Callable[[int], Tensor]
"""The number of a step -> standard normals `[L, noise_dim]`."""


def imagined_return(
    model: WorldModel[Any],
    state: Any,
    actions: Sequence[Tensor],
    noise_fn: NoiseFn,
    config: PlannerConfig,
    value_fn: ValueFn | None = None,
) -> Tensor:
    """Return `[L]` what sequences of actions earn in the dream, each reward times the chance of living to see it.

    It is the sum over an `Imagined` of `discount ** t * survival * reward`, without keeping its features. A rollout
    that leaves the finite numbers has a return that is not finite: NaN if only its last state shows it.

    Args:
        model: what is imagined with.
        state: `L` lanes.
        actions: H of `[L, A]`.
        noise_fn: the noise of each step.
        config: discount and temperature.
        value_fn: what is still to be earned after the last step.

    Raises:
        MissingHead: if the model predicts no reward or no termination.
    """
    total: Tensor | float = 0.0
    weight: Tensor | float = 1.0  # [L] discount ** t * survival
    for t, action in enumerate(actions):
        out = check_heads(model, model.step(state, action, noise_fn(t), config.temperature))
        state = out.state
        total = total + weight * out.reward
        weight = config.discount * weight * (1 - out.termination)
    if value_fn is not None:
        total = total + weight * value_fn(model.features(state))
    assert isinstance(total, Tensor)
    return torch.where(finite_lanes(state), total, torch.nan)


def candidate_returns(
    model: WorldModel[Any],
    state: Any,
    actions: Tensor,
    seed: Tensor,
    round_: int,
    config: Any,
    value_fn: ValueFn | None = None,
) -> Tensor:
    """Return `[B, N]` the mean return of each candidate over its imagined futures, not finite if one of these is not.

    Args:
        model: what is imagined with.
        state: `B` lanes.
        actions: `[B, N, H, A]` model units.
        seed: `[B]` int64; a lane's futures depend on its own alone.
        round_: the number of this set of candidates; each has futures of its own.
        config: `num_futures` of each candidate; with `common_noise` these are the same for all candidates of a lane.
        value_fn: what is still to be earned after the last step.
    """
    lanes, candidates, horizon, _ = actions.shape
    futures = config.num_futures
    each = candidates * futures
    rows = torch.arange(lanes, device=seed.device).repeat_interleave(each)  # [B*N*P]
    spread = actions.repeat_interleave(futures, 1).flatten(0, 1)  # [B*N*P, H, A]

    def draw(t: int) -> Tensor:
        count = torch.full_like(seed, round_ * horizon + t)
        drawn = futures if config.common_noise else each
        numbers = noise.normal(seed, noise.IMAGINED, count, drawn * model.noise_dim)
        numbers = numbers.view(lanes, -1, drawn, model.noise_dim).expand(-1, each // drawn, -1, -1)
        return numbers.reshape(lanes * each, model.noise_dim)

    returns = imagined_return(model, gather(state, rows), spread.unbind(1), draw, config, value_fn)
    return returns.view(lanes, candidates, futures).mean(2)
