"""A policy that records does what it would do in an evaluation, and now and then something else."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from oracle import BUTTONS, counting_dream
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym import load, make_real
from dreamgym.data.collect import record_episode
from dreamgym.errors import InvalidArgument, PolicyMismatch
from dreamgym.evaluation.driver import CORRELATION, PolicyDriver
from dreamgym.evaluation.policies import make_policy
from dreamgym.evaluation.transfer import real_episode
from dreamgym.hub import save_dream


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")


@pytest.fixture(scope="module")
def policy(folder):
    return str(save_tiny_policy(folder.parent / "policy.safetensors", folder, seed=3))


def record(driver, seed=0):
    return record_episode(gym.make("Dodge-v0"), driver, seed)


def test_without_noise_it_plays_the_evaluated_episode(folder, policy):
    driver = PolicyDriver(str(folder), policy, noise=(0.0,), random_share=0.0)
    env, actor = make_real(folder, observation="features"), make_policy(policy, load(folder))
    for seed in (4, 5):  # the second episode begins with an empty memory, too
        outcome, episode = real_episode(env, actor, seed), record(driver, seed)
        assert (episode.total_reward, len(episode)) == (outcome.total_reward, outcome.length)
        assert len(set(episode.action.tolist())) > 1  # or nothing would depend on the memory


def test_the_generator_decides_the_episode_and_a_pickled_driver_plays_it_too(folder, policy):
    driver = PolicyDriver(str(folder), policy, noise=(0.2, 0.6))
    first, other = record(driver, 7), record(driver, 8)
    again = record(pickle.loads(pickle.dumps(driver)), 7)
    assert first.action.tolist() == again.action.tolist()
    assert first.action.tolist() != other.action.tolist()


def save_counting_dream(folder, action_space):
    dream = counting_dream(action_space=action_space)
    return str(save_dream(folder, dream.model, dream.starts, {"id": "Counting"}))


def actions_of(driver, num_steps=4000):
    driver.reset(gym.make("Dodge-v0"), np.random.default_rng(0))
    return np.array([driver.act(np.zeros(4, np.float32)) for _ in range(num_steps)])


@pytest.mark.parametrize(("level", "share"), [(0.0, 0.0), (0.0, 0.3), (0.25, 0.05)])
def test_random_actions_take_their_share_of_the_decisions(tmp_path, level, share):
    dream = save_counting_dream(tmp_path / "counting", BUTTONS)
    actions = actions_of(PolicyDriver(dream, "constant:1", noise=(level,), random_share=share))
    # two of three random actions differ from the constant
    assert np.mean(actions != 1) == pytest.approx((level + share) * 2 / 3, abs=0.04)


def test_noise_on_a_box_action_is_correlated_and_stays_in_bounds(tmp_path):
    steering = spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32))
    dream = save_counting_dream(tmp_path / "counting", steering)
    actions = actions_of(PolicyDriver(dream, "constant:0,2", noise=(0.2,), random_share=0.0))
    assert actions.dtype == np.float32
    assert actions.std(0) == pytest.approx([0.2, 0.4], rel=0.1)  # half ranges are 1 and 2
    assert np.corrcoef(actions[1:, 0], actions[:-1, 0])[0, 1] == pytest.approx(CORRELATION, abs=0.05)
    wild = actions_of(PolicyDriver(dream, "constant:0,2", noise=(50.0,), random_share=0.0), num_steps=50)
    assert all(steering.contains(action) for action in wild)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": ()}, r"noise is \(\); expected one or more numbers"),
        ({"noise": (0.1, -0.2)}, r"noise is \(0.1, -0.2\); expected one or more numbers that are not negative"),
        ({"random_share": 1.0}, r"random_share is 1.0; expected a number in \[0, 1\)"),
    ],
)
def test_noise_that_cannot_be_meant_is_refused(folder, options, message):
    with pytest.raises(InvalidArgument, match=message):
        PolicyDriver(str(folder), "random", **options)


def test_a_policy_of_another_dream_is_refused_before_it_records(policy, tmp_path):
    other = save_tiny_dream(tmp_path / "other", seed=1)
    with pytest.raises(PolicyMismatch, match="other has weights"):
        PolicyDriver(str(other), policy)
