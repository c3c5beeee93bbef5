"""skrl in a dream: nothing spliced, true successors for agents that ask for them, learning, and policies exported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from target import target

pytest.importorskip("skrl")
from skrl import config
from skrl.agents.torch.dqn import DQN, DQN_CFG
from skrl.agents.torch.ppo import PPO, PPO_CFG
from skrl.memories.torch import RandomMemory
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer, SequentialTrainerCfg
from skrl.utils.model_instantiators.torch import categorical_model, deterministic_model, gaussian_model

from dreamgym.bridges.skrl import DreamWrapper, export_policy, use_final_obs
from dreamgym.core.policy import load_policy
from dreamgym.envs.vector_env import DreamVectorEnv
from dreamgym.errors import InvalidAction, InvalidArgument, PolicyMismatch, UnsupportedSpace
from dreamgym.testing import Experience, check_experience, counting_dream
from dreamgym.testing.counting import LEVER, PICTURES

pytestmark = pytest.mark.integration
LIMIT = 7
DREAM = counting_dream(lengths=(3, 5, 4, 9))
NAMES = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    before, config.torch.key = config.torch.key, 0
    torch.manual_seed(0)
    yield
    config.torch.key = before


def env_of(dream: Any = DREAM, num_envs: int = 5, **kwargs: Any) -> DreamWrapper:
    return DreamWrapper(dream, num_envs, **{"max_episode_steps": LIMIT, **kwargs})


def agent_of(env: DreamWrapper, kind: Any = PPO, output: str = "ACTIONS", **options: Any) -> Any:
    """Return an agent with stock models."""
    spaces = {"observation_space": env.observation_space, "action_space": env.action_space, "device": env.device}
    net = {"network": [{"name": "net", "input": "OBSERVATIONS", "layers": [8, 9], "activations": "relu"}]}
    quiet = {"write_interval": 10_000, "checkpoint_interval": 0, "directory": str(options.pop("folder", ""))}
    if kind is DQN:
        models = {
            name: deterministic_model(**spaces, **net, output=output) for name in ("q_network", "target_q_network")
        }
        options = {"batch_size": 16, "learning_starts": 8, **options}
        made: Any = DQN_CFG(experiment=quiet, **options)
    else:
        policy = categorical_model if isinstance(env.action_space, gym.spaces.Discrete) else gaussian_model
        models = {"policy": policy(**spaces, **net, output=output)}
        models["value"] = deterministic_model(**spaces, **net, output="ONE")
        made = PPO_CFG(experiment=quiet, **{"rollouts": 16, "learning_epochs": 1, **options})
    for role, model in models.items():
        model.init_state_dict(role=role)
    return kind(models=models, memory=RandomMemory(memory_size=16 if kind is PPO else 200, num_envs=env.num_envs),
                cfg=made, **spaces)  # fmt: skip


def train(env: DreamWrapper, agent: Any, steps: int = 80) -> list[dict[str, torch.Tensor]]:
    """Return what skrl's trainer handed to the agent in each step."""
    seen, record = [], agent.record_transition

    def watch(**given: Any) -> None:
        seen.append({name: given[name].clone() for name in NAMES})
        record(**given)

    agent.record_transition = watch
    cfg = SequentialTrainerCfg(timesteps=steps, disable_progressbar=True, close_environment_at_exit=False)
    SequentialTrainer(cfg=cfg, env=env, agents=agent).train()
    return seen


def experience(seen: list[dict[str, torch.Tensor]], successors: bool) -> Experience:
    column = {name: torch.stack([step[name] for step in seen]).numpy() for name in NAMES}
    return Experience(
        obs=column["observations"], action=column["actions"], reward=column["rewards"][..., 0],
        terminated=column["terminated"][..., 0], truncated=column["truncated"][..., 0],
        next_obs=column["next_observations"] if successors else None,
    )  # fmt: skip


@pytest.mark.parametrize("num_envs", [5, 1])
def test_what_its_trainer_hands_to_an_agent_is_what_the_world_did(num_envs: int, tmp_path: Any) -> None:
    env = env_of(num_envs=num_envs)
    agent = agent_of(env, folder=tmp_path, time_limit_bootstrap=True)
    seen = train(env, agent, 400 // num_envs)
    found = check_experience(experience(seen, successors=False), LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3
    counts, returns = np.ravel(agent._track_timesteps), np.ravel(agent._track_rewards)  # of the last 100 episodes
    assert sorted(counts) == sorted(found.lengths)
    np.testing.assert_allclose(np.sort(returns), np.sort(found.returns), rtol=1e-5)
    with pytest.raises(AssertionError, match="the next observation is"):  # skrl's own successors are those after resets
        check_experience(experience(seen, successors=True), LIMIT, DREAM.model.config)


@pytest.mark.parametrize("kind", [PPO, DQN])
def test_an_agent_that_uses_final_observations_is_told_the_true_successors(kind: Any, tmp_path: Any) -> None:
    env = env_of()
    agent = agent_of(env, kind, folder=tmp_path)
    told, record = [], agent.record_transition

    def watch(**given: Any) -> None:
        told.append({name: given[name].clone() for name in NAMES})
        record(**given)

    agent.record_transition = watch  # what the agent itself gets, behind what the trainer calls
    train(env, use_final_obs(agent))
    found = check_experience(experience(told, successors=True), LIMIT, DREAM.model.config)
    assert found.terminated > 10
    assert found.truncated > 3


def test_an_end_at_the_time_limit_is_no_truncation() -> None:
    env = env_of(counting_dream(lengths=(LIMIT,)))
    env.reset()
    for _ in range(LIMIT):
        _, _, terminated, truncated, _ = env.step(torch.zeros(5, 1, dtype=torch.long))
    assert terminated.all()
    assert not truncated.any()  # else skrl would add the value of what follows


def test_what_a_step_returned_belongs_to_the_agent() -> None:
    env = env_of()
    env.reset()
    obs, reward, _, _, infos = env.step(torch.ones(5, 1, dtype=torch.long))
    kept = obs.clone()
    reward += 99  # PPO adds the value of what was cut off
    assert (env.step(torch.ones(5, 1, dtype=torch.long))[1] < 99).all()
    assert torch.equal(obs, kept)
    assert "final_obs" not in infos


def test_a_later_reset_returns_where_the_lanes_stand() -> None:
    env = env_of()
    first, _ = env.reset()
    obs = env.step(torch.ones(5, 1, dtype=torch.long))[0]
    assert torch.equal(env.reset()[0], obs)
    assert torch.equal(env_of().reset()[0], first)  # seeded as skrl is
    config.torch.key = 1
    assert torch.equal(env_of().reset()[0][:-1], first[1:])


def test_observations_are_flat_numbers_and_actions_are_clipped() -> None:
    env = env_of(counting_dream(PICTURES, LEVER), 2, observation="both")
    assert env.reset()[0].shape == (2, 4 + 4 * 6 * 3)
    obs, reward, terminated, truncated, _ = env.step(torch.tensor([[9.0], [-1.0]]))
    assert obs.dtype == reward.dtype == torch.float32
    assert obs[:, 2].tolist() == [2, -1]  # the sum of actions, of which the lever takes 2 at most
    assert reward.shape == terminated.shape == truncated.shape == (2, 1)
    assert env.state() is None
    with pytest.raises(InvalidAction, match=r"action holds nan; Counting expects \(2, 1\)"):
        env.step(torch.full((2, 1), torch.nan))


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_another_mode_is_refused_with_the_right_one_named(mode: str) -> None:
    message = f"autoreset_mode is '{mode}'; skrl resets a lane in the step that ends it: use 'SameStep'"
    with pytest.raises(InvalidArgument, match=message):
        env_of(autoreset_mode=mode)
    with pytest.raises(InvalidArgument, match=message):
        DreamWrapper(DreamVectorEnv(DREAM, 2, autoreset_mode=mode, output="torch"))


def test_what_it_cannot_take_is_refused() -> None:
    envs = DreamVectorEnv(DREAM, 3, autoreset_mode="SameStep")
    with pytest.raises(InvalidArgument, match="output is 'numpy'; skrl takes tensors: use 'torch'"):
        DreamWrapper(envs)
    with pytest.raises(InvalidArgument, match=r"\['starts'\] were given beside a DreamVectorEnv of 3 lanes"):
        DreamWrapper(envs, starts="first")
    shifted = target(num_actions=3)
    shifted.model.action_space = gym.spaces.Discrete(3, start=1)
    with pytest.raises(UnsupportedSpace, match="starts at 1; skrl needs integers from 0"):
        env_of(shifted)


@pytest.mark.parametrize(
    ("kind", "num_actions", "output"),
    [(PPO, 0, "ACTIONS"), (PPO, 0, "tanh(ACTIONS)"), (PPO, 5, "ACTIONS"), (DQN, 5, "ACTIONS")],
)
def test_an_agent_trains_and_its_policy_survives_the_export(
    kind: Any, num_actions: int, output: str, tmp_path: Any
) -> None:
    dream = target(num_actions=num_actions)
    env = env_of(dream)
    agent = agent_of(env, kind, output, folder=tmp_path)
    network = agent.models["q_network" if kind is DQN else "policy"]
    before = [p.detach().clone() for p in network.parameters()]
    train(env, agent, 40)
    assert not all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))
    policy = export_policy(agent, dream, tmp_path / "policy.safetensors")
    features = 3 * torch.randn(101, 1)
    agent.enable_models_training_mode(False)
    with torch.no_grad():
        action, outputs = network.act({"observations": features, "states": None}, role="policy")
        theirs = outputs.get("net_output", action).argmax(-1) if num_actions else outputs["mean_actions"].clamp(-1, 1)
        for ours in (policy, load_policy(tmp_path / "policy.safetensors")):
            torch.testing.assert_close(ours.act(features), theirs, atol=1e-5, rtol=0)


def test_what_acts_otherwise_than_a_perceptron_is_not_exported() -> None:
    env = env_of(target())
    scaled = {"observation_preprocessor": RunningStandardScaler, "observation_preprocessor_kwargs": {"size": 1}}
    with pytest.raises(InvalidArgument, match="RunningStandardScaler changes what the policy sees"):
        export_policy(agent_of(env, **scaled), target())
    with pytest.raises(InvalidArgument, match=r"GaussianModel.compute does more than its layers, \['Linear', 'ReLU'"):
        export_policy(agent_of(env, output="0.5 * ACTIONS"), target())
    with pytest.raises(PolicyMismatch, match="Target-v0 expects Discrete"):
        export_policy(agent_of(env), target(num_actions=5))
