"""Known rewards and endings are those of the envs themselves."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.models.known import ENDINGS, REWARDS


def played(id, episodes):
    """Return obs, action, next obs, reward, terminated of random episodes, in model units."""
    env = gym.make(id)
    env.action_space.seed(0)
    rows = []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        over = False
        while not over:
            action = env.action_space.sample()
            after, reward, terminated, truncated, _ = env.step(action)
            rows.append((obs, action, after, reward, terminated))
            obs, over = after, terminated or truncated
    obs, action, after, reward, terminated = (np.stack(column) for column in zip(*rows, strict=True))
    space = env.observation_space
    arguments = encode_obs(space, obs), encode_action(env.action_space, action), encode_obs(space, after)
    return arguments, reward, terminated


@pytest.mark.parametrize(
    ("id", "episodes", "reward", "ending"),
    [("CartPole-v1", 50, "cart_pole", "cart_pole"), ("Pendulum-v1", 3, "pendulum", "never")],
)
def test_they_are_what_the_env_pays_and_where_it_ends(id, episodes, reward, ending):
    arguments, paid, ended = played(id, episodes)
    assert REWARDS[reward](*arguments).numpy() == pytest.approx(paid, abs=1e-4)
    assert ENDINGS[ending](*arguments).tolist() == ended.astype(float).tolist()


def test_a_hopper_falls_as_in_mujoco():
    pytest.importorskip("mujoco")
    arguments, _, ended = played("Hopper-v5", 20)
    assert ENDINGS["hopper"](*arguments).tolist() == ended.astype(float).tolist()
    assert ended.sum() == 20


def test_a_torque_beyond_the_motor_costs_what_the_motor_gives():
    obs = torch.tensor([[1.0, 0.0, 0.0]])
    assert REWARDS["pendulum"](obs, torch.tensor([[5.0]]), obs).item() == pytest.approx(-0.004)
