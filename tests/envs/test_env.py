"""DreamEnv: Gymnasium's checks, seeds, endings, restored moments and what a bad call says."""

import re
import warnings

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.env_match import check_environments_match
from gymnasium.utils.performance import benchmark_step
from oracle import BUTTONS, LEVER, NUMBERS, PICTURES, CountingWorld, counting_dream
from torch import Tensor

from dreamgym import DreamEnv, DreamVectorEnv
from dreamgym.core.model import WorldModel
from dreamgym.errors import InvalidAction, InvalidArgument, InvalidArgumentType, NotDecodable, StepBeforeReset

ADVICE = "(A Box observation space|For Box action spaces)"  # features are unbounded, and levers go from -2 to 2


def walk(env, steps=10, seed=None, action=1):
    """Return all that an env shows in some steps from a reset on."""
    shown = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        obs, reward, terminated, truncated, info = env.step(action)
        shown.append(np.concatenate([obs, [reward, terminated, truncated, info["termination"]]]))
        if terminated or truncated:
            shown.append(env.reset()[0])
    return np.concatenate(shown)


@pytest.mark.filterwarnings(f"ignore:.*{ADVICE}")
@pytest.mark.parametrize("observation_space", [NUMBERS, PICTURES], ids=["numbers", "pictures"])
@pytest.mark.parametrize("action_space", [BUTTONS, LEVER], ids=["buttons", "lever"])
@pytest.mark.parametrize("observation", ["pixels", "features", "both"])
def test_gymnasiums_checker_finds_no_fault(observation, observation_space, action_space):
    dream = counting_dream(observation_space, action_space)
    mode = "rgb_array" if observation_space is PICTURES else None
    env = DreamEnv(dream, observation=observation, render_mode=mode)
    check_env(env, skip_render_check=True)


def test_two_envs_of_one_dream_match_step_by_step():
    dream = counting_dream(PICTURES, lengths=(9, 4), hazard=0.05)
    a, b = (DreamEnv(dream, observation="both", render_mode="rgb_array") for _ in range(2))
    check_environments_match(a, b, num_steps=100)


@pytest.mark.parametrize("seed", [0, 1, 2**62])
def test_the_same_seed_dreams_the_same_dream(seed):
    env = DreamEnv(counting_dream())
    first = walk(env, seed=seed)
    assert np.array_equal(first, walk(env, seed=seed))
    assert np.array_equal(first, walk(DreamEnv(counting_dream()), seed=seed))
    assert not np.array_equal(first, walk(env, seed=seed + 1))


def test_the_first_unseeded_reset_is_random_and_later_ones_go_on():
    dream = counting_dream(lengths=(0,))
    one, two = DreamEnv(dream), DreamEnv(dream)
    assert not np.array_equal(walk(one), walk(two))
    futures = []
    for env in (one, two):
        env.reset(seed=5)
        futures.append(walk(env))
    assert np.array_equal(*futures)
    assert not np.array_equal(futures[0], walk(one))


def test_the_seed_of_an_env_is_kept():
    env = DreamEnv(counting_dream())
    env.reset(seed=11)
    assert env.np_random_seed == 11
    env.reset()
    assert env.np_random_seed == 11


def test_returned_values_have_the_types_of_gymnasium():
    env = DreamEnv(counting_dream())
    env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step(1)
    assert isinstance(obs, np.ndarray)
    assert [type(x) for x in (reward, terminated, truncated)] == [float, bool, bool]
    assert (type(info["diverged"]), info["termination"].dtype) == (bool, np.float32)
    assert info["pair"].tolist() == [1, 1]


def test_returned_observations_are_fresh():
    env = DreamEnv(counting_dream(lengths=(0,)))
    first, _ = env.reset(seed=0)
    second = env.step(1)[0]
    first[:] = second[:] = 99
    third = env.step(1)[0]
    assert third[1] == 2
    assert third[0] < 8


def test_an_episode_ends_once_and_then_wants_a_reset():
    env = DreamEnv(counting_dream(lengths=(2,)))
    env.reset(seed=0)
    assert [env.step(0)[2] for _ in range(2)] == [False, True]
    with pytest.raises(StepBeforeReset, match=r"the episode has ended; call reset\(\) before the next step\(\)"):
        env.step(0)
    env.reset()
    assert not env.step(0)[2]


def test_the_time_limit_truncates_and_nothing_else():
    env = DreamEnv(counting_dream(lengths=(0,), max_episode_steps=3))
    for given, limit in ((env, 3), (DreamEnv(counting_dream(lengths=(0,)), max_episode_steps=2), 2)):
        given.reset(seed=0)
        flags = [given.step(0)[2:4] for _ in range(limit)]
        assert flags == [(False, False)] * (limit - 1) + [(False, True)]


def test_a_diverged_dream_is_truncated_in_its_last_finite_state():
    env = DreamEnv(counting_dream(action_space=LEVER, lengths=(0,), diverge_above=3.0))
    env.reset(seed=0)
    env.step([2.0])
    obs, reward, terminated, truncated, info = env.step([2.0])
    assert obs.tolist()[1:3] == [1.0, 2.0]
    assert (reward, terminated, truncated, info["diverged"]) == (0.0, False, True, True)
    assert np.isfinite(obs).all()
    assert np.isfinite(env.reset()[0]).all()


@pytest.mark.parametrize("call", [lambda env: env.step(0), lambda env: env.get_state(), lambda env: env.fork(2)])
def test_nothing_happens_before_the_first_reset(call):
    with pytest.raises(StepBeforeReset, match=r"no episode has begun; call reset\(\) first"):
        call(DreamEnv(counting_dream()))
    with pytest.raises(StepBeforeReset, match="no episode has begun"):
        DreamEnv(counting_dream(PICTURES), render_mode="rgb_array").render()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (3, "action is 3, out of range; Counting expects integers 0..2."),
        (1.0, "action has dtype float64; Counting expects integers 0..2."),
        ([1], "action has shape (1,); Counting expects integers 0..2."),
        (None, "action is None; Counting expects integers 0..2."),
    ],
)
def test_a_bad_action_is_refused_by_its_value_and_changes_nothing(action, message):
    env = DreamEnv(counting_dream())
    env.reset(seed=0)
    before = env.get_state()
    with pytest.raises(InvalidAction, match=f"^{re.escape(message)}$"):
        env.step(action)
    assert env.get_state() is before


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [(-1, InvalidArgument, "seed is -1; expected"), (0.5, InvalidArgumentType, "seed is 0.5; expected an integer")],
)
def test_a_bad_seed_is_refused_by_its_value(seed, error, message):
    with pytest.raises(error, match=message):
        DreamEnv(counting_dream()).reset(seed=seed)


def test_a_restored_moment_continues_identically_even_after_its_end():
    env = DreamEnv(counting_dream(lengths=(4, 6), hazard=0.1, max_episode_steps=5))
    shown, _ = env.reset(seed=0)
    state = env.get_state()
    futures = []
    for _ in range(3):
        assert np.array_equal(env.set_state(state), shown)
        rewards = []
        for _ in range(20):
            _, reward, terminated, truncated, _ = env.step(1)
            rewards.append((reward, terminated, truncated))
            if terminated or truncated:
                env.reset()
        futures.append((rewards, env.lanes.state.walk.item()))
    assert futures[0] == futures[1] == futures[2]


def test_a_moment_of_several_lanes_is_refused_by_their_number():
    envs = DreamVectorEnv(counting_dream(), 3)
    envs.reset(seed=0)
    with pytest.raises(InvalidArgument, match="state has 3 lanes; DreamEnv has 1"):
        DreamEnv(counting_dream()).set_state(envs.get_state())


def test_the_lanes_of_a_fork_share_the_present_and_the_options_and_differ_in_the_future():
    env = DreamEnv(counting_dream(lengths=(0,)), starts="first", max_episode_steps=7, observation="features")
    env.reset(seed=0)
    now = env.step(1)[0]
    fork = env.fork(6, seed=0)
    assert isinstance(fork, DreamVectorEnv)
    assert (fork.view.observe(fork.lanes.state) == now).all()
    assert (fork.simulator.max_episode_steps, len(fork.simulator.starts)) == (7, 4)
    obs, *_ = fork.step(np.ones(6, int))
    assert obs[:, 1].tolist() == [2] * 6
    assert len(set(obs[:, 3])) == 6
    assert env.step(1)[0][1] == 2  # the env itself stood still


def test_starts_first_begins_only_in_states_that_open_an_episode():
    env = DreamEnv(counting_dream(), starts="first")
    assert {env.reset(seed=seed)[0][0] for seed in range(60)} == {0, 2, 4, 6}


def test_torch_output_is_tensors_on_the_device():
    env = DreamEnv(counting_dream(), output="torch", observation="both")
    obs, _ = env.reset(seed=0)
    step = env.step(torch.tensor(1))
    for leaf in (*obs.values(), *step[0].values(), *step[1:4], *step[4].values()):
        assert isinstance(leaf, Tensor)
    assert step[1].shape == ()


def test_render_gives_a_picture_or_none():
    env = DreamEnv(counting_dream(PICTURES), render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    factor = env.render().shape[0] // 4
    assert np.array_equal(env.render()[::factor, ::factor], obs)
    env = DreamEnv(counting_dream(PICTURES))
    env.reset(seed=0)
    assert env.render() is None


def test_a_model_without_a_decoder_dreams_features_and_says_why_it_dreams_no_pixels():
    class Blind(CountingWorld):
        decode = WorldModel.decode

    dream = counting_dream()
    blind = type(dream)(Blind(dream.model.config, NUMBERS, BUTTONS), dream.starts)
    DreamEnv(blind, observation="features").reset(seed=0)
    with pytest.raises(NotDecodable, match="Blind has no decoder; use observation='features' instead of pixels"):
        DreamEnv(blind).reset(seed=0)
    env = DreamEnv(blind, observation="features", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(NotDecodable, match="Blind has no decoder"):
        env.render()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observation": "latent"}, "observation is 'latent'; expected one of 'pixels', 'features', 'both'."),
        ({"output": "jax"}, "output is 'jax'; expected one of 'numpy', 'torch'."),
        ({"render_mode": "human"}, "render_mode is 'human'; expected 'rgb_array' or None."),
        ({"starts": "last"}, "starts is 'last'; expected one of 'all', 'first'."),
        ({"termination": "often"}, "termination is 'often'; expected 'draw', 'threshold' or 'never'."),
        ({"max_episode_steps": -3}, "max_episode_steps is -3; expected at least 1, or None."),
    ],
)
def test_options_are_refused_by_their_value(kwargs, message):
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        DreamEnv(counting_dream(), **kwargs)


def test_gymnasiums_own_benchmark_runs_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert benchmark_step(DreamEnv(counting_dream()), target_duration=0.05) > 0
