"""The mazes of Sutton & Barto: their ways, their changes, their pictures."""

from collections import deque

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import dreamgym  # noqa: F401  registers the envs
from dreamgym.errors import InvalidAction, InvalidArgument, StepBeforeReset, UnknownName
from dreamgym.real.maze import MOVES, MazeEnv

IDS = ["DynaMaze-v0", "DynaMazeBlocking-v0", "DynaMazeShortcut-v0"]


def shortest(env):
    """Return the actions of a shortest way from start to goal through the present walls."""
    rows, columns = env.shape
    seen, queue = {env._start}, deque([(env._start, [])])
    while queue:
        field, way = queue.popleft()
        if field == env._goal:
            return way
        row, column = divmod(field, columns)
        for action, (down, right) in enumerate(MOVES):
            there = (row + down) * columns + column + right
            if 0 <= row + down < rows and 0 <= column + right < columns and there not in env.walls | seen:
                seen.add(there)
                queue.append((there, [*way, action]))
    raise AssertionError("the goal is walled in")


@pytest.mark.parametrize("env_id", IDS)
def test_gymnasiums_checker_passes(env_id):
    check_env(gym.make(env_id, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize(("maze", "before", "after"), [("dyna", 14, 14), ("blocking", 10, 16), ("shortcut", 16, 10)])
def test_the_ways_are_as_long_as_in_the_book(maze, before, after):
    env = MazeEnv(maze)
    env.reset(seed=0)
    assert len(shortest(env)) == before
    env.steps = 10_000
    assert len(shortest(env)) == after


def test_walls_change_after_so_many_steps_of_all_episodes_and_change_back_with_a_seed():
    env = MazeEnv("blocking", change_after=5)
    env.reset(seed=0)
    first = env.walls
    for _ in range(4):
        env.step(0)
    env.reset()
    assert env.walls == first
    env.step(0)
    assert env.walls != first
    env.reset(seed=0)
    assert env.walls == first


def test_the_goal_alone_pays_and_ends_and_walls_stop():
    env = MazeEnv("dyna")
    start, _ = env.reset(seed=0)
    assert env.step(3)[0] == start  # the edge
    steps = [env.step(action) for action in shortest(env)]
    assert [reward for _, reward, *_ in steps] == [0.0] * 13 + [1.0]
    assert [ended for _, _, ended, *_ in steps] == [False] * 13 + [True]
    with pytest.raises(StepBeforeReset, match="the episode has ended"):
        env.step(0)


def test_a_picture_shows_where_one_stands():
    env = MazeEnv("dyna", render_mode="rgb_array")
    env.reset(seed=0)
    here = env.render()
    assert here.shape == (6 * 48, 9 * 48, 3)
    assert here.dtype == np.uint8
    env.step(2)
    assert (env.render() != here).any()


def test_bad_input_is_refused_by_name():
    env = MazeEnv("dyna")
    with pytest.raises(StepBeforeReset, match="there was no reset yet"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=r"action is 4; expected 0 \(up\)"):
        env.step(4)
    with pytest.raises(UnknownName, match="unknown maze 'dynn'.*Did you mean 'dyna'"):
        MazeEnv("dynn")
    with pytest.raises(InvalidArgument, match="change_after is 5 for the maze 'dyna'"):
        MazeEnv("dyna", change_after=5)
    with pytest.raises(InvalidArgument, match="render_mode is 'text'"):
        MazeEnv("dyna", render_mode="text")
