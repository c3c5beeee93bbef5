"""Several dreams as one env: whose lanes are whose, what a policy learns in them, and what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bridges.test_sb3_ppo import TINY
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from target import target

from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_ppo import train_ppo
from dreamgym.bridges.sb3_several import SeveralDreams
from dreamgym.core.kept import Kept
from dreamgym.errors import InvalidArgument


def several(*lanes: int, **options: object) -> tuple[SeveralDreams, list[DreamVecEnv]]:
    """Return dreams of which the n-th ends with chance n / 10, together, and the same ones apart."""
    together, apart = (
        [DreamVecEnv(target(termination=n / 10), count, **options) for n, count in enumerate(lanes)] for _ in range(2)
    )
    return SeveralDreams(together), apart


def test_each_dream_goes_on_in_its_own_lanes_as_it_would_alone() -> None:
    envs, alone = several(3, 1, 2, termination="never", max_episode_steps=2)
    assert envs.num_envs == 6
    envs.seed(5)
    for dream, first in zip(alone, (5, 8, 9), strict=True):
        dream.seed(first)
    assert np.array_equal(envs.reset(), np.concatenate([dream.reset() for dream in alone]))
    actions = np.linspace(-1, 1, 6, dtype=np.float32)[:, None]
    for step in range(3):
        obs, reward, done, infos = envs.step(actions)
        own = [dream.step(a) for dream, a in zip(alone, np.split(actions, [3, 4]), strict=True)]
        assert np.array_equal(obs, np.concatenate([x[0] for x in own]))
        assert np.array_equal(reward, np.concatenate([x[1] for x in own]))
        assert done.tolist() == [step == 1] * 6
        assert [info.get("TimeLimit.truncated") for info in infos] == [True if step == 1 else None] * 6
        assert envs.termination.tolist() == pytest.approx([0, 0, 0, 0.1, 0.2, 0.2])
    assert envs.endless
    assert not several(1, 1)[0].endless
    assert envs.get_attr("num_envs") == [3, 3, 3, 1, 2, 2]
    assert envs.get_attr("num_envs", [0, 5]) == [3, 2]
    envs.close()


def test_a_policy_learns_in_several_dreams_at_once() -> None:
    algorithm, curve = train_ppo(
        target(), others=[target(), target()], decisions=25 * 512, lanes=32, horizon=8, config=TINY
    )
    assert [dream.num_envs for dream in algorithm.get_env().unwrapped.dreams] == [11, 11, 10]
    assert [row.decisions for row in curve] == [512 * (i + 1) for i in range(25)]
    assert evaluate_policy(algorithm, VecMonitor(DreamVecEnv(target(), 4, max_episode_steps=8)), 20)[0] > 7.5


def test_each_dream_has_its_say() -> None:
    """One dream alone ends: what the critic expects lies between what it expects where none and where all end."""
    config, expected = replace(TINY, expected_endings=True), {}
    for name, dreams in {"none": (0.0, 0.0), "one": (0.0, 0.5), "all": (0.5, 0.5)}.items():
        first, second = (target(termination=p) for p in dreams)
        algorithm, _ = train_ppo(first, others=[second], decisions=20 * 512, lanes=32, horizon=8, config=config)
        obs = algorithm.policy.obs_to_tensor(DreamVecEnv(target(), 64).reset())[0]
        expected[name] = algorithm.policy.predict_values(obs).mean().item()
    assert expected["all"] < 0.8 * expected["one"] < 0.8 * 0.8 * expected["none"]


def test_a_training_in_other_dreams_is_another_training(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dreamgym.core.kept.KEEP_SECONDS", 0.0)
    options = {"decisions": 512, "lanes": 32, "horizon": 8, "config": TINY}
    train_ppo(target(), others=[target()], **options, keep=Kept(tmp_path / "kept"))
    with pytest.raises(InvalidArgument, match="was left by a training with models"):
        train_ppo(target(), **options, keep=Kept(tmp_path / "kept"))


def test_dreams_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="the dreams differ in what they show or take"):
        SeveralDreams([DreamVecEnv(target(), 2), DreamVecEnv(target(num_actions=3), 2)])
    with pytest.raises(InvalidArgument, match="dreams is empty"):
        SeveralDreams([])
    with pytest.raises(InvalidArgument, match="lanes is 2; expected at least one for each of 3 dreams"):
        train_ppo(target(), others=[target()] * 2, decisions=1, lanes=2)
