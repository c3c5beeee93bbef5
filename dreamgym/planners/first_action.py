"""A planner that asks what each first action is worth on average, not what could be had at best: rollouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.planners.planner import Plan, Planner, PlannerConfig, ValueFn, check_counts, idle_actions
from dreamgym.planners.proposal import definite, uniform_actions
from dreamgym.planners.rollout import Luck, candidate_returns


@dataclass(frozen=True, kw_only=True)
class RolloutConfig(PlannerConfig):
    """How many sequences are tried."""

    num_candidates: int = 50
    """N, sequences of a plan, shared evenly among the first actions."""
    num_futures: int = 1
    """Imagined futures of each sequence, whose returns are averaged."""


class Rollout(Planner):
    """The first action whose random continuations earn most on average; all meet the same ones, with the same luck.

    Where the best of many sequences nearly always gets through, its first action says little: a pole that leans is
    saved by some of them whatever is done now. How many of the random ones get through tells which action leads away
    from danger. It is one step of policy improvement over random play.

    Discrete actions alone. The last plan is done where no return is finite, and serves for nothing else.

    Args:
        config: sizes and settings.
        value_fn: what is still to be earned beyond the horizon; nothing if None.

    Raises:
        InvalidArgument: if a setting cannot be meant.

    Source: Tesauro & Galperin 1996; Bertsekas, Tsitsiklis & Wu 1997, rollout algorithms, over a random policy.
    """

    config_class = RolloutConfig

    def __init__(self, config: RolloutConfig | None = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_counts(self.config, "num_candidates", "num_futures")

    @property
    def width(self) -> int:
        """How many lanes are imagined for each lane that is planned."""
        return int(self.config.num_candidates * self.config.num_futures)

    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        config, space, lanes = self.config, model.action_space, len(seed)
        if not isinstance(space, spaces.Discrete):
            raise UnsupportedSpace(
                f"Rollout compares Discrete actions; {type(model).__name__} acts in {space}. "
                "Plan with cem, mppi, gradient or random."
            )
        num, each = int(space.n), config.num_candidates // int(space.n)
        if each < 1:
            raise InvalidArgument(f"num_candidates is {config.num_candidates}; expected one for each of {num} actions.")
        shape = (each, config.horizon, 1)
        drawn = noise.normal(seed, noise.CANDIDATE, torch.zeros_like(seed), each * config.horizon)
        tails = uniform_actions(space, drawn.view(lanes, *shape))  # [B, K, H, A]
        actions = tails[:, None].repeat(1, num, 1, 1, 1)  # [B, A, K, H, A]
        actions[:, :, :, 0] = torch.eye(num, device=seed.device)[:, None]
        luck = Luck(model, seed, each, config.num_futures, config.horizon)

        def rows(t: int) -> Tensor:
            """Return `[B * A * K * P, noise_dim]`, the same for all first actions."""
            numbers = luck.next().unflatten(0, (lanes, 1, -1))
            return numbers.expand(-1, num, -1, -1).flatten(0, 2)

        returns = candidate_returns(model, state, actions.flatten(1, 2), rows, config, self.value_fn)
        returns = returns.view(lanes, num, each)
        usable = returns.isfinite()
        worth = returns.where(usable, 0).sum(2) / usable.sum(2)  # [B, A], NaN where nothing is finite
        finite, lane = usable.flatten(1).any(1), torch.arange(lanes, device=seed.device)
        first = worth.nan_to_num(-torch.inf).argmax(1)
        best = returns.masked_fill(~usable, -torch.inf)[lane, first].argmax(1)
        idle = idle_actions(space, lanes, config.horizon, seed.device)
        fallback = definite(space, idle if before is None else before)
        chosen = torch.where(finite[:, None, None], actions[lane, first, best], fallback)
        value = torch.where(finite, worth[lane, first], torch.nan)
        imagined = torch.full_like(seed, num * each * config.num_futures * config.horizon)
        return Plan(chosen, value, finite, imagined, {"worth": worth})
