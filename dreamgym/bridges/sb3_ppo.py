"""PPO inside a dream, by Stable-Baselines3: the settings that drove CarRacing, and progress by update."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import LinearSchedule, safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from torch import Tensor

from dreamgym.bridges.expected_endings import ExpectedEndings
from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_several import SeveralDreams
from dreamgym.core.kept import Kept
from dreamgym.core.optimizer import load_moments, moments
from dreamgym.core.perceptron import ACTIVATIONS
from dreamgym.core.threads import use_threads
from dreamgym.core.tree import branch, named_leaves
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import Model, open_dream
from dreamgym.errors import InvalidArgument


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """How PPO learns in a dream; the defaults drove CarRacing."""

    rollout: int = 32
    """Decisions of a lane between two updates."""
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of policy and value."""
    activation: str = "tanh"
    """Of the hidden layers: tanh, relu or silu."""
    gamma: float = 0.98
    """Discount a decision."""
    gae_lambda: float = 0.95
    """Of generalised advantage estimation."""
    epochs: int = 3
    """Passes over a rollout."""
    minibatch: int = 2048
    """Decisions; must divide lanes * rollout if it is smaller."""
    clip: float = 0.2
    """Of the probability ratio."""
    learning_rate: float = 4e-4
    """Adam's."""
    anneal: bool = False
    """The learning rate falls to zero in a straight line, and what the last updates shake settles."""
    entropy: float = 2e-3
    """Weight of the entropy bonus."""
    log_std_init: float = -1.0
    """Log of the first standard deviation of a Box action, env units."""
    log_std_floor: float = -1.8
    """Exploration never falls below it: a policy that stops exploring settles on the model's errors."""
    reward_scale: float = 0.1
    """Brings the reward of a decision near 1."""
    expected_endings: bool = False
    """No dream is ended by chance; what a step earns, and all that follows, counts as much as it is likely to be lived
    to see. Without that luck it is sooner told which action is dangerous."""


@dataclass(frozen=True)
class Progress:
    """Where training in a dream stands after an update."""

    decisions: int
    """Of all lanes, since this training began."""
    reward: float
    """Mean of a decision during the last rollout, env units."""
    episode_return: float
    """Mean over the episodes that ended last, as many as there are lanes; NaN before the first."""
    episode_length: float
    """Decisions, of the same episodes."""
    decisions_per_second: float
    """Of the last rollout and update."""


def train_ppo(
    dream: Model,
    *,
    others: Sequence[Model] = (),
    decisions: int,
    lanes: int = 512,
    horizon: int | None = 64,
    starts: str = "all",
    wrap: WrapSpec = (),
    seed: int = 0,
    device: str = "cpu",
    config: PPOConfig | None = None,
    algorithm: PPO | None = None,
    progress: Callable[[PPO, Progress], object] | None = None,
    keep: Kept | None = None,
) -> tuple[PPO, list[Progress]]:
    """Return a PPO trained inside a dream, and its learning curve.

    Args:
        dream: a registered dream's id, a folder or a `LoadedDream`.
        others: dreams with the same features, e.g. earlier models of the same training, in which the policy learns as
            well; each gets its share of the lanes.
        decisions: of all lanes, rounded up to whole rollouts.
        lanes: dreams in parallel.
        horizon: decisions after which a dream begins anew; None takes the dream's time limit.
        starts: "all" recorded situations, or only those that open an episode ("first").
        wrap: model wrappers, e.g. `[("tent", {"peak": 4.2})]`.
        seed: of weights, dreams and exploration.
        device: where dream and policy lie; between them SB3 keeps what happened on the host.
        config: how PPO learns.
        algorithm: train this one further, which an earlier call returned; `config` and `seed` are then its own.
        progress: called after each update, e.g. to write a checkpoint with `export_policy`; False ends the training.
        keep: interrupted, the same call goes on from it, in new dreams.

    Raises:
        InvalidArgument: if the minibatches do not divide a rollout, a count is not positive, another training was kept
            there, or the dreams differ in their features.
    """
    config = config or PPOConfig()
    models = [dream, *others]
    if lanes < len(models):
        raise InvalidArgument(f"lanes is {lanes}; expected at least one for each of {len(models)} dreams.")
    dreams = [
        DreamVecEnv(
            model, len(share), reward_scale=config.reward_scale, max_episode_steps=horizon, starts=starts, wrap=wrap,
            device=device, termination="never" if config.expected_endings else "draw",
        )
        for model, share in zip(models, np.array_split(range(lanes), len(models)), strict=True)
    ]  # fmt: skip
    envs: VecEnv = SeveralDreams(dreams) if others else dreams[0]
    if keep:
        sha256 = [open_dream(model, None, (), "cpu").model_sha256 for model in models]
        keep.identity.update(horizon=horizon, starts=starts, wrap=list(wrap), models=sha256)
    return learn_ppo(
        envs, decisions=decisions, seed=seed, device=device, config=config, algorithm=algorithm, progress=progress,
        keep=keep,
    )  # fmt: skip


def learn_ppo(
    envs: VecEnv,
    *,
    decisions: int,
    seed: int = 0,
    device: str = "cpu",
    config: PPOConfig | None = None,
    algorithm: PPO | None = None,
    progress: Callable[[PPO, Progress], object] | None = None,
    keep: Kept | None = None,
) -> tuple[PPO, list[Progress]]:
    """Return a PPO trained in any `VecEnv`, with the options of `train_ppo`: the same agent in dream and reality.

    The rewards of `envs` must come multiplied by the config's `reward_scale`. For `expected_endings` it has to be a
    `DreamVecEnv` that never terminates, or several. Who goes on from `keep` draws other luck than it began with.
    """
    config = config or PPOConfig()
    if decisions < 1:
        raise InvalidArgument(f"decisions is {decisions}; expected at least 1.")
    if config.expected_endings and not getattr(envs.unwrapped, "endless", False):
        raise InvalidArgument('expected_endings needs a DreamVecEnv with termination="never"; train_ppo makes one.')
    lanes = envs.num_envs
    rollout = lanes * config.rollout
    minibatch = min(config.minibatch, rollout)
    if rollout % minibatch:
        raise InvalidArgument(
            f"minibatch is {minibatch}, which does not divide {lanes} lanes * {config.rollout} steps = {rollout}; "
            "choose one that does."
        )
    envs = VecMonitor(envs)
    with use_threads(), warnings.catch_warnings():
        # here the env computes on the GPU too
        warnings.filterwarnings("ignore", message="You are trying to run PPO on the GPU")
        if algorithm is None:
            widths = list(config.hidden)
            rate = config.learning_rate
            algorithm = PPO(
                "MlpPolicy", envs, LinearSchedule(rate, 0.0, 1.0) if config.anneal else rate, config.rollout,
                minibatch, config.epochs, gamma=config.gamma, gae_lambda=config.gae_lambda, clip_range=config.clip,
                ent_coef=config.entropy,
                policy_kwargs={
                    "net_arch": {"pi": widths, "vf": widths},
                    "activation_fn": ACTIVATIONS[config.activation],
                    "log_std_init": config.log_std_init,
                },
                rollout_buffer_class=ExpectedEndings if config.expected_endings else None,
                stats_window_size=lanes, seed=seed, device=device,
            )  # fmt: skip
        else:
            algorithm.set_env(envs)
        watch = _Watch(config, progress, keep)
        found = keep and keep.read(lanes=lanes, seed=seed, **asdict(config))
        if found:
            algorithm.policy.load_state_dict(branch(found.tensors, "policy"))
            load_moments(algorithm.policy.optimizer, branch(found.tensors, "moments"))
            algorithm.num_timesteps = found.step
            algorithm.set_random_seed(seed + found.step)
            watch.curve = [Progress(**row) for row in found.rows]
        left = decisions - (found.step if found else 0)
        if left > 0:
            algorithm.learn(left, watch, reset_num_timesteps=found is None)
    return algorithm, watch.curve


class _Watch(BaseCallback):
    """Keeps exploration above its floor and tells how training goes."""

    model: PPO

    def __init__(
        self, config: PPOConfig, progress: Callable[[PPO, Progress], object] | None, keep: Kept | None
    ) -> None:
        super().__init__()
        self.config, self.progress, self.keep = config, progress, keep
        self.curve: list[Progress] = []
        self._rewards: list[float] = []
        self._since = time.perf_counter()
        self._proceed = True

    def _on_rollout_start(self) -> None:
        self._after_update()

    def _on_step(self) -> bool:
        self._rewards.append(float(self.locals["rewards"].mean()))
        if isinstance(self.model.rollout_buffer, ExpectedEndings):
            self.model.rollout_buffer.note(cast(Any, self.training_env.unwrapped).termination)
        return self._proceed

    def _on_training_end(self) -> None:
        self._after_update()

    def _after_update(self) -> None:
        log_std = getattr(self.model.policy, "log_std", None)  # a Discrete action has none
        if log_std is not None:
            log_std.data.clamp_(min=self.config.log_std_floor)
        if len(self._rewards) < self.config.rollout:
            return
        now, scale = time.perf_counter(), self.config.reward_scale
        ended: Any = self.model.ep_info_buffer
        row = Progress(
            decisions=self.num_timesteps,
            reward=float(np.mean(self._rewards)) / scale,
            episode_return=float(safe_mean([episode["r"] for episode in ended])) / scale,
            episode_length=float(safe_mean([episode["l"] for episode in ended])),
            decisions_per_second=len(self._rewards) * self.training_env.num_envs / (now - self._since),
        )
        self._rewards, self._since = [], now
        self.curve.append(row)
        if self.progress is not None:
            self._proceed = self.progress(self.model, row) is not False
        if self.keep:
            self.keep.offer(row.decisions, self.curve, self._learned)

    def _learned(self) -> dict[str, Tensor]:
        policy = self.model.policy
        return named_leaves({"policy": policy.state_dict(), "moments": moments(policy.optimizer)})
