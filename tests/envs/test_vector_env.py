"""DreamVectorEnv against SyncVectorEnv of DreamEnvs, and the contract of a vector env line by line."""

import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from oracle import LEVER, PICTURES, PICTURES64, CountingWorld, counting_dream
from torch import Tensor

from dreamgym import DreamEnv, DreamVectorEnv
from dreamgym.errors import (
    InvalidAction,
    InvalidActionType,
    InvalidArgument,
    InvalidArgumentType,
    StepBeforeReset,
)
from dreamgym.hub import LoadedDream


def make(num_envs=3, **kwargs):
    env_options = {k: kwargs.pop(k) for k in list(kwargs) if k in ENV_OPTIONS}
    return DreamVectorEnv(counting_dream(**kwargs), num_envs, **env_options)


ENV_OPTIONS = ("observation", "output", "autoreset_mode", "starts", "termination", "render_mode", "wrap")


def small_2018_dream():
    from dreamgym.core.starts import StartBank
    from dreamgym.models.vae_mdn_rnn import Config, State, VaeMdnRnn

    torch.manual_seed(0)
    config = Config(latent_dim=4, hidden_dim=8, num_mixtures=3, channels=(2, 2, 2, 2), ending_weight=0.3)
    model = VaeMdnRnn(config, PICTURES64, LEVER).eval()
    states = State(torch.randn(20, 4), torch.randn(20, 8), torch.randn(20, 8))
    return LoadedDream(model, StartBank(states, torch.arange(20) < 5), {"id": "Small", "max_episode_steps": 30})


def assert_close(a, b, exact):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_close(a[key], b[key], exact)
        return
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if a.dtype == object:
        assert [x is None for x in a] == [x is None for x in b]
        for x, y in zip(a, b, strict=True):
            if x is not None:
                assert_close(x, y, exact)
    elif exact or a.dtype == bool:
        assert np.array_equal(a, b)
    else:
        assert np.allclose(a, b, atol=1.01 if a.dtype == np.uint8 else 1e-4)


DREAMS = {
    "counting": lambda: counting_dream(lengths=(3, 17, 9), hazard=0.02, max_episode_steps=12),
    "counting pictures": lambda: counting_dream(PICTURES, lengths=(3, 17, 9), max_episode_steps=12),
    "diverging": lambda: counting_dream(action_space=LEVER, lengths=(0,), diverge_above=2.0, max_episode_steps=12),
    "vae_mdn_rnn": small_2018_dream,
}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize(
    ("name", "observation"),
    [("counting", "both"), ("counting pictures", "pixels"), ("diverging", "features"), ("vae_mdn_rnn", "features")],
)
def test_the_vector_env_equals_a_sync_vector_env_of_single_envs(name, observation, mode):
    dream = DREAMS[name]()
    ours = DreamVectorEnv(dream, 4, observation=observation, autoreset_mode=mode)
    sync = SyncVectorEnv([lambda: DreamEnv(dream, observation=observation)] * 4, autoreset_mode=mode)
    for attribute in ("num_envs", "observation_space", "action_space", "single_observation_space",
                      "single_action_space"):  # fmt: skip
        assert getattr(ours, attribute) == getattr(sync, attribute)
    exact = name != "vae_mdn_rnn"
    for one, two in zip(ours.reset(seed=0), sync.reset(seed=0), strict=True):
        assert_close(one, two, exact)
    ours.action_space.seed(0)
    ends = 0
    for _ in range(300):
        action = ours.action_space.sample()
        mine, theirs = ours.step(action), sync.step(action)
        for one, two in zip(mine, theirs, strict=True):
            assert_close(one, two, exact)
        ends += (mine[2] | mine[3]).sum()
    assert ends > 30


def test_returned_values_have_the_dtypes_of_gymnasium():
    env = make()
    obs, _ = env.reset(seed=0)
    obs, reward, terminated, truncated, info = env.step(np.zeros(3, int))
    assert obs in env.observation_space
    assert (reward.dtype, terminated.dtype, truncated.dtype) == (np.float64, bool, bool)
    assert info["diverged"].dtype == bool


@pytest.mark.parametrize("output", ["numpy", "torch"])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_returned_arrays_are_fresh_and_share_nothing_with_the_state(output, mode):
    env = make(lengths=(2, 7), observation="both", output=output, autoreset_mode=mode, max_episode_steps=9)
    reference = make(lengths=(2, 7), observation="both", output=output, autoreset_mode=mode, max_episode_steps=9)

    def arrays(value):
        if isinstance(value, dict):
            return [leaf for part in value.values() for leaf in arrays(part)]
        if isinstance(value, tuple):
            return [leaf for part in value for leaf in arrays(part)]
        if isinstance(value, np.ndarray) and value.dtype == object:
            return [leaf for part in value if part is not None for leaf in arrays(part)]
        return [value]

    def spoil(value):
        for leaf in arrays(value):
            leaf[...] = leaf == 0 if leaf.dtype in (bool, torch.bool) else 77

    def check(returned, expected):
        ours, theirs = arrays(returned), arrays(expected)
        for a, b in zip(ours, theirs, strict=True):
            assert np.array_equal(a, b)
        for i, a in enumerate(ours):
            before = [np.asarray(x).copy() for x in ours]
            spoil(a)
            for j, b in enumerate(ours):
                assert i == j or np.array_equal(b, before[j]), "two returned arrays share memory"

    check(env.reset(seed=0), reference.reset(seed=0))
    for _ in range(20):
        if mode is AutoresetMode.DISABLED and reference.lanes.done.any():
            mask = reference.lanes.done.numpy().copy()
            check(env.reset(options={"reset_mask": mask}), reference.reset(options={"reset_mask": mask}))
        check(env.step(np.ones(3, int)), reference.step(np.ones(3, int)))


def test_an_array_owns_its_memory_even_if_the_models_features_do_not():
    class Sharing(CountingWorld):
        feature_dim = 1

        def features(self, state):
            return state.t[:, None]

    dream = counting_dream(lengths=(0,))
    sharing = Sharing(dream.model.config, dream.model.observation_space, dream.model.action_space)
    env = DreamVectorEnv(LoadedDream(sharing, dream.starts), 2, observation="features")
    env.reset(seed=0)[0][:] = 50
    env.step(np.zeros(2, int))[0][:] = 60
    assert env.step(np.zeros(2, int))[0].tolist() == [[2], [2]]


def test_the_same_seed_gives_the_same_dream_zero_included_and_lane_i_is_seed_plus_i():
    for seed in (0, 5, np.int64(5)):
        one, two = (make().reset(seed=seed)[0] for _ in range(2))
        assert np.array_equal(one, two)
    assert not np.array_equal(make(30).reset(seed=0)[0], make(30).reset(seed=1000)[0])
    for lane in range(3):
        single = DreamEnv(counting_dream())
        assert np.array_equal(single.reset(seed=5 + lane)[0], make().reset(seed=5)[0][lane])


def test_the_first_unseeded_reset_is_random_and_later_ones_go_on():
    one, two = make(30), make(30)
    assert not np.array_equal(one.reset()[0], two.reset()[0])
    one, two = make(30), make(30)
    first = one.reset(seed=3)[0], two.reset(seed=3)[0]
    second = one.reset()[0], two.reset()[0]
    assert np.array_equal(*first)
    assert np.array_equal(*second)
    assert not np.array_equal(first[0], second[0])
    assert not np.array_equal(second[0], one.reset()[0])


def test_an_integer_seed_is_kept_until_the_next_one():
    env = make()
    env.reset(seed=42)
    assert env.np_random_seed == 42
    env.reset()
    assert env.np_random_seed == 42
    env.reset(seed=np.int64(7))
    assert env.np_random_seed == 7


def test_a_list_seeds_each_lane_and_none_lets_a_lane_go_on():
    env = make()
    start, _ = env.reset(seed=[7, 9, 7])
    assert start[0].tolist() == start[2].tolist()
    env.step(np.ones(3, int))
    seeds = env.lanes.seed.tolist()
    again, _ = env.reset(seed=[7, None, None])
    assert again[0].tolist() == start[0].tolist()
    assert env.lanes.seed.tolist() == seeds
    assert env.lanes.episode.tolist() == [0, 1, 1]


@pytest.mark.parametrize("huge", [2**63 - 1, 2**64 + 3, 10**30])
def test_a_seed_of_any_size_is_a_seed(huge):
    one, two = (make().reset(seed=huge)[0] for _ in range(2))
    assert np.array_equal(one, two)
    assert np.array_equal(DreamEnv(counting_dream()).reset(seed=huge)[0], one[0])


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        ([1, 2], InvalidArgument, "seed lists 2 seeds; expected one for each of 3 lanes."),
        ([1, -2, 3], InvalidArgument, "seed is -2; expected an integer that is not negative."),
        (-1, InvalidArgument, "seed is -1; expected an integer that is not negative."),
        (1.5, InvalidArgumentType, "seed is 1.5; expected an integer, or a list with one or None for each of 3 lanes."),
        ([1, 2.5, 3], InvalidArgumentType, "seed is 2.5; expected an integer."),
        ("abc", InvalidArgumentType, "seed is 'abc'; expected an integer, or a list"),
    ],
)
def test_a_bad_seed_is_refused_by_its_value(seed, error, message):
    env = make()
    with pytest.raises(error, match=re.escape(message)):
        env.reset(seed=seed)
    with pytest.raises(StepBeforeReset):
        env.step(np.zeros(3, int))


def test_a_partial_reset_restarts_the_masked_lanes_and_leaves_the_others():
    env = make(lengths=(0,), autoreset_mode="Disabled")
    start, _ = env.reset(seed=[0, 1, 2])
    for _ in range(3):
        obs, *_ = env.step(np.ones(3, int))
    again, _ = env.reset(seed=[0, 1, 0], options={"reset_mask": np.array([True, True, False])})
    assert np.array_equal(again[:2], start[:2])
    assert np.array_equal(again[2], obs[2])
    assert env.lanes.seed.tolist() == [0, 1, 2]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_the_mask_is_read_in_every_mode_and_stays_in_the_callers_dict(mode):
    env = make(lengths=(0,), autoreset_mode=mode)
    env.reset(seed=0)
    env.step(np.ones(3, int))
    options = {"reset_mask": np.array([False, True, False])}
    obs, _ = env.reset(options=options)
    assert obs[:, 1].tolist() == [1, 0, 1]
    assert options["reset_mask"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.array([True]), ValueError, "options['reset_mask'] has shape (1,); expected (3,)."),
        (np.array([True] * 4), ValueError, "options['reset_mask'] has shape (4,); expected (3,)."),
        (np.array([[True] * 3]), ValueError, "options['reset_mask'] has shape (1, 3); expected (3,)."),
        (np.zeros(3, bool), ValueError, "options['reset_mask'] names no lane; expected at least one True."),
        (np.array([1, 1, 0]), TypeError, "options['reset_mask'] has dtype int64; expected bool."),
        (np.array([1.0, 1.0, 0.0]), TypeError, "options['reset_mask'] has dtype float64; expected bool."),
        ([True, True, False], TypeError, "options['reset_mask'] is a list; expected an array of bool."),
        (torch.zeros(3), TypeError, "options['reset_mask'] has dtype torch.float32; expected bool."),
    ],
)
def test_a_bad_mask_is_refused_by_its_value_and_resets_nothing(mask, error, message):
    env = make(lengths=(0,), autoreset_mode="Disabled")
    env.reset(options={"reset_mask": np.ones(3, bool)})
    env.step(np.ones(3, int))
    with pytest.raises(error, match=re.escape(message)):
        env.reset(options={"reset_mask": mask})
    assert env.lanes.state.t.tolist() == [1] * 3


def test_a_mask_may_be_read_only():
    env = make(lengths=(0,))
    env.reset(seed=0)
    env.step(np.ones(3, int))
    mask = np.array([False, True, False])
    mask.flags.writeable = False
    assert env.reset(options={"reset_mask": mask})[0][:, 1].tolist() == [1, 0, 1]


def test_a_mask_may_be_a_tensor():
    env = make(lengths=(0,), output="torch")
    env.reset(seed=0)
    env.step(torch.ones(3, dtype=torch.int64))
    assert env.reset(options={"reset_mask": torch.tensor([True, False, True])})[0][:, 1].tolist() == [0, 1, 0]


def test_the_number_of_actions_must_be_the_number_of_lanes():
    env = make(4)
    env.reset(seed=0)
    actions = env.action_space.sample()
    env.step(actions)
    with pytest.raises(ValueError, match=r"action has shape \(3,\); Counting expects \(4,\) integers 0..2"):
        env.step(actions[:3])
    with pytest.raises(ValueError, match=r"action has shape \(5,\); Counting expects \(4,\) integers 0..2"):
        env.step(np.append(actions, 0))
    with pytest.raises(TypeError, match=r"action is 0; Counting expects \(4,\) integers 0..2"):
        env.step(0)


def test_a_bad_action_leaves_the_lanes_where_they_are():
    env = make(action_space=LEVER)
    env.reset(seed=0)
    before = env.get_state()
    for action, error in (([[0.0], [np.nan], [0.0]], InvalidAction), ([["a"]] * 3, InvalidActionType)):
        with pytest.raises(error):
            env.step(action)
    assert env.get_state() is before


def test_disabled_lanes_that_ended_refuse_to_step():
    env = make(lengths=(2,), autoreset_mode="Disabled")
    env.reset(seed=0)
    env.step(np.zeros(3, int))
    env.step(np.zeros(3, int))
    with pytest.raises(StepBeforeReset, match=re.escape("the episodes of lanes [0, 1, 2] have ended; reset them with")):
        env.step(np.zeros(3, int))
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(StepBeforeReset, match=re.escape("the episodes of lanes [1] have ended")):
        env.step(np.zeros(3, int))


@pytest.mark.parametrize("call", [lambda env: env.step(np.zeros(3, int)), lambda env: env.get_state(),
                                  lambda env: env.fork(0, 2), lambda env: env.render()])  # fmt: skip
def test_nothing_happens_before_the_first_reset(call):
    with pytest.raises(StepBeforeReset, match=r"no episode has begun; call reset\(\) first"):
        call(make(observation_space=PICTURES, render_mode="rgb_array"))


def test_the_time_limit_is_the_cards_unless_another_is_given():
    dream = counting_dream(lengths=(0,), max_episode_steps=3)
    for given, limit in ((None, 3), (2, 2), (5, 5)):
        env = DreamVectorEnv(dream, 2, max_episode_steps=given)
        env.reset(seed=0)
        truncated = [env.step(np.zeros(2, int))[3].tolist() for _ in range(limit)]
        assert truncated == [[False] * 2] * (limit - 1) + [[True] * 2]


def test_a_restored_moment_continues_identically():
    env = make(lengths=(4, 6), hazard=0.1, max_episode_steps=5)
    env.reset(seed=0)
    env.step(np.ones(3, int))
    state, futures = env.get_state(), []
    shown = env.view.observe(state.state)
    for _ in range(2):
        assert np.array_equal(env.set_state(state), shown)
        futures.append([np.concatenate([x.ravel() for x in env.step(np.ones(3, int))[:4]]) for _ in range(12)])
    assert np.array_equal(*futures)
    other = make(lengths=(4, 6), hazard=0.1, max_episode_steps=5)
    assert np.array_equal(other.set_state(state), shown)  # even one that was never reset


def test_a_moment_of_other_lanes_is_refused_by_their_number():
    env = make(2)
    env.reset(seed=0)
    with pytest.raises(InvalidArgument, match="state has 2 lanes; this env has 3"):
        make(3).set_state(env.get_state())


def test_the_lanes_of_a_fork_share_the_present_and_the_options_and_differ_in_the_future():
    options = {"observation": "both", "output": "torch", "termination": "threshold", "autoreset_mode": "SameStep"}
    env = DreamVectorEnv(counting_dream(lengths=(0,)), 3, starts="first", max_episode_steps=7, **options)
    env.reset(seed=0)
    env.step(np.ones(3, int))
    fork = env.fork(2, 5, seed=1)
    assert fork.num_envs == 5
    assert fork.autoreset_mode is AutoresetMode.SAME_STEP
    assert (fork.view.observation, fork.view.output) == ("both", "torch")
    simulator = fork.simulator
    assert (simulator.termination, simulator.max_episode_steps, len(simulator.starts)) == ("threshold", 7, 4)
    now = env.view.observe(env.lanes.state)["features"][2]
    assert (fork.view.observe(fork.lanes.state)["features"] == now).all()
    walk = fork.step(np.ones(5, int))[0]["features"][:, 3]
    assert len(set(walk.tolist())) == 5
    assert env.lanes.state.t.tolist() == [1] * 3
    again = env.fork(2, 5, seed=1).step(np.ones(5, int))[0]["features"][:, 3]
    assert torch.equal(walk, again)
    assert env.fork(0, 2, observation="features", max_episode_steps=3).simulator.max_episode_steps == 3


def test_unseeded_forks_differ():
    env = make(lengths=(0,))
    env.reset(seed=0)
    walks = [env.fork(0, 1).step(np.ones(1, int))[0][0, 3] for _ in range(2)]
    assert walks[0] != walks[1]


def test_torch_output_is_tensors_throughout():
    env = make(output="torch", observation="both", lengths=(2,), autoreset_mode="SameStep")
    obs, _ = env.reset(seed=0)
    returned = [obs, *env.step(torch.ones(3, dtype=torch.int64)), *env.step(np.ones(3, int))]
    returned += [part for value in returned if isinstance(value, dict) for part in value.values()]
    for value in returned:
        for leaf in value.values() if isinstance(value, dict) else [value]:
            assert isinstance(leaf, (Tensor, dict))
    assert returned[2].dtype == torch.float32


def test_attributes_that_consumers_read_are_there():
    env = make(observation_space=PICTURES, render_mode="rgb_array")
    env.reset(seed=0)
    assert env.autoreset_mode is AutoresetMode.NEXT_STEP
    assert env.get_attr("render_mode") == ("rgb_array",) * 3
    assert len(env.call("render")) == 3
    assert env.device == torch.device("cpu")
    env.set_attr("note", [1, 1, 1])
    assert env.note == 1
    env.set_attr("note", 2)
    assert env.get_attr("note") == (2, 2, 2)
    with pytest.raises(InvalidArgument, match="note is given 2 values; expected one, or the same for each of 3 lanes"):
        env.set_attr("note", [1, 2])
    with pytest.raises(InvalidArgument, match="note is given the values 1, 2, 3; all lanes share one"):
        env.set_attr("note", [1, 2, 3])


def test_options_are_refused_by_their_value():
    dream = counting_dream()
    for kwargs, message in (
        ({"num_envs": 0}, "num_envs is 0; expected at least 1 lane."),
        ({"render_mode": "ansi"}, "render_mode is 'ansi'; expected 'rgb_array', 'human' or None."),
        ({"observation": "latent"}, "observation is 'latent'; expected one of 'pixels', 'features', 'both'."),
        ({"output": "jax"}, "output is 'jax'; expected one of 'numpy', 'torch'."),
        ({"autoreset_mode": "never"}, "autoreset_mode is 'never'; expected one of 'NextStep', 'SameStep', 'Disabled'."),
        ({"starts": "last"}, "starts is 'last'; expected one of 'all', 'first'."),
        ({"termination": "often"}, "termination is 'often'; expected 'draw', 'threshold' or 'never'."),
        ({"max_episode_steps": 0}, "max_episode_steps is 0; expected at least 1, or None."),
    ):
        with pytest.raises(InvalidArgument, match=re.escape(message)):
            DreamVectorEnv(dream, **{"num_envs": 2, **kwargs})


def test_starts_first_begins_only_in_states_that_open_an_episode():
    env = make(200, starts="first")
    assert set(env.reset(seed=0)[0][:, 0]) == {0, 2, 4, 6}
    assert set(make(200).reset(seed=0)[0][:, 0]) == set(range(8))


def test_render_shows_each_lane_enlarged_by_whole_pixels():
    env = make(observation_space=PICTURES, render_mode="rgb_array")
    obs, _ = env.reset(seed=0)
    frames = env.render()
    assert len(frames) == 3
    factor = frames[1].shape[0] // 4
    assert frames[1].shape == (4 * factor, 6 * factor, 3)
    assert np.array_equal(frames[1][::factor, ::factor], obs[1])
    assert make(observation_space=PICTURES).render() is None


def test_a_dream_of_numbers_is_plotted():
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    pictures = env.render()
    assert len(pictures) == env.num_envs
    assert pictures[0].dtype == np.uint8
    assert pictures[0].ndim == 3


def test_a_window_shows_the_first_picture_and_every_later_one():
    pygame = pytest.importorskip("pygame")
    env = make(observation_space=PICTURES, render_mode="human")
    env.metadata["render_fps"] = 1000
    env.reset(seed=0)
    shown = [pygame.surfarray.array3d(pygame.display.get_surface())]
    env.step(np.ones(3, int))
    shown.append(pygame.surfarray.array3d(pygame.display.get_surface()))
    assert shown[0].any()
    assert not np.array_equal(*shown)
    env.close()
    assert not pygame.display.get_init()


def test_buttons_that_do_not_begin_at_zero_are_pressed_by_their_own_number():
    env = DreamVectorEnv(counting_dream(action_space=gym.spaces.Discrete(3, start=4)), 2)
    env.reset(seed=0)
    assert env.step(np.array([4, 6]))[1].tolist() == pytest.approx([1.0, 1.2])
    with pytest.raises(
        InvalidAction, match=r"action of lane 1 is 3, out of range; Counting expects \(2,\) integers 4..6"
    ):
        env.step(np.array([4, 3]))


def test_wrappers_of_sb3_are_refused_with_its_own_env_named():
    from stable_baselines3.common.vec_env import VecMonitor

    with pytest.raises(InvalidArgumentType, match=r"DreamVectorEnv is a Gymnasium vector env; .*sb3.DreamVecEnv"):
        VecMonitor(make(autoreset_mode="SameStep"))
