"""Deep Dyna on a world whose model is exact: what is dreamed, where it begins, and what the algorithm learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from dreamgym.wrappers.horizon import Horizon
from dreamgym.wrappers.penalize_disagreement import PenalizeDisagreement
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit
from oracle import PUSH, TURN
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

from dreamgym.core.model import StageConfig, Transition, WorldModel
from dreamgym.data.episodes import Dataset
from dreamgym.errors import InvalidArgument, InvalidDataset, InvalidModel, MissingHead
from dreamgym.hub import build_model
from dreamgym.models.tabular import Config, Tabular
from dreamgym.online.mbpo import Mbpo, MbpoConfig, MixedBuffer, Transitions, branch

OBS, ACT = spaces.Box(-np.inf, np.inf, (2,), np.float32), spaces.Box(-3, 3, (1,), np.float32)
ROUND = MbpoConfig(every=20, starts=30, horizon=4, kept_rounds=2, first_updates=1, updates=1)


class Slope(gym.Env):
    """A linear world that ends where its second number exceeds 1."""

    observation_space, action_space = OBS, ACT

    def __init__(self):
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(size=2).astype(np.float32) * 0.5
        return self.x, {}

    def step(self, action):
        self.steps += 1
        self.x = (TURN @ self.x + PUSH * action).astype(np.float32)
        return self.x, float(self.x[0]), bool(self.x[1] > 1), False, {}


@dataclass(frozen=True)
class SlopeState:
    x: Tensor  # [B, 2]


class ExactSlope(WorldModel[SlopeState], nn.Module):
    """`Slope`, known exactly; its only weight is trained towards 0 and does nothing."""

    observation_space, action_space = OBS, ACT
    noise_dim, feature_dim = 1, 2
    stages = {"nothing": StageConfig(steps=1, batch_size=4, sequence_length=1)}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def initial(self, batch_size):
        return SlopeState(torch.zeros(batch_size, 2))

    def observe(self, state, action, obs, is_first, noise=None):
        return SlopeState(obs)

    def step(self, state, action, noise=None, temperature=1.0):
        x = state.x @ torch.tensor(TURN).T + torch.tensor(PUSH) * action
        return Transition(SlopeState(x), x[:, 0], (x[:, 1] > 1).float(), {"disagreement": action[:, 0].abs()})

    def features(self, state):
        return state.x

    def decode(self, state):
        return state.x

    def stage_parameters(self, stage):
        return [self.weight]

    def stage_inputs(self, obs, stage):
        return None

    def loss(self, batch, stage):
        return self.weight.square(), {"weight": self.weight.detach()}


class Changed(ExactSlope):
    """An `ExactSlope` with something else in its transitions."""

    def __init__(self, change):
        super().__init__()
        self.change = change

    def step(self, state, action, noise=None, temperature=1.0):
        return self.change(super().step(state, action, noise, temperature))


def sac(env=None, seed=0, **options):
    options = {
        "learning_starts": 40,
        "batch_size": 8,
        "policy_kwargs": {"net_arch": [8]},
        "buffer_size": 500,
        **options,
    }
    return SAC("MlpPolicy", env or TimeLimit(Slope(), 12), seed=seed, device="cpu", **options)


def taught(out, steps=100, config=ROUND, model=None, dream=None, **options):
    """Return an algorithm that lived for some steps, and the callback that fed it."""
    algorithm, fed = sac(**options), Mbpo(model or ExactSlope(), out, config, dream)
    algorithm.learn(steps, callback=fed)
    return algorithm, fed


def act(obs):
    """Return an action for each observation that depends on it."""
    return np.clip(obs[:, :1], -3, 3)


def states(num=50):
    return np.random.default_rng(0).normal(size=(num, 2)).astype(np.float32) * 0.3


def test_an_exact_model_dreams_the_transitions_of_the_real_env(tmp_path):
    algorithm, fed = taught(tmp_path)
    assert fed.rounds == 4  # after 40, 60, 80 and 100 steps
    dreams, env = fed.buffer, Slope()
    assert dreams.size() > 150
    for i in range(dreams.size()):
        env.x = dreams.observations[i, 0]
        obs, reward, terminated, _, _ = env.step(algorithm.policy.unscale_action(dreams.actions[i, 0]))
        assert np.allclose(dreams.next_observations[i, 0], obs, atol=1e-5)
        assert dreams.rewards[i, 0] == pytest.approx(reward, abs=1e-5)
        assert dreams.dones[i, 0] == terminated
    assert 0 < dreams.dones.sum() < dreams.size() / 2


def test_dreams_begin_in_real_states_from_which_the_episode_went_on(tmp_path):
    _, fed = taught(tmp_path, config=replace(ROUND, horizon=1, starts=200))
    real = fed.buffer.real
    seen = {tuple(obs) for obs in real.observations[: real.pos, 0]}
    ends = {tuple(obs) for obs in real.next_observations[: real.pos, 0][real.dones[: real.pos, 0] > 0]}
    dreamed = {tuple(obs) for obs in fed.buffer.observations[: fed.buffer.size(), 0]}
    assert dreamed <= seen
    assert len(dreamed) > 30
    assert not dreamed & ends


def test_dreamed_steps_are_never_counted_as_real_ones(tmp_path):
    env = Slope()
    algorithm, fed = taught(tmp_path, env=TimeLimit(env, 12))
    assert env.steps == algorithm.num_timesteps == fed.buffer.real.pos == 100
    assert algorithm.replay_buffer is fed.buffer.real
    assert 100 - 12 <= Dataset(tmp_path).num_steps <= 100


def test_what_is_recorded_is_what_happened(tmp_path):
    _, fed = taught(tmp_path)
    real, begin = fed.buffer.real, 0
    kinds = set()
    for episode in Dataset(tmp_path):
        end, obs = begin + len(episode), np.asarray(episode.obs)
        assert np.array_equal(obs[:-1], real.observations[begin:end, 0])
        assert np.array_equal(obs[-1], real.next_observations[end - 1, 0])
        assert np.allclose(obs[1:], obs[:-1] @ TURN.T + PUSH * episode.action, atol=1e-5)  # the env's own unit
        assert np.array_equal(episode.reward, real.rewards[begin:end, 0])
        assert episode.terminated == (obs[-1, 1] > 1)
        assert episode.truncated == (len(episode) == 12 and not episode.terminated)
        kinds.add(episode.terminated)
        begin = end
    assert kinds == {True, False}
    assert begin == Dataset(tmp_path).num_steps


class Endless(Slope):
    def step(self, action):
        obs, reward, _, _, info = super().step(action)
        return obs, reward, False, False, info


class Watched(ExactSlope):
    """An `ExactSlope` that remembers all transitions that each round teaches it."""

    def __init__(self):
        super().__init__()
        self.taught = []

    def begin_stage(self, stage, batches):
        rounds = [(batch.obs[:, 0], batch.mask[:, 0] > 0, batch.terminated) for batch in batches]
        assert not any(ended.any() for _, _, ended in rounds)
        self.taught.append([tuple(x) for obs, real, _ in rounds for x in obs[real].numpy()])

    def end_stage(self, stage, batches):
        pass


def test_the_model_learns_from_an_episode_that_goes_on_and_only_whole_ones_are_kept(tmp_path):
    for limit, kept in ((1000, 0), (30, 90)):
        model, out = Watched(), tmp_path / str(limit)
        _, fed = taught(out, config=replace(ROUND, holdout=0.0), model=model, env=TimeLimit(Endless(), limit))
        states = [tuple(obs) for obs in fed.buffer.real.observations[:100, 0]]
        assert model.taught == [states[:count] for count in (40, 60, 80, 100)]  # each one once
        assert (Dataset(out).num_steps if kept else len([*tmp_path.glob("1000/*")])) == kept


def test_a_dream_ends_with_its_termination_and_no_earlier():
    steps = branch(ExactSlope(), states(), act, 30)
    over = int(steps.terminated.sum())
    assert np.array_equal(steps.terminated, steps.next_obs[:, 1] > 1)
    assert 0 < over < 50
    first, following = steps.obs[:50], steps.obs[50:]
    assert np.array_equal(first, states())
    on = {tuple(obs) for obs in steps.next_obs[~steps.terminated]}
    assert {tuple(obs) for obs in following} <= on
    assert not {tuple(obs) for obs in following} & {tuple(obs) for obs in steps.next_obs[steps.terminated]}
    lanes = 50 * 30 - len(steps.obs)
    assert lanes > 0  # whoever ended dreamed no further


def test_endings_are_drawn_with_their_probability():
    half = Changed(lambda out: replace(out, termination=torch.full_like(out.reward, 0.3)))
    steps = branch(half, states(4000), act, 1, torch.Generator().manual_seed(0))
    assert steps.terminated.mean() == pytest.approx(0.3, abs=0.03)


def test_where_a_wrapper_cuts_a_dream_off_it_stops_and_has_not_ended():
    never = Changed(lambda out: replace(out, termination=torch.zeros_like(out.reward)))
    steps = branch(Horizon(never, 2), states(), act, 10)
    assert len(steps.obs) == 2 * 50
    assert not steps.terminated.any()


def test_a_step_to_what_is_not_finite_is_left_out_and_its_dream_is_over():
    def break_right(out):
        x = torch.where(out.state.x[:, :1] > 0.1, torch.nan, out.state.x)
        return replace(out, state=SlopeState(x))

    steps = branch(Changed(break_right), states(), act, 3)
    assert 0 < len(steps.obs) < 150
    for column in (steps.obs, steps.next_obs, steps.reward):
        assert np.isfinite(column).all()
    poor = Changed(lambda out: replace(out, reward=out.reward * torch.nan))
    assert len(branch(poor, states(), act, 3).obs) == 0
    with pytest.raises(MissingHead, match="gave no reward"):
        branch(Changed(lambda out: replace(out, reward=None)), states(), act, 3)


def test_disagreement_is_taken_from_the_dreamed_reward_and_from_no_real_one(tmp_path):
    model = ExactSlope()
    algorithm, fed = taught(tmp_path, model=model, dream=PenalizeDisagreement(model, 2.0))
    for buffer, weight in ((fed.buffer, 2.0), (fed.buffer.real, 0.0)):
        n = buffer.size()
        action = algorithm.policy.unscale_action(buffer.actions[:n, 0])
        expected = buffer.next_observations[:n, 0, 0] - weight * np.abs(action[:, 0])
        assert np.allclose(buffer.rewards[:n, 0], expected, atol=1e-5)


def buffer_of(num_real, size=10, real_share=0.25):
    real = ReplayBuffer(100, OBS, ACT, "cpu")
    mixed = MixedBuffer(real, size, real_share)
    for i in range(num_real):
        mixed.add(np.full((1, 2), -i), np.zeros((1, 2)), np.zeros((1, 1)), np.array([-1.0]), np.array([False]), [{}])
    return mixed


def dreamed(*rewards):
    num = len(rewards)
    zeros = np.zeros((num, 2), np.float32)
    return Transitions(zeros, np.zeros((num, 1)), np.array(rewards, np.float32), np.zeros(num, bool), zeros)


def test_a_batch_has_its_share_of_real_transitions_and_none_else_before_the_first_dream():
    mixed = buffer_of(5)
    assert (mixed.sample(8).rewards == -1).all()
    mixed.dream(dreamed(1, 2, 3), np.zeros((3, 1)))
    batch = mixed.sample(8)
    assert batch.rewards.shape == (8, 1)
    assert (batch.rewards[:2] == -1).all()
    assert (batch.rewards[2:] > 0).all()
    assert batch.observations[2:].abs().max() == 0


def test_the_newest_dreams_replace_the_oldest():
    mixed = buffer_of(1)
    for first in (1, 5, 9):
        mixed.dream(dreamed(*range(first, first + 4)), np.zeros((4, 1)))
    assert set(mixed.rewards[:, 0]) == set(range(3, 13))
    assert mixed.size() == 10


def test_the_same_seed_learns_the_same(tmp_path):
    weights = [
        taught(tmp_path / name, seed=seed)[0].policy.state_dict() for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    same = [all(torch.equal(weights[0][key], other[key]) for key in other) for other in weights]
    assert same == [True, True, False]


def test_an_ensemble_learns_cart_pole_and_feeds_dqn(tmp_path):
    env = gym.make("CartPole-v1")
    fields = {"hidden_dim": 32, "layers": 1, "num_members": 2}
    torch.manual_seed(0)
    model = build_model("mlp_ensemble", fields, env.observation_space, env.action_space)
    algorithm = DQN(
        "MlpPolicy",
        env,
        seed=0,
        device="cpu",
        learning_starts=300,
        buffer_size=500,
        exploration_initial_eps=0.4,
        exploration_final_eps=0.4,
        learning_rate=0.0,
    )
    fed = Mbpo(model, tmp_path, MbpoConfig(every=100, starts=200, horizon=2, first_updates=600, updates=50))
    algorithm.learn(450, callback=fed)
    n = fed.buffer.size()
    assert fed.rounds == 2
    assert n > 500
    greedy = algorithm.predict(fed.buffer.observations[:n, 0], deterministic=True)[0] == fed.buffer.actions[:n, 0, 0]
    assert greedy.mean() == pytest.approx(0.8, abs=0.1)  # explores in 4 of 10 lanes, half of them the greedy action
    move = fed.buffer.next_observations[:n, 0] - fed.buffer.observations[:n, 0]
    expected = 0.02 * fed.buffer.observations[:n, 0, 1]  # the place moves with the speed
    assert np.abs(move[:, 0] - expected).mean() < 0.3 * np.abs(expected).mean()
    assert fed.buffer.rewards[:n].mean() == pytest.approx(1, abs=0.05)


def test_what_cannot_be_fed_is_refused_by_name(tmp_path):
    def refused(algorithm, error, match, model=None, out=tmp_path / "new", steps=100):
        with pytest.raises(error, match=match):
            algorithm.learn(steps, callback=Mbpo(model or ExactSlope(), out, ROUND))

    refused(PPO("MlpPolicy", Slope(), device="cpu", n_steps=8, batch_size=8), InvalidArgument, "a PPO cannot be fed")
    refused(sac(DummyVecEnv([Slope, Slope])), InvalidArgument, r"acts in 2 envs; expected 1")
    refused(sac(VecNormalize(DummyVecEnv([Slope]))), InvalidArgument, "VecNormalize changes")
    refused(sac(), InvalidArgument, r"buffer_size is 500; expected at least the 501 real steps", steps=501)
    refused(sac("Pendulum-v1"), InvalidArgument, r"model's observation_space is Box\(-inf.*algorithm's is Box\(\[-1")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "note").touch()
    refused(sac(), InvalidDataset, "old is not empty; name a new folder", out=tmp_path / "old")
    with pytest.raises(InvalidModel, match="Tabular is learned in the stages none; expected"):
        Mbpo(Tabular(Config(), spaces.Discrete(3), spaces.Discrete(2)), tmp_path)
    with pytest.raises(InvalidArgument, match="horizon is 0; expected at least 1"):
        MbpoConfig(horizon=0)
    with pytest.raises(InvalidArgument, match=r"real_share is 1.0; expected a number in \[0, 1\)"):
        MbpoConfig(real_share=1.0)
