"""Stable-Baselines3: a dream as its `VecEnv`, and its policies as dreamgym's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor

from dreamgym.bridges.export import export_perceptron
from dreamgym.bridges.open import open_envs, step_envs
from dreamgym.core.policy import Policy
from dreamgym.core.tree import gather
from dreamgym.envs.open import Model, open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, PolicyMismatch


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
        self.envs = open_envs(model, num_envs, AutoresetMode.SAME_STEP, "SB3", tensors=False, **kwargs)
        self.reward_scale = reward_scale
        self._termination: Any = None  # [B]
        self._actions: Any = None
        super().__init__(self.envs.num_envs, self.envs.single_observation_space, self.envs.single_action_space)

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
        obs, outcome = step_envs(envs, self._actions)
        obs = _numpy(obs)
        reward = _numpy(outcome.reward) * np.float32(self.reward_scale)  # a copy: SB3 writes into it
        terminated, truncated = _numpy(outcome.terminated), _numpy(outcome.truncated)
        self._termination = outcome.info["termination"]
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
        return obs, reward, done, infos

    @property
    def termination(self) -> np.ndarray:
        """`[B]` how likely the latest step ended the episode of each lane."""
        return _numpy(self._termination)

    @property
    def endless(self) -> bool:
        """Whether no dream is ended by chance."""
        return self.envs.simulator.termination == "never"

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
    return export_perceptron(layers, loaded, algorithm.action_space, output=output, path=path)


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
