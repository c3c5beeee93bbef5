"""Tianshou in a dream: collectors step and reset any lanes, nothing is spliced, and policies are exported unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

pytest.importorskip("tianshou")
from tianshou.algorithm import DQN, PPO, SAC
from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy, ProbabilisticActorPolicy
from tianshou.algorithm.modelfree.sac import SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Batch, Collector, VectorReplayBuffer
from tianshou.env import VectorEnvNormObs
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic

from dreamgym.bridges.tianshou import DreamVenv, export_policy
from dreamgym.core.policy import load_policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidAction, InvalidArgument, PolicyMismatch, StepBeforeReset
from dreamgym.hub import LoadedDream
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER, PICTURES

pytestmark = pytest.mark.integration

LANES, LIMIT = 5, 7
DREAM = counting_dream(lengths=(3, 5, 4, 9))
LEVERS = counting_dream(action_space=LEVER)  # of -2 to 2
ADAM = AdamOptimizerFactory(lr=1e-3)


def discrete_ppo(width: int = 4, softmax: bool = True, **net: Any) -> PPO:
    body = Net(state_shape=(width,), hidden_sizes=[8, 8], **net)
    actor = DiscreteActor(preprocess_net=body, action_shape=3, softmax_output=softmax)
    policy = DiscreteActorPolicy(actor=actor, action_space=spaces.Discrete(3), deterministic_eval=True)
    return PPO(policy=policy, critic=DiscreteCritic(preprocess_net=body), optim=ADAM)


def gaussian(unbounded: bool = True) -> ContinuousActorProbabilistic:
    body = Net(state_shape=(4,), hidden_sizes=[8], activation=nn.Tanh)
    return ContinuousActorProbabilistic(preprocess_net=body, action_shape=(1,), unbounded=unbounded)


def box_ppo(unbounded: bool = True, **options: Any) -> PPO:
    policy = ProbabilisticActorPolicy(
        actor=gaussian(unbounded), dist_fn=lambda x: torch.distributions.Independent(torch.distributions.Normal(*x), 1),
        action_space=LEVER, deterministic_eval=True, **options,
    )  # fmt: skip
    return PPO(policy=policy, critic=ContinuousCritic(preprocess_net=Net(state_shape=(4,))), optim=ADAM)


def sac() -> SAC:
    critic = ContinuousCritic(preprocess_net=Net(state_shape=(4,), action_shape=(1,), hidden_sizes=[8], concat=True))
    policy = SACPolicy(actor=gaussian(), action_space=LEVER)
    return SAC(policy=policy, policy_optim=ADAM, critic=critic, critic_optim=ADAM)


def dqn(**net: Any) -> DQN:
    model = Net(state_shape=(4,), action_shape=3, hidden_sizes=[8, 8], **net)
    return DQN(policy=DiscreteQLearningPolicy(model=model, action_space=spaces.Discrete(3)), optim=ADAM)


def experience(buffer: VectorReplayBuffer) -> Experience:
    """Return what the buffer holds of each lane, the shorter ones padded."""
    lanes = [part[np.arange(len(part))] for part in buffer.buffers]
    steps = max(len(lane) for lane in lanes)

    def stack(name: str) -> np.ndarray:
        columns = [np.asarray(lane[name]) for lane in lanes]
        return np.stack([np.concatenate([c, np.zeros((steps - len(c), *c.shape[1:]), c.dtype)]) for c in columns], 1)

    return Experience(
        obs=stack("obs"), action=stack("act"), reward=stack("rew"), terminated=stack("terminated"),
        truncated=stack("truncated"), next_obs=stack("obs_next"),
        valid=np.stack([np.arange(steps) < len(lane) for lane in lanes], 1),
    )  # fmt: skip


@pytest.mark.parametrize(("random", "amount"), [(False, {"n_step": 300}), (True, {"n_episode": 43})])
def test_what_a_collector_collects_is_what_the_world_did(random: bool, amount: dict[str, int]) -> None:
    venv = DreamVenv(DREAM, LANES, max_episode_steps=LIMIT)
    venv.seed(0)
    buffer = VectorReplayBuffer(5000, LANES)
    collector: Any = Collector(discrete_ppo(), venv, buffer)
    collector.reset()
    stats = collector.collect(**amount, random=random)
    found = check_experience(experience(buffer), LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3
    assert stats.n_collected_episodes == len(found.lengths)
    assert sorted(stats.lens) == sorted(found.lengths)
    np.testing.assert_allclose(sorted(stats.returns), sorted(found.returns), atol=1e-4)


def test_collecting_goes_on_where_it_stopped() -> None:
    buffer = VectorReplayBuffer(5000, LANES)
    collector: Any = Collector(discrete_ppo(), DreamVenv(DREAM, LANES, max_episode_steps=LIMIT), buffer)
    collector.reset()
    for _ in range(8):
        collector.collect(n_step=LANES * 6)
    assert check_experience(experience(buffer), LIMIT, DREAM.model.config).terminated > 10


def test_lanes_that_are_not_stepped_stay_as_they_are() -> None:
    venv = DreamVenv(DREAM, LANES)
    before, _ = venv.reset(seed=3)
    obs, reward, *_ = venv.step(np.array([2, 1]), [3, 1])
    assert obs[:, 0].tolist() == before[[3, 1], 0].tolist()
    assert obs[:, 1].tolist() == [1, 1]
    assert reward.tolist() == pytest.approx([1.2, 1.1])
    assert venv.envs.lanes.elapsed.tolist() == [0, 1, 0, 1, 0]
    again, _ = venv.reset(3)
    assert again[:, 1].tolist() == [0]
    assert venv.envs.lanes.elapsed.tolist() == [0, 1, 0, 0, 0]


def test_a_lane_dreams_the_same_whichever_lanes_step_beside_it() -> None:
    together, alone = DreamVenv("DreamDodge-v0", 3), DreamVenv("DreamDodge-v0", 3)
    for venv in (together, alone):
        venv.seed(0)
    for action in range(3):
        expected = together.step(np.full(3, action))[0][1]
        np.testing.assert_allclose(alone.step(np.array([action]), [1])[0][0], expected, atol=1e-5)


def test_a_seed_names_the_dream() -> None:
    first = DreamVenv(DREAM, 4)
    assert first.seed(5) == [[5], [6], [7], [8]]
    second = DreamVenv(DREAM, 4)
    second.seed([5, 6, 7, 8])
    assert (first.reset()[0] == second.reset()[0]).all()
    assert not (first.reset(seed=1)[0][:, 0] == first.reset(seed=2)[0][:, 0]).all()


def test_it_is_what_tianshou_takes_for_a_vector_env() -> None:
    venv = DreamVenv(DREAM, 4, render_mode="rgb_array")
    assert len(venv) == 4
    assert venv.action_space == [spaces.Discrete(3)] * 4
    assert venv.get_env_attr("observation_space", 2) == [venv.envs.single_observation_space]
    venv.set_env_attr("render_mode", None)
    assert venv.get_env_attr("render_mode") == [None] * 4
    wrapped = VectorEnvNormObs(venv)
    wrapped.reset()
    assert wrapped.step(np.zeros(4, int))[0].shape == (4, 4)
    venv.close()


def test_both_is_an_array_of_dicts() -> None:
    venv = DreamVenv(counting_dream(PICTURES), 3, observation="both")
    assert [sorted(one) for one in venv.reset()[0]] == [["features", "pixels"]] * 3
    obs = venv.step(np.zeros(2, int), [0, 2])[0]
    assert Batch(obs=obs).obs.features[:, 1].tolist() == [1, 1]
    assert obs[1]["pixels"].shape == (4, 6, 3)


def test_ppo_trains_in_a_dream() -> None:
    ppo = discrete_ppo(counting_dream().model.feature_dim)
    collector: Any = Collector(ppo, DreamVenv(DREAM, 8), VectorReplayBuffer(256, 8))
    before = [p.clone() for p in ppo.policy.parameters()]
    result = ppo.run_training(OnPolicyTrainerParams(
        training_collector=collector, max_epochs=2, epoch_num_steps=256, collection_step_num_env_steps=128,
        show_progress=False, verbose=False,
    ))  # fmt: skip
    assert result.train_step == 512
    assert any((a != b).any() for a, b in zip(before, ppo.policy.parameters(), strict=True))
    assert_exported(ppo, DREAM)


@pytest.mark.parametrize(
    ("trained", "dream"),
    [
        (discrete_ppo(softmax=False), DREAM),
        (dqn(), DREAM),
        (box_ppo(), LEVERS),
        (box_ppo(action_bound_method="tanh"), LEVERS),
        (box_ppo(unbounded=False, action_bound_method=None), LEVERS),
        (sac(), LEVERS),
    ],
    ids=["PPO, logits", "DQN", "PPO, clipped", "PPO, squashed", "PPO, bounded", "SAC"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:action_scaling and action_bound_method:UserWarning")
def test_a_policy_survives_the_export(trained: Any, dream: LoadedDream, tmp_path: Path) -> None:
    assert_exported(trained, dream)
    export_policy(trained.policy, dream, tmp_path / "policy.safetensors")
    features = torch.randn(9, 4)
    assert (
        load_policy(tmp_path / "policy.safetensors").act(features) == export_policy(trained, dream).act(features)
    ).all()


def assert_exported(trained: Any, dream: LoadedDream) -> None:
    features = np.random.default_rng(0).normal(0, 4, (200, 4)).astype(np.float32)
    with torch.no_grad():
        ours = export_policy(trained, dream).act(torch.from_numpy(features)).numpy()
        acts = trained.policy.eval()(Batch(obs=features, info=Batch())).act
    theirs = trained.policy.map_action(acts)
    assert len(np.unique(theirs)) > 1
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    "trained", [dqn(softmax=True), dqn(dueling_param=({}, {})), box_ppo(action_scaling=False),
                discrete_ppo(norm_layer=nn.LayerNorm)],
)  # fmt: skip
def test_what_is_no_perceptron_is_not_exported(trained: Any) -> None:
    with pytest.raises(
        InvalidArgument, match=r"cannot be exported; expected PPO|layers are .*LayerNorm.* expected Linear"
    ):
        export_policy(trained, DREAM if isinstance(trained.policy.action_space, spaces.Discrete) else LEVERS)


def test_a_policy_of_another_dream_is_not_exported() -> None:
    with pytest.raises(PolicyMismatch, match="Counting has 4"):
        export_policy(discrete_ppo(width=6), DREAM)
    with pytest.raises(PolicyMismatch, match="Counting expects Box"):
        export_policy(discrete_ppo(), LEVERS)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; tianshou .* use 'Disabled'"):
        DreamVenv(DREAM, 2, autoreset_mode=mode)
    with pytest.raises(InvalidArgument, match=f"autoreset_mode is '{mode}'; tianshou .* use 'Disabled'"):
        DreamVenv(DreamVectorEnv(DREAM, 2, autoreset_mode=mode))


def test_what_cannot_be_stepped_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="output is 'torch'; tianshou takes arrays: use 'numpy'"):
        DreamVenv(DreamVectorEnv(DREAM, 2, autoreset_mode="Disabled", output="torch"))
    venv = DreamVenv(counting_dream(lengths=(1,)), 4)
    with pytest.raises(StepBeforeReset, match="no episode has begun"):
        venv.step(np.zeros(4, int))
    venv.reset()
    with pytest.raises(InvalidAction, match=r"shape \(3,\); Counting expects \(2,\)"):
        venv.step(np.zeros(3, int), [0, 2])
    with pytest.raises(InvalidArgument, match=r"lanes are \[1, 1\]; expected each at most once"):
        venv.step(np.zeros(2, int), [1, 1])
    venv.step(np.zeros(2, int), [0, 2])
    with pytest.raises(StepBeforeReset, match=r"lanes \[2\] have ended; reset them with reset\(\[2\]\)"):
        venv.step(np.zeros(2, int), [1, 2])
