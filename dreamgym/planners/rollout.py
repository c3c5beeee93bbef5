"""What sequences of actions would earn in a dream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel
from dreamgym.core.tree import finite_lanes, gather
from dreamgym.planners.planner import PlannerConfig, ValueFn

NoiseFn = Callable[[int], Tensor]
"""The number of a step -> standard normals `[L, noise_dim]`."""

_NUMBERS = 2**17
"""Numbers that are drawn at once: more leave the processor's cache."""


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
    out = model.unroll(state, actions, noise_fn, config.temperature)
    alive = torch.cumprod(config.discount * (1 - out.termination), 0)  # [H, L] discount ** (t + 1) * survival
    total = out.reward[0] + (alive[:-1] * out.reward[1:]).sum(0)
    if value_fn is not None:
        total = total + alive[-1] * value_fn(model.features(out.state))
    return torch.where(finite_lanes(out.state), total, torch.nan)


class Luck:
    """The noise of imagined futures, step after step; what a lane meets depends on its own seed alone.

    Args:
        model: what is imagined with.
        seed: `[B]` int64.
        num_candidates: N, of each lane.
        num_futures: P, of each candidate.
        horizon: H, how many steps are looked at in turn.
        common: whether all candidates of a lane meet the same.
    """

    def __init__(
        self,
        model: WorldModel[Any],
        seed: Tensor,
        num_candidates: int,
        num_futures: int,
        horizon: int,
        common: bool = False,
    ) -> None:
        self._each, self._dim, self._seed = num_candidates * num_futures, model.noise_dim, seed
        self._drawn = num_futures if common else self._each
        self._steps = max(1, min(horizon, _NUMBERS // (len(seed) * self._each * max(1, self._dim))))
        self._count = torch.arange(self._steps, device=seed.device).repeat_interleave(len(seed))
        self._rows: list[Tensor] = []

    def next(self) -> Tensor:
        """Return the noise `[B * N * P, noise_dim]` of one more step."""
        if not self._rows:  # that of several steps is drawn at once
            shape = self._steps, len(self._seed), self._each // self._drawn, self._drawn, self._dim
            seed = self._seed.repeat(self._steps)
            numbers = noise.normal(seed, noise.IMAGINED, self._count, self._drawn * self._dim)
            numbers = numbers.view(*shape[:2], 1, *shape[3:]).expand(shape)
            self._rows = list(numbers.reshape(self._steps, len(self._seed) * self._each, self._dim).unbind())[::-1]
            self._count = self._count + self._steps
        return self._rows.pop()


def candidate_returns(
    model: WorldModel[Any],
    state: Any,
    actions: Tensor,
    noise_fn: NoiseFn,
    config: Any,
    value_fn: ValueFn | None = None,
) -> Tensor:
    """Return `[B, N]` the mean return of each candidate over its imagined futures, not finite if one of these is not.

    Args:
        model: what is imagined with.
        state: `B` lanes.
        actions: `[B, N, H, A]` model units.
        noise_fn: the noise of each step, of P futures of each candidate.
        config: P is its `num_futures`.
        value_fn: what is still to be earned after the last step.
    """
    lanes, candidates = actions.shape[:2]
    rows = torch.arange(lanes, device=actions.device).repeat_interleave(candidates * config.num_futures)  # [B*N*P]
    spread = actions.repeat_interleave(config.num_futures, 1).flatten(0, 1)  # [B*N*P, H, A]
    returns = imagined_return(model, gather(state, rows), spread.unbind(1), noise_fn, config, value_fn)
    return returns.view(lanes, candidates, -1).mean(2)
