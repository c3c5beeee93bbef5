"""RLlib's PPO, with its env runner in the learner's process.

python benchmarks/libraries/with_rllib.py train
python benchmarks/libraries/with_rllib.py speed

Writes results.csv and speed.csv into runs/libraries. Ten minutes a seed on one core.
"""

from __future__ import annotations

import logging

import numpy as np
import ray
from measure import Speed, Step, Train, main
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from dreamgym.bridges.rllib import dream_config, export_policy
from dreamgym.core.policy import Policy

ROLLOUT = 32


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    start()
    rollout = options.lanes * ROLLOUT
    config = dream_config(PPOConfig(), options.dream, options.lanes, **options.env)
    config.env_runners(num_env_runners=0, rollout_fragment_length=ROLLOUT).debugging(seed=seed, log_level="ERROR")
    config.training(train_batch_size=rollout, minibatch_size=2048, num_epochs=4, gamma=0.97, lambda_=0.95, lr=5e-4,
                    entropy_coeff=0.005, vf_clip_param=float("inf"), grad_clip=0.5, use_kl_loss=False, clip_param=0.2,
                    vf_loss_coeff=0.5)  # fmt: skip
    config.rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
    algorithm = config.build_algo()
    for _ in range(max(1, options.steps // rollout)):
        algorithm.train()
    policy = export_policy(algorithm, options.dream)
    algorithm.stop()
    return policy


def speed(options: Speed) -> dict[str, Step]:
    """Return steps of a dream and of CartPole, as an env runner makes them, and the env runner's own."""
    start()
    dream = dream_config(PPOConfig(), options.dream, options.lanes)
    few = PPOConfig().environment("CartPole-v1").env_runners(num_envs_per_env_runner=16)
    runner = SingleAgentEnvRunner(config=dream, worker_index=1)
    return {
        "bridge": stepper(SingleAgentEnvRunner(config=dream, worker_index=1)),
        "env runner, with policy and episodes": (lambda: runner.sample(num_timesteps=options.lanes), options.lanes),
        "CartPole, 16 lanes": stepper(SingleAgentEnvRunner(config=few, worker_index=1)),
    }


def stepper(runner: SingleAgentEnvRunner) -> Step:
    """Return a function that steps all lanes with the same actions."""
    runner.env.reset()
    actions = np.array([runner.env.single_action_space.sample() for _ in range(runner.num_envs)])
    return lambda: runner.env.step(actions), runner.num_envs


def start() -> None:
    """Start Ray on this machine, once."""
    if not ray.is_initialized():
        ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)


if __name__ == "__main__":
    main("RLlib", "PPO", train, speed)
