"""The checks pass on every registered dream, and each finds the fault that it is there for."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from oracle import LEVER, PICTURES

from dreamgym import DreamEnv, DreamVectorEnv
from dreamgym.registry import DREAMS
from dreamgym.testing import check_vector_env, counting_dream
from dreamgym.testing import vector as checks

OPTIONS: dict[str, dict[str, Any]] = {
    "numbers": {"lengths": (3, 17, 9)},
    "pictures": {"observation_space": PICTURES, "lengths": (3, 17, 9)},
    "a lever that diverges": {"action_space": LEVER, "lengths": (0,), "diverge_above": 2.0},
}


@pytest.mark.parametrize("observation", ["pixels", "features", "both"])
@pytest.mark.parametrize("name", OPTIONS)
def test_counting_dreams_pass(name: str, observation: str) -> None:
    dream = counting_dream(max_episode_steps=12, num_starts=64, **OPTIONS[name])
    check_vector_env(
        partial(DreamVectorEnv, dream, observation=observation), partial(DreamEnv, dream, observation=observation)
    )


@pytest.mark.parametrize("observation", ["pixels", "features"])
@pytest.mark.parametrize(
    "id",
    [pytest.param(id, marks=pytest.mark.slow) if "CarRacing" in id else id for id in DREAMS if id.startswith("Dream")],
)
def test_every_registered_dream_passes(id: str, observation: str) -> None:
    options: dict[str, Any] = {"observation": observation, "max_episode_steps": 9}
    check_vector_env(partial(gym.make_vec, id, **options), partial(DreamEnv, id, **options))


class Faulty(DreamVectorEnv):
    """A dream with one fault, which a subclass adds."""

    def reset(self, **kwargs: Any) -> Any:
        obs, info = super().reset(**kwargs)
        return self.spoil(obs), info

    def step(self, actions: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(actions)
        return self.spoil(obs), reward, terminated, truncated, info

    def spoil(self, obs: Any) -> Any:
        return obs


class Lending(Faulty):
    def spoil(self, obs: Any) -> Any:
        self.lent = getattr(self, "lent", np.empty_like(obs))
        self.lent[...] = obs
        return self.lent


class Random(Faulty):
    def spoil(self, obs: Any) -> Any:
        return obs + float(np.random.default_rng().normal())


class Deaf(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=0, options=options)


class Popping(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        mask = options.pop("reset_mask", None) if options else None
        return super().reset(seed=seed, options=None if mask is None else {"reset_mask": mask})


class Resetting(Faulty):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class Merging(Faulty):
    def step(self, actions: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(actions)
        if "final_obs" in info:
            info["final_obs"] = np.array([*copy.deepcopy(obs), None], object)[:-1]
        return obs, reward, terminated, truncated, info


class Paying(Faulty):
    def step(self, actions: Any) -> Any:
        obs, reward, *rest = super().step(actions)
        return obs, reward + 1, *rest


class Mislabelled(Faulty):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}


class Wide(Faulty):
    def step(self, actions: Any) -> Any:
        obs, reward, *rest = super().step(actions)
        return obs, np.asarray(reward, np.float32), *rest


class Lenient(Faulty):
    def step(self, actions: Any) -> Any:
        return super().step(np.resize(actions, self.num_envs))


def make(kind: type[DreamVectorEnv], **kwargs: Any) -> DreamVectorEnv:
    dream = counting_dream(lengths=(3, 17, 9), max_episode_steps=12, num_starts=64)
    return kind(dream, observation="features", **kwargs)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (Wide, checks.check_spaces, "rewards are float32; expected float64"),
        (Random, checks.check_seeding, "two envs of seed 0 differ"),
        (Deaf, checks.check_seeding, "seed 1 differ|two unseeded envs begin alike"),
        (Popping, checks.check_partial_reset, "took reset_mask out"),
        (Resetting, checks.check_partial_reset, "lanes out of the mask, before and after a reset differ"),
        (Lenient, checks.check_number_of_actions, "3 actions for 4 lanes was accepted; expected ValueError"),
        (Lending, checks.check_freshness, "differ"),
        (Random, checks.check_torch_equals_numpy, "differ|no tensor"),
        (Merging, partial(checks.check_autoreset, mode=AutoresetMode.SAME_STEP), "was not reset, or final_obs was"),
        (Paying, partial(checks.check_autoreset, mode=AutoresetMode.NEXT_STEP), "gave it the reward"),
        (Mislabelled, partial(checks.check_autoreset, mode=AutoresetMode.NEXT_STEP), "metadata says"),
        (Popping, partial(checks.check_statistics, mode=AutoresetMode.DISABLED), "the statistics say"),
    ],
)
def test_each_check_finds_its_fault(kind: type[DreamVectorEnv], check: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(partial(make, kind))
    check(partial(make, Faulty))


def test_lanes_that_are_not_those_of_single_envs_are_found() -> None:
    other = counting_dream(lengths=(2,), max_episode_steps=12, num_starts=64)
    with pytest.raises(AssertionError, match="lanes and single envs in step 1 differ"):
        checks.check_against_sync(
            partial(make, Faulty), partial(DreamEnv, other, observation="features"), AutoresetMode.NEXT_STEP
        )


def test_endless_episodes_prove_nothing() -> None:
    dream = counting_dream(lengths=(0,))
    with pytest.raises(AssertionError, match="no episode ended in 400 steps; make them shorter"):
        checks.check_autoreset(partial(DreamVectorEnv, dream), AutoresetMode.NEXT_STEP)
