"""Planners that try many sequences of actions: random shooting, the cross-entropy method, and path integrals (MPPI)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dreamgym.core import noise
from dreamgym.core.model import WorldModel
from dreamgym.errors import InvalidArgument
from dreamgym.planners.planner import Plan, Planner, PlannerConfig, ValueFn, check_counts, check_positive, idle_actions
from dreamgym.planners.proposal import Gaussian, Proposal, definite, first_proposal, numbers_each, uniform_actions
from dreamgym.planners.rollout import Luck, candidate_returns

_ALIKE = 1e-5
"""Returns that differ by less than this share of their size differ by rounding alone."""
_LEAST = 1e-30


@dataclass(frozen=True, kw_only=True)
class ShootingConfig(PlannerConfig):
    """How many sequences are tried, and how."""

    num_candidates: int = 400
    """N, sequences of a round."""
    num_futures: int = 1
    """Imagined futures of each candidate, whose returns are averaged."""
    common_noise: bool = False
    """Let all candidates of a round meet the same luck: their order is less noisy, but a plan may count on it."""


@dataclass(frozen=True, kw_only=True)
class CemConfig(ShootingConfig):
    """The sizes of PETS; `planet` has PlaNet's."""

    num_iterations: int = 5
    """Rounds."""
    num_elites: int = 40
    """Candidates of a round that the next round's are drawn like."""
    std: float = 1.0
    """First standard deviation of a Box action, in half ranges."""
    trust: float = 0.5
    """Of a Discrete action: how likely, beyond chance, the first candidates do what the last plan would, in [0, 1]."""
    smoothing: float = 0.05
    """Of a Discrete action: share of the probability that always stays spread evenly, in [0, 1]."""


def planet() -> CemConfig:
    """Return the sizes of PlaNet: 12 steps ahead, 10 rounds of 1000 candidates, 100 elites."""
    return CemConfig(horizon=12, num_iterations=10, num_candidates=1000, num_elites=100)


@dataclass(frozen=True, kw_only=True)
class MppiConfig(ShootingConfig):
    """How sharply better sequences are preferred."""

    num_iterations: int = 1
    """Rounds."""
    std: float = 1.0
    """Standard deviation of a Box action in every round, in half ranges."""
    softness: float = 1.0
    """Lambda, in standard deviations of the returns of a round: a return this much lower counts e times less."""
    trust: float = 0.5
    """Of a Discrete action: how likely, beyond chance, the first candidates do what the last plan would, in [0, 1]."""
    smoothing: float = 0.05
    """Of a Discrete action: share of the probability that always stays spread evenly, in [0, 1]."""


class _Shooting(Planner):
    """What all of them check and count."""

    def __init__(self, config: Any = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_counts(self.config, "num_candidates", "num_futures")

    @property
    def width(self) -> int:
        """How many lanes are imagined for each lane that is planned."""
        return int(self.config.num_candidates * self.config.num_futures)

    def _numbers(self, model: WorldModel[Any], seed: Tensor, round_: int) -> Tensor:
        """Return the standard normals `[B, N, H, ...]` that draw the candidates of a round."""
        shape = (self.config.num_candidates, self.config.horizon, numbers_each(model.action_space))
        drawn = noise.normal(seed, noise.CANDIDATE, torch.full_like(seed, round_), shape[0] * shape[1] * shape[2])
        return drawn.view(len(seed), *shape)


class RandomShooting(_Shooting):
    """The best of many random sequences; the last plan is one of them.

    Source: Nagabandi et al. 2018, section IV.B.
    """

    config_class = ShootingConfig

    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        config, space = self.config, model.action_space
        actions = uniform_actions(space, self._numbers(model, seed, 0))  # [B, N, H, A]
        idle = idle_actions(space, len(seed), config.horizon, seed.device)
        fallback = definite(space, idle if before is None else before)
        if before is not None:
            actions[:, 0] = fallback
        luck = Luck(model, seed, config.num_candidates, config.num_futures, config.horizon, config.common_noise)
        returns = candidate_returns(model, state, actions, lambda t: luck.next(), config, self.value_fn)  # [B, N]
        usable = returns.isfinite()
        best = returns.masked_fill(~usable, -torch.inf).argmax(1)
        lane, finite = torch.arange(len(seed), device=seed.device), usable.any(1)
        value = torch.where(finite, returns[lane, best], torch.nan)
        chosen = torch.where(finite[:, None, None], actions[lane, best], fallback)
        return Plan(chosen, value, finite, torch.full_like(seed, self.width * config.horizon))


class _Refined(_Shooting):
    """Rounds of candidates, each drawn like the better ones of the round before."""

    def __init__(self, config: Any = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_counts(self.config, "num_iterations")
        check_positive(self.config, "std")
        for name in ("trust", "smoothing"):
            if not 0 <= getattr(self.config, name) <= 1:
                raise InvalidArgument(f"{name} is {getattr(self.config, name)}; expected a number in [0, 1].")

    @abstractmethod
    def _weight(self, returns: Tensor) -> Tensor:
        """Return how much each candidate counts, `[B, N]`, by its return, which is -inf where it must not count."""

    def _refit(self, proposal: Proposal, actions: Tensor, weight: Tensor) -> Proposal:
        """Return where the next round looks."""
        return proposal.refit(actions, weight)

    def _plan(self, model: WorldModel[Any], state: Any, seed: Tensor, before: Tensor | None) -> Plan:
        config = self.config
        proposal = first_proposal(
            model.action_space, seed, config.horizon, before, config.std, config.trust, config.smoothing
        )
        luck = Luck(model, seed, config.num_candidates, config.num_futures, config.horizon, config.common_noise)
        finite = torch.zeros_like(seed, dtype=torch.bool)
        value = torch.full(seed.shape, torch.nan, device=seed.device)
        for i in range(config.num_iterations):
            actions = proposal.sample(self._numbers(model, seed, i))  # [B, N, H, A]
            if i > 0 or before is not None:
                actions[:, 0] = proposal.mode  # what is believed to be best is tried, too
            returns = candidate_returns(model, state, actions, lambda t: luck.next(), config, self.value_fn)  # [B, N]
            usable = returns.isfinite()
            weight = self._weight(returns.masked_fill(~usable, -torch.inf)) * usable
            proposal = self._refit(proposal, actions, weight)
            mean = (weight * returns.masked_fill(~usable, 0)).sum(1) / weight.sum(1)  # [B], NaN if none is usable
            value, finite = torch.where(usable.any(1), mean, value), finite | usable.any(1)
        imagined = torch.full_like(seed, config.num_iterations * self.width * config.horizon)
        return Plan(proposal.mode, value, finite, imagined, {})


class Cem(_Refined):
    """The cross-entropy method: the elites of each round say where the next round looks; the last ones' mean is done.

    Source: Hafner et al. 2019 (PlaNet), algorithm 2; Chua et al. 2018 (PETS). From the second round on the mean itself
    is among the candidates. Discrete actions, which neither has, are drawn with the frequencies of the elites.
    """

    config_class = CemConfig

    def __init__(self, config: CemConfig | None = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_counts(self.config, "num_elites")
        elites, candidates = self.config.num_elites, self.config.num_candidates
        if elites > candidates:
            raise InvalidArgument(f"num_elites is {elites}; expected at most the {candidates} of num_candidates.")

    def _weight(self, returns: Tensor) -> Tensor:
        elites = returns.topk(self.config.num_elites, dim=1, sorted=False).indices
        return torch.zeros_like(returns).scatter_(1, elites, 1)


class Mppi(_Refined):
    """Model predictive path integrals: candidates count by the exponential of their return; their mean is done.

    Source: Williams et al. 2017 (information theoretic MPC), algorithm 2, without its price of control, which is the
    reward's business here, and with a lambda that goes with the spread of the returns. Discrete actions are drawn with
    their weighted frequencies.
    """

    config_class = MppiConfig

    def __init__(self, config: MppiConfig | None = None, value_fn: ValueFn | None = None) -> None:
        super().__init__(config, value_fn)
        check_positive(self.config, "softness")

    def _weight(self, returns: Tensor) -> Tensor:
        usable = returns.isfinite()
        count = usable.sum(1, keepdim=True)
        mean = returns.where(usable, 0).sum(1, keepdim=True) / count
        spread = ((returns - mean).where(usable, 0).square().sum(1, keepdim=True) / count).sqrt()
        # where all returns are alike but for rounding, all count alike
        unit = self.config.softness * torch.maximum(spread, _ALIKE * mean.abs()) + _LEAST
        return ((returns - returns.amax(1, keepdim=True)) / unit).exp().nan_to_num(0)  # 0 / 0 where none is usable

    def _refit(self, proposal: Proposal, actions: Tensor, weight: Tensor) -> Proposal:
        fitted = proposal.refit(actions, weight)
        if isinstance(proposal, Gaussian) and isinstance(fitted, Gaussian):
            return replace(fitted, std=proposal.std)
        return fitted
