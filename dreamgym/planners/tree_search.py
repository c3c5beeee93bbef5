"""A planner that grows a tree of what could be done next: Monte Carlo tree search with PUCT, for Discrete actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel, check_heads
from dreamgym.core.sampling import sample_categorical
from dreamgym.core.tree import finite_lanes, gather
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.planners.planner import Plan, Planner, PlannerConfig, ValueFn, check_counts, check_positive, idle_actions
from dreamgym.planners.tree import ROOT, Trees

PriorFn = Callable[[Tensor], Tensor]
"""Features `[B, F]` -> logits `[B, A]`, which actions are likely to be good."""


@dataclass(frozen=True, kw_only=True)
class TreeConfig(PlannerConfig):
    """How large the trees grow."""

    num_simulations: int = 64
    """S, descents of each tree; each adds a node at most."""
    num_trees: int = 1
    """K, trees of a lane, each with luck of its own; their roots' visits are added."""
    num_rollouts: int = 4
    """Random futures of a new node whose mean return is its value; a value function takes their place."""
    c_init: float = 1.25
    """How much the prior counts beside what was found."""
    c_base: float = 19652.0
    """Visits after which it counts noticeably more."""
    trust: float = 0.5
    """Share of the prior that goes to what the last plan would do at this depth, in [0, 1]."""


class TreeSearch(Planner):
    """Monte Carlo tree search: the action that was visited most is done.

    In a stochastic model each tree has fixed luck: all actions that are tried `d` steps after the root meet the same
    noise, drawn once, so that what follows an action is the same at each visit and siblings are compared fairly. A tree
    may thus count on its luck; several trees (`num_trees`) average over it. Rollouts have fresh noise.

    An action that leads to what is not finite is never chosen again, and a situation that leaves no other action
    neither; rollouts that do are left out of the mean of their node.

    Args:
        config: sizes and settings.
        value_fn: what is still to be earned from a state on; random rollouts to the horizon if None.
        prior_fn: which actions are tried first, in rollouts too; all alike if None.

    Raises:
        InvalidArgument: if a setting cannot be meant.

    Source: Schrittwieser et al. 2020 (MuZero), appendix B, without noise at the root.
    """

    config_class = TreeConfig

    def __init__(
        self, config: TreeConfig | None = None, value_fn: ValueFn | None = None, prior_fn: PriorFn | None = None
    ) -> None:
        super().__init__(config, value_fn)
        self.prior_fn = prior_fn
        check_counts(self.config, "num_simulations", "num_trees", "num_rollouts")
        check_positive(self.config, "c_init", "c_base")
        if not 0 <= self.config.trust <= 1:
            raise InvalidArgument(f"trust is {self.config.trust}; expected a number in [0, 1].")

    @property
    def width(self) -> int:
        """How many lanes are imagined for each lane that is planned."""
        return int(self.config.num_trees * max(1, self.config.num_rollouts if self.value_fn is None else 1))

    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        config, space = self.config, model.action_space
        if not isinstance(space, spaces.Discrete):
            raise UnsupportedSpace(
                f"TreeSearch chooses among Discrete actions; {type(model).__name__} acts in {space}. "
                "Plan with cem, mppi, gradient or random."
            )
        idle = idle_actions(space, len(seed), config.horizon, seed.device)
        before = idle if before is None else before
        search = _Search(self, model, state, seed, before)
        for i in range(config.num_simulations):
            search.simulate(i)
        visits, worth = search.result()  # [B, A]
        finite = visits.sum(1) > 0
        best = (visits == visits.amax(1, keepdim=True)) & (visits > 0)  # of those visited alike, the most worth
        first = torch.where(finite, worth.masked_fill(~best, -torch.inf).argmax(1), before[:, 0].argmax(1))
        actions = torch.where(finite[:, None, None], search.path(first), before)
        value = torch.where(finite, search.value(), torch.nan)
        return Plan(actions, value, finite, search.imagined(), {"visits": visits, "worth": worth})


class _Search:
    """One search; the lanes `L` of its tensors are the `B * K` trees."""

    def __init__(self, planner: TreeSearch, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor) -> None:
        self.planner, self.model, self.config = planner, model, planner.config
        trees, horizon = self.config.num_trees, self.config.horizon
        rows = torch.arange(len(seed), device=seed.device).repeat_interleave(trees)
        self._before = before[rows]  # [L, H, A]
        self._seed = noise.fold(seed[rows], noise.CANDIDATE, torch.arange(trees, device=seed.device).repeat(len(seed)))
        self._lane = torch.arange(len(rows), device=seed.device)
        self._luck = torch.stack([self._noise(t, 1) for t in range(horizon)], 1)  # [L, H, noise_dim]
        self._steps = torch.zeros_like(self._seed)
        state, root = gather(state, rows), torch.full_like(self._seed, ROOT)
        self.trees = Trees(state, self._prior(state, self._lane, root), self.config.num_simulations + 1)
        value = self._value(state, torch.zeros_like(root), horizon)
        self.trees.update(value.isfinite(), root, value)

    def simulate(self, i: int) -> None:
        """Descend, try what is new there, and tell those above of it."""
        config, trees = self.config, self.trees
        at = trees.descend(config.horizon, config.c_init, config.c_base)
        trees.update(~at.grows & (at.depth > 0), at.node, trees.value[self._lane, at.node])  # at the horizon
        if not bool(at.grows.any()):
            return
        action = torch.nn.functional.one_hot(at.action, self._before.shape[2]).float()
        luck = self._luck[self._lane, at.depth.clamp(max=config.horizon - 1)]
        out = check_heads(self.model, self.model.step(trees.state_of(at.node), action, luck, config.temperature))
        self._steps += at.grows
        value = self._value(out.state, at.depth + 1, (i + 2) * config.horizon, at.grows)
        numbers = {"state": out.state, "reward": out.reward, "termination": out.termination, "value": value}
        sound = finite_lanes(numbers)
        prior = self._prior(out.state, self._lane, at.depth + 1)
        trees.grow(at.grows & sound, at, i + 1, out.state, out.reward, config.discount * (1 - out.termination), prior)
        trees.update(at.grows & sound, torch.full_like(at.node, i + 1), value)
        trees.bar(at.grows & ~sound, at)

    def result(self) -> tuple[Tensor, Tensor]:
        """Return visits and worth of what can be done now, `[B, A]` each, over all trees of a lane."""
        root = torch.full_like(self._lane, ROOT)
        visits, (_, worth) = self.trees.usable_visits(root), self.trees.children(root)
        total = self._of_lanes(visits).sum(1)
        return total, self._of_lanes(visits * worth.nan_to_num(0.0)).sum(1) / total  # NaN where never tried

    def value(self) -> Tensor:
        """Return `[B]` the mean return from the roots on."""
        visits, value = (self._of_lanes(x[:, ROOT]) for x in (self.trees.visits, self.trees.value))
        return (visits * value).sum(1) / visits.sum(1)

    def path(self, first: Tensor) -> Tensor:
        """Return `[B, H, A]` what the trees would do after `first [B]`; what they do not know is spread evenly."""
        known = self._of_lanes(self.trees.path(first.repeat_interleave(self.config.num_trees), self.config.horizon))
        shares = known.mean(1)  # [B, H, A]
        return shares + (1 - shares.sum(2, keepdim=True)) / shares.shape[2]

    def imagined(self) -> Tensor:
        """Return `[B]` how many steps of the model all trees of a lane took."""
        return self._of_lanes(self._steps).sum(1)

    def _value(self, state: Any, depth: Tensor, count: int, counts: Tensor | None = None) -> Tensor:
        """Return `[L]` what is still to be earned from states at some depths `[L]`, NaN where that is not finite."""
        if self.planner.value_fn is not None:
            return self.planner.value_fn(self.model.features(state))
        config, rollouts = self.config, self.config.num_rollouts
        lane = self._lane.repeat_interleave(rollouts)  # [L * R]
        state, depth = gather(state, lane), depth[lane]
        left = config.horizon - depth
        total = torch.zeros(len(lane), device=lane.device)
        weight = torch.ones_like(total)
        for k in range(int(left.max())):
            draw = noise.normal(self._seed, noise.CANDIDATE, torch.full_like(self._seed, count + k), rollouts)
            prior = self._prior(state, lane, depth + k)
            action = sample_categorical(prior.log()[:, None], draw.view(-1, 1))[:, 0]  # [L * R, A]
            out = self.model.step(state, action, self._noise(count + k, rollouts), config.temperature)
            out, on = check_heads(self.model, out), k < left
            state = out.state
            earned = torch.where(finite_lanes(state), weight * out.reward, torch.nan)
            total = torch.where(on, total + earned, total)
            weight = torch.where(on, config.discount * weight * (1 - out.termination), weight)
        self._steps += rollouts * left.view(-1, rollouts)[:, 0].clamp(min=0) * (1 if counts is None else counts)
        total, sound = total.view(-1, rollouts), total.view(-1, rollouts).isfinite()
        return total.masked_fill(~sound, 0).sum(1) / sound.sum(1)  # NaN where none is finite

    def _prior(self, state: Any, lane: Tensor, depth: Tensor) -> Tensor:
        """Return `[..., A]` how likely each action is held to be good: by the prior, and by the last plan."""
        last = self._before[lane, depth.clamp(max=self.config.horizon - 1)]
        trusted = torch.lerp(torch.full_like(last, 1 / last.shape[1]), last, self.config.trust)
        if self.planner.prior_fn is None:
            return trusted
        prior = trusted * self.planner.prior_fn(self.model.features(state)).softmax(1)
        return prior / prior.sum(1, keepdim=True)

    def _noise(self, count: int, each: int) -> Tensor:
        """Return standard normals `[L * each, noise_dim]`."""
        counts, width = torch.full_like(self._seed, count), self.model.noise_dim
        return noise.normal(self._seed, noise.IMAGINED, counts, each * width).reshape(len(counts) * each, width)

    def _of_lanes(self, x: Tensor) -> Tensor:
        """Return `[B, K, ...]` of `[L, ...]`."""
        return x.unflatten(0, (-1, self.config.num_trees))
