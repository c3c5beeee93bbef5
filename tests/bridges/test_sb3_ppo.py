"""PPO in a dream: it learns, it is the same for the same seed, and what cannot be trained is refused."""

from __future__ import annotations

import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor
from target import target

from dreamgym.bridges import sb3_ppo
from dreamgym.bridges.sb3 import DreamVecEnv
from dreamgym.bridges.sb3_ppo import PPOConfig, Progress, train_ppo
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
    monkeypatch.setattr(sb3_ppo, "KEEP_SECONDS", 0.0)
    options = {"decisions": 8 * 512, "lanes": 32, "horizon": 8, "config": TINY, "keep": tmp_path / "policy.ppo.zip"}

    def interrupt(_, row: Progress) -> None:
        if row.decisions == 5 * 512:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_ppo(target(), **options, progress=interrupt)
    with pytest.raises(InvalidArgument, match=r"policy.ppo.zip was left by a training with seed 0; give these to go"):
        train_ppo(target(), **options, seed=1)
    kept, before = PPO.load(options["keep"]), train_ppo(target(), **{**options, "decisions": 1})
    assert before[0].num_timesteps == 5 * 512  # nothing was left to be done
    algorithm, curve = train_ppo(target(), **options)
    assert [row.decisions for row in curve] == [512 * (i + 1) for i in range(8)]
    assert algorithm.num_timesteps == 8 * 512
    assert torch.equal(before[0].policy.action_net.weight, kept.policy.action_net.weight)
    assert not torch.equal(algorithm.policy.action_net.weight, kept.policy.action_net.weight)
    whole = [row.reward for row in train_ppo(target(), **{**options, "keep": None})[1]]
    assert [row.reward for row in curve[:5]] == whole[:5]
    assert curve[5].reward not in whole


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
