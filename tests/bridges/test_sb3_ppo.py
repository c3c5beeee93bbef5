"""PPO in a dream: it learns, it is the same for the same seed, and what cannot be trained is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from target import target

from dreamgym.bridges.expected_endings import ExpectedEndings
from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_ppo import PPOConfig, Progress, learn_ppo, train_ppo
from dreamgym.core import kept
from dreamgym.core.kept import Kept
from dreamgym.core.optimizer import moments
from dreamgym.errors import InvalidArgument

TINY = PPOConfig(rollout=16, minibatch=256, hidden=(16,), learning_rate=1e-2, reward_scale=1.0)


def test_train_ppo_learns_inside_a_dream() -> None:
    seen: list[Progress] = []
    algorithm, curve = train_ppo(
        target(), decisions=25 * 512, lanes=32, horizon=8, config=TINY, progress=lambda _, row: seen.append(row)
    )
    assert curve == seen
    assert [row.decisions for row in curve] == [512 * (i + 1) for i in range(25)]
    assert curve[0].reward < 0.7
    assert curve[-1].reward > 0.9
    assert curve[-1].episode_length == 8
    assert curve[-1].episode_return == pytest.approx(8 * curve[-1].reward, rel=0.05)
    assert evaluate_policy(algorithm, VecMonitor(DreamVecEnv(target(), 4, max_episode_steps=8)), 20)[0] > 7.5


def test_train_ppo_gives_the_same_for_the_same_seed_and_leaves_threads_alone() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs = [train_ppo(target(), decisions=1024, lanes=32, horizon=8, config=TINY, seed=s)[1] for s in (0, 0, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    rewards = [[row.reward for row in run] for run in runs]
    assert rewards[0] == rewards[1] != rewards[2]


def test_exploration_stays_above_its_floor() -> None:
    config = PPOConfig(rollout=16, minibatch=256, log_std_init=-3.0, log_std_floor=-1.8)
    algorithm, _ = train_ppo(target(), decisions=512, lanes=32, horizon=8, config=config)
    assert algorithm.policy.log_std.tolist() == pytest.approx([-1.8])


def test_annealing_takes_the_learning_rate_to_zero() -> None:
    rates = []
    for anneal in (True, False):
        train_ppo(
            target(), decisions=4 * 512, lanes=32, horizon=8, config=replace(TINY, anneal=anneal),
            progress=lambda algorithm, _: rates.append(algorithm.policy.optimizer.param_groups[0]["lr"]),
        )  # fmt: skip
    assert rates == pytest.approx([0.0075, 0.005, 0.0025, 0, *[0.01] * 4])


def test_train_ppo_goes_on_with_an_earlier_algorithm_in_another_dream() -> None:
    algorithm, _ = train_ppo(target(), decisions=10 * 512, lanes=32, horizon=8, config=TINY)
    before = algorithm.policy.action_net.weight.clone()
    again, curve = train_ppo(
        target(termination=1.0), decisions=512, lanes=32, horizon=8, config=TINY, algorithm=algorithm
    )
    assert again is algorithm
    assert not torch.equal(before, algorithm.policy.action_net.weight)
    assert [row.decisions for row in curve] == [512]
    assert curve[0].reward > 0.8
    assert curve[0].episode_length == 1


def test_progress_can_end_the_training() -> None:
    _, curve = train_ppo(target(), decisions=10 * 512, lanes=32, horizon=8, config=TINY, progress=lambda *_: False)
    assert len(curve) == 1


def test_an_interrupted_training_goes_on_where_it_was_with_other_luck(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    options = {"decisions": 8 * 512, "lanes": 32, "horizon": 8, "config": TINY}
    path, weights = tmp_path / "new" / "ppo.unfinished", {}

    def interrupt(algorithm: PPO, row: Progress) -> None:
        if row.decisions == 6 * 512:
            raise KeyboardInterrupt
        policy = algorithm.policy
        weights.update({name: x.clone() for name, x in policy.state_dict().items()})
        weights["moments"] = moments(policy.optimizer)["0.exp_avg_sq"].clone()

    with pytest.raises(KeyboardInterrupt):
        train_ppo(target(), **options, progress=interrupt, keep=Kept(path))
    with pytest.raises(InvalidArgument, match=r"ppo.unfinished was left by a training with seed 0; give these to go"):
        train_ppo(target(), **options, keep=Kept(path), seed=1)
    before, _ = train_ppo(target(), **{**options, "decisions": 1}, keep=Kept(path))
    assert before.num_timesteps == 5 * 512  # nothing was left to be done
    found = {**before.policy.state_dict(), "moments": moments(before.policy.optimizer)["0.exp_avg_sq"]}
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    algorithm, curve = train_ppo(target(), **options, keep=Kept(path))
    assert [row.decisions for row in curve] == [512 * (i + 1) for i in range(8)]
    assert algorithm.num_timesteps == 8 * 512
    assert torch.initial_seed() == 5 * 512
    assert not torch.equal(algorithm.policy.action_net.weight, before.policy.action_net.weight)
    whole = [row.reward for row in train_ppo(target(), **options)[1]]
    assert [row.reward for row in curve[:5]] == whole[:5]
    assert curve[5].reward not in whole
    assert curve[5].reward > whole[0]  # it has forgotten nothing


def test_a_training_that_goes_on_with_an_algorithm_is_kept_as_well(tmp_path) -> None:
    options = {"decisions": 512, "lanes": 32, "horizon": 8, "config": TINY}
    algorithm, _ = train_ppo(target(), **options)
    again, curve = train_ppo(target(), **options, algorithm=algorithm, keep=Kept(tmp_path / "kept"))
    assert again is algorithm
    assert [row.decisions for row in curve] == [512]


def test_rewards_in_the_curve_are_in_env_units_and_wrappers_count() -> None:
    config = PPOConfig(rollout=16, minibatch=256, reward_scale=0.01)
    for peak, limit in ((9.0, 1.0), (0.0, 0.0)):
        _, curve = train_ppo(
            target(), decisions=512, lanes=32, horizon=8, config=config, wrap=[("tent", {"peak": peak, "slope": 0.0})]
        )
        assert curve[0].reward == pytest.approx({1.0: 0.45, 0.0: -0.1}[limit], abs=0.25)
        assert curve[0].reward <= limit


def test_minibatches_that_do_not_divide_a_rollout_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"minibatch is 100, which does not divide 32 lanes \* 16 steps = 512"):
        train_ppo(target(), decisions=1, lanes=32, config=PPOConfig(rollout=16, minibatch=100))


def test_no_decisions_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="decisions is 0; expected at least 1"):
        train_ppo(target(), decisions=0)


def test_expected_endings_count_what_follows_a_danger_for_less() -> None:
    buffer = ExpectedEndings(3, spaces.Box(0, 1, (1,)), spaces.Discrete(2), gamma=0.9, gae_lambda=1.0, n_envs=2)
    p = np.array([[0.0, 0.5], [0.25, 0.0], [1.0, 0.1]], np.float32)  # [T, B]
    begun = np.array([[1, 1], [0, 0], [0, 1]])  # the second lane was cut off after its second step
    for row, first in zip(p, begun, strict=True):
        buffer.note(row)
        zeros = np.zeros((2, 1))
        buffer.add(zeros, zeros, np.array([1.0, 2.0]), first, torch.zeros(2), torch.zeros(2))
    buffer.compute_returns_and_advantage(torch.tensor([10.0, 20.0]), np.array([False, False]))
    last = [0.0 * (1 + 0.9 * 10), 0.9 * (2 + 0.9 * 20)]
    middle = [0.75 * (1 + 0.9 * last[0]), 2.0]
    assert buffer.returns[:, 0].tolist() == pytest.approx([1 + 0.9 * middle[0], middle[0], last[0]])
    assert buffer.returns[:, 1].tolist() == pytest.approx([0.5 * (2 + 0.9 * middle[1]), middle[1], last[1]])


def test_with_expected_endings_no_dream_ends_before_its_horizon_and_the_critic_knows_of_death() -> None:
    dream, values = target(termination=0.5), {}
    for expected in (True, False):
        config = replace(TINY, expected_endings=expected)
        algorithm, curve = train_ppo(dream, decisions=20 * 512, lanes=32, horizon=8, config=config)
        obs = torch.as_tensor(DreamVecEnv(dream, 64).reset())
        values[expected] = algorithm.policy.predict_values(obs).mean().item()
        assert (curve[-1].episode_length == 8) is expected
    assert values[True] == pytest.approx(values[False] / 2, rel=0.4)  # ... a step that ends it pays here, not there


def test_expected_endings_are_refused_where_chance_ends_dreams() -> None:
    with pytest.raises(InvalidArgument, match=r'expected_endings needs a DreamVecEnv with termination="never"'):
        learn_ppo(DreamVecEnv(target(), 4), decisions=1, config=PPOConfig(expected_endings=True))
