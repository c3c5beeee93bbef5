"""TorchRL in a dream: nothing spliced, by its own collector and rollouts; its checks, its PPO, its actors exported."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from target import target

pytest.importorskip("torchrl")
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.envs import Compose, GymWrapper, RewardSum, StepCounter, TransformedEnv
from torchrl.envs.utils import ExplorationType, check_env_specs, set_exploration_type
from torchrl.modules import MLP, ProbabilisticActor, QValueActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from dreamgym.bridges.torchrl import DreamTorchRLEnv, export_policy
from dreamgym.core.policy import load_policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import (
    InvalidAction,
    InvalidArgument,
    InvalidArgumentType,
    PolicyMismatch,
    StepBeforeReset,
    UnsupportedSpace,
)  # fmt: skip
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER, PICTURES

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Creating .*WeightUpdater", DeprecationWarning)  # its own, as it is imported
    from torchrl.collectors import Collector

pytestmark = pytest.mark.integration
LIMIT = 7
COLLECT: Any = {"use_buffers": False, "auto_register_policy_transforms": False}
DREAM = counting_dream(lengths=(3, 5, 4, 9))


def env_of(dream: Any = DREAM, num_envs: int = 5, **kwargs: Any) -> DreamTorchRLEnv:
    env = DreamTorchRLEnv(dream, num_envs, **{"max_episode_steps": LIMIT, **kwargs})
    env.set_seed(0)
    return env


def experience(steps: Any) -> Experience:
    """Return what lies in a batch `[B, T]`."""
    column = lambda *key: steps[key].transpose(0, 1).numpy()  # noqa: E731
    return Experience(
        obs=column("observation"), action=column("action"), reward=column("next", "reward")[..., 0],
        terminated=column("next", "terminated")[..., 0], truncated=column("next", "truncated")[..., 0],
        next_obs=column("next", "observation"),
    )  # fmt: skip


def test_what_its_collector_gathers_is_what_the_world_did() -> None:
    env = TransformedEnv(env_of(), Compose(RewardSum(), StepCounter()))
    steps = torch.cat([*Collector(env, None, frames_per_batch=100, total_frames=400, **COLLECT)], 1)
    found = check_experience(experience(steps), LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3
    done = steps["next", "done"][..., 0]
    assert (done == (steps["next", "terminated"] | steps["next", "truncated"])[..., 0]).all()
    assert steps["next", "step_count"][done][:, 0].tolist() == found.lengths.tolist()
    np.testing.assert_allclose(steps["next", "episode_reward"][done][:, 0], found.returns, rtol=1e-5)


def test_a_rollout_until_the_last_lane_ends_steps_no_lane_that_has_ended() -> None:
    steps = env_of().rollout(99, break_when_all_done=True)
    done, t = steps["next", "done"][..., 0], steps["next", "observation"][..., 1]
    ends = done.int().argmax(1)  # [B]
    assert len(set(ends.tolist())) > 1
    for lane, end in enumerate(ends):
        assert done[lane, end:].all()
        assert t[lane].tolist() == [min(step, end.item()) + 1 for step in range(steps.shape[1])]


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_a_vector_env_goes_through_its_gym_wrapper(mode: str) -> None:
    make = lambda: gym.make_vec("DreamEnv-v0", 5, model=DREAM, observation="features", autoreset_mode=mode,  # noqa: E731
                                max_episode_steps=LIMIT)  # fmt: skip
    check_env_specs(GymWrapper(make(), categorical_action_encoding=True))
    env = GymWrapper(make(), categorical_action_encoding=True)
    env.set_seed(0)
    found = check_experience(experience(env.rollout(80, break_when_any_done=False)), LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3


@pytest.mark.parametrize(
    ("dream", "observation", "names"),
    [
        (DREAM, "features", {"observation": (2, 4)}),
        (counting_dream(action_space=LEVER), "pixels", {"observation": (2, 4)}),
        (counting_dream(PICTURES), "pixels", {"observation": (2, 4, 6, 3)}),
        (counting_dream(PICTURES), "both", {"features": (2, 4), "pixels": (2, 4, 6, 3)}),
    ],
)
def test_its_own_check_of_specs_passes(dream: Any, observation: str, names: dict[str, Any]) -> None:
    env = env_of(dream, 2, observation=observation)
    check_env_specs(env)
    assert {name: tuple(spec.shape) for name, spec in env.observation_spec.items()} == names
    env.close()


def test_the_same_seed_dreams_the_same_and_an_unseeded_reset_goes_on() -> None:
    env = env_of(num_envs=16)
    first = env.reset()["observation"]
    assert not torch.equal(env.reset()["observation"], first)
    env.set_seed(0)
    assert torch.equal(env.reset()["observation"], first)
    env.set_seed(1)
    assert torch.equal(env.reset()["observation"][:-1], first[1:])  # lane i is seeded with seed + i


def test_a_lane_that_has_ended_is_not_stepped() -> None:
    env = env_of()
    steps = env.rollout(99)
    ended = steps["next", "done"][:, -1, 0].nonzero()[:, 0].tolist()
    with pytest.raises(StepBeforeReset, match=rf"lanes \[{ended[0]}.*have ended; reset them first"):
        env.step(env.rand_action())


def test_an_action_of_another_shape_is_refused() -> None:
    env = env_of(counting_dream(action_space=LEVER))
    now = env.reset()
    with pytest.raises(InvalidAction, match=r"shape \(5, 2\); Counting expects \(5, 1\)"):
        env.step(now.set("action", torch.zeros(5, 2)))


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    message = f"autoreset_mode is '{mode}'; TorchRL resets lanes itself: use 'Disabled'"
    with pytest.raises(InvalidArgument, match=message):
        env_of(autoreset_mode=mode)
    with pytest.raises(InvalidArgument, match=message):
        DreamTorchRLEnv(DreamVectorEnv(DREAM, 2, autoreset_mode=mode, output="torch"))


def test_what_it_cannot_take_is_refused() -> None:
    envs = DreamVectorEnv(DREAM, 3, autoreset_mode="Disabled")
    with pytest.raises(InvalidArgument, match="output is 'numpy'; TorchRL takes tensors: use 'torch'"):
        DreamTorchRLEnv(envs)
    with pytest.raises(InvalidArgument, match=r"\['device'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamTorchRLEnv(envs, device="cpu")
    with pytest.raises(InvalidArgument, match=r"\['num_envs'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamTorchRLEnv(envs, 4)
    with pytest.raises(InvalidArgument, match="device is 'cuda:99'; expected one that torch finds here: cpu"):
        env_of(device="cuda:99")
    with pytest.raises(InvalidArgumentType, match="model is a RecordEpisodeStatistics; expected a dream's id"):
        DreamTorchRLEnv(gym.wrappers.vector.RecordEpisodeStatistics(envs))
    shifted = target(num_actions=3)
    shifted.model.action_space = gym.spaces.Discrete(3, start=1)
    with pytest.raises(UnsupportedSpace, match="starts at 1; TorchRL needs integers from 0"):
        env_of(shifted)


def actor_of(env: DreamTorchRLEnv, kind: str, **options: Any) -> Any:
    width = env.observation_spec["observation"].shape[-1]
    if kind == "q":
        return QValueActor(MLP(width, 5, num_cells=[8, 9]), in_keys=["observation"], spec=env.action_spec_unbatched)
    if kind == "Categorical":
        net, keys, law = MLP(width, 5, num_cells=[8]), ["logits"], torch.distributions.Categorical
    else:
        mlp = MLP(width, 2, num_cells=[8, 8], activation_class=nn.ReLU)
        net, keys, law = nn.Sequential(mlp, NormalParamExtractor()), ["loc", "scale"], TanhNormal
    module = TensorDictModule(net, ["observation"], keys)
    return ProbabilisticActor(module, keys, spec=env.action_spec_unbatched, distribution_class=law,
                              distribution_kwargs=options, return_log_prob=True)  # fmt: skip


def assert_equal(policy: Any, env: DreamTorchRLEnv, actor: Any) -> None:
    features = 3 * torch.randn(101, 1)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        theirs = actor(env.reset().expand(101, 1).reshape(-1)[:101].set("observation", features))["action"]
        assert len(theirs.unique()) > 1
        torch.testing.assert_close(policy.act(features), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["TanhNormal", "Categorical"])
def test_ppo_trains_and_its_actor_survives_the_export(kind: str, tmp_path: Any) -> None:
    dream = target(num_actions=5 if kind == "Categorical" else 0)
    env = env_of(dream, 1)
    actor = actor_of(env, kind)
    critic = ValueOperator(MLP(1, 1, num_cells=[8]))
    loss, gae = ClipPPOLoss(actor, critic), GAE(gamma=0.9, lmbda=0.9, value_network=critic)
    optimizer = torch.optim.Adam(loss.parameters(), 3e-3)
    before = [p.detach().clone() for p in loss.parameters()]
    for batch in Collector(env, actor, frames_per_batch=64, total_frames=256, **COLLECT):
        gae(batch)
        losses = loss(batch.reshape(-1))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if name.startswith("loss_")).backward()
        optimizer.step()
    assert all(not torch.equal(old, new) for old, new in zip(before, loss.parameters(), strict=True))
    assert_equal(export_policy(actor, dream, tmp_path / "policy.safetensors"), env, actor)
    assert_equal(load_policy(tmp_path / "policy.safetensors"), env, actor)


def test_a_q_network_survives_the_export() -> None:
    env = env_of(target(num_actions=5), 1)
    actor = actor_of(env, "q")
    assert_equal(export_policy(actor, target(num_actions=5)), env, actor)


def test_what_acts_otherwise_than_a_perceptron_is_not_exported() -> None:
    env = env_of(target(), 1)
    with pytest.raises(InvalidArgument, match="draws from TanhNormal with .*'tanh_loc'"):
        export_policy(actor_of(env, "TanhNormal", tanh_loc=True), target())
    with pytest.raises(InvalidArgument, match=r"high of TanhNormal is 2.0; Target-v0 acts in Box\(-1.0, 1.0"):
        export_policy(actor_of(env, "TanhNormal", high=2.0), target())
    with pytest.raises(InvalidArgument, match="the actor has 0 heads; expected one"):
        export_policy(MLP(1, 2), target())
    with pytest.raises(PolicyMismatch, match="sees 1 features; Counting has 4"):
        export_policy(actor_of(env, "TanhNormal", low=-2.0, high=2.0), counting_dream(action_space=LEVER))
