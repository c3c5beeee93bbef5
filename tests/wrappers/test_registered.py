"""Every registered wrapper, alone, in any other and around everything that steps a dream."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from dreamgym.wrappers.feature_observation import FeatureObservation
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from target import TargetState, target
from wrapped import ARGUMENTS, Doubtful, doubtful_dream

import dreamgym
from dreamgym.agents.dreamer import train_dreamer
from dreamgym.agents.evolution import expected_returns
from dreamgym.core.check import check_world_model
from dreamgym.core.imagine import imagine
from dreamgym.core.policy import Policy, PolicyConfig
from dreamgym.core.starts import make_start_bank, observe_moments
from dreamgym.core.tree import named_leaves
from dreamgym.core.wrapper import ModelWrapper, WrapSpec, begin
from dreamgym.data.episodes import Episode
from dreamgym.envs.open import open_dream
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidArgument
from dreamgym.planners.mpc import ModelPredictiveControl
from dreamgym.registry import PLANNERS, WRAPPERS
from dreamgym.testing.counting import BUTTONS, NUMBERS, Counted, CountingConfig, CountingWorld, counting_world
from dreamgym.viewer.worlds import DreamWorld

ALL = [(name, ARGUMENTS[name]) for name in WRAPPERS]
STACK = [
    ("random_temperature", {"low": 0.5, "high": 2.0}),
    ("temperature", {"temperature": 2.0}),
    ("horizon", {"horizon": 4}),
]
MODES = list(AutoresetMode)


def doubtful(wrap: WrapSpec, **kwargs: Any) -> Any:
    """Return the counting dream in these wrappers."""
    return open_dream(doubtful_dream(**kwargs), None, wrap, "cpu")


@pytest.mark.parametrize("names", list(product(WRAPPERS, repeat=2)), ids="-".join)
def test_a_model_in_any_two_wrappers_keeps_the_contract(names: tuple[str, str]) -> None:
    model = Doubtful(counting_world())
    for name in names:
        model = WRAPPERS.load(name)(model, **ARGUMENTS[name])
    check_world_model(model)


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_shown_of_a_state_is_what_the_wrapped_model_shows(name: str) -> None:
    plain, wrapped = doubtful_dream(), doubtful([(name, ARGUMENTS[name])])
    uniform = torch.rand(5, generator=torch.Generator().manual_seed(0))
    before, after = plain.starts.sample(uniform), wrapped.starts.sample(uniform)
    assert torch.equal(wrapped.model.features(after), plain.model.features(before))
    assert torch.equal(wrapped.model.decode(after), plain.model.decode(before))


@pytest.mark.parametrize("wrap", [*([pair] for pair in ALL), ALL, ALL[::-1]], ids=lambda wrap: wrap[0][0])
def test_a_spec_keeps_its_wrappers_as_json(wrap: WrapSpec) -> None:
    env = gym.make("DreamCartPole-v0", wrap=wrap)
    assert env.spec is not None
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    envs = gym.make_vec("DreamCartPole-v0", num_envs=2, wrap=json.loads(json.dumps(wrap)))
    assert np.array_equal(env.reset(seed=7)[0], again.reset(seed=7)[0])
    assert np.allclose(envs.reset(seed=7)[0][0], env.reset(seed=7)[0])
    for _ in range(5):
        one, two, many = env.step(1), again.step(1), envs.step(np.array([1, 0]))
        assert np.array_equal(one[0], two[0])
        assert one[1:4] == two[1:4]
        assert np.allclose(many[0][0], one[0], atol=1e-5)
        assert (many[1][0], many[2][0], many[3][0]) == (pytest.approx(one[1], abs=1e-4), *one[2:4])
        if one[2] or one[3]:
            break


@pytest.mark.parametrize("mode", MODES)
def test_lanes_of_wrapped_dreams_are_those_of_single_envs(mode: AutoresetMode) -> None:
    dream = doubtful(STACK)
    envs = DreamVectorEnv(dream, 3, autoreset_mode=mode)
    singles = [DreamVectorEnv(dream, 1, autoreset_mode=mode) for _ in range(3)]
    seen = envs.reset(seed=5)[0]
    assert np.array_equal(seen, np.concatenate([env.reset(seed=5 + i)[0] for i, env in enumerate(singles)]))
    for _ in range(20):
        together, apart = envs.step(np.ones(3, int)), [env.step(np.ones(1, int)) for env in singles]
        for part in range(4):
            assert np.array_equal(together[part], np.concatenate([step[part] for step in apart]))
        if mode is AutoresetMode.DISABLED and (over := together[2] | together[3]).any():
            envs.reset(options={"reset_mask": over})
            for env, ended in zip(singles, over, strict=True):
                if ended:
                    env.reset(options={"reset_mask": np.array([True])})


def test_a_kept_moment_holds_what_wrappers_remember_and_a_fork_goes_on_from_it() -> None:
    env = DreamVectorEnv(doubtful(STACK, lengths=(0,)), 2)
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    kept = env.get_state()
    first = [env.step(np.zeros(2, int)) for _ in range(6)]
    env.set_state(kept)
    again = [env.step(np.zeros(2, int)) for _ in range(6)]
    for a, b in zip(first, again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a[:4], b[:4], strict=True))
    env.set_state(kept)
    futures = env.fork(1, 5, seed=9)
    steps = [futures.step(np.zeros(5, int)) for _ in range(3)]
    assert [step[3].all() for step in steps] == [False, False, True]  # of 4 steps one was taken before
    own = kept.state.inner.temperature
    assert np.allclose(steps[0][4]["temperature"], 2 * own[1].item())
    assert len(np.unique(steps[2][0][:, 3])) == 5


def test_a_bank_made_by_a_wrapped_model_is_the_wrapped_bank() -> None:
    obs = np.arange(24, dtype=np.float32).reshape(6, 4)
    episode = Episode(obs, np.ones(5, np.int64), np.zeros(5, np.float32), terminated=False, truncated=True)
    wrapped = doubtful(STACK)
    bank = make_start_bank(wrapped.model, [episode], num_states=4)
    assert named_leaves(bank.states).keys() == named_leaves(wrapped.starts.states).keys()
    state = bank.sample(torch.tensor([0.0, 0.5]))
    out = wrapped.model.step(state, torch.eye(3)[:2], torch.zeros(2, wrapped.model.noise_dim))
    assert torch.allclose(out.info["temperature"], torch.full((2,), 2.0))  # the median of 0.5 to 2, times 2
    assert len(observe_moments(wrapped.model, [episode], [np.arange(6)])) == 6


def test_wrapping_keeps_the_numbers_of_a_bank_as_small_as_they_were() -> None:
    before, after = named_leaves(doubtful_dream().starts.states), named_leaves(doubtful(STACK).starts.states)
    for name, leaf in before.items():
        assert after[f"inner.inner.{name}"].dtype == leaf.dtype == torch.float16


def test_a_wrapped_world_is_imagined_and_learned_in() -> None:
    dream = open_dream(target(), None, STACK, "cpu")
    state = dream.starts.sample(torch.rand(4))
    noise = torch.zeros(6, 4, dream.model.noise_dim)
    rollout = imagine(dream.model, state, lambda features: features.tanh(), 6, noise)
    assert rollout.reward.shape == (6, 4)
    assert rollout.state.steps.tolist() == [6] * 4  # not cut at 4
    policy, curve = train_dreamer(dream, updates=2, starts_per_update=8)
    assert policy.act(dream.model.features(state)).shape == (4, 1)
    assert np.isfinite(list(curve[-1].figures.values())).all()


def test_candidates_of_an_evolution_meet_the_same_temperatures() -> None:
    dream = open_dream(target(), None, [("random_temperature", {})], "cpu")
    policy = Policy(PolicyConfig(input_dim=1), dream.model.action_space)
    weights = torch.zeros(2, policy.num_weights())
    one, two = expected_returns(dream.model, dream.starts, policy, weights, 3, 5, 0, 1).tolist()
    assert one == two


@pytest.mark.parametrize("name", PLANNERS)
def test_any_planner_plans_in_a_wrapped_world(name: str) -> None:
    discrete = name in ("rollout", "tree")
    dream = open_dream(target(num_actions=3) if discrete else target(), None, STACK, "cpu")
    planner = PLANNERS.load(name)
    horizon = 1 if name == "random" else 6  # chance alone finds one action, not six
    mpc = ModelPredictiveControl(dream.model, planner(planner.config_class(horizon=horizon)))
    mpc.reset([0, 1])
    state = begin(dream.model, target().model, TargetState(torch.full((2, 1), 1 / 3)))  # here 0 is best
    action = mpc.act_on(state)
    assert action.tolist() == [1, 1] if discrete else np.abs(action).max() < 0.4


def test_a_real_env_filtered_by_a_wrapped_model_shows_the_same_features() -> None:
    dream = dreamgym.load("DreamCartPole-v0")
    wrapped = open_dream(dream, None, STACK, "cpu")
    plain, inside = (FeatureObservation(gym.make("CartPole-v1"), model) for model in (dream.model, wrapped.model))
    assert np.array_equal(plain.reset(seed=0)[0], inside.reset(seed=0)[0])
    for _ in range(4):
        assert np.array_equal(plain.step(1)[0], inside.step(1)[0])
    assert inside.state.steps.tolist() == [0]  # nothing of it was dreamed


def test_a_wrapped_dream_is_played() -> None:
    world = DreamWorld(doubtful(STACK, lengths=(0,)))
    world.reset(0)
    assert world.step(1)[0].truncated is False
    world.temperature = 1.5
    assert world.between(1, 0.5)[0].shape == (4,)
    futures = world.fork(3, seed=1)
    assert [futures.step(1)[0].truncated for _ in range(3)] == [False, False, True]
    assert world.only(0).features().shape == (1, 4)


def test_a_wrapper_made_of_wrappers_begins_in_all_of_them() -> None:
    from dreamgym.wrappers.horizon import Horizon
    from dreamgym.wrappers.random_temperature import RandomTemperature

    WRAPPERS.register("both", f"{__name__}:both")
    globals()["both"] = lambda model: Horizon(RandomTemperature(model), 2)
    try:
        env = DreamVectorEnv(doubtful([("both", {}), ("temperature", {"temperature": 2})]), 2)
        env.reset(seed=0)
        assert [env.step(np.zeros(2, int))[3].all() for _ in range(2)] == [False, True]
    finally:
        del WRAPPERS._targets["both"], globals()["both"]


def test_a_plain_wrapper_hands_on_only_the_noise_that_its_model_uses() -> None:
    class Wider(ModelWrapper[Any]):
        def __init__(self, model: Any) -> None:
            super().__init__(model)
            self.noise_dim = model.noise_dim + 3

    class Strict(CountingWorld):
        def observe(self, state: Any, action: Any, obs: Any, is_first: Any, noise: Any = None) -> Counted:
            assert noise.shape == (2, self.noise_dim)
            return super().observe(state, action, obs, is_first, noise)

    model, first = Strict(CountingConfig(), NUMBERS, BUTTONS), torch.ones(2, dtype=torch.bool)
    noise = torch.arange(10.0).view(2, 5)
    seen = Wider(model).observe(model.initial(2), torch.eye(3)[:2], torch.zeros(2, 4), first, noise)
    assert torch.equal(seen.walk, noise[:, 1])


def test_an_argument_that_a_wrapper_does_not_take_is_named() -> None:
    with pytest.raises(InvalidArgument, match="wrapper 'horizon' does not take {'steps': 3}"):
        doubtful([("horizon", {"steps": 3})])
