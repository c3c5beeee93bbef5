"""Dodge-v0: the rules of the game, and that the vector env is many single envs."""

from __future__ import annotations

import copy
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from dreamgym.errors import InvalidAction, InvalidActionType, InvalidArgument, StepBeforeReset
from dreamgym.real import dodge, dodge_world
from dreamgym.real.dodge import DodgeEnv, DodgeVectorEnv
from dreamgym.real.dodge_drivers import EvasiveDriver, best_action
from dreamgym.real.dodge_world import ARMED, EMPTY, ROCK, SPENT, VEER_LEFT, VEER_RIGHT, DodgeWorld
from dreamgym.real.drivers import Driver

MODES = list(AutoresetMode)


def single(max_episode_steps: int) -> gym.Env:
    return gym.wrappers.TimeLimit(DodgeEnv("rgb_array"), max_episode_steps)


def world_with(kind: int, x: int, y: int, num_lanes: int = 1) -> DodgeWorld:
    """Return a world whose lanes hold this one thing."""
    world = DodgeWorld(num_lanes)
    world.reset(np.arange(num_lanes))
    world.kind[:] = EMPTY
    world.kind[:, 0], world.x[:, 0], world.y[:, 0] = kind, x, y
    return world


def assert_same(actual: Any, expected: Any) -> None:
    """Compare results of vector envs: values, dtypes, dictionaries and arrays with holes."""
    assert type(actual) is type(expected)
    if isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, np.ndarray) and expected.dtype == object:
        assert_same(tuple(actual), tuple(expected))
    elif isinstance(expected, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    else:
        assert actual == expected


@pytest.mark.filterwarnings("ignore:.*not having a spec")
def test_gymnasiums_checker_accepts_the_single_env() -> None:
    check_env(DodgeEnv("rgb_array"))


@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_one_seed_gives_one_game_and_seed_zero_is_a_seed(seed: int) -> None:
    def play() -> list[np.ndarray]:
        env = DodgeEnv()
        return [env.reset(seed=seed)[0]] + [env.step(t // 2 % 3)[0] for t in range(8)]

    np.testing.assert_array_equal(play(), play())


def test_a_used_env_that_is_seeded_again_plays_the_same_game() -> None:
    env = DodgeEnv()
    first = env.reset(seed=3)[0]
    assert (env.reset()[0] != first).any()
    np.testing.assert_array_equal(env.reset(seed=3)[0], first)


def test_other_seeds_and_later_games_are_other_games() -> None:
    def pictures(env: DodgeVectorEnv, seed: int | None) -> bytes:
        return b"".join([env.reset(seed=seed)[0].tobytes()] + [env.step([0])[0].tobytes() for _ in range(60)])

    env, unseeded = DodgeVectorEnv(1), [DodgeVectorEnv(1), DodgeVectorEnv(1)]
    games = [pictures(env, seed) for seed in (0, None, 1)] + [pictures(other, None) for other in unseeded]
    assert len(set(games)) == len(games)


@pytest.mark.parametrize("mode", MODES)
def test_the_vector_env_equals_sync_vector_env_of_single_envs(mode: AutoresetMode) -> None:
    num_envs, limit = 5, 40
    ours = DodgeVectorEnv(num_envs, "rgb_array", limit, mode)
    theirs = SyncVectorEnv([lambda: single(limit)] * num_envs, autoreset_mode=mode)
    assert (ours.single_observation_space, ours.single_action_space) == (
        theirs.single_observation_space,
        theirs.single_action_space,
    )
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert_same(ours.reset(seed=0), theirs.reset(seed=0))
    rng = np.random.default_rng(0)
    num_terminated = num_truncated = 0
    for _ in range(200):
        actions = rng.integers(0, 3, num_envs)
        ours_now, theirs_now = ours.step(actions), theirs.step(actions)
        assert_same(ours_now, theirs_now)
        _, _, terminated, truncated, _ = ours_now
        num_terminated, num_truncated = num_terminated + terminated.sum(), num_truncated + truncated.sum()
        ended = terminated | truncated
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_same(ours.reset(options={"reset_mask": ended}), theirs.reset(options={"reset_mask": ended.copy()}))
    assert min(num_terminated, num_truncated) > 3
    for frame, expected in zip(ours.render(), theirs.render(), strict=True):
        np.testing.assert_array_equal(frame, expected)


def test_a_masked_reset_takes_a_list_of_seeds_as_sync_vector_env_does() -> None:
    ours = DodgeVectorEnv(3, autoreset_mode="Disabled")
    theirs = SyncVectorEnv([lambda: single(300)] * 3, autoreset_mode="Disabled")
    assert_same(ours.reset(seed=[4, 0, 9]), theirs.reset(seed=[4, 0, 9]))
    mask, seeds = np.array([True, False, True]), [7, 8, None]
    options = {"reset_mask": mask}
    assert_same(ours.reset(seed=seeds, options=options), theirs.reset(seed=seeds, options={"reset_mask": mask}))
    assert "reset_mask" in options  # wrappers further out read it too
    for _ in range(6):
        assert_same(ours.step(np.zeros(3, int)), theirs.step(np.zeros(3, int)))


def test_resetting_one_lane_leaves_the_others_bit_identical() -> None:
    disturbed, alone = (DodgeVectorEnv(3, autoreset_mode="DISABLED") for _ in range(2))
    disturbed.reset(seed=0), alone.reset(seed=0)
    for t in range(8):
        if t == 3:
            disturbed.reset(options={"reset_mask": np.array([False, True, False])})
        one, other = disturbed.step(np.full(3, t % 3)), alone.step(np.full(3, t % 3))
        assert (one[0][1] == other[0][1]).all() == (t < 3)
        for ours, theirs in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(ours[[0, 2]], theirs[[0, 2]])


def test_a_lane_plays_the_same_game_whatever_the_number_of_lanes() -> None:
    few, many = DodgeVectorEnv(2), DodgeVectorEnv(9)
    np.testing.assert_array_equal(few.reset(seed=5)[0], many.reset(seed=5)[0][:2])
    for _ in range(60):
        np.testing.assert_array_equal(few.step(np.ones(2, int))[0], many.step(np.ones(9, int))[0][:2])


def test_every_returned_array_is_fresh() -> None:
    env, untouched = DodgeVectorEnv(2, autoreset_mode="SameStep"), DodgeVectorEnv(2, autoreset_mode="SameStep")
    results = [env.reset(seed=0)[0]]
    untouched.reset(seed=0)
    kept = [results[0].copy()]
    for _ in range(30):
        arrays = env.step([1, 2])[:4]
        for array, expected in zip(arrays, untouched.step([1, 2])[:4], strict=True):
            np.testing.assert_array_equal(array, expected)
            array[:] = 1  # what the caller does with it does not reach the env
        results.append(arrays[0])
        kept.append(np.ones_like(arrays[0]))
    np.testing.assert_array_equal(results, kept)


def test_things_branch_to_either_side_about_equally_often() -> None:
    world = world_with(ARMED, 32, dodge_world.BRANCH_Y - 3, num_lanes=2000)
    world.step(np.zeros(2000, int))
    right = world.kind[:, 0] == VEER_RIGHT
    assert ((world.kind[:, 0] == VEER_LEFT) | right).all()
    assert abs(right.mean() - 0.5) < 0.05


def test_nothing_before_the_branch_tells_its_side() -> None:
    world = world_with(ARMED, 32, dodge_world.BRANCH_Y - 6)
    world.key[:] = 0
    futures: dict[int, list[np.ndarray]] = {}
    for key in range(20):
        future = copy.deepcopy(world)
        future.step(np.array([0]))
        pictures = [future.draw(np.array([0]))]
        future.key[:] = key  # the same past, another randomness to come
        future.step(np.array([0]))
        pictures.append(future.draw(np.array([0])))
        futures[int(future.kind[0, 0])] = pictures
    left, right = futures[VEER_LEFT], futures[VEER_RIGHT]
    np.testing.assert_array_equal(left[0], right[0])
    assert (left[1] != right[1]).any()


def test_a_branch_is_wider_than_the_thing_and_ends_in_a_straight_fall() -> None:
    world = world_with(ARMED, 32, dodge_world.BRANCH_Y - 3)
    columns = []
    while world.kind[0, 0] != EMPTY and world.y[0, 0] < dodge_world.SHIP_Y:
        world.step(np.array([0]))
        columns.append(int(world.x[0, 0]))
    assert world.kind[0, 0] == SPENT
    assert abs(columns[-1] - 32) == 15
    assert set(columns[5:]) == {columns[-1]}


def test_a_hit_terminates_with_reward_zero_and_shows_the_wreck() -> None:
    env = DodgeEnv()
    env.reset(seed=0)
    env.world = world_with(ROCK, 32, dodge_world.SHIP_Y - dodge_world.REACH_Y - 2)
    before = env.world.draw(np.array([0]))[0]
    obs, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info) == (0.0, True, False, {})
    ship = (slice(dodge_world.SHIP_Y, dodge_world.SHIP_Y + 3), slice(29, 36))
    assert (obs[ship] != before[ship]).any(axis=-1).all()
    with pytest.raises(StepBeforeReset, match="the episode has ended"):
        env.step(0)


def test_the_ship_escapes_by_moving_aside() -> None:
    env = DodgeEnv()
    env.reset(seed=0)
    env.world = world_with(ROCK, 32, dodge_world.SHIP_Y - dodge_world.REACH_Y - 9)
    assert [env.step(2)[1:3] for _ in range(3)] == [(1.0, False)] * 3
    assert env.world.ship[0] == 32 + 3 * dodge_world.SHIP_STEP


def test_the_ship_stays_in_the_picture() -> None:
    world = world_with(EMPTY, 0, 0)
    for action, column in [(1, dodge_world.SHIP_MIN_X), (2, dodge_world.SHIP_MAX_X)]:
        for _ in range(25):
            world.step(np.array([action]))
        assert world.ship[0] == column


def test_the_keys_move_the_ship_to_their_side() -> None:
    env = DodgeEnv()
    keys = env.get_keys_to_action()
    assert all(env.action_space.contains(action) for action in keys.values())
    env.reset(seed=0)
    ship = [int(env.world.ship[0])]
    for key in ("a", "d", "d"):
        env.step(keys[(key,)])
        ship.append(int(env.world.ship[0]))
    assert np.sign(np.diff(ship)).tolist() == [-1, 1, 1]


def test_the_time_limit_only_truncates() -> None:
    env = DodgeVectorEnv(4, max_episode_steps=3)
    env.reset(seed=0)
    assert [env.step(np.zeros(4, int))[3].all() for _ in range(3)] == [False, False, True]
    _, rewards, terminated, truncated, _ = env.step(np.zeros(4, int))  # the reset step
    assert not np.any([rewards, terminated, truncated])
    unlimited = DodgeVectorEnv(1, max_episode_steps=None)
    unlimited.reset(seed=0)
    assert not any(unlimited.step([best_action(unlimited.world, 32)])[3][0] for _ in range(320))


def test_make_gives_the_env_with_its_time_limit_alone() -> None:
    env = dodge.make("rgb_array")
    assert isinstance(env, gym.wrappers.TimeLimit)
    assert isinstance(env.env, DodgeEnv)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(env.render()[::8, ::8], obs)
    assert env.render().shape == (512, 512, 3)


@pytest.mark.parametrize(
    ("action", "error", "match"),
    [
        ([0], InvalidAction, r"shape \(1,\)"),
        ([0, 1, 2], InvalidAction, r"shape \(3,\)"),
        ([0.0, 1.0], InvalidAction, "float64"),
        ([0, 3], InvalidAction, "0 to 3"),
        (1, InvalidActionType, "scalar 1"),
    ],
)
def test_a_bad_action_is_refused(action: Any, error: type[Exception], match: str) -> None:
    env = DodgeVectorEnv(2)
    env.reset(seed=0)
    with pytest.raises(error, match=match):
        env.step(action)
    assert issubclass(error, TypeError if np.ndim(action) == 0 else ValueError)


def test_a_bad_action_of_the_single_env_is_refused() -> None:
    env = DodgeEnv()
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="action is 3; Dodge-v0 expects"):
        env.step(3)


def test_nothing_works_before_the_first_reset() -> None:
    for env, action in [(DodgeEnv("rgb_array"), 0), (DodgeVectorEnv(1, "rgb_array"), [0])]:
        with pytest.raises(StepBeforeReset, match="no reset yet"):
            env.step(action)
        with pytest.raises(StepBeforeReset, match="no reset yet"):
            env.render()
    with pytest.raises(StepBeforeReset, match="first reset"):
        DodgeVectorEnv(2).reset(options={"reset_mask": np.array([True, False])})


def test_a_lane_that_ended_is_not_stepped_without_autoreset() -> None:
    env = DodgeVectorEnv(2, max_episode_steps=1, autoreset_mode="DISABLED")
    env.reset(seed=0)
    env.step([0, 0])
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(StepBeforeReset, match=r"lanes \[1\]"):
        env.step([0, 0])


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        ([True, False], TypeError, "list"),
        (np.array([1, 0]), TypeError, "int64"),
        (np.array([True]), ValueError, r"shape \(1,\)"),
        (np.array([False, False]), ValueError, "0 True"),
    ],
)
def test_a_bad_reset_mask_is_refused(mask: Any, error: type[Exception], match: str) -> None:
    env = DodgeVectorEnv(2)
    env.reset(seed=0)
    with pytest.raises(error, match=match):
        env.reset(options={"reset_mask": mask})


def test_bad_seeds_and_modes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="3 entries"):
        DodgeVectorEnv(2).reset(seed=[1, 2, 3])
    with pytest.raises(InvalidArgument, match="-1"):
        DodgeVectorEnv(2).reset(seed=[1, -1])
    with pytest.raises(InvalidArgument, match="'sometimes'"):
        DodgeVectorEnv(2, autoreset_mode="sometimes")
    with pytest.raises(InvalidArgument, match="'ansi'"):
        DodgeVectorEnv(2, render_mode="ansi")


def survival(driver: Driver, episodes: int) -> float:
    """Return the mean number of steps that a driver survives."""
    env, steps = dodge.make(), 0.0
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        driver.reset(env, np.random.default_rng(seed))
        ended = False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(driver.act(obs))
            steps += float(reward)
            ended = terminated or truncated
    return steps / episodes


def test_a_player_who_looks_lives_long_and_others_die_early() -> None:
    assert survival(EvasiveDriver(noise_levels=(0.0,)), 8) > 200
    assert 20 < survival(dodge.DRIVERS["random"](), 60) < 50
    assert 20 < survival(dodge.DRIVERS["idle"](), 60) < 50


def test_the_evasive_driver_expects_a_branch_to_either_side() -> None:
    for key in (3, 4, 5, 6):  # whichever side it will be
        world = world_with(ARMED, 17, dodge_world.BRANCH_Y - 3)
        world.key[:] = key
        assert best_action(world, 32) != 0  # it may land at 32, where the ship is


def test_the_mixture_names_the_drivers() -> None:
    assert dodge.MIXTURE.keys() == dodge.DRIVERS.keys()
    assert sum(dodge.MIXTURE.values()) == pytest.approx(1.0)


def test_the_code_is_fast_enough_to_be_a_fixture() -> None:
    env = DodgeVectorEnv(64)
    env.reset(seed=0)
    start = time.process_time()
    for _ in range(50):
        env.step(np.zeros(64, int))
    assert 50 * 64 / (time.process_time() - start) > 3000  # ten times less than it reaches
