"""RLlib's PPO, with its env runner in the learner's process.

python benchmarks/libraries/with_rllib.py train
python benchmarks/libraries/with_rllib.py speed

Writes results.csv and speed.csv into runs/libraries. Two and a half minutes a seed on one core.
"""

from __future__ import annotations

import logging
from dataclasses import asdict

import numpy as np
import ray
from gymnasium.spaces import Box
from measure import Speed, Step, Train, main, orthogonal
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from torch import nn

from dreamgym.bridges.rllib import dream_config, export_policy
from dreamgym.core.policy import Policy
from dreamgym.hub import load

ROLLOUT = 32


class Orthogonal(DefaultPPOTorchRLModule):
    """PPO's own module with first weights as SB3 draws them.

    `DefaultModelConfig` knows initialisers, but PPO's catalog of Ray 2.60 hands them to the hidden layers alone.
    """

    def setup(self) -> None:
        """Make the networks and draw their weights; a module that only acts has no hidden layers for values."""
        super().setup()
        orthogonal(nn.Sequential(self.encoder.actor_encoder, self.pi), 0.01)
        orthogonal(nn.Sequential(getattr(self.encoder, "critic_encoder", nn.Identity()), self.vf), 1.0)
        if self.model_config["free_log_std"]:
            nn.init.constant_(self.pi.log_std, self.model_config["log_std"])


def train(options: Train, seed: int) -> Policy:
    """Return what PPO learned."""
    start()
    rollout = options.lanes * ROLLOUT
    config = dream_config(PPOConfig(), options.dream, options.lanes, **options.env)
    config.env_runners(num_env_runners=0, rollout_fragment_length=ROLLOUT).debugging(seed=seed, log_level="ERROR")
    ppo = options.ppo
    config.training(train_batch_size=rollout, minibatch_size=2048, num_epochs=ppo.epochs, gamma=ppo.gamma, lambda_=0.95,
                    lr=ppo.learning_rate, entropy_coeff=ppo.entropy, vf_clip_param=float("inf"), grad_clip=0.5,
                    use_kl_loss=False, clip_param=0.2, vf_loss_coeff=0.5)  # fmt: skip
    model = asdict(DefaultModelConfig(fcnet_hiddens=[ppo.hidden] * 2, vf_share_layers=False))
    model |= {"free_log_std": isinstance(load(options.dream).model.action_space, Box), "log_std": ppo.log_std}
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=Orthogonal, model_config=model))
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
