"""Stable-Baselines3: a dream as its `VecEnv`, PPO inside a dream, and its policies as dreamgym's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn

from dreamgym.core.codec import check_action, encode_action
from dreamgym.core.policy import ACTIVATIONS, Policy, PolicyConfig, check_policy, save_policy
from dreamgym.core.tree import gather
from dreamgym.core.wrapper import WrapSpec
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.simulator import parse_autoreset_mode
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, PolicyMismatch, UnsupportedSpace


class DreamVecEnv(VecEnv):
    """Many lanes of a dream as SB3's `VecEnv`: any of its algorithms trains in it.

    A lane whose episode ends begins the next one in the same step. Its info then holds `"terminal_observation"`,
    `"TimeLimit.truncated"` (the dream did not end, only the episode) and `"diverged"`; all other infos are empty.

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv` in mode "SameStep".
        num_envs: the number of lanes.
        reward_scale: what rewards are multiplied with on their way to the learner.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" here unless you say otherwise.

    Raises:
        InvalidArgument: if another autoreset mode is asked for, or options are given beside an existing env.
        UnsupportedSpace: if actions are integers that do not start at 0.
    """

    def __init__(
        self, model: Model | DreamVectorEnv, num_envs: int | None = None, *, reward_scale: float = 1.0, **kwargs: Any
    ) -> None:
        if isinstance(model, DreamVectorEnv):
            if kwargs or num_envs not in (None, model.num_envs):
                raise InvalidArgument(
                    f"options {sorted(kwargs) or ['num_envs']} were given beside a DreamVectorEnv of {model.num_envs} "
                    "lanes; give them to that env instead."
                )
            self.envs = model
            _check_mode(model.autoreset_mode)
        else:
            mode = _check_mode(kwargs.pop("autoreset_mode", AutoresetMode.SAME_STEP))
            options = {"observation": "features", "output": "torch", **kwargs}
            self.envs = DreamVectorEnv(model, 1 if num_envs is None else num_envs, autoreset_mode=mode, **options)
        self.reward_scale = reward_scale
        self._actions: Any = None
        space = self.envs.single_action_space
        if isinstance(space, spaces.Discrete) and space.start != 0:
            raise UnsupportedSpace(f"action space {space} starts at {space.start}; SB3 needs integers from 0.")
        super().__init__(self.envs.num_envs, self.envs.single_observation_space, space)

    def reset(self) -> Any:
        """Begin new episodes in all lanes and return the observations."""
        obs, _ = self.envs.reset(seed=self._seeds)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return _numpy(obs)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    @torch.no_grad()
    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Dream one step of every lane and return observations, float32 rewards, dones and infos.

        Raises:
            InvalidAction: if the actions are not a batch of `action_space`.
        """
        envs = self.envs
        action = encode_action(
            self.action_space, check_action(self.action_space, self._actions, self.num_envs, envs.dream.name)
        )
        # the simulator itself: the shell's infos are arrays for every lane, which SB3 does not read
        lanes, outcome = envs.simulator.step(envs.lanes, action.to(envs.device))
        obs = _numpy(envs.set_state(lanes))
        reward = _numpy(outcome.reward) * np.float32(self.reward_scale)  # a copy: SB3 writes into it
        terminated, truncated = _numpy(outcome.terminated), _numpy(outcome.truncated)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        rows = done.nonzero()[0]
        if len(rows):
            last = _numpy(envs.view.observe(gather(outcome.final, torch.as_tensor(rows, device=envs.device))))
            diverged = _numpy(outcome.diverged)
            for i, row in enumerate(rows.tolist()):
                infos[row] = {
                    "terminal_observation": {k: v[i] for k, v in last.items()} if isinstance(last, dict) else last[i],
                    "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                    "diverged": bool(diverged[row]),
                }
        if envs.render_mode == "human":
            envs.render()
        return obs, reward, done, infos

    def close(self) -> None:
        """Close the window, if there is one."""
        self.envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return `[H, W, 3]` uint8 pictures, one a lane."""
        return self.envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the vector env, which all lanes share, once for each lane."""
        return [getattr(self.envs, attr_name)] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector env, which all lanes share."""
        setattr(self.envs, attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the vector env once, for all lanes, and return its result for each of `indices`."""
        results = self.envs.call(method_name, *method_args, **method_kwargs)
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each lane: a dream's wrappers wrap its model."""
        return [False] * self._count(indices)

    def _count(self, indices: Any) -> int:
        return len(list(self._get_indices(indices)))


def _check_mode(mode: AutoresetMode | str) -> AutoresetMode:
    if parse_autoreset_mode(mode) is not AutoresetMode.SAME_STEP:
        raise InvalidArgument(
            f"autoreset_mode is {parse_autoreset_mode(mode).value!r}; SB3 resets a lane in the step that ends it: "
            f"use {AutoresetMode.SAME_STEP.value!r}."
        )
    return AutoresetMode.SAME_STEP


def _numpy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numpy(part) for key, part in value.items()}
    return value.numpy(force=True) if isinstance(value, Tensor) else value


def export_policy(algorithm: BaseAlgorithm, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a trained PPO, A2C, SAC or DQN does deterministically, as a dreamgym policy.

    Args:
        algorithm: with the default "MlpPolicy" on a dream's features.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the policy is no plain perceptron, or its observations are normalised.
        PolicyMismatch: if it was trained on something else than this dream's features.
    """
    loaded = open_dream(dream, None, (), "cpu")
    normalizer = algorithm.get_vec_normalize_env()
    if normalizer is not None and normalizer.norm_obs:
        raise InvalidArgument("VecNormalize changes what the policy sees; train with norm_obs=False to export it.")
    width = algorithm.observation_space.shape
    if width != (loaded.model.feature_dim,):
        raise PolicyMismatch(
            f"the policy sees observations of shape {width}; {loaded.name} has {loaded.model.feature_dim} features. "
            "Train it with observation='features'."
        )
    layers, output = _perceptron(algorithm.policy)
    linears, between = layers[::2], {type(layer) for layer in layers[1::2]}
    names = [name for name, activation in ACTIVATIONS.items() if activation in between]
    if not all(type(layer) is nn.Linear for layer in linears) or len(between) > 1 or len(names) != len(between):
        raise InvalidArgument(
            f"the policy's layers are {[type(layer).__name__ for layer in layers]}; expected Linear layers with "
            f"one of {', '.join(ACTIVATIONS)} between them."
        )
    config = PolicyConfig(
        input_dim=loaded.model.feature_dim,
        hidden=tuple(layer.out_features for layer in linears[:-1]),
        activation=names[0] if names else "tanh",
        output=output,
        dream=loaded.name,
        model_sha256=loaded.model_sha256,
    )
    policy = Policy(config, algorithm.action_space)
    check_policy(policy, loaded.model.action_space, loaded.model.feature_dim, loaded.model_sha256, loaded.name)
    ours = [layer for layer in policy.net if isinstance(layer, nn.Linear)]
    for mine, theirs in zip(ours, linears, strict=True):
        mine.load_state_dict({name: value.cpu() for name, value in theirs.state_dict().items()})
    if path is not None:
        save_policy(policy, path)
    return policy.eval()


def _perceptron(policy: Any) -> tuple[list[Any], str]:
    """Return the layers from features to raw outputs, and how these become actions."""
    kind = type(policy)
    if kind is ActorCriticPolicy and type(policy.features_extractor) is FlattenExtractor and not policy.squash_output:
        return [*policy.mlp_extractor.policy_net, policy.action_net], "clip"
    if kind is SACPolicy and type(policy.actor.features_extractor) is FlattenExtractor and not policy.actor.use_sde:
        return [*policy.actor.latent_pi, policy.actor.mu], "tanh"
    if kind is DQNPolicy and type(policy.q_net.features_extractor) is FlattenExtractor:
        return list(policy.q_net.q_net), "clip"
    raise InvalidArgument(
        f"a {kind.__name__} cannot be exported; expected 'MlpPolicy' of PPO, A2C, SAC or DQN without pictures, memory "
        "or squashed state-dependent exploration."
    )


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
    entropy: float = 2e-3
    """Weight of the entropy bonus."""
    log_std_init: float = -1.0
    """Log of the first standard deviation of a Box action, env units."""
    log_std_floor: float = -1.8
    """Exploration never falls below it: a policy that stops exploring settles on the model's errors."""
    reward_scale: float = 0.1
    """Brings the reward of a decision near 1."""


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
    decisions: int,
    lanes: int = 512,
    horizon: int | None = 64,
    starts: str = "all",
    wrap: WrapSpec = (),
    seed: int = 0,
    config: PPOConfig | None = None,
    algorithm: PPO | None = None,
    progress: Callable[[PPO, Progress], object] | None = None,
) -> tuple[PPO, list[Progress]]:
    """Return a PPO trained inside a dream, and its learning curve.

    Args:
        dream: a registered dream's id, a folder or a `LoadedDream`.
        decisions: of all lanes, rounded up to whole rollouts.
        lanes: dreams in parallel.
        horizon: decisions after which a dream begins anew; None takes the dream's time limit.
        starts: "all" recorded situations, or only those that open an episode ("first").
        wrap: model wrappers, e.g. `[("tent", {"peak": 4.2})]`.
        seed: of weights, dreams and exploration.
        config: how PPO learns.
        algorithm: train this one further, which an earlier call returned; `config` and `seed` are then its own.
        progress: called after each update, e.g. to write a checkpoint with `export_policy`; False ends the training.

    Raises:
        InvalidArgument: if the minibatches do not divide a rollout, or a count is not positive.
    """
    config = config or PPOConfig()
    envs = DreamVecEnv(
        dream, lanes, reward_scale=config.reward_scale, max_episode_steps=horizon, starts=starts, wrap=wrap
    )
    return learn_ppo(envs, decisions=decisions, seed=seed, config=config, algorithm=algorithm, progress=progress)


def learn_ppo(
    envs: VecEnv,
    *,
    decisions: int,
    seed: int = 0,
    config: PPOConfig | None = None,
    algorithm: PPO | None = None,
    progress: Callable[[PPO, Progress], object] | None = None,
) -> tuple[PPO, list[Progress]]:
    """Return a PPO trained in any `VecEnv`, with the options of `train_ppo`: the same agent in dream and reality.

    The rewards of `envs` must come multiplied by the config's `reward_scale`.
    """
    config = config or PPOConfig()
    if decisions < 1:
        raise InvalidArgument(f"decisions is {decisions}; expected at least 1.")
    lanes = envs.num_envs
    rollout = lanes * config.rollout
    minibatch = min(config.minibatch, rollout)
    if rollout % minibatch:
        raise InvalidArgument(
            f"minibatch is {minibatch}, which does not divide {lanes} lanes * {config.rollout} steps = {rollout}; "
            "choose one that does."
        )
    envs = VecMonitor(envs)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on shared cores more threads make small batches slower, not faster
    try:
        if algorithm is None:
            widths = list(config.hidden)
            algorithm = PPO(
                "MlpPolicy", envs, config.learning_rate, config.rollout, minibatch, config.epochs,
                gamma=config.gamma, gae_lambda=config.gae_lambda, clip_range=config.clip, ent_coef=config.entropy,
                policy_kwargs={
                    "net_arch": {"pi": widths, "vf": widths},
                    "activation_fn": ACTIVATIONS[config.activation],
                    "log_std_init": config.log_std_init,
                },
                stats_window_size=lanes, seed=seed, device="cpu",
            )  # fmt: skip
        else:
            algorithm.set_env(envs)
        watch = _Watch(config, progress)
        algorithm.learn(decisions, watch)
    finally:
        torch.set_num_threads(threads)
    return algorithm, watch.curve


class _Watch(BaseCallback):
    """Keeps exploration above its floor and tells how training goes."""

    model: PPO

    def __init__(self, config: PPOConfig, progress: Callable[[PPO, Progress], object] | None) -> None:
        super().__init__()
        self.config, self.progress = config, progress
        self.curve: list[Progress] = []
        self._rewards: list[float] = []
        self._since = time.perf_counter()
        self._proceed = True

    def _on_rollout_start(self) -> None:
        self._after_update()

    def _on_step(self) -> bool:
        self._rewards.append(float(self.locals["rewards"].mean()))
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
