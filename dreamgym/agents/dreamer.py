"""Dreamer's agent: an actor and a critic that learn from imagined rollouts of any world model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from gymnasium import Space, spaces
from torch import Tensor, nn

from dreamgym.agents.dreamer_config import DreamerConfig
from dreamgym.agents.heads import make_head
from dreamgym.core.imagine import Imagined, imagine
from dreamgym.core.kept import Kept
from dreamgym.core.model import WorldModel
from dreamgym.core.optimizer import ClippedAdam
from dreamgym.core.perceptron import make_perceptron
from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.core.returns import lambda_returns, return_scale, update_range
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import branch, named_leaves
from dreamgym.core.two_hot import NUM_BINS, two_hot_loss, two_hot_mean
from dreamgym.errors import InvalidArgument, InvalidModel

CRITICS = ("two_hot", "squared")


class Dreamer(nn.Module):
    """An actor-critic that sees a world model's features; `state_dict` holds all that it has learned.

    Args:
        config: which Dreamer.
        feature_dim: F, of the world model.
        action_space: of the env.

    Raises:
        UnsupportedSpace: if the actions are neither Discrete nor a bounded Box.
        InvalidArgument: if the config names something that does not exist.

    Source: Hafner et al. 2020, 2021, 2023 (Dreamer V1, V2, V3); the differences between them are in the config.
    """

    ends: Tensor
    num_updates: Tensor

    def __init__(self, config: DreamerConfig, feature_dim: int, action_space: Space[Any]) -> None:
        super().__init__()
        if config.critic not in CRITICS:
            raise InvalidArgument(f"critic is {config.critic!r}; expected one of {', '.join(map(repr, CRITICS))}.")
        self.config, self.feature_dim, self.action_space = config, feature_dim, action_space
        self.head = make_head(
            action_space, distribution=config.distribution, unimix=config.unimix, min_std=config.min_std,
            max_std=config.max_std, init_std=config.init_std,
        )  # fmt: skip
        style = (config.hidden, config.activation, config.norm)
        self.actor = make_perceptron(feature_dim, self.head.num_outputs, *style)
        self.critic = make_perceptron(feature_dim, NUM_BINS if config.critic == "two_hot" else 1, *style)
        _scale_last(self.actor, 0.01)  # first all actions are about as likely
        _scale_last(self.critic, 0.0)  # and nothing is worth anything
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("ends", torch.full((2,), math.nan))  # of the returns' range
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))
        self._optimizers = {
            "actor": ClippedAdam(self.actor.parameters(), config.actor_rate, config.grad_clip, config.adam_eps),
            "critic": ClippedAdam(self.critic.parameters(), config.critic_rate, config.grad_clip, config.adam_eps),
        }

    @torch.no_grad()
    def act(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return actions `[B, A]` in model units, drawn from the actor, and explored about as the config says."""
        size, level = len(features), self.config.exploration
        noise = torch.randn(size, self.head.noise_dim, generator=generator, device=features.device)
        action = self.head.action(self.head.draw(self.actor(features), noise))
        if level == 0:
            return action
        if isinstance(self.action_space, spaces.Box):
            low, high = (
                torch.as_tensor(x).flatten().to(action) for x in (self.action_space.low, self.action_space.high)
            )
            more = torch.randn(action.shape, generator=generator, device=features.device)
            return torch.minimum(torch.maximum(action + level * (high - low) / 2 * more, low), high)
        chance = torch.rand(size, 2, generator=generator, device=features.device)
        others = nn.functional.one_hot((chance[:, 1] * action.shape[1]).long(), action.shape[1]).to(action)
        return torch.where(chance[:, :1] < level, others, action)

    def value(self, features: Tensor) -> Tensor:
        """Return `[...]` the discounted return that the critic expects from features `[..., F]`, env units."""
        return self._value(self.critic(features)) / self.config.reward_scale

    def _value(self, out: Tensor) -> Tensor:
        return two_hot_mean(out) if self.config.critic == "two_hot" else out[..., 0]

    def update(self, model: WorldModel[Any], state: Any) -> dict[str, Tensor]:
        """Imagine from `state`, learn from it and return figures for the log; the world model is left as it is.

        Args:
            model: where to imagine; draws come from torch's default generator.
            state: where to begin, `B` lanes.

        Raises:
            InvalidModel: if value gradients are wanted and the model is not differentiable.
            TrainingFailed: if a loss or its gradient is not finite.
        """
        config = self.config
        if config.reinforce < 1 and not model.differentiable:
            raise InvalidModel(
                f"{type(model).__name__} is not differentiable, and reinforce is {config.reinforce}, which asks for "
                "gradients through it; use reinforce=1, as dreamer_v3 does."
            )
        through = config.reinforce < 1
        with torch.set_grad_enabled(through):  # no graph through the dynamics unless gradients are to take it
            rollout, draws = self._imagine(model, state)
            discount = config.gamma * (1 - rollout.termination)
            reward = config.reward_scale * rollout.reward
        features = rollout.features.detach()  # [H + 1, B, F]
        judged = self.critic(features)
        slow = self._value(self.slow(features)) if config.slow_target or config.slow_weight > 0 else None
        if through:
            value = self._value((self.slow if config.slow_target else self.critic)(rollout.features))
        else:
            value = slow if slow is not None and config.slow_target else self._value(judged.detach())  # [H + 1, B]
        returns = lambda_returns(reward, discount, value, config.lambda_)  # [H, B]
        weight = rollout.survival.detach()  # [H, B]
        if config.normalise:
            self.ends.copy_(update_range(self.ends, returns, config.return_decay))
        scale = return_scale(self.ends, config.return_limit) if config.normalise else returns.new_ones(())
        out = self.actor(features[:-1])
        entropy = self.head.entropy(out)
        gain = config.entropy * entropy
        if through:
            gain = gain + (1 - config.reinforce) * returns / scale
        if config.reinforce > 0:
            advantage = ((returns - value[:-1]) / scale).detach()
            gain = gain + config.reinforce * advantage * self.head.log_prob(out, draws)
        actor_loss = -(weight * gain).mean()
        critic_loss = (weight * self._critic_loss(judged[:-1], returns.detach(), slow)).mean()
        figures = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "entropy": entropy.mean(),
            "imagined_reward": rollout.reward.mean(),
            "imagined_return": returns.mean() / config.reward_scale,
            "value": value.mean() / config.reward_scale,
            "return_scale": scale,
        }
        hoped = {"imagined_return": figures["imagined_return"]}
        when = f"at update {int(self.num_updates) + 1} of the agent"
        advice = lambda: "Lower actor_rate or critic_rate, or train the world model for longer first."  # noqa: E731
        self._optimizers["actor"].step(actor_loss, {**hoped, "actor_loss": actor_loss}, when, advice)
        self._optimizers["critic"].step(critic_loss, {"critic_loss": critic_loss}, when, advice)
        self._move_slow()
        return {name: figure.detach() for name, figure in figures.items()}

    def _imagine(self, model: WorldModel[Any], state: Any) -> tuple[Imagined[Any], Tensor]:
        """Return a rollout and the actor's draws in it, `[H, B, A]`."""
        draws = []

        def policy(features: Tensor) -> Tensor:
            out = self.actor(features.detach())
            draws.append(self.head.draw(out, torch.randn(len(features), self.head.noise_dim, device=features.device)))
            return self.head.action(draws[-1])

        rollout = imagine(model, state, policy, self.config.horizon)
        return rollout, torch.stack(draws).detach()

    def _critic_loss(self, out: Tensor, returns: Tensor, slow: Tensor | None) -> Tensor:
        """Return `[H, B]` the loss of what the critic said, against the returns and what the slow critic holds."""
        distance = two_hot_loss if self.config.critic == "two_hot" else _half_square
        loss = distance(out, returns)
        if slow is not None and self.config.slow_weight > 0:
            loss = loss + self.config.slow_weight * distance(out, slow[:-1])
        return loss

    @torch.no_grad()
    def _move_slow(self) -> None:
        self.num_updates += 1
        if self.config.slow_rate > 0 and int(self.num_updates) % self.config.slow_every == 0:
            for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, self.config.slow_rate)

    def moments(self) -> dict[str, Tensor]:
        """Return the state of both optimisers as named tensors."""
        return named_leaves({name: adam.state() for name, adam in self._optimizers.items()})

    def load_moments(self, tensors: Mapping[str, Tensor]) -> None:
        """Take what `moments` returned."""
        for name, adam in self._optimizers.items():
            adam.load_state(branch(tensors, name))

    def export(self, dream: str = "", model_sha256: str = "") -> Policy:
        """Return what the actor does without chance, its likeliest action or its mean, as a policy that can be saved.

        Args:
            dream: the name of the dream that it belongs to.
            model_sha256: of the dream's weights; "" fits any model of the same width.
        """
        config = self.config
        policy = Policy(
            PolicyConfig(
                input_dim=self.feature_dim, hidden=config.hidden, activation=config.activation, norm=config.norm,
                output="tanh", dream=dream, model_sha256=model_sha256,
            ),
            self.action_space,
        )  # fmt: skip
        weights = {name: x.detach().cpu().clone() for name, x in self.actor.state_dict().items()}
        width = policy.net[-1].out_features  # of a Box the means come first, then what the deviations are made of
        last = len(self.actor) - 1
        for name in (f"{last}.weight", f"{last}.bias"):
            weights[name] = weights[name][:width]
        policy.net.load_state_dict(weights)
        return policy.eval()


class Dream(Protocol):
    """What the agent needs of a dream; a `LoadedDream` has it."""

    @property
    def model(self) -> WorldModel[Any]: ...
    @property
    def starts(self) -> StartBank[Any]: ...
    @property
    def name(self) -> str: ...
    @property
    def model_sha256(self) -> str: ...


@dataclass(frozen=True)
class DreamerProgress:
    """Where training in a dream stands."""

    update: int
    """Counted from 1."""
    figures: Mapping[str, float]
    """What `Dreamer.update` returned."""


def train_dreamer(
    dream: Dream,
    *,
    updates: int,
    starts_per_update: int = 256,
    config: DreamerConfig | None = None,
    starts: str = "all",
    seed: int = 0,
    agent: Dreamer | None = None,
    log_every: int = 100,
    progress: Callable[[DreamerProgress], object] | None = None,
    keep: Kept | None = None,
) -> tuple[Policy, list[DreamerProgress]]:
    """Return a policy that was learned from imagined rollouts of a fixed dream alone, and its learning curve.

    Args:
        dream: where to imagine; its world model does not change.
        updates: of the actor and the critic.
        starts_per_update: imagined rollouts of an update.
        config: which Dreamer; by default the third in a size for one core.
        starts: "all" recorded situations, or only those that open an episode ("first").
        seed: the same seed learns the same policy, on the CPU.
        agent: one to train further, in place of a new one.
        log_every: updates between two rows of the curve.
        progress: called with each row.
        keep: interrupted, the same call goes on from it, on the CPU to the same policy.

    Raises:
        InvalidArgument: if a count is not positive, or another training was kept there.
        UnsupportedSpace: if the actions are neither Discrete nor a bounded Box.
        TrainingFailed: if a loss is not finite.
    """
    for name, count in (("updates", updates), ("starts_per_update", starts_per_update), ("log_every", log_every)):
        if count < 1:
            raise InvalidArgument(f"{name} is {count}; expected at least 1.")
    model, bank, curve = dream.model, dream.starts.only(starts), []
    device = bank.is_first.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        learner = agent or Dreamer(config or DreamerConfig(), model.feature_dim, model.action_space).to(device)
        found = keep and keep.read(
            starts_per_update=starts_per_update, starts=starts, seed=seed, log_every=log_every,
            model=dream.model_sha256, **asdict(learner.config),
        )  # fmt: skip
        if found:
            learner.load_state_dict(branch(found.tensors, "agent"))
            learner.load_moments(branch(found.tensors, "moments"))
            torch.manual_seed(seed + found.step)  # on a GPU other luck; on the CPU
            torch.set_rng_state(found.tensors["luck"])  # the same
            curve = [DreamerProgress(**row) for row in found.rows]

        def learned() -> dict[str, Tensor]:
            parts = {"agent": learner.state_dict(), "moments": learner.moments(), "luck": torch.get_rng_state()}
            return named_leaves(parts)

        for update in range(1 + (found.step if found else 0), updates + 1):
            figures = learner.update(model, bank.sample(torch.rand(starts_per_update, device=device)))
            if update % log_every == 0 or update == updates:
                curve.append(DreamerProgress(update, {name: float(x) for name, x in figures.items()}))
                if progress is not None:
                    progress(curve[-1])
            if keep:
                keep.offer(update, curve, learned)
        return learner.export(dream.name, dream.model_sha256), curve


def _scale_last(net: nn.Sequential, factor: float) -> None:
    with torch.no_grad():
        net[-1].weight.mul_(factor)  # type: ignore[union-attr, operator]
        net[-1].bias.zero_()  # type: ignore[union-attr, operator]


def _half_square(out: Tensor, target: Tensor) -> Tensor:
    return 0.5 * (out[..., 0] - target).square()
