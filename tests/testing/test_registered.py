"""Every registered dream, and what people put around one: checkers, wrappers, worker processes, recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.vector import AsyncVectorEnv
from stable_baselines3.common import env_checker

import dreamgym
from dreamgym.registry import DREAMS

IDS = [id for id in DREAMS if id.startswith("Dream")]
ADVICE = (
    "A Box observation space|The minimal resolution|For Box action spaces|"
    "Your observation|Not able to test|We recommend"
)


@pytest.mark.filterwarnings(f"ignore:.*({ADVICE})")
@pytest.mark.parametrize("observation", ["pixels", "features"])
@pytest.mark.parametrize("id", IDS)
def test_gymnasium_and_sb3_find_no_fault(id: str, observation: str) -> None:
    env = gym.make(id, observation=observation, render_mode="rgb_array")
    check_env(env.unwrapped)
    env_checker.check_env(gym.make(id, observation=observation))


@pytest.mark.parametrize("id", IDS)
def test_two_envs_of_one_seed_match(id: str) -> None:
    check_environments_match(gym.make(id).unwrapped, gym.make(id).unwrapped, num_steps=50)


DODGE = {"id": "DreamDodge-v0", "max_episode_steps": 6}


def rollout(env: gym.Env[Any, Any], steps: int = 15) -> list[Any]:
    """Return what each step gave; a new episode after each end."""
    env.action_space.seed(0)
    seen = [env.reset(seed=0)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen.append((obs, reward, terminated, truncated, info))
        if terminated or truncated:
            env.reset()
    return seen


def test_a_time_limit_around_a_dream_truncates() -> None:
    env = wrappers.TimeLimit(gym.make("DreamDodge-v0", observation="features"), 4)
    assert [step[3] for step in rollout(env, 4)[1:]] == [False, False, False, True]


def test_frames_are_stacked() -> None:
    env = wrappers.FrameStackObservation(gym.make(**DODGE), 3)
    *_, before, last = rollout(env, 4)
    assert last[0].shape == (3, 64, 64, 3)
    assert np.array_equal(last[0][:2], before[0][1:])


def test_observations_are_normalised() -> None:
    env = wrappers.NormalizeObservation(gym.make(**DODGE, observation="features"))
    seen = np.stack([step[0] for step in rollout(env, 300)[100:]])
    raw = np.stack([step[0] for step in rollout(gym.make(**DODGE, observation="features"), 300)[100:]])
    assert abs(seen.mean()) < abs(raw).mean()
    assert 0.5 < seen.std() < 2


def test_episode_statistics_are_recorded() -> None:
    ends = [step for step in rollout(wrappers.RecordEpisodeStatistics(gym.make(**DODGE)), 30)[1:] if step[2] or step[3]]
    assert len(ends) >= 5
    for *_, info in ends:
        assert 1 <= info["episode"]["l"] <= 6


def test_a_video_is_recorded(tmp_path: Path) -> None:
    pytest.importorskip("moviepy")
    env = wrappers.RecordVideo(
        gym.make(**DODGE, render_mode="rgb_array"), str(tmp_path / "videos"), episode_trigger=lambda i: True
    )
    rollout(env)
    env.close()
    assert len(list(tmp_path.glob("videos/*.mp4"))) >= 2


def make_dodge() -> gym.Env[Any, Any]:
    """Return the env that a worker process makes: by its module, so that the id is registered there."""
    return gym.make("dreamgym:DreamDodge-v0", max_episode_steps=6, observation="features")


@pytest.mark.parametrize("context", ["spawn", "forkserver"])
def test_worker_processes_dream_what_one_process_dreams(context: str) -> None:
    workers = AsyncVectorEnv([make_dodge] * 2, context=context)
    try:
        ours = dreamgym.DreamVectorEnv("DreamDodge-v0", 2, observation="features", max_episode_steps=6)
        assert np.allclose(workers.reset(seed=3)[0], ours.reset(seed=3)[0], atol=1e-5)
        for _ in range(20):
            action = ours.action_space.sample()
            for theirs, mine in zip(workers.step(action)[:4], ours.step(action)[:4], strict=True):
                assert np.allclose(theirs, mine, atol=1e-4)
    finally:
        workers.close()
