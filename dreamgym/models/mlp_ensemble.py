"""An ensemble of perceptrons that dreams in the observations themselves, and knows where its members disagree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dreamgym.core.bootstrap import poisson_weights
from dreamgym.core.codec import action_dim
from dreamgym.core.model import Obs, SequenceBatch, StageConfig, Transition, Unrolled, WorldModel
from dreamgym.core.sampling import PerLane, sample_normal
from dreamgym.core.spaces import is_image
from dreamgym.errors import TrainingFailed, UnsupportedSpace
from dreamgym.models.folded import Folded, fold
from dreamgym.models.known import ENDINGS, GIVEN, REWARDS, KnownFn, known
from dreamgym.models.lanes_last import Dreamed, draw_members, dream, unroll
from dreamgym.models.layers import make_mlp, masked_mean
from dreamgym.models.mlp_ensemble_sizes import PRESETS, Config, check
from dreamgym.models.packed import Derived, plain_torch
from dreamgym.models.perceptrons import Perceptrons

__all__ = ["Config", "MlpEnsemble", "State"]

_ROUNDING = 1e-6
"""What varies by less than this share of its size is held for constant: float32 has seven digits."""


@dataclass(frozen=True)
class State:
    """One moment of a world that shows all of itself."""

    obs: Tensor
    """`[B, O]` the observation, flat, in standard deviations from the mean of the recorded ones."""
    member: Tensor
    """`[B]` int64, which of the elites dreamed it; -1 after something real, when none has been drawn."""


class MlpEnsemble(WorldModel[State], nn.Module):
    """Probabilistic perceptrons that predict how the observation changes, and what that earns.

    A member reads observation and action in standard deviations of the recorded ones; it predicts mean and log-variance
    of the change, in standard deviations of the recorded changes, and of the reward. The change is drawn, the reward is
    its mean. One more perceptron tells from the observation that is reached, and from what led there, whether the
    episode ends; inside of the members it would hardly learn beside a likelihood that has no upper bound. What never
    varied in the recordings stays as it was, be it a number, the reward, or that no episode ended.

    `info["disagreement"]` `[B]` is the root of the mean over the observation's numbers of the variance, over the
    elites, of the predicted mean changes, in standard deviations of the recorded changes: 0 where all members say the
    same, 1 where they differ by as much as the recorded changes do. Other papers take other measures of the same thing:
    MOPO the largest norm of a member's predicted standard deviations, MOReL the largest distance between two members'
    predictions. This one leaves out the noise that the members agree on.

    Args:
        config: sizes, losses, propagation.
        observation_space: vectors: a Box that is no picture, or a Dict of these.
        action_space: a Box or a Discrete.
        reward_fn: a known reward, as `models.known.KnownFn` takes its arguments. It cannot be saved; what the config
            names can.
        termination_fn: a known probability of an ending, likewise.

    Raises:
        UnsupportedSpace: if the model cannot see or act in such spaces.
        InvalidArgument: if the config names something that does not exist.

    Source: Chua et al. 2018 (PETS). Unlike there, rewards and endings are learned unless they are known; bootstraps are
    Poisson weights (Oza & Russell 2001); the likelihood is weighed as by Seitzer et al. 2022; elites are Janner et al.
    2019's (MBPO). The disagreement is Pathak et al. 2019's, as a root; MOPO is Yu et al. 2020, MOReL Kidambi et al.
    2020.
    """

    config_class: ClassVar[type[Config]] = Config
    presets: ClassVar[Mapping[str, Callable[[], Config]]] = PRESETS
    stages: Mapping[str, StageConfig] = {
        "ensemble": StageConfig(steps=5000, batch_size=256, sequence_length=1, ending_share=0.0),
    }
    elites: Tensor
    obs_mean: Tensor
    obs_std: Tensor
    action_mean: Tensor
    action_std: Tensor
    change_mean: Tensor
    change_std: Tensor
    reward_mean: Tensor
    reward_std: Tensor
    ending_mean: Tensor
    ending_std: Tensor

    def __init__(
        self,
        config: Config,
        observation_space: Space[Any],
        action_space: Space[Any],
        reward_fn: KnownFn | None = None,
        termination_fn: KnownFn | None = None,
    ) -> None:
        super().__init__()
        self._sizes = _sizes(observation_space)
        self.reward_fn = known("reward", config.reward, REWARDS, reward_fn)
        self.termination_fn = known("termination", config.termination, ENDINGS, termination_fn)
        given = {"reward": reward_fn, "termination": termination_fn}
        config = replace(config, **{name: GIVEN for name, fn in given.items() if fn is not None})  # type: ignore[arg-type]
        check(config)
        self.config, self.observation_space, self.action_space = config, observation_space, action_space
        obs, action = sum(self._sizes.values()), action_dim(action_space)
        self.noise_dim = (obs if config.probabilistic else 0) + 1  # the last one draws the member
        self.feature_dim = obs
        self._targets = obs + (self.reward_fn is None)  # M, numbers whose mean and variance are predicted
        self.net = Perceptrons(
            config.num_members,
            obs + action,
            self._targets * (2 if config.probabilistic else 1),
            hidden_dim=config.hidden_dim,
            layers=config.layers,
            activation=config.activation,
        )
        if self.termination_fn is None:
            self.ending = make_mlp(
                2 * obs + action,
                1,
                hidden_dim=config.hidden_dim,
                layers=config.termination_layers,
                norm="none",
                activation=config.activation,
            )
        if config.probabilistic:
            self.highest = nn.Parameter(torch.full((self._targets,), 0.5))
            self.lowest = nn.Parameter(torch.full((self._targets,), -10.0))
        self.register_buffer("elites", torch.arange(config.num_elites or config.num_members))
        for name, width in {"obs": obs, "action": action, "change": obs, "reward": 1, "ending": 1}.items():
            # float64, which is kept where weights are stored in half precision
            self.register_buffer(f"{name}_mean", torch.zeros(width, dtype=torch.float64))
            self.register_buffer(f"{name}_std", torch.ones(width, dtype=torch.float64))
        self._scales = Derived(_scales)
        pays, telling = self.reward_fn is None, self.termination_fn is None
        self._folded = Derived(partial(fold, config.probabilistic, config.layers + 1, self.net.unit, pays, telling))
        self._reports = len(self.elites) > 1

    def initial(self, batch_size: int) -> State:
        """Return the mean of the recorded observations: nothing is known yet."""
        obs = self.net.weights[0].new_zeros(batch_size, self.feature_dim)
        return State(obs, torch.full((batch_size,), -1, device=obs.device))

    def observe(self, state: State, action: Tensor, obs: Obs, is_first: Tensor, noise: Tensor | None = None) -> State:
        """Return the observation as it is; it does not say which member is right."""
        flat = self._standardise(obs)
        return State(flat, torch.full((len(flat),), -1, device=flat.device))

    def step(
        self, state: State, action: Tensor, noise: Tensor | None = None, temperature: PerLane = 1.0
    ) -> Transition[State]:
        """Return what one of the elites, drawn by the last number of `noise`, holds to happen next."""
        if noise is None:
            noise = torch.randn(len(state.obs), self.noise_dim, device=state.obs.device)
        quick = self._is_quick(state)
        member = (draw_members if quick else _draw_members)(noise[:, -1], len(self.elites))
        if self.config.propagation == "tsinf":
            member = torch.where(state.member < 0, member, state.member)
        dreamed = (self._dream_quickly if quick else self._dream)(state.obs, action, member, noise, temperature)
        after, reward, termination = State(dreamed.obs, member), dreamed.reward, dreamed.ending
        if self.reward_fn is not None:
            reward = self.reward_fn(self.decode(state), action, self.decode(after))
        if self.termination_fn is not None:
            termination = self.termination_fn(self.decode(state), action, self.decode(after))
        assert reward is not None
        if not (quick and math.isfinite(after.obs.sum())):
            # 0, or not a number where the state has left the finite ones: neither a saturated layer nor a known
            # function, which look at some of it, may hide that from a planner
            nothing = 0 * after.obs.sum(1)
            reward, termination = reward + nothing, termination + nothing
        info = {} if dreamed.disagreement is None else {"disagreement": dreamed.disagreement}
        return Transition(after, reward, termination, info)

    def without_info(self) -> MlpEnsemble:
        """Return the same model, weights and all, that reports nothing: then nobody asks members that dream no lane."""
        quiet = copy(self)
        quiet._reports = False
        return quiet

    def _dream(self, obs: Tensor, action: Tensor, member: Tensor, noise: Tensor, temperature: PerLane) -> Dreamed:
        """Return what follows observations `[B, O]` when members `[B]` dream, as autograd and the compiler like it."""
        move, shift, gain, mean, std, share, ends = self._scale()
        num, obs_dim = len(self.elites), self.feature_dim
        now = torch.cat([obs, action * move[1] - move[0]], 1)  # [B, O + A]
        out = self.net(now, self._dreaming())  # [E, B, ...]
        chosen = out[0] if num == 1 else out[member, torch.arange(len(member), device=member.device)]  # [B, ...]
        change, reward = chosen[:, :obs_dim], None
        if self.config.probabilistic:
            scale = (0.5 * self._log_variance(chosen)[:, :obs_dim]).exp()
            change = sample_normal(change, scale, noise[:, :-1], temperature)
        after = obs + torch.addcmul(shift, change, gain)
        if self.reward_fn is None:
            reward = mean + std * chosen[:, obs_dim]
        ending = share.expand(len(obs))
        if self.termination_fn is None:
            ending = torch.where(ends > 0, self.ending(torch.cat([now, after], 1))[:, 0].sigmoid(), share)
        return Dreamed(after, reward, ending, _spread(out[..., :obs_dim], gain > 0) if self._reports else None)

    def _dream_quickly(
        self, obs: Tensor, action: Tensor, member: Tensor, noise: Tensor, temperature: PerLane
    ) -> Dreamed:
        """Return the same within rounding, on a processor and without gradients."""
        return dream(self._constants(), self.net.in_place, obs, action, member, noise, temperature, self._reports)

    def unroll(
        self,
        state: State,
        actions: Sequence[Tensor],
        noise_fn: Callable[[int], Tensor],
        temperature: PerLane = 1.0,
    ) -> Unrolled[State]:
        """Return what so many steps do; on a processor and without gradients most of them is done for all at once."""
        if not self._is_quick(state):
            return super().unroll(state, actions, noise_fn, temperature)
        luck = torch.stack([noise_fn(t) for t in range(len(actions))])  # [H, B, noise_dim]
        members = draw_members(luck[:, :, -1], len(self.elites))  # [H, B]
        if self.config.propagation == "tsinf":
            members = torch.where(state.member < 0, members[0], state.member).expand_as(members).contiguous()
        done = torch.stack(list(actions))  # [H, B, A]
        found = unroll(self._constants(), self.net.in_place, state.obs, done, members, luck, temperature)
        reward, termination, last = found.reward, found.ending, State(found.obs[:, -1].t().contiguous(), members[-1])
        if self.reward_fn is not None or self.termination_fn is not None:
            flat = found.obs.permute(1, 2, 0)  # [H + 1, B, O]
            before, after = (self.decode(State(x.flatten(0, 1), members.flatten())) for x in (flat[:-1], flat[1:]))
            if self.reward_fn is not None:
                reward = self.reward_fn(before, done.flatten(0, 1), after).view_as(termination)
            if self.termination_fn is not None:
                termination = self.termination_fn(before, done.flatten(0, 1), after).view_as(termination)
        assert reward is not None
        return Unrolled(reward, termination, last)

    def _is_quick(self, state: State) -> bool:
        """Return whether a step may be computed with the lanes last."""
        return state.obs.is_cpu and self.net.precision == "fp32" and not plain_torch()

    def _constants(self) -> Folded:
        """Return what `fold` makes of the weights, all of which it is given, in the order of their registration."""
        # what __getattr__ of a module does would take as long as a product
        net, ending = self._modules["net"]._modules, self._modules.get("ending")  # type: ignore[union-attr]
        parts = [self, net["weights"], net["biases"], *(ending._modules.values() if ending else ())]
        weights = [weight for part in parts for weight in part._parameters.values()]  # type: ignore[union-attr]
        return self._folded(torch.float32, *self._buffers.values(), *weights)  # type: ignore[arg-type]

    def features(self, state: State) -> Tensor:
        """Return `[B, F]`, the observation, flat."""
        return state.obs.clone() if self.config.features == "standardised" else self._raw(state)

    def decode(self, state: State) -> Obs:
        """Return the observation that the state is."""
        raw = self._raw(state)
        if not isinstance(self.observation_space, spaces.Dict):
            return raw
        return dict(zip(self._sizes, raw.split(list(self._sizes.values()), 1), strict=True))

    def stage_parameters(self, stage: str) -> Iterable[nn.Parameter]:
        """Return all weights."""
        return self.parameters()

    @torch.no_grad()
    def begin_stage(self, stage: str, batches: Iterator[SequenceBatch]) -> None:
        """Take means and standard deviations from the recordings, and all members for as good as each other."""
        parts: dict[str, list[Tensor]] = {"obs": [], "action": [], "change": [], "reward": [], "ending": []}
        for batch in batches:
            obs, real = self._flatten(batch.obs), batch.mask > 0  # [B, T + 1, O]
            earned, ended = batch.reward[..., None], batch.terminated[..., None]
            values = (obs[:, :-1], batch.action, obs[:, 1:] - obs[:, :-1], earned, ended)
            for part, value in zip(parts.values(), values, strict=True):
                part.append(value[real])
        columns = {name: torch.cat(part).double() for name, part in parts.items()}
        size = {name: x.square().mean(0).sqrt() for name, x in columns.items()}
        size["change"] = torch.maximum(size["obs"], size["change"])  # of which it is a difference
        for name, x in columns.items():
            std = x.std(0, unbiased=False)
            getattr(self, f"{name}_mean").copy_(x.mean(0))
            getattr(self, f"{name}_std").copy_(torch.where(std > _ROUNDING * size[name], std, 0))
        self.elites.copy_(torch.arange(len(self.elites)))

    @torch.no_grad()
    def end_stage(self, stage: str, batches: Iterator[SequenceBatch]) -> None:
        """Take the members with the lowest loss on held-out transitions for elites; what is not finite ranks last.

        Raises:
            TrainingFailed: if too few members have a finite loss.
        """
        total = sum((self._errors(batch) * batch.mask.flatten()).double().sum(1) for batch in batches)  # [N]
        assert isinstance(total, Tensor)
        losses = torch.where(total.isfinite(), total, torch.inf)
        best = losses.argsort()[: len(self.elites)]
        if not losses[best].isfinite().all():
            raise TrainingFailed(
                f"the members' losses on held-out episodes are {total.tolist()}; expected at least {len(best)} finite "
                "ones. Lower learning_rate or grad_clip of the stage and begin it anew with resume=False."
            )
        self.elites.copy_(best.sort().values)

    @torch.no_grad()
    def stage_inputs(self, obs: Obs, stage: str) -> Tensor | None:
        """Return the observations `[B, O]`, flat and in standard deviations."""
        return self._standardise(obs)

    def loss(self, batch: SequenceBatch, stage: str) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, a mean over the members, and its terms.

        They are `likelihood`, or `error` without variances: mean over the predicted numbers of variance^beta_nll times
        (e^2 / variance + log-variance), or of e^2; `termination`, the cross-entropy; `bounds` and `decay`. What weighs
        the likelihood has no gradient.
        """
        now, mask = self._read(batch), batch.mask.flatten()
        weighed = self._bootstrap(batch) * self._errors(batch, self.config.beta_nll)  # [N, R]
        name = "likelihood" if self.config.probabilistic else "error"
        terms = {name: masked_mean(weighed, mask.expand_as(weighed))}
        if self.termination_fn is None:
            assert isinstance(batch.obs, Tensor)
            logits = self.ending(torch.cat([now, batch.obs[:, 1:].flatten(0, 1)], 1))[:, 0]
            surprise = nn.functional.binary_cross_entropy_with_logits(
                logits, batch.terminated.flatten(), reduction="none"
            )
            terms["termination"] = self.config.termination_weight * masked_mean(surprise, mask)
        if self.config.probabilistic:
            terms["bounds"] = self.config.bound_weight * (self.highest.sum() - self.lowest.sum())
        squares = torch.stack([weight.square().sum() for weight in self.net.weights]).sum()
        terms["decay"] = 0.5 * self.config.weight_decay * squares / self.config.num_members
        return torch.stack(list(terms.values())).sum(), {name: term.detach() for name, term in terms.items()}

    def _read(self, batch: SequenceBatch) -> Tensor:
        """Return `[R, O + A]` what the members read of the R = B * T transitions of a batch."""
        assert isinstance(batch.obs, Tensor)
        move, *_ = self._scale()
        return torch.cat([batch.obs[:, :-1], batch.action * move[1] - move[0]], 2).flatten(0, 1)

    def _errors(self, batch: SequenceBatch, beta: float = 0.0) -> Tensor:
        """Return `[N, R]` each member's squared error of each transition, or what its likelihood makes of that."""
        _, shift, gain, mean, std, *_ = self._scale()
        obs = batch.obs
        assert isinstance(obs, Tensor)
        target = _divide((obs[:, 1:] - obs[:, :-1]).flatten(0, 1) - shift, gain)  # [R, O]
        if self.reward_fn is None:
            target = torch.cat([target, _divide(batch.reward.flatten()[:, None] - mean, std)], 1)  # [R, M]
        out = self.net(self._read(batch))  # [N, R, ...]
        error = (out[..., : self._targets] - target).square()
        if self.config.probabilistic:
            log_variance = self._log_variance(out)
            error = (error * (-log_variance).exp() + log_variance) * (beta * log_variance.detach()).exp()
        return error.mean(-1)

    def _bootstrap(self, batch: SequenceBatch) -> Tensor:
        """Return `[N, R]` how much each transition counts for each member."""
        config, obs = self.config, batch.obs
        assert isinstance(obs, Tensor)
        if not (self.training and config.bootstrap) or config.num_members == 1:
            return batch.reward.new_ones(1, 1)
        rows = torch.cat([obs[:, :-1], batch.action, obs[:, 1:], batch.reward[..., None]], 2)
        return poisson_weights(rows.flatten(0, 1), config.num_members)

    def _log_variance(self, out: Tensor) -> Tensor:
        """Return `[..., M]` the log-variances in outputs `[..., 2M]`, softly between the learned bounds."""
        raw = out[..., self._targets :]
        raw = self.highest - nn.functional.softplus(self.highest - raw)
        return self.lowest + nn.functional.softplus(raw - self.lowest)

    def _dreaming(self) -> Tensor | None:
        return None if len(self.elites) == self.config.num_members else self.elites

    def _scale(self) -> tuple[Tensor, ...]:
        """Return what `_scales` makes of the recordings' statistics."""
        buffers = (
            self.obs_std, self.action_mean, self.action_std, self.change_mean, self.change_std,
            self.reward_mean, self.reward_std, self.ending_mean, self.ending_std,
        )  # fmt: skip
        return _scales(torch.float32, *buffers) if plain_torch() else self._scales(torch.float32, *buffers)

    def _flatten(self, obs: Obs) -> Tensor:
        """Return observations `[..., O]` in model units, the parts of a Dict side by side."""
        return torch.cat([obs[name] for name in self._sizes], -1) if isinstance(obs, dict) else obs

    def _standardise(self, obs: Obs) -> Tensor:
        return ((self._flatten(obs) - self.obs_mean) / _or_one(self.obs_std)).float()  # in float64, then rounded once

    def _raw(self, state: State) -> Tensor:
        return (self.obs_mean + _or_one(self.obs_std) * state.obs).float()


def _scales(dtype: torch.dtype, *statistics: Tensor) -> tuple[Tensor, ...]:
    """Return what a step computes with, in float32.

    They are `[2, A]` shift and gain of an action; `[O]` shift and gain that turn a predicted change into one of the
    standardised observation; mean and standard deviation of the reward and of endings.
    """
    obs_std, action_mean, action_std, change_mean, change_std, *outcomes = statistics
    action_std, obs_std = _or_one(action_std), _or_one(obs_std)
    move = torch.stack([action_mean / action_std, 1 / action_std])
    scales = (move, change_mean / obs_std, change_std / obs_std, *outcomes)
    return tuple(x.to(dtype) for x in scales)


def _or_one(std: Tensor) -> Tensor:
    return torch.where(std > 0, std, 1)


def _divide(x: Tensor, std: Tensor) -> Tensor:
    """Return `x / std`, and 0 where nothing varies: only rounding is left there."""
    return torch.where(std > 0, x / _or_one(std), 0)


def _draw_members(noise: Tensor, num: int) -> Tensor:
    """Return `[B]` int64, members that standard normals `[B]` draw."""
    return (torch.special.ndtr(noise) * num).long().clamp(0, num - 1)


def _spread(mean: Tensor, varies: Tensor) -> Tensor:
    """Return `[B]` the root of the mean over numbers of the variance over members of `mean [E, B, O]`.

    Numbers that do not vary, as `varies [O]` says, count as 0: what a network says of them is not used either.
    """
    variance = (mean - mean.mean(0)).square().mean(0)  # [B, O]; torch's own takes seven times as long over a first axis
    return (variance * varies).mean(1).sqrt()


def _sizes(space: Space[Any]) -> dict[str, int]:
    """Return the widths of the parts of an observation; one that is no Dict has one part."""
    found = dict(space.items()) if isinstance(space, spaces.Dict) else {"": space}
    for part in found.values():
        if not isinstance(part, spaces.Box) or is_image(part):
            what = "pictures are" if is_image(part) else f"observation space {part} is"
            raise UnsupportedSpace(
                f"{what} not supported by mlp_ensemble, which reads vectors; expected a Box of numbers or a Dict of "
                "such. Train another family, e.g. rssm."
            )
    return {name: math.prod(part.shape or ()) for name, part in found.items()}
