"""Deep Dyna: Stable-Baselines3's off-policy algorithms, fed with short dreams that branch off from real states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from dreamgym.core.codec import action_dim, decode_obs, encode_action, encode_obs
from dreamgym.core.model import WorldModel, check_heads
from dreamgym.core.tree import device_of, finite_lanes, gather
from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidArgument, InvalidDataset, InvalidModel
from dreamgym.training.run import TrainConfig, fit


@dataclass(frozen=True, kw_only=True)
class MbpoConfig:
    """How an `Mbpo` learns and dreams; the defaults are for vectors of a few numbers on one core."""

    every: int = 250
    """Real steps between two rounds: the model learns from all of them so far, then dreams branch off."""
    starts: int = 2000
    """Dreams of a round, from real states that are drawn evenly."""
    horizon: int = 3
    """k, steps of a dream."""
    kept_rounds: int = 2
    """Rounds whose dreams batches are drawn from; older ones are of an older model and policy."""
    real_share: float = 0.05
    """Share of each batch that really happened, in [0, 1); all of it does before the first round."""
    first_updates: int = 2000
    """Optimiser steps of the model in the first round."""
    updates: int = 500
    """Optimiser steps of the model in each later round, which goes on from its weights."""
    holdout: float = 0.1
    """Share of episodes that are held out, in [0, 1); they choose the elites."""
    seed: int = 0
    """Of the model's batches, and of where and how dreams go; the policy's draws are the algorithm's."""

    def __post_init__(self) -> None:
        for name in ("every", "starts", "horizon", "kept_rounds", "first_updates", "updates"):
            if getattr(self, name) < 1:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected at least 1.")
        for name in ("real_share", "holdout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidArgument(f"{name} is {getattr(self, name)}; expected a number in [0, 1).")


@dataclass(frozen=True)
class Transitions:
    """N steps, dreamed or real, in env units."""

    obs: np.ndarray
    """`[N, ...]`."""
    action: np.ndarray
    """`[N, ...]`."""
    reward: np.ndarray
    """`[N]` float32."""
    terminated: np.ndarray
    """`[N]` bool; a dream that was only cut off is not."""
    next_obs: np.ndarray
    """`[N, ...]`."""


@torch.no_grad()
def branch(
    model: WorldModel[Any],
    obs: np.ndarray,
    act: Callable[[np.ndarray], np.ndarray],
    horizon: int,
    generator: torch.Generator | None = None,
) -> Transitions:
    """Return the steps of dreams that begin in given states, one for each.

    A dream goes on for `horizon` steps unless it terminates, which is drawn, or the model cuts it off, as some wrappers
    do. A step to what is no finite number is left out, and its dream is over.

    Args:
        model: a world model whose state is known from one observation, such as an `mlp_ensemble`.
        obs: `[B, ...]` the states, in env units.
        act: observations `[B, ...]` -> actions `[B, ...]`, both in env units.
        horizon: k, at least 1.
        generator: of what the dream draws, on the CPU; torch's default one if None.

    Raises:
        MissingHead: if the model predicts no reward or no ending.
    """
    lanes, device = len(obs), device_of(model.initial(1))
    state = model.observe(
        model.initial(lanes),
        torch.zeros(lanes, action_dim(model.action_space), device=device),
        encode_obs(model.observation_space, obs, device),
        torch.ones(lanes, dtype=torch.bool, device=device),
        torch.zeros(lanes, model.noise_dim, device=device),
    )
    steps = []
    for _ in range(horizon):
        action = act(obs)
        noise = torch.randn(len(obs), model.noise_dim, generator=generator).to(device)
        out = check_heads(model, model.step(state, encode_action(model.action_space, action).to(device), noise))
        ended = torch.rand(len(obs), generator=generator).to(device) < out.termination
        finite = finite_lanes(out.state) & (out.reward + out.termination).isfinite()
        after = decode_obs(model.observation_space, model.decode(out.state)).cpu().numpy()
        row = finite.cpu().numpy()
        steps.append((obs[row], action[row], out.reward[finite].cpu().numpy(), ended[finite].cpu().numpy(), after[row]))
        going_on = finite & ~ended
        if out.truncated is not None:
            going_on &= ~out.truncated
        index = going_on.nonzero()[:, 0]
        if len(index) == 0:
            break
        state, obs = gather(out.state, index), after[index.cpu().numpy()]
    return Transitions(*(np.concatenate(column) for column in zip(*steps, strict=True)))


class MixedBuffer(ReplayBuffer):
    """Dreamed transitions, around the buffer of the real ones: batches are drawn from both, new ones are real.

    Args:
        real: the real ones; `add` adds to them.
        size: how many dreamed ones are kept.
        real_share: share of a batch that is real, at least one of it, as soon as anything was dreamed.
    """

    def __init__(self, real: ReplayBuffer, size: int, real_share: float) -> None:
        super().__init__(size, real.observation_space, real.action_space, real.device)
        self.real, self.real_share = real, real_share

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Add a real transition."""
        self.real.add(*args, **kwargs)

    def dream(self, steps: Transitions, action: np.ndarray) -> None:
        """Add dreamed transitions in place of the oldest ones; `action` are theirs as SB3 keeps them, scaled."""
        num = len(action)
        rows = (self.pos + np.arange(num)) % self.buffer_size
        for own, new in (
            (self.observations, steps.obs),
            (self.next_observations, steps.next_obs),
            (self.actions, action),
            (self.rewards, steps.reward),
            (self.dones, steps.terminated),
        ):
            own[rows] = new.reshape(num, *own.shape[1:])
        self.full |= self.pos + num >= self.buffer_size
        self.pos = (self.pos + num) % self.buffer_size

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Return a batch, the real part first."""
        num_real = max(1, round(self.real_share * batch_size)) if self.size() else batch_size
        real = self.real.sample(num_real, env)
        if num_real == batch_size:
            return real
        dreamed = super().sample(batch_size - num_real, env)
        pairs: Any = zip(real, dreamed, strict=True)  # the last field is None in a plain buffer
        columns: list[Any] = [None if a is None else torch.cat([a, b]) for a, b in pairs]
        return ReplayBufferSamples(*columns)


class Mbpo(BaseCallback):
    """Teaches a world model what an algorithm of SB3 lives through, and the algorithm what the model dreams.

        model = build_model("mlp_ensemble", {}, env.observation_space, env.action_space)
        SAC("MlpPolicy", env, gradient_steps=10).learn(5000, callback=Mbpo(model, "runs/mbpo"))

    The algorithm acts in the real env and learns as ever; `learning_starts`, `gradient_steps` and `num_timesteps` are
    SB3's, and count real steps alone. Every so many of them the model learns from all that were made, but for those of
    held-out episodes, and short dreams of the present policy branch off from states that were really seen. It does not
    wait for the end of an episode. From then on most of each batch that the algorithm learns from is dreamed. A dream's
    last step is no ending: its value goes on, as at a time limit.

    Args:
        model: a world model that `training.fit` trains in one stage and whose state is known from one observation, such
            as an `mlp_ensemble`, of the spaces of the real env.
        out: a new folder for the real episodes, which `dreamgym train` can read later.
        config: everything else.
        dream: what is dreamed in, `model` in wrappers, e.g. `PenalizeDisagreement(model, 0.5)`; by default itself.

    Raises:
        InvalidModel: if the model cannot be trained so.
        InvalidArgument: when training begins, if the algorithm is not off-policy with SB3's plain replay buffer for all
            its real steps, in one env whose observations are not normalised, or its spaces are not the model's.
        InvalidDataset: when training begins, if `out` holds something.

    Source: Janner et al. 2019 (MBPO), algorithm 2; Sutton 1991 for the idea. Unlike there, k is constant, the model's
    training is as long as the config says instead of until its loss on held-out transitions rises, and the number of
    updates for each real step is the algorithm's `gradient_steps`.
    """

    def __init__(
        self,
        model: Any,
        out: str | Path,
        config: MbpoConfig | None = None,
        dream: WorldModel[Any] | None = None,
    ) -> None:
        super().__init__()
        if len(getattr(model, "stages", ())) != 1:
            raise InvalidModel(
                f"{type(model).__name__} is learned in the stages {', '.join(getattr(model, 'stages', ())) or 'none'}; "
                "expected a world model that is learned in one, e.g. mlp_ensemble."
            )
        (self._stage,) = model.stages
        self.world, self.out, self.config = model, Path(out), config or MbpoConfig()
        self.dream: WorldModel[Any] = model if dream is None else dream
        self.buffer: MixedBuffer | None = None
        """Real and dreamed transitions, from the beginning of training."""
        self.rounds = 0
        """How often the model has learned."""
        self._episodes = self._begun = 0  # episodes on disk; where in the buffer the next one begins
        self._next = 0
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._rng = np.random.default_rng(self.config.seed)

    def _on_training_start(self) -> None:
        config = self.config
        algorithm: Any = self.model
        real = _check(algorithm, self.world, self.locals["total_timesteps"])
        if self.buffer is None or self.buffer.real is not real:
            if self.out.exists() and any(self.out.iterdir()):
                raise InvalidDataset(f"{self.out} is not empty; name a new folder for the real episodes.")
            size = config.kept_rounds * config.starts * config.horizon
            self.buffer = MixedBuffer(real, size, config.real_share)
            self._next = algorithm.learning_starts
        algorithm.replay_buffer = self.buffer

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if self.num_timesteps < self._next:
            return
        self._record()
        self._next = self.num_timesteps + self.config.every
        self._learn()
        self._dream()

    def _on_training_end(self) -> None:
        assert self.buffer is not None
        self._record()
        algorithm: Any = self.model
        algorithm.replay_buffer = self.buffer.real

    def _record(self) -> None:
        """Write the episodes that have ended since the last time."""
        assert self.buffer is not None
        real = self.buffer.real
        ends = [int(end) for end in self._begun + 1 + np.flatnonzero(real.dones[self._begun : real.size(), 0])]
        if ends:
            self._write(self.out, ends)
            self._begun, self._episodes = ends[-1], self._episodes + len(ends)

    def _write(self, folder: Path, ends: list[int]) -> None:
        """Write what follows the recorded episodes, cut before these rows of the buffer."""
        assert self.buffer is not None
        real, policy = self.buffer.real, self.model.policy
        env = self.training_env.envs[0].spec if hasattr(self.training_env, "envs") else None
        name = env.id if env is not None else "unknown"
        space = self.world.action_space
        with DatasetWriter(folder, name, self.world.observation_space, space) as writer:
            for i, (begin, end) in enumerate(pairwise([self._begun, *ends])):
                rows = slice(begin, end)
                action = real.actions[rows, 0].reshape(-1, *space.shape)
                obs = np.concatenate([real.observations[rows, 0], real.next_observations[end - 1 : end, 0]])
                over, cut = real.dones[end - 1, 0] > 0, real.timeouts[end - 1, 0] > 0
                episode = Episode(
                    obs.reshape(-1, *self.world.observation_space.shape),
                    policy.unscale_action(action) if isinstance(space, spaces.Box) else action,
                    real.rewards[rows, 0],
                    terminated=bool(over and not cut),
                    truncated=bool(cut),
                )
                writer.add(episode, key=f"{self._episodes + i:08d}")

    def _learn(self) -> None:
        """Teach the model all real steps, also those of an episode that still goes on."""
        assert self.buffer is not None
        config, name = self.config, self._stage
        updates = config.updates if self.rounds else config.first_updates
        settings = TrainConfig(
            seed=config.seed + self.rounds, holdout=config.holdout, log_every=updates, progress=False, tensorboard=False
        )
        stages = {name: replace(self.world.stages[name], steps=updates)}
        with TemporaryDirectory() as folder:
            data = [self.out] if self._episodes else []
            if self._begun < self.buffer.real.size():
                data.append(Path(folder) / "going_on")
                self._write(data[-1], [self.buffer.real.size()])
            result = fit(self.world, Dataset(data), Path(folder) / "run", stages=stages, config=settings)
        self.rounds += 1
        for term, value in (result.validation[name] or result.terms[name]).items():
            self.logger.record(f"dream/{term}", value)

    def _dream(self) -> None:
        buffer, policy = self.buffer, self.model.policy
        assert buffer is not None
        chosen = self._rng.integers(buffer.real.size(), size=self.config.starts)
        starts = buffer.real.observations[chosen, 0].reshape(-1, *self.world.observation_space.shape)
        steps = branch(self.dream, starts, self._act, self.config.horizon, self._generator)
        box = isinstance(self.world.action_space, spaces.Box)
        buffer.dream(steps, policy.scale_action(steps.action) if box else steps.action)
        self.logger.record("dream/transitions", len(steps.action))
        self.logger.record("dream/reward", float(steps.reward.mean()))

    def _act(self, obs: np.ndarray) -> np.ndarray:
        """Return an action for each observation `[B, ...]` as the algorithm acts while it learns, in env units."""
        algorithm: Any = self.model
        if not isinstance(algorithm, DQN):
            return algorithm.predict(obs, deterministic=False)[0]
        action = algorithm.predict(obs, deterministic=True)[0]  # it would explore in all lanes or in none
        explores = self._rng.random(len(action)) < algorithm.exploration_rate
        return np.where(explores, self._rng.integers(action_dim(self.world.action_space), size=len(action)), action)


def _check(algorithm: Any, model: WorldModel[Any], steps: int) -> ReplayBuffer:
    """Return the algorithm's replay buffer if it can be fed with dreams of the model."""
    if not isinstance(algorithm, OffPolicyAlgorithm) or type(algorithm.replay_buffer) is not ReplayBuffer:
        raise InvalidArgument(
            f"a {type(algorithm).__name__} cannot be fed with dreams; expected an off-policy algorithm with SB3's "
            "plain ReplayBuffer, such as SAC, TD3 or DQN."
        )
    if algorithm.n_envs != 1:
        raise InvalidArgument(f"the algorithm acts in {algorithm.n_envs} envs; expected 1.")
    if algorithm.get_vec_normalize_env() is not None:
        raise InvalidArgument("VecNormalize changes what the policy sees; remove it: the model knows real units alone.")
    for name in ("observation_space", "action_space"):
        if getattr(algorithm, name) != getattr(model, name):
            raise InvalidArgument(
                f"the model's {name} is {getattr(model, name)}; the algorithm's is {getattr(algorithm, name)}."
            )
    if algorithm.replay_buffer.buffer_size < steps:
        raise InvalidArgument(
            f"buffer_size is {algorithm.replay_buffer.buffer_size}; expected at least the {steps} real steps of this "
            "training, all of which the model learns from."
        )
    return algorithm.replay_buffer
