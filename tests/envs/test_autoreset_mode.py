"""Gymnasium's own test of the three autoreset modes, array for array, and what follows from it for infos."""

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from oracle import counting_dream, seed_of

from dreamgym import DreamVectorEnv

ACTIONS = np.array([0, 1, 2])
REWARD = {1: [1, 1.1, 1.2], 2: [2, 2.1, 2.2], 3: [3, 3.1, 3.2]}  # t + action / 10


def make(mode, **kwargs):
    """Return three lanes whose episodes last 2, 3 and 3 steps, after their reset."""
    env = DreamVectorEnv(counting_dream(lengths=(2, 3), num_starts=2), 3, autoreset_mode=mode, **kwargs)
    short, long = seed_of([0] * 6, num_starts=2), seed_of([1] * 6, num_starts=2)
    obs, info = env.reset(seed=[short, long, long])
    assert obs[:, 1].tolist() == [0, 0, 0]
    assert info == {}
    return env


def check(step, t, reward, terminated):
    obs, rewards, terminations, truncations, info = step
    assert obs[:, 1].tolist() == t
    assert rewards.tolist() == pytest.approx(reward)
    assert terminations.tolist() == terminated
    assert truncations.tolist() == [False] * 3
    return info


def test_next_step_resets_in_the_step_after_the_end_and_ignores_its_action():
    env = make("NextStep")
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    check(env.step(ACTIONS), [1, 1, 1], [1, 1.1, 1.2], [False, False, False])
    check(env.step(ACTIONS), [2, 2, 2], [2, 2.1, 2.2], [True, False, False])
    info = check(env.step(ACTIONS), [0, 3, 3], [0, 3.1, 3.2], [False, True, True])
    assert info["_termination"].tolist() == info["_pair"].tolist() == [False, True, True]
    assert info["termination"].tolist() == [0, 1, 1]
    assert info["pair"].tolist() == [[0, 0], [3, 1], [3, 2]]
    check(env.step(ACTIONS), [1, 0, 0], [1, 0, 0], [False, False, False])


def test_same_step_resets_at_once_and_keeps_the_last_observation_and_info():
    env = make("SameStep")
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    info = check(env.step(ACTIONS), [1, 1, 1], [1, 1.1, 1.2], [False, False, False])
    assert "final_obs" not in info
    info = check(env.step(ACTIONS), [0, 2, 2], [2, 2.1, 2.2], [True, False, False])
    assert info["final_obs"].dtype == object
    assert info["final_obs"][0][1] == 2
    assert info["final_obs"][1] is None
    assert info["final_obs"][2] is None
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, False, False]
    assert info["final_info"]["pair"].tolist() == [[2, 0], [0, 0], [0, 0]]
    assert info["final_info"]["_pair"].tolist() == [True, False, False]
    assert info["pair"].tolist() == [[0, 0], [2, 1], [2, 2]]
    assert info["_pair"].tolist() == [False, True, True]
    info = check(env.step(ACTIONS), [1, 0, 0], [1, 3.1, 3.2], [False, True, True])
    assert info["final_obs"][0] is None
    assert [info["final_obs"][lane][1] for lane in (1, 2)] == [3, 3]
    assert info["_final_obs"].tolist() == [False, True, True]
    info = check(env.step(ACTIONS), [0, 1, 1], [2, 1.1, 1.2], [True, False, False])
    assert info["_final_obs"].tolist() == [True, False, False]


def test_disabled_resets_what_the_mask_names_and_nothing_else():
    env = make("Disabled")
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    check(env.step(ACTIONS), [1, 1, 1], [1, 1.1, 1.2], [False, False, False])
    step = env.step(ACTIONS)
    check(step, [2, 2, 2], [2, 2.1, 2.2], [True, False, False])
    obs, info = env.reset(options={"reset_mask": step[2]})
    assert obs[:, 1].tolist() == [0, 2, 2]
    assert info == {}
    step = env.step(ACTIONS)
    check(step, [1, 3, 3], [1, 3.1, 3.2], [False, True, True])
    obs, _ = env.reset(options={"reset_mask": step[2]})
    assert obs[:, 1].tolist() == [1, 0, 0]
    check(env.step(ACTIONS), [2, 1, 1], [2, 1.1, 1.2], [True, False, False])


@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_mode_is_taken_as_a_member_or_as_a_string(mode):
    dream = counting_dream()
    for given in (mode, mode.value, mode.name):
        env = DreamVectorEnv(dream, 2, autoreset_mode=given)
        assert env.metadata["autoreset_mode"] is env.autoreset_mode is mode
        assert "autoreset_mode" not in DreamVectorEnv.metadata


@pytest.mark.parametrize("observation", ["pixels", "features", "both"])
def test_final_observations_lie_in_the_space(observation):
    env = make("SameStep", observation=observation) if observation != "both" else None
    if env is None:
        env = DreamVectorEnv(counting_dream(lengths=(2,)), 3, autoreset_mode="SameStep", observation="both")
        env.reset(seed=0)
    env.step(ACTIONS)
    info = env.step(ACTIONS)[-1]
    assert info["_final_obs"].any()
    for lane in np.flatnonzero(info["_final_obs"]):
        assert info["final_obs"][lane] in env.single_observation_space


def test_torch_gives_the_last_observations_of_all_lanes_and_a_mask():
    env = make("SameStep", output="torch", observation="features")
    env.step(ACTIONS)
    obs, _, terminated, _, info = env.step(ACTIONS)
    assert info["_final_obs"].tolist() == terminated.tolist() == [True, False, False]
    assert info["final_obs"][:, 1].tolist() == [2, 2, 2]
    assert obs[:, 1].tolist() == [0, 2, 2]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_no_two_episodes_are_ever_spliced(mode):
    env = DreamVectorEnv(counting_dream(lengths=(2, 5, 3), hazard=0.1, max_episode_steps=4), 5, autoreset_mode=mode)
    obs, _ = env.reset(seed=3)
    expected, resets = obs[:, 1].copy(), 0
    previous = np.zeros(5, bool)
    for _ in range(200):
        obs, reward, terminated, truncated, info = env.step(env.action_space.sample() * 0)
        asleep = previous if mode == "NextStep" else np.zeros(5, bool)
        expected = np.where(asleep, 0, expected + 1)
        last = obs[:, 1].copy()
        for lane in np.flatnonzero(info.get("_final_obs", np.zeros(5, bool))):
            last[lane] = info["final_obs"][lane][1]
        assert last.tolist() == expected.tolist()
        assert reward.tolist() == np.where(asleep, 0, expected).tolist()
        assert (truncated == (~asleep & (expected == 4))).all()
        previous = terminated | truncated
        resets += previous.sum()
        if mode == "SameStep":
            expected = np.where(previous, 0, expected)
            assert obs[previous, 1].tolist() == [0] * previous.sum()
    assert resets > 100
