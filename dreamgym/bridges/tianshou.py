"""Tianshou: a dream as its vector env, of which collectors step and reset any lanes, and its policies as dreamgym's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

from dreamgym.bridges.export import export_perceptron
from dreamgym.bridges.open import open_envs
from dreamgym.bridges.stretch import stretch
from dreamgym.core.codec import check_action, encode_action
from dreamgym.core.policy import Policy
from dreamgym.envs.open import Model
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument, MissingExtra, StepBeforeReset

try:
    from tianshou.algorithm import Algorithm
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, ProbabilisticActorPolicy
    from tianshou.algorithm.modelfree.sac import SACPolicy
    from tianshou.env import BaseVectorEnv
    from tianshou.utils.net.common import Net
    from tianshou.utils.net.continuous import ContinuousActorProbabilistic
    from tianshou.utils.net.discrete import DiscreteActor
except ImportError as error:
    raise MissingExtra("the bridge to tianshou", "tianshou", "tianshou") from error

Lanes = int | Sequence[int] | np.ndarray | None
"""Which lanes; None is all of them."""


class DreamVenv(BaseVectorEnv):  # type: ignore[misc]
    """Many lanes of a dream as tianshou's vector env, on which any of its collectors collects.

    A lane whose episode has ended waits until the collector resets it; `terminated` and `truncated` say how it ended.
    Infos are empty. Tianshou computes in numpy, so observations, rewards and flags are arrays.

    Args:
        model: what `DreamVectorEnv` takes, or a `DreamVectorEnv` in mode "Disabled" with `output="numpy"`.
        num_envs: the number of lanes.
        **kwargs: options of `DreamVectorEnv`; `observation` is "features" here unless you say otherwise.

    Raises:
        InvalidArgument: if another autoreset mode or output is asked for, or options are given beside an existing env.
        UnsupportedSpace: if actions are integers that do not start at 0.
    """

    is_async = False
    is_closed = False

    def __init__(self, model: Model | DreamVectorEnv, num_envs: int | None = None, **kwargs: Any) -> None:
        options = kwargs if isinstance(model, DreamVectorEnv) else {"output": "numpy", **kwargs}
        self.envs = open_envs(model, num_envs, AutoresetMode.DISABLED, "tianshou", tensors=False, **options)
        if self.envs.view.output != "numpy":
            raise InvalidArgument(f"output is {self.envs.view.output!r}; tianshou takes arrays: use 'numpy'.")
        self.env_num = self.envs.num_envs
        self._action_space = copy.deepcopy(self.envs.single_action_space)  # seeded here, not in the dream

    def reset(self, env_id: Lanes = None, **kwargs: Any) -> tuple[Any, np.ndarray]:
        """Begin new episodes in some lanes and return their observations; `kwargs` are `seed` and `options`."""
        rows = self._rows(env_id)
        mask = np.zeros(self.env_num, bool)
        mask[rows] = True
        options = {**(kwargs.pop("options", None) or {}), "reset_mask": mask}
        obs, _ = self.envs.reset(options=options, **kwargs)
        return _pick(obs, rows), _empty(len(rows))

    @torch.no_grad()
    def step(self, action: Any, id: Lanes = None) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Dream one step of some lanes and return their observations, rewards, terminated, truncated and infos.

        Raises:
            InvalidAction: if the actions are not a batch of the action space, one for each of these lanes.
            InvalidArgument: if a lane is named twice.
            StepBeforeReset: if an episode of these lanes has ended, or none has begun.
        """
        envs, rows = self.envs, self._rows(id)
        space, lanes = envs.single_action_space, envs.lanes
        where = torch.as_tensor(rows, device=envs.device)
        given = encode_action(space, check_action(space, action, len(rows), envs.dream.name)).to(envs.device)
        active = torch.zeros(self.env_num, dtype=torch.bool, device=envs.device)
        active[where] = True
        if ended := (lanes.done & active).nonzero()[:, 0].tolist():
            raise StepBeforeReset(f"the episodes of lanes {ended[:8]} have ended; reset them with reset({ended[:8]}).")
        everyone = given.new_zeros(self.env_num, given.shape[1])
        everyone[where] = given
        lanes, outcome = envs.simulator.step(lanes, everyone, None if len(rows) == self.env_num else active)
        obs = envs.set_state(lanes)
        reward, terminated, truncated = (
            x[where].numpy(force=True) for x in (outcome.reward, outcome.terminated, outcome.truncated)
        )
        return _pick(obs, rows), reward.astype(np.float64), terminated, truncated, _empty(len(rows))

    def seed(self, seed: int | list[int] | None = None) -> list[list[int] | None]:
        """Begin new episodes in all lanes: an int seeds lane i with `seed + i`. Returns the seeds, one list a lane."""
        first = seed if seed is None or isinstance(seed, int) else seed[0]
        self._action_space.seed(first)
        self.envs.reset(seed=seed)
        seeds = [seed + i for i in range(self.env_num)] if isinstance(seed, int) else seed
        return [None] * self.env_num if seeds is None else [[s] for s in seeds]

    def render(self, **kwargs: Any) -> list[Any]:
        """Return `[H, W, 3]` uint8 pictures, one a lane; in mode "human" show them in a window."""
        return list(self.envs.render() or [None] * self.env_num)

    def close(self) -> None:
        """Close the window, if there is one."""
        self.envs.close()
        self.is_closed = True

    def get_env_attr(self, key: str, id: Lanes = None) -> list[Any]:
        """Return an attribute, which all lanes share, once for each lane: the spaces are those of one lane."""
        single = {"observation_space": self.envs.single_observation_space, "action_space": self._action_space}
        value = single[key] if key in single else getattr(self.envs, key)
        return [value] * len(self._rows(id))

    def set_env_attr(self, key: str, value: Any, id: Lanes = None) -> None:
        """Set an attribute of the vector env, which all lanes share."""
        setattr(self.envs, key, value)

    def _rows(self, lanes: Lanes) -> np.ndarray:
        """Return the numbers of the lanes.

        Raises:
            InvalidArgument: if one is named twice.
        """
        rows = np.arange(self.env_num) if lanes is None else np.atleast_1d(np.asarray(lanes, np.int64))
        if len(np.unique(rows)) != len(rows):
            raise InvalidArgument(f"lanes are {rows.tolist()}; expected each at most once.")
        return rows


def _pick(obs: Any, rows: np.ndarray) -> Any:
    """Return the observations of some lanes; of a Dict space an array of dicts, which is what tianshou stacks."""
    if isinstance(obs, dict):
        return np.array([{key: part[row] for key, part in obs.items()} for row in rows], dtype=object)
    return obs[rows]


def _empty(count: int) -> np.ndarray:
    return np.array([{} for _ in range(count)], dtype=object)


def export_policy(trained: Any, dream: Model, path: str | Path | None = None) -> Policy:
    """Return what a trained algorithm does deterministically, as a dreamgym policy.

    Args:
        trained: PPO, A2C, SAC, DQN or their like, or its policy, with tianshou's `Net` on a dream's features.
        dream: the dream that it was trained in; its name and the digest of its weights go with the policy.
        path: where to write it as well; None does not write.

    Raises:
        InvalidArgument: if the policy is no plain perceptron, or bounds its actions in a way of its own.
        PolicyMismatch: if it was trained on something else than this dream's features, or for other actions.
    """
    policy = trained.policy if isinstance(trained, Algorithm) else trained
    layers, output = _perceptron(policy)
    return export_perceptron(layers, dream, policy.action_space, output=output, path=path)


def _perceptron(policy: Any) -> tuple[list[nn.Module], str]:
    """Return the layers from features to raw outputs, and how these become actions."""
    kind = type(policy)
    actor: Any = getattr(policy, "actor", None)
    if kind is DiscreteQLearningPolicy and _is_plain(policy.model):
        return list(policy.model.model.model), "clip"
    if kind is DiscreteActorPolicy and type(actor) is DiscreteActor and _is_plain(actor.preprocess):
        return [*actor.preprocess.model.model, *actor.last.model], "clip"
    if (
        kind in (ProbabilisticActorPolicy, SACPolicy)
        and type(actor) is ContinuousActorProbabilistic
        and _is_plain(actor.preprocess)
        and policy.action_scaling
    ):
        layers = [*actor.preprocess.model.model, *actor.mu.model]
        squashes = [kind is SACPolicy, policy.action_bound_method == "tanh", not actor._unbounded]
        if sum(squashes) == 1 and actor.max_action == 1:
            return layers, "tanh"
        if sum(squashes) == 0 and policy.action_bound_method == "clip":
            return [*layers[:-1], stretch(layers[-1], policy.action_space)], "clip"
    raise InvalidArgument(
        f"a {kind.__name__} with {type(actor or getattr(policy, 'model', None)).__name__} cannot be exported; expected "
        "PPO, A2C, SAC or DQN on a `Net` without atoms or duel, whose actions are scaled and bounded once."
    )


def _is_plain(net: Any) -> bool:
    return type(net) is Net and not net.use_dueling and not net.softmax and net.num_atoms == 1
