"""Several dreams as one of Stable-Baselines3's `VecEnv`, so that a policy cannot live on the errors of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.errors import InvalidArgument


class SeveralDreams(VecEnv):
    """The lanes of several dreams, one dream after the other, as one env.

    The dreams must show the same features: they are models of one training at different times, or of trainings that
    went on from the same weights. Where one of them errs the others do not.

    Args:
        dreams: at least one, with the same spaces.

    Raises:
        InvalidArgument: if there is none, or their spaces differ.

    Source: Kurutach et al. 2018 (ME-TRPO), who draw a model of an ensemble for each step.
    """

    def __init__(self, dreams: Sequence[DreamVecEnv]) -> None:
        if not dreams:
            raise InvalidArgument("dreams is empty; expected at least one DreamVecEnv.")
        spaces = [(dream.observation_space, dream.action_space) for dream in dreams]
        if any(own != spaces[0] for own in spaces):
            raise InvalidArgument(f"the dreams differ in what they show or take: {spaces}.")
        self.dreams = list(dreams)
        self._ends = np.cumsum([dream.num_envs for dream in dreams])[:-1]
        super().__init__(sum(dream.num_envs for dream in dreams), *spaces[0])

    @property
    def endless(self) -> bool:
        """Whether no dream is ended by chance."""
        return all(dream.endless for dream in self.dreams)

    @property
    def termination(self) -> np.ndarray:
        """`[B]` how likely the latest step ended the episode of each lane."""
        return np.concatenate([dream.termination for dream in self.dreams])

    def reset(self) -> np.ndarray:
        """Begin new episodes in all lanes and return the observations `[B, F]`."""
        for dream, seeds in zip(self.dreams, np.split(np.array(self._seeds, object), self._ends), strict=True):
            dream._seeds = list(seeds)
        self._reset_seeds()
        self._reset_options()
        obs = np.concatenate([dream.reset() for dream in self.dreams])
        self.reset_infos = [{} for _ in range(self.num_envs)]
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        for dream, own in zip(self.dreams, np.split(actions, self._ends), strict=True):
            dream.step_async(own)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Dream one step of every lane and return observations `[B, F]`, float32 rewards, dones and infos.

        Raises:
            InvalidAction: if the actions are not a batch of `action_space`.
        """
        obs, reward, done, infos = zip(*(dream.step_wait() for dream in self.dreams), strict=True)
        return np.concatenate(obs), np.concatenate(reward), np.concatenate(done), list(chain.from_iterable(infos))

    def close(self) -> None:
        """Close the dreams' windows, if there are any."""
        for dream in self.dreams:
            dream.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return `[H, W, 3]` uint8 pictures, one a lane."""
        return list(chain.from_iterable(dream.get_images() for dream in self.dreams))

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the vector envs, which the lanes of one share, once for each lane."""
        found = [value for dream in self.dreams for value in dream.get_attr(attr_name)]
        return [found[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of the vector envs, which the lanes of one share."""
        for dream in self.dreams:
            dream.set_attr(attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of each vector env once, for all of its lanes, and return its results for `indices`."""
        results = [x for dream in self.dreams for x in dream.env_method(method_name, *method_args, **method_kwargs)]
        return [results[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Return False for each lane: a dream's wrappers wrap its model."""
        return [False for _ in self._get_indices(indices)]
