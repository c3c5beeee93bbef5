"""Tianshou's PPO.

python benchmarks/libraries/with_tianshou.py train
python benchmarks/libraries/with_tianshou.py speed

Writes results.csv and speed.csv into runs/libraries. Two minutes a seed on one core.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import torch
from measure import Speed, Step, Train, main, orthogonal
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import BaseVectorEnv, DummyVectorEnv
from tianshou.trainer import OnPolicyTrainerParams
from tianshou.utils.net.common import Net
from tianshou.utils.net.discrete import DiscreteActor, DiscreteCritic
from torch import nn

from dreamgym.bridges.tianshou import DreamVenv, export_policy
from dreamgym.core.policy import Policy

ROLLOUT = 32


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # tianshou shuffles with it
    venv = DreamVenv(options.dream, options.lanes, **options.env)
    venv.seed(seed)
    width, num_actions = venv.envs.single_observation_space.shape, venv.envs.single_action_space.n
    actor, critic = (Net(state_shape=width, hidden_sizes=[64, 64], activation=nn.Tanh) for _ in range(2))
    actor = DiscreteActor(preprocess_net=actor, action_shape=num_actions, softmax_output=False)
    policy = DiscreteActorPolicy(actor=orthogonal(actor, 0.01), action_space=venv.envs.single_action_space)
    ppo = PPO(policy=policy, critic=orthogonal(DiscreteCritic(preprocess_net=critic), 1.0),
              optim=AdamOptimizerFactory(lr=5e-4, eps=1e-5), gamma=0.97, ent_coef=0.005, max_grad_norm=0.5,
              max_batchsize=8192)  # fmt: skip
    rollout = options.lanes * ROLLOUT
    ppo.run_training(OnPolicyTrainerParams(
        training_collector=Collector(ppo, venv, VectorReplayBuffer(rollout, options.lanes)),
        max_epochs=max(1, options.steps // rollout), epoch_num_steps=rollout, collection_step_num_env_steps=rollout,
        batch_size=2048, update_step_num_repetitions=4, show_progress=False, verbose=False,
    ))  # fmt: skip
    return export_policy(ppo, options.dream)


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole, as a collector makes them."""
    few = DummyVectorEnv([lambda: gym.make("CartPole-v1")] * 16)
    return {"bridge": stepper(DreamVenv(options.dream, options.lanes)), "CartPole, 16 lanes": stepper(few)}


def stepper(venv: BaseVectorEnv) -> Step:
    """Return a function that steps all lanes with the same actions, and resets those whose episodes ended."""
    venv.reset()
    actions, everyone = np.array([space.sample() for space in venv.action_space]), np.arange(len(venv))

    def step() -> None:
        _, _, terminated, truncated, _ = venv.step(actions, everyone)
        ended = np.flatnonzero(terminated | truncated)
        if len(ended):
            venv.reset(ended)

    return step, len(venv)


if __name__ == "__main__":
    main("Tianshou", "PPO", train, speed)
