"""Dyna: what planning adds to what was lived through."""

import math

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from oracle import NUMBERS, counting_world

import dreamgym  # noqa: F401  registers the mazes
from dreamgym.agents.dyna import Dyna, DynaConfig
from dreamgym.errors import InvalidArgument, InvalidModel, UnsupportedSpace
from dreamgym.models.tabular import Config, Tabular


def agent(states=5, actions=2, seed=0, **config):
    return Dyna(
        Tabular(Config(decay=0.0), spaces.Discrete(states), spaces.Discrete(actions)), DynaConfig(**config), seed
    )


def walk(dyna):
    """Live once through a corridor that pays at its end."""
    for state in range(4):
        dyna.learn(state, 1, float(state == 3), state == 3, state + 1)


def test_without_planning_one_episode_teaches_its_last_step_alone():
    dyna = agent(planning_steps=0)
    walk(dyna)
    expected = np.zeros((5, 2))
    expected[3, 1] = 0.1
    assert np.allclose(dyna.values, expected)
    walk(dyna)
    assert dyna.values[2, 1] == pytest.approx(0.1 * 0.95 * 0.1)


def test_planning_spreads_one_reward_over_all_of_the_way():
    dyna = agent(planning_steps=500, step_size=0.5)
    walk(dyna)
    assert np.allclose(dyna.values[:4, 1], 0.95 ** np.arange(3, -1, -1), atol=0.02)
    assert not dyna.values[:, 0].any()  # never tried, never planned with


def test_an_end_is_worth_what_it_pays_whatever_lies_beyond():
    dyna = agent(planning_steps=200, step_size=0.5)
    for _ in range(20):
        dyna.learn(1, 1, 1.0, False, 1)  # a state worth 1 / (1 - gamma)
    for _ in range(20):
        dyna.learn(0, 1, 0.5, True, 1)
    assert dyna.values[0, 1] == pytest.approx(0.5, abs=1e-3)


def test_a_bonus_of_kappa_times_the_root_of_the_time_makes_untried_actions_attractive():
    dyna = agent(states=1, planning_steps=1, step_size=1.0, gamma=0.0, kappa=0.5, seed=3)
    for _ in range(100):
        dyna.learn(0, 1, 0.0, False, 0)
        if dyna.values[0, 0]:
            break
    assert dyna.values[0, 0] == pytest.approx(0.5 * math.sqrt(dyna.steps))
    assert agent(states=1, planning_steps=1, kappa=0.0).values.sum() == 0


def episode_lengths(planning_steps, seed, episodes=8):
    env = gym.make("DynaMaze-v0")
    dyna = agent(54, 4, seed=seed, planning_steps=planning_steps)
    lengths = []
    for episode in range(episodes):
        obs, _ = env.reset(seed=seed if episode == 0 else None)
        ended, length = False, 0
        while not ended:
            action = dyna.act(obs)
            after, reward, ended, _, _ = env.step(action)
            dyna.learn(obs, action, float(reward), ended, after)
            obs, length = after, length + 1
        lengths.append(length)
    return lengths


def test_planning_finds_the_way_in_a_few_episodes():
    lived, planned = (np.mean([episode_lengths(n, seed) for seed in range(3)], 0)[3:] for n in (0, 20))
    assert planned.mean() < 25
    assert lived.mean() > 3 * planned.mean()


def test_the_same_seed_does_the_same():
    assert episode_lengths(5, 1, 3) == episode_lengths(5, 1, 3)
    assert episode_lengths(5, 1, 3) != episode_lengths(5, 2, 3)


def test_bad_input_is_refused_by_name():
    with pytest.raises(InvalidArgument, match=r"epsilon is 1.5; expected a number in 0..1"):
        DynaConfig(epsilon=1.5)
    with pytest.raises(InvalidArgument, match="planning_steps is -1"):
        DynaConfig(planning_steps=-1)
    with pytest.raises((UnsupportedSpace, InvalidModel), match="Box"):
        Dyna(counting_world(NUMBERS))
